-- name: reader -> one, by key
-- Who reads a report or whose time sheet it is: where and when their day and week begin, whose time they see (of `everybody`, or of
-- those in the projects that they administer), which projects they see; and whose the installation is.
select
    u.id,
    shape(u)::text as person,
    u.week_start,
    today_of(u) as today,
    u.global_role = 'admin' as everybody,
    array(
        select m.project_id from project_members as m
        where m.user_id = u.id and role_rank(effective_role(u.global_role, m.role)) >= role_rank('admin')
    ) as managed,
    array(
        select m.project_id from project_members as m
        where m.user_id = u.id and effective_role(u.global_role, m.role) is not null
    ) as seen,
    (select s.value from system_settings as s where s.key = 'company_name') as company_name,
    (select s.value from system_settings as s where s.key = 'company_logo') as company_logo
from users as u
where u.id = :user_id::bigint;

-- name: begin -> nothing, by key
-- What a transaction reads from here on is of one moment.
set local transaction_isolation = 'repeatable read';

-- name: room -> value, by key
-- What is sorted for it stays in memory, and it is planned for the days it is about.
select set_config('work_mem', '32MB', true) || set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: within -> value, by key
-- How long each statement of a transaction may take from here on.
select set_config('statement_timeout', :milliseconds::integer::text, true);

-- name: cards -> many
-- The minutes of each card, and of what is on none, by projects.
with sums as materialized (
    select t.project_id, t.card_id, sum(t.minutes) as minutes
    from entries_seen(
        :reader::bigint, :everybody::boolean, :managed::bigint[], :project_id::bigint, :people::bigint[],
        :since::date, :until::date
    ) as t
    group by t.project_id, t.card_id
), assigned as (
    select a.card_id, array_agg(u.display_name order by a.created_at, a.user_id) as names
    from sums as s
    inner join card_assignees as a on a.card_id = s.card_id
    inner join users as u on u.id = a.user_id
    group by a.card_id
)
select
    s.project_id,
    case when row_number() over (partition by s.project_id order by c.card_number, c.id) = 1 then
        report_project(p, see.is_seen)::text
    end as project,
    case when c.id is not null then
        report_card(c, p.key_prefix, case when see.is_seen then a.names end, s.minutes, see.is_seen)::text
    end as card,
    s.minutes
from sums as s
left join projects as p on p.id = s.project_id
left join cards as c on c.id = s.card_id
left join assigned as a on a.card_id = s.card_id
cross join lateral (select :everybody::boolean or s.project_id = any(:seen::bigint[]) as is_seen) as see
order by
    s.project_id is null, lower(case when see.is_seen then p.name else p.slug end), s.project_id, c.card_number, c.id;

-- name: users -> many
-- The minutes of each person.
with sums as (
    select t.user_id, sum(t.minutes) as minutes, count(*) as entries
    from entries_seen(
        :reader::bigint, :everybody::boolean, :managed::bigint[], :project_id::bigint, :people::bigint[],
        :since::date, :until::date
    ) as t
    group by t.user_id
)
select report_user(u, s.minutes, s.entries)::text as item, s.minutes
from sums as s
inner join users as u on u.id = s.user_id
order by lower(u.display_name), u.id;

-- name: groups -> many
-- The minutes of each project, user, card, day, week or month.
with sums as (
    select
        case :group_by::text
            when 'project' then t.project_id
            when 'user' then t.user_id
            when 'card' then t.card_id
        end as id,
        case :group_by::text
            when 'day' then t.date
            when 'week' then t.date - (extract(isodow from t.date)::integer - 1)
            when 'month' then t.date - (extract(day from t.date)::integer - 1)
        end as first_day,
        sum(t.minutes) as minutes, count(*) as entries
    from entries_seen(
        :reader::bigint, :everybody::boolean, :managed::bigint[], :project_id::bigint, :people::bigint[],
        :since::date, :until::date
    ) as t
    group by 1, 2
), named as (
    select
        s.*, c.card_number,
        case :group_by::text
            when 'day' then to_char(s.first_day, 'YYYY-MM-DD')
            when 'week' then to_char(s.first_day, 'IYYY-"W"IW')
            when 'month' then to_char(s.first_day, 'YYYY-MM')
            else coalesce(s.id::text, '')
        end as key,
        case :group_by::text
            when 'day' then to_char(s.first_day, 'YYYY-MM-DD')
            when 'week' then 'Week ' || to_char(s.first_day, 'FMIW" / "IYYY')
            when 'month' then to_char(s.first_day, 'FMMonth YYYY')
            when 'user' then u.display_name
            when 'card' then coalesce(
                p.key_prefix || '-' || c.card_number || case when see.is_seen then ' ' || c.title else '' end, 'No card'
            )
            else coalesce(case when see.is_seen then p.name else p.slug end, 'No project')
        end as label,
        case when see.is_seen then p.name else p.slug end as project_name, p.id as project_id
    from sums as s
    left join users as u on :group_by::text = 'user' and u.id = s.id
    left join cards as c on :group_by::text = 'card' and c.id = s.id
    left join projects as p
        on :group_by::text in ('project', 'card') and p.id = case when :group_by::text = 'card' then c.project_id else s.id end
    cross join lateral (select :everybody::boolean or p.id = any(:seen::bigint[]) as is_seen) as see
)
select report_group(n.key, n.label, n.minutes, n.entries)::text as item, n.minutes, n.entries
from named as n
order by
    n.first_day, n.id is null, lower(n.project_name), n.project_id, n.card_number,
    lower(case when n.project_id is null then n.label end), n.id;

