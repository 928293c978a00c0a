-- oldest program: 0.1
-- Which installation this is, through all restores of its backups: by it a restore knows whether what was revoked here since is
-- to be revoked in what comes back. `written` as in 0007: an upgrade alone sends nobody to fetch again.

alter table install add column origin uuid default gen_random_uuid();
update install set origin = id, written = pg_current_xact_id()::xid;
alter table install alter column origin set not null;

-- The last backup that the schedule made, and what became of it: null while it is made, or its maker died.
create table backup_state (
    single boolean primary key default true check (single),
    last_run_at timestamptz,
    last_filename text not null default '',
    last_ok boolean
);
insert into backup_state default values;
