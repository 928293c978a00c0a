-- name: send -> one, by key
-- Sends a group of messages and answers each: see send_messages in sql/changes/chat.sql.
select statuses, answers, replays, told, messages
from send_messages(
    :places::bigint[], :actors::bigint[], :needs::text[], :clients::text[], :keys::text[], :paths::text[], :hashes::text[],
    :nonces::text[], :bodies::text[], :names::text[], :patience::integer
);

-- name: send_alone -> one, by key
-- Sends one message that has neither key nor nonce: see send_message in sql/changes/chat.sql.
select answer, cardinality(messages) as told, messages
from send_message(
    :place::bigint, :actor::bigint, :client::text, :need::text, :body::text, :names::text, :patience::integer
);

-- name: send_with_files -> one, by key
-- Sends one message with files: see send_message_with_files in sql/changes/chat.sql.
select status, answer, messages
from send_message_with_files(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :body::text, :nonce::text, :uploads::bigint[], :names::text
);

-- name: page -> one
-- A page of the messages that were not deleted, oldest first: the newest, the newest before an id, the oldest after an
-- id, or, with neither but `around`, those on both sides of it. It ends after `bytes`, at the side away from where it begins, but
-- not before its first message. With the first and last id, and whether it goes on with `older` or `newer` ones.
-- `not materialized`: each branch reads its page and no more.
with live as not materialized (
    select m.id, octet_length(m.body) as octets from chat_messages as m
    where
        m.project_id = :project_id::bigint and not m.is_deleted
        and (:before::bigint is null or m.id < :before::bigint)
        and (:after::bigint is null or m.id > :after::bigint)
), chosen as (
    (
        select live.id, live.octets, row_number() over (order by live.id desc) as nth, :limit::integer as most from live
        where :after::bigint is null and :around::bigint is null
        order by live.id desc limit :limit::integer + 1
    )
    union all
    (
        select live.id, live.octets, row_number() over (order by live.id) as nth, :limit::integer as most from live
        where :after::bigint is not null
        order by live.id limit :limit::integer + 1
    )
    union all
    (
        select live.id, live.octets, row_number() over (order by live.id desc) as nth, (:limit::integer + 1) / 2 as most from live
        where :after::bigint is null and live.id <= :around::bigint
        order by live.id desc limit (:limit::integer + 1) / 2 + 1
    )
    union all
    (
        select live.id, live.octets, row_number() over (order by live.id) as nth, :limit::integer / 2 as most from live
        where :after::bigint is null and live.id > :around::bigint
        order by live.id limit :limit::integer / 2 + 1
    )
), listed as (
    select array_agg(c.id order by c.nth, c.id) as ids, sum(c.octets) as octets from chosen as c where c.nth <= c.most
), page as (
    select
        '[' || coalesce(string_agg(j.message::text, ',' order by j.id), '') || ']' as items, min(j.id) as first_id, max(j.id) as last_id
    from listed as l, lateral first_messages(l.ids, l.octets, :bytes::bigint) as j
    where l.ids is not null
)
select
    p.items, p.first_id, p.last_id,
    exists (select 1 from chosen as c where c.id < p.first_id) as older,
    exists (select 1 from chosen as c where c.id > p.last_id) as newer
from page as p;

-- name: lock -> one, by key
-- A message that was not deleted, locked.
select m.id, m.user_id, m.is_bot, m.body, m.version
from chat_messages as m
where m.id = :id::bigint and m.project_id = :project_id::bigint and not m.is_deleted
for no key update;

-- name: require_version -> nothing, by key
-- Refuses when the client saw another version than the present one.
select require_version(:version::integer, m.version, :conflict_status::integer, 'message', j.message)
from chat_messages as m
inner join messages_json(array[:id::bigint]) as j on j.id = m.id
where m.version <> :version::integer;

-- name: edit -> nothing, by key
update chat_messages set body = :body, is_edited = true, version = version + 1, updated_at = clock_timestamp() where id = :id::bigint;

-- name: delete -> nothing, by key
-- The row stays, flagged; its text is shown to nobody, and its files go.
with gone as (
    delete from attachments where owner_type = 'chat_message' and owner_id = :id::bigint
)
update chat_messages set is_deleted = true, version = version + 1, updated_at = clock_timestamp() where id = :id::bigint;

-- name: read -> value, by key
-- Moves the mark forward, and gives what is read by it: see mark_chat_read.
select mark_chat_read(:project_id::bigint, :actor::bigint, :message_id::bigint);

-- name: read_mark -> value, by key
-- How far somebody has read, as their other tabs hear of it.
select chat_read_json(p.slug, r.last_read_message_id, chat_unread_count(p.id, r.user_id, r.last_read_message_id))::text
from projects as p
inner join project_readers as r on r.project_id = p.id and r.user_id = :user_id::bigint
where p.id = :project_id::bigint;

-- name: shape -> value, by key
-- One message as JSON text.
select j.message::text from messages_json(array[:id::bigint]) as j;
