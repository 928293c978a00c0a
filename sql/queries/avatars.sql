-- name: hold -> many, by key
-- Locks the pictures that a locked account, or a locked conversation, shows and is going to show, in one order: who changes two
-- of them waits for nobody who does.
select a.sha256
from avatars as a
where a.sha256 = :sha256::text or a.sha256 = substring(
    coalesce(
        (select u.avatar_url from users as u where u.id = :user_id::bigint),
        (select c.avatar from conversations as c where c.id = :conversation_id::bigint)
    ) from '^/avatars/([0-9a-f]{64})[.]webp$'
)
order by a.sha256
for no key update;

-- name: keep -> nothing, by key
-- Keeps a picture that an account or a conversation is going to show.
insert into avatars as a (sha256, picture) values (:sha256, :picture)
on conflict (sha256) do update set left_at = null;

-- name: shown -> value, by key
-- A picture.
select a.picture from avatars as a where a.sha256 = :sha256;
