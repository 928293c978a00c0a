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
