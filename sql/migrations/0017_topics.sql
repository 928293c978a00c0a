-- oldest program: 0.1
-- Topics: what a project talks about at length; and their replies. What is deleted keeps its row and is shown nowhere; a deleted
-- topic's replies keep theirs as they were, and are only found by their topic.

create table topics (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    deleted_at timestamptz,
    project_id bigint not null references projects (id),
    user_id bigint not null references users (id),
    title text not null,
    body text not null default '',
    is_pinned boolean not null default false,
    is_edited boolean not null default false,
    reply_count integer not null default 0,
    last_activity_at timestamptz not null default clock_timestamp(),
    version integer not null default 1
);
create index topics_listed on topics (project_id, is_pinned, id) where deleted_at is null;
create index topics_project on topics (project_id, id desc);

create table topic_replies (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    deleted_at timestamptz,
    project_id bigint not null references projects (id),
    topic_id bigint not null references topics (id),
    user_id bigint not null references users (id),
    body text not null,
    is_edited boolean not null default false,
    version integer not null default 1
);
create index topic_replies_listed on topic_replies (topic_id, id) where deleted_at is null;
create index topic_replies_project on topic_replies (project_id, id desc);

insert into shows_users (table_name, user_column, newest_by)
values
('topics', 'user_id', 'id'),
('topic_replies', 'user_id', 'id');
