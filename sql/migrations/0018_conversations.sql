-- oldest program: 0.1
-- Conversations: what people say to each other outside any project, two of them or a group.

create table conversations (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    -- When it was last written in, or named: the order of the list.
    updated_at timestamptz not null default clock_timestamp(),
    name text,
    avatar text,
    is_group boolean not null,
    created_by_id bigint not null references users (id),
    -- Whose 1:1 it is, "3:7", the lower id first: two people have one.
    dm_key text collate "C" unique,
    -- When the last one left. Nobody sees it from then on, and what was said there goes by and by.
    emptied_at timestamptz,
    check (is_group = (dm_key is null))
);
create index conversations_emptied on conversations (emptied_at) where emptied_at is not null;

create table conversation_members (
    conversation_id bigint not null references conversations (id),
    user_id bigint not null references users (id),
    joined_at timestamptz not null default clock_timestamp(),
    last_read_message_id bigint,
    muted boolean not null default false,
    primary key (conversation_id, user_id)
);
create index conversation_members_user on conversation_members (user_id, conversation_id);

create table conversation_messages (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    conversation_id bigint not null references conversations (id),
    sender_id bigint not null references users (id),
    body text not null,
    is_edited boolean not null default false,
    is_deleted boolean not null default false,
    nonce text,
    version integer not null default 1
);
-- Pages and what is unread are read from it alone.
create index conversation_messages_conversation on conversation_messages (conversation_id, id desc) include (sender_id, is_deleted);
create index conversation_messages_nonce on conversation_messages (sender_id, nonce) where nonce is not null;
