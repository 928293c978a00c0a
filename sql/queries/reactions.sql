-- name: add -> many, by key
-- A user's reaction to a locked message; no row when it is there already.
insert into message_reactions (owner_type, owner_id, user_id, emoji)
values (:owner_type::text, :id::bigint, :actor::bigint, :emoji)
on conflict do nothing
returning id;

-- name: remove -> value, by key
-- Takes a user's reaction away.
delete from message_reactions
where owner_type = :owner_type::text and owner_id = :id::bigint and user_id = :actor::bigint and emoji = :emoji
returning id;

-- name: of_message -> one, by key
-- A message's reactions as JSON text, how many different ones there are, and the id of this user's with this emoji.
select
    coalesce((select r.reactions::text from reactions_json(:owner_type::text, array[:id::bigint]) as r), '[]') as reactions,
    (
        select count(distinct m.emoji) from message_reactions as m
        where m.owner_type = :owner_type::text and m.owner_id = :id::bigint
    ) as different,
    (
        select m.id from message_reactions as m
        where
            m.owner_type = :owner_type::text and m.owner_id = :id::bigint
            and m.user_id = :actor::bigint and m.emoji = :emoji
    ) as mine;
