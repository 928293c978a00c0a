-- The form of times, and of an event on the wire.

create or replace function iso(at timestamptz) returns text language sql stable as $$
select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- The envelope of an event: what sockets, the bus and REST show.
create or replace function envelope(e events) returns text language sql stable as $$
select '{"type":"' || (e).type || '","payload":' || (e).payload || ',"seq":' || (e).seq || ',"ts":"' || iso((e).created_at)
    || '","actor_id":' || coalesce((e).actor_id::text, 'null') || coalesce(',"actor":' || (e).actor, '')
    || coalesce(',"client_id":' || to_json((e).client_id)::text, '') || '}'
$$;

-- The UserRef of somebody who acts in a project as a guest; null for members, whom all see in the project's list, and on other
-- channels.
create or replace function guest(channel_ text, user_ bigint) returns text language sql stable as $$
select shape(u)::text from project_guests g inner join users u on u.id = g.user_id
where g.user_id = user_ and g.project_id = case when channel_ like 'project:%' then substr(channel_, 9)::bigint end
    and not exists (select 1 from project_members m where m.project_id = g.project_id and m.user_id = g.user_id)
$$;

-- What an event tells of: card:7, and below it what belongs to it, card:7/comment:9, which is erased with it. The names are
-- those of warmdesk/realtime/entities.py.
create or replace function entity(kind_ text, id_ bigint) returns text language sql immutable as $$
select kind_ || ':' || id_::text
$$;

create or replace function entity(parent_ text, kind_ text, id_ bigint) returns text language sql immutable as $$
select parent_ || '/' || kind_ || ':' || id_::text
$$;

-- Whether an event blanks what was told of its entity before: erasing() holds the names, which the catalogue of the events
-- declares. See warmdesk/db/migrations.py.
create or replace function erases(type_ text) returns boolean language sql immutable as $$
select type_ = any(erasing())
$$;

-- What an event tells of, as the bus and a page say it: "-" for nothing; with "/" at its end, it is erased.
create or replace function told_of(e events) returns text language sql stable as $$
select coalesce(case when erases((e).type) then (e).entity || '/' else (e).entity end, '-')
$$;

-- An event as the bus carries it: "channel seq type entity epoch", a line feed, the envelope. The epoch is the one that this
-- session found, which costs a change far less than to read it anew.
create or replace function bus_message(e events) returns text language sql stable as $$
select (e).channel || ' ' || (e).seq || ' ' || (e).type || ' ' || told_of(e)
    || ' ' || coalesce(nullif(current_setting('warmdesk.epoch', true), ''), epoch()) || E'\n' || envelope(e)
$$;

-- Changes when history may have gone backwards: another installation, another cluster, timeline or database, another lineage.
-- A session remembers where its server writes, which never changes in a session that may ask; so this is one row's read.
create or replace function epoch() returns text language sql stable as $$
select case
    when i.place = current_setting('warmdesk.place', true) and i.written = i.xmin then i.epoch
    else find_history()
end
from install i
$$;
