-- oldest program: 0.1
-- Mails with the link of an invitation: which one each is of, and what became of it.

alter table mails add column invitation_id bigint references invitations (id) on delete cascade;
create unique index mails_invitation on mails (invitation_id) where invitation_id is not null;

alter table invitations add column mailed_at timestamptz;
alter table invitations add column mail_failed boolean not null default false;
-- How many mails were asked for.
alter table invitations add column letters integer not null default 0;
