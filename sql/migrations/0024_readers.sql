-- oldest program: 0.1
-- What a project is to one of its people: how far they have read its chat, and whether they want to be left in peace there. Every
-- member has a row, and an administrator who reads or mutes without being one. It stands apart from the membership, which all
-- changes in the project share.

create table project_readers (
    project_id bigint not null references projects (id),
    user_id bigint not null references users (id),
    last_read_message_id bigint,
    muted boolean not null default false,
    primary key (project_id, user_id)
);

-- Who comes has read what was said before. By a trigger, so that also the program before this one keeps it; from here on nobody
-- becomes a member before the commit.
create function keep_reader() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into project_readers (project_id, user_id, last_read_message_id)
        values (
            new.project_id, new.user_id, (select max(m.id) from chat_messages as m where m.project_id = new.project_id)
        )
        on conflict do nothing;
    else
        delete from project_readers where project_id = old.project_id and user_id = old.user_id;
    end if;
    return null;
end
$$;
create trigger project_members_reader after insert or delete on project_members for each row execute function keep_reader();

insert into project_readers (project_id, user_id, last_read_message_id)
select m.project_id, m.user_id, p.last_id
from (
    select p.id, (select max(c.id) from chat_messages as c where c.project_id = p.id) as last_id from projects as p
) as p
inner join project_members as m on m.project_id = p.id;

-- Pages and what is unread are read from it alone.
drop index chat_messages_project;
create index chat_messages_project on chat_messages (project_id, id desc) include (user_id, is_deleted);
