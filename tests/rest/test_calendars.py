"""Calendars: one's due dates at an address with a secret of its own, as other programs read it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import icalendar
import pytest
import vobject
from hypothesis import HealthCheck, example, given
from hypothesis import settings as often
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.conftest import Board, serving
from tests.person import Person
from warmdesk import calendars
from warmdesk.config import Settings
from warmdesk.desk import Desk
from warmdesk.jobs.reminders import Reminders
from warmdesk.log import blanked

ROOT, OLGA, ALICE, BOB, EVE = range(1, 6)
SITE = "https://desk.example.org"
NOBODYS = "q3Vn0yJ8cQxk1bq9mYw2Zt5uLr7sD4eF6gH0iJ2kLmN"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)

pytestmark = pytest.mark.settings(base_url=SITE)


async def address_of(person: Person) -> str:
    """The address of a new calendar, below the API."""
    made = await person.post("/users/me/calendar", status=200)
    assert made.keys() == {"url"}
    assert made["url"].startswith(f"{SITE}/api/v1/users/me/calendar.ics?token=")
    return str(made["url"].removeprefix(SITE))


async def fetch(url: str, address: str, **headers: str) -> tuple[int, Any, bytes]:
    """What a calendar program gets, which has no credential."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession(auto_decompress=True) as session,
        session.get(url + address, headers=sent) as answer,
    ):
        return answer.status, answer.headers, await answer.read()


async def events(url: str, address: str) -> list[Any]:
    """The events of a calendar by a reader that is not the writer's."""
    status, _, body = await fetch(url, address)
    assert status == 200, body
    return read(body)


def read(body: bytes) -> list[Any]:
    for line in body.split(b"\r\n"):
        assert len(line) <= 75, line
        line.decode()  # no letter is cut apart
        assert b"\n" not in line
        assert b"\r" not in line
    (found,) = vobject.readComponents(body.decode())
    assert (found.name, found.version.value) == ("VCALENDAR", "2.0")
    assert found.prodid.value
    return list(found.contents.get("vevent", []))


async def mine(board: Board, *people: int, due: str = "2026-04-04", **fields: Any) -> Any:
    return await board.card(due_date=due, assignee_ids=list(people), **fields)


async def titles(url: str, address: str) -> list[str]:
    return [each.summary.value for each in await events(url, address)]


# What stands in it


async def test_a_calendar_program_reads_ones_due_cards(
    board: Board, url: str, bob: Person, alice: Person
) -> None:
    title = "Fix; the door, then\\n the 🚪 " + "é" * 100
    card = await mine(board, BOB, title=title)
    await mine(board, ALICE, title="Another's")
    await board.card("Without a date", assignee_ids=[BOB])
    address = await address_of(bob)
    status, headers, body = await fetch(url, address)
    assert (status, headers["Content-Type"]) == (200, "text/calendar; charset=utf-8")
    assert headers["Cache-Control"] == "private, no-cache"
    (event,) = read(body)
    assert event.uid.value == f"card-{card['id']}@desk.example.org"
    assert event.summary.value == title
    assert event.dtstart.value == date(2026, 4, 4)  # no time: all day
    assert int(event.sequence.value) == card["version"] == 1
    assert event.url.value == f"{SITE}/p/demo/c/{card['key']}"
    assert card["key"] in event.description.value
    assert "Demo" in event.description.value
    assert event.transp.value == "TRANSPARENT"
    changed = datetime.fromisoformat(card["updated_at"])
    assert abs(event.dtstamp.value - changed) < timedelta(seconds=1)
    await alice.put(f"{board.path}/cards/{card['id']}", {"due_date": "2026-05-05", "title": "New"})
    (event,) = await events(url, address)
    assert event.uid.value == f"card-{card['id']}@desk.example.org"
    assert (event.dtstart.value, int(event.sequence.value)) == (date(2026, 5, 5), 2)
    (mirrored,) = icalendar.Calendar.from_ical((await fetch(url, address))[2]).walk("VEVENT")
    assert (mirrored["summary"], mirrored.decoded("dtstart")) == ("New", date(2026, 5, 5))


async def test_what_is_done_or_not_ones_own_any_more_is_not_in_it(
    board: Board, url: str, bob: Person, alice: Person
) -> None:
    cards = [await mine(board, BOB, title=each) for each in "abcde"]
    paths = [f"{board.path}/cards/{card['id']}" for card in cards]
    address = await address_of(bob)
    assert await titles(url, address) == list("abcde")
    await alice.put(paths[0], {"closed": True})
    await alice.post(f"{paths[1]}/archive", status=200)
    await alice.delete(paths[2])
    await alice.put(paths[3], {"assignee_ids": [ALICE]})
    assert await titles(url, address) == ["e"]
    await alice.put(paths[4], {"due_date": None})
    assert await titles(url, address) == []
    await alice.put(paths[0], {"closed": False})
    assert await titles(url, address) == ["a"]


