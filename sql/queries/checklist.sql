-- name: all -> value, by key
-- All steps of a live card, in order.
select checklist_json(k.id)::text
from projects as p
inner join cards as k on k.id = card_id(p, :card::text)
where p.id = :project_id::bigint and k.deleted_at is null;

-- name: create -> one, by key
-- A new step: see create_checklist_item in sql/changes/checklist.sql.
select status, answer, messages
from create_checklist_item(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :card::text, :body::text, :position::double precision, :most::integer
);

-- name: update -> one, by key
-- Other values for a step: see update_checklist_item in sql/changes/checklist.sql.
select status, answer, messages
from update_checklist_item(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :card::text, :item_id::bigint, :body::text, :is_completed::boolean, :position::double precision
);

-- name: delete -> one, by key
-- See delete_checklist_item in sql/changes/checklist.sql.
select status, answer, messages
from delete_checklist_item(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :card::text, :item_id::bigint
);

-- name: reorder -> one, by key
-- Another order: see reorder_checklist in sql/changes/checklist.sql.
select status, answer, messages
from reorder_checklist(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :card::text, :item_ids::bigint[]
);
