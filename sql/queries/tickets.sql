-- name: update -> one, by key
-- Other values for a card's fields, and a comment: see update_card in sql/changes/cards.sql.
select status, answer, messages
from update_card(
    :actor::bigint, :client::text, :need::text, :version::integer, :conflict_status::integer,
    :project_id::bigint, :card::text, :fields::jsonb, 'ticket', :comment::text, :names::text
);

-- name: column -> value, by key
-- A column's id by its name, in any case; 422 when there is none of it.
select require_column_named(:project_id::bigint, :name::text);

-- name: state -> one, by key
-- A live card, and whether it stands in a column of this name and is closed as that; null asks for nothing.
select
    k.id,
    k.column_id,
    card_json(k, p.key_prefix)::text as ticket,
    (:column_name::text is null or lower(s.name) = lower(:column_name::text))
    and (:closed::boolean is null or k.closed = :closed::boolean) as reached
from projects as p
inner join cards as k on k.id = card_id(p, :card::text)
inner join columns as s on s.id = k.column_id
where p.id = :project_id::bigint and k.deleted_at is null;
