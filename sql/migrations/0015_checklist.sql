-- oldest program: 0.1
-- Checklists: the steps of a card.

create table card_checklist_items (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    card_id bigint not null references cards (id) on delete cascade,
    body text not null,
    is_completed boolean not null default false,
    position double precision not null
);
create index card_checklist_items_card on card_checklist_items (card_id, position, id);
