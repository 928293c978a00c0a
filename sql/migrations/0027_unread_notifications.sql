-- oldest program: 0.1
-- Whoever writes to a conversation looks for those who have not read it: among what is unread, not among all that was ever told.

create index notifications_unread_of_conversation on notifications (conversation_id) where kind = 'dm' and read_at is null;
