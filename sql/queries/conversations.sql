-- name: enter -> one, by key
-- Locks the conversation for somebody in it, and refuses everybody else: see require_participant in
-- sql/changes/conversations.sql.
select p.is_group, p.created_by_id, p.global_role
from require_participant(:actor::bigint, :id::bigint, :newcomer::bigint) as p;

-- name: open -> one, by key
-- The conversation of the actor with others, and whether it is new: see open_conversation.
select o.opened as id, o.is_new from open_conversation(:actor::bigint, :others::bigint[], :name::text, :field::text) as o;

-- name: page -> one
-- A page of somebody's conversations, the last active first, before a moment (in microseconds since 1970) and id. It ends after
-- `bytes`, but not before its first one.
with chosen as (
    select c.id, c.updated_at, row_number() over (order by c.updated_at desc, c.id desc) as nth
    from conversation_members as m
    inner join conversations as c on c.id = m.conversation_id
    where
        m.user_id = :reader::bigint
        and (
            :before_id::bigint is null
            or (c.updated_at, c.id) < (to_timestamp(0) + :before_us::bigint * interval '1 microsecond', :before_id::bigint)
        )
    order by c.updated_at desc, c.id desc
    limit :limit::integer + 1
), listed as (
    select array_agg(o.id order by o.nth) as ids from chosen as o where o.nth <= :limit::integer
), made as materialized (
    select j.id, j.conversation
    from listed as l, lateral first_conversations(l.ids, :reader::bigint, :bytes::bigint) as j
    where l.ids is not null
)
select
    '[' || coalesce(string_agg(j.conversation, ',' order by o.nth), '') || ']' as items,
    case
        when count(*) < (select count(*) from chosen) then json_build_array(
            (extract(epoch from min(o.updated_at)) * 1000000)::bigint, (array_agg(o.id order by o.nth desc))[1]
        )
    end as next
from chosen as o
inner join made as j on j.id = o.id;

-- name: seen -> value, by key
-- One conversation as somebody in it sees it.
select conversation_seen(m.conversation_id, m.user_id)
from conversation_members as m
where m.conversation_id = :id::bigint and m.user_id = :reader::bigint;

-- name: shape -> value, by key
-- One conversation as all in it see it.
select shape(c)::text from conversations as c where c.id = :id::bigint;

-- name: members -> many, by key
-- The ids of those in a conversation.
select m.user_id from conversation_members as m where m.conversation_id = :id::bigint order by m.user_id;

-- name: name -> nothing, by key
update conversations set name = :name::text, updated_at = clock_timestamp() where id = :id::bigint;

-- name: name_of -> value, by key
select c.name from conversations as c where c.id = :id::bigint;

-- name: is_group -> value, by key
-- Whether a conversation is a group; no row to who is not in it.
select c.is_group
from conversation_members as m
inner join conversations as c on c.id = m.conversation_id
where m.conversation_id = :id::bigint and m.user_id = :reader::bigint;

-- name: picture -> value, by key
-- Another picture for a locked conversation, or none; gives whether it is another.
with changed as (
    update conversations set avatar = :avatar::text, updated_at = clock_timestamp()
    where id = :id::bigint and avatar is distinct from :avatar::text
    returning 1
)
select exists (select 1 from changed);

-- name: add -> nothing, by key
-- Puts somebody into a locked group: see add_participant.
select add_participant(:id::bigint, :user_id::bigint, :most::integer);

-- name: participant -> value, by key
-- Somebody in a conversation as JSON text.
select shape(m, u)::text
from conversation_members as m
inner join users as u on u.id = m.user_id
where m.conversation_id = :id::bigint and m.user_id = :user_id::bigint;

-- name: remove -> value, by key
delete from conversation_members where conversation_id = :id::bigint and user_id = :user_id::bigint returning user_id;

-- name: empty -> nothing, by key
-- The last one left: nobody sees it any more.
update conversations set emptied_at = clock_timestamp() where id = :id::bigint;

-- name: read -> value, by key
-- Moves the mark forward, and gives what is read by it: see mark_conversation_read.
select mark_conversation_read(:id::bigint, :actor::bigint, :message_id::bigint);

-- name: mute -> value, by key
update conversation_members set muted = :muted::boolean
where conversation_id = :id::bigint and user_id = :actor::bigint
returning user_id;

-- name: partners -> many
-- Those who are in a conversation with somebody, and the somebody as they see them; `limit` at most.
select s.user_id, guest_json(u)::text as shaped
from (
    select distinct others.user_id
    from conversation_members as mine
    inner join conversation_members as others on others.conversation_id = mine.conversation_id
    where mine.user_id = :user_id and others.user_id <> :user_id
) as s
inner join users as u on u.id = :user_id
order by s.user_id
limit :limit::integer;

