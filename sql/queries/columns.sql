-- name: all -> value
-- The live columns of a project in board order, as one JSON array.
select columns_json(:project_id);

-- name: lock_all -> many
-- The live columns of a project, locked by id, so that their number, order and cards stay as they are.
select c.id, c.position, c.version from columns as c
where c.project_id = :project_id and c.deleted_at is null
order by c.id
for no key update;

-- name: lock -> many, by key
select c.id, c.name, c.color, c.wip_limit, c.version from columns as c
where c.id = :column_id and c.project_id = :project_id and c.deleted_at is null
for no key update;

-- name: require_version -> nothing, by key
select require_version(:seen::integer, :present::integer, :conflict_status::integer, 'column', column_json(:column_id));

-- name: one -> value
select column_json(:column_id);

-- name: create -> one, by key
-- A column behind the others.
insert into columns (project_id, name, color, wip_limit, position)
select :project_id::bigint, :name::text, :color::text, :wip_limit::integer, coalesce(max(c.position), 0) + 1000
from columns as c where c.project_id = :project_id::bigint and c.deleted_at is null
returning id, shape(columns, 0::bigint) as json;

-- name: update -> nothing, by key
update columns
set name = :name, color = :color, wip_limit = :wip_limit, version = version + 1, updated_at = clock_timestamp()
where id = :column_id;

-- name: place -> nothing, by key
-- Gives the columns the positions 1000, 2000 … in the order of their ids here.
update columns as c set position = 1000 * n.nth
from unnest(:ids::bigint[]) with ordinality as n (id, nth)
where c.id = n.id;

-- name: places -> value
-- What columns_reordered says.
select columns_reordered(:project_id::bigint);

-- name: delete -> one, by key
-- Deletes a column: see delete_column in sql/changes/columns.sql.
select messages, moved
from delete_column(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :column_id::bigint, :target::bigint, :most::integer
);
