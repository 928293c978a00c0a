-- oldest program: 0.1
-- The numbered events of each channel. Taking a seq locks the feed's row until the commit: seq order is commit order.

create table install (
    single boolean primary key default true check (single),
    id uuid not null default gen_random_uuid()
);
insert into install default values;

create table feeds (
    channel text collate "C" primary key,
    seq bigint not null default 0,
    oldest bigint not null default 1
);

create table events (
    channel text collate "C" not null,
    seq bigint not null,
    type text not null,
    payload text not null,
    actor_id bigint,
    client_id text,
    entity text,
    created_at timestamptz not null,
    primary key (channel, seq)
);
create index events_entity on events (channel, entity) where entity is not null;

create table idempotency_keys (
    user_id bigint not null,
    path text not null,
    key text not null,
    body_hash text not null,
    status integer,
    answer text,
    created_at timestamptz not null default now(),
    primary key (user_id, path, key)
);
create index idempotency_keys_age on idempotency_keys (created_at);

create type new_event as (channel text, type text, payload text, entity text);
