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
