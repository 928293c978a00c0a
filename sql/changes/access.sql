-- May this actor do this here? Asked inside each change, with the lock that keeps the answer true until the commit.

create or replace function role_rank(role_ text) returns integer language sql immutable as $$
select case role_ when 'viewer' then 1 when 'member' then 2 when 'admin' then 3 when 'owner' then 4 else 0 end
$$;

-- A user's role in a project, from the global role and the membership; null to strangers. Global admins are as owners; a
-- global viewer is never more than a viewer; service roles see no project.
create or replace function effective_role(global_role_ text, project_role_ text) returns text language sql immutable as $$
select case
    when global_role_ = 'admin' then 'owner'
    when global_role_ = 'user' then project_role_
    when global_role_ = 'viewer' and project_role_ is not null then 'viewer'
end
$$;

-- Whether somebody sees a project.
create or replace function sees_project(reader_ bigint, project_ bigint) returns boolean language sql stable as $$
select exists (
    select 1 from users u left join project_members m on m.user_id = u.id and m.project_id = project_
    where u.id = reader_ and effective_role(u.global_role, m.role) is not null
        and exists (select 1 from projects p where p.id = project_ and p.purged_at is null)
)
$$;

-- Fair locks. Rows that many changes read and few write (memberships, the project, an administrator's account) are entered
-- by those who read them and held by those who write them. PostgreSQL lets readers of a locked row pass a waiting writer, for
-- ever if they keep coming; these locks have a queue: who comes after a waiting writer waits behind it. They end with the
-- transaction. Their two numbers are a kind (1 project, 2 account, 3 and 4 the room for files, 5 uploads, 6 time, 7 an address)
-- and an id, or the hash of an address; locks of one number (migrations, retention, the first administrator) are others to
-- PostgreSQL.
create or replace function enter_project(project_ bigint) returns void language sql as $$
select pg_advisory_xact_lock_shared(1, (project_ % 2147483647)::integer)
$$;

-- For changes of members, of the project itself, and of what is counted in it: nobody else is in the project until the commit.
create or replace function hold_project(project_ bigint) returns void language sql as $$
select pg_advisory_xact_lock(1, (project_ % 2147483647)::integer)
$$;

create or replace function enter_account(user_ bigint) returns void language sql as $$
select pg_advisory_xact_lock_shared(2, (user_ % 2147483647)::integer)
$$;

-- An account that will change, locked; a row of nulls when there is none. It keeps nobody from naming the user in a new row:
-- who sends a message holds the feed by then, which whoever changes an account takes last.
create or replace function lock_account(user_ bigint) returns users language plpgsql as $$
declare
    account users;
begin
    perform pg_advisory_xact_lock(2, (user_ % 2147483647)::integer);
    select * into account from users u where u.id = user_ for no key update;
    return account;
end
$$;

-- Somebody who is no member is going to be shown in a project: from now on it is told of another name. The account is entered,
-- so that a name which changes now is the one shown, or is told here. Whoever assigns a guest has cards locked by then; that
-- makes no circle, since whoever changes an account waits for nothing but invitations, pictures and feeds, and who is a guest
-- already is not waited for.
create or replace function add_guest(project_ bigint, user_ bigint) returns void language plpgsql as $$
begin
    if not exists (select 1 from project_guests g where g.user_id = user_ and g.project_id = project_) then
        perform enter_account(user_);
        insert into project_guests (user_id, project_id) values (user_, project_) on conflict do nothing;
    end if;
end
$$;

-- The project, if the actor has the role in it: 404 to strangers, 403 below it, 422 when it is archived (unless `archived_`
-- allows that). Enters the project and locks the membership (or a global admin's account), or, `counting_`, holds the
-- project. The membership's row is locked for those who change memberships without holding the project.
create or replace function require_role(
    actor_ bigint, project_ bigint, need_ text, archived_ boolean default false, counting_ boolean default false
) returns projects language plpgsql as $$
declare
    mine text;
    is_member boolean;
    account users;
    p projects;
begin
    if counting_ then
        perform hold_project(project_);
    else
        perform enter_project(project_);
    end if;
    select m.role into mine from project_members m where m.project_id = project_ and m.user_id = actor_ for share;
    is_member := mine is not null;
    select * into account from users u where u.id = actor_;
    if account.global_role = 'admin' then
        perform enter_account(actor_);
        select * into account from users u where u.id = actor_ for share;
    end if;
    if account.id is null or not account.is_active or account.deleted_at is not null then
        perform refuse(401, 'the account is not active');
    end if;
    if account.global_role in ('metrics', 'backup') then
        perform refuse(403, 'a service account cannot do this');
    end if;
    mine := effective_role(account.global_role, mine);
    if mine is null then
        perform refuse(404, 'project not found');
    end if;
    if counting_ then
        select * into p from projects where id = project_ for no key update;
    else
        select * into p from projects where id = project_;
    end if;
    if p.id is null or p.purged_at is not null then
        perform refuse(404, 'project not found');
    end if;
    if role_rank(mine) < role_rank(need_) then
        perform refuse(403, 'your role does not allow this');
    end if;
    if p.is_archived and not archived_ then
        perform refuse(422, 'the project is archived', '{"code":"project_archived"}');
    end if;
    if not is_member then
        perform add_guest(project_, actor_);
    end if;
    return p;
end
$$;

-- The account, if its global role is one of these; it keeps it until the commit.
create or replace function require_global_role(actor_ bigint, roles_ text[]) returns users language plpgsql as $$
declare
    account users;
begin
    perform enter_account(actor_);
    select * into account from users u where u.id = actor_ for share;
    if account.id is null or not account.is_active or account.deleted_at is not null then
        perform refuse(401, 'the account is not active');
    end if;
    if account.global_role <> all(roles_) then
        perform refuse(403, 'your role does not allow this');
    end if;
    return account;
end
$$;

-- What hot changes ask: require_role, in fewer steps where they are enough, which is for members. Gives the project's key
-- prefix.
--
-- An ordinary member who may write is found and locked by two statements: the account is read when the membership is locked,
-- because whoever closes an account may have held it. Everybody else is asked step by step.
create or replace function require_writer(actor_ bigint, project_ bigint, need_ text) returns text
language plpgsql as $$
declare
    key_prefix_ text;
begin
    if need_ <> 'member' then
        return (require_role(actor_, project_, need_)).key_prefix;
    end if;
    perform enter_project(project_);
    perform 1 from project_members m where m.project_id = project_ and m.user_id = actor_ and m.role <> 'viewer' for share;
    if found then
        select p.key_prefix into key_prefix_ from users u cross join projects p
        where u.id = actor_ and u.global_role = 'user' and u.is_active and u.deleted_at is null
            and p.id = project_ and not p.is_archived;
    end if;
    if key_prefix_ is null then
        return (require_role(actor_, project_, need_)).key_prefix;
    end if;
    return key_prefix_;
end
$$;

-- A version the client saw, against the present one: 412 for If-Match, 409 for a version in the body.
create or replace function require_version(
    seen_ integer, present_ integer, status_ integer, noun_ text, current_ json
) returns void language plpgsql as $$
begin
    if seen_ is not null and seen_ <> present_ then
        perform refuse(status_, noun_ || ' was changed by someone else',
            json_build_object('code', 'version_conflict', 'current', current_));
    end if;
end
$$;
