-- What a card's text holds: as it is, for the search among a project's cards, and folded, for the search of everything.
create or replace function grams_of_card(c cards) returns bigint[] language sql stable as $$
select array(
    select distinct g.gram
    from unnest(
        text_grams(c.project_id, lower(c.title) || chr(10) || lower(c.description))
        || text_grams(c.project_id, spaced(folded(c.title || chr(10) || c.description)))
    ) g (gram)
    order by 1
)
$$;

-- Makes the grams of cards that are due, of at most so many and of so many bytes, but of one at least; gives how many. Their rows
-- are locked before their texts are read: a text that is written meanwhile waits for its row, and makes it due again.
create or replace function make_grams(most_ integer, bytes_ bigint) returns integer language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    due bigint[] := array(
        select g.card_id from card_grams g where g.grams is null or not g.folded
        order by g.project_id, g.card_id limit most_ for no key update skip locked
    );
    made integer;
begin
    update card_grams g set grams = grams_of_card(c), folded = true
    from (
        select k.id, sum(octet_length(k.title) + octet_length(k.description)) over (order by k.id)
            - octet_length(k.title) - octet_length(k.description) as before
        from cards k where k.id = any(due)
    ) w
    inner join cards c on c.id = w.id
    where g.card_id = w.id and w.before < bytes_;
    get diagnostics made = row_count;
    return made;
end
$$;

-- The same for what people wrote elsewhere.
create or replace function make_talk_grams(most_ integer, bytes_ bigint) returns integer language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    scopes bigint[];
    ids bigint[];
    made integer;
begin
    select array_agg(d.scope), array_agg(d.id) into scopes, ids
    from (
        select g.scope, g.id from talk_grams g where g.grams is null
        order by g.scope, g.id limit most_ for no key update skip locked
    ) d;
    update talk_grams g set grams = scope_grams(
        w.scope, spaced(folded(coalesce(w.title || chr(10), '') || coalesce(w.body, '')))
    )
    from (
        select
            d.scope, d.id, t.title, t.body,
            sum(coalesce(octet_length(t.title), 0) + coalesce(octet_length(t.body), 0)) over (order by d.scope, d.id)
            - coalesce(octet_length(t.title), 0) - coalesce(octet_length(t.body), 0) as before
        from unnest(scopes, ids) d (scope, id)
        left join lateral found_text((d.scope & 7)::integer, d.id) t on true
    ) w
    where g.scope = w.scope and g.id = w.id and w.before < bytes_;
    get diagnostics made = row_count;
    return made;
end
$$;
