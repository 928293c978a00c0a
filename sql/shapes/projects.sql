create type project_shape as (
    id bigint, name text, description text, slug text, color text, key_prefix text, is_archived boolean, archived_at text,
    created_by_id bigint, created_at text, updated_at text, open_card_count bigint, member_count bigint
);

-- A project as everybody on it sees it; a reader's own view is put before it.
create or replace function shape(p projects, open_card_count bigint, member_count bigint) returns json language sql stable as $$
select row_to_json(row(
    p.id, p.name, p.description, p.slug, p.color, p.key_prefix, p.is_archived, iso(p.archived_at),
    p.created_by_id, iso(p.created_at), iso(p.updated_at), coalesce(open_card_count, 0), coalesce(member_count, 0)
)::project_shape)
$$;

-- One project by its id, counted now.
create or replace function project_json(id_ bigint) returns json language sql stable as $$
select shape(
    p,
    (select count(*) from cards c where c.project_id = p.id and c.deleted_at is null and c.archived_at is null and not c.closed),
    (select count(*) from project_members m where m.project_id = p.id)
)
from projects p where p.id = id_
$$;

-- When something happened in a project that its people were told of. Events go after their days: what is kept for good says it
-- then.
create or replace function project_activity(project_ bigint, updated_at_ timestamptz) returns timestamptz
language plpgsql stable as $$
declare
    told_at timestamptz;
begin
    select e.created_at into told_at from events e
    where e.channel = 'project:' || project_ and e.seq = (select f.seq from feeds f where f.channel = 'project:' || project_);
    if told_at is null then
        told_at := greatest(
            (select h.created_at from card_history h where h.project_id = project_ order by h.id desc limit 1),
            (select m.created_at from chat_messages m where m.project_id = project_ order by m.id desc limit 1),
            (select t.created_at from topics t where t.project_id = project_ order by t.id desc limit 1),
            (select r.created_at from topic_replies r where r.project_id = project_ order by r.id desc limit 1)
        );
    end if;
    return greatest(updated_at_, told_at);
end
$$;

create type own_project_shape as (
    my_role text, starred boolean, unread_count bigint, mention_count bigint, last_read_message_id bigint, muted boolean,
    last_activity_at text
);

-- What a project is to one reader, before all else that it shows. Without a row of its readers nothing is unread: who is no
-- member is waited for by nobody.
create or replace function own_project(
    r project_readers, my_role text, starred boolean, unread_count bigint, mention_count bigint, last_activity_at timestamptz
) returns json language sql stable as $$
select row_to_json(row(
    my_role, starred, coalesce(unread_count, 0), mention_count, r.last_read_message_id, coalesce(r.muted, false), iso(last_activity_at)
)::own_project_shape)
$$;

create or replace function own_project(p projects, r project_readers, user_ bigint, my_role text, starred boolean) returns json
language sql stable as $$
select own_project(
    r, my_role, starred, case when r.user_id is not null then chat_unread_count(p.id, user_, r.last_read_message_id) end,
    unread_mentions(user_, p.id), project_activity(p.id, p.updated_at)
)
$$;

-- One project with a reader's own view before it.
create or replace function project_seen(id_ bigint, user_ bigint, role_ text) returns text language sql stable as $$
select joined(
    own_project(p, r, user_, role_, s.user_id is not null)::text,
    project_json(id_)::text
)
from projects p
left join project_readers r on r.project_id = p.id and r.user_id = user_
left join starred_projects s on s.project_id = p.id and s.user_id = user_
where p.id = id_
$$;

-- How many cards a board shows: in each of its columns, in order, and open ones in all.
create or replace function board_counts(project_ bigint, seq_ bigint) returns text language sql stable as $$
select '{"columns":[' || coalesce(
        string_agg('{"id":' || k.id || ',"card_count":' || coalesce(c.card_count, 0) || '}', ',' order by k.position, k.id), ''
    ) || '],"open_card_count":' || coalesce(sum(c.open_count), 0) || ',"seq":' || seq_ || '}'
from columns k
left join (
    select c.column_id, count(*) as card_count, count(*) filter (where not c.closed) as open_count
    from cards c
    where c.project_id = project_ and c.deleted_at is null and c.archived_at is null
    group by c.column_id
) c on c.column_id = k.id
where k.project_id = project_ and k.deleted_at is null
$$;

-- The digest of a board, by which a client proves that what it shows is true: SHA-256 of a line for each column in order,
-- "12:3[7:1,9:2]", column and cards by their ids and versions, without archived cards.
create or replace function board_digest(project_ bigint) returns text language sql stable as $$
select encode(sha256(convert_to(coalesce(
    string_agg(k.id || ':' || k.version || '[' || coalesce(c.list, '') || ']' || E'\n', '' order by k.position, k.id), ''
), 'UTF8')), 'hex')
from columns k
left join (
    select c.column_id, string_agg(c.id || ':' || c.version, ',' order by c.position, c.id) as list
    from cards c
    where c.project_id = project_ and c.deleted_at is null and c.archived_at is null
    group by c.column_id
) c on c.column_id = k.id
where k.project_id = project_ and k.deleted_at is null
$$;
