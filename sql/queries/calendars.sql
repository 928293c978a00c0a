-- name: renew -> nothing, by key
-- Gives somebody's calendar another token; the one of before leads nowhere any more.
insert into calendars (user_id, token_hash) values (:user_id::bigint, :token_hash::text)
on conflict (user_id) do update set token_hash = excluded.token_hash, created_at = clock_timestamp();

-- name: end -> nothing, by key
-- Takes the token of somebody's calendar away, if there is one.
delete from calendars where user_id = :user_id::bigint;

-- name: owner -> value, by key
-- Whose calendar a token shows; none of whom no one may sign in as, or who has no projects to see.
select u.id
from calendars as c
inner join users as u on u.id = c.user_id
where
    c.token_hash = :token_hash::text and u.is_active and u.deleted_at is null and u.global_role in ('admin', 'user', 'viewer');

-- name: cards -> many
-- The open cards with a due date that somebody is assigned to and may see, by date; where there are more than the limit those that
-- come next, and then the last of those that are over.
select k.id, k.key, k.title, k.due_date, k.version, k.updated_at, k.slug, k.project
from (
    select
        c.id, p.key_prefix || '-' || c.card_number as key, c.title, c.due_date, c.version, c.updated_at, p.slug, p.name as project
    from card_assignees as a
    inner join cards as c on c.id = a.card_id
    inner join projects as p on p.id = c.project_id
    inner join users as u on u.id = a.user_id
    left join project_members as m on m.project_id = c.project_id and m.user_id = a.user_id
    where
        a.user_id = :user_id::bigint and c.due_date is not null
        and not c.closed and c.archived_at is null and c.deleted_at is null
        and not p.is_archived and p.purged_at is null
        and effective_role(u.global_role, m.role) is not null
    order by c.due_date < current_date, abs(c.due_date - current_date), c.id
    limit :limit::integer
) as k
order by k.due_date, k.id;
