-- name: people -> many
-- UserRefs by id.
select u.id, shape(u)::text as ref from users as u where u.id = any(:ids::bigint[]);

-- name: refused -> many
-- Of the sockets given (as parallel arrays), those whose right is gone: `place` counts from 1; cause: user, session, key, project, purge.
select s.place, s.cause
from (
    select
        a.place,
        case
            when u.id is null or not u.is_active or u.deleted_at is not null then 'user'
            when a.session_id is not null and (x.id is null or x.revoked_at is not null) then 'session'
            when a.key_id is not null and (k.id is null or k.revoked_at is not null or k.expires_at < now()) then 'key'
            when a.project_id is not null and not exists (
                select 1 from projects as p where p.id = a.project_id and p.purged_at is null
            ) then 'purge'
            when a.project_id is null and u.global_role in ('metrics', 'backup') then 'project'
            when a.project_id is not null and effective_role(u.global_role, m.role) is null then 'project'
        end as cause
    from unnest(:users::bigint[], :sessions::text[], :keys::bigint[], :projects::bigint[])
    with ordinality as a (user_id, session_id, key_id, project_id, place)
    left join users as u on u.id = a.user_id
    left join sessions as x on x.id = a.session_id::uuid
    left join api_keys as k on k.id = a.key_id
    left join project_members as m on m.project_id = a.project_id and m.user_id = a.user_id
) as s
where s.cause is not null;
