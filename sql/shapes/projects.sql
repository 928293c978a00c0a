-- A project as everybody on it sees it; a reader's role and star are put before it.
create or replace function shape(p projects, open_card_count bigint, member_count bigint) returns json language sql stable as $$
select json_build_object(
    'id', p.id, 'name', p.name, 'description', p.description, 'slug', p.slug, 'color', p.color, 'key_prefix', p.key_prefix,
    'is_archived', p.is_archived, 'archived_at', iso(p.archived_at), 'created_by_id', p.created_by_id,
    'created_at', iso(p.created_at), 'updated_at', iso(p.updated_at),
    'open_card_count', coalesce(open_card_count, 0), 'member_count', coalesce(member_count, 0)
)
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
    json_build_object(
        'my_role', role_,
        'starred', exists(select 1 from starred_projects s where s.project_id = id_ and s.user_id = user_)
    )::text,
    project_json(id_)::text
)
$$;