@pytest.mark.foul
async def test_nothing_is_in_it_of_a_project_that_one_may_not_see(
    board: Board, url: str, bob: Person, olga: Person, root: Person, connection: Any
) -> None:
    await mine(board, BOB, ROOT, title="secret")
    his, hers = await address_of(bob), await address_of(root)
    assert await titles(url, his) == await titles(url, hers) == ["secret"]
    await olga.delete(f"{board.path}/members/{BOB}")
    # Whatever else leaves an assignment behind:
    await connection.execute(
        "insert into card_assignees (card_id, user_id) select id, $1 from cards"
        " on conflict do nothing",
        BOB,
    )
    assert await titles(url, his) == []
    assert b"secret" not in (await fetch(url, his))[2]
    await olga.put(board.path, {"is_archived": True})
    assert await titles(url, hers) == []
    await olga.put(board.path, {"is_archived": False})
    assert await titles(url, hers) == ["secret"]


async def test_of_very_many_those_that_come_next(
    board: Board, url: str, bob: Person, connection: Any
) -> None:
    """1,000 of 1,500: all that is to come, and the last of what is over; by date."""
    card = await board.card()
    rows = await connection.fetch(
        "insert into cards (project_id, column_id, title, position, card_number, due_date)"
        " select $1, $2, 'Card ' || n, n, 1000 + n, current_date - 1000 + n"
        " from generate_series(1, 1500) n returning id, due_date",
        *(board.id, card["column_id"]),
    )
    await connection.execute(
        "insert into card_assignees (card_id, user_id)"
        " select c, $1 from unnest($2::bigint[]) q (c)",
        *(BOB, [row["id"] for row in rows]),
    )
    found = await events(url, await address_of(bob))
    assert [each.dtstart.value for each in found] == [row["due_date"] for row in rows[500:]]
    await connection.execute("delete from cards where title like 'Card %'")


@pytest.mark.parametrize("due", ["1970-01-01", "9998-12-31", "2024-02-29"])
async def test_any_date_is_one(board: Board, url: str, bob: Person, due: str) -> None:
    await mine(board, BOB, due=due)
    _, _, body = await fetch(url, await address_of(bob))
    assert f"DTSTART;VALUE=DATE:{due.replace('-', '')}\r\n".encode() in body


