-- Chat messages, many in one call: what waits in a process for the same moment shares one commit. Planned like the changes of
-- cards.

-- What require_role would say to each of a group; null to who may do it.
create or replace function why_not(u users, p projects, project_role_ text, need_ text) returns text language sql stable as $$
select case
    when u.id is null or not u.is_active or u.deleted_at is not null then 'inactive'
    when u.global_role in ('metrics', 'backup') then 'service'
    when p.id is null or p.purged_at is not null or effective_role(u.global_role, project_role_) is null then 'stranger'
    when role_rank(effective_role(u.global_role, project_role_)) < role_rank(need_) then 'below'
    when p.is_archived then 'archived'
end
$$;

-- Sends one message that has neither Idempotency-Key nor nonce: what send_messages does for a group of one such, in the same
-- order of locks, for a third of the cost. Refuses instead of answering with a refusal. No message fills an event's 1 MiB.
drop function if exists send_message(bigint, bigint, text, text, text);
drop function if exists send_message(bigint, bigint, text, text, text, text);
create or replace function send_message(
    project_ bigint, actor_ bigint, client_ text, need_ text, body_ text, names_ text default '', patience_ integer default null,
    out answer text, out messages text[]
) language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    channel_ text := 'project:' || project_;
    seq_ bigint;
    id_ bigint;
begin
    perform be_patient(patience_);
    perform require_writer(actor_, project_, need_);
    update feeds f set seq = f.seq + 1 where f.channel = channel_ returning f.seq into seq_;
    if seq_ is null then
        seq_ := take_seq(channel_);
    end if;
    with sent as (
        insert into chat_messages as m (project_id, user_id, body) values (project_, actor_, body_)
        returning m.id, shape(m, (select shape(u) from users u where u.id = actor_), null, null)::text as message
    )
    insert into events as w (channel, seq, type, payload, actor_id, client_id, entity, created_at, actor)
    select
        channel_, seq_, 'chat.message', s.message, actor_, client_, entity('message', s.id), clock_timestamp(),
        guest(channel_, actor_)
    from sent s
    returning w.payload, array[bus_message(w)] into answer, messages;
    if names_ <> '' then
        id_ := answer::json ->> 'id';
        messages := messages || tell_notifications(note_names(about(actor_, body_, project_, chat_message_ => id_), names_));
    end if;
end
$$;

