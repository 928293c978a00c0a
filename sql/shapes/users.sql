create type user_shape as (id bigint, username text, display_name text, avatar_url text);

-- A user as everybody may see them.
create or replace function shape(u users) returns json language sql stable as $$
select row_to_json(row(u.id, u.username, u.display_name, u.avatar_url)::user_shape)
$$;

-- What a user is called when they did not say: "First Last", else the username.
create or replace function display_name_of(display_ text, first_ text, last_ text, username_ text) returns text
language sql immutable as $$
select left(
    coalesce(nullif(btrim(display_), ''), nullif(btrim(concat_ws(' ', btrim(first_), btrim(last_))), ''), username_), 150
)
$$;

-- The picture that belongs to an e-mail address, unless the installation forbids to ask for it.
create or replace function gravatar_url(u users) returns text language sql stable as $$
select 'https://www.gravatar.com/avatar/' || encode(sha256(convert_to(lower(u.email), 'UTF8')), 'hex') || '?d=identicon'
where not exists (select 1 from system_settings s where s.key = 'gravatar_enabled' and s.value = 'false')
$$;

create or replace function can_view_reports(u users) returns boolean language sql stable as $$
select u.global_role = 'admin' or (
    u.global_role = 'user'
    and exists (select 1 from project_members m where m.user_id = u.id and m.role in ('admin', 'owner'))
)
$$;

-- How somebody wants to be told of a kind of notification: "off", "app" or "mail".
create or replace function notify_choice(u users, kind_ text) returns text language sql immutable as $$
select coalesce(u.notify ->> kind_, case when kind_ in ('mention', 'assigned', 'dm') then 'mail' else 'app' end)
$$;

create type notify_shape as (
    mention text, assigned text, assigned_moved text, assigned_commented text, watched_updated text, topic_reply text, dm text,
    due text, project_added text
);

-- The same for all kinds.
create or replace function notify_json(u users) returns json language sql stable as $$
select row_to_json(row(
    notify_choice(u, 'mention'), notify_choice(u, 'assigned'), notify_choice(u, 'assigned_moved'),
    notify_choice(u, 'assigned_commented'), notify_choice(u, 'watched_updated'), notify_choice(u, 'topic_reply'),
    notify_choice(u, 'dm'), notify_choice(u, 'due'), notify_choice(u, 'project_added')
)::notify_shape)
$$;

create type me_shape as (
    id bigint, username text, display_name text, avatar_url text, email text, first_name text, last_name text,
    gravatar_url text, global_role text, locale text, theme text, date_time_format text, timezone text, font text,
    font_size text, sidebar_position text, accent_color text, week_start text, time_notation text,
    show_breadcrumbs boolean, email_notifications boolean, notify json, is_active boolean, totp_enabled boolean,
    must_change_password boolean, can_view_reports boolean, last_login_at text, settings_updated_at text,
    created_at text, updated_at text
);

-- An account as its owner sees it.
create or replace function me_json(u users) returns json language sql stable as $$
select row_to_json(row(
    u.id, u.username, u.display_name, u.avatar_url, u.email, u.first_name, u.last_name, gravatar_url(u), u.global_role,
    u.locale, u.theme, u.date_time_format, u.timezone, u.font, u.font_size, u.sidebar_position, u.accent_color,
    u.week_start, u.time_notation, u.show_breadcrumbs, u.email_notifications, notify_json(u), u.is_active, u.totp_enabled,
    u.must_change_password, can_view_reports(u), iso(u.last_login_at), iso(u.settings_updated_at), iso(u.created_at),
    iso(u.updated_at)
)::me_shape)
$$;

-- An account as an administrator sees it.
create or replace function account_json(u users) returns json language sql stable as $$
select joined('{"deleted_at":' || coalesce(to_json(iso(u.deleted_at))::text, 'null') || '}', me_json(u)::text)::json
$$;

create type session_shape as (
    id uuid, created_at text, last_used_at text, expires_at text, user_agent text, ip text, current boolean
);

-- A session as its user sees it; `current_` is the one that asks.
create or replace function session_json(s sessions, current_ uuid) returns json language sql stable as $$
select row_to_json(row(
    s.id, iso(s.created_at), iso(s.last_used_at), iso(s.expires_at), s.user_agent, s.ip, s.id is not distinct from current_
)::session_shape)
$$;

create type login_event_shape as (id bigint, created_at text, event text, ip text, user_agent text, actor json);

-- A line of somebody's login history; the actor is who did it, where that was an administrator.
create or replace function login_event_json(e login_events) returns json language sql stable as $$
select row_to_json(row(
    e.id, iso(e.created_at), e.event, e.ip, e.user_agent, (select shape(u) from users u where u.id = e.actor_id)
)::login_event_shape)
$$;
