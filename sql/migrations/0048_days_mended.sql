-- oldest program: 0.1
-- The days that were none (0045), which are few: time counts for the day on which it was logged; a card has no such date, which is
-- what it showed.

update time_entries set date = (created_at at time zone 'UTC')::date where not isfinite(date);
update cards set
    start_date = case when isfinite(start_date) then start_date end,
    due_date = case when isfinite(due_date) then due_date end
where not (isfinite(start_date) and isfinite(due_date));
delete from reminders where not isfinite(date);
