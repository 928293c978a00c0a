-- name: take -> many, by key
-- The answer given before under this key; no row when the key is free.
select status, answer from once_take(:actor::bigint, :path, :key, :body_hash);

-- name: store -> nothing, by key
select once_store(:actor::bigint, :path, :key, :status::integer, :answer, :about::text[]);

-- name: use -> one
-- What is kept for a user's keys: how many, the bytes of their answers, and the seconds until the oldest goes.
select
    count(*) as keys,
    coalesce(sum(octet_length(k.answer)), 0)::bigint as bytes,
    coalesce(extract(epoch from min(k.created_at) + interval '24 hours' - now()), 0)::float8 as room_in
from idempotency_keys as k
where k.user_id = :actor::bigint and k.created_at > now() - interval '24 hours';

-- name: is_known -> value
-- Whether a key was used within its 24 hours.
select exists (
    select 1 from idempotency_keys as k
    where
        k.user_id = :actor::bigint and k.path = :path and k.key = :key
        and k.created_at > now() - interval '24 hours'
);
