-- name: record -> value, by key
-- Writes events and gives their bus messages.
select record_each(:channels::text[], :types::text[], :payloads::text[], :entities::text[], :actor::bigint, :client::text);

-- name: take -> value, by key
-- The next seqs of feeds, which stay locked: what is shaped from now on is true at its seq. See take_seqs.
select take_seqs(:channels::text[]);

-- name: write -> value, by key
-- Writes events under seqs that were taken and gives their bus messages.
select write_each(
    :channels::text[], :seqs::bigint[], :types::text[], :payloads::text[], :entities::text[], :actor::bigint, :client::text
);

-- name: heads -> many
-- The heads and floors of feeds, and in every row the epoch and the time of day; always at least one row. A channel without
-- events has none of its own.
select e.epoch, e.moment, f.channel, f.seq, f.oldest
from (select epoch() as epoch, clock_timestamp() as moment) as e
left join feeds as f on f.channel = any(:channels::text[]);

-- name: after -> one
-- A page of a feed after a seq, with head, floor and epoch, all of one moment; it ends after about 1 MiB. Where it ends is
-- known before any envelope is made: how long a payload is stands beside it, and its text is not read for that.
select
    coalesce(f.seq, 0) as seq,
    coalesce(f.oldest, 1) as oldest,
    epoch() as epoch,
    page.seqs,
    page.types,
    page.entities,
    page.envelopes
from (select :channel::text as channel) as c
left join feeds as f on f.channel = c.channel
cross join lateral (
    select max(p.seq) filter (where p.before < 1048576) as upto
    from (
        select q.seq, sum(q.octets) over (order by q.seq) - q.octets as before
        from (
            select e.seq, octet_length(e.payload) + 256 as octets
            from events as e
            where e.channel = c.channel and e.seq > :since::bigint
            order by e.seq
            limit :limit::integer
        ) as q
    ) as p
) as cut
cross join lateral (
    select
        coalesce(array_agg(e.seq order by e.seq), '{}') as seqs,
        coalesce(array_agg(e.type order by e.seq), '{}') as types,
        coalesce(array_agg(told_of(e) order by e.seq), '{}') as entities,
        coalesce(array_agg(envelope(e) order by e.seq), '{}') as envelopes
    from events as e
    where e.channel = c.channel and e.seq > :since::bigint and e.seq <= cut.upto
) as page;

-- name: with_head -> one, by key
-- What a read becomes whose answer says where in a feed it stands: its own row, and the feed's head and epoch of the same moment.
-- See warmdesk/db/heads.py, which puts the read where `values` stands.
select
    answer.*,
    coalesce((select f.seq from feeds as f where f.channel = :channel::text), 0) as head_seq,
    epoch() as head_epoch
from (values ('read')) as answer;

-- name: epoch -> value, by key
select epoch();

-- name: renew_epoch -> value, by key
-- Another epoch than `known`, the same for all who ask.
select renew_history(:known::text);

-- name: oldest_due -> many
-- Feeds whose oldest events are past their time, with the seq up to which they may go: a prefix, at most `batch` long. The
-- first event too young ends it, so no hole can come. In the order in which changes lock feeds. `lateral` with a limit: one look
-- at each feed's first event, and never at all events.
select
    f.channel,
    f.oldest,
    (
        select coalesce(min(e.seq) filter (where e.created_at >= now() - :age::interval) - 1, max(e.seq))
        from (
            select p.seq, p.created_at from events as p
            where p.channel = f.channel and p.seq >= f.oldest
            order by p.seq limit :batch
        ) as e
    ) as upto
from feeds as f
cross join lateral (
    select e.created_at from events as e where e.channel = f.channel and e.seq = f.oldest limit 1
) as first
where f.seq >= f.oldest and first.created_at < now() - :age::interval
order by f.channel
limit 100;

-- name: trim -> value, by key
-- Takes a prefix away: the floor is raised in the same statement as the rows go. Gives how many went.
with raised as (
    update feeds set oldest = :upto::bigint + 1 where channel = :channel and oldest <= :upto::bigint returning channel
), gone as (
    delete from events using raised where events.channel = raised.channel and events.seq <= :upto::bigint returning 1
)
select count(*) from gone;

-- name: may_trim -> value, by key
-- Takes the lock of the one process that trims, until the transaction ends.
select pg_try_advisory_xact_lock(x'77645452'::integer);
