-- oldest program: 0.1
-- Files that hang on cards, comments and messages, and people's pictures. What is in the files is kept elsewhere, under random
-- names.

create table attachments (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    -- Where it is seen: in a project or in a conversation.
    project_id bigint references projects (id),
    conversation_id bigint references conversations (id) on delete cascade,
    -- The card that it is on, or whose comment it is on.
    card_id bigint references cards (id) on delete cascade,
    -- Both are null while nothing has it.
    owner_type text check (owner_type in ('card', 'card_comment', 'chat_message', 'conv_message')),
    owner_id bigint,
    uploader_id bigint not null references users (id),
    filename text not null,
    stored_name text collate "C" not null unique,
    mime_type text not null,
    size_bytes bigint not null check (size_bytes > 0),
    sha256 text not null,
    check ((owner_type is null) = (owner_id is null)),
    check ((project_id is null) <> (conversation_id is null)),
    check ((card_id is null) = (owner_type is null or owner_type in ('chat_message', 'conv_message')))
);
create index attachments_owner on attachments (owner_type, owner_id, id desc) where owner_type is not null;
create index attachments_card on attachments (card_id) where card_id is not null;
-- How much a place has is read from it alone.
create index attachments_project on attachments (project_id) include (size_bytes) where project_id is not null;
create index attachments_conversation on attachments (conversation_id) include (size_bytes) where conversation_id is not null;
create index attachments_pending on attachments (created_at) where owner_type is null;
create index attachments_uploader on attachments (uploader_id) where owner_type is null;

-- Files of which the row is gone, until they are, too.
create table removed_files (
    stored_name text collate "C" primary key,
    removed_at timestamptz not null default clock_timestamp()
);

-- By a trigger: whatever takes a row away, a purge too, no file stays behind.
create function remove_file() returns trigger language plpgsql as $$
begin
    insert into removed_files (stored_name) values (old.stored_name) on conflict do nothing;
    return null;
end
$$;
create trigger attachments_removed after delete on attachments for each row execute function remove_file();

-- People's own pictures, small, under the digest of what they show: who has the same one shares it. Others address them by
-- users.avatar_url.
create table avatars (
    sha256 text collate "C" primary key,
    picture bytea not null,
    -- Since when somebody does not show it any more.
    left_at timestamptz
);
create index avatars_left on avatars (left_at) where left_at is not null;
create index users_avatar on users (avatar_url) where avatar_url like '/avatars/%';

-- By a trigger: an account may lose its picture in many ways.
create function leave_avatar() returns trigger language plpgsql as $$
begin
    update avatars a set left_at = clock_timestamp() where a.sha256 = substring(old.avatar_url from '^/avatars/([0-9a-f]{64})[.]webp$');
    return null;
end
$$;
create trigger users_avatar_left after update of avatar_url on users for each row
when (old.avatar_url like '/avatars/%' and old.avatar_url is distinct from new.avatar_url) execute function leave_avatar();
