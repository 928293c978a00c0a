-- Notifications: what happened that concerns one person, kept for that person and told on their own feed.
--
-- A change of a project or a conversation notes whom it concerns as it writes (`note`), and tells them when its own events are
-- written (`tell_notifications`): the feeds of people come after those of projects. Rows come before feeds, in the order of
-- their ids.

-- The beginning of a text, for a notification.
create or replace function preview(text_ text) returns text language sql immutable as $$
select left(btrim(text_, E' \n\r\t'), 120)
$$;

-- Those of some names that an older text did not have: whom an edit names newly. What stood in code there counts as named.
create or replace function new_names(names_ text, old_ text) returns text language sql immutable as $$
select coalesce(string_agg(n.name, ' ' order by n.nth), '')
from unnest(string_to_array(names_, ' ')) with ordinality n (name, nth)
where lower(old_) !~ ('(?<![a-z0-9_.@/+-])@' || replace(n.name, '.', '\.') || '(?![a-z0-9._-]*[a-z0-9_])')
$$;

-- Whom a text of a project names, by usernames with spaces between. "all" is everybody, where a project admin says so and they
-- are at most 10,000: for a second nobody else writes there.
create or replace function people_named(actor_ bigint, project_ bigint, names_ text) returns bigint[] language plpgsql stable as $$
declare
    names text[] := string_to_array(names_, ' ');
    people bigint[];
    everybody bigint[];
begin
    if names_ = '' then
        return '{}';
    end if;
    people := array(select u.id from users u where lower(u.username) = any(names) and u.deleted_at is null);
    if 'all' = any(names) and exists (
        select 1 from users a left join project_members m on m.project_id = project_ and m.user_id = a.id
        where a.id = actor_ and role_rank(effective_role(a.global_role, m.role)) >= role_rank('admin')
    ) then
        everybody := array(select m.user_id from project_members m where m.project_id = project_ limit 10001);
        if cardinality(everybody) <= 10000 then
            people := people || everybody;
        end if;
    end if;
    return people;
end
$$;

-- Notes that something concerns people: each once, of the first kind that is given for them, but not who does it, and nobody who
-- may not see it or does not want to know. `about_` says what it is; who has an unread notification of a conversation's messages gets no other until it is
-- read. Gives the notifications' ids.
create or replace function note(about_ notifications, people_ bigint[], kinds_ text[]) returns bigint[] language plpgsql as $$
declare
    ids bigint[];
begin
    if cardinality(people_) = 0 then
        return '{}';
    end if;
    with concerned as (
        select distinct on (p.id) p.id, p.kind from unnest(people_, kinds_) with ordinality p (id, kind, nth) order by p.id, p.nth
    ), noted as (
        insert into notifications (
            user_id, kind, actor_id, project_id, card_id, comment_id, topic_id, reply_id, chat_message_id, conversation_id,
            conversation_message_id, body, changes, wants_mail
        )
        select
            c.id, c.kind, about_.actor_id, about_.project_id, about_.card_id, about_.comment_id, about_.topic_id, about_.reply_id,
            about_.chat_message_id, about_.conversation_id, about_.conversation_message_id, about_.body, about_.changes,
            notify_choice(u, c.kind) = 'mail' and u.email_notifications
            and talk.muted is not true and reads.muted is not true
        from concerned c
        inner join users u on u.id = c.id
        left join project_members m on m.project_id = about_.project_id and m.user_id = c.id
        left join project_readers reads on reads.project_id = about_.project_id and reads.user_id = c.id
        left join conversation_members talk on talk.conversation_id = about_.conversation_id and talk.user_id = c.id
        where
            c.id is distinct from about_.actor_id and u.is_active and u.deleted_at is null and notify_choice(u, c.kind) <> 'off'
            and case
                when about_.conversation_id is null then effective_role(u.global_role, m.role) is not null
                else talk.user_id is not null and u.global_role in ('admin', 'user', 'viewer')
            end
        order by c.id
        returning id
    )
    select coalesce(array_agg(n.id order by n.id), '{}') into ids from noted n;
    return ids;
