-- Checklists: steps added, written anew, ticked, moved and deleted. Planned like the changes of cards. The card is locked, and
-- with it all its steps. A step shows nobody, so its shape may come before its seq.

-- Where a step comes to stand among the others of a locked card: before the first with a greater position than this, or, for
-- null, at the end. `is_crowded`: too close to a neighbour for others to fit between.
create or replace function place_of_item(
    card_ bigint, item_ bigint, position_ double precision, out place double precision, out crowded boolean
) language plpgsql as $$
declare
    low double precision;
    high double precision;
begin
    select min(o.position) into high from card_checklist_items o
    where o.card_id = card_ and o.id is distinct from item_ and o.position > position_;
    select max(o.position) into low from card_checklist_items o
    where o.card_id = card_ and o.id is distinct from item_ and (high is null or o.position < high);
    place := case
        when high is null then coalesce(low, 0) + 1000
        when low is not null then low + (high - low) / 2
        when high > 0 then high / 2
        else high - 1000
    end;
    crowded := is_crowded(place, low, high);
end
$$;

-- Puts all steps of a locked card at 1000, 2000 … in the order of these ids; gives the event that tells of it.
create or replace function space_items(project_ bigint, card_ bigint, ids_ bigint[]) returns new_event language plpgsql as $$
begin
    update card_checklist_items i set position = 1000 * n.nth from unnest(ids_) with ordinality n (id, nth)
    where i.id = n.id and i.card_id = card_;
    return row(
        'project:' || project_, 'board.checklist_reordered',
        '{"card_id":' || card_ || ',"item_ids":' || to_json(ids_)::text || '}', entity('card', card_)
    )::new_event;
end
$$;

-- Ends a change of a step: its event, that of a new spacing where there was one, and the card's counters that changed.
create or replace function tell_item(
    c cards, key_prefix_ text, type_ text, payload_ text, item_ bigint, spaced_ new_event, changes_ text[], actor_ bigint, client_ text
) returns text[] language plpgsql as $$
declare
    told new_event[] := array[
        row('project:' || c.project_id, type_, payload_, entity(entity('card', c.id), 'item', item_))::new_event
    ];
begin
    if spaced_ is not null then
        told := told || spaced_;
    end if;
    return tell_card(c, key_prefix_, told, changes_, actor_, client_);
end
$$;

