-- name: all -> many
-- Every system setting that is not as it comes.
select s.key, s.value from system_settings as s;

-- name: hold -> nothing, by key
-- Until the commit nobody else changes settings.
select pg_advisory_xact_lock(hashtext('warmdesk.settings'));

-- name: write -> nothing, by key
-- Writes settings, and lets others be as they come.
with gone as (
    delete from system_settings as s where s.key = any(:cleared::text[])
)
insert into system_settings as s (key, value)
select w.key, w.value from unnest(:keys::text[], :values::text[]) as w (key, value)
order by w.key
on conflict (key) do update set value = excluded.value;

-- name: reseal -> nothing, by key
-- Writes a secret that was sealed anew, unless somebody changed it meanwhile.
update system_settings set value = :sealed::text where key = :key::text and value = :was::text;
