-- oldest program: 0.1
-- Mails that wait for the mail server, and the tokens by which a forgotten password is set anew.

create table mails (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    kind text not null,
    -- To whom: an account, whose address is read when it is sent; or an address that somebody typed, perhaps nobody's.
    user_id bigint references users (id) on delete cascade,
    address text,
    -- What it is about; it is read when it is sent, so what is gone until then is not mailed.
    notification_ids bigint[] not null default '{}',
    -- Before all others: somebody waits for it.
    urgent boolean not null default false,
    -- Who takes it makes it due later, and so has it alone until then.
    due_at timestamptz not null default clock_timestamp(),
    takes integer not null default 0,
    failures integer not null default 0
);
create index mails_due on mails (urgent desc, due_at);
create index mails_user on mails (user_id) where user_id is not null;
create index mails_created on mails (created_at);

create table password_resets (
    token_hash text primary key,
    created_at timestamptz not null default clock_timestamp(),
    user_id bigint not null references users (id) on delete cascade,
    expires_at timestamptz not null
);
create index password_resets_user on password_resets (user_id);
create index password_resets_expiry on password_resets (expires_at);
