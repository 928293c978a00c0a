create type comment_shape as (
    id bigint, card_id bigint, user_id bigint, "user" json, body text, is_edited boolean, time_spent_minutes integer,
    time_entry_id bigint, attachments json, created_at text, updated_at text, version integer
);

-- A comment, everywhere.
create or replace function shape(m card_comments) returns json language sql stable as $$
select row_to_json(row(
    m.id, m.card_id, m.user_id, (select shape(u) from users u where u.id = m.user_id), m.body, m.is_edited,
    m.time_spent_minutes, case when m.time_spent_minutes > 0 then (select t.id from time_entries t where t.comment_id = m.id) end,
    coalesce((select a.attachments from attachments_json('card_comment', array[m.id]) a), '[]'),
    iso(m.created_at), iso(m.updated_at), m.version
)::comment_shape)
$$;

-- A page of a card's live comments, oldest first: the first ones after an id, or, with `before_` alone, the last ones before it.
-- With the id at which it ends, and whether more come there. It ends after `bytes_`, but not before its first comment; what is
-- not the body is reckoned as long as it may be: 5,000 bytes, and ten files of 2,000.
create or replace function comments_page(card_ bigint, before_ bigint, after_ bigint, limit_ integer, bytes_ bigint)
returns table (items text, end_id bigint, more boolean)
language sql stable as $$
with near as (
    (
        select m.id, m.body, row_number() over (order by m.id) as nth from card_comments m
        where m.card_id = card_ and m.deleted_at is null and (before_ is null or after_ is not null)
            and m.id > coalesce(after_, 0) and m.id < coalesce(before_, 9223372036854775807)
        order by m.id limit limit_ + 1
    )
    union all
    (
        select m.id, m.body, row_number() over (order by m.id desc) as nth from card_comments m
        where m.card_id = card_ and m.deleted_at is null and before_ is not null and after_ is null and m.id < before_
        order by m.id desc limit limit_ + 1
    )
), sized as (
    select n.id, n.nth, sum(octet_length(to_json(n.body)::text) + 25000) over (order by n.nth) as upto from near n
), fitting as (
    select s.id, s.nth from sized s where s.nth <= limit_ and (s.nth = 1 or s.upto <= bytes_)
)
select
    '[' || coalesce(string_agg(shape(m)::text, ',' order by m.id), '') || ']',
    (array_agg(f.id order by f.nth desc))[1],
    count(*) < (select count(*) from near)
from fitting f inner join card_comments m on m.id = f.id
$$;
