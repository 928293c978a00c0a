-- name: session_holders -> many
-- The users of sessions (given with their users, as parallel arrays) that live and whose account is active: `place` counts
-- from 1. `offset` keeps them apart: each is looked up by its own key, never by all sessions of its user, also by a plan made
-- while there were none.
select a.place, u.username, u.global_role
from unnest(:sessions::text[], :users::bigint[]) with ordinality as a (session_id, user_id, place)
cross join lateral (
    select x.user_id from sessions as x
    where x.id = a.session_id::uuid and x.revoked_at is null and x.expires_at > now()
    offset 0
) as s
cross join lateral (
    select x.username, x.global_role from users as x
    where x.id = a.user_id and x.is_active and x.deleted_at is null
    offset 0
) as u
where s.user_id = a.user_id;

-- name: key_owner -> many
-- An API key by its hash or its id, with its owner, if both are good; at most one row.
select k.id, k.user_id, k.project_id, k.expires_at, k.scopes, u.username, u.global_role
from api_keys as k
inner join users as u on u.id = k.user_id
where
    (k.key_hash = :key_hash::text or k.id = :key_id::bigint)
    and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
    and u.is_active and u.deleted_at is null;

-- name: note_key_use -> nothing, by key
-- Writes a key's last use, at most once a minute; never waits for somebody else's lock.
update api_keys set last_used_at = now()
where id in (
    select k.id from api_keys as k
    where k.id = :key_id and (k.last_used_at is null or k.last_used_at < now() - interval '1 minute')
    for no key update skip locked
);

-- name: by_login -> one
-- The account that signs in with this username or e-mail address; nothing but nulls when there is none. `known`: whether
-- somebody signed in to it in the time of `recent` from the address, or from the IPv6 network `near`. For nobody the same is
-- looked up, so that it takes as long.
select
    u.id,
    u.password_hash,
    coalesce(u.is_active, false) as is_active,
    coalesce(u.totp_enabled, false) as totp_enabled,
    exists (
        select 1 from login_events as e
        where
            e.user_id = coalesce(u.id, 0) and e.event = 'login_ok' and e.ip = :ip::text
            and e.created_at > now() - :recent::interval
    )
    or exists (
        select 1 from login_events as e
        where
            e.user_id = coalesce(u.id, 0) and e.event = 'login_ok' and e.created_at > now() - :recent::interval
            and case when e.ip like '%:%' then network(set_masklen(e.ip::inet, 64)) end = nullif(:near::text, '')::cidr
    ) as known
from (select 1 as always) as asked
left join users as u
    on
        asked.always = 1 and u.deleted_at is null
        and (lower(u.username) = lower(:login) or lower(u.email) = lower(:login));

-- name: note_login -> nothing, by key
-- A line of the login history.
insert into login_events (user_id, actor_id, event, ip, user_agent)
values (:user_id::bigint, :actor_id::bigint, :event, :ip, :user_agent);

-- name: enter -> many, by key
-- Marks a sign-in, if the account is active and has still the password that was checked: no row otherwise. A new hash is
-- kept when one is given. Where there is a second factor, it has to be `proved`. A password older than so many `days` (0: any age is right) must be changed.
update users set
    last_login_at = now(),
    must_change_password = must_change_password or (
        :days::integer > 0 and coalesce(password_changed_at, created_at) < now() - make_interval(days => :days::integer)
    ),
    password_hash = coalesce(:new_hash::text, password_hash)
where
    id = :user_id and password_hash = :checked_hash and is_active and deleted_at is null
    and (:proved::boolean or not totp_enabled)
returning me_json(users)::text as me;

-- name: open_session -> value, by key
-- A new session with its first refresh token; takes the user's long expired ones away. Gives its id.
with old as (
    delete from sessions where user_id = :user_id and expires_at < now() - interval '30 days'
), opened as (
    insert into sessions (user_id, expires_at, user_agent, ip)
    values (:user_id, now() + :ttl::interval, :user_agent, :ip)
    returning id
), given as (
    insert into refresh_tokens (token_hash, session_id, expires_at)
    select :token_hash, o.id, now() + :ttl::interval from opened as o
)
select o.id::text from opened as o;

-- name: sessions_beyond -> many
-- The living sessions of a user beyond the `most` used last.
select s.id::text as id
from sessions as s
where s.user_id = :user_id and s.revoked_at is null and s.expires_at > now()
order by s.last_used_at desc, s.id asc
offset :most::integer;

-- name: known_token -> many
-- The session that a refresh token belongs to, used or not, if it has not ended; at most one row. Locks nothing.
select s.id::text as id, s.user_id
from refresh_tokens as r
inner join sessions as s on s.id = r.session_id
where r.token_hash = :token_hash and s.revoked_at is null and s.expires_at > now();

