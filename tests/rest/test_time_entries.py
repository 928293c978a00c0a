"""Time that people log, by itself or by comments: the entries, the cards' sums, the days."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Board
from tests.person import Person
from tests.rest.test_members import lost_races

CARD = "/projects/demo/cards"


async def sums(connection: Any) -> list[str]:
    """The cards whose sum is not that of their entries and what was put right by hand."""
    rows = await connection.fetch(
        "select c.id, c.time_spent_minutes from cards c"
        " left join time_entries t on t.card_id = c.id"
        " group by c.id"
        " having c.time_spent_minutes <> c.manual_minutes + coalesce(sum(t.minutes), 0)"
    )
    return [str(dict(row)) for row in rows]


@pytest.fixture
async def card(board: Board, alice: Person) -> dict[str, Any]:
    made: dict[str, Any] = await alice.post(
        f"/projects/demo/columns/{board.backlog}/cards", {"title": "Fix the door"}
    )
    return made


async def test_time_is_logged_on_a_card_and_seen(
    card: dict[str, Any], alice: Person, bob: Person, connection: Any
) -> None:
    async with bob.socket("demo") as wall, alice.socket("user") as own:
        made = await alice.post(
            "/time-entries",
            {
                "hours": 1.25,
                "card_id": card["key"].lower(),
                "description": " Oiled it ",
                "start_time": "09:30",
            },
        )
        told = (await wall.next("board.card_updated"))["payload"]
        assert (told["changes"], told["time_spent_minutes"]) == (["time_spent_minutes"], 75)
        mine = (await own.next("time.entry_created"))["payload"]
    today = datetime.now(UTC).date().isoformat()
    assert {**made, "created_at": None, "updated_at": None, "id": 1} == {
        "id": 1,
        "user_id": alice.id,
        "user": made["user"],
        "project_id": card["project_id"],
        "project": {
            "id": card["project_id"],
            "slug": "demo",
            "name": "Demo",
            "key_prefix": "DEMO",
        },
        "card_id": card["id"],
        "card": {"id": card["id"], "key": card["key"], "title": "Fix the door", "deleted": False},
        "comment_id": None,
        "date": today,
        "minutes": 75,
        "description": "Oiled it",
        "start_time": "09:30",
        "end_time": None,
        "created_at": None,
        "updated_at": None,
    }
    assert made["user"]["username"] == "alice"
    # Events name nothing that their reader may not see later.
    assert mine["card"]["title"] is None
    assert mine["project"]["name"] is None
    assert mine["card"]["key"] == card["key"]
    history = await bob.get(f"{CARD}/{card['id']}/history")
    assert history[0]["event_type"] == "time_logged"
    assert await sums(connection) == []


async def test_an_entry_is_edited_moved_and_deleted(
    board: Board, card: dict[str, Any], alice: Person, bob: Person, connection: Any
) -> None:
    other = await alice.post(f"/projects/demo/columns/{board.backlog}/cards", {"title": "Another"})
    made = await alice.post("/time-entries", {"minutes": 30, "card_id": card["id"]})
    one = f"/time-entries/{made['id']}"
    async with bob.socket("demo") as wall, alice.socket("user") as own:
        edited = await alice.put(one, {"minutes": 50, "description": "Well"})
        assert (edited["minutes"], edited["card_id"]) == (50, card["id"])
        assert (await wall.next("board.card_updated"))["payload"]["time_spent_minutes"] == 50
        assert (await own.next("time.entry_updated"))["payload"]["minutes"] == 50
        moved = await alice.put(one, {"card_id": other["key"]})
        assert (moved["minutes"], moved["description"]) == (50, "Well")
        first = (await wall.next("board.card_updated"))["payload"]
        second = (await wall.next("board.card_updated"))["payload"]
        assert {each["id"]: each["time_spent_minutes"] for each in (first, second)} == {
            card["id"]: 0,
            other["id"]: 50,
        }
        assert await alice.put(one, {"minutes": 50}) == moved
        free = await alice.put(one, {"card_id": None})
        assert (free["card_id"], free["project_id"]) == (None, card["project_id"])
        assert (await wall.next("board.card_updated"))["payload"]["time_spent_minutes"] == 0
        free = await alice.put(one, {"project_id": None})
        assert (free["project"], free["card"]) == (None, None)
        assert await alice.get(one) == free
        back = await alice.put(one, {"card_id": card["id"], "date": "2026-02-28"})
        assert (back["project_id"], back["date"]) == (card["project_id"], "2026-02-28")
        await alice.delete(one)
        assert (await own.next("time.entry_deleted"))["payload"] == {"id": made["id"]}
        await bob.get(f"{CARD}/{card['id']}")
        assert [each["payload"]["time_spent_minutes"] for each in wall.waiting()] in ([50, 0], [50])
    await alice.get(one, status=404)
    await alice.delete(one, status=404)
    assert (await alice.get(f"{CARD}/{card['id']}"))["time_spent_minutes"] == 0
    events = (await alice.get("/users/me/events?since=0"))["events"]
    assert "Well" not in str(events)
    assert await sums(connection) == []


async def test_a_comment_and_its_entry_say_the_same_time(
    card: dict[str, Any], alice: Person, bob: Person, connection: Any
) -> None:
    path = f"{CARD}/{card['id']}/comments"
    async with alice.socket("user") as own:
        comment = await alice.post(path, {"body": "Oild it. Well.", "time_spent_minutes": 20})
        told = (await own.next("time.entry_created"))["payload"]
        assert (told["minutes"], told["description"]) == (20, "Oild it.")
        entry = f"/time-entries/{comment['time_entry_id']}"
        assert (await alice.get(entry))["comment_id"] == comment["id"]
        await alice.put(f"{path}/{comment['id']}", {"body": "Oiled it. Well."})
        told = (await own.next("time.entry_updated"))["payload"]
        assert (told["minutes"], told["description"]) == (20, "Oiled it.")
        async with bob.socket("demo") as wall:
            await alice.put(entry, {"minutes": 45, "description": "The hinges"})
            changed = (await wall.next("board.comment_updated"))["payload"]
            assert (changed["time_spent_minutes"], changed["body"]) == (45, "Oiled it. Well.")
            assert changed["version"] == 3
            assert (await wall.next("board.card_updated"))["payload"]["time_spent_minutes"] == 45
        # What somebody wrote on purpose stays.
        await alice.put(f"{path}/{comment['id']}", {"body": "Oh.", "minutes": 50})
        assert (await alice.get(entry))["description"] == "The hinges"
        refused = await alice.put(entry, {"card_id": None}, status=422)
        assert refused["fields"] == {"card_id": "immutable"}
        await alice.delete(entry)
        assert (await own.next("time.entry_deleted"))["payload"]["id"] == comment["time_entry_id"]
    (shown,) = await alice.get(path)
    assert (shown["time_spent_minutes"], shown["time_entry_id"], shown["body"]) == (0, None, "Oh.")
    again = await alice.put(f"{path}/{comment['id']}", {"minutes": 5})
    assert again["time_entry_id"] != comment["time_entry_id"]
    assert await sums(connection) == []


async def test_a_moderated_text_is_gone_from_the_time_that_stays(
    card: dict[str, Any], alice: Person, olga: Person, connection: Any
) -> None:
    path = f"{CARD}/{card['id']}/comments"
    rude = await alice.post(path, {"body": "Rude words.", "time_spent_minutes": 20})
    await olga.delete(f"{path}/{rude['id']}")
    kept = await alice.get(f"/time-entries/{rude['time_entry_id']}")
    assert (kept["minutes"], kept["description"], kept["comment_id"]) == (20, "", None)
    events = (await alice.get("/users/me/events?since=0"))["events"]
    assert "Rude" not in str(events)
    told = ["gone", "time.entry_deleted", "time.entry_created"]
    assert [each["type"] for each in events][-3:] == told
    assert await sums(connection) == []


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"minutes": "required"}),
        ({"start_time": "09:00"}, {"minutes": "required"}),
        ({"minutes": 0}, {"minutes": "out_of_range"}),
        ({"minutes": -5}, {"minutes": "out_of_range"}),
        ({"minutes": 1441}, {"minutes": "out_of_range"}),
        ({"minutes": 1.5}, {"minutes": "bad_format"}),
        ({"hours": 24.5}, {"hours": "out_of_range"}),
        ({"hours": 1.255}, {"hours": "bad_format"}),
        ({"hours": 0.001}, {"hours": "out_of_range"}),
        ({"minutes": 60, "hours": 2}, {"minutes": "conflicting", "hours": "conflicting"}),
        ({"minutes": 5, "date": "2026-02-30"}, {"date": "bad_format"}),
        ({"minutes": 5, "date": "tomorrow"}, {"date": "bad_format"}),
        ({"minutes": 5, "start_time": "24:00"}, {"start_time": "bad_format"}),
        ({"minutes": 5, "start_time": "9:00"}, {"start_time": "bad_format"}),
        ({"minutes": 5, "description": "x" * 1001}, {"description": "too_long"}),
        ({"minutes": 5, "card_id": "DEMO-"}, {"card_id": "bad_format"}),
        ({"minutes": 5, "project_id": 0}, {"project_id": "out_of_range"}),
    ],
)
async def test_what_is_no_time_is_refused(
    board: Board, alice: Person, connection: Any, body: dict[str, Any], fields: dict[str, str]
) -> None:
    refused = await alice.post("/time-entries", body, status=400)
    assert refused["fields"] == fields
    assert await connection.fetchval("select count(*) from time_entries") == 0


@pytest.mark.parametrize(
    "day", ["0001-01-01", "0001-01-01T00:00:00Z", "1969-12-31", "9999-01-01", "9999-12-31"]
)
async def test_a_day_is_of_a_year_that_all_know(
    board: Board, card: dict[str, Any], alice: Person, day: str
) -> None:
    """PostgreSQL is told of the first and the last day of Python's calendar as of no day at all."""
    made = await alice.post("/time-entries", {"minutes": 5, "date": "1970-01-01"})
    place = f"{board.path}/cards/{card['id']}"
    for method, path, name in (
        ("POST", "/time-entries", "date"),
        ("PUT", f"/time-entries/{made['id']}", "date"),
        ("PUT", place, "due_date"),
        ("PUT", place, "start_date"),
    ):
        answer = await alice.request(method, path, {"minutes": 5, name: day})
        assert (answer.status, answer.body["fields"]) == (400, {name: "out_of_range"})
    for query, name in (
        (f"/time-entries?from={day}", "from"),
        (f"/time-entries?to={day}", "to"),
        (f"{board.path}/cards?due_before={day}", "due_before"),
    ):
        assert (await alice.get(query, status=400))["fields"] == {name: "out_of_range"}
    assert await alice.get(f"/time-entries/{made['id']}") == made
    await alice.put(place, {"start_date": "1970-01-01", "due_date": "9998-12-31"})


