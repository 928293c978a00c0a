-- name: page -> one
-- A page of the projects a user may see, each with the reader's own view, and their ids: by name, or, `by_activity`, those first
-- in which something happened last; after a name in lower case, a moment (in microseconds since 1970) and an id. It ends after
-- about 8 MiB. `starred_only`: those with the reader's star.
with open as (
    -- `offset` keeps it apart: what they are sorted by is asked once for each.
    select
        p.id,
        case when :by_activity::boolean then '' else lower(p.name) end collate "C" as lower_name,
        case when :by_activity::boolean then -(extract(epoch from project_activity(p.id, p.updated_at)) * 1000000)::bigint else 0 end as quiet_us,
        effective_role(:global_role::text, m.role) as my_role,
        s.user_id is not null as starred,
        octet_length(p.description) as octets
    from (
        select k.project_id from project_members as k where k.user_id = :user_id::bigint
        union
        select k.id from projects as k where :global_role::text = 'admin' and not :mine::boolean and k.purged_at is null
    ) as o
    inner join projects as p on p.id = o.project_id
    left join project_members as m on m.project_id = p.id and m.user_id = :user_id::bigint
    left join starred_projects as s on s.project_id = p.id and s.user_id = :user_id::bigint
    where effective_role(:global_role::text, m.role) is not null
        and (s.user_id is not null or not :starred_only::boolean)
        and (not p.is_archived or :include_archived::boolean)
        and (
            :q::text = '' or strpos(lower(p.name), lower(:q::text)) > 0
            or strpos(p.slug, lower(:q::text)) > 0 or p.key_prefix = upper(:q::text)
        )
    offset 0
), seen as (
    select o.* from open as o
    where :after_id::bigint is null
        or (o.quiet_us, o.lower_name, o.id) > (-:after_us::bigint, :after_name::text, :after_id::bigint)
    order by o.quiet_us, o.lower_name, o.id
    limit :limit::integer + 1
), page as (
    -- A byte of text may take six in JSON.
    select
        seen.*,
        row_number() over following as nth,
        count(*) over () as total,
        sum(6 * seen.octets) over following - 6 * seen.octets as before
    from seen
    window following as (order by seen.quiet_us, seen.lower_name, seen.id)
), listed as (
    select page.*, count(*) over () < page.total as more from page
    where page.nth <= :limit::integer and page.before < 8388608
)
select
    coalesce(array_agg(
        joined(
            own_project(p, r, :user_id::bigint, seen.my_role, seen.starred)::text,
            shape(p, c.open_card_count, n.member_count)::text
        ) order by seen.nth
    ), '{}') as items,
    coalesce(array_agg(seen.id order by seen.nth), '{}') as ids,
    case
        when bool_or(seen.more) then json_build_array(
            (array_agg(seen.lower_name order by seen.nth desc))[1], -(array_agg(seen.quiet_us order by seen.nth desc))[1],
            (array_agg(seen.id order by seen.nth desc))[1]
        )
    end as next
from listed as seen
inner join projects as p on p.id = seen.id
left join project_readers as r on r.project_id = seen.id and r.user_id = :user_id::bigint
cross join lateral (
    select count(*) as open_card_count from cards as k
    where k.project_id = seen.id and k.deleted_at is null and k.archived_at is null and not k.closed
) as c
cross join lateral (
    select count(*) as member_count from project_members as k where k.project_id = seen.id
) as n;

-- name: memberships -> many
-- In which projects these users are members, without archived ones.
select m.user_id, m.project_id, p.slug
from project_members as m
inner join projects as p on p.id = m.project_id
where m.user_id = any(:users::bigint[]) and not p.is_archived and p.purged_at is null;

-- name: activity -> many
-- What each of these users has of the project beside it, if they are members of it still.
with asked as (
    select a.user_id, a.project_id from unnest(:users::bigint[], :projects::bigint[]) as a (user_id, project_id)
), counted as (
    -- `offset` keeps it apart: a project is counted once for all its readers.
    select
        d.project_id,
        (
            select count(*) from cards as k
            where k.project_id = d.project_id and k.deleted_at is null and k.archived_at is null and not k.closed
        ) as open_card_count
    from (select distinct a.project_id from asked as a) as d
    offset 0
)
select
    a.user_id,
    a.project_id,
    p.slug,
    coalesce(case when r.user_id is not null then chat_unread_count(p.id, a.user_id, r.last_read_message_id) end, 0) as unread_count,
    unread_mentions(a.user_id, p.id) as mention_count,
    c.open_card_count
