-- oldest program: 0.1
-- Files that hang on cards, comments and messages. What is in them is kept elsewhere, under random names.

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
