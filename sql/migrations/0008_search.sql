-- oldest program: 0.1
-- A search finds the cards whose text may hold it without reading the texts. It needs nothing but what every PostgreSQL has:
-- pg_trgm knows no letters beyond ASCII where the database's ctype is C, and would tell which cards to read only by reading them.

-- Every three bytes that follow each other in a text in lower case, each once, with its project before it: what a text must
-- hold to hold another. Of a text that is very long, or holds more than 20,000 of them (no language does, but numbers may),
-- only `grams_any`: it may hold everything.
create function text_grams(project_ bigint, lower_ text) returns bigint[] language plpgsql stable as $$
declare
    bytes bytea := convert_to(lower_, 'UTF8');
    grams bigint[];
begin
    if octet_length(bytes) <= 320000 then
        grams := array(
            select distinct project_ << 25 | get_byte(bytes, i) << 16 | get_byte(bytes, i + 1) << 8 | get_byte(bytes, i + 2)
            from generate_series(0, octet_length(bytes) - 3) i
            order by 1
        );
        if cardinality(grams) <= 20000 then
            return grams;
        end if;
    end if;
    return array[grams_any(project_)];
end
$$;

create function grams_any(project_ bigint) returns bigint language sql immutable as $$
select project_ << 25 | 1 << 24
$$;

create table card_grams (
    card_id bigint primary key,
    grams bigint[] not null
);
alter table card_grams alter column grams set statistics 0;

-- Nobody is kept from writing while this goes on.
insert into card_grams (card_id, grams)
select c.id, text_grams(c.project_id, lower(c.title) || chr(10) || lower(c.description)) from cards as c;

-- Each writer pays its own part: with a list of what is pending one would pay for many, with its locks held.
create index card_grams_find on card_grams using gin (grams) with (fastupdate = off);

-- By a trigger, so that also the program before this one keeps it. A move names none of these columns and pays nothing.
create function keep_card_grams() returns trigger language plpgsql as $$
begin
    insert into card_grams (card_id, grams)
    values (new.id, text_grams(new.project_id, lower(new.title) || chr(10) || lower(new.description)))
    on conflict (card_id) do update set grams = excluded.grams;
    return null;
end
$$;

create trigger cards_grams_new after insert on cards for each row execute function keep_card_grams();
create trigger cards_grams_changed after update of title, description, project_id on cards for each row
when (
    old.title is distinct from new.title or old.description is distinct from new.description
    or old.project_id is distinct from new.project_id
)
execute function keep_card_grams();

-- What was written meanwhile. From here on nobody writes before the commit.
insert into card_grams (card_id, grams)
select c.id, text_grams(c.project_id, lower(c.title) || chr(10) || lower(c.description))
from cards as c
where c.updated_at > now() - interval '10 minutes' or not exists (select from card_grams as g where g.card_id = c.id)
on conflict (card_id) do update set grams = excluded.grams;
delete from card_grams as g where not exists (select from cards as c where c.id = g.card_id);
alter table card_grams add foreign key (card_id) references cards (id) on delete cascade;
