create type webhook_shape as (
    id bigint, project_id bigint, name text, type text, token_hint text, has_secret boolean, enabled boolean,
    last_delivery_at text, last_status integer, created_by_id bigint, created_at text
);

-- A webhook, to those who manage it: without its secret.
create or replace function shape(w project_webhooks) returns json language sql stable as $$
select row_to_json(row(
    w.id, w.project_id, w.name, w.type, w.token_hint, w.secret is not null, w.is_enabled,
    iso(w.last_delivery_at), w.last_status, w.created_by_id, iso(w.created_at)
)::webhook_shape)
$$;

create type webhook_delivery_shape as (
    id bigint, delivery_id text, event text, received_at text, status integer, reason text, linked integer, posted boolean,
    can_redeliver boolean
);

-- A delivery to a webhook.
create or replace function shape(d webhook_deliveries) returns json language sql stable as $$
select row_to_json(row(
    d.id, d.delivery_id, d.event, iso(d.received_at), d.status, d.reason, d.linked, d.message_id is not null,
    d.status >= 400 and exists (select 1 from webhook_bodies b where b.delivery_id = d.id)
)::webhook_delivery_shape)
$$;
