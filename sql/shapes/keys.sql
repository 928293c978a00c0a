create type api_key_shape as (
    id bigint, name text, key_prefix text, user_id bigint, project_id bigint, scopes text[], created_at text,
    expires_at text, last_used_at text
);

-- An API key as those see it who may revoke it: nobody sees the key itself again.
create or replace function shape(k api_keys) returns json language sql stable as $$
select row_to_json(row(
    k.id, k.name, k.key_prefix, k.user_id, k.project_id, k.scopes, iso(k.created_at), iso(k.expires_at), iso(k.last_used_at)
)::api_key_shape)
$$;
