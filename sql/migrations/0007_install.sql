-- oldest program: 0.1
-- What tells an installation from all others, and each history of it from its other histories.

-- place: where this history is written: cluster, timeline, database. lineage: a random word for what shares all of that: two
-- standbys of one primary that are promoted one after the other get the same timeline. written: the transaction that wrote the
-- row; whoever writes it otherwise, a dump that is restored too, begins another history. See find_history.
alter table install
add column place text not null default '',
add column lineage text not null default '',
add column written xid not null default '0',
add column epoch text not null default '';

-- The epoch of the program before: an upgrade alone sends nobody to fetch again.
update install as i
set
    place = c.system_identifier || '/' || t.timeline || '/' || d.oid,
    written = pg_current_xact_id()::xid,
    epoch = substr(md5(i.id::text || c.system_identifier::text || t.timeline), 1, 12)
from
    pg_control_system() as c, pg_database as d,
    (select substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) as timeline) as t
where d.datname = current_database();

-- What a host's secrets must be, as salted scrypt of each: equal on all hosts of an installation, and of no help to guess one.
create table secret_prints (
    setting text primary key,
    print text not null
);
