-- oldest program: 0.1
-- Which tables of a project show users, so that somebody who left it, and is still shown there, is told of by his new name:
-- whoever makes such a table adds its line. `newest_by` orders its rows, and has an index behind project_id.

create table shows_users (
    table_name text not null,
    user_column text not null,
    newest_by text not null,
    primary key (table_name, user_column)
);
insert into shows_users (table_name, user_column, newest_by)
values
('cards', 'created_by_id', 'card_number'),
('card_history', 'user_id', 'id'),
('chat_messages', 'user_id', 'id');

-- As before, see 0010: the newest ten thousand of each kind are looked at.
create or replace function is_shown(project_ bigint, user_ bigint) returns boolean language plpgsql stable as $$
declare
    shows record;
    shown boolean;
begin
    if exists (select from projects as p where p.id = project_ and p.created_by_id = user_) then
        return true;
    end if;
    for shows in select s.table_name, s.user_column, s.newest_by from shows_users as s loop
        execute format(
            'select count(*) = 10000 or coalesce(bool_or(k.who = $2), false) from ('
            ' select t.%I as who from %I as t where t.project_id = $1 order by t.%I desc limit 10000) as k',
            shows.user_column, shows.table_name, shows.newest_by
        ) into shown using project_, user_;
        if shown then
            return true;
        end if;
    end loop;
    return false;
end
$$;
