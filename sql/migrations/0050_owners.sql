-- oldest program: 0.1
-- The invitations to addresses of somebody's (0046).

create index concurrently invitations_owner on invitations (owner_id) where owner_id is not null;
