-- name: projects -> one
-- How many projects are not archived; how many mails wait, and for how many seconds the oldest; when the last backup was begun,
-- and whether it was made.
select
    (select count(*) from projects as p where not p.is_archived) as projects,
    count(*) as mails,
    coalesce(extract(epoch from clock_timestamp() - min(m.created_at)), 0)::float8 as mail_seconds,
    (select coalesce(extract(epoch from b.last_run_at), 0) from backup_state as b)::float8 as backup_at,
    (select coalesce(b.last_ok::integer, -1) from backup_state as b) as backup_ok
from mails as m;

-- name: active -> many
-- The projects last active, by the newest event; without one that is still kept, by what was written of the project itself.
select p.id
from projects as p
left join lateral (
    select e.created_at from events as e
    where e.channel = 'project:' || p.id
    order by e.seq desc
    limit 1
) as newest on true
where not p.is_archived
order by coalesce(newest.created_at, p.updated_at) desc, p.id desc
limit :most::integer;

-- name: columns -> many
-- Columns of each project that is not archived: the shown projects by name, the others under ''.
select case when s.id is not null then p.slug else '' end as project, count(*) as columns
from projects as p
inner join columns as c on c.project_id = p.id and c.deleted_at is null
left join unnest(:shown::bigint[]) as s (id) on s.id = p.id
where not p.is_archived
group by 1;

-- name: cards -> many
-- Open and closed cards of each column: of the shown projects by column, of the others together.
with counted as (
    select column_id, closed, count(*) as cards
    from cards
    where deleted_at is null and archived_at is null
    group by column_id, closed
)
select
    case when s.id is not null then p.slug else '' end as project,
    case when s.id is not null then c.id::text else '' end as column_id,
    case when s.id is not null then c.name else '' end as name,
    n.closed,
    sum(n.cards)::bigint as cards
from projects as p
inner join columns as c on c.project_id = p.id and c.deleted_at is null
inner join counted as n on n.column_id = c.id
left join unnest(:shown::bigint[]) as s (id) on s.id = p.id
where not p.is_archived
group by 1, 2, 3, 4;

-- name: users -> many
-- Accounts by global role, and whether they may sign in.
select global_role, is_active, count(*) as users
from users
where deleted_at is null
group by global_role, is_active;

-- name: tables -> many
-- Rows, as the statistics have them, and bytes with indexes, of each of these tables.
select c.relname::text as name, greatest(c.reltuples, 0)::bigint as rows, pg_total_relation_size(c.oid) as bytes
from pg_class as c
inner join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = current_schema() and c.relkind = 'r' and c.relname = any(:names::text[])
order by c.relname;
