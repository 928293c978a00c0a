"""A year of a company, as rows: who worked on what, and for how long."""

from __future__ import annotations

ENTRIES, PROJECTS, CARDS, PEOPLE = 200_000, 100, 10_000, 200
MADE = """
    insert into users (email, username, password_hash, display_name)
    select 'p' || n || '@example.org', 'p' || n, 'x', 'Person ' || n
    from generate_series(1, $people) n;
    insert into projects (name, slug, key_prefix, created_by_id)
    select 'Project ' || n, 'project-' || n, 'P' || n, 1 from generate_series(1, $projects) n;
    insert into columns (project_id, name, position) select p.id, 'A', 1000 from projects p;
    insert into cards (project_id, column_id, title, position, card_number)
    select k.project_id, k.id, 'Card ' || n, n, n
    from columns k, generate_series(1, $cards / $projects) n where k.name = 'A';
    insert into card_assignees (card_id, user_id)
    select c.id, (select min(id) from users) + c.id % $people from cards c;
    insert into time_entries (user_id, project_id, card_id, date, minutes, description)
    select
        (select min(id) from users where username = 'p1') + n % $people, c.project_id, c.id,
        '2026-01-01'::date + n % 365, 1 + n % 5, 'What was done in the ' || n || 'th entry'
    from generate_series(1, $entries) n
    inner join cards c on c.id = (select min(id) from cards) + n % $cards;
    update cards k set time_spent_minutes = s.minutes
    from (select t.card_id, sum(t.minutes) as minutes from time_entries t group by t.card_id) s
    where k.id = s.card_id;
    analyze
"""


def a_year(entries: int = ENTRIES) -> str:
    """The statements that write it down: in a hundred projects, with so many entries."""
    made = MADE
    for name, number in (
        *(("$entries", entries), ("$projects", PROJECTS), ("$cards", CARDS), ("$people", PEOPLE)),
    ):
        made = made.replace(name, str(number))
    return made
