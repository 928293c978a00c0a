-- oldest program: 0.1

create table users (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    email text not null,
    username text not null,
    password_hash text not null,
    first_name text not null default '',
    last_name text not null default '',
    display_name text not null,
    avatar_url text,
    global_role text not null default 'user' check (global_role in ('admin', 'user', 'viewer', 'metrics', 'backup')),
    locale text not null default 'en',
    theme text not null default 'system',
    date_time_format text not null default 'YYYY-MM-DD HH:mm',
    timezone text not null default 'UTC',
    font text not null default 'system',
    font_size text not null default '14',
    sidebar_position text not null default 'left',
    accent_color text not null default 'blue',
    week_start text not null default 'monday',
    time_notation text not null default 'decimal',
    show_breadcrumbs boolean not null default true,
    email_notifications boolean not null default true,
    is_active boolean not null default true,
    must_change_password boolean not null default false,
    totp_enabled boolean not null default false,
    last_login_at timestamptz,
    settings_updated_at timestamptz,
    password_changed_at timestamptz
);
create unique index users_email on users (lower(email));
create unique index users_username on users (lower(username));

-- A session is a family of refresh tokens; its id is the `sid` of the access tokens it gave.
create table sessions (
    id uuid primary key default gen_random_uuid(),
    user_id bigint not null references users (id),
    created_at timestamptz not null default now(),
    last_used_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    user_agent text not null default '',
    ip text not null default ''
);
create index sessions_user on sessions (user_id);

create table refresh_tokens (
    token_hash text primary key,
    session_id uuid not null references sessions (id) on delete cascade,
    issued_at timestamptz not null default now(),
    expires_at timestamptz not null,
    rotated_at timestamptz
);
create index refresh_tokens_session on refresh_tokens (session_id);

create table api_keys (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default now(),
    user_id bigint not null references users (id),
    project_id bigint,
    name text not null,
    key_hash text not null unique,
    key_prefix text not null,
    last_used_at timestamptz,
    expires_at timestamptz,
    revoked_at timestamptz
);
create index api_keys_user on api_keys (user_id);

create table login_events (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default now(),
    user_id bigint references users (id),
    actor_id bigint references users (id),
    event text not null,
    ip text not null default '',
    user_agent text not null default ''
);
create index login_events_user on login_events (user_id, id desc);
create index login_events_address on login_events (user_id, ip) where event = 'login_ok';

create table system_settings (
    key text primary key,
    value text not null
);
