-- oldest program: 0.1
-- What is purged with a person: the invitations to addresses that were theirs before. Its index: 0050. What names a history of
-- before has, is not shown: they are shaped from the accounts.

alter table invitations add column owner_id bigint;
alter table invitations add constraint invitations_owner_id_fkey foreign key (owner_id) references users (id) not valid;
