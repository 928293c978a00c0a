-- The cards of a project whose text may hold `q_`, behind an id, in no order: all that hold it, those that are due, and few others,
-- also of a project whose id is 32,768 more or less (see text_grams: no more of it fits before a gram). Null when it is
-- too short to be looked up. PostgreSQL does not know that reading this small table means reading much, so it is told to go by
-- the index; sixty-four of what a long text must hold tell it from all others.
create or replace function cards_that_may_hold(project_ bigint, q_ text, after_ bigint) returns bigint[]
language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    wanted bigint[] := (text_grams(project_, lower(q_)))[1:64];
begin
    if cardinality(wanted) = 0 then
        return null;
    end if;
    return array(
        select g.card_id from card_grams g
        where (g.grams @> wanted or g.grams @> array[grams_any(project_)]) and g.card_id + 0 > after_
        union all
        select g.card_id from card_grams g where g.grams is null and g.project_id = project_ and g.card_id > after_
    );
end
$$;

-- Below is the search of everything. Its kinds are 0 card, 1 comment, 2 chat message, 3 message of a conversation, 4 topic and
-- 5 reply; its places are projects, and of kind 3 conversations.

-- The text of what may be found and its place, while it is not deleted, and nothing above it is.
create or replace function found_text(kind_ integer, id_ bigint) returns table (place bigint, title text, body text)
language sql stable as $$
select c.project_id, c.title, c.description from cards c where kind_ = 0 and c.id = id_ and c.deleted_at is null
union all
select m.project_id, null, m.body from card_comments m inner join cards c on c.id = m.card_id
where kind_ = 1 and m.id = id_ and m.deleted_at is null and c.deleted_at is null
union all
select m.project_id, null, m.body from chat_messages m where kind_ = 2 and m.id = id_ and not m.is_deleted and not m.is_bot
union all
select m.conversation_id, null, m.body from conversation_messages m where kind_ = 3 and m.id = id_ and not m.is_deleted
union all
select t.project_id, t.title, t.body from topics t where kind_ = 4 and t.id = id_ and t.deleted_at is null
union all
select r.project_id, null, r.body from topic_replies r inner join topics t on t.id = r.topic_id
where kind_ = 5 and r.id = id_ and r.deleted_at is null and t.deleted_at is null
$$;

-- What a text must hold for its words to be found in it: of three bytes and more any part of it, of two the beginning of a word,
-- of one a whole word. Each has three bytes then, and so at least a gram.
create or replace function search_patterns(q_ text) returns text[] language sql stable as $$
select array(
    select distinct case octet_length(w.word) when 1 then ' ' || w.word || ' ' when 2 then ' ' || w.word else w.word end
    from regexp_split_to_table(folded(q_), '\s+') w (word)
    where w.word <> ''
)
$$;

-- Whether a folded text holds all of these patterns, or any of them.
create or replace function holds(folded_ text, patterns_ text[], all_ boolean) returns boolean language plpgsql stable as $$
declare
    pattern text;
    whole text;
    here boolean;
begin
    foreach pattern in array patterns_ loop
        if left(pattern, 1) = ' ' then
            whole := coalesce(whole, spaced(folded_));
            here := strpos(whole, pattern) > 0;
        else
            here := strpos(folded_, pattern) > 0;
        end if;
        if here <> all_ then
            return here;
        end if;
    end loop;
    return all_;
end
$$;

-- Grams of a scope; of a card they stand behind fewer bits of it, see text_grams.
create or replace function scoped(scope_ bigint, grams_ bigint[], bits_ integer) returns bigint[] language sql immutable as $$
select array(select (scope_ << bits_) | g.gram from unnest(grams_) g (gram))
$$;

-- The ids of what may hold all patterns, in the order in which they should be looked at: what surely has all their grams, then
-- what is due or holds everything, and the newest where very much has them; the last written first. Of a place these are at most
-- `most_` of each.
create or replace function may_hold(kind_ integer, places_ bigint[], patterns_ text[], most_ integer) returns bigint[]
language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    wanted bigint[] := array(
        select distinct g.gram
        from unnest(patterns_) p (pattern)
        cross join lateral unnest(
            case kind_ when 0 then text_grams(0, p.pattern) else scope_grams(0, p.pattern) end
        ) g (gram)
        order by 1 limit 32
    );
    scopes bigint[];
    found bigint[];
    crowded bigint[];
    others bigint[];
