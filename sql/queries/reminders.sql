-- name: begin -> many, by key
-- A row for the one worker that looks for what is due now; none for the others until `pause` is over.
insert into turns (name, at)
select 'reminders', clock_timestamp()
where not exists (
    select 1 from turns as t
    where t.name = 'reminders' and t.at between clock_timestamp() - :pause::interval and clock_timestamp()
)
on conflict (name) do update set at = clock_timestamp()
where turns.at < clock_timestamp() - :pause::interval or turns.at > clock_timestamp()
returning at;

-- name: go_on -> nothing, by key
-- The worker that looks is still at it.
update turns set at = clock_timestamp() where name = 'reminders';

-- name: due -> one
-- Looks at so many of the open cards that are due between two days, 200 at most, after a date and a card: those of which somebody is to be
-- reminded at this moment, by project. `last_date` and `last_id` are of the last one that was looked at, null when there are no more.
with looked_at as materialized (
    select n.id, n.project_id, n.due_date
    from (
        select c.id, c.project_id, c.due_date
        from cards as c
        where
            (c.due_date, c.id) > (:after_date::date, :after_id::bigint) and c.due_date <= :until::date
            and not c.closed and c.archived_at is null and c.deleted_at is null
        order by c.due_date, c.id
        limit 200
    ) as n
    order by n.due_date, n.id
    limit :limit::integer
), due as (
    select c.project_id, array_agg(c.id order by c.id) as cards
    from looked_at as c
    inner join projects as p on p.id = c.project_id and not p.is_archived and p.purged_at is null
    where exists (select 1 from who_is_due(c.id, c.project_id, c.due_date, :moment::timestamptz))
    group by c.project_id
), last_one as (
    select c.due_date, c.id from looked_at as c order by c.due_date desc, c.id desc limit 1
)
select
    coalesce((select json_agg(json_build_array(d.project_id, d.cards) order by d.project_id) from due as d), '[]')::text as due,
    (select count(*) from looked_at) as looked_at,
    (select l.due_date from last_one as l) as last_date,
    (select l.id from last_one as l) as last_id;

-- name: remind -> value, by key
-- Reminds of some cards of a project: see remind in sql/changes/reminders.sql.
select remind(:project_id::bigint, :cards::bigint[], :moment::timestamptz);