from asked as a
inner join project_members as m on m.project_id = a.project_id and m.user_id = a.user_id
inner join projects as p on p.id = a.project_id
inner join counted as c on c.project_id = a.project_id
left join project_readers as r on r.project_id = a.project_id and r.user_id = a.user_id;

-- name: create -> one, by key
select p.id, p.slug from create_project(:actor::bigint, :name, :description, :color, :key_prefix) as p;

-- name: update -> nothing, by key
update projects
set
    name = :name,
    description = :description,
    color = :color,
    is_archived = :is_archived,
    archived_at = case when :is_archived then coalesce(archived_at, clock_timestamp()) end,
    updated_at = clock_timestamp()
where id = :project_id;

-- name: one -> value
-- A project as everybody on it sees it.
select project_json(:project_id);

-- name: seen -> value, by key
-- A project with the reader's own view before it.
select project_seen(:project_id, :user_id, :role);

-- name: is_archived -> value, by key
select p.is_archived from projects as p where p.id = :project_id;

-- name: star -> many, by key
-- No row when it is starred already.
insert into starred_projects (user_id, project_id) values (:user_id, :project_id) on conflict do nothing returning user_id;

-- name: unstar -> many, by key
-- No row when it has no star of this user.
delete from starred_projects where user_id = :user_id and project_id = :project_id returning user_id;

-- name: mute -> nothing, by key
-- Who has no row yet comes as a member does: having read what was said.
insert into project_readers (project_id, user_id, muted, last_read_message_id)
values (
    :project_id::bigint, :user_id::bigint, :muted::boolean,
    (select max(m.id) from chat_messages as m where m.project_id = :project_id::bigint)
)
on conflict (project_id, user_id) do update set muted = excluded.muted;

-- name: board_mark -> one
-- Whether a kept board still holds, and the reader's own view of the project: indexed reads of few rows.
select
    coalesce((select f.seq from feeds as f where f.channel = :channel), 0) as seq,
    epoch() as epoch,
    own_project(p, r, :user_id::bigint, :role::text, s.user_id is not null)::text as own
from projects as p
left join project_readers as r on r.project_id = p.id and r.user_id = :user_id::bigint
left join starred_projects as s on s.project_id = p.id and s.user_id = :user_id::bigint
where p.id = :project_id::bigint;

