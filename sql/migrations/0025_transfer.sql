-- oldest program: 0.1
-- Cards that went to another project: their keys of before lead to them still.

create table card_key_aliases (
    key_prefix text collate "C" not null,
    card_number integer not null,
    card_id bigint not null references cards (id) on delete cascade,
    primary key (key_prefix, card_number)
);
create index card_key_aliases_card on card_key_aliases (card_id);

-- Deleted comments go along.
create index card_comments_deleted on card_comments (card_id) where deleted_at is not null;
