create type label_shape as (id bigint, project_id bigint, name text, color text);

create or replace function shape(l labels) returns json language sql stable as $$
select row_to_json(row(l.id, l.project_id, l.name, l.color)::label_shape)
$$;
