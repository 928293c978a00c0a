create type audit_shape as (
    id bigint, at text, actor json, ip text, action text, target_type text, target_id bigint, before json, after json
);

-- A line of the audit.
create or replace function shape(a audit) returns json language sql stable as $$
select row_to_json(row(
    a.id, iso(a.at), (select shape(u) from users u where u.id = a.actor_id), a.ip, a.action, a.target_type, a.target_id,
    a.before, a.after
)::audit_shape)
$$;
