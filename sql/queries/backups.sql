-- name: lock -> value, by key
-- Takes the lock of the one process that makes a backup or restores one, until the transaction ends.
select pg_try_advisory_xact_lock(x'77645442'::integer);

-- name: lock_longer -> value, by key
-- The same, until `unlock` or the connection's end.
select pg_try_advisory_lock(x'77645442'::integer);

-- name: unlock -> value, by key
select pg_advisory_unlock(x'77645442'::integer);

-- name: wait_for_transactions -> nothing, by key
-- Transactions of this connection take as long as they take, also where the server has a limit for them.
select set_config(s.name, '0', false) from pg_settings as s where s.name = 'transaction_timeout';

-- name: facts -> one, by key
-- What a backup says of the installation; the first question of its snapshot.
select
    i.origin::text as origin,
    i.id::text as installation,
    (select max(m.version) from schema_migrations as m) as schema,
    current_setting('server_version') as postgresql,
    now() as created_at,
    (select coalesce(sum(pg_table_size(c.oid)), 0) from pg_class as c where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r')::bigint as bytes
from install as i;

-- name: tables -> many, by key
-- The tables of the installation with the columns that have values of their own, in an order that does not change.
select c.relname::text as name, array_agg(a.attname::text order by a.attnum) as columns
from pg_class as c
inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r' and c.relpersistence = 'p'
    and not exists (select 1 from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
group by c.relname
order by c.relname collate "C";

-- name: sequences -> many, by key
-- The sequences and the last value that each gave; null before the first.
select s.sequencename::text as name, s.last_value from pg_sequences as s where s.schemaname = current_schema() order by 1;

-- name: files -> many, by key
-- The files that rows name, after one, with their sizes.
select a.stored_name, max(a.size_bytes)::bigint as size
from attachments as a
where a.stored_name > :after::text
group by a.stored_name
order by a.stored_name
limit 500;

-- name: keys -> many, by key
-- What orders and connects the rows of the installation's tables: how each is taken away, and how it is made again; foreign
-- keys come first.
select
    f.rank, f.drop, f.make
from (
    select
        case n.contype when 'f' then 1 else 2 end as rank,
        format('alter table %s drop constraint %I', n.conrelid::regclass, n.conname) as drop,
        format('alter table %s add constraint %I %s', n.conrelid::regclass, n.conname, pg_get_constraintdef(n.oid)) as make,
        n.conname::text as name
    from pg_constraint as n
    inner join pg_class as c on c.oid = n.conrelid and c.relkind = 'r'
    where n.connamespace = current_schema()::regnamespace and n.contype in ('f', 'p', 'u', 'x')
    union all
    select 3, format('drop index %s', i.indexrelid::regclass), pg_get_indexdef(i.indexrelid), i.indexrelid::regclass::text
    from pg_index as i
    inner join pg_class as c on c.oid = i.indrelid and c.relkind = 'r' and c.relpersistence = 'p'
    where c.relnamespace = current_schema()::regnamespace
        and not exists (select 1 from pg_constraint as n where n.conindid = i.indexrelid and n.contype in ('p', 'u', 'x'))
) as f
order by f.rank, f.name;

-- name: things -> many, by key
-- How all that the schema holds is taken away, but what belongs to an extension. In this order: what stands below a thing goes
-- with it.
select t.drop
from (
    select 1 as rank, format('drop table if exists %s cascade', c.oid::regclass) as drop
    from pg_class as c
    where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
        and not exists (select 1 from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
    union all
    select 2, format('drop routine if exists %s cascade', p.oid::regprocedure)
    from pg_proc as p
    where p.pronamespace = current_schema()::regnamespace
        and not exists (select 1 from pg_depend as d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
    union all
    select 3, format('drop type if exists %s cascade', c.reltype::regtype)
    from pg_class as c
    where c.relnamespace = current_schema()::regnamespace and c.relkind = 'c'
        and not exists (select 1 from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
) as t
order by t.rank, t.drop;

-- name: remember -> nothing, by key
-- Keeps aside, until the transaction ends, what there is now. See sql/changes/restore.sql.
select remember_present();

-- name: carry_over -> value, by key
-- Revokes what was revoked since; gives how much, as JSON.
select carry_over(:made_at::timestamptz, :actor::bigint)::text;

-- name: carry_letters -> nothing, by key
-- Of that only what is no right: what was mailed since, and the audit.
select carry_letters();

-- name: returned_files -> many, by key
-- Files that rows name again, after one. See sql/changes/restore.sql.
select
    f.stored_name, f.size
from returned_files(:after::text) as f;

-- name: begin_again -> value, by key
-- Another UUID, another epoch, numbers above all that were given; gives the bus messages.
select begin_again(:origin::uuid);

-- name: lift_sequence -> value, by key
-- A sequence goes on behind all that it gave, here and where the backup was made.
select case when :last::bigint > 0 then setval(:name::text::regclass, :last::bigint) end;

-- name: end_others -> value, by key
-- Ends the other connections of this user to this database: their plans and types are of tables that are gone.
select count(pg_terminate_backend(a.pid)) from pg_stat_activity as a
where a.datname = current_database() and a.usename = current_user and a.pid <> pg_backend_pid() and a.backend_type = 'client backend';

-- name: note_restore -> nothing, by key
-- A line of the audit: the actor may not be among those who came back.
insert into audit (actor_id, ip, action, target_type, after)
select (select u.id from users as u where u.id = :actor_id::bigint), :ip::text, 'restore.done', 'restore', :after::json;

-- name: is_due -> value, by key
-- Whether a backup is due: none was begun since `slot`, or none with files where they are wanted, or its maker died, or it failed
-- some minutes ago.
select
    b.last_run_at is null or b.last_run_at < :slot::timestamptz or b.last_ok is null
    or (not b.last_ok and b.last_run_at < clock_timestamp() - interval '10 minutes')
    or (b.last_ok and :files::boolean and coalesce(b.full_at < :slot::timestamptz, true))
from backup_state as b;

-- name: under_way -> value, by key
-- When the backup was begun that is neither made nor has failed, or null.
select case when b.last_ok is null then b.last_run_at end from backup_state as b;

-- name: begin -> nothing, by key
-- A backup is begun, by the one whose turn it is.
update backup_state set last_run_at = clock_timestamp(), last_ok = null;

-- name: note -> nothing, by key
-- What became of a backup, and whom it is told. See sql/changes/backups.sql.
select note_backup(:filename::text, :ok::boolean, :full::boolean, :about::json, :address::text, :each::boolean);

-- name: loading -> many, by key
-- What is done before the rows of these tables are loaded, and after it. Triggers have done what they do where the rows come from.
select l.before, l.after
from (
    select
        1 as rank, t.name, format('alter table %I disable trigger user', t.name) as before,
        format('alter table %I enable trigger user', t.name) as after
    from unnest(:names::text[]) as t (name)
    union all
    select 2, '', format('truncate %s', string_agg(format('%I', t.name), ', ')), 'select' from unnest(:names::text[]) as t (name)
) as l
order by l.rank, l.name;

-- name: locking -> value, by key
-- How all tables of the installation are locked: `access share`, so that they stay; `exclusive`, so that nobody writes; or `access
-- exclusive`, so that nobody reads. One that this role may not read is somebody else's.
select
    format(
        'lock table %s in %s mode', string_agg(format('%I', c.relname), ', ' order by c.relname), :mode::text
    )
from pg_class as c
where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r' and c.relpersistence = 'p'
    and has_table_privilege(c.oid, 'select')
    and not exists (select 1 from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e');

-- name: hold_number -> nothing, by key
-- The scratch database with this number is this connection's, as long as it lasts.
select pg_advisory_lock(x'77645643'::integer, :number::integer);

-- name: scratch -> one, by key
-- The name of a database beside this one, and how it is made and taken away. It keeps text as this one, which need not be as the
-- cluster does.
select
    s.name,
    format('create database %I %stemplate template0', s.name, s.text) as make,
    format('drop database if exists %I with (force)', s.name) as drop,
    current_user as role
from (
    select
        'warmdesk_verify_' || d.oid || '_' || lpad(to_hex(:number::integer), 8, '0') as name,
        case
            when pg_encoding_to_char(d.encoding) = 'UTF8'
                then format('encoding ''UTF8'' lc_collate %L lc_ctype %L ', d.datcollate, d.datctype)
            else ''
        end as text
    from pg_database as d
    where d.datname = current_database()
) as s;

-- name: left_over -> many, by key
-- The databases that were made so from this one and whose connection is gone: each is this connection's now.
with made as materialized (
    select s.datname as name, ('x' || right(s.datname, 8))::bit(32)::integer as number
    from pg_database as d
    inner join pg_database as s on s.datname ~ ('^warmdesk_verify_' || d.oid || '_[0-9a-f]{8}$')
    where d.datname = current_database() and pg_get_userbyid(s.datdba) = current_user
)
select
    m.name::text as name, format('drop database if exists %I with (force)', m.name) as drop
from made as m
where pg_try_advisory_lock(x'77645643'::integer, m.number);
