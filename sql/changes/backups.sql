-- What became of a backup. With `about_` it is mailed, to an address or to all administrators: a failure once, until one is made
-- again, which is told then; with `each_` every one that is made. `full_`: it has the files, too.
create or replace function note_backup(filename_ text, ok_ boolean, full_ boolean, about_ json, address_ text, each_ boolean)
returns void language plpgsql as $$
declare
    told_ boolean;
begin
    select b.failure_told into told_ from backup_state b for update;
    update backup_state set
        last_run_at = clock_timestamp(), last_filename = filename_, last_ok = ok_,
        failure_told = not ok_ and (told_ or about_ is not null),
        full_at = case when ok_ and full_ then clock_timestamp() else full_at end;
    if about_ is null or ok_ and not (told_ or each_) or not ok_ and told_ then
        return;
    end if;
    insert into mails (kind, user_id, address, about)
    select 'backup', r.user_id, r.address, about_::jsonb || jsonb_build_object('again', ok_ and told_)
    from (
        select null::bigint as user_id, address_ as address where address_ <> ''
        union all
        select u.id, null from users u where address_ = '' and u.global_role = 'admin' and u.is_active and u.deleted_at is null
    ) r;
end
$$;
