create type topic_shape as (
    id bigint, project_id bigint, user_id bigint, "user" json, title text, body text, is_pinned boolean, is_edited boolean,
    reply_count integer, last_activity_at text, created_at text, updated_at text, version integer
);

-- A topic with a body of its own; the author comes in as an argument.
create or replace function shape(t topics, body text, author json) returns json language sql stable as $$
select row_to_json(row(
    t.id, t.project_id, t.user_id, author, t.title, body, t.is_pinned, t.is_edited, t.reply_count, iso(t.last_activity_at),
    iso(t.created_at), iso(t.updated_at), t.version
)::topic_shape)
$$;

-- A topic as answers and events show it.
create or replace function topic_json(t topics) returns json language sql stable as $$
select shape(t, t.body, (select shape(u) from users u where u.id = t.user_id))
$$;

-- A topic as lists show it: of a longer body only its first 1,000 characters, and then `body_cut` is true. Sizes are asked
-- without reading a text. Whatever it holds, it has less than 13,000 bytes: a character of a title or a body takes six at most
-- ("\u0001"), one of a name or an address four.
create or replace function listed_topic(t topics, author json) returns json language sql stable as $$
select case
    when octet_length(t.body) > 1000 and octet_length(t.body) > octet_length(left(t.body, 1000))
        then joined('{"body_cut":true}', shape(t, left(t.body, 1000), author)::text)::json
    else shape(t, t.body, author)
end
$$;

-- A topic with itself once more as `topic`, and with replies.
create or replace function topic_detail(t topics, replies_ text, more_ boolean) returns text language plpgsql stable as $$
declare
    topic text := topic_json(t);
begin
    return joined(topic, '{"topic":' || topic || ',"replies":[' || replies_ || '],"replies_more":' || more_ || '}');
end
$$;

create type reply_shape as (
    id bigint, topic_id bigint, user_id bigint, "user" json, body text, is_edited boolean, created_at text, updated_at text,
    version integer
);

-- A reply; the author comes in as an argument.
create or replace function shape(r topic_replies, author json) returns json language sql stable as $$
select row_to_json(row(
    r.id, r.topic_id, r.user_id, author, r.body, r.is_edited, iso(r.created_at), iso(r.updated_at), r.version
)::reply_shape)
$$;

create or replace function reply_json(r topic_replies) returns json language sql stable as $$
select shape(r, (select shape(u) from users u where u.id = r.user_id))
$$;

-- A page of a topic's replies, oldest first: the first ones after an id, or, with `before_` alone, the last ones before it. With
-- the id at which it ends, and whether more come there. It ends after `bytes_`, but not before its first reply; what is not the
-- body is reckoned as long as it may be.
create or replace function page_of_replies(
    topic_ bigint, before_ bigint, after_ bigint, limit_ integer, bytes_ bigint
) returns table (items text, end_id bigint, more boolean) language sql stable as $$
with chosen as (
    (
        select r.id, row_number() over (order by r.id) as nth, octet_length(to_json(r.body)::text) as octets
        from topic_replies r
        where r.topic_id = topic_ and r.deleted_at is null and (after_ is not null or before_ is null)
            and r.id > coalesce(after_, 0) and r.id < coalesce(before_, 9223372036854775807)
        order by r.id limit limit_ + 1
    )
    union all
    (
        select r.id, row_number() over (order by r.id desc) as nth, octet_length(to_json(r.body)::text) as octets
        from topic_replies r
        where r.topic_id = topic_ and r.deleted_at is null and after_ is null and r.id < before_
        order by r.id desc limit limit_ + 1
    )
), fitting as (
    select c.id, c.nth from (
        select o.id, o.nth, sum(3500 + o.octets) over (order by o.nth) as upto from chosen o
    ) c
    where c.nth <= limit_ and (c.nth = 1 or c.upto <= bytes_)
)
select
    coalesce(string_agg(shape(r, shape(u))::text, ',' order by r.id), ''),
    (array_agg(f.id order by f.nth desc))[1],
    count(*) < (select count(*) from chosen)
from fitting f
inner join topic_replies r on r.id = f.id
inner join users u on u.id = r.user_id
$$;
