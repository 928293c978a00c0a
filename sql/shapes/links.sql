create type card_link_shape as (
    id bigint, card_id bigint, platform text, link_type text, title text, url text, reference text, author text, status text,
    repo_name text, created_by_id bigint, created_at text, updated_at text
);

-- A link of a card, everywhere.
create or replace function shape(l card_links) returns json language sql stable as $$
select row_to_json(row(
    l.id, l.card_id, l.platform, l.link_type, l.title, l.url, l.reference, l.author, l.status,
    l.repo_name, l.created_by_id, iso(l.created_at), iso(l.updated_at)
)::card_link_shape)
$$;

-- The newest links of a card, before an id.
create or replace function links_page(card_ bigint, before_ bigint, limit_ integer)
returns table (items text, next json) language sql stable as $$
with chosen as (
    select l.id, shape(l)::text as link, row_number() over (order by l.id desc) as nth
    from card_links l
    where l.card_id = card_ and l.id < coalesce(before_, 9223372036854775807)
    order by l.id desc
    limit limit_ + 1
)
select
    '[' || coalesce(string_agg(c.link, ',' order by c.nth) filter (where c.nth <= limit_), '') || ']',
    case when count(*) > limit_ then json_build_array(min(c.id) filter (where c.nth = limit_)) end
from chosen c
$$;
