-- name: create -> one, by key
-- A new card: see create_card in sql/changes/cards.sql.
select status, answer, messages
from create_card(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :column_id::bigint, :fields::jsonb,
    :index::integer, :position::double precision, :before_id::bigint, :after_id::bigint
);

-- name: update -> one, by key
-- Other values for a card's fields: see update_card in sql/changes/cards.sql.
select status, answer, messages
from update_card(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :card::text, :fields::jsonb, :shows::text
);

-- name: move -> one, by key
-- Another place for a card: see move_card in sql/changes/cards.sql.
select status, answer, messages
from move_card(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :card::text, :column_id::bigint,
    :index::integer, :position::double precision, :before_id::bigint, :after_id::bigint
);

-- name: archive -> one, by key
-- A card into the archive, or out of it: see archive_card in sql/changes/cards.sql.
select status, answer, messages
from archive_card(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :card::text, :archived::boolean
);

-- name: copy -> one, by key
-- Another card like one: see copy_card in sql/changes/cards.sql.
select status, answer, messages
from copy_card(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer, :project_id::bigint, :card::text
);

-- name: transfer -> one, by key
-- A card, or a copy of it, to another project: see transfer_card in sql/changes/transfer.sql.
select status, answer, messages
from transfer_card(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer, :project_id::bigint, :card::text,
    :target_id::bigint, :column_id::bigint, :copies::boolean, :most_bytes::bigint
);

-- name: went_to -> one, by key
-- The slug of the project to which a card went that had this key in a project, and the card's key there.
select t.slug, t.key_prefix || '-' || k.card_number as key
from projects as p
inner join card_key_aliases as a
    on a.key_prefix = p.key_prefix and a.card_number = substring(:card::text from '-([0-9]{1,9})$')::integer
inner join cards as k on k.id = a.card_id
inner join projects as t on t.id = k.project_id
where p.id = :project_id::bigint and p.key_prefix = upper(split_part(:card::text, '-', 1)) and k.deleted_at is null;

-- name: update_many -> one, by key
-- The same for many cards: see update_cards in sql/changes/cards.sql.
select answer, messages
from update_cards(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :ids::bigint[], :fields::jsonb, :bytes::bigint
);

-- name: find -> one, by key
-- A live card's id.
select k.id
from projects as p
inner join cards as k on k.id = card_id(p, :card::text)
where p.id = :project_id::bigint and k.deleted_at is null;

-- name: may_watch -> value, by key
-- Whether somebody is a member who may act.
select exists(
    select 1 from project_members as m
    inner join users as u on u.id = m.user_id
    where m.project_id = :project_id::bigint and m.user_id = :user_id::bigint and u.is_active and u.deleted_at is null
);

-- name: watch -> nothing, by key
insert into card_watchers (card_id, user_id) values (:id::bigint, :user_id::bigint) on conflict do nothing;

-- name: unwatch -> many, by key
-- No row when the user does not watch the card.
delete from card_watchers where card_id = :id::bigint and user_id = :user_id::bigint returning user_id;

-- name: watchers -> value
-- Who watches a card, as one JSON array.
select coalesce(array_to_json(array_agg(shape(u) order by w.created_at, w.user_id)), '[]')::text
from card_watchers as w
inner join users as u on u.id = w.user_id
where w.card_id = :id::bigint;

-- name: lock -> one, by key
-- A live card, locked after its column.
select k.id, k.column_id, k.version, p.key_prefix || '-' || k.card_number as key
from projects as p
cross join lock_card(p, :card::text, null) as k
where p.id = :project_id::bigint;

-- name: require_version -> nothing, by key
-- Refuses when the client saw another version than the present one.
select require_version(:version::integer, k.version, :conflict_status::integer, 'card', card_json(k.id))
from cards as k
where k.id = :id::bigint and k.version <> :version::integer;

-- name: delete -> nothing, by key
-- Hides a locked card everywhere.
update cards set deleted_at = clock_timestamp(), updated_at = clock_timestamp(), version = version + 1 where id = :id::bigint;

-- name: deleted_one -> one, by key
-- A deleted card, not yet locked, and the column it would come back to: its own, or the first when that is gone.
select
    k.id,
    (
        select c.id from columns as c
        where c.project_id = p.id and c.deleted_at is null
        order by c.id <> k.column_id, c.position, c.id
        limit 1
    ) as column_id
