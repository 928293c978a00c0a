create type card_shape as (
    id bigint, key text, card_number integer, project_id bigint, column_id bigint, column_name text, title text,
    description text, has_description boolean, position double precision, priority text, start_date date, due_date date, closed boolean,
    closed_at text, archived_at text, assignee_id bigint, assignees json, labels json, tags json,
    time_spent_minutes integer, comment_count integer, checklist_total integer, checklist_done integer,
    attachment_count integer, created_by_id bigint, created_at text, updated_at text, version integer
);

-- A card as boards, lists and events show it. What hangs on the row comes in as arguments: PostgreSQL inlines one expression.
create or replace function shape(
    c cards, key_prefix text, column_name text, assignee_id bigint, assignees json, labels json, tags json
) returns json language sql stable as $$
select shape(c, c.description, key_prefix, column_name, assignee_id, assignees, labels, tags)
$$;

-- The same with a description of its own.
create or replace function shape(
    c cards, description text, key_prefix text, column_name text, assignee_id bigint, assignees json, labels json, tags json
) returns json language sql stable as $$
select row_to_json(row(
    c.id, key_prefix || '-' || c.card_number, c.card_number, c.project_id, c.column_id, column_name, c.title,
    description, octet_length(c.description) > 0, c.position, c.priority, c.start_date, c.due_date, c.closed,
    iso(c.closed_at), iso(c.archived_at), assignee_id, coalesce(assignees, '[]'), coalesce(labels, '[]'), coalesce(tags, '[]'),
    c.time_spent_minutes, c.comment_count, c.checklist_total, c.checklist_done,
    c.attachment_count, c.created_by_id, iso(c.created_at), iso(c.updated_at), c.version
)::card_shape)
$$;

-- A card's JSON without its description, which stands before `has_description`. No text in it looks like a key: its quotes are
-- escaped.
create or replace function without_description(card_ text) returns text language plpgsql immutable strict as $$
begin
    return left(card_, strpos(card_, ',"description":') - 1) || substr(card_, strpos(card_, ',"has_description":'));
end
$$;

-- What the event of a card says that comes: of a longer description only its first 2,000 characters, and then `description_cut`
-- is true.
create or replace function card_begun(c cards, card_ text) returns text language plpgsql stable as $$
begin
    if octet_length(c.description) <= 2000 or octet_length(c.description) = octet_length(left(c.description, 2000)) then
        return card_;
    end if;
    return joined(
        '{"description_cut":true,"description":' || to_json(left(c.description, 2000)) || '}', without_description(card_)
    );
end
$$;

-- What is told of a card where it was, when it went to another project.
create type card_gone_shape as (card_id bigint, column_id bigint, key text, moved_to_key text);

-- Where a card or a column stands among its like.
create type place_shape as (id bigint, position double precision);

create type cards_reordered_shape as (column_id bigint, cards json);

create type tag_shape as (id bigint, card_id bigint, name text);

create or replace function shape(t card_tags) returns json language sql stable as $$
select row_to_json(row(t.id, t.card_id, t.name)::tag_shape)
$$;

create type card_ref_shape as (id bigint, key text, title text);

-- Which card, for who reads something about it.
create or replace function card_ref(c cards, key_prefix text) returns json language sql stable as $$
select row_to_json(row(c.id, key_prefix || '-' || c.card_number, c.title)::card_ref_shape)
$$;

create type fact_shape as (
    id bigint, card_id bigint, "user" json, event_type text, field text, from_value text, to_value text, detail text,
    from_column_id bigint, to_column_id bigint, from_column text, to_column text, created_at text
);

-- A fact about a card; the names of its columns are today's, and so is that of who was assigned.
create or replace function shape(h card_history, author json, from_column text, to_column text) returns json
language sql stable as $$
select row_to_json(row(
    h.id, h.card_id, author, h.event_type, h.field, h.from_value, h.to_value,
    case
        when h.field = 'assignees' and h.event_type in ('assigned', 'unassigned') then
            (select u.display_name from users u where u.id = coalesce(h.to_value, h.from_value)::bigint)
        else h.detail
    end,
    h.from_column_id, h.to_column_id, from_column, to_column, iso(h.created_at)
)::fact_shape)
$$;

