-- name: is_member -> value, by key
-- Whether a member of a project has this address.
select exists (
    select 1 from users as u
    inner join project_members as m on m.user_id = u.id and m.project_id = :project_id::bigint
    where lower(u.email) = lower(:email::text)
);

-- name: create -> one, by key
-- A new invitation, and the mail with its link: where there is an address, mails are on, and it was not sent enough.
with wish as (
    select
        :email::text is not null and :mail::boolean
        and may_write_to(:inviter_id::bigint, :email::text, :most_letters::integer, :most_of_all::integer) as is_there
), made as (
    insert into invitations (expires_at, project_id, role, email, inviter_id, salt, token_hash, wants_mail, letters)
    select
        clock_timestamp() + :ttl::interval, :project_id::bigint, :role, lower(:email::text), :inviter_id::bigint, :salt::uuid,
        :token_hash, w.is_there, w.is_there::integer
    from wish as w
    returning id, expires_at, wants_mail, email
), queued as (
    insert into mails (kind, invitation_id) select 'invitation', m.id from made as m where m.wants_mail
)
select m.id, m.email, iso(m.expires_at) as expires_at, case when m.wants_mail then 'waiting' end as mail from made as m;

-- name: lock -> one, by key
-- An open invitation to this project, or to the installation, locked; no row when there is none that lives.
select i.email, i.wants_mail, i.inviter_id
from invitations as i
where i.id = :id::bigint and i.project_id is not distinct from :project_id::bigint and invitation_lives(i)
for no key update of i;

-- name: hold_letters -> nothing, by key
-- Nobody else has a mail sent to an address until the commit: see hold_letters in sql/changes/invitations.sql.
select hold_letters(:email::text);

-- name: may_write_to -> value, by key
-- Whether an address, which is held, may be sent a mail more.
select may_write_to(:inviter_id::bigint, :email::text, :most_letters::integer, :most_of_all::integer);

-- name: mail_again -> nothing, by key
-- One mail more of an invitation, which is locked.
with wanted as (
    update invitations set wants_mail = true, mail_failed = false, mail_reason = null, letters = letters + 1
    where id = :id::bigint
    returning id
)
insert into mails (kind, invitation_id) select 'invitation', w.id from wanted as w on conflict do nothing;

-- name: shape -> value, by key
-- An invitation as JSON text.
select shape(i)::text from invitations as i where i.id = :id::bigint;

-- name: exceeds -> value
-- Whether there are more than `most` open invitations to a project, or to the installation.
select exists(
    select from invitations as i
    where
        coalesce(i.project_id, 0) = coalesce(:project_id::bigint, 0)
        and i.used_at is null and i.revoked_at is null and i.expires_at > now()
    offset :most::integer
);

-- name: page -> one
-- A page of the living invitations to a project, or to the installation, the newest first, before an id.
with chosen as (
    select i.id, shape(i)::text as invitation, row_number() over (order by i.id desc) as nth
    from invitations as i
    where
        i.id < coalesce(:before::bigint, 9223372036854775807)
        and coalesce(i.project_id, 0) = coalesce(:project_id::bigint, 0)
        and i.used_at is null and i.revoked_at is null and i.expires_at > now() and invitation_lives(i)
    order by i.id desc
    limit :limit::integer + 1
)
select
    '[' || coalesce(string_agg(c.invitation, ',' order by c.nth) filter (where c.nth <= :limit::integer), '') || ']' as items,
    case
        when count(*) > :limit::integer then json_build_array(min(c.id) filter (where c.nth = :limit::integer))
    end as next
from chosen as c;

-- name: revoke -> one, by key
-- Takes an open invitation to this project, or to the installation, back; no row when there is none.
with revoked as (
    update invitations as i set revoked_at = clock_timestamp(), wants_mail = false
    where
        i.id = :id::bigint and i.project_id is not distinct from :project_id::bigint
        and i.used_at is null and i.revoked_at is null and i.expires_at > now()
    returning i
)
select (r.i).role, forget_invitation(r.i)::text as forgotten from revoked as r;

-- name: living -> many, by key
-- A living invitation by its token's hash: what it offers, and where.
select i.id, i.project_id, i.role, i.inviter_id, offer_json(i)::text as offer, p.slug
from invitations as i
left join projects as p on p.id = i.project_id
where i.token_hash = :token_hash and invitation_lives(i);

-- name: used_by -> many, by key
-- An invitation of which this user came in, and has what it offered still; at most one row.
select i.project_id, m.role
from invitations as i
inner join users as u on u.id = i.used_by_id
left join project_members as m on m.project_id = i.project_id and m.user_id = u.id
left join projects as p on p.id = i.project_id
where i.token_hash = :token_hash and i.used_by_id = :user_id::bigint
    and case when i.project_id is null then u.global_role = i.role else m.role is not null and p.purged_at is null end;

-- name: use -> one, by key
-- Uses an invitation up: see use_invitation in sql/changes/invitations.sql.
select u.role from use_invitation(:id::bigint, :user_id::bigint) as u;
