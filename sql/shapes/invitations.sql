create type invitation_shape as (
    id bigint, email text, role text, expires_at text, created_at text, inviter json, mail text, mail_reason text,
    mailed_at text
);

-- An invitation, for those who may take it back.
create or replace function shape(i invitations) returns json language sql stable as $$
select row_to_json(row(
    i.id, i.email, i.role, iso(i.expires_at), iso(i.created_at), (select shape(u) from users u where u.id = i.inviter_id),
    case when i.wants_mail then 'waiting' when i.mail_failed then 'failed' when i.mailed_at is not null then 'sent' end,
    i.mail_reason, iso(i.mailed_at)
)::invitation_shape)
$$;

create type inviting_project_shape as (name text);
create type inviter_shape as (display_name text);
create type offer_shape as (kind text, project json, role text, inviter json, email text, expires_at text);

-- An invitation, for whoever has its link.
create or replace function offer_json(i invitations) returns json language sql stable as $$
select row_to_json(row(
    case when i.project_id is null then 'server' else 'project' end,
    (select row_to_json(row(p.name)::inviting_project_shape) from projects p where p.id = i.project_id),
    i.role,
    (select row_to_json(row(u.display_name)::inviter_shape) from users u where u.id = i.inviter_id),
    i.email,
    iso(i.expires_at)
)::offer_shape)
$$;
