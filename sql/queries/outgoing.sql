-- name: all -> value
-- The outgoing webhooks of a project by id, as one JSON array.
select coalesce(array_to_json(array_agg(shape(w) order by w.id)), '[]')::text
from outgoing_webhooks as w
where w.project_id = :project_id::bigint;

-- name: count -> value
-- How many a project has.
select count(*) from outgoing_webhooks as w where w.project_id = :project_id::bigint;

-- name: create -> value, by key
-- A new one, which begins behind the last event there is; gives its id.
insert into outgoing_webhooks (project_id, name, url, events, salt, is_enabled, created_by_id, done, epoch)
values (
    :project_id::bigint, :name::text, :url::text, :events::text[], :salt::bytea, :enabled::boolean, :actor::bigint,
    coalesce((select f.seq from feeds as f where f.channel = 'project:' || :project_id::bigint), 0), epoch()
)
returning id;

-- name: one -> value, by key
-- One of this project as JSON text.
select shape(w)::text from outgoing_webhooks as w where w.id = :id::bigint and w.project_id = :project_id::bigint;

-- name: change -> one, by key
-- Changes what is given. What waits to be tried again is tried at once: the cause may be gone.
update outgoing_webhooks set
    name = coalesce(:name::text, name),
    url = coalesce(:url::text, url),
    events = coalesce(:events::text[], events),
    is_enabled = coalesce(:enabled::boolean, is_enabled),
    attempt = case when :url::text is not null or :enabled::boolean is not null then 0 else attempt end,
    due_at = case
        when :url::text is not null or :enabled::boolean is not null then least(due_at, clock_timestamp()) else due_at
    end
where id = :id::bigint and project_id = :project_id::bigint
returning shape(outgoing_webhooks)::text as json;

-- name: delete -> one, by key
-- Deletes one of this project, with its log.
delete from outgoing_webhooks where id = :id::bigint and project_id = :project_id::bigint returning id;

-- name: forget -> nothing, by key
-- The answers that are kept for keys and show a secret that is dead are a refusal from now on.
update idempotency_keys as k set status = 410, answer = '{"error":"what was made with this key is deleted","code":"deleted"}'
where k.about @> array['project:' || :project_id::bigint || ' outgoing_webhook:' || :id::bigint] and k.status < 300;

-- name: deliveries -> value, by key
-- The newest 50 tries of one of this project, the newest first, as one JSON array; null when there is no such webhook.
select (
    select coalesce(array_to_json(array_agg(n.shown order by n.id desc)), '[]')::text
    from (
        select d.id, shape(d) as shown from outgoing_deliveries as d
        where d.outgoing_id = w.id
        order by d.id desc
        limit 50
    ) as n
) as items
from outgoing_webhooks as w
where w.id = :id::bigint and w.project_id = :project_id::bigint;

-- name: head -> value, by key
-- The seq of a project's last event.
select coalesce(max(f.seq), 0) from feeds as f where f.channel = 'project:' || :project_id::bigint;

-- name: replay -> one, by key
-- Begins again behind `since`, at once, also what was parked.
update outgoing_webhooks set
    done = :since::bigint, epoch = epoch(), attempt = 0, parked_at = null, due_at = clock_timestamp()
where id = :id::bigint and project_id = :project_id::bigint
returning id;

-- name: waiting -> many
-- The projects that have one which is not parked.
select distinct w.project_id from outgoing_webhooks as w where w.is_enabled and w.parked_at is null;

-- name: claim -> many
-- Takes those that have something to deliver, the longest due first: nobody else delivers for them as long as the lease is
-- kept. Those that were slow are claimed apart. Who is claimed already by a worker that lives is passed over.
with free as (
    select w.id
    from outgoing_webhooks as w
    inner join feeds as f on f.channel = 'project:' || w.project_id
    where
        w.is_enabled and w.parked_at is null and w.due_at <= clock_timestamp()
        and (w.held_until is null or w.held_until < clock_timestamp())
        and (f.seq <> w.done or w.epoch <> epoch())
        and w.is_slow = :slow::boolean
    order by w.due_at
    limit :limit::integer
    for no key update of w skip locked
)