-- A new step; `most_`: as many as a card may have.
create or replace function create_checklist_item(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, body_ text, position_ double precision, most_ integer,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    prefix text;
    c cards;
    i card_checklist_items;
    spot record;
    spaced new_event;
begin
    prefix := require_writer(actor_, project_, need_);
    c.id := hold_part(project_, prefix, card_);
    spot := place_of_item(c.id, null, position_);
    insert into card_checklist_items (card_id, body, position) values (c.id, body_, spot.place) returning * into i;
    update cards k set checklist_total = k.checklist_total + 1 where k.id = c.id returning * into c;
    if c.checklist_total > most_ then
        perform refuse(422, 'a checklist has at most ' || most_ || ' items', '{"code":"too_many_items"}');
    end if;
    perform tell_part(project_, c.id, actor_, 'checklist_added');
    if spot.crowded then
        spaced := space_items(
            project_, c.id, array(select o.id from card_checklist_items o where o.card_id = c.id order by o.position, o.id)
        );
        select * into i from card_checklist_items o where o.id = i.id;
    end if;
    status := 201;
    answer := shape(i)::text;
    messages := tell_item(
        c, prefix, 'board.checklist_item_created', answer, i.id, spaced, array['checklist_total'], actor_, client_
    );
end
$$;

-- A step of a locked card.
create or replace function item_of(card_ bigint, item_ bigint) returns card_checklist_items language plpgsql as $$
declare
    i card_checklist_items;
begin
    select * into i from card_checklist_items k where k.id = item_ and k.card_id = card_;
    if i.id is null then
        perform refuse(404, 'checklist item not found');
    end if;
    return i;
end
$$;

-- Writes what was sent and differs: another text, done or not, another place. Nothing that differs is no event.
create or replace function update_checklist_item(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, item_ bigint, body_ text, is_completed_ boolean, position_ double precision,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    prefix text;
    c cards;
    old card_checklist_items;
    i card_checklist_items;
    spot record;
    crowded boolean := false;
    spaced new_event;
    changes text[] := '{}';
begin
    messages := '{}';
    prefix := require_writer(actor_, project_, need_);
    c.id := hold_part(project_, prefix, card_);
    old := item_of(c.id, item_);
    i := old;
    i.body := coalesce(body_, old.body);
    i.is_completed := coalesce(is_completed_, old.is_completed);
    if position_ is not null then
        spot := place_of_item(c.id, old.id, position_);
        -- The place that it has already is between the same neighbours.
        if exists (
            select 1 from card_checklist_items o
            where o.card_id = c.id and o.id <> old.id
                and (o.position between least(spot.place, old.position) and greatest(spot.place, old.position))
        ) then
            i.position := spot.place;
            crowded := spot.crowded;
        end if;
    end if;
    status := 200;
    if i is not distinct from old then
        answer := shape(old)::text;
        return;
    end if;
    update card_checklist_items k set
        body = i.body, is_completed = i.is_completed, position = i.position, updated_at = clock_timestamp()
    where k.id = i.id returning * into i;
    if i.is_completed <> old.is_completed then
        changes := array['checklist_done'];
        update cards k set checklist_done = k.checklist_done + case when i.is_completed then 1 else -1 end
        where k.id = c.id returning * into c;
        perform tell_part(
            project_, c.id, actor_, case when i.is_completed then 'checklist_completed' else 'checklist_reopened' end
        );
    else
        select * into c from cards k where k.id = c.id;
    end if;
    if crowded then
        spaced := space_items(
            project_, c.id, array(select o.id from card_checklist_items o where o.card_id = c.id order by o.position, o.id)
        );
        select * into i from card_checklist_items o where o.id = i.id;
    end if;
    answer := shape(i)::text;
    messages := tell_item(c, prefix, 'board.checklist_item_updated', answer, i.id, spaced, changes, actor_, client_);
end
$$;

create or replace function delete_checklist_item(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, item_ bigint,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    prefix text;
    c cards;
    i card_checklist_items;
begin
    prefix := require_writer(actor_, project_, need_);
    c.id := hold_part(project_, prefix, card_);
    i := item_of(c.id, item_);
    delete from card_checklist_items k where k.id = i.id;
    update cards k set
        checklist_total = k.checklist_total - 1, checklist_done = k.checklist_done - i.is_completed::integer
    where k.id = c.id returning * into c;
    perform tell_part(project_, c.id, actor_, 'checklist_removed');
    status := 204;
    answer := '';
    messages := tell_item(
        c, prefix, 'board.checklist_item_deleted', '{"id":' || i.id || ',"card_id":' || c.id || '}', i.id, null,
        array['checklist_total'] || case when i.is_completed then array['checklist_done'] else '{}' end, actor_, client_
    );
end
$$;

-- Puts all steps in the order given, which names each of them once. The order that they have is no event.
create or replace function reorder_checklist(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, ids_ bigint[],
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    prefix text;
    id_ bigint;
    present bigint[];
begin
    messages := '{}';
    prefix := require_writer(actor_, project_, need_);
    id_ := hold_part(project_, prefix, card_);
    present := array(select i.id from card_checklist_items i where i.card_id = id_ order by i.position, i.id);
    if exists (select 1 from unnest(ids_) w where w <> all(present)) then
        perform refuse(422, 'item_ids: not an item of this checklist', '{"fields":{"item_ids":"unknown"}}');
    end if;
    if (select count(distinct w) from unnest(ids_) w) < cardinality(ids_) then
        perform refuse(422, 'item_ids: an item stands there twice', '{"fields":{"item_ids":"conflicting"}}');
    end if;
    if cardinality(ids_) < cardinality(present) then
        perform refuse(422, 'item_ids: name all items', '{"fields":{"item_ids":"conflicting"}}');
    end if;
    if ids_ <> present then
        messages := record(array[space_items(project_, id_, ids_)], actor_, client_);
    end if;
    status := 200;
    answer := checklist_json(id_)::text;
end
$$;
