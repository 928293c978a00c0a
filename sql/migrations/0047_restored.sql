-- oldest program: 0.1
-- What the last restore and the last whole backup leave to go by.

-- restored_at: when a restore put another database here. Files that no row names stay for a day after it: the way back may want them.
-- full_at: when the last backup was made that has the files, too.
alter table backup_state
add column restored_at timestamptz,
add column full_at timestamptz;
