-- name: me -> value, by key
-- The account as its owner sees it.
select me_json(u)::text from users as u where u.id = :user_id and u.deleted_at is null;

-- name: account -> value, by key
-- Any account as an administrator sees it, deleted ones too.
select account_json(u)::text from users as u where u.id = :user_id and u.purged_at is null;

-- name: list -> one
-- A page of the accounts, latest first, older than an id.
with page as (
    select u.id, account_json(u) as shaped
    from users as u
    where
        (:before::bigint is null or u.id < :before::bigint)
        and (:include_deleted::boolean or u.deleted_at is null) and u.purged_at is null
        and (:role::text is null or u.global_role = :role::text)
        and (:active::boolean is null or u.is_active = :active::boolean)
        and (
            :q::text = ''
            or strpos(lower(u.username), lower(:q::text)) > 0
            or strpos(lower(u.display_name), lower(:q::text)) > 0
            or strpos(lower(u.email), lower(:q::text)) > 0
        )
    order by u.id desc
    limit :limit::integer + 1
), cut as (
    select * from page order by id desc limit :limit::integer
)
select
    '[' || coalesce(string_agg(c.shaped::text, ',' order by c.id desc), '') || ']' as items,
    case when (select count(*) from page) > :limit::integer then json_build_array(min(c.id)) end as next
from cut as c;

-- name: search -> many
-- Active people whose name holds `q`, those whose name begins with it first, without the members of a project, `not_in`. `near`:
-- whether they share a project with the reader (an administrator is near everybody).
select
    u.id,
    shape(u)::text as shaped,
    (:everybody::boolean or u.id = :reader or exists (
        select 1 from project_members as mine
        inner join project_members as theirs on theirs.project_id = mine.project_id
        where mine.user_id = :reader and theirs.user_id = u.id
    )) as near
from users as u
where
    u.is_active and u.deleted_at is null and u.global_role in ('admin', 'user', 'viewer')
    and (
        :q::text = ''
        or strpos(lower(u.username), lower(:q::text)) > 0
        or strpos(lower(u.display_name), lower(:q::text)) > 0
    )
    and not exists (select 1 from project_members as n where n.project_id = :not_in::bigint and n.user_id = u.id)
order by
    not (starts_with(lower(u.username), lower(:q::text)) or starts_with(lower(u.display_name), lower(:q::text))),
    lower(u.display_name), u.id
limit :limit::integer;

-- name: lock -> one, by key
-- The account that will change: see lock_account in sql/changes/access.sql. Until the commit nobody makes, changes or ends a
-- membership of it, so that no event tells an old name after the new one. `fields` are the present values as JSON.
select
    u.id,
    u.password_hash,
    shape(u)::text as shaped,
    me_json(u)::text as me,
    account_json(u)::text as account,
    (to_jsonb(u) - array['password_hash', 'totp_secret'])::text as fields
from lock_account(:user_id) as u
where u.id is not null and u.deleted_at is null;

-- name: change -> one, by key
-- Writes the fields that `fields` (a JSON object) names; the others stay. A display name that is cleared is made anew. With another
-- password or address the links to set a new password that were mailed before are void; without the account, a sign-in that waits
-- for its second factor. Invitations to the address of before are known to be of the account: a purge takes them along.
with gone as (
    delete from password_resets as r
    where r.user_id = :user_id and (:new_hash::text is not null or (:fields::jsonb -> 'email') is not null)
), challenges as (
    delete from mfa_challenges as c where c.user_id = :user_id and :fields::jsonb -> 'is_active' = 'false'
), invited as (
    update invitations as i set owner_id = b.id
    from users as b
    where b.id = :user_id and i.email = lower(b.email) and :fields::jsonb -> 'email' is not null
)
update users as u set
    email = lower(p.email),
    username = p.username,
    first_name = coalesce(btrim(p.first_name), ''),
    last_name = coalesce(btrim(p.last_name), ''),
    display_name = display_name_of(p.display_name, p.first_name, p.last_name, p.username),
    avatar_url = nullif(p.avatar_url, ''),
    global_role = p.global_role,
    is_active = p.is_active,
    must_change_password = p.must_change_password,
    locale = p.locale,
    theme = p.theme,
    date_time_format = p.date_time_format,
    timezone = p.timezone,
    font = p.font,
    font_size = p.font_size,
    sidebar_position = p.sidebar_position,
    accent_color = p.accent_color,
    week_start = p.week_start,
    time_notation = p.time_notation,
    show_breadcrumbs = p.show_breadcrumbs,
    email_notifications = p.email_notifications,
    notify = o.notify || p.notify,
    settings_updated_at = case when :settings::boolean then now() else u.settings_updated_at end,
    password_hash = coalesce(:new_hash::text, u.password_hash),
    password_changed_at = case when :new_hash::text is not null then now() else u.password_changed_at end,
    updated_at = now()
