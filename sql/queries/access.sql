-- name: require_role -> one
-- Locks the membership and the project, and refuses who may not: see require_role in sql/changes/access.sql.
select p.* from require_role(:actor::bigint, :project_id::bigint, :need, :archived::boolean, :counting::boolean) as p;

-- name: project_of -> many
-- The project by its slug and the user's membership in it, for the door.
select p.id, p.slug, p.is_archived, p.key_prefix, m.role
from projects as p
left join project_members as m on m.project_id = p.id and m.user_id = :user_id
where p.slug = :slug;
