-- oldest program: 0.1
-- What is purged with a person: the invitations to addresses that were theirs before; and no history keeps a name, which is shaped
-- from the account. The program before this one writes names still, which are not shown.

alter table invitations add column owner_id bigint references users (id);
create index invitations_owner on invitations (owner_id) where owner_id is not null;

update card_history set detail = null
where field = 'assignees' and event_type in ('assigned', 'unassigned') and detail is not null;

-- Keys of purged people, as the audit tells of them.
update audit as a set after = (a.after::jsonb - 'name')::json
from users as u
where u.purged_at is not null and a.actor_id = u.id and a.action = 'key.created' and a.after::jsonb ->> 'user_id' = u.id::text;
