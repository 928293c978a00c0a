-- name: all -> value
-- The webhooks of a project by id, as one JSON array.
select coalesce(array_to_json(array_agg(shape(w) order by w.id)), '[]')::text
from project_webhooks as w
where w.project_id = :project_id::bigint and w.deleted_at is null;

-- name: count -> value
-- How many webhooks a project has.
select count(*) from project_webhooks as w where w.project_id = :project_id::bigint and w.deleted_at is null;

-- name: create -> value, by key
-- A new webhook; gives its id.
insert into project_webhooks (project_id, name, type, token_hash, token_hint, secret, created_by_id)
values (
    :project_id::bigint, :name::text, :type::text, :token_hash::bytea, :token_hint::text, :secret::text, :actor::bigint
)
returning id;

-- name: one -> value, by key
-- A webhook of this project as JSON text.
select shape(w)::text from project_webhooks as w
where w.id = :id::bigint and w.project_id = :project_id::bigint and w.deleted_at is null;

-- name: change -> nothing, by key
-- Another name or secret for a webhook of this project, or on and off.
update project_webhooks set
    name = coalesce(:name::text, name),
    secret = case when :new_secret::boolean then :secret::text else secret end,
    is_enabled = coalesce(:enabled::boolean, is_enabled)
where id = :id::bigint and project_id = :project_id::bigint and deleted_at is null;

-- name: renew -> one, by key
-- Another token for a webhook of this project.
update project_webhooks set token_hash = :token_hash::bytea, token_hint = :token_hint::text
where id = :id::bigint and project_id = :project_id::bigint and deleted_at is null
returning id, type;

-- name: delete -> one, by key
-- Deletes a webhook of this project: its token is dead, its secret gone.
update project_webhooks set deleted_at = clock_timestamp(), secret = null
where id = :id::bigint and project_id = :project_id::bigint and deleted_at is null
returning id;

-- name: forget_token -> nothing, by key
-- The answers that are kept for keys and show a token that is dead are a refusal from now on.
update idempotency_keys as k set status = 410, answer = '{"error":"what was made with this key is deleted","code":"deleted"}'
where k.about @> array['project:' || :project_id::bigint || ' webhook:' || :id::bigint] and k.status < 300;

-- name: deliveries -> value
-- The newest 50 deliveries to a webhook of this project, the newest first, as one JSON array.
select (
    select coalesce(array_to_json(array_agg(n.shown order by n.received_at desc, n.id desc)), '[]')::text
    from (
        select d.id, d.received_at, shape(d) as shown
        from webhook_deliveries as d
        where d.webhook_id = w.id
        order by d.received_at desc, d.id desc
        limit 50
    ) as n
) as items
from project_webhooks as w
where w.id = :id::bigint and w.project_id = :project_id::bigint and w.deleted_at is null;

-- name: of_token -> one, by key
-- The webhook that a token is of.
select w.id, w.project_id, w.type, w.secret, w.is_enabled, p.is_archived
from project_webhooks as w
inner join projects as p on p.id = w.project_id
where w.token_hash = :token_hash::bytea and w.deleted_at is null;

-- name: failed -> one, by key
-- A delivery of this project, with the webhook and what came; the webhook is locked, as for a delivery.
select
    w.id as webhook_id, w.type, w.secret, w.is_enabled,
    d.id, d.delivery_id, d.event, d.status, b.host, b.is_form, b.proofs, b.body
from project_webhooks as w
inner join webhook_deliveries as d on d.webhook_id = w.id
left join webhook_bodies as b on b.delivery_id = d.id
where w.project_id = :project_id::bigint and w.id = :webhook_id::bigint and d.id = :id::bigint and w.deleted_at is null
for no key update of w;

-- name: delivery -> value, by key
-- One delivery as JSON text.
select shape(d)::text from webhook_deliveries as d where d.id = :id::bigint;

-- name: take -> one, by key
-- Takes one delivery in: see take_delivery in sql/changes/webhooks.sql.
select status, answer, messages
from take_delivery(
    :webhook_id::bigint, :token_hash::bytea, :delivery_id::text, :attempt::text, :event::text, :refusal::integer, :reason::text,
    :line::text, :bot_name::text,
    :platform::text, :link_type::text, :link_status::text, :repo_name::text, :told_at::timestamptz,
    :titles::text[], :urls::text[], :refs::text[], :authors::text[], :are_sure::boolean,
    :things::integer[], :prefixes::text[], :numbers::integer[],
    :host::text, :is_form::boolean, :proofs::text[], :body::bytea, :told_twice::boolean
);
