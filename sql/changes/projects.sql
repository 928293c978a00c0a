-- Making a project: its slug, its key prefix, and what it starts with.

-- Lower-case ASCII letters and digits, every other run one hyphen; at most 100 characters.
create or replace function slug_of(name_ text) returns text language sql immutable as $$
select coalesce(nullif(rtrim(left(ltrim(regexp_replace(lower(name_ collate "C"), '[^a-z0-9]+', '-', 'g'), '-'), 100), '-'), ''), 'project')
$$;

-- One word gives its first six characters; several give the initials of the first three, filled up to three characters from
-- the first word. It begins with a letter and has at least two characters.
create or replace function key_prefix_of(name_ text) returns text language sql immutable as $$
select rpad(case when raw ~ '^[A-Z]' then raw else 'P' || raw end, greatest(2, length(raw) + (raw !~ '^[A-Z]')::integer), 'X')
from (
    select upper(case
        when cardinality(words) > 1 then left(
            left(words[1], 1) || left(words[2], 1) || coalesce(left(words[3], 1), '') || substr(words[1], 2), 3)
        else left(coalesce(words[1], ''), 6)
    end collate "C") as raw
    from (select array_remove(regexp_split_to_array(name_, '[^A-Za-z0-9]+'), '') as words) as split
) as derived
$$;

-- The first of base, base-2, base-3 … that no project has. `user` is the socket of a user, never a project.
create or replace function free_slug(base_ text) returns text language plpgsql stable as $$
declare
    slug_ text := base_;
    n integer := 1;
begin
    while slug_ = 'user' or exists (select 1 from projects p where p.slug = slug_) loop
        n := n + 1;
        slug_ := rtrim(left(base_, 99 - length(n::text)), '-') || '-' || n;
    end loop;
    return slug_;
end
$$;

-- The first of base, base2, base3 … that no project has, in at most ten characters.
create or replace function free_key_prefix(base_ text) returns text language plpgsql stable as $$
declare
    prefix_ text := base_;
    n integer := 1;
begin
    while exists (select 1 from projects p where p.key_prefix = prefix_) loop
        n := n + 1;
        prefix_ := left(base_, 10 - length(n::text)) || n;
    end loop;
    return prefix_;
end
$$;

-- The words of a setting that holds one a line: trimmed, cut, at most `most_`.
create or replace function setting_lines(key_ text, default_ text, length_ integer, most_ integer)
returns table (line text, place bigint) language sql stable as $$
select left(btrim(l.line, E' \t\r'), length_), l.place
from regexp_split_to_table(coalesce((select s.value from system_settings s where s.key = key_), default_), E'\n')
    with ordinality as l (line, place)
where btrim(l.line, E' \t\r') <> ''
order by l.place
limit most_
$$;

-- A project with its owner, its first columns and labels. Two that want one slug or prefix at once wait for each other here,
-- and the second looks again.
create or replace function create_project(
    actor_ bigint, name_ text, description_ text, color_ text, key_prefix_ text
) returns projects language plpgsql as $$
declare
    account users;
    p projects;
    colors text[] := '{#ef4444,#3b82f6,#8b5cf6,#10b981,#f59e0b,#06b6d4,#ec4899,#84cc16}';
begin
    perform enter_account(actor_);
    select * into account from users u where u.id = actor_ for share;
    if account.id is null or not account.is_active or account.deleted_at is not null then
        perform refuse(401, 'the account is not active');
    end if;
    if account.global_role not in ('admin', 'user') then
        perform refuse(403, 'your role does not allow this');
    end if;
    if account.global_role <> 'admin'
        and exists (select 1 from system_settings s where s.key = 'users_can_create_projects' and s.value = 'false') then
        perform refuse(403, 'only administrators may create projects here');
    end if;
    loop
        insert into projects (name, description, slug, color, key_prefix, created_by_id)
        values (
            name_, description_, free_slug(slug_of(name_)), color_,
            coalesce(key_prefix_, free_key_prefix(key_prefix_of(name_))), actor_
        )
        on conflict do nothing
        returning * into p;
        exit when p.id is not null;
        if exists (select 1 from projects q where q.key_prefix = key_prefix_) then
            perform refuse(409, 'this key prefix is taken', '{"code":"taken","fields":{"key_prefix":"taken"}}');
        end if;
    end loop;
    insert into project_members (project_id, user_id, role) values (p.id, actor_, 'owner');
    insert into columns (project_id, name, position)
    select p.id, coalesce(l.line, 'Backlog'), 1000 * row_number() over (order by l.place)
    from (select 1) as one
    left join setting_lines('default_columns', E'Backlog\nIn Progress\nReview\nDone', 200, 100) l on true
    order by l.place;
    insert into labels (project_id, name, color)
    select p.id, l.line, colors[1 + (row_number() over (order by l.place) - 1) % cardinality(colors)]
    from setting_lines('default_labels', E'Bug\nFeature\nDesign\nContent', 100, 500) l
    order by l.place
    on conflict do nothing;
    return p;
end
$$;
