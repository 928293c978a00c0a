-- name: project -> nothing, by key
-- Takes a project away from everybody: see purge_project in sql/changes/purges.sql.
select purge_project(:project_id::bigint);

-- name: forget_project -> value
-- Forgets all that anybody was told of a project.
select forget_notifications(
    :actor::bigint, entity('notified', :project_id::bigint),
    array(select n.id from notifications as n where n.project_id = :project_id::bigint order by n.id)
);

-- name: projects -> many
-- The projects that were purged, and are not gone yet.
select p.id from projects as p where p.purged_at is not null order by p.id limit 100;

-- name: empty_project -> value, by key
-- Takes a batch away of what is left of a project: see empty_project in sql/changes/purges.sql.
select empty_project(:project_id::bigint, :most::integer);

-- name: user -> nothing, by key
-- Takes all away that belongs to a deleted account alone, but what may be much: see purge_account in sql/changes/purges.sql.
select purge_account(:user_id::bigint, :email::text);

-- name: picture -> nothing, by key
-- Takes a picture away that nobody shows any more.
delete from avatars as a
where
    a.sha256 = substring(:address::text from '^/avatars/([0-9a-f]{64})[.]webp$')
    and not exists (select 1 from users as u where u.avatar_url = '/avatars/' || a.sha256 || '.webp')
    and not exists (select 1 from conversations as c where c.avatar = '/avatars/' || a.sha256 || '.webp');

-- name: users -> many
-- The users who were purged, so long ago that no change is under way that began before, and whose name may still stand in what
-- was told and answered.
select u.id
from users as u
where u.purged_at < now() - :after::interval and u.scrubbed_at is null
order by u.id
limit 100;

-- name: memberships -> many
-- Where a purged user still is a member.
select m.project_id from project_members as m where m.user_id = :user_id::bigint order by m.project_id;

-- name: own_events -> value
-- Takes a batch of what was told to a purged user alone away, and raises the floor of the feed with it, as a trim does; gives how
-- many events it found.
with old as (
    select e.seq from events as e where e.channel = 'user:' || :user_id::bigint order by e.seq limit :most::integer
), raised as (
    update feeds as f set oldest = greatest(f.oldest, o.upto + 1)
    from (select max(old.seq) as upto from old) as o
    where f.channel = 'user:' || :user_id::bigint and o.upto is not null
), gone as (
    delete from events as e using old where e.channel = 'user:' || :user_id::bigint and e.seq = old.seq
)
select count(*) from old;

-- name: own_answers -> value
-- Takes a batch of the answers away that are kept for a purged user; gives how many went.
with old as (
    select k.path, k.key from idempotency_keys as k where k.user_id = :user_id::bigint limit :most::integer
), gone as (
    delete from idempotency_keys as k using old
    where k.user_id = :user_id::bigint and k.path = old.path and k.key = old.key returning 1
)
select count(*) from gone;

-- name: rename_in_events -> many
-- Writes a purged user's present name into a batch of events, all events being read once, by channel and seq, after a place;
-- gives the last place, and no row behind the end.
with batch as materialized (
    select
        e.channel, e.seq,
        strpos(e.payload, '{"id":' || :user_id::bigint || ',"username":"') > 0
        or (e.actor is not null and e.actor_id = :user_id::bigint) as names
    from events as e
    where (e.channel, e.seq) > (:channel::text, :seq::bigint)
    order by e.channel, e.seq
    limit :most::integer
), renamed as (
    update events as e set
        payload = without_name(e, :user_id::bigint),
        actor = case when e.actor_id <> :user_id::bigint then e.actor end
    from batch as b
    where b.names and e.channel = b.channel and e.seq = b.seq
)
select b.channel, b.seq from batch as b order by b.channel desc, b.seq desc limit 1;

-- name: rename_in_answers -> many
-- The same for answers that are kept for a key, by when they were given and their key; what shows the whole account is told to
-- nobody any more.
with batch as materialized (
    select k.user_id, k.path, k.key, strpos(k.answer, '"id":' || :user_id::bigint || ',"username":"') > 0 as names
    from idempotency_keys as k
    where (k.user_id, k.path, k.key) > (:owner::bigint, :path::text, :key::text)
    order by k.user_id, k.path, k.key
    limit :most::integer
), renamed as (
    update idempotency_keys as k set
        status = case when strpos(k.path, ' /api/v1/users') > 0 then 410 else k.status end,
        answer = case
            when strpos(k.path, ' /api/v1/users') > 0 then '{"error":"what was made with this key is deleted","code":"deleted"}'
            else without_name(k.answer, :user_id::bigint)
        end
    from batch as b
    where b.names and k.user_id = b.user_id and k.path = b.path and k.key = b.key
)
select b.user_id as owner, b.path, b.key from batch as b order by b.user_id desc, b.path desc, b.key desc limit 1;

-- name: scrubbed -> nothing, by key
-- Nothing is left of a purged user but the account without a name.
update users set scrubbed_at = clock_timestamp() where id = :user_id::bigint;

-- name: may_purge -> value, by key
-- Whether this transaction is the one that purges now.
select pg_try_advisory_xact_lock(x'77645055'::integer);