end
$$;

-- Of what one change noted for many cards, the first 20 of each person: nobody wants 500.
create or replace function first_of_each(ids_ bigint[]) returns bigint[] language plpgsql as $$
declare
    kept bigint[];
begin
    if cardinality(ids_) <= 20 then
        return ids_;
    end if;
    kept := array(
        select r.id
        from (
            select n.id, row_number() over (partition by n.user_id order by n.id) as nth
            from unnest(ids_) i (id) inner join notifications n on n.id = i.id
        ) r
        where r.nth <= 20
        order by r.id
    );
    delete from notifications n using unnest(ids_) i (id) where n.id = i.id and n.id <> all(kept);
    return kept;
end
$$;

-- Tells people of their new notifications.
create or replace function tell_notifications(ids_ bigint[]) returns text[] language plpgsql as $$
declare
    seqs bigint[];
begin
    if cardinality(ids_) = 0 then
        return '{}';
    end if;
    seqs := take_seqs(array(
        select 'user:' || n.user_id from unnest(ids_) with ordinality i (id, nth) inner join notifications n on n.id = i.id
        order by i.nth
    ));
    return write_events(
        array(
            select row(
                'user:' || n.user_id, 'notification', shape(n)::text, entity(notified_of(n), 'notification', n.id)
            )::new_event
            from unnest(ids_) with ordinality i (id, nth) inner join notifications n on n.id = i.id
            order by i.nth
        ),
        array(
            select n.actor_id from unnest(ids_) with ordinality i (id, nth) inner join notifications n on n.id = i.id order by i.nth
        ),
        array_fill(null::text, array[cardinality(ids_)]), seqs
    );
end
$$;

-- What `note` is told: the row that the notifications of one thing share.
create or replace function about(
    actor_ bigint, body_ text default '', project_ bigint default null, card_ bigint default null, comment_ bigint default null,
    topic_ bigint default null, reply_ bigint default null, chat_message_ bigint default null,
    conversation_ bigint default null, message_ bigint default null, changes_ text[] default null
) returns notifications language plpgsql immutable as $$
declare
    n notifications;
begin
    n.actor_id := actor_;
    n.body := preview(body_);
    n.project_id := project_;
    n.card_id := card_;
    n.comment_id := comment_;
    n.topic_id := topic_;
    n.reply_id := reply_;
    n.chat_message_id := chat_message_;
    n.conversation_id := conversation_;
    n.conversation_message_id := message_;
    n.changes := changes_;
    return n;
end
$$;

-- Notes whom a change of a locked card concerns: who is assigned newly, its assignees when it went to another column, and who
-- watches it.
create or replace function note_card(
    c cards, actor_ bigint, were_assigned_ bigint[], changes_ text[], is_moved_ boolean, is_watched_ boolean
) returns bigint[] language plpgsql as $$
declare
    people bigint[];
    kinds text[];
begin
    select array_agg(p.id order by p.rank, p.id), array_agg(p.kind order by p.rank, p.id) into people, kinds
    from (
        select a.user_id as id, 'assigned' as kind, 1 as rank from card_assignees a
        where were_assigned_ is not null and a.card_id = c.id and a.user_id <> all(were_assigned_)
        union all
        select a.user_id, 'assigned_moved', 2 from card_assignees a where is_moved_ and a.card_id = c.id
        union all
        select w.user_id, 'watched_updated', 3 from card_watchers w where is_watched_ and w.card_id = c.id
    ) p;
    if people is null then
        return '{}';
    end if;
    return note(
        about(
            actor_, project_ => c.project_id, card_ => c.id,
            changes_ => case when is_moved_ then changes_ || '{column_id}' else changes_ end
        ),
        people, kinds
    );
end
$$;