-- Cards by their ids, deleted ones too, each with its shape; what hangs on them is read once for all: `materialized`, because
-- without statistics (a fresh installation, an import) PostgreSQL would read it again for each card. `brief`: of a longer
-- description only its first 1,000 characters, and then `description_cut` is true. Sizes are asked without reading a text.
create or replace function cards_json(ids_ bigint[], brief_ boolean) returns table (id bigint, card json)
language sql stable as $$
with a as materialized (
    select
        ca.card_id,
        (array_agg(ca.user_id order by ca.created_at, ca.user_id))[1] as first_id,
        array_to_json(array_agg(shape(u) order by ca.created_at, ca.user_id)) as list
    from card_assignees ca
    inner join users u on u.id = ca.user_id
    where ca.card_id = any(ids_)
    group by ca.card_id
), l as materialized (
    select cl.card_id, array_to_json(array_agg(shape(b) order by b.id)) as list
    from card_labels cl
    inner join labels b on b.id = cl.label_id
    where cl.card_id = any(ids_) and b.deleted_at is null
    group by cl.card_id
), t as materialized (
    select ct.card_id, array_to_json(array_agg(shape(ct) order by ct.id)) as list
    from card_tags ct
    where ct.card_id = any(ids_)
    group by ct.card_id
)
select
    c.id,
    case
        when brief_ and octet_length(c.description) > 1000
            and octet_length(c.description) > octet_length(left(c.description, 1000))
            then joined(
                '{"description_cut":true}',
                shape(c, left(c.description, 1000), p.key_prefix, k.name, a.first_id, a.list, l.list, t.list)::text
            )::json
        else shape(c, p.key_prefix, k.name, a.first_id, a.list, l.list, t.list)
    end
from cards c
inner join projects p on p.id = c.project_id
inner join columns k on k.id = c.column_id
left join a on a.card_id = c.id
left join l on l.card_id = c.id
left join t on t.card_id = c.id
where c.id = any(ids_)
$$;

create or replace function cards_json(ids_ bigint[]) returns table (id bigint, card json) language sql stable as $$
select j.id, j.card from cards_json(ids_, false) j
$$;

-- The first of these cards as a brief board shows them, as many as fit into so many bytes: ids in place of names, and no key whose
-- value is nothing. Put together as text, which takes half the time of a row with its nulls taken out. Part by part, so that not
-- much more is built than fits.
create or replace function brief_cards(ids_ bigint[], bytes_ bigint) returns table (id bigint, card json)
language plpgsql stable as $$
declare
    part bigint[];
    going bigint;
    length bigint := 0;
begin
    for start in 1 .. cardinality(ids_) by 1000 loop
        part := ids_[start:start + 999];
        for id, card, going in
            with a as materialized (
                select ca.card_id, string_agg(ca.user_id::text, ',' order by ca.created_at, ca.user_id) as list
                from card_assignees ca
                where ca.card_id = any(part)
                group by ca.card_id
            ), l as materialized (
                select cl.card_id, string_agg(cl.label_id::text, ',' order by cl.label_id) as list
                from card_labels cl
                inner join labels b on b.id = cl.label_id
                where cl.card_id = any(part) and b.deleted_at is null
                group by cl.card_id
            ), t as materialized (
                select ct.card_id, string_agg(to_json(ct.name)::text, ',' order by ct.id) as list
                from card_tags ct
                where ct.card_id = any(part)
                group by ct.card_id
            ), made as (
                select
                    c.id,
                    concat(
                        '{"id":', c.id, ',"card_number":', c.card_number, ',"column_id":', c.column_id, ',"title":', to_json(c.title),
                        ',"position":', c.position, case when c.priority <> 'none' then ',"priority":"' || c.priority || '"' end,
                        ',"due_date":' || to_json(c.due_date)::text, case when c.closed then ',"closed":true' end,
                        ',"assignee_ids":[', a.list, '],"label_ids":[', l.list, '],"tags":[', t.list, ']',
                        case when octet_length(c.description) > 0 then ',"has_description":true' end,
                        ',"time_spent_minutes":' || nullif(c.time_spent_minutes, 0),
                        ',"comment_count":' || nullif(c.comment_count, 0), ',"checklist_total":' || nullif(c.checklist_total, 0),
                        ',"checklist_done":' || nullif(c.checklist_done, 0),
                        ',"attachment_count":' || nullif(c.attachment_count, 0), ',"version":', c.version, '}'
                    ) as text
                from cards c
                left join a on a.card_id = c.id
                left join l on l.card_id = c.id
                left join t on t.card_id = c.id
                where c.id = any(part)
            )
            select m.id, m.text::json, octet_length(m.text) + 1
            from unnest(part) with ordinality o (id, place) inner join made m on m.id = o.id
            order by o.place
        loop
            length := length + going;
            if length > bytes_ then
                return;
            end if;
            return next;
        end loop;
    end loop;