from users as o, jsonb_populate_record(o, :fields::jsonb) as p
where u.id = :user_id and o.id = u.id
returning shape(u)::text as shaped, me_json(u)::text as me, account_json(u)::text as account;

-- name: shown_in -> many
-- The user in each project that shows the name, as a member or as a guest, as everybody there sees them; `limit` at most.
select s.project_id, s.is_member, s.shaped from (
    select m.project_id, true as is_member, shape(m, u)::text as shaped
    from project_members as m
    inner join users as u on u.id = m.user_id
    where m.user_id = :user_id
    union all
    select g.project_id, false, guest_json(u)::text
    from project_guests as g
    inner join users as u on u.id = g.user_id
    where g.user_id = :user_id
        and not exists (select from project_members as m where m.project_id = g.project_id and m.user_id = g.user_id)
) as s
order by s.project_id
limit :limit::integer;

-- name: create -> one, by key
-- A new account.
insert into users (
    email, username, password_hash, first_name, last_name, display_name, locale, timezone, date_time_format, theme, font,
    font_size, global_role, is_active, must_change_password, password_changed_at
)
values (
    lower(:email), :username, :password_hash, btrim(:first_name), btrim(:last_name),
    display_name_of(:display_name, :first_name, :last_name, :username), :locale, :timezone, :date_time_format, :theme, :font,
    :font_size, :global_role, :is_active, :must_change_password, now()
)
returning id, account_json(users)::text as account;

-- name: lock_deleted -> one, by key
-- As lock, for an account that is deleted and not purged.
select
    u.id,
    u.email,
    u.avatar_url,
    shape(u)::text as shaped,
    me_json(u)::text as me,
    account_json(u)::text as account,
    (to_jsonb(u) - array['password_hash', 'totp_secret'])::text as fields
from lock_account(:user_id) as u
where u.id is not null and u.deleted_at is not null and u.purged_at is null;

-- name: lowered -> value, by key
-- An address as it is kept.
select lower(:email::text);

-- name: set_deleted -> one, by key
-- Deletes an account, or brings it back. A sign-in that waits for its second factor is over.
with challenges as (
    delete from mfa_challenges as c where c.user_id = :user_id
)
update users as u set
    deleted_at = case when :deleted::boolean then clock_timestamp() end,
    updated_at = clock_timestamp()
where u.id = :user_id
returning me_json(u)::text as me, account_json(u)::text as account;

-- name: login_history -> one
-- A page of somebody's login history, the newest first, before an id.
with chosen as (
    select e.id, login_event_json(e)::text as line, row_number() over (order by e.id desc) as nth
    from login_events as e
    where e.user_id = :user_id::bigint and e.id < coalesce(:before::bigint, 9223372036854775807)
    order by e.id desc
    limit :limit::integer + 1
)
select
    '[' || coalesce(string_agg(c.line, ',' order by c.nth) filter (where c.nth <= :limit::integer), '') || ']' as items,
    case
        when count(*) > :limit::integer then json_build_array(min(c.id) filter (where c.nth = :limit::integer))
    end as next
from chosen as c;

-- name: standing -> one, by key
-- An account's global role, whether it may act, and whether it is not deleted.
select u.global_role, u.is_active and u.deleted_at is null as may_act, u.deleted_at is null as is_live
from users as u
where u.id = :user_id::bigint and u.purged_at is null;

-- name: is_there -> value, by key
-- Whether there is such an account, a deleted one too.
select true from users as u where u.id = :user_id::bigint and u.purged_at is null;
