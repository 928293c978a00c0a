-- A restore brings rows back, and no right that was taken since, no letter that was sent, no number that was given.

-- Keeps aside, until the transaction ends, what there is now: before all tables are made anew.
create or replace function remember_present() returns void language plpgsql as $$
begin
    create temp table was_users on commit drop as select * from users;
    create temp table was_sessions on commit drop as
    select s.id, s.last_used_at, s.expires_at from sessions s where s.revoked_at is null;
    create temp table was_tokens on commit drop as select r.* from refresh_tokens r;
    create temp table was_codes on commit drop as select c.user_id, c.code_hash from recovery_codes c;
    create temp table was_calendars on commit drop as select * from calendars;
    create temp table was_reminders on commit drop as select * from reminders;
    create temp table was_dead_sessions on commit drop as select s.id from sessions s where s.revoked_at is not null;
    create temp table was_dead_keys on commit drop as select k.id from api_keys k where k.revoked_at is not null;
    create temp table was_keys on commit drop as select k.id from api_keys k where k.revoked_at is null;
    create temp table was_projects on commit drop as select p.id from projects p where p.purged_at is null;
    create temp table was_members on commit drop as select m.project_id, m.user_id, m.role from project_members m;
    create temp table was_conversations on commit drop as select c.id from conversations c;
    create temp table was_in on commit drop as select m.conversation_id, m.user_id from conversation_members m;
    create temp table was_webhooks on commit drop as select * from project_webhooks w where w.deleted_at is null;
    create temp table was_outgoing on commit drop as select * from outgoing_webhooks;
    create temp table was_invitations on commit drop as
    select i.id from invitations i where i.used_at is null and i.revoked_at is null;
    create temp table was_letters on commit drop as select i.id, i.mailed_at, i.mail_failed, i.mail_reason, i.letters from invitations i;
    create temp table was_resets on commit drop as select r.token_hash from password_resets r;
    create temp table was_mails on commit drop as select m.id from mails m;
    create temp table was_wanted on commit drop as select n.id from notifications n where n.wants_mail;
    create temp table was_audit on commit drop as select * from audit;
    create temp table was_files on commit drop as select a.stored_name from attachments a;
    create temp table was_feeds on commit drop as select * from feeds;
    create temp table was_state on commit drop as select * from backup_state;
    create temp table was_prints on commit drop as select * from secret_prints;
end
$$;

-- What was revoked since a backup of this installation was made is revoked in what came back; gives how much of each kind.
-- Projects that are not here any more come back with their members.
--
-- As a rule the present follows from the backup: what is less now was taken since, and where it is not known what a right became,
-- it is gone. But a restore may have gone back behind this backup meanwhile, and what came after it is not missing because
-- somebody took it. Then the audit says what was taken: a restore keeps it.
create or replace function carry_over(made_at_ timestamptz, actor_ bigint) returns json language plpgsql as $$
declare
    follows_ boolean := not exists (
        select 1 from was_audit a
        where a.action = 'restore.done' and (a.after ->> 'created_at')::timestamptz < made_at_ and made_at_ < a.at
    );
    sessions_ integer;
    keys_ integer;
    members_ integer;
    users_ integer;
    one bigint;
    address_ text;