update outgoing_webhooks as w set
    holder = :holder::text, held_until = clock_timestamp() + make_interval(secs => :seconds::double precision)
from free
where w.id = free.id
returning w.id;

-- name: keep -> nothing, by key
-- Keeps the leases of a worker.
update outgoing_webhooks set held_until = clock_timestamp() + make_interval(secs => :seconds::double precision)
where id = any(:ids::bigint[]) and holder = :holder::text;

-- name: release -> many, by key
-- Gives one back, behind all that are due already; whether there is something to deliver.
update outgoing_webhooks as w set
    holder = null, held_until = null, due_at = greatest(w.due_at, clock_timestamp())
where w.id = :id::bigint and w.holder = :holder::text
returning
    w.is_enabled and w.parked_at is null and w.due_at <= clock_timestamp() + interval '1 ms'
    and w.done < (select f.seq from feeds as f where f.channel = 'project:' || w.project_id) as more;

-- name: next -> many
-- What follows for one that is held: the next event of those it wants, as the feed shows it now, and how far was looked.
-- No row when it is to be left alone.
select
    w.url, w.salt, w.done, w.attempt, w.epoch as known, f.seq as head, f.oldest, epoch() as epoch,
    looked.upto, found.seq, found.envelope
from outgoing_webhooks as w
inner join feeds as f on f.channel = 'project:' || w.project_id
cross join lateral (
    select max(s.seq) as upto
    from (
        select e.seq from events as e
        where e.channel = f.channel and e.seq > w.done
        order by e.seq limit 500
    ) as s
) as looked
left join lateral (
    select e.seq, envelope(e) as envelope from events as e
    where
        e.channel = f.channel and e.seq > w.done and e.seq <= looked.upto
        and ('*' = any(w.events) or e.type = any(w.events))
    order by e.seq limit 1
) as found on true
where
    w.id = :id::bigint and w.holder = :holder::text
    and w.is_enabled and w.parked_at is null and w.due_at <= clock_timestamp();

-- name: pass_over -> nothing, by key
-- What is up to `done` interests nobody.
update outgoing_webhooks set done = :done::bigint
where id = :id::bigint and holder = :holder::text and done = :was::bigint;

-- name: note -> value, by key
-- Writes one try down, or what was passed over, and goes on behind `done`, or waits, or parks. Whether it was still where it
-- was: somebody may have replayed, or changed the `url` that was tried, and another worker may have taken it over. All but the
-- newest 50 lines go.
with moved as (
    update outgoing_webhooks as w set
        done = :done::bigint, epoch = coalesce(:epoch::text, w.epoch), attempt = :attempt::integer, is_slow = :slow::boolean,
        due_at = clock_timestamp() + make_interval(secs => coalesce(:wait::double precision, 0)),
        parked_at = case when :parked::boolean then clock_timestamp() end
    where
        w.id = :id::bigint and w.holder = :holder::text and w.done = :was::bigint
        and (:url::text is null or w.url = :url::text)
    returning w.id, w.due_at
), written as (
    insert into outgoing_deliveries (outgoing_id, seq, attempt, status, reason, duration_ms, next_at)
    select
        w.id, :seq::bigint, :tried::integer, :status::integer, :reason::text, :duration::integer,
        case when :wait::double precision is not null then (select m.due_at from moved as m) end
    from outgoing_webhooks as w
    where w.id = :id::bigint
), gone as (
    delete from outgoing_deliveries as d
    where d.outgoing_id = :id::bigint and d.id <= (
        select o.id from outgoing_deliveries as o
        where o.outgoing_id = :id::bigint
        order by o.id desc limit 1 offset 49
    )
)

select exists(select 1 from moved);
