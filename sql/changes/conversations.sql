-- Changes of conversations. All that is told in one is told on the channels of those in it: user:1, user:2.

-- May this person do something in this conversation? 404 to whoever is not in it. It locks the conversation's row until the
-- commit, and not before it knows that: so a conversation's changes come one after the other, its ids and events in the order of
-- the commits; who is removed writes nothing after that, and who is told is who is in it. The lock has a queue, because nobody
-- shares it. Then the account is entered, so that one which was closed writes nothing either; for somebody who is going to come
-- into it, `newcomer_`, all accounts are: whoever gets another name meanwhile would not tell the newcomer, who is shown the old one.
create or replace function require_participant(
    actor_ bigint, conversation_ bigint, newcomer_ bigint default null,
    out is_group boolean, out created_by_id bigint, out global_role text
) language plpgsql as $$
declare
    account users;
begin
    if not exists (
        select 1 from conversation_members m where m.conversation_id = conversation_ and m.user_id = actor_
    ) then
        perform refuse(404, 'conversation not found');
    end if;
    select c.is_group, c.created_by_id into is_group, created_by_id
    from conversations c where c.id = conversation_ for no key update;
    if not exists (
        select 1 from conversation_members m where m.conversation_id = conversation_ and m.user_id = actor_
    ) then
        perform refuse(404, 'conversation not found');
    end if;
    if newcomer_ is null then
        perform enter_account(actor_);
    else
        perform enter_account(p.id) from (
            select m.user_id as id from conversation_members m where m.conversation_id = conversation_
            union
            select newcomer_
            order by 1 offset 0
        ) p;
    end if;
    select * into account from users u where u.id = actor_;
    if account.id is null or not account.is_active or account.deleted_at is not null then
        perform refuse(401, 'the account is not active');
    end if;
    if account.global_role in ('metrics', 'backup') then
        perform refuse(403, 'a service account cannot do this');
    end if;
    global_role := account.global_role;
end
$$;

-- Whether all of these are people who may be written to; their accounts are entered, so that none is closed, and none has another
-- name, before they are told of the conversation.
create or replace function are_reachable(people_ bigint[]) returns boolean language plpgsql as $$
begin
    perform enter_account(p.id) from (select distinct r.id from unnest(people_) r (id) order by 1 offset 0) p;
    return (
        select count(*) from users u
        where u.id = any(people_) and u.is_active and u.deleted_at is null and u.global_role in ('admin', 'user', 'viewer')
    ) = (select count(distinct r.id) from unnest(people_) r (id));
end
$$;

-- The conversation of the actor with these others: the 1:1 of two, made when there is none, or a new group. The others are no
-- doubles and not the actor. `field_`: what the body calls them. Two who make the same 1:1 at once get one: the second waits for
-- the first at its key.
create or replace function open_conversation(
    actor_ bigint, others_ bigint[], name_ text, field_ text, out opened bigint, out is_new boolean
) language plpgsql as $$
declare
    people bigint[] := array(select p.id from unnest(others_ || actor_) p (id) order by 1);
    key_ text;
begin
    if not are_reachable(people) then
        perform require_global_role(actor_, array['admin', 'user', 'viewer']);
        perform refuse(422, field_ || ': there is no such person, or their account is not active',
            json_build_object('fields', json_build_object(field_, 'unknown')));
    end if;
    is_new := false;
    if cardinality(people) = 2 then
        key_ := people[1] || ':' || people[2];
        select c.id into opened from conversations c where c.dm_key = key_;
        if opened is not null then
            return;
        end if;
    end if;
    insert into conversations as c (name, is_group, created_by_id, dm_key)
    values (case when key_ is null then name_ end, key_ is null, actor_, key_)
    on conflict (dm_key) do nothing
    returning c.id into opened;
    if opened is null then
        select c.id into opened from conversations c where c.dm_key = key_;
        return;
    end if;
    is_new := true;
    insert into conversation_members (conversation_id, user_id) select opened, p.id from unnest(people) p (id);
