-- A column, without its cards.
create or replace function shape(c columns, card_count bigint) returns json language sql stable as $$
select json_build_object(
    'id', c.id, 'project_id', c.project_id, 'name', c.name, 'position', c.position, 'color', c.color, 'wip_limit', c.wip_limit,
    'card_count', coalesce(card_count, 0), 'created_at', iso(c.created_at), 'updated_at', iso(c.updated_at), 'version', c.version
)
$$;

-- One column by its id, with the count of the cards that its board shows.
create or replace function column_json(id_ bigint) returns json language sql stable as $$
select shape(c, (select count(*) from cards k where k.column_id = c.id and k.deleted_at is null and k.archived_at is null))
from columns c where c.id = id_
$$;

-- All live columns of a project, in board order.
create or replace function columns_json(project_ bigint) returns json language sql stable as $$
select coalesce(json_agg(shape(c, n.card_count) order by c.position, c.id), '[]')
from columns c
left join (
    select k.column_id, count(*) as card_count from cards k
    where k.project_id = project_ and k.deleted_at is null and k.archived_at is null
    group by k.column_id
) n on n.column_id = c.id
where c.project_id = project_ and c.deleted_at is null
$$;
