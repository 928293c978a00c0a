-- Purges: what is taken away for good. A purge's own transaction ends all that can be seen and told; what is left is taken away
-- here, in batches, by a worker (warmdesk/jobs/purges.py).

-- Takes a project away from everybody. Its slug and key prefix are free; `~7~demo` and `~7` are no address and no key.
create or replace function purge_project(project_ bigint) returns void language plpgsql as $$
begin
    update projects p set
        purged_at = clock_timestamp(),
        slug = '~' || p.id || '~' || p.slug,
        key_prefix = '~' || p.id,
        name = '',
        description = '',
        updated_at = clock_timestamp()
    where p.id = project_;
    delete from project_members m where m.project_id = project_;
    perform 1 from notifications n where n.project_id = project_ order by n.id for update;
end
$$;

-- Takes a batch of what is left of a purged project away; gives how many rows went, 0 when nothing is left. Whatever names the
-- project in a column that refers to it goes; a table whose rows others still refer to waits for those. What people logged as
-- their time stays theirs. The project itself, and its feed with its events, stay a minute: until no process follows it, or catches up.
create or replace function empty_project(project_ bigint, most_ integer) returns bigint language plpgsql as $$
declare
    p projects;
    one record;
    n bigint;
begin
    select * into p from projects where id = project_ and purged_at is not null for no key update skip locked;
    if p.id is null then
        return 0;
    end if;
    -- What a comment said of a time was told to its author alone.
    with batch as materialized (
        select t.id, t.user_id, t.comment_id from time_entries t where t.project_id = project_ limit most_
    ), told as (
        update events e set type = 'gone', payload = '{}'
        from batch b
        where
            b.comment_id is not null and e.channel = 'user:' || b.user_id and e.entity = 'time_entry:' || b.id
            and e.type <> 'gone'
    )
    update time_entries t set
        project_id = null,
        description = case when t.comment_id is null then t.description else '' end
    from batch b where t.id = b.id;
    get diagnostics n = row_count;
    if n > 0 then
        return n;
    end if;
    with said as (
        select m.id from chat_messages m where m.project_id = project_ order by m.id limit most_
    ), reacted as (
        delete from message_reactions r using said where r.owner_type = 'chat_message' and r.owner_id = said.id
    )
    delete from chat_messages m using said where m.id = said.id;
    get diagnostics n = row_count;
    if n > 0 then
        return n;
    end if;
    delete from webhook_deliveries d
    where d.id = any(array(
        select o.id from webhook_deliveries o inner join project_webhooks w on w.id = o.webhook_id
        where w.project_id = project_ limit most_
    ));
    get diagnostics n = row_count;
    if n > 0 then
        return n;
    end if;
    for one in
        select c.conrelid::regclass as name, a.attname as field
        from pg_constraint c
        inner join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
        where c.contype = 'f' and c.confrelid = 'projects'::regclass and cardinality(c.conkey) = 1
        order by 1, 2
    loop
        begin
            execute format(
                'delete from %1$s where ctid = any(array(select ctid from %1$s where %2$I = $1 limit $2))', one.name, one.field
            ) using project_, most_;
            get diagnostics n = row_count;
            if n > 0 then
                return n;
            end if;
        exception when foreign_key_violation then
            null;
        end;
    end loop;
    delete from api_keys k where k.project_id = project_;
    -- A key names its path, and another project may have the slug by now.
    delete from idempotency_keys k
    where strpos(k.path || '/', ' /api/v1/projects/' || substr(p.slug, length('~~' || p.id) + 1) || '/') > 0 and k.created_at < p.purged_at;
    if p.purged_at > now() - interval '1 minute' then
        return 0;
    end if;
    with old as (
        select o.seq from events o where o.channel = 'project:' || project_ order by o.seq limit most_
    ), raised as (
        update feeds f set oldest = greatest(f.oldest, o.upto + 1)
        from (select max(old.seq) as upto from old) as o
        where f.channel = 'project:' || project_ and o.upto is not null
    )
    delete from events e using old where e.channel = 'project:' || project_ and e.seq = old.seq;
    get diagnostics n = row_count;
    if n > 0 then
        return n;
    end if;
    delete from feeds f where f.channel = 'project:' || project_;
    delete from projects where id = project_;
    return 1;
