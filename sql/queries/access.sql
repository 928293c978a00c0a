-- name: require_role -> one, by key
-- Locks the membership and the project, and refuses who may not: see require_role in sql/changes/access.sql.
select p.* from require_role(:actor::bigint, :project_id::bigint, :need, :archived::boolean, :counting::boolean) as p;

-- name: require_global_role -> nothing, by key
-- Locks the account and refuses it without one of these roles: see require_global_role in sql/changes/access.sql.
select require_global_role(:actor::bigint, :roles::text[]);

-- name: projects_of -> many
-- Projects by their slugs, each with a user's membership in it (as parallel arrays), for handlers: `place` counts from 1.
-- `offset` keeps it apart: each is looked up by its key, also by a plan made while there were few.
select a.place, d.id, d.slug, d.is_archived, d.key_prefix, d.role
from unnest(:slugs::text[], :users::bigint[]) with ordinality as a (slug, user_id, place)
cross join lateral (
    select p.id, p.slug, p.is_archived, p.key_prefix, m.role
    from projects as p
    left join project_members as m on m.project_id = p.id and m.user_id = a.user_id
    where p.slug = a.slug
    offset 0
) as d;