begin
    create temp table less_users on commit drop as
    select w.id, w.is_active, w.deleted_at, w.global_role from was_users w where follows_
    union all
    select
        a.target_id,
        not bool_or(a.action = 'user.deactivated'),
        max(a.at) filter (where a.action = 'user.deleted'),
        (array_agg(a.after ->> 'global_role' order by a.id desc) filter (where a.action = 'user.role_changed'))[1]
    from was_audit a
    where not follows_ and a.at > made_at_ and a.action in ('user.deactivated', 'user.deleted', 'user.role_changed')
        and not exists (
            select 1 from was_audit l
            where l.target_id = a.target_id and l.id > a.id and (l.action, a.action) in (
                ('user.activated', 'user.deactivated'), ('user.restored', 'user.deleted')
            )
        )
    group by a.target_id;
    create temp table less_members on commit drop as
    select m.project_id, m.user_id, w.role from project_members m
    left join was_members w on w.project_id = m.project_id and w.user_id = m.user_id
    where follows_ and exists (select 1 from was_projects p where p.id = m.project_id)
    union all
    select e.project_id, e.user_id, (array_agg(e.role order by e.id desc))[1]
    from (
        select
            a.id, a.target_id as project_id, a.after ->> 'role' as role, (coalesce(a.after, a.before) ->> 'user_id')::bigint as user_id
        from was_audit a
        where not follows_ and a.at > made_at_ and a.action like 'member.%'
    ) e
    group by e.project_id, e.user_id;

    with ended as (
        update sessions s set revoked_at = clock_timestamp()
        where s.revoked_at is null and (
            exists (select 1 from was_dead_sessions w where w.id = s.id)
            or follows_ and not exists (select 1 from was_sessions w where w.id = s.id)
        )
        returning 1
    )
    select count(*) into sessions_ from ended;
    -- A refresh token that was exchanged since is not good again, and whoever has the one that came for it stays signed in.
    if follows_ then
        delete from refresh_tokens r where exists (select 1 from was_sessions w where w.id = r.session_id);
        insert into refresh_tokens (token_hash, session_id, issued_at, expires_at, rotated_at)
        select w.token_hash, w.session_id, w.issued_at, w.expires_at, w.rotated_at from was_tokens w
        inner join sessions s on s.id = w.session_id and s.revoked_at is null
        on conflict do nothing;
        update sessions s set last_used_at = w.last_used_at, expires_at = w.expires_at
        from was_sessions w where w.id = s.id and s.revoked_at is null and w.last_used_at > s.last_used_at;
    end if;
    with ended as (
        update api_keys k set revoked_at = clock_timestamp()
        where k.revoked_at is null and (
            exists (select 1 from was_dead_keys w where w.id = k.id)
            or exists (select 1 from was_audit a where a.action = 'key.revoked' and a.target_id = k.id and a.at > made_at_)
            or follows_ and not exists (select 1 from was_keys w where w.id = k.id)
        )
        returning 1
    )
    select count(*) into keys_ from ended;

    with less as (
        update users u set
            is_active = u.is_active and w.is_active,
            deleted_at = coalesce(u.deleted_at, w.deleted_at),
            global_role = case
                when least_role(u.global_role, coalesce(w.global_role, u.global_role)) then u.global_role else w.global_role
            end
        from less_users w
        where w.id = u.id and (
            u.is_active and not w.is_active or u.deleted_at is null and w.deleted_at is not null
            or not least_role(u.global_role, coalesce(w.global_role, u.global_role))
        )
        returning 1
    )
    select count(*) into users_ from less;
    -- An older password may be why there is a newer one.
    update users u set
        password_hash = w.password_hash, password_changed_at = w.password_changed_at,
        must_change_password = u.must_change_password or w.must_change_password
    from was_users w
    where w.id = u.id and w.password_changed_at > made_at_ and (u.password_changed_at is null or u.password_changed_at < w.password_changed_at);
    -- The second factor that was set up last, or none if it was turned off: an older one may be on a device that was lost. No
    -- password of it and no recovery code is good twice.
    delete from recovery_codes r using was_users w, users u
    where w.id = r.user_id and u.id = r.user_id and w.totp_changes >= u.totp_changes
        and not exists (select 1 from was_codes c where c.user_id = r.user_id and c.code_hash = r.code_hash);
    insert into recovery_codes (user_id, code_hash)
    select c.user_id, c.code_hash from was_codes c
    inner join was_users w on w.id = c.user_id
    inner join users u on u.id = c.user_id and u.totp_changes < w.totp_changes
    on conflict do nothing;
    update users u set
        totp_enabled = w.totp_enabled, totp_secret = w.totp_secret, totp_changes = w.totp_changes,
        totp_last_step = case
            when w.totp_changes > u.totp_changes then w.totp_last_step else greatest(u.totp_last_step, w.totp_last_step)
        end
    from was_users w
    where w.id = u.id and (
        w.totp_changes > u.totp_changes or w.totp_changes = u.totp_changes and w.totp_last_step is distinct from u.totp_last_step
    );
    delete from mfa_challenges;
    -- Whose account was purged has none: all that is theirs goes once more, and the name from all that tells of them.
    for one in select w.id from was_users w inner join users u on u.id = w.id where w.purged_at is not null and u.purged_at is null
    loop
        select u.email into address_ from users u where u.id = one;
        update users u set
            email = w.email, username = w.username, first_name = w.first_name, last_name = w.last_name,
            display_name = w.display_name, avatar_url = w.avatar_url,
            deleted_at = coalesce(w.deleted_at, clock_timestamp()), scrubbed_at = null
        from was_users w where w.id = one and u.id = one;
        perform purge_account(one, address_);
    end loop;
    perform carry_addresses();

    with gone as (
        delete from project_members m using less_members w
        where w.project_id = m.project_id and w.user_id = m.user_id and w.role is null
        returning 1
    ), lower as (
        update project_members m set role = w.role from less_members w
        where w.project_id = m.project_id and w.user_id = m.user_id and role_rank(w.role) < role_rank(m.role) and w.role is not null
        returning 1
    )
    select (select count(*) from gone) + (select count(*) from lower) into members_;
    -- No project is without an owner: those of now, or else who restores.
    insert into project_members as m (project_id, user_id, role)
    select w.project_id, w.user_id, 'owner' from was_members w
    inner join projects p on p.id = w.project_id and p.purged_at is null
    inner join users u on u.id = w.user_id and u.is_active and u.deleted_at is null
    where w.role = 'owner' and not exists (select 1 from project_members o where o.project_id = w.project_id and o.role = 'owner')
    on conflict (project_id, user_id) do update set role = 'owner';
    insert into project_members as m (project_id, user_id, role)
    select p.id, u.id, 'owner' from projects p
    cross join (
        select a.id from users a
        where a.global_role = 'admin' and a.is_active and a.deleted_at is null order by a.id <> coalesce(actor_, 0), a.id limit 1
    ) u
    where p.purged_at is null and not exists (select 1 from project_members o where o.project_id = p.id and o.role = 'owner')
    on conflict (project_id, user_id) do update set role = 'owner';

    if follows_ then
        delete from conversation_members m
        where exists (select 1 from was_conversations c where c.id = m.conversation_id)
            and not exists (select 1 from was_in w where w.conversation_id = m.conversation_id and w.user_id = m.user_id);
        update project_webhooks h set deleted_at = clock_timestamp()
        where h.deleted_at is null and exists (select 1 from was_projects p where p.id = h.project_id)
            and not exists (select 1 from was_webhooks w where w.id = h.id);
        update outgoing_webhooks o set is_enabled = false
        where exists (select 1 from was_projects p where p.id = o.project_id)
            and not exists (select 1 from was_outgoing w where w.id = o.id);
        update invitations i set revoked_at = clock_timestamp()
        where i.used_at is null and i.revoked_at is null and not exists (select 1 from was_invitations w where w.id = i.id);
        delete from calendars c where not exists (select 1 from was_calendars w where w.user_id = c.user_id);
    end if;
    -- A calendar's address that was taken back shows nothing, and the one that came for it goes on.
    update calendars c set created_at = w.created_at, token_hash = w.token_hash
    from was_calendars w where w.user_id = c.user_id and w.created_at > c.created_at;
    update project_webhooks h set
        token_hash = w.token_hash, token_hint = w.token_hint, secret = w.secret, is_enabled = h.is_enabled and w.is_enabled
    from was_webhooks w where w.id = h.id and h.deleted_at is null;
    update outgoing_webhooks o set url = w.url, salt = w.salt, events = w.events, is_enabled = o.is_enabled and w.is_enabled
    from was_outgoing w where w.id = o.id;
    delete from password_resets r where not exists (select 1 from was_resets w where w.token_hash = r.token_hash);
    perform carry_letters();
    return json_build_object('sessions', sessions_, 'keys', keys_, 'members', members_, 'users', users_);