-- name: session_of_token -> many
-- The session that a refresh token belongs to, locked for its rotation; at most one row.
select s.id::text as id, s.user_id
from refresh_tokens as r
inner join sessions as s on s.id = r.session_id
where r.token_hash = :token_hash
for no key update of s;

-- name: refresh_state -> value, by key
-- What a refresh token is good for, read after its session was locked: fresh; rotated a moment ago (two tabs at once);
-- reused; or dead, also when its session was not used in the time of `idle`.
select case
    when s.last_used_at < clock_timestamp() - :idle::interval then 'dead'
    when s.revoked_at is not null or s.expires_at <= clock_timestamp() or r.expires_at <= clock_timestamp() then 'dead'
    when not u.is_active or u.deleted_at is not null then 'dead'
    when r.rotated_at is null then 'fresh'
    when r.rotated_at > clock_timestamp() - :grace::interval then 'fresh'
    else 'reused'
end as state
from refresh_tokens as r
inner join sessions as s on s.id = r.session_id
inner join users as u on u.id = s.user_id
where r.token_hash = :token_hash;

-- name: rotate -> nothing, by key
-- Exchanges a refresh token for the next one of its session, which lives as long as that from now on; takes the session's
-- expired tokens away.
with used as (
    update refresh_tokens set rotated_at = coalesce(rotated_at, clock_timestamp()) where token_hash = :token_hash
), old as (
    delete from refresh_tokens
    where session_id = :session_id::uuid and expires_at < now() and token_hash <> :token_hash
), given as (
    insert into refresh_tokens (token_hash, session_id, expires_at)
    values (:next_hash, :session_id::uuid, now() + :ttl::interval)
)
update sessions set last_used_at = now(), expires_at = now() + :ttl::interval, ip = :ip, user_agent = :user_agent
where id = :session_id::uuid;

-- name: end_sessions -> many, by key
-- Ends sessions of a user: the one, all but one, or all. Gives the ids of those that lived.
update sessions set revoked_at = now()
where
    user_id = :user_id and revoked_at is null
    and (:only::uuid is null or id = :only::uuid)
    and (:but::uuid is null or id <> :but::uuid)
returning id::text as id;

-- name: list_sessions -> one
-- A page of the user's living sessions, latest first, older than the session `before`.
with page as (
    select s.id, s.created_at, session_json(s, :current::uuid) as shaped
    from sessions as s
    where
        s.user_id = :user_id and s.revoked_at is null and s.expires_at > now()
        and (
            :before::uuid is null
            or (s.created_at, s.id) < (select b.created_at, b.id from sessions as b where b.id = :before::uuid)
        )
    order by s.created_at desc, s.id desc
    limit :limit::integer + 1
), cut as (
    select * from page order by created_at desc, id desc limit :limit::integer
)
select
    '[' || coalesce(string_agg(c.shaped::text, ',' order by c.created_at desc, c.id desc), '') || ']' as items,
    case
        when (select count(*) from page) > :limit::integer
            then json_build_array((array_agg(c.id order by c.created_at, c.id))[1])
    end as next
from cut as c;

-- name: registration_open -> value, by key
-- Whether somebody may register: the very first user always, others unless the settings say no.
select
    not exists (select 1 from users)
    or not exists (select 1 from system_settings as s where s.key = 'registration_enabled' and s.value = 'false');

-- name: nobody_yet -> value, by key
select not exists (select 1 from users);

-- name: lock_admins -> nothing, by key
-- Until the commit nobody else becomes the first user, and nobody else changes who is an administrator.
select pg_advisory_xact_lock(hashtext('warmdesk.admins'));

-- name: register -> one, by key
-- A new account with this role; the first one of all is an administrator.
insert into users (
    email, username, password_hash, first_name, last_name, display_name, locale, timezone, date_time_format, theme, font,
    font_size, global_role, last_login_at, password_changed_at
)
values (
    lower(:email), :username, :password_hash, btrim(:first_name), btrim(:last_name),
    display_name_of(:display_name, :first_name, :last_name, :username), :locale, :timezone, :date_time_format, :theme, :font,
    :font_size,
    case when exists (select 1 from users) then :global_role else 'admin' end,
    now(), now()
)
returning id, me_json(users)::text as me;

-- name: password_of -> value, by key
select u.password_hash from users as u where u.id = :user_id and u.deleted_at is null;

-- name: change_password -> many, by key
-- Sets the user's password, if it is still the one that was checked: no row otherwise. Links to set a new one that were mailed
-- before are void.
with gone as (
    delete from password_resets as r where r.user_id = :user_id
)
update users set
    password_hash = :new_hash,
    password_changed_at = now(),
    must_change_password = false,
    updated_at = now()
where id = :user_id and password_hash = :checked_hash and deleted_at is null
returning me_json(users)::text as me;
