create type column_shape as (
    id bigint, project_id bigint, name text, position double precision, color text, wip_limit integer, card_count bigint,
    created_at text, updated_at text, version integer
);

-- A column, without its cards.
create or replace function shape(c columns, card_count bigint) returns json language sql stable as $$
select row_to_json(row(
    c.id, c.project_id, c.name, c.position, c.color, c.wip_limit, coalesce(card_count, 0),
    iso(c.created_at), iso(c.updated_at), c.version
)::column_shape)
$$;

-- One column by its id, with the count of the cards that its board shows.
create or replace function column_json(id_ bigint) returns json language sql stable as $$
select shape(c, (select count(*) from cards k where k.column_id = c.id and k.deleted_at is null and k.archived_at is null))
from columns c where c.id = id_
$$;

-- All live columns of a project, in board order.
create or replace function columns_json(project_ bigint) returns json language sql stable as $$
select coalesce(array_to_json(array_agg(shape(c, n.card_count) order by c.position, c.id)), '[]')
from columns c
left join (
    select k.column_id, count(*) as card_count from cards k
    where k.project_id = project_ and k.deleted_at is null and k.archived_at is null
    group by k.column_id
) n on n.column_id = c.id
where c.project_id = project_ and c.deleted_at is null
$$;

-- What columns_reordered says: where the live columns of a project stand.
create or replace function columns_reordered(project_ bigint) returns text language sql stable as $$
select '{"columns":' || coalesce(array_to_json(array_agg(row(c.id, c.position)::place_shape order by c.position, c.id)), '[]') || '}'
from columns c where c.project_id = project_ and c.deleted_at is null
$$;