end
$$;

-- Takes all away that belongs to a deleted account alone, but what may be much: its sessions and keys, its history, what it was
-- told and reminded of, its calendar, its favourites and stars, its settings, the invitations to its addresses. `email_` is the one that it had.
create or replace function purge_account(user_ bigint, email_ text) returns void language sql as $$
with ended as (
    delete from sessions where user_id = user_
), revoked as (
    delete from api_keys where user_id = user_
), resets as (
    delete from password_resets where user_id = user_
), codes as (
    delete from recovery_codes where user_id = user_
), challenges as (
    delete from mfa_challenges where user_id = user_
), calendar as (
    delete from calendars where user_id = user_
), reminded as (
    delete from reminders where user_id = user_
), mailed as (
    delete from mails where user_id = user_ or lower(address) = lower(email_)
), logins as (
    delete from login_events where user_id = user_
), places as (
    update login_events set ip = '', user_agent = '' where actor_id = user_ and user_id is distinct from user_
), told as (
    delete from notifications where user_id = user_
), favorites as (
    delete from favorite_users where user_id = user_
), favored as (
    delete from favorite_users where favorite_user_id = user_ and user_id <> user_
), starred as (
    delete from starred_projects where user_id = user_
), invited as (
    delete from invitations
    where inviter_id = user_ or used_by_id = user_ or owner_id = user_ or email = lower(email_)
), written_down as (
    -- What an account was called and is called now stands in its own lines alone, and what it called its keys.
    update audit a set
        ip = case when a.actor_id = user_ then '' else a.ip end,
        before = case when a.action <> 'user.updated' or a.target_id <> user_ then a.before end,
        after = case
            when a.action = 'user.updated' and a.target_id = user_ then null
            when a.action = 'key.created' and a.after::jsonb ->> 'user_id' = user_::text then nameless(a.after)
            else a.after
        end
    where a.actor_id = user_ or (a.action = 'user.updated' and a.target_id = user_)
)
update users as u set
    purged_at = clock_timestamp(),
    password_hash = '',
    locale = 'en', theme = 'system', date_time_format = 'YYYY-MM-DD HH:mm', timezone = 'UTC', font = 'system', font_size = '14',
    sidebar_position = 'left', accent_color = 'blue', week_start = 'monday', time_notation = 'decimal',
    show_breadcrumbs = true, email_notifications = false, notify = '{}', must_change_password = false, totp_enabled = false,
    totp_secret = null, totp_last_step = null,
    last_login_at = null, settings_updated_at = null, password_changed_at = null
where u.id = user_
$$;

-- A user as events tell of one, by a pattern: under whatever name.
create or replace function ref_pattern(user_ bigint) returns text language sql immutable as $$
select
    '\{"id":' || user_ || ',"username":"(?:[^"\\]|\\.)*","display_name":"(?:[^"\\]|\\.)*","avatar_url":(?:null|"(?:[^"\\]|\\.)*")\}'
$$;

-- The same text with a purged user under the name that they have now.
create or replace function without_name(text_ text, user_ bigint) returns text language sql stable as $$
select regexp_replace(text_, ref_pattern(user_), replace(shape(u)::text, '\', '\\'), 'g') from users u where u.id = user_
$$;

-- The same for an event. A notification's title is a name, too: it is shaped anew, or has none where it is
-- not kept any more.
create or replace function without_name(e events, user_ bigint) returns text language sql stable as $$
select case
    when e.type = 'notification' then coalesce(
        (select shape(n)::text from notifications n where n.id = (e.payload::json ->> 'id')::bigint), without_name(replace(e.payload, '"title":' || (e.payload::json -> 'title')::text, '"title":""'), user_)
    )
    else without_name(e.payload, user_)
end
$$;