end
$$;

-- A cursor of a list, as warmdesk/http/pages.py makes it: of what it is good for, and where the list goes on.
create or replace function cursor_of(bound_ text, goes_on_ text) returns text language sql immutable as $$
select rtrim(translate(encode(
    substr(sha256(convert_to(bound_ || goes_on_, 'UTF8')), 1, 4) || convert_to(goes_on_, 'UTF8'), 'base64'
), E'+/\n', '-_'), '=')
$$;

-- Whether these cards fit into so many bytes of JSON whatever they hold: a byte of text may take six ("\u0001"), and what hangs
-- on a card is reckoned as long as it may be. `octets_`: what their titles and descriptions have. It builds nothing, and counts
-- no further than it must.
create or replace function surely_fit(ids_ bigint[], octets_ bigint, bytes_ bigint) returns boolean
language plpgsql stable as $$
begin
    return 1000 * cardinality(ids_) + 6 * octets_ <= bytes_ and 1000 * cardinality(ids_) + 6 * octets_
        + 1600 * (select count(*) from (select from card_assignees a where a.card_id = any(ids_) limit bytes_ / 1600 + 1) n)
        + 700 * (select count(*) from (select from card_labels l where l.card_id = any(ids_) limit bytes_ / 700 + 1) n)
        + 700 * (select count(*) from (select from card_tags t where t.card_id = any(ids_) limit bytes_ / 700 + 1) n) <= bytes_;
end
$$;

-- The first of these cards, with their shapes, as many as fit into so many bytes; at least one.
create or replace function first_cards(ids_ bigint[], octets_ bigint, bytes_ bigint) returns table (id bigint, card json)
language plpgsql stable as $$
declare
    part bigint[];
    going bigint;
    length bigint := 0;
begin
    if surely_fit(ids_, octets_, bytes_) then
        return query select j.id, j.card from cards_json(ids_) j;
        return;
    end if;
    -- Part by part, so that not much more is built than fits.
    for part in
        select array_agg(s.id order by s.place) from (
            select o.id, o.place, sum(octet_length(c.description)) over (order by o.place) / 524288 as step
            from unnest(ids_) with ordinality o (id, place) inner join cards c on c.id = o.id
        ) s group by s.step, s.place / 100 order by s.step, s.place / 100
    loop
        for id, card, going in
            select j.id, j.card, octet_length(j.card::text) + 1
            from unnest(part) with ordinality o (id, place) inner join cards_json(part) j on j.id = o.id
            order by o.place
        loop
            if length > 0 and length + going > bytes_ then
                return;
            end if;
            length := length + going;
            return next;
        end loop;
    end loop;
end
$$;

-- A board's cards with their shapes, given in the order in which they matter: within so many bytes. If all of them do not fit,
-- descriptions are cut, the longest first, so that nobody's long texts cost the others theirs; and if that is not enough, only
-- the first cards are there.
create or replace function board_cards(ids_ bigint[], octets_ bigint, bytes_ bigint) returns table (id bigint, card json)
language plpgsql stable as $$
declare
    part bigint[];
    fit bigint[];
    made json[];
    used bigint;
    room bigint := bytes_;
    shown bigint[] := '{}';
    briefs json[] := '{}';
    whole bigint[] := '{}';
begin
    if surely_fit(ids_, octets_, bytes_) then
        return query select j.id, j.card from cards_json(ids_) j;
        return;
    end if;
    for start in 1 .. cardinality(ids_) by 100 loop
        part := ids_[start:start + 99];
        select array_agg(k.id order by k.place), array_agg(k.card order by k.place), max(k.upto) into fit, made, used
        from (
            select j.id, j.card, o.place, sum(octet_length(j.card::text) + 1) over (order by o.place) as upto
            from unnest(part) with ordinality o (id, place) inner join cards_json(part, true) j on j.id = o.id
        ) k
        where k.upto <= room;
        exit when fit is null;
        shown := shown || fit;
        briefs := briefs || made;
        room := room - used;
        exit when cardinality(fit) < cardinality(part);
    end loop;
    -- With the room that is left the shortest of the long ones become whole; part by part, for the same reason as above.
    for part in
        select array_agg(s.id order by s.octets, s.id) from (
            select
                c.id, octet_length(c.description) as octets,
                sum(octet_length(c.description)) over (order by octet_length(c.description), c.id) / 524288 as step
            from cards c where c.id = any(shown) and octet_length(c.description) > 1000
        ) s group by s.step order by s.step
    loop
        select array_agg(k.id), max(k.upto) into fit, used
        from (
            select m.id, sum(m.more) over (order by m.octets, m.id) as upto
            from (
                select
                    c.id, octet_length(c.description) as octets,
                    octet_length(to_json(c.description)::text) - octet_length(to_json(left(c.description, 1000))::text) as more
                from cards c where c.id = any(part)
            ) m
        ) k
        where k.upto <= room;
        exit when fit is null;
        whole := whole || fit;
        room := room - used;
        exit when cardinality(fit) < cardinality(part);
    end loop;
    return query
    select b.id, coalesce(j.card, b.card)
    from unnest(shown, briefs) b (id, card) left join cards_json(whole) j on j.id = b.id;
