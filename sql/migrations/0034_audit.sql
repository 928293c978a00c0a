-- oldest program: 0.1
-- The audit: who changed which right, key or setting, when, from where. And what a purge leaves to be taken away later.

create table audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    actor_id bigint references users (id),
    ip text not null default '',
    action text not null,
    target_type text not null,
    target_id bigint,
    before json,
    after json
);
create index audit_actor on audit (actor_id, id desc);
create index audit_action on audit (action, id desc);
create index audit_at on audit (at);
-- So that a purge finds the lines of an account.
create index login_events_actor on login_events (actor_id) where actor_id is not null;

-- Nobody sees it from that moment on; a worker takes away what is left.
alter table projects add column purged_at timestamptz;
create index projects_purged on projects (id) where purged_at is not null;
alter table users
add column purged_at timestamptz,
add column scrubbed_at timestamptz;
create index users_purged on users (id) where purged_at is not null and scrubbed_at is null;
-- Whoever purges a project takes away what people were told of it; so does who ends a membership.
create index notifications_of_project on notifications (project_id) where project_id is not null;

-- As before, see 0010: but nobody is a guest where nothing is left.
create or replace function keep_guest() returns trigger language plpgsql as $$
begin
    if exists (select from projects as p where p.id = old.project_id and p.purged_at is not null) then
        return null;
    end if;
    if is_shown(old.project_id, old.user_id) then
        insert into project_guests (user_id, project_id) values (old.user_id, old.project_id) on conflict do nothing;
    end if;
    return null;
end
$$;
