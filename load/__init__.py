"""Programs that put load on servers: `bench` measures how fast WarmDesk is beside `peers`, `soak`
breaks things while people work. They are no tests and no part of what is installed; `tests/load`
runs each briefly.

Their instruments (checkers, people, proxies, processes) stand in tests/, because most of those who
use them are tests: the mirror is around every change that a test makes.
"""
