-- name: page -> one
-- A page of a live card's files, the newest first, before an id.
select page.items, page.next
from projects as p
inner join cards as k on k.id = card_id(p, :card::text)
cross join lateral attachments_page(k.id, :before::bigint, :limit::integer) as page
where p.id = :project_id::bigint and k.deleted_at is null;

-- name: attach_to_card -> one, by key
-- Puts files on a card: see attach_to_card in sql/changes/attachments.sql.
select status, answer, messages
from attach_to_card(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :card::text, :stored_names::text[], :filenames::text[], :mime_types::text[], :sizes::bigint[],
    :digests::text[], :most::integer, :most_bytes::bigint
);

-- name: detach_from_card -> one, by key
-- See detach_from_card in sql/changes/attachments.sql.
select status, answer, messages
from detach_from_card(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :card::text, :attachment_id::bigint
);

-- name: keep_uploads -> one, by key
-- Keeps files until a comment or a message takes them: see keep_uploads in sql/changes/attachments.sql.
select status, answer, messages
from keep_uploads(
    :actor::bigint, :project_id::bigint, :conversation_id::bigint,
    :stored_names::text[], :filenames::text[], :mime_types::text[], :sizes::bigint[], :digests::text[],
    :most::integer, :most_bytes::bigint
);

-- name: attach_to_owner -> one, by key
-- Puts files on a comment or a message: see attach_to_owner in sql/changes/attachments.sql.
select status, answer, messages
from attach_to_owner(
    :actor::bigint, :client::text, :owner_type::text, :owner_id::bigint,
    :stored_names::text[], :filenames::text[], :mime_types::text[], :sizes::bigint[], :digests::text[],
    :most::integer, :most_bytes::bigint
);

-- name: detach -> one, by key
-- Takes a file away, wherever it is: see detach in sql/changes/attachments.sql.
select status, answer, messages from detach(:actor::bigint, :client::text, :attachment_id::bigint);

-- name: of_card -> one, by key
-- A file of a live card, or of one of its comments.
select a.id, a.stored_name, a.filename, a.mime_type, a.size_bytes, a.sha256
from projects as p
inner join cards as k on k.id = card_id(p, :card::text)
inner join attachments as a on a.card_id = k.id
where p.id = :project_id::bigint and k.deleted_at is null and a.id = :id::bigint;

-- name: seen -> one, by key
-- A file, if this reader sees it.
select a.id, a.stored_name, a.filename, a.mime_type, a.size_bytes, a.sha256
from attachments as a
where a.id = :id::bigint and sees(:reader::bigint, a);

-- name: removed -> many
-- Some of the files whose rows are gone.
select r.stored_name from removed_files as r order by r.stored_name limit :limit::integer;

-- name: forget_removed -> nothing, by key
-- These are gone.
delete from removed_files where stored_name = any(:names::text[]);

-- name: unknown -> many, by key
-- Of these names those that no row has; none so soon after a restore: whoever goes back behind it wants them.
select n.name
from unnest(:names::text[]) as n (name)
where not exists (select 1 from attachments as a where a.stored_name = n.name)
    and not exists (select 1 from backup_state as b where b.restored_at > clock_timestamp() - make_interval(secs => :spared::float8));
