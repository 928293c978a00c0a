create or replace function shape(l labels) returns json language sql stable as $$
select json_build_object('id', l.id, 'project_id', l.project_id, 'name', l.name, 'color', l.color)
$$;
