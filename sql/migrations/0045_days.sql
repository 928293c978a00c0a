-- oldest program: 0.1
-- Dates are days of the calendar. The first and the last day that Python knows were written as infinite, which no file and no
-- group of a report can show: time counts for the day on which it was logged; a card has no such date, which is what it showed.

update time_entries set date = (created_at at time zone 'UTC')::date where not isfinite(date);
update cards set
    start_date = case when isfinite(start_date) then start_date end,
    due_date = case when isfinite(due_date) then due_date end
where not (isfinite(start_date) and isfinite(due_date));
delete from reminders where not isfinite(date);

alter table time_entries add constraint time_entries_day check (isfinite(date));
alter table cards add constraint cards_days check (isfinite(start_date) and isfinite(due_date));
