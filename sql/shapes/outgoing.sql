create type outgoing_webhook_shape as (
    id bigint, project_id bigint, name text, url text, events text[], enabled boolean, state text, seq bigint,
    next_at text, created_by_id bigint, created_at text
);

-- An outgoing webhook, to those who manage it.
create or replace function shape(w outgoing_webhooks) returns json language sql stable as $$
select row_to_json(row(
    w.id, w.project_id, w.name, w.url, w.events, w.is_enabled,
    case when w.parked_at is not null then 'parked' when w.attempt > 0 then 'retrying' else 'ok' end,
    w.done, case when w.attempt > 0 and w.parked_at is null then iso(w.due_at) end, w.created_by_id, iso(w.created_at)
)::outgoing_webhook_shape)
$$;

create type outgoing_delivery_shape as (
    seq bigint, webhook_id text, attempt integer, tried_at text, status integer, reason text, duration_ms integer, next_at text
);

-- One try to deliver an event; its webhook_id is what the receiver knows it by.
create or replace function shape(d outgoing_deliveries) returns json language sql stable as $$
select row_to_json(row(
    d.seq, d.outgoing_id || '.' || d.seq, d.attempt, iso(d.tried_at), d.status, d.reason, d.duration_ms, iso(d.next_at)
)::outgoing_delivery_shape)
$$;
