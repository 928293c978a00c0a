-- name: keep -> nothing, by key
-- Keeps a picture that an account is going to show.
insert into avatars as a (sha256, picture) values (:sha256, :picture)
on conflict (sha256) do update set left_at = null;

-- name: shown -> value, by key
-- A picture.
select a.picture from avatars as a where a.sha256 = :sha256;
