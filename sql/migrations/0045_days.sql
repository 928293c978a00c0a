-- oldest program: 0.1
-- Dates are days of the calendar. The first and the last day that Python knows were written as infinite, which no file and no
-- group of a report can show: none is from here on. Those that there are: 0048.

alter table time_entries add constraint time_entries_day check (isfinite(date)) not valid;
alter table cards add constraint cards_days check (isfinite(start_date) and isfinite(due_date)) not valid;