async def test_what_cannot_be_is_refused(
    board: Board, card: dict[str, Any], alice: Person, eve: Person, connection: Any
) -> None:
    hidden = await eve.post("/projects", {"name": "Hidden"})
    column = (await eve.get("/projects/hidden/columns"))[0]["id"]
    theirs = await eve.post(f"/projects/hidden/columns/{column}/cards", {"title": "Secret"})
    mine = await alice.post("/projects", {"name": "Mine"})
    for body, fields in (
        ({"start_time": "09:00", "end_time": "09:00"}, {"end_time": "conflicting"}),
        ({"minutes": 5, "start_time": "09:00", "end_time": "08:00"}, {"end_time": "conflicting"}),
        ({"minutes": 61, "start_time": "09:00", "end_time": "10:00"}, {"minutes": "conflicting"}),
        ({"minutes": 5, "project_id": hidden["id"]}, {"project_id": "unknown"}),
        ({"minutes": 5, "project": "hidden"}, {"project": "unknown"}),
        ({"minutes": 5, "project": "nothing"}, {"project": "unknown"}),
        ({"minutes": 5, "card_id": theirs["id"]}, {"card_id": "unknown"}),
        ({"minutes": 5, "card_id": theirs["key"]}, {"card_id": "unknown"}),
        ({"minutes": 5, "card_id": 2**40}, {"card_id": "unknown"}),
        ({"minutes": 5, "card_id": card["id"], "project": "mine"}, {"card_id": "conflicting"}),
        (
            {"minutes": 5, "project_id": mine["id"], "project": "demo"},
            {"project_id": "unknown"},
        ),
        (
            {"minutes": 5, "date": str(datetime.now(UTC).date() + timedelta(days=370))},
            {"date": "out_of_range"},
        ),
    ):
        refused = await alice.post("/time-entries", body, status=422)
        assert refused["fields"] == fields, body
    assert await connection.fetchval("select count(*) from time_entries") == 0
    made = await alice.post("/time-entries", {"minutes": 5, "card_id": card["id"]})
    one = f"/time-entries/{made['id']}"
    for body, fields in (
        ({"project": "mine"}, {"card_id": "conflicting"}),
        ({"project": None}, {"card_id": "conflicting"}),
        ({"project": "hidden", "card_id": None}, {"project": "unknown"}),
        ({"card_id": theirs["id"]}, {"card_id": "unknown"}),
        ({"user_id": eve.id}, {"user_id": "immutable"}),
    ):
        refused = await alice.put(one, body, status=422)
        assert refused["fields"] == fields, body
    assert await alice.get(one) == made
    assert await sums(connection) == []


