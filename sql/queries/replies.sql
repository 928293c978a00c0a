-- name: create -> one, by key
-- A reply to a topic: see create_reply in sql/changes/topics.sql.
select status, answer, messages
from create_reply(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :topic_id::bigint, :body::text, :names::text
);

-- name: page -> one
-- A page of a live topic's replies: see page_of_replies in sql/shapes/topics.sql. No row when the project has no such topic.
select '[' || r.items || ']' as items, r.end_id, r.more
from topics as t
cross join lateral page_of_replies(t.id, :before::bigint, :after::bigint, :limit::integer, :bytes::bigint) as r
where t.id = :topic_id::bigint and t.project_id = :project_id::bigint and t.deleted_at is null;

-- name: lock -> one, by key
-- A live reply of a locked topic, locked.
select r.id, r.user_id, r.body
from topic_replies as r
where r.id = :id::bigint and r.topic_id = :topic_id::bigint and r.deleted_at is null
for no key update;

-- name: require_version -> nothing, by key
-- Refuses when the client saw another version than the present one.
select require_version(:version::integer, r.version, :conflict_status::integer, 'reply', reply_json(r))
from topic_replies as r
where r.id = :id::bigint and r.version <> :version::integer;

-- name: write -> many, by key
-- Another text for a locked reply; no row when it is the same.
update topic_replies set body = :body::text, is_edited = true, version = version + 1, updated_at = clock_timestamp()
where id = :id::bigint and body <> :body::text
returning id;

-- name: delete -> nothing, by key
-- Hides a locked reply everywhere; its locked topic counts it no more.
with gone as (
    update topic_replies set deleted_at = clock_timestamp(), version = version + 1, updated_at = clock_timestamp()
    where id = :id::bigint
    returning topic_id
)
update topics as t set reply_count = t.reply_count - 1 from gone as g where t.id = g.topic_id;

-- name: shape -> value, by key
-- One reply as JSON text.
select reply_json(r)::text from topic_replies as r where r.id = :id::bigint;
