-- name: favorites -> one
-- A page of a user's favourites, after one of them by id. Who is deactivated or deleted is passed over, and stays one.
with chosen as (
    select u.id, shape(u)::text as shaped, row_number() over (order by u.id) as nth
    from favorite_users as f
    inner join users as u on u.id = f.favorite_user_id
    where
        f.user_id = :reader::bigint and f.favorite_user_id > coalesce(:after::bigint, 0)
        and u.is_active and u.deleted_at is null
    order by f.favorite_user_id
    limit :limit::integer + 1
)
select
    '[' || coalesce(string_agg(c.shaped, ',' order by c.nth) filter (where c.nth <= :limit::integer), '') || ']' as items,
    case
        when count(*) > :limit::integer then json_build_array(max(c.id) filter (where c.nth = :limit::integer))
    end as next
from chosen as c;

-- name: favor -> one, by key
-- Makes somebody a favourite, who may be one already; no row when there is no such active person.
with found as (
    select u.id from users as u
    where u.id = :favorite::bigint and u.is_active and u.deleted_at is null and u.global_role in ('admin', 'user', 'viewer')
), made as (
    insert into favorite_users (user_id, favorite_user_id) select :user_id::bigint, f.id from found as f
    on conflict do nothing
)
select f.id from found as f;

-- name: disfavor -> nothing, by key
delete from favorite_users where user_id = :user_id::bigint and favorite_user_id = :favorite::bigint;

-- name: near -> value
-- Of these users, `limit` at most, by name: the active people who share a project or a conversation with the reader, and the
-- reader; for an administrator (`everybody`) all of them. As JSON text.
with beside as materialized (
    select theirs.user_id as id
    from project_members as mine
    inner join project_members as theirs on theirs.project_id = mine.project_id
    where mine.user_id = :reader::bigint
    union
    select theirs.user_id
    from conversation_members as mine
    inner join conversation_members as theirs on theirs.conversation_id = mine.conversation_id
    where mine.user_id = :reader::bigint
), chosen as (
    select u.id, shape(u)::text as shaped, row_number() over (order by lower(u.display_name), u.id) as nth
    from users as u
    where
        u.id = any(:ids::bigint[])
        and u.is_active and u.deleted_at is null and u.global_role in ('admin', 'user', 'viewer')
        and (:everybody::boolean or u.id = :reader::bigint or u.id in (select b.id from beside as b))
    order by lower(u.display_name), u.id
    limit :limit::integer
)
select '[' || coalesce(string_agg(c.shaped, ',' order by c.nth), '') || ']' from chosen as c;

-- name: refs -> value
-- Of these users those whom the reader sees somewhere: who is or was in a project or a conversation of theirs, or is named in a
-- project as its guest; for an administrator (`everybody`) all of them. As JSON text, by id. Deleted accounts too: what they
-- did still stands there.
select '[' || coalesce(string_agg(shape(u)::text, ',' order by u.id), '') || ']'
from users as u
where
    u.id = any(:ids::bigint[])
    and (
        :everybody::boolean or u.id = :reader::bigint
        or exists (
            select 1
            from project_members as theirs
            inner join project_members as mine on mine.project_id = theirs.project_id
            where theirs.user_id = u.id and mine.user_id = :reader::bigint
        )
        or exists (
            select 1
            from project_guests as theirs
            inner join project_members as mine on mine.project_id = theirs.project_id
            where theirs.user_id = u.id and mine.user_id = :reader::bigint
        )
        or exists (
            select 1
            from conversation_members as theirs
            inner join conversation_members as mine on mine.conversation_id = theirs.conversation_id
            where theirs.user_id = u.id and mine.user_id = :reader::bigint
        )
        or exists (
            select 1
            from conversation_guests as theirs
            inner join conversation_members as mine on mine.conversation_id = theirs.conversation_id
            where theirs.user_id = u.id and mine.user_id = :reader::bigint
        )
    );
