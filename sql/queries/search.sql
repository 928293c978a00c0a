-- name: find -> many
-- What the reader may see and holds all words of `q`, of each kind the best `limit`, and of those the last written first: see
-- found_in in sql/shapes/search.sql. With the text from which a piece is shown; `heading` is what it belongs to, for people.
with who as materialized (
    select u.id, u.global_role = 'admin' as everybody from users as u
    where u.id = :reader::bigint and u.is_active and u.deleted_at is null
), places as materialized (
    select
        array(
            select p.id from projects as p where w.everybody and p.purged_at is null
            union all
            select m.project_id from project_members as m where m.user_id = w.id and not w.everybody
        ) as projects,
        array(select m.conversation_id from conversation_members as m where m.user_id = w.id) as conversations
    from who as w
), found as materialized (
    select
        k.kind, f.id, f.rank, row_number() over (partition by k.kind order by f.rank desc, f.id desc) as nth
    from places as p
    cross join unnest(:kinds::integer[]) as k (kind)
    cross join lateral found_in(k.kind, case when k.kind = 3 then p.conversations else p.projects end, :q::text) as f
), best as materialized (
    select f.kind, f.id, f.rank, piece_of(t.title, t.body, search_patterns(:q::text)) as piece
    from found as f
    cross join lateral found_text(f.kind, f.id) as t
    where f.nth <= :limit::integer
), shown as (
    select
        b.kind, b.id, p.slug, null::text as heading, p.key_prefix || '-' || c.card_number as card_key,
        j.card::text as item
    from cards_json(array(select o.id from best as o where o.kind = 0), true) as j
    inner join best as b on b.kind = 0 and b.id = j.id
    inner join cards as c on c.id = j.id
    inner join projects as p on p.id = c.project_id
    union all
    select b.kind, b.id, p.slug, c.title, p.key_prefix || '-' || c.card_number, shape(m)::text
    from best as b
    inner join card_comments as m on m.id = b.id
    inner join cards as c on c.id = m.card_id
    inner join projects as p on p.id = c.project_id
    where b.kind = 1
    union all
    select b.kind, b.id, p.slug, null, null, j.message::text
    from messages_json(array(select o.id from best as o where o.kind = 2)) as j
    inner join best as b on b.kind = 2 and b.id = j.id
    inner join chat_messages as m on m.id = j.id
    inner join projects as p on p.id = m.project_id
    union all
    select b.kind, b.id, null, v.name, null, j.message::text
    from conversation_messages_json(array(select o.id from best as o where o.kind = 3)) as j
    inner join best as b on b.kind = 3 and b.id = j.id
    inner join conversation_messages as m on m.id = j.id
    inner join conversations as v on v.id = m.conversation_id
    union all
    select b.kind, b.id, p.slug, null, null, listed_topic(t, shape(u))::text
    from best as b
    inner join topics as t on t.id = b.id
    inner join users as u on u.id = t.user_id
    inner join projects as p on p.id = t.project_id
    where b.kind = 4
    union all
    select b.kind, b.id, p.slug, t.title, null, reply_json(r)::text
    from best as b
    inner join topic_replies as r on r.id = b.id
    inner join topics as t on t.id = r.topic_id
    inner join projects as p on p.id = r.project_id
    where b.kind = 5
)
select b.kind, s.slug as project_slug, s.heading, s.card_key, b.piece, s.item
from best as b
inner join shown as s on s.kind = b.kind and s.id = b.id
order by b.rank desc, b.kind asc, b.id desc;

-- name: make_talk_grams -> value, by key
-- What hold the texts that were written lately elsewhere than on cards: see make_talk_grams in sql/changes/search.sql.
select make_talk_grams(:most::integer, :bytes::bigint);