end
$$;

-- A card by its row, as in events and most answers. Most cards have no assignee, label or tag, and PostgreSQL makes a subquery
-- ready before it knows that it finds nothing; so whether there are any is asked first. PL/pgSQL keeps the plans for the session.
create or replace function card_json(c cards, key_prefix_ text) returns json language plpgsql stable as $$
declare
    column_name_ text;
    is_hung boolean;
begin
    select
        k.name,
        exists (select 1 from card_assignees ca where ca.card_id = c.id)
        or exists (select 1 from card_labels cl where cl.card_id = c.id)
        or exists (select 1 from card_tags ct where ct.card_id = c.id)
    into column_name_, is_hung
    from columns k where k.id = c.column_id;
    if not is_hung then
        return shape(c, key_prefix_, column_name_, null, null, null, null);
    end if;
    return shape(
        c, key_prefix_, column_name_,
        (
            select ca.user_id from card_assignees ca where ca.card_id = c.id
            order by ca.created_at, ca.user_id limit 1
        ),
        (
            select array_to_json(array_agg(shape(u) order by ca.created_at, ca.user_id))
            from card_assignees ca inner join users u on u.id = ca.user_id where ca.card_id = c.id
        ),
        (
            select array_to_json(array_agg(shape(b) order by b.id))
            from card_labels cl inner join labels b on b.id = cl.label_id
            where cl.card_id = c.id and b.deleted_at is null
        ),
        (select array_to_json(array_agg(shape(ct) order by ct.id)) from card_tags ct where ct.card_id = c.id)
    );
end
$$;

create or replace function card_json(id_ bigint) returns json language plpgsql stable as $$
begin
    return (select card_json(c, p.key_prefix) from cards c inner join projects p on p.id = c.project_id where c.id = id_);
end
$$;

-- A page of what happened to a card, newest first, between two ids. Columns of a project where it was have no names.
create or replace function history_page(card_ bigint, before_ bigint, after_ bigint, limit_ integer)
returns table (items text, next json) language sql stable as $$
with chosen as (
    select h.id, row_number() over (order by h.id desc) as nth
    from card_history h
    where h.card_id = card_ and h.id < coalesce(before_, 9223372036854775807) and h.id > coalesce(after_, 0)
    order by h.id desc
    limit limit_ + 1
)
select
    '[' || coalesce(
        string_agg(shape(h, case when u.id is not null then shape(u) end, f.name, t.name)::text, ',' order by h.id desc)
        filter (where c.nth <= limit_), ''
    ) || ']',
    case when count(*) > limit_ then json_build_array(max(c.id) filter (where c.nth = limit_)) end
from chosen c
inner join card_history h on h.id = c.id
left join users u on u.id = h.user_id
left join columns f on f.id = h.from_column_id and f.project_id = h.project_id
left join columns t on t.id = h.to_column_id and t.project_id = h.project_id
$$;

