create type attachment_shape as (
    id bigint, owner_type text, owner_id bigint, filename text, mime_type text, size_bytes bigint, uploader_id bigint,
    created_at text, url text
);

-- A file, everywhere.
create or replace function shape(a attachments) returns json language sql stable as $$
select row_to_json(row(
    a.id, a.owner_type, a.owner_id, a.filename, a.mime_type, a.size_bytes, a.uploader_id, iso(a.created_at),
    '/api/v1/attachments/' || a.id
)::attachment_shape)
$$;

-- The newest files of a card, before an id.
create or replace function attachments_page(card_ bigint, before_ bigint, limit_ integer)
returns table (items text, next json) language sql stable as $$
with chosen as (
    select a.id, shape(a)::text as attachment, row_number() over (order by a.id desc) as nth
    from attachments a
    where a.owner_type = 'card' and a.owner_id = card_ and a.id < coalesce(before_, 9223372036854775807)
    order by a.id desc
    limit limit_ + 1
)
select
    '[' || coalesce(string_agg(c.attachment, ',' order by c.nth) filter (where c.nth <= limit_), '') || ']',
    case when count(*) > limit_ then json_build_array(min(c.id) filter (where c.nth = limit_)) end
from chosen c
$$;

-- The files of comments or messages of one kind, in the order they came.
create or replace function attachments_json(owner_type_ text, ids_ bigint[]) returns table (id bigint, attachments json)
language sql stable as $$
select a.owner_id, array_to_json(array_agg(shape(a) order by a.id))
from attachments a
where a.owner_type = owner_type_ and a.owner_id = any(ids_)
group by a.owner_id
$$;

-- Whether somebody sees a file: who sees what has it; while nothing has it, its uploader alone. A comment or a message that is
-- deleted has none; a card keeps its own for when it comes back.
create or replace function sees(reader_ bigint, a attachments) returns boolean language sql stable as $$
select
    (a.owner_type is not null or a.uploader_id = reader_)
    and (a.card_id is null or exists (select 1 from cards k where k.id = a.card_id and k.deleted_at is null))
    and case
        when a.project_id is not null then sees_project(reader_, a.project_id)
        else exists (
            select 1 from conversation_members m where m.conversation_id = a.conversation_id and m.user_id = reader_
        )
    end
$$;
