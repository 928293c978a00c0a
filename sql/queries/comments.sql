-- name: page -> one
-- A page of a live card's comments: see comments_page in sql/shapes/comments.sql.
select page.items, page.end_id, page.more
from projects as p
inner join cards as k on k.id = card_id(p, :card::text)
cross join lateral comments_page(k.id, :before::bigint, :after::bigint, :limit::integer, :bytes::bigint) as page
where p.id = :project_id::bigint and k.deleted_at is null;

-- name: create -> one, by key
-- A new comment: see create_comment in sql/changes/comments.sql.
select status, answer, messages
from create_comment(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :card::text, :body::text, :minutes::integer, :names::text, :uploads::bigint[]
);

-- name: text -> one, by key
-- What a comment says, and at which version.
select m.body, m.version
from card_comments as m
where m.project_id = :project_id::bigint and m.id = :id::bigint and m.deleted_at is null;

-- name: update -> one, by key
-- Another text: see update_comment in sql/changes/comments.sql.
select status, answer, messages
from update_comment(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :card::text, :comment_id::bigint, :body::text, :minutes::integer, :names::text,
    :names_of::integer
);

-- name: delete -> one, by key
-- See delete_comment in sql/changes/comments.sql.
select status, answer, messages
from delete_comment(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :card::text, :comment_id::bigint
);
