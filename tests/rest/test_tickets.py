"""The Ticket API: cards as programs file and change them."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import pytest

from tests.conftest import Board, Invite, make_board, undescribed
from tests.person import Person
from tests.told import head, told_since
from warmdesk.desk import Desk

FILED = {"title": "Security scan found CVE-2026-1234", "column_name": "Backlog"}


def ticket(board: Board, ref: Any = "") -> str:
    return f"{board.path}/ticket" + (f"/{ref}" if ref else "")


# The API page

CREATE = r"""
curl -X POST \
  -H "X-API-Key: wd_abc123..." \
  -H "Content-Type: application/json" \
  -d '{
    "title": "Security scan found CVE-2026-1234",
    "description": "**Severity:** High\n\nFound in dependency `foo@1.2.3`.",
    "priority": "high",
    "column_name": "Backlog"
  }' \
  "https://warmdesk.example.com/api/v1/projects/myproject/ticket"
"""
CHANGE = r"""
curl -X PATCH \
  -H "X-API-Key: wd_abc123..." \
  -H "Content-Type: application/json" \
  -d '{
    "column_name": "Done",
    "comment": "Deployment to production succeeded. Build #4242."
  }' \
  "https://warmdesk.example.com/api/v1/projects/myproject/ticket/MYPROJ-99"
