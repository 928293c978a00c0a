-- oldest program: 0.1
-- Notifications: what happened that concerns one person. Each is about one text, or about a card, and goes with it.

create table notifications (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    user_id bigint not null references users (id),
    kind text not null,
    actor_id bigint references users (id),
    project_id bigint references projects (id),
    card_id bigint references cards (id) on delete cascade,
    comment_id bigint references card_comments (id) on delete cascade,
    topic_id bigint references topics (id) on delete cascade,
    reply_id bigint references topic_replies (id) on delete cascade,
    chat_message_id bigint references chat_messages (id) on delete cascade,
    conversation_id bigint references conversations (id) on delete cascade,
    conversation_message_id bigint references conversation_messages (id) on delete cascade,
    -- The beginning of the text that it is about.
    body text not null default '',
    -- The keys of the card that changed, where it is about a change.
    changes text[],
    read_at timestamptz,
    -- A mail about it is wanted, if its reader is not here. It waits with its notification, and goes with it.
    wants_mail boolean not null default false
);
create index notifications_user on notifications (user_id, id desc);
create index notifications_unread on notifications (user_id) where read_at is null;
create index notifications_mentions on notifications (user_id, project_id) where read_at is null and kind = 'mention';
create index notifications_of_card on notifications (card_id) where card_id is not null;
create index notifications_of_comment on notifications (comment_id) where comment_id is not null;
create index notifications_of_topic on notifications (topic_id) where topic_id is not null;
create index notifications_of_reply on notifications (reply_id) where reply_id is not null;
create index notifications_of_chat on notifications (chat_message_id) where chat_message_id is not null;
create index notifications_of_conversation on notifications (conversation_id, user_id) where conversation_id is not null;
create index notifications_of_message on notifications (conversation_message_id) where conversation_message_id is not null;
create index notifications_created on notifications (created_at);
