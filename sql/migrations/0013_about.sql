-- oldest program: 0.1
-- A stored answer goes with what it shows. What it is about stands beside it, as "project:1 card:7", with all that stands above
-- it: whoever erases finds it by one name. Answers of before are about nothing, and stay for their day.

alter table idempotency_keys add column about text[] collate "C";

-- Without fastupdate: no change has to tidy up for thousands before it, and a deletion reads no list of what is not tidied up.
create index idempotency_keys_about on idempotency_keys using gin (about) with (fastupdate = off) where about is not null;
