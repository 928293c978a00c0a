-- oldest program: 0.1
-- One search for all that people wrote. It finds texts by their grams, as 0008 finds cards, and compares them without accents.
-- It needs no extension: what unaccent does PostgreSQL's own normalize does, for all scripts; and of pg_trgm see 0008.

-- A text as a search compares it: small letters, without accents and vowel signs, each written in one way.
create function folded(text_ text) returns text language plpgsql immutable as $$
begin
    if octet_length(text_) = char_length(text_) then
        return lower(text_);
    end if;
    return replace(
        lower(translate(
            regexp_replace(
                normalize(text_, nfkd),
                '[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\ufe0e\ufe0f]',
                '', 'g'
            ),
            'ıŁłØøĐđς', 'illooddσ'
        )), 'ß', 'ss'
    );
end
$$;

-- Such a text with a space before and behind every word, whatever stands between two words.
create function spaced(folded_ text) returns text language plpgsql immutable as $$
declare
    whole text := ' ' || regexp_replace(folded_, '\s+', ' ', 'g') || ' ';
    bare text := regexp_replace(whole, '[^[:alnum:]]+', ' ', 'g');
begin
    return case when bare = whole then whole else whole || bare end;
end
$$;

-- As text_grams, with thirty-eight bits of a scope before a gram. A text that holds everything has `scope_ << 25 | 1 << 24` alone.
create function scope_grams(scope_ bigint, text_ text) returns bigint[] language plpgsql stable as $$
declare
    bytes bytea := convert_to(text_, 'UTF8');
    grams bigint[];
begin
    if octet_length(bytes) <= 320000 then
        grams := array(
            select distinct
                (scope_ << 25) | (get_byte(bytes, i) << 16) | (get_byte(bytes, i + 1) << 8) | get_byte(bytes, i + 2)
            from generate_series(0, octet_length(bytes) - 3) i
            order by 1
        );
        if cardinality(grams) <= 20000 then
            return grams;
        end if;
    end if;
    return array[(scope_ << 25) | (1 << 24)];
end
$$;

-- Cards have grams already, of their texts as they are. With `folded` they have these, too; without, they are due.
alter table card_grams add column folded boolean not null default false;
create index card_grams_to_fold on card_grams (project_id, card_id) where grams is null or not folded;
drop index card_grams_due;
alter index card_grams_to_fold rename to card_grams_due;

-- What people wrote elsewhere. Its scope is what it is, and where: a project, or a conversation.
create function talk_scope(kind_ integer, place_ bigint) returns bigint language sql immutable as $$
select place_ << 3 | kind_
$$;

-- A row a text that may be found. Without grams it is due, as in card_grams. What was deleted has no row.
create table talk_grams (
    scope bigint not null,
    id bigint not null,
    grams bigint[],
    primary key (scope, id)
);
alter table talk_grams alter column grams set statistics 0;
create index talk_grams_find on talk_grams using gin (grams) where grams is not null;
create index talk_grams_due on talk_grams (scope, id) where grams is null;

-- By triggers, so that also the program before this one keeps it. Whoever writes a text locks its row even if that is due already.
create function mark_talk_grams() returns trigger language plpgsql as $$
declare
    kind integer := tg_argv[0];
    scope_ bigint;
begin
    if kind = 3 then
        scope_ := talk_scope(kind, new.conversation_id);
    else
        scope_ := talk_scope(kind, new.project_id);
        if tg_op = 'UPDATE' and old.project_id <> new.project_id then
            delete from talk_grams where scope = talk_scope(kind, old.project_id) and id = old.id;
        end if;
    end if;
    if tg_op = 'INSERT' then
        insert into talk_grams (scope, id) values (scope_, new.id);
    else
        insert into talk_grams (scope, id) values (scope_, new.id) on conflict (scope, id) do update set grams = null;
    end if;
    return null;
end
$$;

create function forget_talk_grams() returns trigger language plpgsql as $$
declare
    kind integer := tg_argv[0];
    scope_ bigint;
begin
    if kind = 3 then
        scope_ := talk_scope(kind, old.conversation_id);
    else
        scope_ := talk_scope(kind, old.project_id);
    end if;
    delete from talk_grams where scope = scope_ and id = old.id;
    return null;
end
$$;

-- `live` is what a row must be to be found; where a row's words change, or its place, it is due again.
do $$
declare
    kinds cursor for
        select k.* from (values
            (1, 'card_comments', 'project_id', '%1$s.deleted_at is null', 'body, project_id', 'deleted_at'),
            (2, 'chat_messages', 'project_id', 'not %1$s.is_deleted and not %1$s.is_bot', 'body, project_id', 'is_deleted'),
            (3, 'conversation_messages', 'conversation_id', 'not %1$s.is_deleted', 'body', 'is_deleted'),
            (4, 'topics', 'project_id', '%1$s.deleted_at is null', 'title, body, project_id', 'deleted_at'),
            (5, 'topic_replies', 'project_id', '%1$s.deleted_at is null', 'body, project_id', 'deleted_at')
        ) as k (kind, called, place, live, words, end_mark);
    missing constant text := 'insert into talk_grams (scope, id) select talk_scope(%1$s, t.%3$I), t.id from %2$I as t where %4$s'
        ' and not exists (select from talk_grams as g where g.scope = talk_scope(%1$s, t.%3$I) and g.id = t.id)';
begin
    -- Nobody is kept from writing while this goes on.
    for k in kinds loop
        execute format(missing, k.kind, k.called, k.place, format(k.live, 't'));
    end loop;
    for k in kinds loop
        execute format(
            'create trigger %1$I after insert on %2$I for each row when (%3$s) execute function mark_talk_grams(%4$s)',
            k.called || '_grams_new', k.called, format(k.live, 'new'), k.kind
        );
        execute format(
            'create trigger %1$I after update of %2$s, %3$I on %4$I for each row'
            ' when (%5$s and (row(%6$s) is distinct from row(%7$s) or not (%8$s))) execute function mark_talk_grams(%9$s)',
            k.called || '_grams_changed', k.words, k.end_mark, k.called, format(k.live, 'new'),
            regexp_replace(k.words, '(\w+)', 'old.\1', 'g'), regexp_replace(k.words, '(\w+)', 'new.\1', 'g'),
            format(k.live, 'old'), k.kind
        );
        execute format(
            'create trigger %1$I after update of %2$I on %3$I for each row when (not (%4$s)) execute function forget_talk_grams(%5$s)',
            k.called || '_grams_gone', k.end_mark, k.called, format(k.live, 'new'), k.kind
        );
        execute format(
            'create trigger %1$I after delete on %2$I for each row execute function forget_talk_grams(%3$s)',
            k.called || '_grams_deleted', k.called, k.kind
        );
        -- What was written and deleted meanwhile. From here on nobody writes before the commit.
        execute format(missing, k.kind, k.called, k.place, format(k.live, 't'));
        execute format(
            'delete from talk_grams as g where g.scope & 7 = %1$s'
            ' and not exists (select from %2$I as t where t.id = g.id and %3$s)',
            k.kind, k.called, format(k.live, 't')
        );
    end loop;
end
$$;
