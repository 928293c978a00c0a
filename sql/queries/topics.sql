-- name: create -> one, by key
-- A new topic: see create_topic in sql/changes/topics.sql.
select status, answer, messages
from create_topic(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :title::text, :body::text, :names::text
);

-- name: page -> one
-- A page of a project's live topics, pinned ones first and then the newest, after a topic's place. However long their texts are,
-- 500 of them have less than 8 MiB: see listed_topic in sql/shapes/topics.sql.
with chosen as (
    select t.id, t.is_pinned, row_number() over (order by t.is_pinned desc, t.id desc) as nth
    from topics as t
    where
        t.project_id = :project_id::bigint and t.deleted_at is null
        and (t.is_pinned, t.id) < (coalesce(:after_pinned::boolean, true), coalesce(:after_id::bigint, 9223372036854775807))
    order by t.is_pinned desc, t.id desc
    limit :limit::integer + 1
)
select
    '[' || coalesce(
        string_agg(listed_topic(t::topics, shape(u))::text, ',' order by c.nth) filter (where c.nth <= :limit::integer), ''
    ) || ']' as items,
    case
        when count(*) > :limit::integer then json_build_array(
            bool_or(c.is_pinned) filter (where c.nth = :limit::integer), min(c.id) filter (where c.nth = :limit::integer)
        )
    end as next
from chosen as c
inner join topics as t on t.id = c.id
inner join users as u on u.id = t.user_id;

-- name: detail -> one
-- A live topic with its first replies, within so many bytes: see topic_detail in sql/shapes/topics.sql.
select topic_detail(t, r.items, r.more) as topic
from topics as t
cross join lateral page_of_replies(t.id, null, null, :limit::integer, :bytes::bigint) as r
where t.id = :id::bigint and t.project_id = :project_id::bigint and t.deleted_at is null;

-- name: lock -> one, by key
-- A live topic, locked.
select t.id, t.user_id, t.body
from topics as t
where t.id = :id::bigint and t.project_id = :project_id::bigint and t.deleted_at is null
for no key update;

-- name: require_version -> nothing, by key
-- Refuses when the client saw another version than the present one.
select require_version(:version::integer, t.version, :conflict_status::integer, 'topic', topic_json(t))
from topics as t
where t.id = :id::bigint and t.version <> :version::integer;

-- name: write -> many, by key
-- Writes what is given and differs into a locked topic; no row when nothing does.
update topics set
    title = coalesce(:title::text, title),
    body = coalesce(:body::text, body),
    is_pinned = coalesce(:is_pinned::boolean, is_pinned),
    is_edited = is_edited or coalesce(:title::text <> title, false) or coalesce(:body::text <> body, false),
    version = version + 1,
    updated_at = clock_timestamp()
where id = :id::bigint and (:title::text <> title or :body::text <> body or :is_pinned::boolean <> is_pinned)
returning id;

-- name: delete -> nothing, by key
-- Hides a locked topic everywhere, and with it its replies.
update topics set deleted_at = clock_timestamp(), version = version + 1, updated_at = clock_timestamp() where id = :id::bigint;

-- name: shape -> value, by key
-- One topic as JSON text.
select topic_json(t)::text from topics as t where t.id = :id::bigint;
