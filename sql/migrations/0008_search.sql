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

-- A row a card. Without grams it is due: its text was written, and nobody has looked what it holds. See make_grams.
create table card_grams (
    card_id bigint primary key,
    project_id bigint not null,
    grams bigint[]
);
alter table card_grams alter column grams set statistics 0;
create index card_grams_find on card_grams using gin (grams) where grams is not null;
create index card_grams_due on card_grams (project_id, card_id) where grams is null;

-- Nobody is kept from writing while this goes on.
insert into card_grams (card_id, project_id)
select c.id, c.project_id from cards as c;

-- By a trigger, so that also the program before this one keeps it. A move names none of these columns and pays nothing. Whoever
-- writes a text locks its row even if that is due already: who made its grams meanwhile read the text of before.
create function mark_card_grams() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into card_grams (card_id, project_id) values (new.id, new.project_id);
    else
        update card_grams set project_id = new.project_id, grams = null where card_id = new.id;
    end if;
    return null;
end
$$;

create trigger cards_grams_new after insert on cards for each row execute function mark_card_grams();
create trigger cards_grams_changed after update of title, description, project_id on cards for each row
when (
    old.title is distinct from new.title or old.description is distinct from new.description
    or old.project_id is distinct from new.project_id
)
execute function mark_card_grams();

-- What was written meanwhile. From here on nobody writes before the commit.
insert into card_grams (card_id, project_id)
select c.id, c.project_id from cards as c
where not exists (select from card_grams as g where g.card_id = c.id);
delete from card_grams as g where not exists (select from cards as c where c.id = g.card_id);
alter table card_grams add foreign key (card_id) references cards (id) on delete cascade;
