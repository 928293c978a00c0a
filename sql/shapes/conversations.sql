create type conversation_shape as (
    id bigint, name text, avatar text, is_group boolean, created_by_id bigint, created_at text, updated_at text, members json
);

-- A conversation, as all in it see it. What is one reader's own stands in conversation_seen alone.
create or replace function shape(c conversations) returns json language sql stable as $$
select row_to_json(row(
    c.id, c.name, c.avatar, c.is_group, c.created_by_id, iso(c.created_at), iso(c.updated_at), participants_json(c.id)
)::conversation_shape)
$$;

create type participant_shape as (user_id bigint, joined_at text, "user" json);

-- Who is in a conversation, in the order they came.
create or replace function participants_json(conversation_ bigint) returns json language sql stable as $$
select coalesce(
    array_to_json(
        array_agg(row(m.user_id, iso(m.joined_at), shape(u))::participant_shape order by m.joined_at, m.user_id)
    ), '[]'
)
from conversation_members m
inner join users u on u.id = m.user_id
where m.conversation_id = conversation_
$$;

create type new_participant_shape as (conversation_id bigint, user_id bigint, joined_at text, "user" json);

-- Somebody in a conversation, as those hear of it who were there before.
create or replace function shape(m conversation_members, u users) returns json language sql stable as $$
select row_to_json(row(m.conversation_id, m.user_id, iso(m.joined_at), shape(u))::new_participant_shape)
$$;

create type conversation_message_shape as (
    id bigint, conversation_id bigint, sender_id bigint, sender json, body text, is_edited boolean, is_deleted boolean,
    attachments json, reactions json, created_at text, updated_at text, version integer, nonce text
);

-- A message of a conversation; a deleted one without its text. What hangs on the row comes in as arguments.
create or replace function shape(m conversation_messages, sender json, attachments json, reactions json) returns json
language sql stable as $$
select row_to_json(row(
    m.id, m.conversation_id, m.sender_id, sender, case when m.is_deleted then '' else m.body end, m.is_edited, m.is_deleted,
    coalesce(attachments, '[]'), coalesce(reactions, '[]'), iso(m.created_at), iso(m.updated_at), m.version, m.nonce
)::conversation_message_shape)
$$;

-- Messages of conversations by their ids, each with its shape.
create or replace function conversation_messages_json(ids_ bigint[]) returns table (id bigint, message json)
language sql stable as $$
select m.id, shape(m, shape(u), a.attachments, r.reactions)
from conversation_messages m
inner join users u on u.id = m.sender_id
left join attachments_json('conv_message', ids_) a on a.id = m.id
left join reactions_json('conv_message', ids_) r on r.id = m.id
where m.id = any(ids_)
$$;

-- The first of these messages, with their shapes, as many as fit into so many bytes; at least one. Fifty at a time, so that not
-- much more is built than fits.
create or replace function first_conversation_messages(ids_ bigint[], bytes_ bigint) returns table (id bigint, message json)
language plpgsql stable as $$
declare
    part bigint[];
    going bigint;
    length bigint := 0;
begin
    for part in
        select array_agg(o.id order by o.place) from unnest(ids_) with ordinality o (id, place)
        group by (o.place - 1) / 50 order by (o.place - 1) / 50
    loop
        for id, message, going in
            select j.id, j.message, octet_length(j.message::text) + 1
            from unnest(part) with ordinality o (id, place) inner join conversation_messages_json(part) j on j.id = o.id
            order by o.place
        loop
            if length > 0 and length + going > bytes_ then
                return;
            end if;
            length := length + going;
            return next;
        end loop;
    end loop;
end
$$;

-- Others' messages among the thousand that follow a mark: so it never costs more than to look at those.
create or replace function unread_count(conversation_ bigint, reader_ bigint, mark_ bigint) returns bigint
language sql stable as $$
select count(*)
from (
    select m.sender_id, m.is_deleted from conversation_messages m
    where m.conversation_id = conversation_ and m.id > coalesce(mark_, 0)
    order by m.id limit 1000
) n
where n.sender_id <> reader_ and not n.is_deleted
$$;

-- Whether that is more than none.
create or replace function is_unread(conversation_ bigint, reader_ bigint, mark_ bigint) returns boolean
language sql stable as $$
select exists (
    select 1
    from (
        select m.sender_id, m.is_deleted from conversation_messages m
        where m.conversation_id = conversation_ and m.id > coalesce(mark_, 0)
        order by m.id limit 1000
    ) n
    where n.sender_id <> reader_ and not n.is_deleted
)
$$;

create type own_conversation_shape as (last_message json, unread_count bigint, last_read_message_id bigint, muted boolean);

-- What a conversation is to one of those in it.
create or replace function own_conversation(m conversation_members) returns json language sql stable as $$
select row_to_json(row(
    (
        select j.message from conversation_messages_json(array(
            select k.id from conversation_messages k
            where k.conversation_id = m.conversation_id and not k.is_deleted
            order by k.id desc limit 1
        )) j
    ),
    unread_count(m.conversation_id, m.user_id, m.last_read_message_id), m.last_read_message_id, m.muted
)::own_conversation_shape)
$$;

-- A conversation as one of those in it sees it; no row to anybody else.
create or replace function conversation_seen(id_ bigint, reader_ bigint) returns text language sql stable as $$
select joined(own_conversation(m)::text, shape(c)::text)
from conversation_members m inner join conversations c on c.id = m.conversation_id
where m.conversation_id = id_ and m.user_id = reader_
$$;

-- The first of these conversations as a reader sees them, as many as fit into so many bytes; at least one.
create or replace function first_conversations(ids_ bigint[], reader_ bigint, bytes_ bigint)
returns table (id bigint, conversation text) language plpgsql stable as $$
declare
    length bigint := 0;
begin
    foreach id in array ids_ loop
        conversation := conversation_seen(id, reader_);
        if length > 0 and length + octet_length(conversation) + 1 > bytes_ then
            return;
        end if;
        length := length + octet_length(conversation) + 1;
        return next;
    end loop;
end
$$;
