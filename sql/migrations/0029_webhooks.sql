-- oldest program: 0.1
-- Webhooks: what other programs tell a project's chat and its cards.

create table project_webhooks (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    project_id bigint not null references projects (id),
    name text not null,
    type text not null check (type in ('generic', 'github', 'gitlab', 'gitea', 'forgejo')),
    token_hash bytea not null unique,
    token_hint text not null,
    -- As it is: what a host signs is checked with it.
    secret text,
    is_enabled boolean not null default true,
    last_delivery_at timestamptz,
    last_status integer,
    created_by_id bigint not null references users (id),
    -- Its row stays until its last delivery is old: there may be more than one statement can take away.
    deleted_at timestamptz
);
create index project_webhooks_project on project_webhooks (project_id, id) where deleted_at is null;
create index project_webhooks_deleted on project_webhooks (deleted_at) where deleted_at is not null;

-- A row for each name of a delivery; one that failed is written anew when it comes again. `attempt` is of the request that wrote it.
create table webhook_deliveries (
    id bigint generated always as identity primary key,
    webhook_id bigint not null references project_webhooks (id),
    delivery_id text not null,
    attempt text not null,
    event text not null,
    received_at timestamptz not null default clock_timestamp(),
    status integer not null,
    reason text not null default '',
    linked integer not null default 0,
    message_id bigint,
    unique (webhook_id, delivery_id)
);
create index webhook_deliveries_newest on webhook_deliveries (webhook_id, received_at desc, id desc);
create index webhook_deliveries_age on webhook_deliveries (received_at);

-- The newest that failed, so that it can be delivered again. `proofs` are the signatures that came with it.
create table webhook_bodies (
    delivery_id bigint primary key references webhook_deliveries (id) on delete cascade,
    webhook_id bigint not null references project_webhooks (id),
    kept_at timestamptz not null default clock_timestamp(),
    host text not null,
    is_form boolean not null,
    proofs text[] not null,
    body bytea not null
);
create index webhook_bodies_newest on webhook_bodies (webhook_id, kept_at desc);

-- When the host changed what a link leads to: deliveries come late, and in any order.
alter table card_links add column told_at timestamptz;
