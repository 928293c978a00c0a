-- name: page -> one
-- A page of the audit, the newest first, before an id; one actor's and one action's only, where they are given.
with chosen as (
    select a.id, shape(a)::text as line, row_number() over (order by a.id desc) as nth
    from audit as a
    where
        a.id < coalesce(:before::bigint, 9223372036854775807)
        and (:actor_id::bigint is null or a.actor_id = :actor_id::bigint)
        and (:action::text is null or a.action = :action::text)
    order by a.id desc
    limit :limit::integer + 1
)
select
    '[' || coalesce(string_agg(c.line, ',' order by c.nth) filter (where c.nth <= :limit::integer), '') || ']' as items,
    case
        when count(*) > :limit::integer then json_build_array(min(c.id) filter (where c.nth = :limit::integer))
    end as next
from chosen as c;

-- name: write -> nothing, by key
-- A line, kept or lost with the change. Values that did not change are left away.
insert into audit (actor_id, ip, action, target_type, target_id, before, after)
values (:actor_id::bigint, :ip, :action, :target_type, :target_id::bigint, :before::json, :after::json);
