-- oldest program: 0.1

create table projects (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    name text not null,
    description text not null default '',
    slug text not null unique,
    color text not null default '#6366f1',
    key_prefix text not null unique,
    is_archived boolean not null default false,
    archived_at timestamptz,
    card_counter integer not null default 0,
    created_by_id bigint not null references users (id)
);

create table project_members (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default now(),
    project_id bigint not null references projects (id),
    user_id bigint not null references users (id),
    role text not null default 'member' check (role in ('viewer', 'member', 'admin', 'owner')),
    invited_by bigint references users (id),
    unique (project_id, user_id)
);
create index project_members_user on project_members (user_id);

create table starred_projects (
    user_id bigint not null references users (id),
    project_id bigint not null references projects (id),
    created_at timestamptz not null default now(),
    primary key (user_id, project_id)
);

create table columns (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    project_id bigint not null references projects (id),
    name text not null,
    position double precision not null,
    color text not null default '',
    wip_limit integer check (wip_limit >= 1),
    version integer not null default 1
);
create index columns_project on columns (project_id, position) where deleted_at is null;

create table labels (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    project_id bigint not null references projects (id),
    name text not null,
    color text not null
);
create unique index labels_name on labels (project_id, lower(name)) where deleted_at is null;