end
$$;

-- Puts somebody into a locked group, in which they have read all that was said before.
create or replace function add_participant(conversation_ bigint, user_ bigint, most_ integer) returns void
language plpgsql as $$
begin
    if not are_reachable(array[user_]) then
        perform refuse(422, 'user_id: there is no such person, or their account is not active', '{"fields":{"user_id":"unknown"}}');
    end if;
    insert into conversation_members (conversation_id, user_id, last_read_message_id)
    values (conversation_, user_, (select max(m.id) from conversation_messages m where m.conversation_id = conversation_))
    on conflict do nothing;
    if not found then
        perform refuse(409, 'this user already is in the conversation', '{"code":"already_member"}');
    end if;
    if (select count(*) from conversation_members m where m.conversation_id = conversation_) > most_ then
        perform refuse(422, 'a group has at most ' || most_ || ' people', '{"code":"too_many_members"}');
    end if;
end
$$;

-- Sends a message: 201 with it; 200 with the earlier one of the same nonce within ten minutes. Everybody in the conversation is
-- told, the sender too. No message fills an event's 1 MiB.
drop function if exists send_conversation_message(bigint, bigint, text, text, text);
drop function if exists send_conversation_message(bigint, bigint, text, text, text, text, bigint[]);
create or replace function send_conversation_message(
    conversation_ bigint, actor_ bigint, client_ text, body_ text, nonce_ text, names_ text default '',
    uploads_ bigint[] default '{}', patience_ integer default null,
    out status integer, out answer text, out messages text[]
) language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    sent conversation_messages;
    channels text[];
    noted bigint[];
    seqs bigint[];
    earlier bigint;
begin
    perform be_patient(patience_);
    perform require_participant(actor_, conversation_);
    if nonce_ is not null then
        -- The additions leave the plan no index but the nonces': it is made once, perhaps while the table is empty.
        select max(m.id + 0) into earlier from conversation_messages m
        where m.sender_id = actor_ and m.nonce = nonce_ and m.conversation_id + 0 = conversation_
            and m.created_at > clock_timestamp() - interval '10 minutes';
        if earlier is not null then
            status := 200;
            answer := (select j.message from conversation_messages_json(array[earlier]) j)::text;
            messages := '{}';
            return;
        end if;
    end if;
    perform hold_uploads(actor_, null, conversation_, uploads_);
    channels := array(
        select 'user:' || m.user_id from conversation_members m where m.conversation_id = conversation_ order by m.user_id
    );
    update conversations c set updated_at = clock_timestamp() where c.id = conversation_;
    insert into conversation_messages as m (conversation_id, sender_id, body, nonce)
    values (conversation_, actor_, body_, nonce_)
    returning m.* into sent;
    perform give_uploads('conv_message', sent.id, null, uploads_);
    noted := note_message(sent, names_);
    seqs := take_seqs(channels);
    status := 201;
    answer := shape(
        sent, (select shape(u) from users u where u.id = actor_),
        case when uploads_ <> '{}' then (select a.attachments from attachments_json('conv_message', array[sent.id]) a) end, null
    )::text;
    with written as (
        insert into events (channel, seq, type, payload, actor_id, client_id, entity, created_at)
        select
            e.channel, e.seq, 'dm.message', answer, actor_, client_,
            entity(entity('conversation', conversation_), 'message', sent.id), clock_timestamp()
        from unnest(channels, seqs) e (channel, seq)
        returning *
    )
    select array_agg(bus_message(w::events)) into messages from written w;
    messages := messages || tell_notifications(noted);
end
$$;

