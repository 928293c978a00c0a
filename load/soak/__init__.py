"""The soak: people at work on two hosts while things break in an order that a seed decides.

``bin/soak --seed 7 --minutes 10`` starts a PostgreSQL, a Valkey and two servers of its own, lets
writers, chatters, talkers, viewers, joiners, a stranger and people who lose their rights loose on
one board and in conversations, lets abusers loose beside them, and breaks one thing after another.
The checkers of `tests.checkers` watch all the time. At the end it prints figures; the exit status
is 1 when a promise was broken.

Read `world` (what runs), `seats`, `people` and `talkers` (who works), `ends` (who loses all
rights), `texts` (what they write), `abusers` (who harms them), `faults` (what breaks), `report`
(what is promised).
"""
