-- oldest program: 0.1
-- Outgoing webhooks: a project's events, sent to addresses that its owners name.

create table outgoing_webhooks (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    project_id bigint not null references projects (id),
    name text not null,
    url text not null,
    -- Types of events; * is all of them.
    events text[] not null,
    -- The secret is made of it and of the setting secret_key: a copy of the database signs nothing.
    salt bytea not null,
    is_enabled boolean not null default true,
    created_by_id bigint not null references users (id),
    -- The last seq that was dealt with, of which history, how often what follows it was tried, and when it is tried next.
    done bigint not null,
    epoch text not null,
    attempt integer not null default 0,
    due_at timestamptz not null default clock_timestamp(),
    -- Since when nothing is tried any more.
    parked_at timestamptz,
    -- The last try failed, or took long: those wait for each other, and for nobody else.
    is_slow boolean not null default false,
    -- The worker that delivers now, and until when it is believed to live.
    holder text,
    held_until timestamptz
);
create index outgoing_webhooks_project on outgoing_webhooks (project_id, id);
create index outgoing_webhooks_due on outgoing_webhooks (due_at) where is_enabled and parked_at is null;

-- A row for each try, and for what was passed over: the newest 50 of each webhook.
create table outgoing_deliveries (
    id bigint generated always as identity primary key,
    outgoing_id bigint not null references outgoing_webhooks (id) on delete cascade,
    seq bigint not null,
    attempt integer not null,
    tried_at timestamptz not null default clock_timestamp(),
    status integer,
    reason text not null,
    duration_ms integer not null,
    next_at timestamptz
);
create index outgoing_deliveries_newest on outgoing_deliveries (outgoing_id, id desc);