"""


async def curl(command: str, url: str, key: str) -> Any:
    """What a command of the page answers, with this key, at this server."""
    command = command.replace("wd_abc123...", key)
    words = shlex.split(command.replace("https://warmdesk.example.com", url))
    done = await asyncio.to_thread(
        subprocess.run, [*words, "-sS", "--fail-with-body"], capture_output=True, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_pages_two_commands_work_on_a_fresh_project(
    olga: Person, url: str, connection: Any
) -> None:
    project = await olga.post("/projects", {"name": "myproject", "key_prefix": "MYPROJ"})
    assert project["slug"] == "myproject"
    await connection.execute("update projects set card_counter = 98 where slug = 'myproject'")
    key = (await olga.post("/auth/api-keys", {"name": "CI"}))["key"]

    made = await curl(CREATE, url, key)
    changed = await curl(CHANGE, url, key)

    assert (made["key"], made["column_name"], made["priority"]) == ("MYPROJ-99", "Backlog", "high")
    assert made["description"] == "**Severity:** High\n\nFound in dependency `foo@1.2.3`."
    assert (changed["id"], changed["column_name"]) == (made["id"], "Done")
    assert changed["comment"]["body"] == "Deployment to production succeeded. Build #4242."


# Filed


async def test_a_ticket_is_a_card_like_any_other(
    board: Board, alice: Person, bob: Person, olga: Person
) -> None:
    await board.card("First", column=board.review)
    fields = {
        "title": " Fix the door ",
        "description": "Why",
        "priority": "low",
        "start_date": "2026-02-01",
        "due_date": "2026-02-28T10:00:00Z",
        "tags": ["#Urgent", "b"],
        "column_name": " rEVIEW ",
        "assignees": ["Bob", "ALICE", "bob"],
        "labels": ["bug", "Design"],
    }
    async with bob.socket("demo") as socket, bob.socket("user") as own:
        answer = await alice.request("POST", ticket(board), fields)
        event = await socket.next("board.card_created")
        noted = await own.next("notification")
    made = answer.body
    assert answer.status == 201
    assert answer.headers["Location"] == f"/api/v1{board.path}/ticket/{made['key']}"
    assert answer.headers["ETag"] == '"1"'
    assert made.pop("url") == f"/p/demo/c/{made['key']}"
    assert made["title"] == "Fix the door"
    assert (made["column_id"], made["column_name"]) == (board.review, "Review")
    assert (made["start_date"], made["due_date"]) == ("2026-02-01", "2026-02-28")
    assert [each["username"] for each in made["assignees"]] == ["bob", "alice"]
    assert {each["name"] for each in made["labels"]} == {"Bug", "Design"}
    assert [each["name"] for each in made["tags"]] == ["urgent", "b"]
    assert event["payload"] == made == await shown(bob, board, made["id"])
    assert (noted["payload"]["kind"], noted["payload"]["card"]["id"]) == ("assigned", made["id"])
    shelf = await olga.get(f"{board.path}/columns/{board.review}/cards")
    assert [each["title"] for each in shelf] == ["First", "Fix the door"]
    (fact,) = await olga.get(f"{board.path}/cards/{made['id']}/history")
    assert (fact["event_type"], fact["user"]["id"]) == ("created", alice.id)


async def shown(person: Person, board: Board, id_: int) -> Any:
    found = await person.get(f"{board.path}/cards?limit=500")
    return next(each for each in found if each["id"] == id_)


@pytest.mark.settings(base_url="https://desk.example.org/")
async def test_a_ticket_has_the_address_of_its_page(board: Board, alice: Person) -> None:
    made = await alice.post(ticket(board), FILED)
    assert made["url"] == f"https://desk.example.org/p/demo/c/{made['key']}"
    changed = await alice.patch(ticket(board, made["key"]), {"title": "Another"})
    assert changed["url"] == made["url"]


@pytest.mark.parametrize("where", [{}, {"column_name": None}, {"column_id": None}])
async def test_without_a_column_it_goes_to_the_first(
    board: Board, alice: Person, olga: Person, where: Any
) -> None:
    columns = [board.review, board.backlog, board.progress, board.done]
    await olga.patch(f"{board.path}/columns/reorder", {"column_ids": columns})
    made = await alice.post(ticket(board), {"title": "Somewhere", "zzz": "passed over", **where})
    assert made["column_id"] == board.review


async def test_of_two_columns_of_one_name_it_is_the_left_one(
    board: Board, alice: Person, olga: Person
) -> None:
    second = (await olga.post(f"{board.path}/columns", {"name": "DONE"}))["id"]
    made = await alice.post(ticket(board), {"title": "One", "column_name": "done"})
    assert made["column_id"] == board.done
    rest = [board.backlog, board.progress, board.review]
    await olga.patch(f"{board.path}/columns/reorder", {"column_ids": [second, *rest, board.done]})
    made = await alice.post(ticket(board), {"title": "Two", "column_name": "Done"})
    assert made["column_id"] == second
    made = await alice.post(ticket(board), {"title": "Three", "column_id": board.done})
    assert made["column_id"] == board.done


async def test_a_wrong_column_says_which_there_are(
    board: Board, alice: Person, olga: Person, connection: Any
) -> None:
    other = await make_board(olga, alice, "Other")
    await olga.post(f"{other.path}/columns", {"name": "Elsewhere"})
    card = await board.card()
    names = ["Backlog", "In Progress", "Review", "Done"]
    seq = await head(alice, board)
    for method, path, body in (
        ("POST", ticket(board), {"title": "T", "column_name": "Elsewhere"}),
        ("PATCH", ticket(board, card["key"]), {"comment": "No", "column_name": "Elsewhere"}),
    ):
        refused = await alice.request(method, path, body)
        assert refused.status == 422
        assert refused.body["fields"] == {"column_name": "unknown"}
        assert refused.body["allowed"]["column_name"] == names
        assert all(name in refused.body["error"] for name in names)
    for column_id in (other.done, 2**40):
        refused = await alice.post(
            ticket(board), {"title": "T", "column_id": column_id}, status=422
        )
        assert refused["fields"] == {"column_id": "unknown"}
    both = {"title": "T", "column_id": board.done, "column_name": "Done"}
    refused = await alice.post(ticket(board), both, status=422)
    assert refused["fields"] == dict.fromkeys(("column_id", "column_name"), "conflicting")
    assert await connection.fetchval("select count(*) from card_comments") == 0
    assert await head(alice, board) == seq


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"assignees": ["alice", "nobody"]}, "assignees", "not_a_member"),
        ({"assignees": ["eve"]}, "assignees", "not_a_member"),
        ({"labels": ["Bug", "Bugs"]}, "labels", "unknown"),
        ({"start_date": "2026-03-01", "due_date": "2026-02-01"}, "due_date", "conflicting"),
    ],
)
async def test_what_cannot_be_is_422(
    board: Board, alice: Person, connection: Any, fields: Any, field: str, code: str
) -> None:
    refused = await alice.post(ticket(board), {"title": "T", **fields}, status=422)
    assert refused["fields"] == {field: code}
    assert refused["error"].startswith(f"{field}: ")
    assert await connection.fetchval("select count(*) from cards") == 0


async def test_who_is_nobody_and_who_is_no_member_look_alike(board: Board, alice: Person) -> None:
    said = [
        (await alice.post(ticket(board), {"title": "T", "assignees": [name]}, status=422))["error"]
        for name in ("eve", "ann")
    ]
    assert said[0].replace("eve", "ann") == said[1]


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "title", "required"),
        ({"title": "  "}, "title", "blank"),
        ({"title": "t" * 501}, "title", "too_long"),
        ({"title": "T", "priority": "urgent"}, "priority", "not_one_of"),
        ({"title": "T", "column_name": " "}, "column_name", "blank"),
        ({"title": "T", "column_name": 5}, "column_name", "bad_format"),
        ({"title": "T", "due_date": "2026-02-30"}, "due_date", "bad_format"),
        ({"title": "T", "assignees": "alice"}, "assignees", "bad_format"),
        ({"title": "T", "tags": [" "]}, "tags", "blank"),
    ],
)
async def test_what_is_malformed_is_400(
    board: Board, alice: Person, body: Any, field: str, code: str
) -> None:
    refused = await alice.post(ticket(board), body, status=400)
    assert refused["fields"] == {field: code}


MUCH = 1.2
"""Times the work of a plain card, at most."""


def worked(pids: list[int]) -> float:
    """Seconds of processor time of this process, and of others."""
    others = (Path(f"/proc/{pid}/schedstat").read_text().split()[0] for pid in pids)
    return time.process_time() + sum(map(int, others)) / 1e9


@pytest.mark.foul  # nobody follows the board: that would be most of the work
async def test_a_ticket_is_hardly_more_work_than_a_card(
    board: Board, alice: Person, connection: Any
) -> None:
    """Of client, server and PostgreSQL together; the two take turns."""
    shelf = f"{board.path}/columns/{board.backlog}/cards"
    fields = {"title": "Fix the door", "description": "Why", "priority": "high"}
    kinds = ((shelf, fields), (ticket(board), {**fields, "column_name": "backlog"}))
    took: list[list[float]] = [[], []]
    for _ in range(60):
        for kind, (path, body) in zip(took, kinds, strict=True):
            pids = await connection.fetch(
                "select pid from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
                " and backend_type = 'client backend'"
            )
            before = worked([row["pid"] for row in pids])
            for _ in range(10):
                await alice.post(path, body)
            kind.append(worked([row["pid"] for row in pids]) - before)
    # Each beside the one of its own moment: others work on this machine, too.
    times = median(filed / card for card, filed in zip(*took, strict=True))
    assert times < MUCH, f"{times:.2f} times the work of a card"


# Changed


async def test_a_change_is_one_and_told_in_its_order(
    board: Board, alice: Person, bob: Person, olga: Person
) -> None:
    first = await board.card("There already", column=board.done)
    card = await board.card("Fix the door", assignee_ids=[bob.id])
    await olga.post(f"{board.path}/cards/{card['id']}/watch", status=200)
    seq = await head(alice, board)
    body = {
        "column_name": "DONE",
        "comment": "Deployed, @bob",
        "title": "Fixed",
        "description": "By **CI**",
        "priority": "critical",
        "closed": True,
        "due_date": "2026-02-28",
        "start_date": "2026-02-01",
    }
    async with bob.socket("user") as own, olga.socket("user") as hers:
        changed = await alice.patch(ticket(board, card["key"].lower()), body)
        kinds = [(await own.next("notification"))["payload"]["kind"] for _ in range(2)]
        watched = [(await hers.next("notification"))["payload"]["kind"] for _ in range(2)]
    assert kinds == ["assigned_moved", "mention"]
    assert watched == ["watched_updated", "watched_updated"]

    comment = changed.pop("comment")
    assert changed.pop("url") == f"/p/demo/c/{card['key']}"
    moved, updated, said = await told_since(bob, board, seq)
    assert [each["type"] for each in (moved, updated, said)] == [
        "board.card_moved",
        "board.card_updated",
        "board.comment_created",
    ]
    assert [each["actor_id"] for each in (moved, updated, said)] == [alice.id] * 3
    assert said["payload"] == comment
    assert (comment["body"], comment["user_id"]) == ("Deployed, @bob", alice.id)
    named = set(updated["payload"].pop("changes"))
    assert named == {
        *("title", "description", "priority", "closed", "due_date", "start_date"),
        "comment_count",
    }
    assert updated["payload"] == changed == await shown(bob, board, card["id"])
    assert moved["payload"]["card"] == undescribed(changed)
    assert moved["payload"]["from_column_id"] == board.backlog
    assert (changed["version"], changed["comment_count"]) == (2, 1)
    assert (changed["title"], changed["column_name"], changed["closed"]) == ("Fixed", "Done", True)
    shelf = await bob.get(f"{board.path}/columns/{board.done}/cards")
    assert [each["id"] for each in shelf] == [first["id"], card["id"]]
    facts = [
        each["event_type"] for each in await bob.get(f"{board.path}/cards/{card['id']}/history")
    ]
    assert facts == [
        "comment_added",
        "column_move",
        "closed",
        "due_date_changed",
        "start_date_changed",
        "priority_changed",
        "description_changed",
        "title_changed",
        "created",
    ]


async def test_each_part_alone_is_told_alone(board: Board, alice: Person, bob: Person) -> None:
    card = await board.card()
    path = ticket(board, card["id"])
    for body, types, version in (
        ({"comment": "Only this"}, ["board.card_updated", "board.comment_created"], 1),
        ({"column_name": "Review"}, ["board.card_moved"], 2),
        ({"title": "Another"}, ["board.card_updated"], 3),
        ({"column_name": "review"}, [], 3),
        ({"title": "Another", "closed": False}, [], 3),
        (
            {"column_name": "Review", "comment": "Same place"},
            ["board.card_updated", "board.comment_created"],
            3,
        ),
    ):
        seq = await head(bob, board)
        changed = await alice.patch(path, body)
        assert [each["type"] for each in await told_since(bob, board, seq)] == types
        assert changed["version"] == version
        assert (changed["comment"] is not None) == ("comment" in body)
    comments = await bob.get(f"{board.path}/cards/{card['id']}/comments")
    assert [each["body"] for each in comments] == ["Only this", "Same place"]


async def test_null_and_nothing_clear(board: Board, alice: Person) -> None:
    card = await board.card(description="D", priority="high", due_date="2026-02-28")
    body = {"description": "", "priority": None, "due_date": None}
    changed = await alice.patch(ticket(board, card["key"]), body)
    assert (changed["description"], changed["priority"], changed["due_date"]) == ("", "none", None)


async def test_a_field_that_is_not_known_is_refused_and_nothing_done(
    board: Board, alice: Person, connection: Any
) -> None:
    card = await board.card()
    seq = await head(alice, board)
    for unknown in ("colum_name", "column_id", "status"):
        body = {"comment": "Typed wrongly", unknown: "Done"}
        refused = await alice.patch(ticket(board, card["key"]), body, status=400)
        assert refused["fields"] == {unknown: "unknown"}
    assert await head(alice, board) == seq
    assert await connection.fetchval("select count(*) from card_comments") == 0


@pytest.mark.parametrize("body", [{}, {"version": 1}])
async def test_nothing_to_change_is_422(board: Board, alice: Person, body: Any) -> None:
    card = await board.card()
    await alice.patch(ticket(board, card["key"]), body, status=422)


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"comment": " "}, "comment", "blank"),
        ({"comment": None}, "comment", "required"),
        ({"comment": "c" * 20_001}, "comment", "too_long"),
        ({"column_name": None}, "column_name", "required"),
        ({"column_name": ""}, "column_name", "blank"),
        ({"title": ""}, "title", "blank"),
        ({"closed": "yes"}, "closed", "bad_format"),
        ({"priority": "urgent"}, "priority", "not_one_of"),
        ({"due_date": "tomorrow"}, "due_date", "bad_format"),
    ],
)
async def test_a_malformed_change_is_400(
    board: Board, alice: Person, body: Any, field: str, code: str
) -> None:
    card = await board.card()
    path = ticket(board, card["key"])
    refused = await alice.patch(path, {"description": "x", **body}, status=400)
    assert refused["fields"] == {field: code}
    assert (await alice.get(path))["version"] == 1


async def test_a_version_that_is_old_is_refused(board: Board, alice: Person) -> None:
    card = await board.card()
    path = ticket(board, card["key"])
    await alice.patch(path, {"title": "Second", "version": 1})
    refused = await alice.patch(path, {"comment": "Late", "version": 1}, status=409)
    assert refused["current"]["title"] == "Second"
    await alice.patch(path, {"column_name": "Done"}, if_match=1, status=412)
    await alice.patch(path, {"column_name": "Done"}, if_match=2)
    assert (await alice.get(path))["comments"] == []


async def test_a_retry_under_a_key_changes_nothing(
    board: Board, alice: Person, connection: Any
) -> None:
    answers = await asyncio.gather(
        *(alice.request("POST", ticket(board), FILED, key="scan") for _ in range(5))
    )
    assert len({json.dumps(each.body) for each in answers}) == 1
    path = ticket(board, answers[0].body["key"])
    body = {"column_name": "Done", "comment": "Done"}
    answers = await asyncio.gather(
        *(alice.request("PATCH", path, body, key="build-4242") for _ in range(5))
    )
    assert {each.status for each in answers} == {200}
    assert len({json.dumps(each.body) for each in answers}) == 1
    assert await connection.fetchval("select count(*) from cards") == 1
    assert await connection.fetchval("select count(*) from card_comments") == 1


async def test_what_was_answered_goes_with_its_comment(
    board: Board, alice: Person, connection: Any
) -> None:
    card = await board.card()
    path, body = ticket(board, card["key"]), {"comment": "A secret"}
    comment = (await alice.patch(path, body, key="k"))["comment"]
    await alice.delete(f"{board.path}/cards/{card['id']}/comments/{comment['id']}")
    stored = await connection.fetchval("select string_agg(answer, '') from idempotency_keys")
    assert "A secret" not in stored
    assert (await alice.request("PATCH", path, body, key="k")).status == 410


async def test_two_changes_at_once_are_both_whole(
    board: Board, alice: Person, olga: Person
) -> None:
    """Each moves, and comments: whoever comes second finds the card where the first put it."""
    cards = [await board.card(f"Card {n}") for n in range(4)]
    bodies = [
        {"column_name": name, "comment": f"To {name}", "priority": priority}
        for name, priority in (("Done", "low"), ("Review", "high"), ("In Progress", "medium"))
    ]
    answers = await asyncio.gather(
        *(
            person.request("PATCH", ticket(board, card["key"]), body)
            for card in cards
            for body in bodies
            for person in (alice, olga)
        )
    )
    assert {each.status for each in answers} == {200}
    for card in cards:
        found = await alice.get(ticket(board, card["key"]))
        assert found["comment_count"] == len(found["comments"]) == 6
        last = found["comments"][-1]["body"]
        assert last == f"To {found['column_name']}"


async def test_a_column_may_get_another_name_meanwhile(
    board: Board, alice: Person, olga: Person
) -> None:
    """A card that is told to be in a column stands in one that was called so."""
    path = f"{board.path}/columns/{board.review}"
    names = ["Review", "Checked"]

    async def rename() -> None:
        for n in range(20):
            await olga.put(path, {"name": names[(n + 1) % 2]})

    async def file(n: int) -> None:
        name = names[n % 2]
        made = await alice.request("POST", ticket(board), {"title": f"{n}", "column_name": name})
        assert made.status in (201, 422)
        if made.status == 201:
            assert made.body["column_name"] == name
            moved = await alice.request(
                "PATCH", ticket(board, made.body["key"]), {"column_name": names[n % 2]}
            )
            assert moved.status in (200, 422)

    await asyncio.gather(rename(), *(file(n) for n in range(20)))


# Who may


async def test_roles_and_keys(
    board: Board, alice: Person, bob: Person, eve: Person, olga: Person, person: Invite
) -> None:
    other = await make_board(olga, alice, "Other")
    card = await board.card()
    keys = {
        name: person(name, api_key=(await who.post(path, {"name": name, **fields}))["key"])
        for name, who, path, fields in (
            ("own", alice, "/auth/api-keys", {}),
            ("tickets", alice, "/auth/api-keys", {"scopes": ["tickets"]}),
            ("viewer's", bob, "/auth/api-keys", {}),
            ("project's", olga, f"{board.path}/api-keys", {"scopes": ["tickets"]}),
            ("other's", olga, f"{other.path}/api-keys", {}),
        )
    }
    for who, status in (
        (keys["own"], 200),
        (keys["tickets"], 200),
        (keys["project's"], 200),
        (keys["viewer's"], 403),
        (keys["other's"], 403),
        (bob, 403),
        (eve, 404),
    ):
        made = 201 if status == 200 else status
        answer = await who.request("POST", ticket(board), FILED)
        assert answer.status == made
        if made == 201:
            there = answer.headers["Location"].removeprefix("/api/v1")
            assert (await who.get(there))["id"] == answer.body["id"]
        await who.patch(ticket(board, card["key"]), {"comment": "Seen"}, status=status)
        reads = 200 if who in (bob, keys["viewer's"]) else status
        await who.get(ticket(board), status=reads)
        await who.get(ticket(board, card["key"]), status=reads)
    refused = await keys["other's"].post(ticket(board), FILED, status=403)
    assert refused["error"] == "key is scoped to a specific project"


async def test_without_a_key_it_is_said_so(board: Board, url: str, alice: Person) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{url}/api/v1{ticket(board)}", json=FILED) as answer:
            assert (answer.status, (await answer.json())["error"]) == (401, "missing API key")
        key = (await alice.post("/auth/api-keys", {"name": "CI"}))["key"]
        for headers, query in (
            ({"X-API-Key": key}, ""),
            ({"Authorization": f"ApiKey {key}"}, ""),
            ({"Authorization": f"Bearer {key}"}, ""),
            ({}, f"?api_key={key}"),
        ):
            place = f"{url}/api/v1{ticket(board)}{query}"
            async with http.post(place, json=FILED, headers=headers) as answer:
                assert answer.status == 201


# Read


async def test_tickets_are_listed_by_their_column(board: Board, alice: Person, bob: Person) -> None:
    made = [await board.card(f"Card {n}", column=board.done) for n in range(3)]
    await board.card("Elsewhere")
    await alice.patch(ticket(board, made[1]["key"]), {"closed": True})
    gone = await board.card("Archived", column=board.done)
    await alice.post(f"{board.path}/cards/{gone['id']}/archive", status=200)

    done = await bob.get(f"{ticket(board)}?column_name=%20done")
    assert [each["id"] for each in done] == [each["id"] for each in made]
    still = await bob.get(f"{ticket(board)}?column_name=Done&include_closed=false")
    assert [each["id"] for each in still] == [made[0]["id"], made[2]["id"]]
    assert len(await bob.get(ticket(board))) == 4
    refused = await bob.get(f"{ticket(board)}?column_name=Nowhere", status=422)
    assert refused["allowed"]["column_name"][0] == "Backlog"
    await bob.get(f"{ticket(board)}?column_name=", status=400)


async def test_a_ticket_is_shown_by_key_or_id(board: Board, bob: Person) -> None:
    card = await board.card(description="Why")
    await board.maker.patch(ticket(board, card["key"]), {"comment": "Seen"})
    for ref in (card["id"], card["key"], card["key"].lower()):
        answer = await bob.request("GET", ticket(board, ref))
        assert answer.status == 200
        assert answer.headers["ETag"].startswith('"1')
        assert answer.body == await bob.get(f"{board.path}/cards/{card['id']}")
    for ref in ("DEMO-77", "OTHER-1", 2**40, "a b", "DEMO-"):
        await bob.get(ticket(board, ref), status=404)


async def test_what_went_elsewhere_says_where_to_who_sees_it(
    board: Board, alice: Person, bob: Person, olga: Person, desk: Desk
) -> None:
    other = await make_board(olga, alice, "Other")
    await olga.delete(f"{other.path}/members/{bob.id}")
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}/transfer"
    body = {"target_project_slug": other.slug, "column_id": other.done, "action": "move"}
    moved = await alice.post(path, body)
    old = ticket(board, card["key"])

    refused = await alice.patch(old, {"comment": "Late"}, status=404)
    assert (refused["moved_to"], refused["project"]) == (moved["key"], other.slug)
    assert (await alice.get(old))["key"] == moved["key"]
    await bob.get(old, status=404)
    hidden = await bob.get(f"{old}/wait?closed=true", status=404)
    assert "moved_to" not in hidden
    for gone in (ticket(board, card["id"]), ticket(board, moved["key"])):
        refused = await alice.patch(gone, {"comment": "No"}, status=404)
        assert "moved_to" not in refused
    there = await alice.patch(ticket(other, card["key"]), {"comment": "By its old key"})
    assert there["key"] == moved["key"]


async def test_an_archived_project_takes_no_tickets(
    board: Board, alice: Person, olga: Person
) -> None:
    card = await board.card()
    await olga.delete(board.path)
    await alice.post(ticket(board), FILED, status=422)
    await alice.patch(ticket(board, card["key"]), {"comment": "No"}, status=422)
    await alice.get(ticket(board, card["key"]))