-- name: board -> one
-- The board as everybody on the project sees it, with so many newest `messages` of its chat, and the epoch and seq that it is true
-- for, all of one moment. One pass over the live cards; a column shows its first `most`, and all together take at most what the rest
-- leaves of `bytes`: see board_cards in sql/shapes/cards.sql; 200,000 are more than what a hundred columns say of themselves.
-- The long part comes last, where it is copied least.
-- The cards' JSON is `materialized`, and what the columns hold of it, so that each is made once, not for each column, also where
-- PostgreSQL has no statistics yet.
with ranked as (
    select
        c.id,
        c.column_id,
        c.closed,
        row_number() over (partition by c.column_id order by c.position, c.id) as place,
        count(*) over (partition by c.column_id) as card_count,
        octet_length(c.title) + octet_length(c.description) as octets
    from cards as c
    where c.project_id = :project_id::bigint and c.deleted_at is null and c.archived_at is null
), shown as (
    select array_agg(r.id order by r.place, r.column_id) as ids, sum(r.octets) as octets
    from ranked as r
    where r.place <= :most::bigint and :cards::boolean
), members as (
    select m.id, shape(m, u) as member, row_number() over (order by m.id) as nth
    from project_members as m inner join users as u on u.id = m.user_id
    where m.project_id = :project_id::bigint and :members::boolean
    order by m.id
    limit :most_members::integer + 1
), said as (
    select m.id, octet_length(m.body) as octets from chat_messages as m
    where m.project_id = :project_id::bigint and not m.is_deleted and :messages::integer > 0
    order by m.id desc
    limit :messages::integer + 1
), talk as (
    -- Within a mebibyte: the oldest of them go first.
    select
        coalesce(string_agg(j.message::text, ',' order by j.id), '') as list,
        (select count(*) from said) > count(j.id) as more
    from (
        select array_agg(n.id order by n.id desc) as ids, sum(n.octets) as octets
        from (select s.id, s.octets from said as s order by s.id desc limit :messages::integer) as n
    ) as newest, lateral first_messages(newest.ids, newest.octets, 1048576) as j
    where newest.ids is not null
), rest as materialized (
    select joined(
        '{"created_by":' || shape(u)::text
        || case when :labels::boolean then ',"labels":' || (
            select coalesce(array_to_json(array_agg(shape(l) order by l.id)), '[]')::text from labels as l
            where l.project_id = p.id and l.deleted_at is null
        ) else '' end
        || case when :members::boolean then (
            select
                ',"members":[' || coalesce(string_agg(m.member::text, ',' order by m.id) filter (where m.nth <= :most_members::integer), '') || ']'
                || ',"members_more":' || (count(*) > :most_members::integer)::text
            from members as m
        ) else '' end
        || case when :messages::integer > 0 then (
            select ',"messages":[' || t.list || '],"messages_more":' || t.more::text from talk as t
        ) else '' end || '}',
        shape(
            p, (select count(*) from ranked as r where not r.closed), (select count(*) from project_members as m where m.project_id = p.id)
        )::text
    ) as project
    from projects as p
    inner join users as u on u.id = p.created_by_id
    where p.id = :project_id::bigint
), made as materialized (
    select s.id, s.card
    from shown, rest, lateral board_cards(shown.ids, shown.octets, :bytes::bigint - 200000 - octet_length(rest.project)) as s
    where shown.ids is not null and not :brief::boolean
    union all
    select s.id, s.card
    from shown, rest, lateral brief_cards(shown.ids, :bytes::bigint - 200000 - octet_length(rest.project)) as s
    where shown.ids is not null and :brief::boolean
), filled as materialized (
    select
        r.column_id,
        max(r.card_count) as card_count,
        count(j.id) as shown_count,
        (array_agg(r.id order by r.place) filter (where j.card is not null))[count(j.id)] as last_id,
        string_agg(j.card::text, ',' order by r.place) filter (where j.card is not null) as cards
    from ranked as r
    left join made as j on j.id = r.id
    group by r.column_id
), filled_columns as (
    select coalesce(string_agg(
        joined(shape(k, f.card_count)::text, case when :cards::boolean
            then '{"cards_more":' || (coalesce(f.card_count, 0) > coalesce(f.shown_count, 0))::text || ',"cards_next":' || case
                when f.shown_count < f.card_count then '"' || cursor_of(
                    replace(:cards_bound::text, '{column_id}', k.id::text),
                    coalesce(
                        (select json_build_array(e.position, e.id, e.version)::text from cards as e where e.id = f.last_id),
                        '[-1e300, 9007199254740991, 1]'  -- no card fitted: before all
                    )
                ) || '"'
                else 'null'
            end || ',"cards":[' || coalesce(f.cards, '') || ']}'
            else '{}' end),
        ',' order by k.position, k.id
    ), '') as list
    from columns as k left join filled as f on f.column_id = k.id
    where k.project_id = :project_id::bigint and k.deleted_at is null
)
select
    at.seq,
    at.epoch,
    convert_to(
        joined(
            joined('{"seq":' || at.seq || ',"epoch":"' || at.epoch || '"}', rest.project),
            case when :columns::boolean then '{"columns":[' || (select f.list from filled_columns as f) || ']}' else '{}' end
        ), 'UTF8'
    ) as board
from rest
cross join (
    select
        coalesce((select f.seq from feeds as f where f.channel = 'project:' || :project_id::bigint), 0) as seq,
        epoch() as epoch
) as at;

-- name: counts -> one
-- How many cards a board shows, and the seq and epoch that it is true for.
select
    at.seq,
    at.epoch,
    board_counts(:project_id::bigint, at.seq) as counts
from (
    select
        coalesce((select f.seq from feeds as f where f.channel = 'project:' || :project_id::bigint), 0) as seq,
        epoch() as epoch
) as at;

-- name: digest -> one
-- The digest of a board, and the seq and epoch that it is true for.
select
    coalesce((select f.seq from feeds as f where f.channel = 'project:' || :project_id::bigint), 0) as seq,
    epoch() as epoch,
    board_digest(:project_id::bigint) as digest;
