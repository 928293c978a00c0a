-- name: queue -> nothing, by key
-- A mail to an address, whoever has it, if anybody has.
insert into mails (kind, address, urgent) values (:kind::text, :address::text, true);

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
returning m.id, m.kind, m.user_id, m.address, m.notification_ids, m.takes, m.failures;

-- name: done -> nothing, by key
-- A mail was sent, or nobody wants it any more; unless its lease ended, and somebody else has it.
delete from mails where id = :id::bigint and takes = :takes::integer;

-- name: failed -> nothing, by key
-- A try failed; the next is after `pause`.
update mails set failures = failures + 1, due_at = clock_timestamp() + :pause::interval
where id = :id::bigint and takes = :takes::integer;

-- name: begin_reset -> many, by key
-- The account of an address that may set its password anew, by a token with this hash; no row when there is none, or when it got
-- another token just now.
with account as (
    select u.id, u.email, u.username, u.display_name, u.locale from users as u
    where lower(u.email) = lower(:address::text) and u.is_active and u.deleted_at is null
        and not exists (
            select 1 from password_resets as r
            where r.user_id = u.id and r.created_at > clock_timestamp() - interval '50 seconds'
        )
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