@example(title="C:\\New", project="\\n, \\N; \\\\N", name="\\N")
@given(title=TEXT, project=TEXT, name=TEXT)
@often(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_text_makes_a_line_or_breaks_one(title: str, project: str, name: str) -> None:
    row = {
        "id": 7,
        "key": "DEMO-1",
        "title": title,
        "project": project,
        "slug": "demo",
        "version": 3,
        "due_date": date(2026, 4, 4),
        "updated_at": datetime(2026, 4, 1, tzinfo=UTC),
    }
    made = await calendars.calendar([row] * 2, name=name, url=SITE, host="desk.example.org")
    found = read(made)
    assert [each.uid.value for each in found] == ["card-7@desk.example.org"] * 2
    for each in icalendar.Calendar.from_ical(made).walk("VEVENT"):
        assert each["summary"] == calendars.plain(title)
        assert each["description"] == calendars.plain(f"DEMO-1 · {project}")
    assert made.count(b"BEGIN:") == made.count(b"\r\nEND:") == 3 or "BEGIN:" in title + project


async def test_an_installation_without_an_address_has_that_of_who_asks(
    settings: Settings, board: Board
) -> None:
    async with serving(replace(settings, base_url="")) as door:
        bob = Person(door.url, "bob")
        await mine(board, BOB)
        made = await bob.post("/users/me/calendar", status=200)
        assert made["url"].startswith(f"{door.url}/api/v1/users/me/calendar.ics?token=")
        (event,) = await events("", made["url"])
        assert event.uid.value.endswith(f"@{urlsplit(door.url).hostname}")
        await bob.close()


# Once read


async def test_what_did_not_change_is_not_sent_again(
    board: Board, url: str, bob: Person, alice: Person
) -> None:
    cards = [await mine(board, BOB, title=f"Card {n} {'x' * 50}") for n in range(20)]
    address = await address_of(bob)
    _, headers, body = await fetch(url, address, Accept_Encoding="identity")
    tag = headers["ETag"]
    status, again, nothing = await fetch(url, address, If_None_Match=tag)
    assert (status, again["ETag"], nothing) == (304, tag, b"")
    status, zipped, same = await fetch(url, address, Accept_Encoding="gzip")
    assert (status, zipped["Content-Encoding"], same) == (200, "gzip", body)
    assert zipped["ETag"] != tag
    assert (await fetch(url, address, If_None_Match=zipped["ETag"]))[0] == 304
    await alice.put(f"{board.path}/cards/{cards[0]['id']}", {"title": "Another"})
    status, headers, body = await fetch(url, address, If_None_Match=tag)
    assert (status, b"Another" in body) == (200, True)
    renewed = await address_of(bob)
    assert (await fetch(url, renewed, If_None_Match=headers["ETag"]))[0] == 304


# Whose it is


async def test_a_new_address_ends_the_one_of_before(
    board: Board, url: str, bob: Person, connection: Any
) -> None:
    first = await address_of(bob)
    second = await address_of(bob)
    assert first != second
    status, headers, _ = await fetch(url, first)
    assert (status, headers["Content-Type"].partition(";")[0]) == (404, "application/json")
    assert (await fetch(url, second))[0] == 200
    token = second.partition("token=")[2]
    rows = await connection.fetch("select user_id, token_hash from calendars")
    assert [tuple(row) for row in rows] == [(BOB, hashlib.sha256(token.encode()).hexdigest())]
    await bob.delete("/users/me/calendar")
    assert (await fetch(url, second))[0] == 404
    await bob.delete("/users/me/calendar")
    assert await connection.fetchval("select count(*) from calendars") == 0


@pytest.mark.parametrize(
    "token", [NOBODYS, "x", "%00", "%ED%A0%80", "wd_" + "0" * 48, NOBODYS + "=", NOBODYS[:-1], "'"]
)
async def test_a_token_that_nobody_has_leads_nowhere(board: Board, url: str, token: str) -> None:
    status, _, body = await fetch(url, f"/api/v1/users/me/calendar.ics?token={token}")
    assert status in (400, 404) if "%" in token else status == 404, body


async def test_a_token_must_be_there(url: str, bob: Person) -> None:
    for query in ("", "?token=", f"?token={'x' * 501}"):
        assert (await fetch(url, f"/api/v1/users/me/calendar.ics{query}"))[0] == 400
    # Nor does a credential stand for it.
    await bob.get("/users/me/calendar.ics", status=400)


async def test_it_ends_with_its_owner(
    board: Board, url: str, root: Person, bob: Person, connection: Any, desk: Desk
) -> None:
    await mine(board, BOB)
    assert await Reminders(desk).remind(datetime(2026, 4, 4, 9, tzinfo=UTC)) == 1
    address = await address_of(bob)
    await root.put(f"/users/{BOB}", {"is_active": False})
    assert (await fetch(url, address))[0] == 404
    await root.put(f"/users/{BOB}", {"is_active": True})
    assert (await fetch(url, address))[0] == 200
    await root.put(f"/users/{BOB}", {"global_role": "metrics"})
    assert (await fetch(url, address))[0] == 404
    await root.put(f"/users/{BOB}", {"global_role": "user"})
    await root.delete(f"/users/{BOB}")
    assert (await fetch(url, address))[0] == 404
    await root.delete(f"/users/{BOB}/permanent")
    assert await connection.fetchval("select count(*) from calendars") == 0
    assert await connection.fetchval("select count(*) from reminders") == 0


async def test_no_key_makes_or_ends_one(
    board: Board, url: str, bob: Person, person: Callable[..., Person]
) -> None:
    address = await address_of(bob)
    key = (await bob.post("/auth/api-keys", {"name": "all"}))["key"]
    program = person(api_key=key)
    await program.post("/users/me/calendar", status=403)
    await program.delete("/users/me/calendar", status=403)
    assert (await fetch(url, address))[0] == 200


async def test_the_token_stands_in_no_log(
    board: Board, url: str, bob: Person, caplog: pytest.LogCaptureFixture, connection: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    address = await address_of(bob)
    token = address.partition("token=")[2]
    await fetch(url, address)
    await connection.execute("alter table calendars rename to gone")
    assert (await fetch(url, address))[0] >= 500  # with all that is said of it
    await connection.execute("alter table gone rename to calendars")
    said = "".join(blanked(record.getMessage()) for record in caplog.records)
    assert caplog.records
    assert token not in said
    for line in (f"GET {address} 200", f"GET {SITE}{address}", f"'token': 1 token={token}"):
        assert token not in blanked(line)


# How often


@pytest.mark.settings(base_url=SITE, rate_limits=True, calendars_per_address=3)
async def test_an_address_reads_so_many_in_a_minute(
    board: Board, url: str, alice: Person, bob: Person
) -> None:
    first, second = await address_of(alice), await address_of(bob)
    unknown = f"/api/v1/users/me/calendar.ics?token={NOBODYS}"
    told = [(await fetch(url, each))[0] for each in (first, unknown, second, first, unknown)]
    assert told == [200, 404, 200, 429, 429]
    _, headers, _ = await fetch(url, first)
    assert headers["RateLimit-Policy"] == '"calendar.address";q=3;w=60'
    assert 0 < int(headers["Retry-After"]) <= 60


@pytest.mark.settings(base_url=SITE, rate_limits=True, calendar_reads=2)
async def test_a_calendar_is_read_so_often(
    board: Board, url: str, alice: Person, bob: Person
) -> None:
    first, second = await address_of(alice), await address_of(bob)
    assert [(await fetch(url, first))[0] for _ in range(3)] == [200, 200, 429]
    # A new address is the same calendar.
    _, headers, _ = await fetch(url, await address_of(alice))
    assert headers["RateLimit-Policy"] == '"calendar";q=2;w=900'
    assert (await fetch(url, second))[0] == 200


async def test_a_calendar_without_cards_has_a_part_all_the_same(url: str, alice: Person) -> None:
    _, _, body = await fetch(url, await address_of(alice))
    calendar = icalendar.Calendar.from_ical(body)
    assert [each.name for each in calendar.subcomponents] == ["VTIMEZONE"]
    assert calendar.walk("VEVENT") == []
