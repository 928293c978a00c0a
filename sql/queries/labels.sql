-- name: all -> value
-- The live labels of a project by id, as one JSON array.
select coalesce(array_to_json(array_agg(shape(l) order by l.id)), '[]')::text
from labels as l
where l.project_id = :project_id::bigint and l.deleted_at is null;

-- name: count -> value
-- How many labels a project has.
select count(*) from labels as l where l.project_id = :project_id::bigint and l.deleted_at is null;

-- name: is_taken -> value, by key
-- Whether another live label of the project has this name, in any case.
select exists(
    select 1 from labels as l
    where
        l.project_id = :project_id::bigint and l.deleted_at is null
        and lower(l.name) = lower(:name::text) and l.id is distinct from :label_id::bigint
);

-- name: create -> one, by key
insert into labels (project_id, name, color) values (:project_id::bigint, :name::text, :color::text)
returning id, shape(labels)::text as json;

-- name: lock -> many, by key
-- A live label, locked: cards that get it wait, see write_lists in sql/changes/cards.sql.
select l.name, l.color from labels as l
where l.id = :label_id::bigint and l.project_id = :project_id::bigint and l.deleted_at is null
for no key update;

-- name: update -> value, by key
-- Another name and color for a locked label; gives its shape.
update labels set name = :name::text, color = :color::text, updated_at = clock_timestamp()
where id = :label_id::bigint
returning shape(labels)::text;

-- name: one -> value, by key
select shape(l)::text from labels as l where l.id = :label_id::bigint;

-- name: delete -> nothing, by key
update labels set deleted_at = clock_timestamp(), updated_at = clock_timestamp() where id = :label_id::bigint;

-- name: take_off -> nothing
-- Takes a label from all cards. Boards learn it from the label's deletion, so no card is written.
delete from card_labels where label_id = :label_id::bigint;
