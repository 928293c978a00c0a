-- name: state -> one, by key
-- An account's second factor.
select u.totp_enabled, u.totp_secret, u.totp_last_step, u.totp_changes, u.username, u.email
from users as u where u.id = :user_id::bigint and u.deleted_at is null;

-- name: enable -> value, by key
-- Turns the second factor of an account on, which is locked, with these recovery codes; gives the account.
with before as (
    delete from recovery_codes where user_id = :user_id::bigint and code_hash <> all(:code_hashes::text[])
), given as (
    insert into recovery_codes (user_id, code_hash) select :user_id::bigint, c from unnest(:code_hashes::text[]) as c
)
update users set
    totp_enabled = true, totp_secret = :sealed::text, totp_last_step = :step::bigint, totp_changes = totp_changes + 1,
    updated_at = now()
where id = :user_id::bigint
returning me_json(users)::text as me;

-- name: disable -> many, by key
-- Turns the second factor of an account off, which is locked; no row when it is off.
with codes as (
    delete from recovery_codes where user_id = :user_id::bigint
), challenges as (
    delete from mfa_challenges where user_id = :user_id::bigint
)
update users set
    totp_enabled = false, totp_secret = null, totp_last_step = null, totp_changes = totp_changes + 1, updated_at = now()
where id = :user_id::bigint and totp_enabled
returning me_json(users)::text as me, account_json(users)::text as account;

-- name: use_step -> many, by key
-- Takes the one-time password of a step, unless that or a later one was taken; no row then.
update users set totp_last_step = :step::bigint
where id = :user_id::bigint and coalesce(totp_last_step, 0) < :step::bigint
returning totp_last_step;

-- name: use_code -> many, by key
-- Takes a recovery code, for good; no row when there is none.
delete from recovery_codes where user_id = :user_id::bigint and code_hash = :code_hash::text returning code_hash;

-- name: challenge -> many, by key
-- Asks an account for its second factor, whose password was right: no row when that or the second factor is another one by now.
-- A new hash is kept when one is given.
with account as (
    update users set password_hash = coalesce(:new_hash::text, password_hash)
    where id = :user_id::bigint and password_hash = :checked_hash and is_active and deleted_at is null and totp_enabled
    returning id, password_hash
)
insert into mfa_challenges (token_hash, user_id, expires_at, password_digest, counted)
select :token_hash::text, a.id, clock_timestamp() + :ttl::interval, encode(sha256(a.password_hash::bytea), 'hex'), :counted::text
from account as a
returning user_id;

-- name: challenged -> many, by key
-- Who has to give a second factor, and of which password; no row when nobody has, or not any more.
select c.user_id, c.password_digest
from mfa_challenges as c
inner join users as u on u.id = c.user_id
where c.token_hash = :token_hash::text and c.expires_at > clock_timestamp() and u.is_active and u.deleted_at is null;

-- name: try_out -> many, by key
-- Counts a try of a challenge whose account is locked; no row when there were enough, or it is over.
update mfa_challenges as c set tries = c.tries + 1
from users as u
where
    c.token_hash = :token_hash::text and c.user_id = :user_id::bigint and u.id = c.user_id
    and c.tries < :most::integer and c.expires_at > clock_timestamp()
    and u.is_active and u.deleted_at is null and u.totp_enabled
    and c.password_digest = encode(sha256(u.password_hash::bytea), 'hex')
returning c.counted, u.password_hash;

-- name: answered -> nothing, by key
-- A challenge is good once.
delete from mfa_challenges where token_hash = :token_hash::text;

-- name: sealed -> many
-- Secrets of accounts, a batch of them after an id.
select u.id, u.totp_secret from users as u
where u.totp_secret is not null and u.id > :after::bigint
order by u.id limit :limit::integer;

-- name: reseal -> nothing, by key
-- Keeps a secret sealed with another key.
update users set totp_secret = :sealed::text where id = :user_id::bigint and totp_secret = :was::text;
