-- oldest program: 0.1
-- Lists and counts by what they ask for: a page is read from its index, whatever else the tables hold.

create index cards_live on cards (project_id, id) where deleted_at is null;
create index cards_shown on cards (project_id, column_id, closed) where deleted_at is null and archived_at is null;
create index cards_deleted on cards (project_id, deleted_at desc, id desc) where deleted_at is not null;
create index project_members_page on project_members (project_id, id);
-- The last, because it keeps even readers away until the commit.
drop index cards_project;
