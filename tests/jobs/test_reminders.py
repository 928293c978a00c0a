"""Reminders of due dates: the day before and on the day, from nine in the reader's time zone, once,
to whoever is assigned then and may see the card.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as often
from hypothesis import strategies as st

from tests.conftest import Board, Door, Wait, serving
from tests.person import Person
from tests.postbox import Postbox, postbox
from warmdesk.config import Settings
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.jobs.mail import Collector, Mailer
from warmdesk.jobs.reminders import Reminders
from warmdesk.jobs.retention import Retention

ROOT, OLGA, ALICE, BOB, EVE = range(1, 6)
DUE = date(2026, 4, 4)
EVE_OF_IT = DUE - timedelta(days=1)
NINE = time(9)
ZONES = sorted(each for each in available_timezones() if "/" in each and each[:5] != "posix")


def at(day: date, hour: int, minute: int = 0, zone: str = "UTC") -> datetime:
    return datetime.combine(day, time(hour, minute), ZoneInfo(zone))


@pytest.fixture
def job(desk: Desk) -> Reminders:
    """Looks when the test says so, at the moment that it says: the server's own look at dates that
    are long past finds nothing.
    """
    return Reminders(desk)


async def card_of(board: Board, *people: int, due: date = DUE, **fields: Any) -> Any:
    return await board.card(due_date=str(due), assignee_ids=list(people), **fields)


async def told(person: Person) -> list[Any]:
    """What somebody was reminded of, the newest first."""
    items = (await person.get("/notifications"))["items"]
    return [each for each in items if each["kind"] == "due"]


async def times(*people: Person) -> list[int]:
    return [len(await told(each)) for each in people]


# When


async def test_an_assignee_is_told_the_day_before_and_on_the_day_at_nine(
    board: Board, job: Reminders, bob: Person, alice: Person
) -> None:
    card = await card_of(board, BOB)
    await bob.put("/users/me", {"timezone": "Europe/Amsterdam"})
    there = "Europe/Amsterdam"
    async with bob.socket("user") as socket:
        assert await job.remind(at(EVE_OF_IT, 8, 59, there)) == 0
        assert await job.remind(at(EVE_OF_IT, 9, 0, there)) == 1
        event = await socket.next("notification")
        assert await job.remind(at(EVE_OF_IT, 9, 1, there)) == 0
        assert await job.remind(at(DUE, 8, 59, there)) == 0
        assert await job.remind(at(DUE, 9, 0, there)) == 1
        await socket.next("notification")
        assert await job.remind(at(DUE, 23, 59, there)) == 0
        assert await job.remind(at(DUE + timedelta(days=1), 12, 0, there)) == 0
    on_the_day, before = await told(bob)
    assert event["payload"] == before
    assert event["actor_id"] is None
    for each in (on_the_day, before):
        assert (each["title"], each["body"], each["actor"]) == (card["title"], str(DUE), None)
        assert each["card"]["id"] == card["id"]
        assert each["url"] == f"/p/demo/c/{card['key']}"
    assert await told(alice) == []


async def test_everybody_is_told_by_their_own_clock(
    board: Board, job: Reminders, alice: Person, bob: Person, olga: Person
) -> None:
    await card_of(board, ALICE, BOB, OLGA)
    await alice.put("/users/me", {"timezone": "Pacific/Kiritimati"})  # 14 hours ahead of UTC
    await bob.put("/users/me", {"timezone": "Pacific/Pago_Pago"})  # 11 hours behind
    people = alice, bob, olga
    start = at(EVE_OF_IT - timedelta(days=1), 0)
    seen = [0, 0, 0]
    first: dict[tuple[int, int], datetime] = {}
    for half_hours in range(2 * 24 * 5):
        moment = start + timedelta(minutes=30 * half_hours)
        if await job.remind(moment):
            now = await times(*people)
            first |= {(who, now[who]): moment for who in range(3) if now[who] > seen[who]}
            seen = now
    assert seen == [2, 2, 2]
    for who, zone in enumerate(("Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC")):
        assert first[who, 1] == at(EVE_OF_IT, 9, zone=zone)
        assert first[who, 2] == at(DUE, 9, zone=zone)


DAYS = st.dates(date(2015, 1, 1), date(2025, 12, 31))
OF_CHANGE = st.sampled_from(
    [
        *(date(2024, 3, 10), date(2024, 11, 3)),  # New York, Havana
        *(date(2024, 3, 31), date(2024, 10, 27)),  # Europe
        *(date(2024, 4, 7), date(2024, 10, 6)),  # Sydney, Lord Howe by half an hour
        *(date(2024, 4, 26), date(2024, 10, 31)),  # Cairo, at midnight
        *(date(2018, 11, 4), date(2019, 2, 16)),  # São Paulo, at midnight
    ]
)


def expected(zone: ZoneInfo, due: date, moment: datetime) -> str | None:
    """By Python's own time zones, the bounds first: from when on and until when."""

    def instant(day: date, when: time) -> datetime:
        return datetime.combine(day, when, zone).astimezone(UTC)

    for kind, day in (("before", due - timedelta(days=1)), ("day", due)):
        if instant(day, NINE) <= moment < instant(day + timedelta(days=1), time(0)):
            return kind
    return None


