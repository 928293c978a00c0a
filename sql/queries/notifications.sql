-- name: page -> one
-- A page of somebody's notifications, the newest first, before an id, all or those that are unread; how many are unread of all; and
-- the head of the person's feed at that moment.
with chosen as (
    select n.id, shape(n)::text as item, row_number() over (order by n.id desc) as nth
    from notifications as n
    where
        n.user_id = :reader::bigint and n.id < coalesce(:before::bigint, 9223372036854775807)
        and (not :unread::boolean or n.read_at is null)
    order by n.id desc
    limit :limit::integer + 1
)
select
    '[' || coalesce(string_agg(c.item, ',' order by c.nth) filter (where c.nth <= :limit::integer), '') || ']' as items,
    min(c.id) filter (where c.nth = :limit::integer) as last_id,
    count(*) > :limit::integer as more,
    unread_notifications(:reader::bigint) as unread_count,
    coalesce((select f.seq from feeds as f where f.channel = 'user:' || :reader::bigint), 0) as seq,
    epoch() as epoch
from chosen as c;

-- name: read -> one, by key
-- One was read: see read_notification in sql/changes/notifications.sql.
select status, answer, messages from read_notification(:actor::bigint, :client::text, :id::bigint);

-- name: read_all -> one, by key
-- All were read: see read_all_notifications.
select status, answer, messages from read_all_notifications(:actor::bigint, :client::text);

-- name: delete -> one, by key
-- See delete_notification.
select status, answer, messages from delete_notification(:actor::bigint, :client::text, :id::bigint);

-- name: named -> value, by key
-- Tells those whom a text of a project names: a topic's, a reply's or a chat message's.
select tell_notifications(
    note_names(
        about(
            :actor::bigint, :body::text, :project_id::bigint,
            topic_ => :topic_id::bigint, reply_ => :reply_id::bigint, chat_message_ => :message_id::bigint
        ),
        :names::text
    )
);

-- name: named_in_conversation -> value, by key
-- Tells those of a conversation whom a message of it names.
select tell_notifications(
    note_names(
        about(:actor::bigint, :body::text, conversation_ => :conversation_id::bigint, message_ => :message_id::bigint), :names::text
    )
);

-- name: joined -> value, by key
-- Tells somebody that they were added to a project.
select tell_notifications(
    note(about(:actor::bigint, project_ => :project_id::bigint), array[:user_id::bigint], array['project_added'])
);

-- name: forget_card -> value, by key
-- Forgets all that is about a card.
select forget_notifications(
    :actor::bigint, entity(entity('notified', :project_id::bigint), 'card', :id::bigint),
    array(select n.id from notifications as n where n.card_id = :id::bigint)
);

-- name: forget_topic -> value, by key
-- Forgets all that is about a topic and its replies.
select forget_notifications(
    :actor::bigint, entity(entity('notified', :project_id::bigint), 'topic', :id::bigint),
    array(select n.id from notifications as n where n.topic_id = :id::bigint)
);

-- name: forget_reply -> value, by key
-- Forgets all that is about a reply.
select forget_notifications(
    :actor::bigint, entity(entity(entity('notified', :project_id::bigint), 'topic', :topic_id::bigint), 'reply', :id::bigint),
    array(select n.id from notifications as n where n.reply_id = :id::bigint)
);

-- name: forget_chat_message -> value, by key
-- Forgets all that is about a chat message.
select forget_notifications(
    :actor::bigint, entity(entity('notified', :project_id::bigint), 'message', :id::bigint),
    array(select n.id from notifications as n where n.chat_message_id = :id::bigint)
);

-- name: hold_of_message -> many, by key
-- Locks what is about a message of a conversation, and what says that there is something to read in it, before the feeds of those
-- in it: who reads now waits, or has read already.
select n.id from notifications as n
where n.id = any(array(
    select k.id from notifications as k where k.conversation_message_id = :id::bigint
    union all
    select k.id from notifications as k
    where k.conversation_id = :conversation_id::bigint and k.kind = 'dm' and k.read_at is null
))
order by n.id for update;

-- name: hold_of_person -> many, by key
-- Locks what somebody was told of a project or a conversation, before that person's feed.
select n.id from notifications as n
where n.user_id = :user_id::bigint and (n.project_id = :project_id::bigint or n.conversation_id = :conversation_id::bigint)
order by n.id for update;

-- name: forget_message -> value, by key
-- Forgets all that is about a message of a conversation: see forget_message.
select forget_message(:actor::bigint, :conversation_id::bigint, :id::bigint);

-- name: forget_project -> value, by key
-- Forgets all that somebody was told of a project.
select forget_notifications(
    :actor::bigint, entity('notified', :project_id::bigint),
    array(select n.id from notifications as n where n.user_id = :user_id::bigint and n.project_id = :project_id::bigint)
);

-- name: forget_conversation -> value, by key
-- Forgets all that somebody was told of a conversation.
select forget_notifications(
    :actor::bigint, entity('notified_in', :conversation_id::bigint),
    array(select n.id from notifications as n where n.conversation_id = :conversation_id::bigint and n.user_id = :user_id::bigint)
);

-- name: read_these -> value, by key
-- What was read with a conversation or a chat, and is locked: see mark_conversation_read and mark_chat_read.
select read_notifications(:user_id::bigint, :ids::bigint[], :client::text);
