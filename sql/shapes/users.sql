-- A user as everybody may see them.
create or replace function shape(u users) returns json language sql stable as $$
select json_build_object('id', u.id, 'username', u.username, 'display_name', u.display_name, 'avatar_url', u.avatar_url)
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

-- An account as its owner sees it.
create or replace function me_json(u users) returns json language sql stable as $$
select json_build_object(
    'id', u.id,
    'username', u.username,
    'display_name', u.display_name,
    'avatar_url', u.avatar_url,
    'email', u.email,
    'first_name', u.first_name,
    'last_name', u.last_name,
    'gravatar_url', gravatar_url(u),
    'global_role', u.global_role,
    'locale', u.locale,
    'theme', u.theme,
    'date_time_format', u.date_time_format,
    'timezone', u.timezone,
    'font', u.font,
    'font_size', u.font_size,
    'sidebar_position', u.sidebar_position,
    'accent_color', u.accent_color,
    'week_start', u.week_start,
    'time_notation', u.time_notation,
    'show_breadcrumbs', u.show_breadcrumbs,
    'email_notifications', u.email_notifications,
    'is_active', u.is_active,
    'totp_enabled', u.totp_enabled,
    'must_change_password', u.must_change_password,
    'can_view_reports', can_view_reports(u),
    'last_login_at', iso(u.last_login_at),
    'settings_updated_at', iso(u.settings_updated_at),
    'created_at', iso(u.created_at),
    'updated_at', iso(u.updated_at)
)
$$;

-- An account as an administrator sees it.
create or replace function account_json(u users) returns json language sql stable as $$
select joined(json_build_object('deleted_at', iso(u.deleted_at))::text, me_json(u)::text)::json
$$;

-- A session as its user sees it; `current_` is the one that asks.
create or replace function session_json(s sessions, current_ uuid) returns json language sql stable as $$
select json_build_object(
    'id', s.id,
    'created_at', iso(s.created_at),
    'last_used_at', iso(s.last_used_at),
    'expires_at', iso(s.expires_at),
    'user_agent', s.user_agent,
    'ip', s.ip,
    'current', s.id is not distinct from current_
)
$$;