@pytest.fixture
async def travellers(board: Board, connection: Any) -> dict[int, ZoneInfo]:
    """Somebody in each time zone there is, who is assigned to the first card."""
    card = await board.card()
    rows = await connection.fetch(
        "insert into users (email, username, password_hash, display_name, timezone)"
        " select n || '@x', 't' || n, 'x', 'T', z from unnest($1::text[]) with ordinality q (z, n)"
        " returning id, timezone",
        ZONES,
    )
    ids = [row["id"] for row in rows]
    await connection.execute(
        "insert into project_members (project_id, user_id, role)"
        " select $1, id, 'viewer' from unnest($2::bigint[]) q (id)",
        *(board.id, ids),
    )
    await connection.execute(
        "insert into card_assignees (card_id, user_id)"
        " select $1, id from unnest($2::bigint[]) q (id)",
        *(card["id"], ids),
    )
    return {row["id"]: ZoneInfo(row["timezone"]) for row in rows}


@given(due=DAYS | OF_CHANGE, minutes=st.integers(-38 * 60, 40 * 60))
@example(due=date(2024, 3, 31), minutes=7 * 60)
@example(due=date(2024, 10, 27), minutes=8 * 60)
@often(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.foul
async def test_nine_is_nine_in_every_time_zone_on_every_day(
    board: Board, travellers: dict[int, ZoneInfo], connection: Any, due: date, minutes: int
) -> None:
    moment = at(due, 0) + timedelta(minutes=minutes)
    card = await connection.fetchval("select min(id) from cards")
    for near in (-1, 0, 1):  # also at the very bounds
        then = moment + timedelta(seconds=near)
        wanted = {who: expected(zone, due, then) for who, zone in travellers.items()}
        rows = await connection.fetch(
            "select user_id, kind from who_is_due($1, $2, $3, $4)", card, board.id, due, then
        )
        found = {row["user_id"]: row["kind"] for row in rows}
        differ = {
            str(travellers[who]): (wanted[who], found.get(who))
            for who in travellers
            if wanted[who] != found.get(who)
        }
        assert not differ


async def test_a_zone_that_postgresql_does_not_know_stops_nobody(
    board: Board, job: Reminders, alice: Person, bob: Person, connection: Any
) -> None:
    await card_of(board, ALICE, BOB)
    await connection.execute("update users set timezone = 'Mars/Olympus' where id = $1", ALICE)
    assert await job.remind(at(DUE, 9)) == 2
    assert await times(alice, bob) == [1, 1]


# Once


async def test_a_restarted_server_tells_what_was_missed_and_nothing_twice(
    board: Board, settings: Settings, bob: Person, job: Reminders
) -> None:
    """The day before was slept over: it is over. What was missed the same day is told."""
    await card_of(board, BOB)
    async with serving(settings) as restarted:
        assert await Reminders(restarted.desk).remind(at(DUE, 21)) == 1
    async with serving(settings) as again:
        assert await Reminders(again.desk).remind(at(DUE, 22)) == 0
    assert await job.remind(at(DUE, 22)) == 0
    assert await times(bob) == [1]


async def test_two_workers_tell_once(
    board: Board, job: Reminders, twin: Door, bob: Person, connection: Any
) -> None:
    cards = [await card_of(board, BOB, ALICE, title=f"Card {n}") for n in range(12)]
    jobs = [job, Reminders(twin.desk)]
    for each in jobs:
        each.look = 5
    done = await asyncio.gather(*(each.remind(at(DUE, 9)) for each in jobs * 3))
    again = await job.remind(at(DUE, 9, 1))  # what was locked by another one just then
    assert sum(done) + again == 2 * len(cards)
    titles = sorted(each["title"] for each in await told(bob))
    assert titles == sorted(card["title"] for card in cards)
    assert await connection.fetchval("select count(*) from reminders") == 2 * len(cards)


async def test_one_of_all_workers_looks_in_a_minute(
    job: Reminders, twin: Door, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Reminders] = []

    async def look(self: Reminders, moment: datetime) -> int:
        looked.append(self)
        assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)
        return 0

    monkeypatch.setattr(Reminders, "remind", look)
    await connection.execute("delete from turns")
    await asyncio.gather(job.turn(), Reminders(twin.desk).turn(), Reminders(twin.desk).turn())
    assert len(looked) == 1
    await connection.execute("update turns set at = at - interval '1 minute'")
    await asyncio.gather(job.turn(), Reminders(twin.desk).turn())
    assert len(looked) == 2
    await connection.execute("update turns set at = at + interval '1 hour'")  # a clock was wrong
    await job.turn()
    assert len(looked) == 3


