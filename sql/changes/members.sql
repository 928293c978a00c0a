-- Holds the project and locks the memberships that a change of members touches, each at once in its final mode and in the
-- order of user ids: the actor's for share, the target's for update. (First for share, then for update, would make two such
-- changes wait for each other.) Then the target's account: while its name changes, its memberships do not. Gives the target's
-- membership, or a row of nulls.
create or replace function lock_members(project_ bigint, actor_ bigint, target_ bigint) returns project_members
language plpgsql as $$
declare
    target project_members;
begin
    perform hold_project(project_);
    if actor_ < target_ then
        perform 1 from project_members m where m.project_id = project_ and m.user_id = actor_ for share;
    end if;
    select * into target from project_members m where m.project_id = project_ and m.user_id = target_ for update;
    if actor_ > target_ then
        perform 1 from project_members m where m.project_id = project_ and m.user_id = actor_ for share;
    end if;
    perform enter_account(target_);
    perform 1 from users u where u.id = target_ for share;
    return target;
end
$$;

-- The same for one person and several projects: holds the projects in the order of their ids, locks the memberships in that
-- order, and then the account. Gives the projects, each with the role of the membership, null where there is none.
create or replace function hold_memberships(user_ bigint, projects_ bigint[])
returns table (id bigint, slug text, is_archived boolean, role text) language plpgsql as $$
declare
    one bigint;
begin
    for one in select distinct p.id from unnest(projects_) p (id) order by p.id loop
        perform hold_project(one);
    end loop;
    for one in select distinct p.id from unnest(projects_) p (id) order by p.id loop
        perform 1 from project_members m where m.project_id = one and m.user_id = user_ for update;
    end loop;
    perform enter_account(user_);
    perform 1 from users u where u.id = user_ for share;
    return query
    select p.id, p.slug, p.is_archived, m.role
    from projects p left join project_members m on m.project_id = p.id and m.user_id = user_
    where p.id = any(projects_) and p.purged_at is null
    order by p.id;
end
$$;
