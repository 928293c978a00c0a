-- oldest program: 0.1
-- Time that people log, by a comment on a card or by itself. What a card shows is the sum of its entries and what was put right
-- by hand (manual_minutes).

create table time_entries (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    user_id bigint not null references users (id),
    project_id bigint references projects (id),
    card_id bigint references cards (id) on delete set null,
    comment_id bigint references card_comments (id) on delete set null,
    date date not null,
    minutes integer not null check (minutes between 1 and 1440),
    description text not null default '',
    start_time time,
    end_time time
);
create index time_entries_user on time_entries (user_id, date desc, id desc);
create index time_entries_project on time_entries (project_id, id desc);
create index time_entries_card on time_entries (card_id);
create unique index time_entries_comment on time_entries (comment_id) where comment_id is not null;

alter table card_comments add column time_spent_minutes integer not null default 0;
insert into shows_users (table_name, user_column, newest_by) values ('time_entries', 'user_id', 'id');