async def test_start_and_end_say_the_minutes(board: Board, alice: Person) -> None:
    made = await alice.post("/time-entries", {"start_time": "09:00", "end_time": "10:30"})
    assert made["minutes"] == 90
    one = f"/time-entries/{made['id']}"
    assert (await alice.put(one, {"end_time": "10:45"}))["minutes"] == 105
    assert (await alice.put(one, {"minutes": 60, "user_id": alice.id}))["end_time"] == "10:45"
    await alice.put(one, {"minutes": 106}, status=422)
    assert (await alice.put(one, {"start_time": None}))["minutes"] == 60
    await alice.put(one, {"start_time": "11:00"}, status=422)


@pytest.mark.parametrize(
    "older", ["minutes = 120, start_time = '09:00', end_time = '10:00'", "date = '1969-12-31'"]
)
async def test_an_older_entry_that_cannot_be_any_more_is_described_anew(
    board: Board, alice: Person, connection: Any, older: str
) -> None:
    made = await alice.post("/time-entries", {"minutes": 5})
    one = f"/time-entries/{made['id']}"
    await connection.execute(f"update time_entries set {older}")
    before = await alice.get(one)
    said = await alice.put(one, {"description": "Oiled it"})
    assert {**said, "updated_at": 0} == {**before, "description": "Oiled it", "updated_at": 0}
    await alice.put(one, {"minutes": before["minutes"] + 1}, status=422)


