-- oldest program: 0.1
-- Invitations to a project, or to the installation. Their token is not kept, only its SHA-256: it is made of the salt and the
-- secret of the configuration, so that whoever has both can send it by mail.

create table invitations (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    -- Null for the installation, whose roles are the global ones.
    project_id bigint references projects (id),
    role text not null,
    email text,
    inviter_id bigint not null references users (id),
    salt uuid not null,
    token_hash text collate "C" not null unique,
    used_at timestamptz,
    used_by_id bigint references users (id),
    revoked_at timestamptz,
    -- A mail with the link is to be sent to the address; whoever sends it takes this back.
    wants_mail boolean not null default false,
    check ((used_at is null) = (used_by_id is null)),
    check (
        case
            when project_id is null then role in ('admin', 'user', 'viewer', 'metrics', 'backup')
            else role in ('viewer', 'member', 'admin', 'owner')
        end
    )
);
create index invitations_project on invitations (project_id) where project_id is not null;
create index invitations_open on invitations (coalesce(project_id, 0), expires_at) where used_at is null and revoked_at is null;
create index invitations_inviter on invitations (inviter_id);
create index invitations_used_by on invitations (used_by_id) where used_by_id is not null;
create index invitations_expired on invitations (expires_at);
create index invitations_email on invitations (email) where email is not null;
create index invitations_mail on invitations (id) where wants_mail;
