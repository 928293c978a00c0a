-- A card as boards, lists and events show it. What hangs on the row comes in as arguments: PostgreSQL inlines one expression.
create or replace function shape(
    c cards, key_prefix text, column_name text, assignee_id bigint, assignees json, labels json, tags json
) returns json language sql stable as $$
select json_build_object(
    'id', c.id, 'key', key_prefix || '-' || c.card_number, 'card_number', c.card_number, 'project_id', c.project_id,
    'column_id', c.column_id, 'column_name', column_name, 'title', c.title, 'description', c.description,
    'position', c.position, 'priority', c.priority, 'start_date', c.start_date, 'due_date', c.due_date,
    'closed', c.closed, 'closed_at', iso(c.closed_at), 'archived_at', iso(c.archived_at),
    'assignee_id', assignee_id, 'assignees', coalesce(assignees, '[]'), 'labels', coalesce(labels, '[]'),
    'tags', coalesce(tags, '[]'), 'time_spent_minutes', c.time_spent_minutes, 'comment_count', c.comment_count,
    'checklist_total', c.checklist_total, 'checklist_done', c.checklist_done, 'attachment_count', c.attachment_count,
    'created_by_id', c.created_by_id, 'created_at', iso(c.created_at), 'updated_at', iso(c.updated_at), 'version', c.version
)
$$;

create or replace function shape(t card_tags) returns json language sql stable as $$
select json_build_object('id', t.id, 'card_id', t.card_id, 'name', t.name)
$$;

-- A fact about a card; the names of its columns are today's.
create or replace function shape(h card_history, author json, from_column text, to_column text) returns json
language sql stable as $$
select json_build_object(
    'id', h.id, 'card_id', h.card_id, 'user', author, 'event_type', h.event_type, 'field', h.field,
    'from_value', h.from_value, 'to_value', h.to_value, 'detail', h.detail, 'from_column_id', h.from_column_id,
    'to_column_id', h.to_column_id, 'from_column', from_column, 'to_column', to_column, 'created_at', iso(h.created_at)
)
$$;

-- Cards by their ids, deleted ones too, each with its shape; what hangs on them is read once for all: `materialized`, because
-- without statistics (a fresh installation, an import) PostgreSQL would read it again for each card.
create or replace function cards_json(ids_ bigint[]) returns table (id bigint, card json) language sql stable as $$
with a as materialized (
    select
        ca.card_id,
        (array_agg(ca.user_id order by ca.created_at, ca.user_id))[1] as first_id,
        json_agg(shape(u) order by ca.created_at, ca.user_id) as list
    from card_assignees ca
    inner join users u on u.id = ca.user_id
    where ca.card_id = any(ids_)
    group by ca.card_id
), l as materialized (
    select cl.card_id, json_agg(shape(b) order by b.id) as list
    from card_labels cl
    inner join labels b on b.id = cl.label_id
    where cl.card_id = any(ids_) and b.deleted_at is null
    group by cl.card_id
), t as materialized (
    select ct.card_id, json_agg(shape(ct) order by ct.id) as list
    from card_tags ct
    where ct.card_id = any(ids_)
    group by ct.card_id
)
select c.id, shape(c, p.key_prefix, k.name, a.first_id, a.list, l.list, t.list)
from cards c
inner join projects p on p.id = c.project_id
inner join columns k on k.id = c.column_id
left join a on a.card_id = c.id
left join l on l.card_id = c.id
left join t on t.card_id = c.id
where c.id = any(ids_)
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
            select json_agg(shape(u) order by ca.created_at, ca.user_id)
            from card_assignees ca inner join users u on u.id = ca.user_id where ca.card_id = c.id
        ),
        (
            select json_agg(shape(b) order by b.id)
            from card_labels cl inner join labels b on b.id = cl.label_id
            where cl.card_id = c.id and b.deleted_at is null
        ),
        (select json_agg(shape(ct) order by ct.id) from card_tags ct where ct.card_id = c.id)
    );
end
$$;

create or replace function card_json(id_ bigint) returns json language plpgsql stable as $$
begin
    return (select card_json(c, p.key_prefix) from cards c inner join projects p on p.id = c.project_id where c.id = id_);
end
$$;

-- A card with everything that hangs on it, and the reader's own `watching` before it. `card_`: its shape.
create or replace function card_detail(c cards, reader_ bigint, card_ text) returns text language plpgsql stable as $$
declare
    author text;
    is_watched boolean;
    watching text := 'false';
    watchers text := '[]';
begin
    select
        (select shape(u)::text from users u where u.id = c.created_by_id),
        exists (select 1 from card_watchers w where w.card_id = c.id)
    into author, is_watched;
    if is_watched then
        select bool_or(w.user_id = reader_)::text, json_agg(shape(u) order by w.created_at, w.user_id)::text
        into watching, watchers
        from card_watchers w inner join users u on u.id = w.user_id where w.card_id = c.id;
    end if;
    return '{"watching":' || coalesce(watching, 'false') || ',"created_by":' || coalesce(author, 'null')
        || ',"watchers":' || watchers
        || ',"comments":[],"comments_more":false,"checklist":[],"attachments":[],"links":[],' || substr(card_, 2);
end
$$;

create or replace function card_detail(id_ bigint, reader_ bigint, card_ json default null) returns text
language plpgsql stable as $$
begin
    return (select card_detail(c, reader_, coalesce(card_, card_json(c.id))::text) from cards c where c.id = id_);
end
$$;