async def test_a_comments_minutes_fit_between_start_and_end_or_there_is_neither(
    card: dict[str, Any], alice: Person
) -> None:
    path = f"{CARD}/{card['id']}/comments"
    comment = await alice.post(path, {"body": "Oiled it.", "time_spent_minutes": 30})
    one = f"/time-entries/{(await alice.get('/time-entries'))[0]['id']}"
    await alice.put(one, {"start_time": "09:00", "end_time": "10:00", "minutes": 30})
    for minutes, times in ((60, ("09:00", "10:00")), (61, (None, None))):
        body = {"body": "Oiled it.", "time_spent_minutes": minutes}
        await alice.put(f"{path}/{comment['id']}", body)
        entry = await alice.get(one)
        assert entry["minutes"] == minutes
        assert (entry["start_time"], entry["end_time"]) == times


async def test_a_day_has_24_hours(
    card: dict[str, Any], alice: Person, bob: Person, connection: Any
) -> None:
    day = {"date": "2026-04-04"}
    made = await alice.post("/time-entries", {"minutes": 1400, **day})
    refused = await alice.post("/time-entries", {"minutes": 41, **day}, status=422)
    assert (refused["code"], refused["fields"]) == ("day_is_full", {"minutes": "out_of_range"})
    await alice.post("/time-entries", {"minutes": 40, **day})
    other = await alice.post("/time-entries", {"minutes": 40, "date": "2026-04-05"})
    for path, body in (
        (made["id"], {"minutes": 1401}),
        (other["id"], day),
    ):
        assert (await alice.put(f"/time-entries/{path}", body, status=422))["code"] == "day_is_full"
    await alice.put(f"/time-entries/{made['id']}", {"minutes": 1300})
    await alice.post("/time-entries", {"minutes": 1440})
    comments = f"{CARD}/{card['id']}/comments"
    refused = await alice.post(comments, {"body": "More", "minutes": 1}, status=422)
    assert refused["code"] == "day_is_full"
    # Many at once: as many as there is room for.
    each = {"minutes": 100, "date": "2026-04-06", "card_id": card["id"]}
    answers = await asyncio.gather(
        *(alice.request("POST", "/time-entries", each) for _ in range(20))
    )
    assert sorted(answer.status for answer in answers) == [201] * 14 + [422] * 6
    assert (await alice.get(f"{CARD}/{card['id']}"))["time_spent_minutes"] == 1400
    assert await sums(connection) == []


