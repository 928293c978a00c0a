-- The entries of a report: of some days (`until_` is the first that is none), of a project, of some people. What a reader sees of
-- them: everybody's, or those of the projects that the reader administers and the own ones. PostgreSQL puts this where it is called.
create or replace function entries_seen(
    reader_ bigint, everybody_ boolean, managed_ bigint[], project_ bigint, people_ bigint[], since_ date, until_ date
) returns setof time_entries language sql stable as $$
select t.* from time_entries t
where (everybody_ or t.user_id = reader_ or t.project_id = any(managed_))
    and (project_ is null or t.project_id = project_)
    and (people_ is null or t.user_id = any(people_))
    and (since_ is null or t.date >= since_)
    and (until_ is null or t.date < until_)
$$;

create type report_project_shape as (project_id bigint, project_name text, slug text, key_prefix text);

-- A project in a report. Who does not see it reads its slug for its name.
create or replace function report_project(p projects, is_seen boolean) returns json language sql stable as $$
select row_to_json(row(
    (p).id, case when is_seen then (p).name else (p).slug end, (p).slug, (p).key_prefix
)::report_project_shape)
$$;

create type report_card_shape as (
    card_id bigint, card_number integer, card_ref text, title text, closed boolean, deleted boolean, assignees text[],
    time_spent_minutes bigint, updated_at text, due_date text
);

-- A card in a report, with the minutes that the report counts. Who does not see its project reads no title.
create or replace function report_card(c cards, key_prefix text, assignees text[], time_spent_minutes bigint, is_seen boolean) returns json
language sql stable as $$
select row_to_json(row(
    (c).id, (c).card_number, key_prefix || '-' || (c).card_number, case when is_seen then (c).title else '' end, (c).closed,
    (c).deleted_at is not null, coalesce(assignees, '{}'), time_spent_minutes, iso((c).updated_at), to_char((c).due_date, 'YYYY-MM-DD')
)::report_card_shape)
$$;

create type report_user_shape as ("user" json, total_minutes bigint, entries_count bigint);

create or replace function report_user(u users, total_minutes bigint, entries_count bigint) returns json language sql stable as $$
select row_to_json(row(shape(u), total_minutes, entries_count)::report_user_shape)
$$;

create type report_group_shape as (key text, label text, total_minutes bigint, entries_count bigint);

create or replace function report_group(key text, label text, total_minutes bigint, entries_count bigint) returns json
language sql stable as $$
select row_to_json(row(key, label, total_minutes, entries_count)::report_group_shape)
$$;

create type report_line_shape as (
    project_id bigint, project text, ref text, title text, assignees text, "user" text, date text, minutes integer, description text
);

-- An entry as a line of a file.
create or replace function report_line(
    t time_entries, project text, ref text, title text, assigned text[], name text
) returns json language sql stable as $$
select row_to_json(row(
    (t).project_id, project, ref, title, array_to_string(assigned, ', '), name, to_char((t).date, 'YYYY-MM-DD'), (t).minutes, (t).description
)::report_line_shape)
$$;

create type sheet_row_shape as (
    project json, card json, description text, minutes bigint[], total_minutes bigint, entry_ids json
);

create or replace function sheet_row(
    p projects, c cards, is_seen boolean, description text, minutes bigint[], total_minutes bigint, entry_ids json
) returns json language sql stable as $$
select row_to_json(row(
    entry_project(p, is_seen), entry_card(c, (p).key_prefix, is_seen), description, minutes, total_minutes, entry_ids
)::sheet_row_shape)
$$;