-- Notes whom a new comment concerns: whom it names, who is assigned to its card, who watches it.
create or replace function note_comment(c cards, m card_comments, names_ text) returns bigint[] language plpgsql as $$
declare
    people bigint[];
    kinds text[];
begin
    select array_agg(p.id order by p.rank, p.id), array_agg(p.kind order by p.rank, p.id) into people, kinds
    from (
        select n.id, 'mention' as kind, 1 as rank from unnest(people_named(m.user_id, c.project_id, names_)) n (id)
        union all
        select a.user_id, 'assigned_commented', 2 from card_assignees a where a.card_id = c.id
        union all
        select w.user_id, 'watched_updated', 3 from card_watchers w where w.card_id = c.id
    ) p;
    if people is null then
        return '{}';
    end if;
    return note(about(m.user_id, m.body, c.project_id, c.id, m.id), people, kinds);
end
$$;

-- Notes whom a text of a project names.
create or replace function note_names(about_ notifications, names_ text) returns bigint[] language plpgsql as $$
declare
    people bigint[] := people_named(about_.actor_id, about_.project_id, names_);
begin
    return note(about_, people, array_fill('mention'::text, array[cardinality(people)]));
end
$$;

-- Notes that a message was sent, for all others of its conversation: whom it names, and who has read all before. While somebody
-- has an unread notification of the conversation's messages they get no other: it says that there is something to read. It is
-- locked, so that who reads it now has not read this message.
create or replace function note_message(sent conversation_messages, names_ text) returns bigint[] language plpgsql as $$
declare
    named bigint[] := people_named(null, null, names_);
    waiting bigint[];
    people bigint[];
begin
    waiting := array(
        select n.user_id from notifications n
        where n.conversation_id = sent.conversation_id and n.kind = 'dm' and n.read_at is null
        order by n.id for no key update
    );
    people := array(
        select m.user_id from conversation_members m
        where m.conversation_id = sent.conversation_id and m.user_id <> sent.sender_id and m.user_id <> all(waiting || named)
    );
    return note(
        about(sent.sender_id, sent.body, conversation_ => sent.conversation_id, message_ => sent.id), named || people,
        array_fill('mention'::text, array[cardinality(named)]) || array_fill('dm'::text, array[cardinality(people)])
    );
end
$$;

-- The same for new messages of several conversations, in their order; all that is unread there is locked before, in one order. Who
-- names nobody is noted for the first of a conversation and for the first by somebody else: after those nobody is left.
create or replace function note_messages(sent_ bigint[], names_ text[]) returns bigint[] language plpgsql as $$
declare
    noted bigint[] := '{}';
    place bigint;
begin
    perform 1 from notifications n
    where n.id = any(array(
        select w.id
        from (select distinct m.conversation_id as id from conversation_messages m where m.id = any(sent_)) c
        cross join lateral (
            -- `offset` keeps it apart: looked up by conversation, also by a plan made while nothing was unread.
            select k.id from notifications k where k.conversation_id = c.id and k.kind = 'dm' and k.read_at is null
            offset 0
        ) w
    ))
    order by n.id for no key update;
    foreach place in array array(
        select r.nth
        from (
            select
                f.nth, f.is_named,
                row_number() over (partition by f.conversation_id, f.is_named, f.sender_id = f.leader order by f.nth) as turn
            from (
                select
                    s.nth, m.conversation_id, m.sender_id, names_[s.nth] <> '' as is_named,
                    first_value(m.sender_id) over (partition by m.conversation_id, names_[s.nth] <> '' order by s.nth) as leader
                from unnest(sent_) with ordinality s (id, nth)
                inner join conversation_messages m on m.id = s.id
            ) f
        ) r
        where r.is_named or r.turn = 1
        order by r.nth
    ) loop
        noted := noted || (select note_message(m, names_[place]) from conversation_messages m where m.id = sent_[place]);
    end loop;
    return noted;
end
$$;

-- Marks notifications of one person as read, and tells it to all that the person has open.
create or replace function read_notifications(user_ bigint, ids_ bigint[], client_ text default null) returns text[] language plpgsql as $$
declare
    ids bigint[];
    seqs bigint[];
