-- name: page -> one
-- A page of a live card's links, the newest first, before an id.
select page.items, page.next
from projects as p
inner join cards as k on k.id = card_id(p, :card::text)
cross join lateral links_page(k.id, :before::bigint, :limit::integer) as page
where p.id = :project_id::bigint and k.deleted_at is null;

-- name: create -> one, by key
-- A new link: see create_link in sql/changes/links.sql.
select status, answer, messages
from create_link(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :card::text, :platform::text, :link_type::text, :title::text, :url::text, :reference::text,
    :author::text, :status::text, :repo_name::text
);

-- name: delete -> one, by key
-- See delete_link in sql/changes/links.sql.
select status, answer, messages
from delete_link(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :card::text, :link_id::bigint
);
