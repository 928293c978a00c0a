-- oldest program: 0.1
-- The rows of before are as 0045 and 0046 want them. Nobody waits for that.

alter table time_entries validate constraint time_entries_day;
alter table cards validate constraint cards_days;
alter table invitations validate constraint invitations_owner_id_fkey;
