create type notified_project_shape as (slug text, name text);

create type notification_shape as (
    id bigint, kind text, title text, body text, changes text[], actor json, project json, card json, comment_id bigint,
    topic_id bigint, reply_id bigint, message_id bigint, conversation_id bigint, url text, created_at text, read_at text
);

create type notification_read_shape as (id bigint, unread_count bigint);

create type notifications_read_shape as ("all" boolean, unread_count bigint);

-- Where the web application shows what a notification is about, as warmdesk/paths.py has it.
create or replace function page_of(n notifications, slug_ text, key_ text) returns text language sql immutable as $$
select
    case
        when n.card_id is not null then '/p/' || slug_ || '/c/' || key_
        when n.topic_id is not null then '/p/' || slug_ || '/topics/' || n.topic_id
        when n.chat_message_id is not null then '/p/' || slug_ || '/chat'
        when n.conversation_id is not null then '/messages/' || n.conversation_id
        else '/p/' || slug_
    end
$$;

-- A notification, as its reader sees it. The title is that of what it is about, by the name of today; `url` is where the web
-- application shows it.
create or replace function shape(n notifications) returns json language sql stable as $$
select row_to_json(row(
    n.id, n.kind,
    case
        when n.card_id is not null then c.title
        when n.topic_id is not null then (select t.title from topics t where t.id = n.topic_id)
        when n.conversation_id is not null then
            coalesce((select o.name from conversations o where o.id = n.conversation_id), a.display_name)
        else p.name
    end,
    n.body, n.changes, case when a.id is not null then shape(a) end,
    case when p.id is not null then row_to_json(row(p.slug, p.name)::notified_project_shape) end,
    case when c.id is not null then card_ref(c, p.key_prefix) end,
    n.comment_id, n.topic_id, n.reply_id, coalesce(n.chat_message_id, n.conversation_message_id), n.conversation_id,
    page_of(n, p.slug, p.key_prefix || '-' || c.card_number),
    iso(n.created_at), iso(n.read_at)
)::notification_shape)
from (select 1) one
left join users a on a.id = n.actor_id
left join projects p on p.id = n.project_id
left join cards c on c.id = n.card_id
$$;

-- What a notification is about, in its reader's feed. All that was told of a text goes with the text, of a card with the card, and
-- of a project when its reader leaves it.
create or replace function notified_of(n notifications) returns text language sql immutable as $$
select
    case
        when n.conversation_id is not null then entity(entity('notified_in', n.conversation_id), 'message', n.conversation_message_id)
        when n.comment_id is not null then entity(entity(entity('notified', n.project_id), 'card', n.card_id), 'comment', n.comment_id)
        when n.card_id is not null then entity(entity('notified', n.project_id), 'card', n.card_id)
        when n.reply_id is not null then entity(entity(entity('notified', n.project_id), 'topic', n.topic_id), 'reply', n.reply_id)
        when n.topic_id is not null then entity(entity('notified', n.project_id), 'topic', n.topic_id)
        when n.chat_message_id is not null then entity(entity('notified', n.project_id), 'message', n.chat_message_id)
        else entity('notified', n.project_id)
    end
$$;

-- How often somebody was named in a project and has not read it. Planned once a session, as chat_unread_count is.
create or replace function unread_mentions(user_ bigint, project_ bigint) returns bigint
language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    return (
        select count(*) from notifications n
        where n.user_id = user_ and n.project_id = project_ and n.read_at is null and n.kind = 'mention'
    );
end
$$;

-- How many notifications somebody has not read.
create or replace function unread_notifications(user_ bigint) returns bigint
language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    return (select count(*) from notifications n where n.user_id = user_ and n.read_at is null);
end
$$;