async def test_a_batch_follows_the_other_to_the_end(
    board: Board, job: Reminders, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        due = DUE + timedelta(days=number % 2)
        await card_of(board, BOB, due=due, title=f"Card {number}")
    monkeypatch.setattr("warmdesk.jobs.reminders.TELL", 2)
    job.look = 3
    assert await job.remind(at(DUE, 9)) == 7
    assert await times(bob) == [7]


async def test_what_is_told_and_the_row_that_says_so_are_kept_together(
    board: Board, job: Reminders, bob: Person, connection: Any, desk: Desk
) -> None:
    """A worker that dies on the way has told nothing, and the next one does."""
    card = await card_of(board, BOB)
    undone = connection.transaction()
    await undone.start()
    messages = await connection.fetchval(
        "select remind($1, $2, $3)", board.id, [card["id"]], at(DUE, 9)
    )
    assert len(messages) == 1
    await undone.rollback()
    assert await times(bob) == [0]
    assert await job.remind(at(DUE, 9)) == 1
    rows = await connection.fetch("select card_id, user_id, date, kind from reminders")
    assert [tuple(row) for row in rows] == [(card["id"], BOB, DUE, "day")]


async def test_another_date_is_told_anew(
    board: Board, job: Reminders, alice: Person, bob: Person
) -> None:
    card = await card_of(board, BOB)
    path = f"{board.path}/cards/{card['id']}"
    assert await job.remind(at(DUE, 9)) == 1
    await alice.put(path, {"due_date": "2026-04-05"})
    assert await job.remind(at(DUE, 10)) == 1
    assert [each["body"] for each in await told(bob)] == ["2026-04-05", "2026-04-04"]
    await alice.put(path, {"due_date": "2026-04-04"})
    assert await job.remind(at(DUE, 11)) == 0
    await alice.put(path, {"due_date": None})
    assert await job.remind(at(DUE + timedelta(days=1), 9)) == 0


async def test_who_is_assigned_later_is_told_later_that_day(
    board: Board, job: Reminders, alice: Person, bob: Person
) -> None:
    card = await card_of(board, BOB)
    assert await job.remind(at(DUE, 9)) == 1
    await alice.put(f"{board.path}/cards/{card['id']}", {"add_assignee_ids": [ALICE]})
    assert await job.remind(at(DUE, 15)) == 1
    assert await times(alice, bob) == [1, 1]


# To whom


@pytest.mark.parametrize("end", ["closed", "archived", "deleted", "of an archived project"])
async def test_nobody_is_told_of_a_card_that_is(
    board: Board, job: Reminders, alice: Person, olga: Person, bob: Person, end: str
) -> None:
    card = await card_of(board, BOB)
    path = f"{board.path}/cards/{card['id']}"
    if end == "closed":
        await alice.put(path, {"closed": True})
    elif end == "archived":
        await alice.post(f"{path}/archive", status=200)
    elif end == "deleted":
        await alice.delete(path)
    else:
        await olga.put(board.path, {"is_archived": True})
    assert await job.remind(at(DUE, 9)) == 0
    if end == "closed":
        await alice.put(path, {"closed": False})
        assert await job.remind(at(DUE, 10)) == 1


@pytest.mark.foul
async def test_who_may_not_see_it_any_more_is_not_told(
    board: Board, job: Reminders, olga: Person, root: Person, bob: Person, connection: Any
) -> None:
    await card_of(board, BOB, ALICE, OLGA)
    await root.put(f"/users/{ALICE}", {"is_active": False})
    await olga.delete(f"{board.path}/members/{BOB}")
    # Whatever else leaves an assignment behind:
    await connection.execute(
        "insert into card_assignees (card_id, user_id)"
        " select c.id, u from cards c, unnest($1::bigint[]) u on conflict do nothing",
        [BOB, EVE, ALICE],
    )
    assert await job.remind(at(DUE, 9)) == 1
    rows = await connection.fetch("select user_id from notifications where kind = 'due'")
    assert [row["user_id"] for row in rows] == [OLGA]


async def test_the_bell_of_a_deleted_card_is_empty(
    board: Board, job: Reminders, alice: Person, bob: Person
) -> None:
    card = await card_of(board, BOB, title="secret")
    await job.remind(at(DUE, 9))
    async with bob.socket("user") as socket:
        await alice.delete(f"{board.path}/cards/{card['id']}")
        await socket.next("notification.deleted")
    assert await told(bob) == []
    assert "secret" not in json.dumps(await bob.get("/users/me/events?since=0"))


async def test_a_card_that_is_being_changed_waits_for_the_next_look(
    board: Board, job: Reminders, bob: Person, connection: Any
) -> None:
    """Nobody who works waits for a reminder, and no reminder is lost."""
    first = await card_of(board, BOB, title="Held")
    await card_of(board, BOB, title="Free")
    held = connection.transaction()
    await held.start()
    await connection.execute("select from cards where id = $1 for update", first["id"])
    assert await job.remind(at(DUE, 9)) == 1
    await held.rollback()
    assert await job.remind(at(DUE, 9, 1)) == 1
    assert [each["title"] for each in await told(bob)] == ["Held", "Free"]


# How


@pytest.mark.settings(base_url="https://desk.example.org")
async def test_it_is_told_as_each_chose(
    board: Board, job: Reminders, alice: Person, bob: Person, olga: Person, connection: Any
) -> None:
    await card_of(board, ALICE, BOB, OLGA)
    assert (await bob.get("/users/me"))["notify"]["due"] == "app"
    await alice.put("/users/me", {"notify": {"due": "off"}})
    await olga.put("/users/me", {"notify": {"due": "mail"}})
    assert await job.remind(at(DUE, 9)) == 2
    rows = await connection.fetch(
        "select user_id, wants_mail from notifications where kind = 'due' order by user_id"
    )
    assert [tuple(row) for row in rows] == [(OLGA, True), (BOB, False)]
    await alice.put("/users/me", {"notify": {"due": "app"}})
    assert await job.remind(at(DUE, 10)) == 1


@pytest.fixture
async def mailbox(root: Person) -> AsyncIterator[Postbox]:
    with postbox() as box:
        await root.put("/admin/system-settings", {"smtp_host": "127.0.0.1", "smtp_port": box.port})
        yield box


@pytest.mark.settings(base_url="https://desk.example.org")
@pytest.mark.parametrize(
    ("locale", "subject"),
    [
        ("en", "Fix the door is due on April 4, 2026"),
        ("de", "Fix the door ist am 4. April 2026 fällig"),
        ("es", "Fix the door vence el 4 de abril de 2026"),
        ("fr", "Fix the door arrive à échéance le 4 avril 2026"),
        ("nl", "Fix the door moet op 4 april 2026 klaar zijn"),
        ("is", "Fix the door is due on April 4, 2026"),
    ],
)
async def test_its_mail_says_when_in_the_readers_language(
    board: Board,
    job: Reminders,
    bob: Person,
    desk: Desk,
    mailbox: Postbox,
    connection: Any,
    eventually: Wait,
    locale: str,
    subject: str,
) -> None:
    await bob.put("/users/me", {"notify": {"due": "mail"}, "locale": locale})
    card = await card_of(board, BOB)
    await bob.post("/notifications/read-all", status=204)  # that it was assigned
    await job.remind(at(DUE, 9))
    await connection.execute("update notifications set created_at = now() - interval '6 minutes'")
    await Collector(desk).turn()
    await Mailer(desk).turn()
    await eventually(lambda: mailbox.letters)
    (letter,) = mailbox.letters
    assert letter.message["Subject"] == subject
    assert f"https://desk.example.org/p/demo/c/{card['key']}" in letter.links
    assert str(DUE) not in letter.text


@pytest.mark.settings(base_url="https://desk.example.org")
async def test_what_is_done_by_then_is_not_mailed(
    board: Board, job: Reminders, bob: Person, alice: Person, connection: Any
) -> None:
    await bob.put("/users/me", {"notify": {"due": "mail"}})
    done, moved, still = [await card_of(board, BOB, title=f"Card {n}") for n in range(3)]
    await job.remind(at(DUE, 9))
    await alice.put(f"{board.path}/cards/{done['id']}", {"closed": True})
    await alice.put(f"{board.path}/cards/{moved['id']}", {"due_date": "2026-05-05"})
    ids = [each["id"] for each in await told(bob)]
    news = await sql.mail.news(connection, user_id=BOB, ids=ids)
    assert [json.loads(row["news"])["title"] for row in news] == [still["title"]]


# How long


async def test_reminders_of_long_ago_go(
    board: Board, job: Reminders, desk: Desk, connection: Any
) -> None:
    await card_of(board, BOB)
    await job.remind(at(DUE, 9))
    await connection.execute("update reminders set date = current_date - 7")
    await Retention(desk).turn()
    assert await connection.fetchval("select count(*) from reminders") == 1
    await connection.execute("update reminders set date = current_date - 8")
    await Retention(desk).turn()
    assert await connection.fetchval("select count(*) from reminders") == 0


async def test_a_real_server_does_it_by_itself(
    board: Board, bob: Person, desk: Desk, connection: Any
) -> None:
    """The job as it runs: today, where the clock shows noon now."""
    now = datetime.now(UTC)
    hours = 12 - now.hour
    await bob.put("/users/me", {"timezone": f"Etc/GMT{-hours:+d}" if hours else "Etc/GMT"})
    today = (now + timedelta(hours=hours)).date()
    await card_of(board, BOB, due=today)
    await card_of(board, BOB, due=today + timedelta(days=1))
    await card_of(board, BOB, due=today + timedelta(days=2))
    await connection.execute("delete from turns")
    await Reminders(desk).turn()
    bodies = [each["body"] for each in await told(bob)]
    assert sorted(bodies) == [str(today), str(today + timedelta(days=1))]
