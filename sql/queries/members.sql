-- name: page -> one
-- A page of the members in the order they came, after an id, whose name holds `q`; whether the account is active, and the
-- e-mail for who may see it.
with chosen as (
    select
        m.id, row_number() over (order by m.id) as nth,
        joined(
            '{"is_active":' || (u.is_active and u.deleted_at is null)::text
            || case when :emails::boolean then ',"email":' || to_json(u.email) else '' end || '}',
            shape(m, u)::text
        ) as member
    from project_members as m
    inner join users as u on u.id = m.user_id
    where
        m.project_id = :project_id::bigint and m.id > coalesce(:after::bigint, 0)
        and (
            :q::text = ''
            or strpos(lower(u.username), lower(:q::text)) > 0
            or strpos(lower(u.display_name), lower(:q::text)) > 0
        )
    order by m.id
    limit :limit::integer + 1
)
select
    '[' || coalesce(string_agg(c.member, ',' order by c.nth) filter (where c.nth <= :limit::integer), '') || ']' as items,
    case
        when count(*) > :limit::integer then json_build_array(max(c.id) filter (where c.nth = :limit::integer))
    end as next
from chosen as c;

-- name: find_user -> many
-- The user meant by an id, a username, an e-mail, or either of the two; only people who could be a member.
select u.id from users as u
where u.is_active and u.deleted_at is null and u.global_role in ('admin', 'user', 'viewer') and (
    u.id = :user_id::bigint
    or lower(u.username) = lower(:username::text) or lower(u.email) = lower(:email::text)
    or lower(u.username) = lower(:login::text) or lower(u.email) = lower(:login::text)
)
order by u.id
limit 2;

-- name: lock -> one, by key
-- The target's membership (nulls when there is none), with it and the actor's locked.
select m.* from lock_members(:project_id::bigint, :actor::bigint, :target::bigint) as m;

-- name: add -> many, by key
-- No row when the user already is a member.
insert into project_members (project_id, user_id, role, invited_by) values (:project_id, :user_id, :role, :actor)
on conflict do nothing
returning id;

-- name: exceeds -> value, by key
-- Whether somebody is a member of more than `most` projects.
select exists(select from project_members as m where m.user_id = :user_id offset :most::integer);

-- name: other_owner -> many
-- Another owner whose account lets them act as one, the account held as it is until the commit; no row when there is none.
select u.id
from project_members as m
inner join users as u on u.id = m.user_id
where
    m.project_id = :project_id and m.user_id <> :user_id and m.role = 'owner'
    and effective_role(u.global_role, m.role) = 'owner' and u.is_active and u.deleted_at is null
order by u.id
limit 1
for share of u;

-- name: set_role -> nothing, by key
update project_members set role = :role where project_id = :project_id and user_id = :user_id;

-- name: remove -> nothing, by key
delete from project_members where project_id = :project_id and user_id = :user_id;

-- name: unassign -> nothing
-- Takes a user from the cards of a project. Boards learn it from the member's removal, so no card is written.
delete from card_assignees as a using cards as c where c.id = a.card_id and c.project_id = :project_id and a.user_id = :user_id;

-- name: unwatch -> nothing
delete from card_watchers as w using cards as c where c.id = w.card_id and c.project_id = :project_id and w.user_id = :user_id;

-- name: ids -> many
-- Who is a member and may act, `limit` at most.
select m.user_id from project_members as m
inner join users as u on u.id = m.user_id
where m.project_id = :project_id and u.is_active and u.deleted_at is null
order by m.user_id
limit :limit::integer;

-- name: one -> value, by key
select member_json(:project_id, :user_id);

-- name: hold -> many, by key
-- These projects with somebody's roles in them, null where there is none, all held: see hold_memberships.
select h.id, h.slug, h.is_archived, h.role from hold_memberships(:user_id::bigint, :projects::bigint[]) as h;

-- name: of_user -> one, by key
-- The projects of which somebody is a member, archived ones too, by name: their ids, and as JSON text; no row when
-- there is no such account.
select
    coalesce(array_agg(p.id order by lower(p.name), p.id) filter (where p.id is not null), '{}') as ids,
    '[' || coalesce(
        string_agg(membership_json(p, m.role)::text, ',' order by lower(p.name), p.id) filter (where p.id is not null), ''
    ) || ']' as listed
from users as u
left join project_members as m on m.user_id = u.id
left join projects as p on p.id = m.project_id
where u.id = :user_id::bigint and u.purged_at is null
group by u.id;
