-- oldest program: 0.1
-- Comments: what people write on a card.

create table card_comments (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    deleted_at timestamptz,
    project_id bigint not null references projects (id),
    card_id bigint not null references cards (id) on delete cascade,
    user_id bigint not null references users (id),
    body text not null,
    is_edited boolean not null default false,
    version integer not null default 1
);
create index card_comments_card on card_comments (card_id, id) where deleted_at is null;
create index card_comments_project on card_comments (project_id, id desc);
insert into shows_users (table_name, user_column, newest_by) values ('card_comments', 'user_id', 'id');