from projects as p
inner join cards as k on k.id = card_id(p, :card::text)
where p.id = :project_id::bigint and k.deleted_at is not null;

-- name: lock_column -> nothing, by key
select lock_column(:project_id::bigint, :column_id::bigint, 422);

-- name: restore -> value, by key
-- Puts a deleted card at the end of a locked column; no row when somebody was faster.
update cards as k set
    deleted_at = null, archived_at = null, column_id = :column_id::bigint, version = k.version + 1,
    updated_at = clock_timestamp(),
    position = (select spot.place from place_in(:column_id::bigint, k.id, null, null, null, null) as spot)
where k.id = :id::bigint and k.deleted_at is not null
returning k.id;

-- name: purge -> one, by key
-- Takes a deleted card and all that hangs on it out of the database; no row when somebody was faster.
delete from cards where id = :id::bigint and deleted_at is not null returning id;

-- name: tell -> nothing, by key
-- A fact for a card's history.
insert into card_history (project_id, card_id, user_id, event_type)
values (:project_id::bigint, :card_id::bigint, :actor::bigint, :event_type);

-- name: shape -> value, by key
-- One card as JSON text.
select card_json(:id::bigint)::text;

-- name: begun -> value, by key
-- What the event of a card says that comes.
select card_begun(c, card_json(c.id)::text) from cards as c where c.id = :id::bigint;

-- name: updated -> value, by key
-- What the event of a card's update says: the card, and the names of its keys that changed.
select card_updated_payload(:changes::text[], card_json(:id::bigint)::text);

-- name: detail -> one
-- A live card with these parts of what hangs on it, for one reader: see card_with in sql/shapes/cards.sql.
select card_with(k, :reader::bigint, card_json(k, p.key_prefix)::text, :parts::text[]) as card
from projects as p
inner join cards as k on k.id = card_id(p, :card::text)
where p.id = :project_id::bigint and k.deleted_at is null;

-- name: in_column -> one
-- A page of a column's cards by position, after a card's position and id, or after a card, which `is_gone` when the column has
-- no such one. It ends after `bytes`, but not before its first card.
-- No row when the project has no such column. Cards that were spaced anew have other positions and their versions still: then
-- the page begins after the card's present position.
select
    page.items,
    page.next,
    :after_card_id::bigint is not null and not exists(
        select 1 from cards as g where g.id = :after_card_id::bigint and g.column_id = k.id and g.deleted_at is null
    ) as is_gone
from columns as k
cross join lateral (
    with ordered as (
        select
            c.id, c.position, c.version, octet_length(c.title) + octet_length(c.description) as octets,
            row_number() over (order by c.position, c.id) as nth
        from cards as c
        where
            c.column_id = k.id and c.deleted_at is null
            and (c.archived_at is null or :include_archived::boolean)
            and (not c.closed or :include_closed::boolean)
            and (
                coalesce(:after_id::bigint, :after_card_id::bigint) is null
                or (c.position, c.id) > (
                    coalesce(
                        (
                            select a.position from cards as a
                            where
                                a.id = coalesce(:after_id::bigint, :after_card_id::bigint)
                                and (:after_id::bigint is null or a.version = :after_version::integer)
                                and a.column_id = :column_id::bigint
                        ),
                        :after_position::double precision
                    ),
                    coalesce(:after_id::bigint, :after_card_id::bigint)
                )
            )
        order by c.position, c.id
        limit :limit::integer + 1
    ), listed as (
        select array_agg(o.id order by o.nth) as ids, sum(o.octets) as octets from ordered as o where o.nth <= :limit::integer
    ), made as materialized (
        select j.id, j.card from listed as l, lateral first_cards(l.ids, l.octets, :bytes::bigint) as j
        where l.ids is not null and not :brief::boolean
        union all
        select j.id, j.card from listed as l, lateral brief_cards(l.ids, :bytes::bigint) as j
        where l.ids is not null and :brief::boolean
    )
    select
        '[' || coalesce(string_agg(j.card::text, ',' order by o.nth), '') || ']' as items,
        case
            when count(*) < (select count(*) from ordered) then json_build_array(
                (array_agg(o.position order by o.nth desc))[1], (array_agg(o.id order by o.nth desc))[1],
                (array_agg(o.version order by o.nth desc))[1]
            )
        end as next
    from ordered as o
    inner join made as j on j.id = o.id
) as page
where k.id = :column_id::bigint and k.project_id = :project_id::bigint and k.deleted_at is null;