-- name: entries -> many
-- Each entry, for files: by projects, cards and days. They are sorted before they are made lines, which are three times as long.
with assigned as (
    select a.card_id, array_agg(u.display_name order by a.created_at, a.user_id) as names
    from card_assignees as a
    inner join users as u on u.id = a.user_id
    where a.card_id in (
        select t.card_id
        from entries_seen(
            :reader::bigint, :everybody::boolean, :managed::bigint[], :project_id::bigint, :people::bigint[],
            :since::date, :until::date
        ) as t
    )
    group by a.card_id
), shown as (
    select
        p.id, p.key_prefix, see.is_seen, case when see.is_seen then p.name else p.slug end as name,
        row_number() over (order by lower(case when see.is_seen then p.name else p.slug end), p.id) as nth
    from projects as p
    cross join lateral (select :everybody::boolean or p.id = any(:seen::bigint[]) as is_seen) as see
)
select
    report_line(
        x.t, x.name, x.key_prefix || '-' || x.card_number, case when x.is_seen then x.title end,
        case when x.is_seen then x.names end, x.display_name
    )::text as line
from (
    select t, p.name, p.key_prefix, p.is_seen, c.card_number, c.title, a.names, u.display_name
    from entries_seen(
        :reader::bigint, :everybody::boolean, :managed::bigint[], :project_id::bigint, :people::bigint[],
        :since::date, :until::date
    ) as t
    inner join users as u on u.id = t.user_id
    left join shown as p on p.id = t.project_id
    left join cards as c on c.id = t.card_id
    left join assigned as a on a.card_id = t.card_id
    order by p.nth, c.card_number, t.card_id, t.date, t.id
    offset 0
) as x;

-- name: sheet -> one, by key
-- A person's week: a row for each card, and for what is on none by project and description; the sums of its days; its entries.
with chosen as (
    select
        t.*, t.date - :start::date as day, case when t.card_id is null then t.description else '' end as words,
        :everybody::boolean or t.project_id = any(:seen::bigint[]) as is_seen
    from time_entries as t
    where t.user_id = :user_id::bigint and t.date >= :start::date and t.date < :start::date + 7
), summed as (
    select
        x.project_id, x.card_id, x.words, bool_or(x.is_seen) as is_seen, sum(x.minutes) as total,
        array[
            coalesce(sum(x.minutes) filter (where x.day = 0), 0),
            coalesce(sum(x.minutes) filter (where x.day = 1), 0),
            coalesce(sum(x.minutes) filter (where x.day = 2), 0),
            coalesce(sum(x.minutes) filter (where x.day = 3), 0),
            coalesce(sum(x.minutes) filter (where x.day = 4), 0),
            coalesce(sum(x.minutes) filter (where x.day = 5), 0),
            coalesce(sum(x.minutes) filter (where x.day = 6), 0)
        ] as minutes,
        ('[' || concat_ws(
            ',',
            coalesce(array_to_json(array_agg(x.id order by x.id) filter (where x.day = 0))::text, '[]'),
            coalesce(array_to_json(array_agg(x.id order by x.id) filter (where x.day = 1))::text, '[]'),
            coalesce(array_to_json(array_agg(x.id order by x.id) filter (where x.day = 2))::text, '[]'),
            coalesce(array_to_json(array_agg(x.id order by x.id) filter (where x.day = 3))::text, '[]'),
            coalesce(array_to_json(array_agg(x.id order by x.id) filter (where x.day = 4))::text, '[]'),
            coalesce(array_to_json(array_agg(x.id order by x.id) filter (where x.day = 5))::text, '[]'),
            coalesce(array_to_json(array_agg(x.id order by x.id) filter (where x.day = 6))::text, '[]')
        ) || ']')::json as entry_ids
    from chosen as x
    group by x.project_id, x.card_id, x.words
)
select
    (
        select
            '[' || coalesce(string_agg(
                sheet_row(p, c, s.is_seen, s.words, s.minutes, s.total, s.entry_ids)::text, ','
                order by p.id is null, lower(case when s.is_seen then p.name else p.slug end), p.id, c.card_number, s.words
            ), '') || ']'
        from summed as s
        left join projects as p on p.id = s.project_id
        left join cards as c on c.id = s.card_id
    ) as rows,
    (
        select array_to_json(array[
            coalesce(sum(x.minutes) filter (where x.day = 0), 0),
            coalesce(sum(x.minutes) filter (where x.day = 1), 0),
            coalesce(sum(x.minutes) filter (where x.day = 2), 0),
            coalesce(sum(x.minutes) filter (where x.day = 3), 0),
            coalesce(sum(x.minutes) filter (where x.day = 4), 0),
            coalesce(sum(x.minutes) filter (where x.day = 5), 0),
            coalesce(sum(x.minutes) filter (where x.day = 6), 0)
        ])::text
        from chosen as x
    ) as day_totals,
    (select coalesce(sum(x.minutes), 0) from chosen as x) as total_minutes,
    (
        select '[' || coalesce(string_agg(shape(t, :reader::bigint)::text, ',' order by t.date, t.id), '') || ']'
        from chosen as x
        inner join time_entries as t on t.id = x.id
    ) as entries;