async def test_who_may(
    board: Board,
    card: dict[str, Any],
    root: Person,
    olga: Person,
    alice: Person,
    bob: Person,
    eve: Person,
    connection: Any,
) -> None:
    await bob.post("/time-entries", {"minutes": 5, "card_id": card["id"]}, status=403)
    free = await bob.post("/time-entries", {"minutes": 5})
    assert free["project"] is None
    made = await alice.post("/time-entries", {"minutes": 5, "card_id": card["id"]})
    one = f"/time-entries/{made['id']}"
    for person in (bob, eve, olga):
        await person.put(one, {"minutes": 6}, status=404)
        await person.delete(one, status=404)
    await bob.get(one, status=404)
    assert await olga.get(one) == made
    assert (await root.put(one, {"minutes": 7}))["user_id"] == alice.id
    await olga.post("/time-entries", {"minutes": 5, "user_id": alice.id}, status=403)
    logged = await root.post(
        "/time-entries", {"minutes": 5, "user_id": eve.id, "card_id": card["id"]}
    )
    assert logged["user"]["username"] == "eve"
    # Who sees the project no more still sees the time, and not what the project is called now.
    seen = await eve.get(f"/time-entries/{logged['id']}")
    assert (seen["card"]["title"], seen["project"]["name"]) == (None, None)
    await eve.put(f"/time-entries/{logged['id']}", {"minutes": 6}, status=403)
    refused = await root.post("/time-entries", {"minutes": 5, "user_id": 10**6}, status=422)
    assert refused["fields"] == {"user_id": "unknown"}
    await olga.put("/projects/demo", {"is_archived": True})
    refused = await alice.put(one, {"minutes": 8}, status=422)
    assert refused["code"] == "project_archived"
    await alice.delete(one, status=422)
    assert await sums(connection) == []