-- Sends messages, given as columns in the order they came, and answers each: 201 with the message; the earlier answer under
-- the same Idempotency-Key (`replays`), if its sender still has the role; with 200, the earlier message with the same nonce
-- within ten minutes; or a refusal and its text, which leaves the others alone. Ids and seqs follow the order of arrival.
--
-- Locks go in one order over the whole group: keys, projects, memberships by user, accounts, feeds. The feeds are taken before
-- the messages are written: in one project, ids follow the order of the commits, and nobody pages past a message to come.
drop function if exists send_messages(bigint[], bigint[], text[], text[], text[], text[], text[], text[], text[]);
drop function if exists send_messages(bigint[], bigint[], text[], text[], text[], text[], text[], text[], text[], text[]);
create or replace function send_messages(
    projects_ bigint[], actors_ bigint[], needs_ text[], clients_ text[], keys_ text[], paths_ text[], hashes_ text[], nonces_ text[],
    bodies_ text[], names_ text[] default null, patience_ integer default null,
    out statuses integer[], out answers text[], out replays boolean[], out told integer[], out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    firsts bigint[];
    whys text[];
    sources bigint[];
    going bigint[];
    seqs bigint[];
    shapes text[];
    made bigint[];
    shown text[] := '{}';
    noted bigint[] := '{}';
    n bigint;
    earlier bigint;
    leader bigint;
begin
    messages := '{}';
    told := array_fill(0, array[cardinality(actors_)]);
    perform be_patient(patience_);
    firsts := take_keys(actors_, paths_, keys_, hashes_);
    perform enter_project(p.id) from (select distinct r.id from unnest(projects_) r (id) order by 1) p;
    perform 1 from project_members m
    where (m.project_id, m.user_id) in (select r.project, r.actor from unnest(projects_, actors_) r (project, actor))
    order by m.user_id, m.project_id for share;
    if exists (select 1 from users u where u.id = any(actors_) and u.global_role = 'admin') then
        perform enter_account(a.id) from (
            select u.id from users u where u.id = any(actors_) and u.global_role = 'admin' order by u.id offset 0
        ) a;
        perform 1 from users u where u.id = any(actors_) and u.global_role = 'admin' order by u.id for share;
        perform add_guest(g.project, g.actor) from (
            select distinct r.project, r.actor from unnest(projects_, actors_) r (project, actor)
            inner join users u on u.id = r.actor and u.global_role = 'admin'
            inner join projects p on p.id = r.project and p.purged_at is null
            where not exists (select 1 from project_members m where m.project_id = r.project and m.user_id = r.actor)
            order by r.actor, r.project
        ) g;
    end if;

    select array_agg(why_not(u, p, m.role, r.need) order by r.place) into whys
    from unnest(projects_, actors_, needs_) with ordinality r (project, actor, need, place)
    left join users u on u.id = r.actor
    left join projects p on p.id = r.project
    left join project_members m on m.project_id = r.project and m.user_id = r.actor;
    -- Also in an archived project: a client whose answer was lost must not think that its message was.
    select j.statuses, j.answers, j.replays, j.sources, j.going into statuses, answers, replays, sources, going
    from judge(actors_, paths_, keys_, hashes_, firsts, whys, array_replace(whys, 'archived', null), 'project') j;

    if going <> '{}' and array_remove(nonces_, null) <> '{}' then
        insert into feeds (channel) select distinct 'project:' || projects_[g] from unnest(going) g order by 1
        on conflict do nothing;
        perform 1 from feeds f where f.channel in (select 'project:' || projects_[g] from unnest(going) g)
        order by f.channel for no key update;
        -- The additions leave the plan no index but the nonces': it is made once, perhaps while the table is empty.
        for n, earlier, leader in
            select g,
                (
                    select max(m.id + 0) from chat_messages m
                    where m.user_id = actors_[g] and m.nonce = nonces_[g] and m.project_id + 0 = projects_[g]
                        and m.created_at > clock_timestamp() - interval '10 minutes'
                ),
                min(g) over (partition by projects_[g], actors_[g], nonces_[g])
            from unnest(going) g where nonces_[g] is not null
        loop
            if earlier is not null then
                shown[n] := entity('message', earlier);
                statuses[n] := 200;
                answers[n] := (select j.message from messages_json(array[earlier]) j)::text;
                going := array_remove(going, n);
            elsif leader <> n then
                sources[n] := leader;
                going := array_remove(going, n);
            end if;
        end loop;
    end if;

    if going <> '{}' then
        seqs := take_seqs(array(select 'project:' || projects_[g] from unnest(going) with ordinality o (g, nth) order by o.nth));
        with sent as (
            insert into chat_messages (project_id, user_id, body, nonce)
            select projects_[g], actors_[g], bodies_[g], nonces_[g] from unnest(going) with ordinality o (g, nth) order by o.nth
            returning *
        ), shaped as (
            select
                s.id, s.project_id, s.user_id, shape(s::chat_messages, shape(u), null, null)::text as message,
                row_number() over (order by s.id) as nth
            from sent s inner join users u on u.id = s.user_id
        ), written as (
            insert into events (channel, seq, type, payload, actor_id, client_id, entity, created_at, actor)
            select
                'project:' || s.project_id, seqs[s.nth], 'chat.message', s.message, s.user_id, clients_[going[s.nth]],
                entity('message', s.id), clock_timestamp(), guest('project:' || s.project_id, s.user_id)
            from shaped s order by s.nth
            returning *
        )
        select
            (select array_agg(s.message order by s.nth) from shaped s),
            (select array_agg(s.id order by s.nth) from shaped s),
            (select array_agg(bus_message(w::events) order by w.channel, w.seq) from written w)
        into shapes, made, messages;
        for n in 1 .. cardinality(going) loop
            statuses[going[n]] := 201;
            answers[going[n]] := shapes[n];
            told[going[n]] := 1 - cardinality(noted);
            shown[going[n]] := entity('message', made[n]);
            if names_[going[n]] <> '' then
                noted := noted || note_names(
                    about(actors_[going[n]], bodies_[going[n]], projects_[going[n]], chat_message_ => made[n]), names_[going[n]]
                );
            end if;
            told[going[n]] := told[going[n]] + cardinality(noted);
        end loop;
        messages := messages || tell_notifications(noted);
    end if;

    if array_remove(keys_ || nonces_, null) <> '{}' then
        select t.statuses, t.answers, t.replays into statuses, answers, replays
        from answer_twins(
            actors_, paths_, keys_, firsts, sources,
            array(select 'project:' || p.id from unnest(projects_) with ordinality p (id, nth) order by p.nth), shown,
            statuses, answers, replays
        ) t;
    end if;
end
$$;

-- Moves a reader's mark forward. Gives the notifications that are read by it, locked before the reader's feed, and null when it
-- stays. The caller is in the project, and only what is the reader's own is locked.
drop function if exists mark_chat_read(bigint, bigint, bigint);
create or replace function mark_chat_read(project_ bigint, actor_ bigint, message_ bigint) returns bigint[]
language plpgsql as $$
begin
    if not exists (select 1 from chat_messages m where m.id = message_ and m.project_id = project_) then
        perform refuse(422, 'message_id: there is no such message in this project', '{"fields":{"message_id":"unknown"}}');
    end if;
    insert into project_readers as r (project_id, user_id, last_read_message_id) values (project_, actor_, message_)
    on conflict (project_id, user_id) do update set last_read_message_id = excluded.last_read_message_id
    where r.last_read_message_id is null or r.last_read_message_id < excluded.last_read_message_id;
    if not found then
        return null;
    end if;
    return array(
        select n.id from notifications n
        where n.user_id = actor_ and n.project_id = project_ and n.chat_message_id <= message_ and n.read_at is null
        order by n.id for no key update
    );
end
$$;

-- Sends one message with files: 201 with it; 200 with the earlier one of the same nonce within ten minutes. The feed is taken
-- before it is written, as above.
create or replace function send_message_with_files(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, body_ text, nonce_ text, uploads_ bigint[], names_ text,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    channel_ text := 'project:' || project_;
    seq_ bigint;
    sent bigint;
    earlier bigint;
    are_there boolean;
begin
    perform require_writer(actor_, project_, need_);
    are_there := lock_uploads(actor_, project_, null, uploads_);
    if nonce_ is not null then
        insert into feeds (channel) values (channel_) on conflict do nothing;
        perform 1 from feeds f where f.channel = channel_ for no key update;
        -- The additions leave the plan no index but the nonces'.
        select max(m.id + 0) into earlier from chat_messages m
        where m.user_id = actor_ and m.nonce = nonce_ and m.project_id + 0 = project_
            and m.created_at > clock_timestamp() - interval '10 minutes';
        if earlier is not null then
            status := 200;
            answer := (select j.message from messages_json(array[earlier]) j)::text;
            messages := '{}';
            return;
        end if;
    end if;
    if not are_there then
        perform refuse_uploads();
    end if;
    seq_ := take_seq(channel_);
    insert into chat_messages as m (project_id, user_id, body, nonce) values (project_, actor_, body_, nonce_)
    returning m.id into sent;
    perform give_uploads('chat_message', sent, null, uploads_);
    status := 201;
    answer := (select j.message from messages_json(array[sent]) j)::text;
    messages := write_event(seq_, channel_, 'chat.message', answer, entity('message', sent), actor_, client_)
        || tell_notifications(note_names(about(actor_, body_, project_, chat_message_ => sent), names_));
end
$$;
