-- oldest program: 0.1
-- A guest is shown in a project without being a member of it: who worked there and left, and an administrator who works there or
-- is assigned to a card. Who changes a name finds here whom else to tell.

create table project_guests (
    user_id bigint not null references users (id),
    project_id bigint not null references projects (id),
    primary key (user_id, project_id)
);

insert into project_guests (user_id, project_id)
select s.user_id, s.project_id
from (
    select p.created_by_id as user_id, p.id as project_id from projects as p
    union
    select c.created_by_id, c.project_id from cards as c
    union
    select a.user_id, c.project_id from card_assignees as a inner join cards as c on c.id = a.card_id
    union
    select w.user_id, c.project_id from card_watchers as w inner join cards as c on c.id = w.card_id
    union
    select h.user_id, h.project_id from card_history as h
    union
    select m.user_id, m.project_id from chat_messages as m
) as s
where s.user_id is not null
    and not exists (select from project_members as m where m.project_id = s.project_id and m.user_id = s.user_id);

-- Who is no member any more may be a guest. By a trigger, so that also the program before this one keeps it.
create function keep_guest() returns trigger language plpgsql as $$
begin
    if is_shown(old.project_id, old.user_id) then
        insert into project_guests (user_id, project_id) values (old.user_id, old.project_id) on conflict do nothing;
    end if;
    return null;
end
$$;

-- Whether a project shows a user who is no member of it. It looks at the newest ten thousand of each kind and takes more for
-- granted: a guest too many costs an event, and whom a stranger adds and removes again is none.
create function is_shown(project_ bigint, user_ bigint) returns boolean language sql stable as $$
select
    exists (select from projects as p where p.id = project_ and p.created_by_id = user_)
    or (
        select count(*) = 10000 or coalesce(bool_or(c.created_by_id = user_), false) from (
            select k.created_by_id from cards as k where k.project_id = project_ order by k.card_number desc limit 10000
        ) as c
    )
    or (
        select count(*) = 10000 or coalesce(bool_or(h.user_id = user_), false) from (
            select k.user_id from card_history as k where k.project_id = project_ order by k.id desc limit 10000
        ) as h
    )
    or (
        select count(*) = 10000 or coalesce(bool_or(m.user_id = user_), false) from (
            select k.user_id from chat_messages as k where k.project_id = project_ order by k.id desc limit 10000
        ) as m
    )
$$;

create trigger project_members_left after delete on project_members for each row execute function keep_guest();
