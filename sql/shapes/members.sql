create type member_shape as (
    id bigint, project_id bigint, user_id bigint, role text, invited_by bigint, created_at text, "user" json
);

-- A user in a project, as everybody on it sees it: without the e-mail.
create or replace function shape(m project_members, u users) returns json language sql stable as $$
select row_to_json(row(m.id, m.project_id, m.user_id, m.role, m.invited_by, iso(m.created_at), shape(u))::member_shape)
$$;

create type guest_shape as (user_id bigint, "user" json);

-- A user whom a project shows without their being a member.
create or replace function guest_json(u users) returns json language sql stable as $$
select row_to_json(row(u.id, shape(u))::guest_shape)
$$;

create or replace function member_json(project_ bigint, user_ bigint) returns json language sql stable as $$
select shape(m, u) from project_members m inner join users u on u.id = m.user_id
where m.project_id = project_ and m.user_id = user_
$$;

create type membership_shape as (id bigint, slug text, name text, is_archived boolean, role text);

-- A project of somebody's, for administrators.
create or replace function membership_json(p projects, role_ text) returns json language sql stable as $$
select row_to_json(row(p.id, p.slug, p.name, p.is_archived, role_)::membership_shape)
$$;