begin
    with unread as (
        select n.id from notifications n
        where n.user_id = user_ and n.id = any(ids_) and n.read_at is null order by n.id for no key update
    ), now_read as (
        update notifications n set read_at = clock_timestamp(), wants_mail = false from unread u where n.id = u.id returning n.id
    )
    select array_agg(r.id order by r.id) into ids from now_read r;
    if ids is null then
        return '{}';
    end if;
    seqs := take_seqs(array_fill('user:' || user_, array[cardinality(ids)]));
    return write_events(
        array(
            select new_event(
                'user:' || user_, 'notification.read', row_to_json(row(i.id, u.unread)::notification_read_shape),
                entity('notification', i.id)
            )
            from unnest(ids) i (id) cross join (select unread_notifications(user_) as unread) u
            order by i.id
        ), user_, client_, seqs
    );
end
$$;

-- A notification of one's own was read; 404 for another's.
create or replace function read_notification(
    actor_ bigint, client_ text, id_ bigint, out status integer, out answer text, out messages text[]
) language plpgsql as $$
begin
    perform require_notification(actor_, id_);
    status := 204;
    answer := '';
    messages := read_notifications(actor_, array[id_], client_);
end
$$;

create or replace function require_notification(actor_ bigint, id_ bigint) returns void language plpgsql as $$
begin
    if not exists (select 1 from notifications n where n.id = id_ and n.user_id = actor_) then
        perform refuse(404, 'notification not found');
    end if;
end
$$;

-- All that was told of until its event is read. What is written meanwhile is told after it, because the feed is locked; and what
-- was written just before the lock is marked as well, unless it is being deleted.
create or replace function read_all_notifications(
    actor_ bigint, client_ text, out status integer, out answer text, out messages text[]
) language plpgsql as $$
declare
    seq_ bigint;
    unread_ bigint;
begin
    status := 204;
    answer := '';
    messages := '{}';
    perform 1 from notifications n where n.user_id = actor_ and n.read_at is null order by n.id for no key update;
    if not found then
        return;
    end if;
    update notifications n set read_at = clock_timestamp(), wants_mail = false where n.user_id = actor_ and n.read_at is null;
    seq_ := take_seq('user:' || actor_);
    update notifications n set read_at = clock_timestamp(), wants_mail = false
    from (
        select k.id from notifications k where k.user_id = actor_ and k.read_at is null order by k.id for no key update skip locked
    ) late
    where n.id = late.id;
    unread_ := unread_notifications(actor_);
    messages := write_event(
        seq_, 'user:' || actor_, 'notification.read', row_to_json(row(true, unread_)::notifications_read_shape)::text,
        entity('user', actor_), actor_, client_
    );
end
$$;

-- Deletes notifications, whose own that may be, and tells those people, that they are gone with all that was told of `entity_`;
-- and marks `done_` as read, which is told as well.
drop function if exists forget_notifications(bigint, text, bigint[], text);
create or replace function forget_notifications(
    actor_ bigint, entity_ text, ids_ bigint[], client_ text default null, done_ bigint[] default '{}'
) returns text[] language plpgsql as $$
declare
    people bigint[];
    forgotten text[];
    now_read bigint[];
    seqs bigint[];
