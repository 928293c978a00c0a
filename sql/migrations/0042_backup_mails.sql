-- oldest program: 0.1
-- Mails about backups: what each one tells, and whether a failure was told of since one was made.

alter table mails add column about json;
alter table backup_state add column failure_told boolean not null default false;
