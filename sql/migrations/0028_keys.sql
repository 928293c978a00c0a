-- oldest program: 0.1
-- API keys that are good for less than their owner (`scopes`; null: for all), and a project's own.

alter table api_keys add column scopes text[] check (cardinality(scopes) > 0);
alter table api_keys add constraint api_keys_project foreign key (project_id) references projects (id) on delete cascade;
create index api_keys_of_user on api_keys (user_id, id desc) where project_id is null and revoked_at is null;
create index api_keys_of_project on api_keys (project_id, id desc) where revoked_at is null;
create index api_keys_revoked on api_keys (revoked_at) where revoked_at is not null;
create index api_keys_expired on api_keys (expires_at) where expires_at is not null;