begin
    if cardinality(ids_ || done_) = 0 then
        return '{}';
    end if;
    with known as (
        select n.id from notifications n where n.id = any(ids_ || done_) order by n.id for update
    ), gone as (
        delete from notifications n using known k where n.id = k.id and n.id = any(ids_) returning n.user_id, n.id
    ), done as (
        update notifications n set read_at = clock_timestamp(), wants_mail = false
        from known k where n.id = k.id and n.id <> all(ids_) and n.read_at is null
        returning n.user_id, n.id
    ), each_one as (
        select g.user_id, array_to_json(array_agg(g.id order by g.id))::text as ids, null::bigint as id from gone g group by g.user_id
        union all
        select d.user_id, null, d.id from done d
    )
    select
        array_agg(e.user_id order by e.user_id, e.id), array_agg(e.ids order by e.user_id, e.id),
        array_agg(e.id order by e.user_id, e.id)
    into people, forgotten, now_read from each_one e;
    if people is null then
        return '{}';
    end if;
    seqs := take_seqs(array(select 'user:' || p.id from unnest(people) with ordinality p (id, nth) order by p.nth));
    return write_events(
        array(
            select
                case when p.done is null then row(
                    'user:' || p.id, 'notification.deleted',
                    '{"ids":' || p.ids || ',"unread_count":' || unread_notifications(p.id) || '}', entity_
                )::new_event
                else new_event(
                    'user:' || p.id, 'notification.read',
                    row_to_json(row(p.done, unread_notifications(p.id))::notification_read_shape), entity('notification', p.done)
                ) end
            from unnest(people, forgotten, now_read) with ordinality p (id, ids, done, nth) order by p.nth
        ), actor_, client_, seqs
    );
end
$$;

-- Blanks what was told of notifications that are kept no longer: whoever deletes afterwards what they were about finds nobody who
-- was told of it. Gives how many they are.
create or replace function forget_told(channels_ text[], told_of_ text[]) returns bigint language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
begin
    update events e set type = 'gone', payload = '{}'
    from unnest(channels_, told_of_) g (channel, told_of)
    where e.channel = g.channel and e.entity = g.told_of and e.type <> 'gone';
    return coalesce(cardinality(channels_), 0);
end
$$;

-- Deletes one of one's own; 404 for another's.
create or replace function delete_notification(
    actor_ bigint, client_ text, id_ bigint, out status integer, out answer text, out messages text[]
) language plpgsql as $$
begin
    perform require_notification(actor_, id_);
    status := 204;
    answer := '';
    messages := forget_notifications(
        actor_, (select entity(notified_of(n), 'notification', n.id) from notifications n where n.id = id_), array[id_], client_
    );
end
$$;

-- Forgets what is about a deleted message of a conversation. Who had been told by it that there is something to read, and still has
-- something, is told by the next message; who had been told by another, which they have read, and has nothing left, has read that.
create or replace function forget_message(actor_ bigint, conversation_ bigint, message_ bigint) returns text[] language plpgsql as $$
declare
    readers bigint[] := array(
        select n.user_id from notifications n
        where n.conversation_message_id = message_ and n.kind = 'dm' and n.read_at is null
    );
    next_id bigint;
    people bigint[];
    noted bigint[] := '{}';
    told text[];
begin
    told := forget_notifications(
        actor_, entity(entity('notified_in', conversation_), 'message', message_),
        array(select n.id from notifications n where n.conversation_message_id = message_),
        done_ => array(
            select n.id from notifications n
            inner join conversation_members m on m.conversation_id = n.conversation_id and m.user_id = n.user_id
            where n.conversation_id = conversation_ and n.kind = 'dm' and n.read_at is null
                and n.conversation_message_id <> message_
                and not is_unread(conversation_, n.user_id, m.last_read_message_id)
        )
    );
    for next_id, people in
        select k.id, array_agg(m.user_id) from conversation_members m
        cross join lateral (
            select o.id from conversation_messages o
            where o.conversation_id = conversation_ and o.id > coalesce(m.last_read_message_id, 0)
                and o.sender_id <> m.user_id and not o.is_deleted
            order by o.id limit 1
        ) k
        where m.conversation_id = conversation_ and m.user_id = any(readers)
        group by k.id order by k.id
    loop
        noted := noted || (
            select note(
                about(o.sender_id, o.body, conversation_ => conversation_, message_ => o.id),
                people, array_fill('dm'::text, array[cardinality(people)])
            )
            from conversation_messages o where o.id = next_id
        );
    end loop;
    return told || tell_notifications(noted);
end
$$;
