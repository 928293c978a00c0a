-- What every change ends with: its events, numbered.
--
-- A change takes the seqs of its events (take_seq, take_seqs) when all else is locked and written, then shapes what they tell,
-- then writes them (write_event, write_events). Whatever another change told before is committed by then, and shown; what it
-- tells later is not. A shape made before would show an old name in an event behind the one that tells the new.

-- A refusal that the handler turns into its status: WD404 is a 404. `extra` holds the machine's keys beside "error".
create or replace function refuse(status_ integer, message_ text, extra_ json default null) returns void
language plpgsql as $$
begin
    raise exception using errcode = 'WD' || status_, message = message_, detail = coalesce(extra_::text, '');
end
$$;

-- One event to be recorded. Its entity is what it tells of: see entity().
create or replace function new_event(channel_ text, type_ text, payload_ json, entity_ text default null) returns new_event
language sql immutable as $$
select row(channel_, type_, payload_::text, entity_)::new_event
$$;

-- Takes seqs and writes a change's events, whose payloads show nothing that others change: seq n+1 … n+k in each channel, in
-- the order given. The last act of a change: the feeds' rows stay locked until the commit, so seq order is commit order without
-- holes. All channels in one call, locked in one order. An event that erases blanks what was told of its entity, and of what
-- stands below it, before.
-- Gives each event as the bus carries it: see bus_message.
create or replace function record(events_ new_event[], actor_ bigint, client_ text) returns text[]
language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    one new_event := events_[1];
begin
    if cardinality(events_) <> 1 or erases(one.type) then
        return record_by(
            events_, array_fill(actor_, array[cardinality(events_)]), array_fill(client_, array[cardinality(events_)])
        );
    end if;
    return write_event(take_seq(one.channel), one.channel, one.type, one.payload, one.entity, actor_, client_);
end
$$;

-- The next seq of one feed: see take_seqs. Without arrays and joins, and for functions that are planned like `record`: it has
-- no settings of its own, because to change them and back takes time in each call.
create or replace function take_seq(channel_ text) returns bigint language plpgsql as $$
declare
    seq_ bigint;
begin
    update feeds f set seq = f.seq + 1 where f.channel = channel_ returning f.seq into seq_;
    if seq_ is null then
        seq_ := (take_seqs(array[channel_]))[1];
    end if;
    return seq_;
end
$$;

-- Writes one event that erases nothing, under a seq that was taken. For functions that are planned like `record`.
create or replace function write_event(
    seq_ bigint, channel_ text, type_ text, payload_ text, entity_ text, actor_ bigint, client_ text
) returns text[] language plpgsql as $$
declare
    told text[];
begin
    if octet_length(payload_) > 1048576 then
        perform refuse(422, 'the change is too large for one event (1 MiB)');
    end if;
    insert into events as w (channel, seq, type, payload, actor_id, client_id, entity, created_at, actor)
    values (channel_, seq_, type_, payload_, actor_, client_, entity_, clock_timestamp(), guest(channel_, actor_))
    returning array[bus_message(w)] into told;
    return told;
end
$$;

-- The same as `record` for a group of changes: each event by its own actor and client.
create or replace function record_by(events_ new_event[], actors_ bigint[], clients_ text[]) returns text[]
language sql as $$
select write_events(events_, actors_, clients_, take_seqs(array(select e.channel from unnest(events_) e)))
$$;

-- Writes events under seqs that were taken, and blanks what they erase of those before them: it stands in the index between
-- their entity and "0", the byte after "/". Stored answers go with it. Its plans are made once a session and go by indexes: a feed may be empty at the
-- first call and hold millions at the last.
create or replace function write_events(events_ new_event[], actors_ bigint[], clients_ text[], seqs_ bigint[]) returns text[]
language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    told text[];
begin
    if exists (select 1 from unnest(events_) e where octet_length(e.payload) > 1048576) then
        perform refuse(422, 'the change is too large for one event (1 MiB)');
    end if;
    with written as (
        insert into events (channel, seq, type, payload, actor_id, client_id, entity, created_at, actor)
        select e.channel, e.seq, e.type, e.payload, e.actor, e.client, e.entity, clock_timestamp(),
            case when e.channel like 'project:%' then guest(e.channel, e.actor) end
        from unnest(events_, actors_, clients_, seqs_) with ordinality
        e (channel, type, payload, entity, actor, client, seq, place)
        order by e.place
        returning *
    )
    select array_agg(bus_message(w::events) order by w.channel, w.seq) into told from written w;
    if exists (select 1 from unnest(events_) e where erases(e.type)) then
        update events o set type = 'gone', payload = '{}'
        from unnest(events_, seqs_) e (channel, type, payload, entity, seq)
        where erases(e.type) and o.channel = e.channel and o.seq < e.seq and o.type <> 'gone'
            and o.entity >= e.entity and o.entity < e.entity || '0';
        perform erase_answers(events_);
    end if;
    return coalesce(told, '{}');
