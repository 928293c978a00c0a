create type project_shape as (
    id bigint, name text, description text, slug text, color text, key_prefix text, is_archived boolean, archived_at text,
    created_by_id bigint, created_at text, updated_at text, open_card_count bigint, member_count bigint
);

-- A project as everybody on it sees it; a reader's role and star are put before it.
create or replace function shape(p projects, open_card_count bigint, member_count bigint) returns json language sql stable as $$
select row_to_json(row(
    p.id, p.name, p.description, p.slug, p.color, p.key_prefix, p.is_archived, iso(p.archived_at),
    p.created_by_id, iso(p.created_at), iso(p.updated_at), coalesce(open_card_count, 0), coalesce(member_count, 0)
)::project_shape)
$$;

-- One project by its id, counted now.
create or replace function project_json(id_ bigint) returns json language sql stable as $$
select shape(
    p,
    (select count(*) from cards c where c.project_id = p.id and c.deleted_at is null and c.archived_at is null and not c.closed),
    (select count(*) from project_members m where m.project_id = p.id)
)
from projects p where p.id = id_
$$;

-- The same with a reader's own view before it.
create or replace function project_seen(id_ bigint, user_ bigint, role_ text) returns text language sql stable as $$
select joined(
    '{"my_role":' || to_json(role_) || ',"starred":'
        || exists(select 1 from starred_projects s where s.project_id = id_ and s.user_id = user_) || '}',
    project_json(id_)::text
)
$$;

-- How many cards a board shows: in each of its columns, in order, and open ones in all.
create or replace function board_counts(project_ bigint, seq_ bigint) returns text language sql stable as $$
select '{"columns":[' || coalesce(
        string_agg('{"id":' || k.id || ',"card_count":' || coalesce(c.card_count, 0) || '}', ',' order by k.position, k.id), ''
    ) || '],"open_card_count":' || coalesce(sum(c.open_count), 0) || ',"seq":' || seq_ || '}'
from columns k
left join (
    select c.column_id, count(*) as card_count, count(*) filter (where not c.closed) as open_count
    from cards c
    where c.project_id = project_ and c.deleted_at is null and c.archived_at is null
    group by c.column_id
) c on c.column_id = k.id
where k.project_id = project_ and k.deleted_at is null
$$;

-- The digest of a board, by which a client proves that what it shows is true: SHA-256 of a line for each column in order,
-- "12:3[7:1,9:2]", column and cards by their ids and versions, without archived cards.
create or replace function board_digest(project_ bigint) returns text language sql stable as $$
select encode(sha256(convert_to(coalesce(
    string_agg(k.id || ':' || k.version || '[' || coalesce(c.list, '') || ']' || E'\n', '' order by k.position, k.id), ''
), 'UTF8')), 'hex')
from columns k
left join (
    select c.column_id, string_agg(c.id || ':' || c.version, ',' order by c.position, c.id) as list
    from cards c
    where c.project_id = project_ and c.deleted_at is null and c.archived_at is null
    group by c.column_id
) c on c.column_id = k.id
where k.project_id = project_ and k.deleted_at is null
$$;
