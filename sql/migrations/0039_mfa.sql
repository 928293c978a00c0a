-- oldest program: 0.1
-- A second factor: one-time passwords by the clock (RFC 6238), and codes for whoever lost the device.

-- Sealed with the configuration's secret key.
alter table users add column totp_secret text;
-- The last step whose password was taken: none is taken twice.
alter table users add column totp_last_step bigint;
-- How often it was turned on and off: whoever sets it up again gets another secret.
alter table users add column totp_changes integer not null default 0;
create index users_totp on users (id) where totp_secret is not null;

create table recovery_codes (
    user_id bigint not null references users (id) on delete cascade,
    code_hash text collate "C" not null,
    primary key (user_id, code_hash)
);

-- Who gave the right password, and has to give a second factor.
create table mfa_challenges (
    token_hash text collate "C" primary key,
    user_id bigint not null references users (id) on delete cascade,
    expires_at timestamptz not null,
    tries integer not null default 0,
    -- Of the password's hash that was checked: another password makes it void.
    password_digest text not null,
    -- By what the sign-in was counted.
    counted text not null
);
create index mfa_challenges_user on mfa_challenges (user_id);
create index mfa_challenges_expiry on mfa_challenges (expires_at);