-- name: in_project -> one
-- A page of a project's live cards that fit every filter given, by id. It ends after `bytes`, but not before its first card.
-- `lateral`, so that PostgreSQL goes by the project's own index: knowing which project, it may take its cards for so many that
-- it looks for them among all. Labels are looked up card by card: by `exists` it would read those of all projects.
with chosen as (
    select c.id, c.octets, c.nth
    from projects as p
    cross join lateral (
        select
            k.id, octet_length(k.title) + octet_length(k.description) as octets,
            row_number() over (order by k.id) as nth
        from cards as k
        where
            k.project_id = p.id and k.deleted_at is null
            and k.id > coalesce(:after_id::bigint, 0)
            and (k.archived_at is null or :include_archived::boolean)
            and (k.archived_at is not null or not :only_archived::boolean)
            and (:column_id::bigint is null or k.column_id = :column_id::bigint)
            and (:closed::boolean is null or k.closed = :closed::boolean)
            and (:due_before::date is null or k.due_date < :due_before::date)
            and (
                :assignee::bigint is null
                or exists (
                    select 1 from card_assignees as a where a.card_id = k.id and a.user_id = :assignee::bigint
                )
            )
            and (
                :label::text is null
                or (
                    select true from card_labels as cl
                    inner join labels as b on b.id = cl.label_id
                    where
                        cl.card_id = k.id and b.deleted_at is null
                        and (b.id::text = :label::text or lower(b.name) = lower(:label::text))
                    limit 1
                )
            )
        order by k.id
        limit :limit::integer + 1
    ) as c
    where p.id = :project_id::bigint
), listed as (
    select array_agg(o.id order by o.nth) as ids, sum(o.octets) as octets from chosen as o where o.nth <= :limit::integer
), made as materialized (
    select j.id, j.card from listed as l, lateral first_cards(l.ids, l.octets, :bytes::bigint) as j where l.ids is not null
)
select
    '[' || coalesce(string_agg(j.card::text, ',' order by o.nth), '') || ']' as items,
    case when count(*) < (select count(*) from chosen) then json_build_array(0, 0, 0, max(o.id)) end as next
from chosen as o
inner join made as j on j.id = o.id;

-- name: sorted -> one
-- The same in another order: the last changed first (`updated`), the newest first (`created`), as the board shows them
-- (`position`). Three numbers order a card, and then its id. All that fit are looked at, and few of them shown.
with chosen as (
    select f.id, f.octets, f.first, f.second, f.third, row_number() over (order by f.first, f.second, f.third, f.id) as nth
    from projects as p
    cross join lateral (
        select
            k.id, octet_length(k.title) + octet_length(k.description) as octets,
            case :sort::text
                when 'updated' then - (extract(epoch from k.updated_at) * 1000000)::bigint
                when 'created' then - k.id
                else s.position
            end::double precision as first,
            case :sort::text when 'position' then s.id else 0 end as second,
            case :sort::text when 'position' then k.position else 0 end as third
        from cards as k
        inner join columns as s on s.id = k.column_id
        where
            k.project_id = p.id and k.deleted_at is null
            and (k.archived_at is null or :include_archived::boolean)
            and (k.archived_at is not null or not :only_archived::boolean)
            and (:column_id::bigint is null or k.column_id = :column_id::bigint)
            and (:closed::boolean is null or k.closed = :closed::boolean)
            and (:due_before::date is null or k.due_date < :due_before::date)
            and (
                :assignee::bigint is null
                or exists (
                    select 1 from card_assignees as a where a.card_id = k.id and a.user_id = :assignee::bigint
                )
            )
            and (
                :label::text is null
                or (
                    select true from card_labels as cl
                    inner join labels as b on b.id = cl.label_id
                    where
                        cl.card_id = k.id and b.deleted_at is null
                        and (b.id::text = :label::text or lower(b.name) = lower(:label::text))
                    limit 1
                )
            )
        offset 0
    ) as f
    where p.id = :project_id::bigint and (
        :after_id::bigint is null
        or (f.first, f.second, f.third, f.id)
        > (:first::double precision, :second::bigint, :third::double precision, :after_id::bigint)
    )
    order by f.first, f.second, f.third, f.id
    limit :limit::integer + 1
), listed as (
    select array_agg(o.id order by o.nth) as ids, sum(o.octets) as octets from chosen as o where o.nth <= :limit::integer
), made as materialized (
    select j.id, j.card from listed as l, lateral first_cards(l.ids, l.octets, :bytes::bigint) as j where l.ids is not null
)
select
    '[' || coalesce(string_agg(j.card::text, ',' order by o.nth), '') || ']' as items,
    case
        when count(*) < (select count(*) from chosen) then json_build_array(
            (array_agg(o.first order by o.nth desc))[1], (array_agg(o.second order by o.nth desc))[1],
            (array_agg(o.third order by o.nth desc))[1], (array_agg(o.id order by o.nth desc))[1]
        )
    end as next
