create type audit_shape as (
    id bigint, at text, actor json, ip text, action text, target_type text, target_id bigint, before json, after json
);

-- What a line tells of a key, but what it was called.
create or replace function nameless(after json) returns json language sql immutable as $$
select row_to_json(f)
from (select after -> 'user_id' as user_id, after -> 'project_id' as project_id, after -> 'scopes' as scopes) f
$$;

-- A line of the audit. What a key was called goes with whom it belonged to, also where a program of before left it.
create or replace function shape(a audit) returns json language sql stable as $$
select row_to_json(row(
    a.id, iso(a.at), (select shape(u) from users u where u.id = a.actor_id), a.ip, a.action, a.target_type, a.target_id,
    a.before,
    case
        when a.action = 'key.created' and a.after::jsonb ->> 'user_id' = a.actor_id::text
            and exists (select 1 from users u where u.id = a.actor_id and u.purged_at is not null) then nameless(a.after)
        else a.after
    end
)::audit_shape)
$$;
