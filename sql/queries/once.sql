-- name: take -> many
-- The answer given before under this key; no row when the key is free.
select status, answer from once_take(:actor::bigint, :path, :key, :body_hash);

-- name: store -> nothing
select once_store(:actor::bigint, :path, :key, :status::integer, :answer);
