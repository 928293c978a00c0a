-- oldest program: 0.1
-- Who made a change and was no member of its project, as the event's envelope shows them. Kept with the event, so that it is
-- the same whenever it is read.

alter table events add column actor text;