from chosen as o
inner join made as j on j.id = o.id;

-- name: search -> one
-- The same of those whose title or description holds `q`; before them, on the first page, the one whose key `q` is.
-- Texts are read, of which there may be any amount: a page looks at `search_cards` that may hold `q` and `search_bytes` of them,
-- and says that there are more where it looked no further. They come from an index, unless `q` is so short that all may hold it.
-- Only as many are read as the page needs: one after the other, `offset` sees to that.
with asked as materialized (
    select
        p.id, cards_that_may_hold(p.id, :q::text, coalesce(:after_id::bigint, 0)) as ids,
        (
            select k.id from cards as k
            where
                k.project_id = p.id
                and k.card_number = substring(upper(btrim(:q::text)) from '-([0-9]{1,9})$')::integer
                and p.key_prefix || '-' || k.card_number = upper(btrim(:q::text))
        ) as key_id
    from projects as p
    where p.id = :project_id::bigint
), possible as materialized (
    -- What is not here any more counts as well: the next page goes on behind the last that was looked at.
    select f.id, k.id is not null as is_here, coalesce(octet_length(k.title) + octet_length(k.description), 0) as octets
    from asked as a
    cross join lateral (
        select u.id from unnest(a.ids) as u (id) order by u.id limit :search_cards::integer + 1
    ) as f
    left join cards as k on k.id = f.id and k.project_id = a.id and k.deleted_at is null
    union all
    select k.id, true as is_here, k.octets
    from asked as a
    cross join lateral (
        select c.id, octet_length(c.title) + octet_length(c.description) as octets
        from cards as c
        where a.ids is null and c.project_id = a.id and c.deleted_at is null and c.id > coalesce(:after_id::bigint, 0)
        order by c.id
        limit 20000
    ) as k
), reach as materialized (
    select max(r.id) as upto
    from (
        select
            q.id, sum(q.octets) over (order by q.id) - q.octets as before, row_number() over (order by q.id) as nth
        from possible as q
    ) as r
    cross join asked as a
    where r.before < :search_bytes::bigint and (r.nth <= :search_cards::integer or a.ids is null)
), looked_at as (
    select a.key_id as id, true as is_key
    from asked as a
    where a.key_id is not null and :after_id::bigint is null
    union all
    select q.id, false as is_key
    from asked as a
    cross join reach as z
    inner join possible as q on q.id <= z.upto
    where q.is_here and q.id is distinct from a.key_id
), chosen as materialized (
    select c.id, l.is_key, c.octets, row_number() over (order by not l.is_key, l.id) as nth
    from (select f.id, f.is_key from looked_at as f order by not f.is_key, f.id offset 0) as l
    cross join lateral (
        select k.id, octet_length(k.title) + octet_length(k.description) as octets
        from cards as k
        where
            k.id = l.id and k.deleted_at is null
            and (k.archived_at is null or :include_archived::boolean)
            and (k.archived_at is not null or not :only_archived::boolean)
            and (:column_id::bigint is null or k.column_id = :column_id::bigint)
            and (:closed::boolean is null or k.closed = :closed::boolean)
            and (:due_before::date is null or k.due_date < :due_before::date)
            and (
                :assignee::bigint is null
                or exists (
                    select 1 from card_assignees as a where a.card_id = k.id and a.user_id = :assignee::bigint
                )
            )
            and (
                :label::text is null
                or (
                    select true from card_labels as cl
                    inner join labels as b on b.id = cl.label_id
                    where
                        cl.card_id = k.id and b.deleted_at is null
                        and (b.id::text = :label::text or lower(b.name) = lower(:label::text))
                    limit 1
                )
            )
            and (
                l.is_key
                or strpos(lower(k.title), lower(:q::text)) > 0
                or strpos(lower(k.description), lower(:q::text)) > 0
            )
        offset 0
    ) as c
    order by not l.is_key, l.id
    limit :limit::integer + 1
), listed as (
    select array_agg(o.id order by o.nth) as ids, sum(o.octets) as octets from chosen as o where o.nth <= :limit::integer
), made as materialized (
    select j.id, j.card from listed as l, lateral first_cards(l.ids, l.octets, :bytes::bigint) as j where l.ids is not null
)
select
    page.items,
    case
        when page.is_full then json_build_array(0, 0, 0, coalesce(page.id, :after_id::bigint, 0))
        when exists (select 1 from possible as q where q.id > z.upto)
            or exists (
                select 1 from asked as a
                cross join lateral (
                    select 1 from cards as k
                    where a.ids is null and k.project_id = a.id and k.deleted_at is null and k.id > z.upto
                    limit 1
                ) as beyond
            )
            then json_build_array(0, 0, 0, z.upto)
    end as next
