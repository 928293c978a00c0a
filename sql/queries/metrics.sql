-- name: projects -> value
-- How many projects are not archived.
select count(*) from projects where not is_archived;

-- name: columns -> many
-- Columns of each project that is not archived: the projects last active by name, the others under ''.
with active as (
    select p.id, p.slug, row_number() over (order by p.updated_at desc, p.id desc) <= :shown::integer as shown
    from projects as p
    where not p.is_archived
)
select case when a.shown then a.slug else '' end as project, count(*) as columns
from active as a
inner join columns as c on c.project_id = a.id and c.deleted_at is null
group by 1;

-- name: cards -> many
-- Open and closed cards of each column: of the projects last active by column, of the others together.
with active as (
    select p.id, p.slug, row_number() over (order by p.updated_at desc, p.id desc) <= :shown::integer as shown
    from projects as p
    where not p.is_archived
), counted as (
    select column_id, closed, count(*) as cards
    from cards
    where deleted_at is null and archived_at is null
    group by column_id, closed
)
select
    case when a.shown then a.slug else '' end as project,
    case when a.shown then c.id::text else '' end as column_id,
    case when a.shown then c.name else '' end as name,
    n.closed,
    sum(n.cards)::bigint as cards
from active as a
inner join columns as c on c.project_id = a.id and c.deleted_at is null
inner join counted as n on n.column_id = c.id
group by 1, 2, 3, 4;

-- name: users -> many
-- Accounts by global role, and whether they may sign in.
select global_role, is_active, count(*) as users
from users
where deleted_at is null
group by global_role, is_active;
