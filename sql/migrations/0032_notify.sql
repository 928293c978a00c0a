-- oldest program: 0.1
-- Which kinds of notifications somebody wants, and whether by mail: what differs from the usual. And an index to the mails that are
-- wanted.

alter table users add column notify jsonb not null default '{}';
create index notifications_wanted on notifications (created_at) where wants_mail;