-- Sends messages, given as columns in the order they came, and answers each as send_messages does for projects: what
-- send_conversation_message does for one that has neither Idempotency-Key nor nonce. `told` says how many events each had.
--
-- Locks go in one order over the whole group: keys, conversations, accounts, notifications, feeds.
drop function if exists send_conversation_messages(
    bigint[], bigint[], text[], text[], text[], text[], text[], text[], text[]
);
create or replace function send_conversation_messages(
    conversations_ bigint[], actors_ bigint[], clients_ text[], keys_ text[], paths_ text[], hashes_ text[], nonces_ text[],
    bodies_ text[], names_ text[], patience_ integer default null,
    out statuses integer[], out answers text[], out replays boolean[], out told integer[], out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    firsts bigint[];
    here bigint[];
    whys text[];
    sources bigint[];
    going bigint[];
    made bigint[];
    noted bigint[];
    channels text[];
    nths bigint[];
    seqs bigint[];
    shapes text[];
    counts integer[];
    shown text[] := '{}';
    n bigint;
    earlier bigint;
    leader bigint;
begin
    messages := '{}';
    told := array_fill(0, array[cardinality(actors_)]);
    perform be_patient(patience_);
    firsts := take_keys(actors_, paths_, keys_, hashes_);
    -- As require_participant: whoever is in none of them locks nothing, and all are asked again behind the lock.
    here := array(
        select distinct r.conversation
        from unnest(conversations_, actors_, keys_) with ordinality r (conversation, actor, key, place)
        inner join conversation_members m on m.conversation_id = r.conversation and m.user_id = r.actor
        where r.key is null or r.place = any(firsts)
    );
    perform 1 from conversations c where c.id = any(here) order by c.id for no key update;
    perform enter_account(a.id) from (select distinct r.id from unnest(actors_) r (id) order by 1 offset 0) a;
    select
        array_agg(
            case
                when m.user_id is null or r.conversation <> all(here) then 'stranger'
                when not u.is_active or u.deleted_at is not null then 'inactive'
                when u.global_role in ('metrics', 'backup') then 'service'
            end order by r.place
        )
    into whys
    from unnest(conversations_, actors_) with ordinality r (conversation, actor, place)
    left join conversation_members m on m.conversation_id = r.conversation and m.user_id = r.actor
    left join users u on u.id = r.actor;
    select j.statuses, j.answers, j.replays, j.sources, j.going into statuses, answers, replays, sources, going
    from judge(
        actors_, paths_, keys_, hashes_, firsts, whys, array_fill(null::text, array[cardinality(whys)]), 'conversation'
    ) j;

    if going <> '{}' and array_remove(nonces_, null) <> '{}' then
        -- The additions leave the plan no index but the nonces': it is made once, perhaps while the table is empty.
        for n, earlier, leader in
            select g,
                (
                    select max(m.id + 0) from conversation_messages m
                    where m.sender_id = actors_[g] and m.nonce = nonces_[g] and m.conversation_id + 0 = conversations_[g]
                        and m.created_at > clock_timestamp() - interval '10 minutes'
                ),
                min(g) over (partition by conversations_[g], actors_[g], nonces_[g])
            from unnest(going) g where nonces_[g] is not null
        loop
            if earlier is not null then
                shown[n] := entity(entity('conversation', conversations_[n]), 'message', earlier);
                statuses[n] := 200;
                answers[n] := (select j.message from conversation_messages_json(array[earlier]) j)::text;
                going := array_remove(going, n);
            elsif leader <> n then
                sources[n] := leader;
                going := array_remove(going, n);
            end if;
        end loop;
    end if;

    if going <> '{}' then
        with sent as (
            insert into conversation_messages (conversation_id, sender_id, body, nonce)
            select conversations_[g], actors_[g], bodies_[g], nonces_[g] from unnest(going) with ordinality o (g, nth) order by o.nth
            returning id
        )
        select array_agg(s.id order by s.id) into made from sent s;
        update conversations c set updated_at = s.sent_at
        from (
            select m.conversation_id, max(m.created_at) as sent_at from conversation_messages m where m.id = any(made)
            group by m.conversation_id
        ) s
        where c.id = s.conversation_id;
        noted := note_messages(made, array(select names_[g] from unnest(going) with ordinality o (g, nth) order by o.nth));
        select array_agg('user:' || m.user_id order by o.nth, m.user_id), array_agg(o.nth order by o.nth, m.user_id)
        into channels, nths
        from unnest(going) with ordinality o (g, nth)
        inner join conversation_members m on m.conversation_id = conversations_[o.g];
        seqs := take_seqs(channels);
        shapes := array(
            select shape(m, shape(u), null, null)::text
            from unnest(made) with ordinality o (id, nth)
            inner join conversation_messages m on m.id = o.id
            inner join users u on u.id = m.sender_id
            order by o.nth
        );
        -- No joins: each member's event is written from its place in the arrays.
        with written as (
            insert into events (channel, seq, type, payload, actor_id, client_id, entity, created_at)
            select
                e.channel, e.seq, 'dm.message', shapes[e.nth], actors_[going[e.nth]], clients_[going[e.nth]],
                entity(entity('conversation', conversations_[going[e.nth]]), 'message', made[e.nth]), clock_timestamp()
            from unnest(channels, seqs, nths) with ordinality e (channel, seq, nth, place)
            order by e.place
            returning *
        )
        select array_agg(bus_message(w::events) order by w.channel, w.seq) into messages from written w;
        messages := messages || tell_notifications(noted);
        select array_agg(c.events order by c.nth) into counts
        from (
            select
                o.nth,
                (count(*) + (select count(*) from notifications k where k.conversation_message_id = made[o.nth]))::integer as events
            from unnest(nths) o (nth)
            group by o.nth
        ) c;
        for n in 1 .. cardinality(going) loop
            statuses[going[n]] := 201;
            answers[going[n]] := shapes[n];
            told[going[n]] := counts[n];
            shown[going[n]] := entity(entity('conversation', conversations_[going[n]]), 'message', made[n]);
        end loop;
    end if;

    if array_remove(keys_ || nonces_, null) <> '{}' then
        select t.statuses, t.answers, t.replays into statuses, answers, replays
        from answer_twins(
            actors_, paths_, keys_, firsts, sources,
            array(select 'user:' || a.id from unnest(actors_) with ordinality a (id, nth) order by a.nth), shown,
            statuses, answers, replays
        ) t;
    end if;
end
$$;

-- Moves a reader's mark forward. Gives the notifications that are read by it, null when it stays: what names its reader up to
-- there, and, when nothing is unread behind it, that there was something to read. They are locked before the reader's feed, so that
-- a message which would be told by one of them waits; what comes later is not among them.
create or replace function mark_conversation_read(conversation_ bigint, actor_ bigint, message_ bigint) returns bigint[]
language plpgsql as $$
declare
    mark bigint;
    unread bigint[];
begin
    select coalesce(m.last_read_message_id, 0) into mark from conversation_members m
    where m.conversation_id = conversation_ and m.user_id = actor_ for no key update;
    if mark is null then
        perform refuse(404, 'conversation not found');
    end if;
    if not exists (
        select 1 from conversation_messages m where m.id = message_ and m.conversation_id = conversation_
    ) then
        perform refuse(422, 'message_id: there is no such message in this conversation', '{"fields":{"message_id":"unknown"}}');
    end if;
    update conversation_members m set last_read_message_id = message_
    where m.conversation_id = conversation_ and m.user_id = actor_ and message_ > mark;
    if not found then
        return null;
    end if;
    unread := array(
        select n.id from notifications n
        where n.conversation_id = conversation_ and n.user_id = actor_ and n.read_at is null order by n.id for no key update
    );
    return array(
        select n.id from notifications n
        where n.id = any(unread) and case
            when n.kind = 'dm' then not is_unread(conversation_, actor_, message_) else n.conversation_message_id <= message_
        end
    );
end
$$;
