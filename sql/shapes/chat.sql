create type chat_message_shape as (
    id bigint, project_id bigint, user_id bigint, "user" json, body text, is_edited boolean, is_deleted boolean,
    is_bot boolean, bot_name text, attachments json, reactions json, created_at text, updated_at text, version integer, nonce text
);

-- A chat message; a deleted one without its text. What hangs on the row comes in as arguments.
create or replace function shape(m chat_messages, author json, attachments json, reactions json) returns json
language sql stable as $$
select row_to_json(row(
    m.id, m.project_id, m.user_id, author, case when m.is_deleted then '' else m.body end, m.is_edited, m.is_deleted,
    m.is_bot, m.bot_name, coalesce(attachments, '[]'), coalesce(reactions, '[]'), iso(m.created_at), iso(m.updated_at), m.version,
    m.nonce
)::chat_message_shape)
$$;

create type reaction_shape as (emoji text, count bigint, user_ids bigint[]);

-- The reactions of messages of one kind: emojis, and who used each, in the order of first use.
create or replace function reactions_json(owner_type_ text, ids_ bigint[]) returns table (id bigint, reactions json)
language sql stable as $$
select e.owner_id, array_to_json(array_agg(row(e.emoji, e.uses, e.user_ids)::reaction_shape order by e.first))
from (
    select r.owner_id, r.emoji, min(r.id) as first, count(*) as uses, array_agg(r.user_id order by r.id) as user_ids
    from message_reactions r
    where r.owner_type = owner_type_ and r.owner_id = any(ids_)
    group by r.owner_id, r.emoji
) e
group by e.owner_id
$$;

-- Chat messages by their ids, each with its shape.
create or replace function messages_json(ids_ bigint[]) returns table (id bigint, message json) language sql stable as $$
select m.id, shape(m, case when u.id is not null then shape(u) end, a.attachments, r.reactions)
from chat_messages m
left join users u on u.id = m.user_id
left join attachments_json('chat_message', ids_) a on a.id = m.id
left join reactions_json('chat_message', ids_) r on r.id = m.id
where m.id = any(ids_)
$$;

-- The first of these messages, with their shapes, as many as fit into so many bytes; at least one. `octets_`: what their bodies
-- have. A byte of text may take six ("\u0001"); the author, a nonce, a bot's name, a file and a reaction are reckoned as long as
-- they may be, and counted no further than must be.
create or replace function first_messages(ids_ bigint[], octets_ bigint, bytes_ bigint) returns table (id bigint, message json)
language plpgsql stable as $$
declare
    part bigint[];
    going bigint;
    length bigint := 0;
begin
    if 3000 * cardinality(ids_) + 6 * octets_ <= bytes_ and 3000 * cardinality(ids_) + 6 * octets_ + 120 * (
        select count(*) from (
            select from message_reactions r
            where r.owner_type = 'chat_message' and r.owner_id = any(ids_)
            limit bytes_ / 120 + 1
        ) n
    ) + 2000 * (
        select count(*) from (
            select from attachments a
            where a.owner_type = 'chat_message' and a.owner_id = any(ids_)
            limit bytes_ / 2000 + 1
        ) n
    ) <= bytes_ then
        return query select j.id, j.message from messages_json(ids_) j;
        return;
    end if;
    -- Part by part, so that not much more is built than fits.
    for part in
        select array_agg(s.id order by s.place) from (
            select
                o.id, o.place, sum(octet_length(m.body) + 20 * (
                    select count(*) from message_reactions r where r.owner_type = 'chat_message' and r.owner_id = o.id
                ) + 400 * (
                    select count(*) from attachments a where a.owner_type = 'chat_message' and a.owner_id = o.id
                )) over (order by o.place)::bigint / 524288 as step
            from unnest(ids_) with ordinality o (id, place) inner join chat_messages m on m.id = o.id
        ) s group by s.step order by s.step
    loop
        for id, message, going in
            select j.id, j.message, octet_length(j.message::text) + 1
            from unnest(part) with ordinality o (id, place) inner join messages_json(part) j on j.id = o.id
            order by o.place
        loop
            if length > 0 and length + going > bytes_ then
                return;
            end if;
            length := length + going;
            return next;
        end loop;
    end loop;
end
$$;

-- Others' messages among the thousand that follow a mark: so it never costs more than to look at those. Planned once a session,
-- because every board that is read asks it: to plan it for each mark took longer than to count.
create or replace function chat_unread_count(project_ bigint, reader_ bigint, mark_ bigint) returns bigint
language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    return (
        select count(*)
        from (
            select m.user_id, m.is_deleted from chat_messages m
            where m.project_id = project_ and m.id > coalesce(mark_, 0)
            order by m.id limit 1000
        ) n
        where n.user_id is distinct from reader_ and not n.is_deleted
    );
end
$$;

create type chat_read_shape as (slug text, message_id bigint, unread_count bigint);

-- How far one person has read a project's chat.
create or replace function chat_read_json(slug text, message_id bigint, unread_count bigint) returns json
language sql stable as $$
select row_to_json(row(slug, message_id, unread_count)::chat_read_shape)
$$;
