-- name: newest_migration -> value, by key
-- The number of the newest migration that ran on this database; 0 before the first.
select coalesce(max(version), 0) from schema_migrations;
