-- oldest program: 0.1
-- Groups show pictures: kept with those of people, and taken away when neither an account nor a group shows one.

create index conversations_avatar on conversations (avatar) where avatar is not null;

create function leave_group_avatar() returns trigger language plpgsql as $$
begin
    update avatars a set left_at = clock_timestamp() where a.sha256 = substring(old.avatar from '^/avatars/([0-9a-f]{64})[.]webp$');
    return null;
end
$$;
create trigger conversations_avatar_left after update of avatar on conversations for each row
when (old.avatar is not null and old.avatar is distinct from new.avatar) execute function leave_group_avatar();
create trigger conversations_avatar_gone after delete on conversations for each row
when (old.avatar is not null) execute function leave_group_avatar();