async def test_the_list_and_its_filters(
    board: Board, card: dict[str, Any], root: Person, olga: Person, alice: Person, bob: Person
) -> None:
    ids = []
    for day, more in (
        ("2026-04-01", {"card_id": card["id"]}),
        ("2026-04-03", {"project": "demo"}),
        ("2026-04-02", {}),
        ("2026-04-03", {}),
    ):
        made = await alice.post("/time-entries", {"minutes": 5, "date": day, **more})
        ids.append(made["id"])
    first, second, third, fourth = ids

    async def listed(person: Person, query: str = "") -> list[int]:
        return [each["id"] for each in await person.get(f"/time-entries{query}")]

    assert await listed(alice) == [fourth, second, third, first]
    assert await listed(alice, "?from=2026-04-02&to=2026-04-02") == [third]
    assert await listed(alice, "?project=demo") == [second, first]
    assert await listed(alice, f"?card_id={card['key']}") == [first]
    assert await listed(alice, f"?card_id={card['id']}") == [first]
    assert await listed(bob) == []
    assert await listed(root, f"?user_id={alice.id}") == [fourth, second, third, first]
    assert await listed(olga, f"?user_id={alice.id}&project=demo") == [second, first]
    await olga.get(f"/time-entries?user_id={alice.id}", status=403)
    await bob.get(f"/time-entries?user_id={alice.id}&project=demo", status=403)
    await alice.get("/time-entries?project=nothing", status=404)
    for query in ("from=2026-02-30", "from=2026-04-02&to=2026-04-01", "card_id=x-", "user_id=0"):
        await alice.get(f"/time-entries?{query}", status=400)
    page = await alice.request("GET", "/time-entries?limit=3")
    assert [each["id"] for each in page.body] == [fourth, second, third]
    rest = page.headers["Link"].partition(">")[0].lstrip("<").removeprefix("/api/v1")
    assert [each["id"] for each in await alice.get(rest)] == [first]


async def test_an_answer_under_a_key_goes_with_the_entry_and_with_the_card(
    card: dict[str, Any], alice: Person
) -> None:
    body = {"minutes": 5, "card_id": card["id"]}
    for number, path in enumerate(("/time-entries/{id}", f"{CARD}/{card['id']}")):
        headers = {"Idempotency-Key": f"key-{number}"}
        made = await alice.request("POST", "/time-entries", body, headers=headers)
        again = await alice.request("POST", "/time-entries", body, headers=headers)
        assert (again.status, again.body) == (201, made.body)
        await alice.delete(path.format(id=made.body["id"]))
        again = await alice.request("POST", "/time-entries", body, headers=headers)
        assert again.status == 410
    kept = (await alice.get("/time-entries"))[0]
    assert kept["card"] == {**kept["card"], "deleted": True, "title": "Fix the door"}


async def test_time_on_a_deleted_card_is_the_authors_still(
    card: dict[str, Any], alice: Person, olga: Person, bob: Person, connection: Any
) -> None:
    made = await alice.post("/time-entries", {"minutes": 5, "card_id": card["id"]})
    one = f"/time-entries/{made['id']}"
    await alice.delete(f"{CARD}/{card['id']}")
    async with bob.socket("demo") as wall:
        assert (await alice.put(one, {"minutes": 9}))["card"]["deleted"] is True
        await wall.settle()
        assert wall.waiting("board.card_updated") == []
    refused = await alice.post("/time-entries", {"minutes": 5, "card_id": card["id"]}, status=422)
    assert refused["fields"] == {"card_id": "unknown"}
    back = await olga.post(f"{CARD}/{card['id']}/restore", status=200)
    assert back["time_spent_minutes"] == 9
    await alice.delete(f"{CARD}/{card['id']}")
    await olga.delete(f"{CARD}/{card['id']}/permanent")
    kept = await alice.get(one)
    assert (kept["card"], kept["project"]["slug"], kept["minutes"]) == (None, "demo", 9)
    assert await sums(connection) == []


