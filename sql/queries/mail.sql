-- name: queue -> nothing, by key
-- A mail to an address, whoever has it, if anybody has.
insert into mails (kind, address, urgent) values (:kind::text, :address::text, true);

-- name: warn -> nothing, by key
-- A mail to the address that an account had, about that account.
insert into mails (kind, user_id, address, urgent) values (:kind::text, :user_id::bigint, :address::text, true);

-- name: warned -> many, by key
-- What such a mail says of the account; no row when it was deleted.
select :address::text as email, u.username, u.display_name, u.locale
from users as u where u.id = :user_id::bigint and u.deleted_at is null;

-- name: may_collect -> value, by key
-- Whether nobody else collects what is to be mailed; until the commit nobody else does.
select pg_try_advisory_xact_lock(hashtext('warmdesk.mail'));

-- name: wanting -> many
-- Who was notified before `burst`, is to be told by mail, and was not yet.
select distinct d.user_id from (
    select n.user_id from notifications as n
    where n.wants_mail and n.created_at < now() - :burst::interval and n.created_at > now() - :oldest::interval
    order by n.created_at limit :limit::integer
) as d
order by d.user_id;

-- name: collect -> value, by key
-- Makes one mail for each of these people of all they are to be told, but none for those who are here; gives how many mails.
with wanted as (
    select n.id from notifications as n
    where n.wants_mail and n.user_id = any(:people::bigint[]) and n.created_at > now() - :oldest::interval
    order by n.id
    for no key update skip locked
), told as (
    update notifications as n set wants_mail = false from wanted as w where n.id = w.id returning n.id, n.user_id
), made as (
    insert into mails (kind, user_id, notification_ids)
    select 'news', t.user_id, array_agg(t.id order by t.id)
    from told as t
    where t.user_id <> all(:here::bigint[])
    group by t.user_id
    returning 1
)
select count(*) from made;

-- name: forget_wishes -> value
-- Takes back, a batch at a time, what nobody mailed in the time of `oldest`; gives how many.
with old as (
    select n.id from notifications as n
    where n.wants_mail and n.created_at < now() - :oldest::interval
    order by n.created_at limit :batch::integer
    for no key update skip locked
), gone as (
    update notifications as n set wants_mail = false from old as o where n.id = o.id returning 1
)
select count(*) from gone;

-- name: news -> many, by key
-- What a mail tells its reader, as it is now: nothing that was read or deleted meanwhile, is not due any more, that the
-- reader may not see any more, or wants no mails of any more.
select u.email, u.display_name, u.locale, shape(n)::text as news
from users as u
inner join notifications as n on n.user_id = u.id and n.id = any(:ids::bigint[])
left join project_members as m on m.project_id = n.project_id and m.user_id = u.id
left join project_readers as r on r.project_id = n.project_id and r.user_id = u.id
left join conversation_members as t on t.conversation_id = n.conversation_id and t.user_id = u.id
where
    u.id = :user_id::bigint and u.is_active and u.deleted_at is null and u.email_notifications
    and n.read_at is null and notify_choice(u, n.kind) = 'mail'
    and t.muted is not true and r.muted is not true
    and (
        n.kind <> 'due' or exists (
            select 1 from cards as c
            where c.id = n.card_id and c.due_date::text = n.body and not c.closed and c.archived_at is null
        )
    )
    and case
        when n.conversation_id is null then effective_role(u.global_role, m.role) is not null
        else t.user_id is not null and u.global_role in ('admin', 'user', 'viewer')
    end
order by n.id;

-- name: take -> many, by key
-- The mail that is due first, for the caller alone as long as the lease; no row when none is. `takes` says to whom it was given.
with first_due as (
    select m.id from mails as m
    where m.due_at <= clock_timestamp()
    order by m.urgent desc, m.due_at asc
    limit 1
    for update skip locked
)
update mails as m set due_at = clock_timestamp() + :lease::interval, takes = m.takes + 1
from first_due as f
where m.id = f.id
returning m.id, m.kind, m.user_id, m.address, m.notification_ids, m.invitation_id, m.takes, m.failures;

