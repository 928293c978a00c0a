-- A user in a project, as everybody on it sees it: without the e-mail.
create or replace function shape(m project_members, u users) returns json language sql stable as $$
select json_build_object(
    'id', m.id, 'project_id', m.project_id, 'user_id', m.user_id, 'role', m.role, 'invited_by', m.invited_by,
    'created_at', iso(m.created_at), 'user', shape(u)
)
$$;

-- A user whom a project shows without their being a member.
create or replace function guest_json(u users) returns json language sql stable as $$
select json_build_object('user_id', u.id, 'user', shape(u))
$$;

create or replace function member_json(project_ bigint, user_ bigint) returns json language sql stable as $$
select shape(m, u) from project_members m inner join users u on u.id = m.user_id
where m.project_id = project_ and m.user_id = user_
$$;