async def test_time_goes_with_a_card_to_another_project(
    card: dict[str, Any], alice: Person, connection: Any
) -> None:
    made = await alice.post("/time-entries", {"minutes": 5, "card_id": card["id"]})
    other = await alice.post("/projects", {"name": "Other"})
    column = (await alice.get("/projects/other/columns"))[0]["id"]
    gone = await alice.post(
        f"{CARD}/{card['id']}/transfer",
        {"target_project_slug": "other", "column_id": column, "action": "move"},
    )
    kept = await alice.get(f"/time-entries/{made['id']}")
    assert (kept["project_id"], kept["card"]["key"]) == (other["id"], gone["key"])
    assert gone["time_spent_minutes"] == 5
    assert await sums(connection) == []
    again = await alice.post("/time-entries", {"minutes": 5, "card_id": card["key"]})
    assert again["project_id"] == other["id"]


async def test_the_day_is_that_of_where_the_person_is(alice: Person, connection: Any) -> None:
    for zone in ("Pacific/Kiritimati", "Pacific/Niue"):
        await alice.put("/users/me", {"timezone": zone})
        made = await alice.post("/time-entries", {"minutes": 1})
        here = await connection.fetchval("select (now() at time zone $1)::date", zone)
        assert made["date"] == str(here)


async def test_a_zone_that_postgresql_does_not_know_is_utc(
    card: dict[str, Any], alice: Person, connection: Any
) -> None:
    """Another host took it, which has newer zones."""
    await connection.execute("update users set timezone = 'Mars/Olympus' where id = $1", alice.id)
    before = datetime.now(UTC).date()
    made = await alice.post("/time-entries", {"minutes": 1})
    said = await alice.post(f"{CARD}/{card['id']}/comments", {"body": "x", "time_spent_minutes": 2})
    assert str(before) <= made["date"] <= str(datetime.now(UTC).date())
    assert (await alice.get(f"/time-entries/{said['time_entry_id']}"))["minutes"] == 2
    assert (await alice.get("/reports/time"))["total_minutes"] == 3
    await alice.get("/reports/timesheet")


async def test_changes_at_once_keep_the_sums_and_wait_in_no_circle(
    board: Board, olga: Person, alice: Person, eve: Person, connection: Any
) -> None:
    """Entries go from card to card and back, of two projects, while comments there say times and
    name the others.
    """
    await olga.post("/projects/demo/members", {"username": "eve", "role": "member"})
    await alice.post("/projects", {"name": "Other"})
    for name in ("olga", "eve"):
        await alice.post("/projects/other/members", {"username": name, "role": "member"})
    column = (await alice.get("/projects/other/columns"))[0]["id"]
    cards = [
        await board.card("One"),
        await board.card("Two"),
        await alice.post(f"/projects/other/columns/{column}/cards", {"title": "Three"}),
    ]
    people = [alice, olga, eve]
    entries = [
        (person, (await person.post("/time-entries", {"minutes": 1, "card_id": cards[0]["id"]})))
        for person in people
        for _ in range(2)
    ]
    before = lost_races()

    async def moves(person: Person, entry: dict[str, Any], shift: int) -> None:
        for turn in range(6):
            card = cards[(turn + shift) % 3]["id"]
            sent = {"card_id": card, "minutes": 1 + turn}
            answer = await person.request("PUT", f"/time-entries/{entry['id']}", sent)
            assert answer.status == 200, answer.body

    async def talks(person: Person, shift: int) -> None:
        for turn in range(6):
            card, slug = [
                (cards[0]["id"], "demo"),
                (cards[2]["id"], "other"),
            ][(turn + shift) % 2]
            path = f"/projects/{slug}/cards/{card}/comments"
            names = " ".join(f"@{each.username}" for each in people if each is not person)
            made = await person.post(path, {"body": f"Well {names}", "time_spent_minutes": 2})
            await person.put(f"{path}/{made['id']}", {"time_spent_minutes": 3})
            if turn % 2:
                await person.delete(f"{path}/{made['id']}")

    await asyncio.gather(
        *(moves(person, entry, shift) for shift, (person, entry) in enumerate(entries)),
        *(talks(person, shift) for shift, person in enumerate(people)),
    )
    assert await sums(connection) == []
    assert await connection.fetchval("select sum(minutes) from time_entries") == 6 * 6 + 3 * 3 * 3
    assert lost_races() == before
