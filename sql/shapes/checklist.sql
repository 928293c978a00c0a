create type checklist_item_shape as (
    id bigint, card_id bigint, body text, is_completed boolean, position double precision, created_at text, updated_at text
);

-- A step of a card, everywhere.
create or replace function shape(i card_checklist_items) returns json language sql stable as $$
select row_to_json(row(
    i.id, i.card_id, i.body, i.is_completed, i.position, iso(i.created_at), iso(i.updated_at)
)::checklist_item_shape)
$$;

-- All steps of a card, in order.
create or replace function checklist_json(card_ bigint) returns json language sql stable as $$
select coalesce(array_to_json(array_agg(shape(i) order by i.position, i.id)), '[]')
from card_checklist_items i where i.card_id = card_
$$;