begin
    if kind_ = 0 then
        with f as materialized (
            select s.scope, n.id
            from unnest(places_) s (scope)
            cross join lateral (
                select g.card_id as id from card_grams g where g.grams @> scoped(s.scope, wanted, 49) limit most_ + 1
            ) n
        ), many as materialized (
            select f.scope from f group by f.scope having count(*) > most_
        )
        select
            array(select distinct f.id from f where f.scope not in (select m.scope from many m) order by f.id desc),
            array(select f.id from f where f.scope in (select m.scope from many m)),
            array(select m.scope from many m)
        into found, others, crowded;
        others := others || array(
            select n.id
            from unnest(crowded) s (scope)
            cross join lateral (
                select c.id from cards c where c.project_id = s.scope order by c.card_number desc limit most_
            ) n
        ) || array(
            select n.id
            from unnest(places_) s (scope)
            cross join lateral (
                select g.card_id as id from card_grams g where g.grams @> array[grams_any(s.scope)] limit most_
            ) n
        ) || array(
            select n.id
            from unnest(places_) s (scope)
            cross join lateral (
                select g.card_id as id from card_grams g
                where g.project_id = s.scope and (g.grams is null or not g.folded) order by g.card_id desc limit most_
            ) n
        );
    else
        scopes := array(select talk_scope(kind_, p.place) from unnest(places_) p (place));
        with f as materialized (
            select s.scope, n.id
            from unnest(scopes) s (scope)
            cross join lateral (
                select g.id from talk_grams g where g.grams @> scoped(s.scope, wanted, 25) limit most_ + 1
            ) n
        ), many as materialized (
            select f.scope from f group by f.scope having count(*) > most_
        )
        select
            array(select distinct f.id from f where f.scope not in (select m.scope from many m) order by f.id desc),
            array(select f.id from f where f.scope in (select m.scope from many m)),
            array(select m.scope from many m)
        into found, others, crowded;
        others := others || array(
            select n.id
            from unnest(crowded) s (scope)
            cross join lateral (
                select g.id from talk_grams g where g.scope = s.scope order by g.id desc limit most_
            ) n
        ) || array(
            select n.id
            from unnest(scopes) s (scope)
            cross join lateral (
                select g.id from talk_grams g where g.grams @> scoped(s.scope, array[1 << 24], 25) limit most_
            ) n
        ) || array(
            select n.id
            from unnest(scopes) s (scope)
            cross join lateral (
                select g.id from talk_grams g where g.scope = s.scope and g.grams is null order by g.id desc limit most_
            ) n
        );
    end if;
    return found || array(select distinct o.id from unnest(others) o (id) except select f.id from unnest(found) f (id) order by 1 desc);
end
$$;

-- How well a text fits: its whole words by PostgreSQL's full text, those of a title most, in the beginning of a long text; a part
-- of a word in the title counts a little.
create or replace function search_rank(title_ text, body_ text, q_ text, patterns_ text[]) returns real language sql stable as $$
select ts_rank(
    setweight(to_tsvector('simple', coalesce(left(title_, 1000), '')), 'A') || to_tsvector('simple', left(body_, 2000)),
    plainto_tsquery('simple', q_), 1
) + case when title_ is not null and holds(title_, patterns_, true) then 0.05 else 0 end
$$;

-- What is found of a kind in these places, with how well it fits: all that holds every word of `q_`, while that is little; else
-- of the newest. It takes 200 of them, and looks at 3,000 texts or 2 MB. The card whose key it is comes first.
create or replace function found_in(kind_ integer, places_ bigint[], q_ text) returns table (id bigint, rank real)
language plpgsql stable rows 20 as $$
declare
    folded_q text := folded(q_);
    patterns text[] := search_patterns(q_);
    by_key bigint;
    one bigint;
    place_ bigint;
    title_ text;
    body_ text;
    taken integer := 0;
    looked integer := 0;
    octets bigint := 0;
begin
    if cardinality(places_) = 0 then
        return;
    end if;
    if kind_ = 0 and btrim(q_) ~ '^[A-Za-z0-9]+-[0-9]{1,9}$' then
        select c.id into by_key
        from projects p
        inner join cards c on c.id = card_id(p, btrim(q_))
        where p.key_prefix = upper(split_part(btrim(q_), '-', 1)) and c.project_id = any(places_) and c.deleted_at is null;
        if by_key is not null then
            id := by_key;
            rank := 100;
            return next;
        end if;
    end if;
    if cardinality(patterns) = 0 then
        return;
    end if;
    foreach one in array may_hold(kind_, places_, patterns, 1000) loop
        exit when taken >= 200 or looked >= 3000 or octets >= 2000000;
        looked := looked + 1;
        continue when one = by_key;
        select t.place, folded(t.title), folded(t.body) into place_, title_, body_ from found_text(kind_, one) t;
        continue when place_ is null or place_ <> all(places_);
        octets := octets + octet_length(body_);
        if holds(coalesce(title_ || ' ', '') || body_, patterns, true) then
            taken := taken + 1;
            id := one;
            rank := search_rank(title_, body_, folded_q, patterns);
            return next;
        end if;
    end loop;
end
$$;

-- The part of a text in which a word of the search stands, of a thousand characters and some: its body, else its title.
create or replace function piece_of(title_ text, body_ text, patterns_ text[]) returns text language plpgsql stable as $$
declare
    part text;
begin
    if not holds(folded(body_), patterns_, false) and title_ is not null then
        return title_;
    end if;
    if char_length(body_) <= 1200 then
        return body_;
    end if;
    for at in 0 .. char_length(body_) / 700 loop
        part := substr(body_, 1 + 700 * at, 1000);
        if holds(folded(part), patterns_, false) then
            return substr(body_, greatest(1, 700 * at - 100), 1300);
        end if;
    end loop;
    return left(body_, 1200);
end
$$;
