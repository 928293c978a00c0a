-- What comes in by a webhook: a line in the chat, and links of cards. Planned like the changes of cards. A webhook's row is locked
-- before cards are: its deliveries come one after the other.

-- The live cards of a project that are called so, with what calls them: `things_` are places among links. By the keys of cards that
-- went to the project from elsewhere, too.
create or replace function cards_called(
    project_ bigint, key_prefix_ text, things_ integer[], prefixes_ text[], numbers_ integer[]
) returns table (card bigint, thing integer) language plpgsql as $$
begin
    return query
    select k.id, r.thing
    from unnest(things_, prefixes_, numbers_) r (thing, prefix, number)
    inner join cards k on k.project_id = project_ and k.card_number = r.number
    where r.prefix = key_prefix_ and k.deleted_at is null
    union
    select k.id, r.thing
    from unnest(things_, prefixes_, numbers_) r (thing, prefix, number)
    inner join card_key_aliases a on a.key_prefix = r.prefix and a.card_number = r.number
    inner join cards k on k.id = a.card_id
    where k.project_id = project_ and k.deleted_at is null;
end
$$;

-- Writes links of locked cards: one of each, the last of what is told twice. What was merged stays so, and what a host changed
-- earlier than what is known changes nothing. Gives their events. `at_`: when the host changed it, where it says so.
create or replace function put_links(
    project_ bigint, cards_ bigint[], things_ integer[],
    platform_ text, link_type_ text, status_ text, repo_name_ text, at_ timestamptz,
    titles_ text[], urls_ text[], references_ text[], authors_ text[], are_sure_ boolean
) returns new_event[] language plpgsql as $$
declare
    told new_event[];
begin
    with wanted as (
        select distinct on (w.card, references_[w.thing])
            w.card, w.thing, titles_[w.thing] as title, urls_[w.thing] as url, references_[w.thing] as reference,
            authors_[w.thing] as author
        from unnest(cards_, things_) w (card, thing)
        order by w.card, references_[w.thing], w.thing desc
    ), known as (
        select
            w.*, l.id, l.told_at, case when l.status = 'merged' then l.status else status_ end as status,
            case when are_sure_ and w.author <> '' or l.author = '' or l.id is null then w.author else l.author end as writer,
            (l.title, l.url) is distinct from (w.title, w.url)
            or w.author not in (l.author, '') and (are_sure_ or l.author = '')
            or l.status not in (status_, 'merged') as differs
        from wanted w
        left join lateral (
            -- `offset` keeps it apart: looked up by its key.
            select l.* from card_links l
            where l.card_id = w.card and l.platform = platform_ and l.repo_name = repo_name_ and l.link_type = link_type_
                and l.reference = w.reference
            offset 0
        ) l on true
    ), made as (
        insert into card_links as l (card_id, platform, link_type, title, url, reference, author, status, repo_name, told_at)
        select k.card, platform_, link_type_, k.title, k.url, k.reference, k.writer, status_, repo_name_, at_
        from known k where k.id is null order by k.thing, k.card
        returning l.id, l.card_id, shape(l) as link
    ), noted as (
        insert into card_history (project_id, card_id, user_id, event_type)
        select project_, m.card_id, null, 'link_added' from made m order by m.id
    ), changed as (
        update card_links l set
            title = k.title, url = k.url, author = k.writer, status = k.status, told_at = coalesce(at_, l.told_at),
            updated_at = case when k.differs then clock_timestamp() else l.updated_at end
        from known k
        where l.id = k.id and (k.differs or at_ > l.told_at or l.told_at is null and at_ is not null)
            and (at_ < l.told_at) is not true
        returning l.id, l.card_id, shape(l) as link, k.differs
    )
    select array_agg(
        new_event('project:' || project_, e.type, e.link, entity(entity('card', e.card_id), 'link', e.id)) order by e.id
    ) into told
    from (
        select m.id, m.card_id, m.link, 'board.link_created' as type from made m
        union all
        select c.id, c.card_id, c.link, 'board.link_updated' from changed c where c.differs
    ) e;
    return coalesce(told, '{}');
end
$$;

-- What a delivery is answered.
create or replace function delivery_answer(type_ text, message_ bigint, linked_ integer, reason_ text) returns text
language sql immutable as $$
select case
    when type_ = 'generic' then '{"ok":true,"id":' || message_ || '}'
    else '{"ok":true,"posted":' || (message_ is not null) || ',"linked":' || linked_
        || case when reason_ <> '' then ',"skipped":true' else '' end || '}'
end
$$;