from reach as z
cross join (
    select
        '[' || coalesce(string_agg(j.card::text, ',' order by o.nth), '') || ']' as items,
        max(o.id) filter (where not o.is_key) as id,
        count(*) < (select count(*) from chosen) as is_full
    from chosen as o
    inner join made as j on j.id = o.id
) as page;

-- name: make_grams -> value, by key
-- What cards hold whose texts were written lately: see make_grams in sql/changes/search.sql.
select make_grams(:most::integer, :bytes::bigint);

-- name: deleted -> one
-- A page of a project's deleted cards, the last deleted first, older than a moment (in microseconds since 1970) and id. It ends
-- after `bytes`, but not before its first card.
with chosen as (
    select
        c.id, c.deleted_at, octet_length(c.title) + octet_length(c.description) as octets,
        row_number() over (order by c.deleted_at desc, c.id desc) as nth
    from cards as c
    where
        c.project_id = :project_id::bigint and c.deleted_at is not null
        and (
            :before_id::bigint is null
            or (c.deleted_at, c.id) < (to_timestamp(0) + :before_us::bigint * interval '1 microsecond', :before_id::bigint)
        )
    order by c.deleted_at desc, c.id desc
    limit :limit::integer + 1
), listed as (
    select array_agg(o.id order by o.nth) as ids, sum(o.octets) as octets from chosen as o where o.nth <= :limit::integer
), made as materialized (
    select j.id, j.card from listed as l, lateral first_cards(l.ids, l.octets, :bytes::bigint) as j where l.ids is not null
)
select
    '[' || coalesce(string_agg(j.card::text, ',' order by o.nth), '') || ']' as items,
    case
        when count(*) < (select count(*) from chosen) then json_build_array(
            (extract(epoch from min(o.deleted_at)) * 1000000)::bigint, (array_agg(o.id order by o.nth desc))[1]
        )
    end as next
from chosen as o
inner join made as j on j.id = o.id;

-- name: history -> one
-- A page of what happened to a live card, newest first, between two ids: see history_page in sql/shapes/cards.sql.
select page.items, page.next
from projects as p
inner join cards as k on k.id = card_id(p, :card::text)
cross join lateral history_page(k.id, :before::bigint, :after::bigint, :limit::integer) as page
where p.id = :project_id::bigint and k.deleted_at is null;

-- name: activity -> one
-- A page of what happened on a project's live cards, newest first: see activity_page in sql/shapes/cards.sql.
select page.items, page.next
from activity_page(:project_id::bigint, :before::bigint, :limit::integer, :reach::integer) as page;
