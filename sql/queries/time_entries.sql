-- name: page -> one
-- A page of somebody's time entries that fit every filter given, the newest day first, before an entry: as one reader sees them.
with chosen as (
    select
        t.id, t.date, shape(t, :reader::bigint)::text as item,
        row_number() over (order by t.date desc, t.id desc) as nth
    from time_entries as t
    where
        t.user_id = :user_id::bigint
        and (t.date, t.id) < (
            coalesce(:before_date::date, 'infinity'), coalesce(:before_id::bigint, 9223372036854775807)
        )
        and (:since::date is null or t.date >= :since::date)
        and (:until::date is null or t.date <= :until::date)
        and (:project_id::bigint is null or t.project_id = :project_id::bigint)
        and (:card::text is null or t.card_id = any(cards_named(:card::text)))
    order by t.date desc, t.id desc
    limit :limit::integer + 1
)
select
    '[' || coalesce(string_agg(c.item, ',' order by c.nth) filter (where c.nth <= :limit::integer), '') || ']' as items,
    case
        when count(*) > :limit::integer then json_build_array(
            min(c.date) filter (where c.nth = :limit::integer), min(c.id) filter (where c.nth = :limit::integer)
        )
    end as next
from chosen as c;

-- name: one -> one, by key
-- An entry for a reader whose it is, or who may see everybody's in its project; no row for others.
select shape(t, u.id)::text as entry
from time_entries as t
inner join users as u on u.id = :reader::bigint
where
    t.id = :id::bigint and (
        t.user_id = u.id or u.global_role = 'admin'
        or exists (
            select 1 from project_members as m
            where
                m.project_id = t.project_id and m.user_id = u.id
                and role_rank(effective_role(u.global_role, m.role)) >= role_rank('admin')
        )
    );

-- name: create -> one, by key
-- Logs time: see create_time_entry in sql/changes/time.sql.
select status, answer, messages
from create_time_entry(
    :actor::bigint, :client::text, :user_id::bigint, :project_id::bigint, :slug::text, :card::text, :date::date, :minutes::integer,
    :description::text, :start_time::time, :end_time::time
);

-- name: update -> one, by key
-- Other values for an entry's fields: see update_time_entry.
select status, answer, messages from update_time_entry(:actor::bigint, :client::text, :id::bigint, :fields::jsonb);

-- name: delete -> one, by key
-- See delete_time_entry.
select status, answer, messages from delete_time_entry(:actor::bigint, :client::text, :id::bigint);
