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
-- Takes all away that belongs to a deleted account alone, but what may be much: its sessions and keys, its history, what it was
-- told and reminded of, its calendar, its favourites and stars, its settings.
with ended as (
    delete from sessions where user_id = :user_id::bigint
), revoked as (
    delete from api_keys where user_id = :user_id::bigint
), resets as (
    delete from password_resets where user_id = :user_id::bigint
), codes as (
    delete from recovery_codes where user_id = :user_id::bigint
), challenges as (
    delete from mfa_challenges where user_id = :user_id::bigint
), calendar as (
    delete from calendars where user_id = :user_id::bigint
), reminded as (
    delete from reminders where user_id = :user_id::bigint
), mailed as (
    delete from mails where user_id = :user_id::bigint or lower(address) = lower(:email::text)
), logins as (
    delete from login_events where user_id = :user_id::bigint
), places as (
    update login_events set ip = '', user_agent = '' where actor_id = :user_id::bigint and user_id is distinct from :user_id::bigint
), told as (
    delete from notifications where user_id = :user_id::bigint
), favorites as (
    delete from favorite_users where user_id = :user_id::bigint
), favored as (
    delete from favorite_users where favorite_user_id = :user_id::bigint and user_id <> :user_id::bigint
), starred as (
    delete from starred_projects where user_id = :user_id::bigint
), invited as (
    delete from invitations
    where inviter_id = :user_id::bigint or used_by_id = :user_id::bigint or email = lower(:email::text)
), written_down as (
    update audit set ip = '' where actor_id = :user_id::bigint
)
update users as u set
    purged_at = clock_timestamp(),
    password_hash = '',
    locale = 'en', theme = 'system', date_time_format = 'YYYY-MM-DD HH:mm', timezone = 'UTC', font = 'system', font_size = '14',
    sidebar_position = 'left', accent_color = 'blue', week_start = 'monday', time_notation = 'decimal',
    show_breadcrumbs = true, email_notifications = false, notify = '{}', must_change_password = false, totp_enabled = false,
    totp_secret = null, totp_last_step = null,
    last_login_at = null, settings_updated_at = null, password_changed_at = null
where u.id = :user_id::bigint;

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
-- Takes a batch of what was told to a purged user alone away; gives how many events went.
with old as (
    select e.seq from events as e where e.channel = 'user:' || :user_id::bigint order by e.seq limit :most::integer
), gone as (
    delete from events as e using old where e.channel = 'user:' || :user_id::bigint and e.seq = old.seq returning 1
)
select count(*) from gone;

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