end
$$;

-- The address that somebody has now stays theirs: an older one may be another's by now, who would get their mails, and with them a
-- new password. Not where somebody who came back alone has it: then the older one comes back.
create or replace function carry_addresses() returns void language plpgsql as $$
begin
    create temp table new_addresses on commit drop as
    select u.id, w.email from users u
    inner join was_users w on w.id = u.id
    where w.email <> u.email and w.purged_at is null and u.purged_at is null;
    create index on new_addresses (id);
    analyze new_addresses;
    -- Each that stays as it was may stand in the way of another.
    loop
        delete from new_addresses n using users u
        where lower(u.email) = lower(n.email) and u.id <> n.id and not exists (select 1 from new_addresses o where o.id = u.id);
        exit when not found;
    end loop;
    -- Two may have exchanged theirs.
    update users u set email = 'address of ' || u.id from new_addresses n where n.id = u.id;
    update users u set email = n.email from new_addresses n where n.id = u.id;
end
$$;

-- No letter of this installation is sent twice, whatever becomes of its rights, and the audit forgets nothing.
create or replace function carry_letters() returns void language plpgsql as $$
begin
    -- What is not to be sent any more was sent, or is of what is gone.
    delete from mails m where not exists (select 1 from was_mails w where w.id = m.id);
    update invitations i set mailed_at = w.mailed_at, mail_failed = w.mail_failed, mail_reason = w.mail_reason, letters = w.letters
    from was_letters w where w.id = i.id and w.letters >= i.letters;
    update invitations i set wants_mail = false
    where i.wants_mail and not exists (select 1 from mails m where m.invitation_id = i.id);
    insert into reminders (card_id, user_id, date, kind)
    select w.card_id, w.user_id, w.date, w.kind from was_reminders w
    where exists (select 1 from cards c where c.id = w.card_id) and exists (select 1 from users u where u.id = w.user_id)
    on conflict do nothing;
    update notifications n set wants_mail = false
    where n.wants_mail and not exists (select 1 from was_wanted w where w.id = n.id);
    -- What administrators did since stays on record.
    insert into audit (at, actor_id, ip, action, target_type, target_id, before, after)
    select w.at, (select u.id from users u where u.id = w.actor_id), w.ip, w.action, w.target_type, w.target_id, w.before, w.after
    from was_audit w
    where not exists (select 1 from audit a where a.at = w.at and a.action = w.action and a.target_id is not distinct from w.target_id)
    order by w.id;