-- Takes one delivery in, once: its row, its line in the chat, its links, and their events. `refusal_` is a status that was found
-- before, 0 for none; then the row says so, and keeps what came. Refuses by its answer, so that the row stays. `token_hash_` is null
-- where an owner delivers again. A delivery that this very `attempt_` wrote is answered as it was then. `told_twice_`: hosts tell of
-- it by two kinds of events; the second one's line, the same within a minute, is not said again.
drop function if exists take_delivery(
    bigint, bytea, text, text, text, integer, text, text, text, text, text, text, text, timestamptz,
    text[], text[], text[], text[], boolean, integer[], text[], integer[], text, boolean, text[], bytea
);
create or replace function take_delivery(
    webhook_ bigint, token_hash_ bytea, delivery_ text, attempt_ text, event_ text, refusal_ integer, reason_ text,
    line_ text, bot_name_ text,
    platform_ text, link_type_ text, link_status_ text, repo_name_ text, at_ timestamptz,
    titles_ text[], urls_ text[], references_ text[], authors_ text[], are_sure_ boolean,
    things_ integer[], prefixes_ text[], numbers_ integer[],
    host_ text, is_form_ boolean, proofs_ text[], body_ bytea, told_twice_ boolean,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    project_ bigint := (select w.project_id from project_webhooks w where w.id = webhook_);
    channel_ text := 'project:' || project_;
    w project_webhooks;
    p projects;
    d webhook_deliveries;
    cards_ bigint[];
    told new_event[] := '{}';
    seqs bigint[];
    linked_ integer := 0;
    message_ bigint;
begin
    messages := '{}';
    perform enter_project(project_);
    select * into w from project_webhooks k
    where k.id = webhook_ and k.deleted_at is null and k.token_hash = coalesce(token_hash_, k.token_hash) for no key update;
    if w.id is null then
        status := 401;
        answer := '{"error":"invalid token","code":"invalid_token"}';
        return;
    end if;
    select * into p from projects k where k.id = project_;
    select * into d from webhook_deliveries k where k.webhook_id = webhook_ and k.delivery_id = delivery_;
    if d.status < 400 and d.received_at > now() - interval '7 days' then
        status := 200;
        answer := '{"ok":true,"duplicate":true}';
        if d.attempt = attempt_ then
            status := d.status;
            answer := delivery_answer(w.type, d.message_id, d.linked, d.reason);
        end if;
        return;
    end if;
    if refusal_ = 0 and p.is_archived then
        refusal_ := 404;
        reason_ := 'the project is archived';
    elsif refusal_ = 0 and not w.is_enabled then
        refusal_ := 403;
        reason_ := 'the webhook is disabled';
    end if;

    if told_twice_ and exists (
        select 1
        from (
            select k.event, k.message_id from webhook_deliveries k
            where k.webhook_id = webhook_ and k.received_at > clock_timestamp() - interval '1 minute'
            order by k.received_at desc, k.id desc
            limit 100
        ) n
        inner join chat_messages m on m.id = n.message_id
        where n.event <> event_ and m.body = line_
    ) then
        line_ := '';
        reason_ := 'another event has said so';
    end if;
    if refusal_ = 0 then
        if things_ <> '{}' then
            select array_agg(distinct c.card order by c.card) into cards_
            from cards_called(project_, p.key_prefix, things_, prefixes_, numbers_) c;
            perform 1 from cards k where k.id = any(cards_) order by k.id for no key update;
            -- Again: one may have gone while others were waited for.
            select array_agg(c.card order by c.thing, c.card), array_agg(c.thing order by c.thing, c.card) into cards_, things_
            from cards_called(project_, p.key_prefix, things_, prefixes_, numbers_) c
            where c.card = any(cards_);
            linked_ := coalesce(cardinality(cards_), 0);
            if linked_ > 0 then
                told := put_links(
                    project_, cards_, things_, platform_, link_type_, link_status_, repo_name_, at_,
                    titles_, urls_, references_, authors_, are_sure_
                );
            end if;
        end if;
        if line_ <> '' or told <> '{}' then
            -- The feed is taken before the message is written: see send_messages in sql/changes/chat.sql.
            seqs := take_seqs(array_fill(channel_, array[cardinality(told) + (line_ <> '')::integer]));
            if line_ <> '' then
                insert into chat_messages as m (project_id, user_id, body, is_bot, bot_name)
                values (project_, null, line_, true, coalesce(nullif(bot_name_, ''), w.name))
                returning m.id into message_;
                told := told || new_event(
                    channel_, 'chat.message', (select j.message from messages_json(array[message_]) j), entity('message', message_)
                );
            end if;
            messages := write_events(told, null::bigint, null::text, seqs);
        end if;
        status := case w.type when 'generic' then 201 else 200 end;
        answer := delivery_answer(w.type, message_, linked_, reason_);
    else
        status := refusal_;
        answer := json_build_object('error', reason_);
    end if;

    insert into webhook_deliveries as k (
        webhook_id, delivery_id, attempt, event, status, reason, linked, message_id
    ) values (
        webhook_, delivery_, attempt_, event_, status, reason_, linked_, message_
    ) on conflict (webhook_id, delivery_id) do update set
        attempt = excluded.attempt, event = excluded.event, received_at = excluded.received_at, status = excluded.status,
        reason = excluded.reason, linked = excluded.linked, message_id = excluded.message_id
    returning * into d;
    if status >= 400 and body_ is not null then
        insert into webhook_bodies as b (delivery_id, webhook_id, host, is_form, proofs, body)
        values (d.id, webhook_, host_, is_form_, proofs_, body_)
        on conflict (delivery_id) do update set
            kept_at = excluded.kept_at, host = excluded.host, is_form = excluded.is_form, proofs = excluded.proofs,
            body = excluded.body;
        delete from webhook_bodies b where b.delivery_id = any(array(
            select o.delivery_id from webhook_bodies o where o.webhook_id = webhook_ order by o.kept_at desc offset 50
        ));
    elsif status < 400 then
        delete from webhook_bodies b where b.delivery_id = d.id;
    end if;
    update project_webhooks k set last_delivery_at = d.received_at, last_status = status where k.id = webhook_;
end
$$;
