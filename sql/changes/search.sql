-- Makes the grams of cards that are due, of at most so many and of so many bytes, but of one at least; gives how many. Their rows
-- are locked before their texts are read: a text that is written meanwhile waits for its row, and makes it due again.
create or replace function make_grams(most_ integer, bytes_ bigint) returns integer language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    due bigint[] := array(
        select g.card_id from card_grams g where g.grams is null
        order by g.project_id, g.card_id limit most_ for no key update skip locked
    );
    made integer;
begin
    update card_grams g set grams = text_grams(c.project_id, lower(c.title) || chr(10) || lower(c.description))
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
