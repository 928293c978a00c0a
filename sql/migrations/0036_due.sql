-- oldest program: 0.1
-- Due dates: who was reminded of which, and calendars that show one's own.

create table reminders (
    card_id bigint not null references cards (id) on delete cascade,
    user_id bigint not null references users (id),
    -- The date that the card was due, not the day of the reminder: another date reminds anew.
    date date not null,
    kind text not null check (kind in ('before', 'day')),
    primary key (card_id, user_id, date, kind)
);
create index reminders_user on reminders (user_id);
create index reminders_date on reminders (date);
create index cards_due on cards (due_date, id)
where due_date is not null and not closed and archived_at is null and deleted_at is null;

-- When a job was last begun that one of all workers does at a time.
create table turns (
    name text primary key,
    at timestamptz not null
);

-- The token of a calendar's address is not kept, only its SHA-256.
create table calendars (
    user_id bigint primary key references users (id),
    created_at timestamptz not null default clock_timestamp(),
    token_hash text collate "C" not null unique
);