-- name: send -> one, by key
-- Sends a group of messages and answers each: see send_conversation_messages in sql/changes/conversations.sql.
select statuses, answers, replays, told, messages
from send_conversation_messages(
    :places::bigint[], :actors::bigint[], :clients::text[], :keys::text[], :paths::text[], :hashes::text[], :nonces::text[],
    :bodies::text[], :names::text[], :patience::integer
);

-- name: send_alone -> one, by key
-- Sends one message that has neither key nor nonce: see send_conversation_message.
select answer, cardinality(messages) as told, messages
from send_conversation_message(
    :place::bigint, :actor::bigint, :client::text, :body::text, null, :names::text, '{}', :patience::integer
);

-- name: send_with_files -> one, by key
-- Sends one message with files: see send_conversation_message.
select status, answer, messages
from send_conversation_message(
    :id::bigint, :actor::bigint, :client::text, :body::text, :nonce::text, :names::text, :uploads::bigint[]
);

-- name: messages -> one
-- A page of the messages that were not deleted, as `page` in chat.sql; no row to who is not in the conversation.
with live as not materialized (
    select m.id from conversation_messages as m
    where
        m.conversation_id = :id::bigint and not m.is_deleted
        and m.id < coalesce(:before::bigint, 9223372036854775807) and m.id > coalesce(:after::bigint, 0)
), chosen as (
    (
        select live.id, row_number() over (order by live.id desc) as nth, :limit::integer as most from live
        where :after::bigint is null and :around::bigint is null
        order by live.id desc limit :limit::integer + 1
    )
    union all
    (
        select live.id, row_number() over (order by live.id) as nth, :limit::integer as most from live
        where :after::bigint is not null
        order by live.id limit :limit::integer + 1
    )
    union all
    (
        select live.id, row_number() over (order by live.id desc) as nth, (:limit::integer + 1) / 2 as most from live
        where :after::bigint is null and live.id <= :around::bigint
        order by live.id desc limit (:limit::integer + 1) / 2 + 1
    )
    union all
    (
        select live.id, row_number() over (order by live.id) as nth, :limit::integer / 2 as most from live
        where :after::bigint is null and live.id > :around::bigint
        order by live.id limit :limit::integer / 2 + 1
    )
), listed as (
    select array_agg(c.id order by c.nth, c.id) as ids from chosen as c where c.nth <= c.most
), page as (
    select
        '[' || coalesce(string_agg(j.message::text, ',' order by j.id), '') || ']' as items, min(j.id) as first_id, max(j.id) as last_id
    from listed as l, lateral first_conversation_messages(l.ids, :bytes::bigint) as j
    where l.ids is not null
)
select
    p.items, p.first_id, p.last_id,
    exists (select 1 from chosen as c where c.id < p.first_id) as older,
    exists (select 1 from chosen as c where c.id > p.last_id) as newer
from conversation_members as r
cross join page as p
where r.conversation_id = :id::bigint and r.user_id = :reader::bigint;

-- name: lock_message -> one, by key
-- A message of a locked conversation that was not deleted.
select m.id, m.sender_id, m.body, m.version
from conversation_messages as m
where m.id = :message_id::bigint and m.conversation_id = :id::bigint and not m.is_deleted
for no key update;

-- name: require_version -> nothing, by key
-- Refuses when the client saw another version than the present one.
select require_version(:version::integer, m.version, :conflict_status::integer, 'message', j.message)
from conversation_messages as m
inner join conversation_messages_json(array[:message_id::bigint]) as j on j.id = m.id
where m.version <> :version::integer;

-- name: edit -> nothing, by key
update conversation_messages set body = :body, is_edited = true, version = version + 1, updated_at = clock_timestamp()
where id = :message_id::bigint;

-- name: delete -> nothing, by key
-- The row stays, flagged; its text is shown to nobody, and its files go.
with gone as (
    delete from attachments where owner_type = 'conv_message' and owner_id = :message_id::bigint
)
update conversation_messages set is_deleted = true, version = version + 1, updated_at = clock_timestamp()
where id = :message_id::bigint;

-- name: message -> value, by key
-- One message as JSON text.
select j.message::text from conversation_messages_json(array[:message_id::bigint]) as j;

-- name: unread -> one
-- In how many conversations somebody has not read others' messages, `limit` at most, how many notifications are unread, and the
-- head of the person's feed at that moment.
select
    unread_notifications(:reader::bigint) as notifications,
    coalesce((select f.seq from feeds as f where f.channel = :channel::text), 0) as seq,
    (
        select count(*)
        from (
            select 1 from conversation_members as m
            where m.user_id = :reader::bigint and is_unread(m.conversation_id, m.user_id, m.last_read_message_id)
            limit :limit::integer
        ) as n
    ) as conversations;
