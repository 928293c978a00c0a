-- name: page -> one
-- A page of a person's own API keys, or of a project's, that were not revoked, the newest first, before an id.
with living as (
    select k.id from api_keys as k
    where :project_id::bigint is null and k.project_id is null and k.user_id = :user_id::bigint and k.revoked_at is null
    union all
    select k.id from api_keys as k
    where k.project_id = :project_id::bigint and k.revoked_at is null
), chosen as (
    select k.id, shape(k)::text as shaped, row_number() over (order by k.id desc) as nth
    from living as l
    inner join api_keys as k on k.id = l.id
    where :before::bigint is null or l.id < :before::bigint
    order by k.id desc
    limit :limit::integer + 1
)
select
    '[' || coalesce(string_agg(c.shaped, ',' order by c.nth) filter (where c.nth <= :limit::integer), '') || ']' as items,
    case
        when count(*) > :limit::integer then json_build_array(min(c.id) filter (where c.nth = :limit::integer))
    end as next
from chosen as c;

-- name: hold -> nothing, by key
-- Locks an account, whose keys are counted.
select lock_account(:user_id::bigint);

-- name: exceed -> value
-- Whether there are more keys than `most` of a person's own, or of a project, that were not revoked.
with living as (
    select k.id from api_keys as k
    where :project_id::bigint is null and k.project_id is null and k.user_id = :user_id::bigint and k.revoked_at is null
    union all
    select k.id from api_keys as k
    where k.project_id = :project_id::bigint and k.revoked_at is null
)
select count(*) > :most::integer from living;

-- name: create -> value, by key
-- A new API key, of which only the hash is kept; as JSON text.
insert into api_keys (user_id, project_id, name, key_hash, key_prefix, scopes, expires_at)
values (
    :user_id::bigint, :project_id::bigint, :name::text, :key_hash::text, :key_prefix::text, :scopes::text[],
    now() + :days::integer * interval '1 day'
)
returning shape(api_keys)::text;

-- name: revoke -> one, by key
-- Revokes a key of a person's own, or of a project; no row when there is none.
update api_keys set revoked_at = now()
where
    id = :id::bigint and revoked_at is null
    and case
        when :project_id::bigint is null then project_id is null and user_id = :user_id::bigint
        else project_id = :project_id::bigint
    end
returning id, user_id;
