-- What all changes of a part of a card do: a comment, a step, a link.

-- Locks a live card of the project for a change of what hangs on it; gives its id.
create or replace function hold_part(project_ bigint, key_prefix_ text, card_ text) returns bigint language plpgsql as $$
declare
    id_ bigint := case when card_ ~ '^[0-9]{1,18}$' then card_::bigint else card_id(project_, key_prefix_, card_) end;
begin
    perform 1 from cards k where k.id = id_ and k.project_id = project_ and k.deleted_at is null for no key update;
    if not found then
        perform refuse(404, 'card not found');
    end if;
    return id_;
end
$$;

-- A fact about what hangs on a card, for its history. It names no text: that may be deleted.
create or replace function tell_part(project_ bigint, card_ bigint, actor_ bigint, event_type_ text) returns void language sql as $$
insert into card_history (project_id, card_id, user_id, event_type) values (project_, card_, actor_, event_type_)
$$;

-- Ends a change of what hangs on a locked card: its events, which show nothing that others may change meanwhile, and behind them
-- that of the card's own keys that changed with it.
create or replace function tell_card(
    c cards, key_prefix_ text, events_ new_event[], changes_ text[], actor_ bigint, client_ text
) returns text[] language plpgsql as $$
declare
    seqs bigint[];
begin
    seqs := take_seqs(
        array_fill('project:' || c.project_id, array[cardinality(events_) + (changes_ <> '{}')::integer])
    );
    if changes_ <> '{}' then
        events_ := events_ || row(
            'project:' || c.project_id, 'board.card_updated',
            card_updated_payload(changes_, card_json(c, key_prefix_)::text), entity('card', c.id)
        )::new_event;
    end if;
    return write_events(events_, actor_, client_, seqs);
end
$$;
