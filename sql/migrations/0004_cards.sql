-- oldest program: 0.1
-- comment_count, checklist_total, checklist_done and attachment_count are kept by the changes that touch them: a board then
-- reads one row a card.

create table cards (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    project_id bigint not null references projects (id),
    column_id bigint not null references columns (id),
    title text not null,
    description text not null default '',
    position double precision not null,
    priority text not null default 'none' check (priority in ('none', 'low', 'medium', 'high', 'critical')),
    start_date date,
    due_date date,
    closed boolean not null default false,
    closed_at timestamptz,
    archived_at timestamptz,
    created_by_id bigint references users (id),
    card_number integer not null,
    time_spent_minutes integer not null default 0,
    manual_minutes integer not null default 0,
    comment_count integer not null default 0,
    checklist_total integer not null default 0,
    checklist_done integer not null default 0,
    attachment_count integer not null default 0,
    version integer not null default 1,
    unique (project_id, card_number)
);
create index cards_column on cards (column_id, position, id) where deleted_at is null;
create index cards_project on cards (project_id) where deleted_at is null;

create table card_assignees (
    card_id bigint not null references cards (id) on delete cascade,
    user_id bigint not null references users (id),
    created_at timestamptz not null default clock_timestamp(),
    primary key (card_id, user_id)
);
create index card_assignees_user on card_assignees (user_id);

create table card_watchers (
    card_id bigint not null references cards (id) on delete cascade,
    user_id bigint not null references users (id),
    created_at timestamptz not null default clock_timestamp(),
    primary key (card_id, user_id)
);
create index card_watchers_user on card_watchers (user_id);

create table card_labels (
    card_id bigint not null references cards (id) on delete cascade,
    label_id bigint not null references labels (id),
    created_at timestamptz not null default clock_timestamp(),
    primary key (card_id, label_id)
);
create index card_labels_label on card_labels (label_id);

create table card_tags (
    id bigint generated always as identity primary key,
    card_id bigint not null references cards (id) on delete cascade,
    name text not null,
    unique (card_id, name)
);

create table card_history (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    project_id bigint not null references projects (id),
    card_id bigint not null references cards (id) on delete cascade,
    user_id bigint references users (id),
    event_type text not null,
    field text,
    from_value text,
    to_value text,
    detail text not null default '',
    from_column_id bigint,
    to_column_id bigint
);
create index card_history_card on card_history (card_id, id desc);
create index card_history_project on card_history (project_id, id desc);
