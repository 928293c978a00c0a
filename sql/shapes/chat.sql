-- A chat message; a deleted one without its text. What hangs on the row comes in as arguments.
create or replace function shape(m chat_messages, author json, reactions json) returns json language sql stable as $$
select json_build_object(
    'id', m.id, 'project_id', m.project_id, 'user_id', m.user_id, 'user', author,
    'body', case when m.is_deleted then '' else m.body end, 'is_edited', m.is_edited, 'is_deleted', m.is_deleted,
    'is_bot', m.is_bot, 'bot_name', m.bot_name, 'attachments', json_build_array(), 'reactions', coalesce(reactions, '[]'),
    'created_at', iso(m.created_at), 'updated_at', iso(m.updated_at), 'version', m.version, 'nonce', m.nonce
)
$$;

-- The reactions of messages of one kind: emojis, and who used each, in the order of first use.
create or replace function reactions_json(owner_type_ text, ids_ bigint[]) returns table (id bigint, reactions json)
language sql stable as $$
select e.owner_id, json_agg(json_build_object('emoji', e.emoji, 'count', e.uses, 'user_ids', e.user_ids) order by e.first)
from (
    select r.owner_id, r.emoji, min(r.id) as first, count(*) as uses, json_agg(r.user_id order by r.id) as user_ids
    from message_reactions r
    where r.owner_type = owner_type_ and r.owner_id = any(ids_)
    group by r.owner_id, r.emoji
) e
group by e.owner_id
$$;

-- Chat messages by their ids, each with its shape.
create or replace function messages_json(ids_ bigint[]) returns table (id bigint, message json) language sql stable as $$
select m.id, shape(m, case when u.id is not null then shape(u) end, r.reactions)
from chat_messages m
left join users u on u.id = m.user_id
left join reactions_json('chat_message', ids_) r on r.id = m.id
where m.id = any(ids_)
$$;