-- name: backup -> many, by key
-- Who is told of a backup, and what; no row when it was an administrator, and is none now. In the language of whoever has the
-- address here, if somebody has.
select
    coalesce(u.email, m.address) as email, coalesce(u.display_name, a.display_name, '') as name, coalesce(u.locale, a.locale) as locale,
    m.about::text as about
from mails as m
left join users as u on u.id = m.user_id
left join users as a on lower(a.email) = lower(m.address)
where m.id = :id::bigint and (m.user_id is null or (u.global_role = 'admin' and u.is_active and u.deleted_at is null));

-- name: done -> nothing, by key
-- A mail is done with: see finish_mail in sql/changes/invitations.sql.
select finish_mail(:id::bigint, :takes::integer, :outcome::text, :reason::text);

-- name: failed -> nothing, by key
-- A try failed; the next is after `pause`. One that does not count is as if the mail was not taken.
update mails set
    failures = failures + :counts::boolean::integer, takes = takes - (not :counts::boolean)::integer,
    due_at = clock_timestamp() + :pause::interval
where id = :id::bigint and takes = :takes::integer;

-- name: requeue -> nothing
-- Mails of invitations that are wanted and wait nowhere: they waited for a day, or a worker of a program that did not know them
-- took them.
with lost as (
    select i.id from invitations as i
    where
        i.wants_mail and i.used_at is null and i.revoked_at is null and i.expires_at > now()
        and not exists (select 1 from mails as m where m.invitation_id = i.id)
    order by i.id limit :limit::integer
    for key share skip locked
)
insert into mails (kind, invitation_id) select 'invitation', l.id from lost as l on conflict do nothing;

-- name: invitation -> many, by key
-- What the mail of an invitation says, as it is now; no row when the invitation leads nowhere now. In the language of whoever has
-- the address here, if somebody has; nobody is invited whose account is closed.
select
    i.email, i.salt::text as salt, i.token_hash, to_char(i.expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as expires_at,
    p.name as project, b.display_name as inviter, u.display_name as name, u.locale
from invitations as i
inner join users as b on b.id = i.inviter_id
left join projects as p on p.id = i.project_id
left join users as u on lower(u.email) = i.email
where
    i.id = :id::bigint and i.wants_mail and invitation_lives(i) and p.is_archived is not true
    and (u.id is null or (u.is_active and u.deleted_at is null));

-- name: begin_reset -> many, by key
-- The account of an address that may set its password anew, by a token with this hash; no row when there is none, or when it got
-- another token just now. The account is held as it is: whoever gives it another address makes this token void, too.
with account as (
    select u.id, u.email, u.username, u.display_name, u.locale from users as u
    where lower(u.email) = lower(:address::text) and u.is_active and u.deleted_at is null
        and not exists (
            select 1 from password_resets as r
            where r.user_id = u.id and r.created_at > clock_timestamp() - interval '50 seconds'
        )
    for share of u
), given as (
    insert into password_resets (token_hash, user_id, expires_at)
    select :token_hash::text, a.id, clock_timestamp() + :ttl::interval from account as a
)
select a.id, a.email, a.username, a.display_name, a.locale from account as a;

-- name: reset_by -> many, by key
-- Whose password a token sets, if it is good.
select r.user_id from password_resets as r
inner join users as u on u.id = r.user_id
where r.token_hash = :token_hash::text and r.expires_at > clock_timestamp() and u.is_active and u.deleted_at is null;

-- name: use_reset -> many, by key
-- Takes all tokens of an account away, which is locked; gives a row when this one was good.
with gone as (
    delete from password_resets as r where r.user_id = :user_id::bigint
    returning r.token_hash, r.expires_at
)
select true as good from gone as g
inner join users as u on u.id = :user_id::bigint
where g.token_hash = :token_hash::text and g.expires_at > clock_timestamp() and u.is_active and u.deleted_at is null;
