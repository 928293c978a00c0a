-- Invitations live until they are used, revoked or seven days old, and as long as whoever invited could invite to that role.

create or replace function invitation_lives(i invitations) returns boolean language sql stable as $$
select
    i.used_at is null and i.revoked_at is null and i.expires_at > clock_timestamp() and exists (
        select 1
        from users u
        left join project_members m on m.project_id = i.project_id and m.user_id = u.id
        where u.id = i.inviter_id and u.is_active and u.deleted_at is null
            and case
                when i.project_id is null then u.global_role = 'admin'
                else
                    role_rank(effective_role(u.global_role, m.role)) >= greatest(role_rank('admin'), role_rank(i.role))
                    and exists (select 1 from projects p where p.id = i.project_id and p.purged_at is null)
            end
    )
$$;

-- Uses an invitation up for somebody; gives it, or refuses: 404 when it does not live. Its project is held by then, and the
-- memberships of both are locked. The inviter's account is held as it is, so that the right cannot end before the commit. What
-- was kept of its making under a key is gone, because the link stands in it.
create or replace function use_invitation(id_ bigint, user_ bigint) returns invitations language plpgsql as $$
declare
    i invitations;
begin
    select * into i from invitations where id = id_;
    if i.inviter_id <> user_ then
        perform enter_account(i.inviter_id);
        perform 1 from users u where u.id = i.inviter_id for share;
    end if;
    select * into i from invitations where id = id_ for no key update;
    if i.id is null or not invitation_lives(i) then
        perform refuse(404, 'the invitation is not valid');
    end if;
    update invitations set used_at = clock_timestamp(), used_by_id = user_, wants_mail = false where id = id_;
    perform forget_invitation(i);
    return i;
end
$$;

-- Takes the answers away in which an invitation's link stands.
create or replace function forget_invitation(i invitations) returns void language sql as $$
delete from idempotency_keys k
where k.about @> array[coalesce('project:' || i.project_id, 'user:' || i.inviter_id) || ' invitation:' || i.id]
$$;

-- Nobody else has a mail sent to this address until the commit: what is counted then holds.
create or replace function hold_letters(email_ text) returns void language sql as $$
select pg_advisory_xact_lock(7, hashtext(lower(email_)))
$$;

-- Whether an address, which is held, may be sent a mail more: within a week somebody has so many sent to it, and all people
-- together so many. So one that its holder did not tell is not flooded.
create or replace function may_write_to(inviter_ bigint, email_ text, most_ integer, most_of_all_ integer) returns boolean
language sql stable as $$
select
    coalesce(sum(i.letters) filter (where i.inviter_id = inviter_), 0) < most_ and coalesce(sum(i.letters), 0) < most_of_all_
from invitations i
where i.email = lower(email_) and i.created_at > now() - interval '7 days'
$$;

-- Only the release before asks this, which goes on serving beside this one; it goes with a migration of the next.
create or replace function letters_to(inviter_ bigint, email_ text) returns bigint language sql stable as $$
select coalesce(sum(i.letters), 0)
from invitations i
where i.email = lower(email_) and i.inviter_id = inviter_ and i.created_at > now() - interval '7 days'
$$;

-- A mail is done with, unless its lease ended and somebody else has it: it was sent, or nobody wants it any more, or no server
-- takes it, and why. Its invitation is locked first, as by whoever wants one mail more. The release before tells no reason.
drop function if exists finish_mail(bigint, integer, text);
create or replace function finish_mail(id_ bigint, takes_ integer, outcome_ text, reason_ text default null) returns void
language plpgsql as $$
declare
    invitation_ bigint;
begin
    select m.invitation_id into invitation_ from mails m where m.id = id_ and m.takes = takes_;
    if invitation_ is not null then
        perform 1 from invitations i where i.id = invitation_ for no key update;
    end if;
    delete from mails m where m.id = id_ and m.takes = takes_;
    if found and invitation_ is not null then
        update invitations set
            wants_mail = false,
            mailed_at = case when outcome_ = 'sent' then clock_timestamp() else mailed_at end,
            mail_failed = outcome_ = 'failed',
            mail_reason = reason_
        where id = invitation_;
    end if;
end
$$;
