-- oldest program: 0.1

create table chat_messages (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    project_id bigint not null references projects (id),
    user_id bigint references users (id),
    body text not null,
    is_edited boolean not null default false,
    is_deleted boolean not null default false,
    is_bot boolean not null default false,
    bot_name text,
    nonce text,
    version integer not null default 1
);
create index chat_messages_project on chat_messages (project_id, id desc);
create index chat_messages_nonce on chat_messages (user_id, nonce) where nonce is not null;

create table message_reactions (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    owner_type text not null check (owner_type in ('chat_message', 'conv_message')),
    owner_id bigint not null,
    user_id bigint not null references users (id),
    emoji text not null,
    unique (owner_type, owner_id, user_id, emoji)
);
