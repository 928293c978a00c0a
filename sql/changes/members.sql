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
