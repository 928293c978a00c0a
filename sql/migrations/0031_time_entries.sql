-- oldest program: 0.1
-- Time is told by days: of a person, of a project. An entry stays when its project is taken out of the database, as it stays
-- without its card.

create index time_entries_project_days on time_entries (project_id, date);
create index time_entries_days on time_entries (date);
alter table time_entries drop constraint time_entries_project_id_fkey;
alter table time_entries
add constraint time_entries_project_id_fkey foreign key (project_id) references projects (id) on delete set null;