-- A page of what happened on a project's live cards, newest first, before an id. It looks at `reach_` facts: those of deleted cards
-- are passed over, and a card may have any number. So a page may end early, and then it goes on behind the last one looked at.
-- `offset`, so that cards are looked at one after the other, and only as many as the page needs.
create or replace function activity_page(project_ bigint, before_ bigint, limit_ integer, reach_ integer)
returns table (items text, next json) language sql stable as $$
with chosen as (
    select o.id, o.nth
    from projects p
    cross join lateral (
        select l.id, row_number() over (order by l.id desc) as nth
        from (
            select h.id, h.card_id
            from card_history h
            where h.project_id = p.id and h.id < coalesce(before_, 9223372036854775807)
            order by h.id desc
            limit reach_
        ) l
        cross join lateral (select from cards k where k.id = l.card_id and k.deleted_at is null offset 0) live
        order by l.id desc
        limit limit_ + 1
    ) o
    where p.id = project_
)
select
    '[' || coalesce(
        string_agg(
            joined(
                '{"card":' || card_ref(k, p.key_prefix) || '}',
                shape(h, case when u.id is not null then shape(u) end, f.name, t.name)::text
            ), ',' order by h.id desc
        ) filter (where c.nth <= limit_), ''
    ) || ']',
    case
        when count(*) > limit_ then json_build_array(max(c.id) filter (where c.nth = limit_))
        else (
            select json_build_array(max(b.id))
            from (
                select h.id from card_history h
                where h.project_id = project_ and h.id < coalesce(before_, 9223372036854775807)
                order by h.id desc
                offset reach_ - 1 limit 2
            ) b
            having count(*) > 1
        )
    end
from chosen c
inner join card_history h on h.id = c.id
inner join cards k on k.id = h.card_id
inner join projects p on p.id = h.project_id
left join users u on u.id = h.user_id
left join columns f on f.id = h.from_column_id and f.project_id = h.project_id
left join columns t on t.id = h.to_column_id and t.project_id = h.project_id
$$;

-- A card with everything that hangs on it.
create or replace function card_detail(c cards, reader_ bigint, card_ text) returns text language plpgsql stable as $$
begin
    return card_with(c, reader_, card_, array['comments', 'checklist', 'attachments', 'links']);
end
$$;

-- A card with these parts of what hangs on it, and the reader's own `watching` before it: its newest fifty comments, within four
-- mebibytes, its newest hundred files and links, and the newest fifty facts of its history. `card_`: its shape. What most cards have
-- nothing of is asked for only if there is any.
create or replace function card_with(c cards, reader_ bigint, card_ text, parts_ text[]) returns text
language plpgsql stable as $$
declare
    author text;
    is_watched boolean;
    is_linked boolean;
    watching text := 'false';
    watchers text := '[]';
    comments text := '[]';
    comments_more boolean := false;
    checklist text := '[]';
    attachments text := '[]';
    attachments_more boolean := false;
    links text := '[]';
    links_more boolean := false;
    history text;
    history_more boolean;
begin
    select
        (select shape(u)::text from users u where u.id = c.created_by_id),
        exists (select 1 from card_watchers w where w.card_id = c.id),
        'links' = any(parts_) and exists (select 1 from card_links l where l.card_id = c.id)
    into author, is_watched, is_linked;
    if is_watched then
        select bool_or(w.user_id = reader_)::text, array_to_json(array_agg(shape(u) order by w.created_at, w.user_id))::text
        into watching, watchers
        from card_watchers w inner join users u on u.id = w.user_id where w.card_id = c.id;
    end if;
    if 'comments' = any(parts_) and c.comment_count > 0 then
        select p.items, p.more into comments, comments_more
        from comments_page(c.id, 9223372036854775807, null, 50, 4 << 20) p;
    end if;
    if 'checklist' = any(parts_) and c.checklist_total > 0 then
        checklist := checklist_json(c.id);
    end if;
    if 'attachments' = any(parts_) and c.attachment_count > 0 then
        select p.items, p.next is not null into attachments, attachments_more from attachments_page(c.id, null, 100) p;
    end if;
    if is_linked then
        select p.items, p.next is not null into links, links_more from links_page(c.id, null, 100) p;
    end if;
    if 'history' = any(parts_) then
        select p.items, p.next is not null into history, history_more from history_page(c.id, null, null, 50) p;
    end if;
    return joined(
        '{"watching":' || coalesce(watching, 'false') || ',"created_by":' || coalesce(author, 'null') || ',"watchers":' || watchers
            || case when 'comments' = any(parts_) then ',"comments":' || comments || ',"comments_more":' || comments_more else '' end
            || case when 'checklist' = any(parts_) then ',"checklist":' || checklist else '' end
            || case when 'attachments' = any(parts_) then ',"attachments":' || attachments || ',"attachments_more":' || attachments_more
                else '' end
            || case when 'links' = any(parts_) then ',"links":' || links || ',"links_more":' || links_more else '' end
            || case when 'history' = any(parts_) then ',"history":' || history || ',"history_more":' || history_more else '' end
            || '}',
        card_
    );
end
$$;
