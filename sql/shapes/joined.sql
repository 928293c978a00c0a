-- Two JSON objects as one: the keys of the first, then those of the second; no key in both. What is long comes second: of that
-- only the first character is counted, and it is copied once. Texts as `row_to_json` and this function make them, which have
-- nothing before and after their braces. PL/pgSQL, because SQL would be called for a complex argument, at twice the cost.
create or replace function joined(first_ text, second_ text) returns text language plpgsql immutable strict as $$
begin
    if first_ = '{}' then
        return second_;
    elsif second_ = '{}' then
        return first_;
    end if;
    return left(first_, -1) || ',' || right(second_, -1);
end
$$;
