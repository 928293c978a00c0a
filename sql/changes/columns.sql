-- Deletes a column. Its cards go behind those of the column `target_`, in their order, each with its own event; without one it
-- must be empty. Planned like the changes of cards.
--
-- However many cards there are, they are shaped a thousand at a time. The bus is given the events of `most_` cards, or else
-- the last event alone: rooms then read the others from the feed, a page at a time.
create or replace function delete_column(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer, project_ bigint, column_ bigint, target_ bigint,
    most_ integer, out messages text[], out moved integer
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    channel_ text := 'project:' || project_;
    present_ integer;
    ids bigint[];
    count_ integer;
    before_ bigint;
    first_ integer := 1;
    told text[];
    guest_ text;
begin
    perform require_role(actor_, project_, need_, counting_ => true);
    guest_ := guest(channel_, actor_);
    perform 1 from columns k where k.project_id = project_ and k.deleted_at is null order by k.id for no key update;
    select k.version into present_ from columns k
    where k.id = column_ and k.project_id = project_ and k.deleted_at is null;
    if present_ is null then
        perform refuse(404, 'column not found');
    end if;
    if version_ <> present_ then
        perform require_version(version_, present_, conflict_status_, 'column', column_json(column_));
    end if;
    if target_ = column_ or (target_ is not null and not exists (
        select 1 from columns k where k.id = target_ and k.project_id = project_ and k.deleted_at is null
    )) then
        perform refuse(422, 'move_to: not another column of this project', '{"fields":{"move_to":"unknown"}}');
    end if;
    if not exists (select 1 from columns k where k.project_id = project_ and k.deleted_at is null and k.id <> column_) then
        perform refuse(422, 'a project keeps at least one column', '{"code":"last_column"}');
    end if;
    perform 1 from cards c where c.column_id = column_ and c.deleted_at is null order by c.id for no key update;
    ids := array(select c.id from cards c where c.column_id = column_ and c.deleted_at is null order by c.position, c.id);
    count_ := cardinality(ids);
    moved := count_;
    if count_ > 0 and target_ is null then
        perform refuse(409, 'column has cards, move them first', '{"code":"column_not_empty"}');
    end if;
    if count_ > 0 then
        with moved as (
            update cards c set
                column_id = target_, position = n.place, version = c.version + 1, updated_at = clock_timestamp()
            from (
                select i.id, 1000 * i.nth + coalesce(
                    (select max(o.position) from cards o where o.column_id = target_ and o.deleted_at is null), 0
                ) as place
                from unnest(ids) with ordinality i (id, nth)
            ) n
            where c.id = n.id
            returning c.id, c.position
        )
        insert into card_history (project_id, card_id, user_id, event_type, from_column_id, to_column_id)
        select project_, m.id, actor_, 'column_move', column_, target_ from moved m order by m.position;
    end if;
    update columns k set deleted_at = clock_timestamp(), version = k.version + 1, updated_at = clock_timestamp()
    where k.id = column_;
    before_ := take_seq(channel_) - 1;
    update feeds f set seq = f.seq + count_ where f.channel = channel_;
    messages := '{}';
    while first_ <= count_ loop
        with written as (
            insert into events (channel, seq, type, payload, actor_id, client_id, entity, created_at, actor)
            select
                channel_, before_ + first_ - 1 + n.nth, 'board.card_moved',
                card_moved_payload(c, j.card ->> 'key', column_, j.card), actor_, client_, entity('card', c.id), clock_timestamp(),
                guest_
            from unnest(ids[first_ : first_ + 999]) with ordinality n (id, nth)
            inner join cards_json(ids[first_ : first_ + 999]) j on j.id = n.id
            inner join cards c on c.id = n.id
            order by n.nth
            returning *
        )
        select array_agg(bus_message(w::events) order by w.seq) into told from written w where count_ <= most_;
        messages := messages || told;
        first_ := first_ + 1000;
    end loop;
    messages := messages || write_events(
        array[row(
            channel_, 'board.column_deleted', '{"column_id":' || column_ || '}', entity('column', column_)
        )::new_event],
        actor_, client_, array[before_ + count_ + 1]
    );
end
$$;