end
$$;

-- The next seqs of feeds, one for each time a channel is named, in the order given. Their rows stay locked until the commit,
-- and are locked in the order of their names; a feed that is missing is made. It joins nothing: whatever PostgreSQL believes
-- of the table's size, each feed is looked up once. The array of heads is a subquery of its own: made once, and not copied for
-- each place, which takes ten times as long for ten thousand feeds.
create or replace function take_seqs(channels_ text[]) returns bigint[] language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    seqs bigint[];
begin
    if cardinality(channels_) = 1 then
        update feeds f set seq = f.seq + 1 where f.channel = channels_[1] returning array[f.seq] into seqs;
        if seqs is not null then
            return seqs;
        end if;
    end if;
    with numbered as (
        select
            c.channel, c.place, dense_rank() over (order by c.channel) as feed,
            row_number() over (partition by c.channel order by c.place desc) - 1 as after
        from (
            select n.channel collate "C" as channel, n.place from unnest(channels_) with ordinality n (channel, place)
        ) c
    ), heads as (
        insert into feeds as f (channel, seq)
        select n.channel, count(*) from numbered n group by n.channel order by n.channel
        on conflict (channel) do update set seq = f.seq + excluded.seq
        returning f.channel, f.seq
    )
    select array_agg((array(select h.seq from heads h order by h.channel))[n.feed] - n.after order by n.place) into seqs
    from numbered n;
    return seqs;
end
$$;

-- The same for one actor.
create or replace function write_events(events_ new_event[], actor_ bigint, client_ text, seqs_ bigint[]) returns text[]
language sql as $$
select write_events(
    events_, array_fill(actor_, array[cardinality(events_)]), array_fill(client_, array[cardinality(events_)]), seqs_
)
$$;

-- `record` and `write_events` for changes written in Python, which hold their events as columns.
create or replace function record_each(
    channels_ text[], types_ text[], payloads_ text[], entities_ text[], actor_ bigint, client_ text
) returns text[] language sql as $$
select record(
    array(
        select row(e.channel, e.type, e.payload, e.entity)::new_event
        from unnest(channels_, types_, payloads_, entities_) with ordinality e (channel, type, payload, entity, place)
        order by e.place
    ), actor_, client_
)
$$;

create or replace function write_each(
    channels_ text[], seqs_ bigint[], types_ text[], payloads_ text[], entities_ text[], actor_ bigint, client_ text
) returns text[] language sql as $$
select write_events(
    array(
        select row(e.channel, e.type, e.payload, e.entity)::new_event
        from unnest(channels_, types_, payloads_, entities_) with ordinality e (channel, type, payload, entity, place)
        order by e.place
    ), actor_, client_, seqs_
)
$$;

-- Finds out where this session's server writes, and gives the epoch; the session remembers both. When the row tells of another place, or was written by
-- anybody else, history may have forked: it gets a new lineage, and with it a new epoch, before a single head is read of it.
-- Those who look at the same moment wait for the first here, and then read what it wrote. A standby cannot say where it
-- writes, so it refuses (55000). What is in another cluster or database is another installation: a copy, or one restored.
-- Never below a savepoint: `written` is the transaction's own number.
create or replace function find_history() returns text language plpgsql as $$
declare
    here text;
begin
    select c.system_identifier || '/' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) || '/' || d.oid into here
    from pg_control_system() c, pg_database d
    where d.datname = current_database();
    perform set_config('warmdesk.place', here, false);
    if exists (select 1 from install i where i.place <> here or i.written <> i.xmin) then
        perform 1 from install for update;
        update install i set
            id = case
                when split_part(i.place, '/', 1) = split_part(here, '/', 1)
                and split_part(i.place, '/', 3) = split_part(here, '/', 3) then i.id
                else gen_random_uuid()
            end,
            place = here,
            lineage = gen_random_uuid(),
            written = pg_current_xact_id()::xid
        where i.place <> here or i.written <> i.xmin;
        if found then
            update install i set epoch = substr(md5(i.id::text || i.place || i.lineage), 1, 12);
        end if;
    end if;
    return set_config('warmdesk.epoch', (select i.epoch from install i), false);
end
$$;

-- Somebody saw more of this history than there is: it went back without a sign, as when a disk did. Gives the epoch, which is
-- another one than `known`.
create or replace function renew_history(known_ text) returns text language plpgsql as $$
begin
    update install i set written = '0' where i.epoch = known_;
    return find_history();
end
$$;