end
$$;

-- Files that rows name again which none named any more, after one, with their sizes: the jobs may have deleted them meanwhile.
create or replace function returned_files(after_ text) returns table (stored_name text, size bigint) language plpgsql as $$
begin
    return query
    select a.stored_name, a.size_bytes from attachments a
    where a.stored_name > after_ and not exists (select 1 from was_files w where w.stored_name = a.stored_name)
    order by a.stored_name
    limit 500;
end
$$;

-- Whether a global role gives no more than another.
create or replace function least_role(role_ text, other_ text) returns boolean language sql immutable as $$
select case
    when role_ = other_ then true
    when other_ = 'admin' then true
    when role_ = 'admin' then false
    when other_ = 'user' then role_ = 'viewer'
    else false
end
$$;

-- The installation goes on under another UUID and another epoch, and every feed behind its old end, so that no number that
-- somebody has means anything else now. What was told under numbers that are taken again is gone. Gives the message that tells
-- all processes.
create or replace function begin_again(origin_ uuid) returns text[] language plpgsql as $$
begin
    with lifted as (
        update feeds f set seq = w.seq + 1, oldest = w.seq + 2 from was_feeds w
        where w.channel = f.channel and w.seq >= f.seq returning f.channel
    )
    delete from events e using lifted l where e.channel = l.channel;
    insert into feeds (channel, seq, oldest)
    select w.channel, w.seq + 1, w.seq + 2 from was_feeds w on conflict do nothing;
    delete from backup_state;
    insert into backup_state select * from was_state;
    update backup_state set restored_at = clock_timestamp();
    delete from secret_prints;
    insert into secret_prints select * from was_prints;
    update install i set id = gen_random_uuid(), origin = origin_, place = '', written = '0';
    perform find_history();
    return record(array[new_event('control', 'control.restored', '{}')], null, null);
end
$$;
