-- oldest program: 0.1
-- Whom people look for: their favourites, and who left a conversation and is named there.

create table favorite_users (
    user_id bigint not null references users (id),
    favorite_user_id bigint not null references users (id),
    created_at timestamptz not null default clock_timestamp(),
    primary key (user_id, favorite_user_id)
);

-- As project_guests: who is in it no longer, and whose words still stand there.
create table conversation_guests (
    conversation_id bigint not null references conversations (id) on delete cascade,
    user_id bigint not null references users (id),
    primary key (conversation_id, user_id)
);
create index conversation_guests_user on conversation_guests (user_id, conversation_id);

-- Also who is still in it: so nobody falls between who leaves while this goes on, before the trigger is there.
insert into conversation_guests (conversation_id, user_id)
select distinct m.conversation_id, m.sender_id from conversation_messages as m;

-- By a trigger, so that also the program before this one keeps it.
create function keep_conversation_guest() returns trigger language plpgsql as $$
begin
    insert into conversation_guests (conversation_id, user_id) values (old.conversation_id, old.user_id) on conflict do nothing;
    return null;
end
$$;

create trigger conversation_members_left after delete on conversation_members
for each row execute function keep_conversation_guest();
