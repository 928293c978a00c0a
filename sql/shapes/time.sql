create type entry_project_shape as (id bigint, slug text, name text, key_prefix text);

-- The project of a time entry. Its name is there for who sees the project.
create or replace function entry_project(p projects, is_seen boolean) returns json language sql stable as $$
select case when (p).id is not null then
    row_to_json(row((p).id, (p).slug, case when is_seen then (p).name end, (p).key_prefix)::entry_project_shape)
end
$$;

create type entry_card_shape as (id bigint, key text, title text, deleted boolean);

-- The card of a time entry. Its title is there for who sees the project; a deleted card keeps it.
create or replace function entry_card(c cards, key_prefix text, is_seen boolean) returns json language sql stable as $$
select case when (c).id is not null then
    row_to_json(row(
        (c).id, key_prefix || '-' || (c).card_number, case when is_seen then (c).title end, (c).deleted_at is not null
    )::entry_card_shape)
end
$$;

create type time_entry_shape as (
    id bigint, user_id bigint, "user" json, project_id bigint, project json, card_id bigint, card json, comment_id bigint,
    date text, minutes integer, description text, start_time text, end_time text, created_at text, updated_at text
);

create or replace function shape(t time_entries, u users, p projects, c cards, is_seen boolean) returns json
language sql stable as $$
select row_to_json(row(
    (t).id, (t).user_id, shape(u), (t).project_id, entry_project(p, is_seen), (t).card_id,
    entry_card(c, (p).key_prefix, is_seen), (t).comment_id, to_char((t).date, 'YYYY-MM-DD'), (t).minutes, (t).description,
    to_char((t).start_time, 'HH24:MI'), to_char((t).end_time, 'HH24:MI'), iso((t).created_at), iso((t).updated_at)
)::time_entry_shape)
$$;

-- A time entry, for one reader. Without one, as events tell it: nobody knows who will see the project when they are read.
create or replace function shape(t time_entries, reader_ bigint default null) returns json language sql stable as $$
select shape(t, u, p, c, coalesce(sees_project(reader_, p.id), false))
from users u
left join projects p on p.id = (t).project_id
left join cards c on c.id = (t).card_id
where u.id = (t).user_id
$$;

-- The cards that a text means, which is an id or a key, of now or of before: for filters, which show nothing of them.
create or replace function cards_named(ref_ text) returns bigint[] language plpgsql stable as $$
begin
    if ref_ ~ '^[0-9]{1,18}$' then
        return array[ref_::bigint];
    end if;
    return array(
        select c.id from projects p inner join cards c on c.project_id = p.id
        where p.key_prefix = upper(split_part(ref_, '-', 1)) and c.card_number = substring(ref_ from '-([0-9]{1,9})$')::integer
        union
        select a.card_id from card_key_aliases a
        where a.key_prefix = upper(split_part(ref_, '-', 1)) and a.card_number = substring(ref_ from '-([0-9]{1,9})$')::integer
    );
end
$$;
