-- name: standing -> one, by key
-- What a connection finds: how the server keeps what was committed, and what this role may do.
select
    clock_timestamp() as now,
    current_setting('server_encoding') as encoding,
    current_setting('transaction_read_only') = 'on' as read_only,
    current_setting('fsync') = 'on' as fsync,
    current_setting('full_page_writes') = 'on' as full_page_writes,
    current_setting('synchronous_commit') as synchronous_commit,
    current_database() as database,
    current_user as role,
    format('create database %I owner %I encoding ''UTF8'' template template0', current_database(), current_user) as creating,
    current_schema() as schema,
    coalesce(has_schema_privilege(current_schema(), 'create'), false) as creates,
    (select has_language_privilege(l.oid, 'usage') from pg_language as l where l.lanname = 'plpgsql') as plpgsql,
    (
        select count(*) from pg_class as c
        where
            c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'S', 'v')
            and not pg_has_role(c.relowner, 'usage')
    ) as foreign_tables,
    has_database_privilege(d.oid, 'temporary') as temporary,
    (select r.rolcreatedb or r.rolsuper from pg_roles as r where r.rolname = current_user) as makes_databases,
    d.datcollversion as collation,
    pg_database_collation_actual_version(d.oid) as collation_now
from pg_database as d
where d.datname = current_database();

-- name: extensions -> many, by key
-- The extensions of this database, and the version whose files the server has; null when it has none.
select e.extname as name, e.extversion as version, a.default_version as newest
from pg_extension as e
left join pg_available_extensions as a on a.name = e.extname
order by e.extname;

-- name: note -> value, by key
-- A word in the log of PostgreSQL alone: it is committed as a change is, and changes nothing.
select pg_logical_emit_message(true, 'warmdesk', 'doctor')::text;

-- name: last_failed -> value, by key
-- The newest line of a sign-in of nobody that failed; 0 when there is none.
select coalesce(max(e.id), 0) from login_events as e where e.event = 'login_failed' and e.user_id is null;

-- name: failed_from -> many, by key
-- From where a sign-in came that failed after such a line.
select e.ip from login_events as e
where e.event = 'login_failed' and e.user_id is null and e.id > :after::bigint and e.user_agent = :agent::text;

-- name: other_hosts -> value, by key
-- From how many addresses but ours programs serve this database.
select count(distinct a.client_addr)
from pg_stat_activity as a
where a.datname = current_database() and a.application_name ~ '^warmdesk [0-9]'
    and a.client_addr is distinct from inet_client_addr()
    and greatest(a.query_start, a.state_change) > clock_timestamp() - interval '1 minute';

-- name: newest_files -> many, by key
-- The names under which the files are kept that came last.
select a.stored_name as name from attachments as a order by a.id desc limit :limit::integer;
