"""What a project is to each of its people: what they have not read, and whether it is muted; and
the list that shows it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests import pace
from tests.conftest import Board, Door, Invite, make_board
from tests.person import Person
from tests.told import head
from warmdesk.changes import accounts
from warmdesk.desk import Desk
from warmdesk.realtime.channels import project_channel

ROOT, OLGA, ALICE, BOB, EVE = range(1, 6)


async def say(person: Person, board: Board, body: str = "Hello") -> int:
    return int((await person.post(f"{board.path}/chat/messages", {"body": body}))["id"])


async def view(person: Person, board: Board) -> tuple[int, int | None]:
    """What is unread and up to where it is read, which all that shows a project says alike."""
    shown = await person.get(board.path)
    listed = next(each for each in await person.get("/projects") if each["slug"] == board.slug)
    own = ("my_role", "starred", "unread_count", "last_read_message_id", "muted")
    assert {name: shown[name] for name in own} == {name: listed[name] for name in own}
    assert shown["last_activity_at"] == listed["last_activity_at"]
    return shown["unread_count"], shown["last_read_message_id"]


async def feed_of(person: Person) -> list[Any]:
    """All that a person's feed tells of reading."""
    events = (await person.get("/users/me/events?since=0&limit=500"))["events"]
    return [event["payload"] for event in events if event["type"] == "chat.read"]


# Reading


async def test_what_is_unread_is_of_others_not_deleted_and_behind_the_mark(
    board: Board, alice: Person, bob: Person, olga: Person
) -> None:
    ids = [await say(olga, board, str(n)) for n in range(4)]
    await say(alice, board, "mine")
    await olga.delete(f"{board.path}/chat/messages/{ids[2]}")
    path, before = f"{board.path}/chat/read", await head(bob, board)

    assert await view(alice, board) == (3, None)
    assert await view(bob, board) == (4, None)
    async with alice.socket("user") as socket, bob.socket("user") as his:
        await alice.post(path, {"message_id": ids[1]}, status=204)
        event = await socket.next("chat.read")
        told = {"slug": "demo", "message_id": ids[1], "unread_count": 1}
        assert (event["payload"], event["actor_id"]) == (told, ALICE)
        assert await view(alice, board) == (1, ids[1])
        for earlier in (ids[0], ids[1]):
            await alice.post(path, {"message_id": earlier}, status=204)
        assert (await view(alice, board), len(await feed_of(alice))) == ((1, ids[1]), 1)
        await alice.post(path, {"message_id": ids[2]}, status=204)
        assert await view(alice, board) == (1, ids[2])
        await his.settle()
        assert his.waiting("chat.read") == []
    assert await view(bob, board) == (4, None)
    assert await head(bob, board) == before, "it is nobody else's"


async def test_a_mark_is_set_on_a_message_that_is_there(
    board: Board, alice: Person, bob: Person, olga: Person, eve: Person
) -> None:
    other = await make_board(olga, alice, "Other")
    here, there = await say(alice, board), await say(alice, other)
    path = f"{board.path}/chat/read"
    for missing in (there, there + 1):
        refused = await bob.post(path, {"message_id": missing}, status=422)
        assert refused["fields"] == {"message_id": "unknown"}
    malformed: list[Any] = [{}, {"message_id": None}, {"message_id": "1"}, {"message_id": 0}, []]
    for wrong in malformed:
        await bob.post(path, wrong, status=400)
    await eve.post(path, {"message_id": here}, status=404)
    assert await view(bob, board) == (1, None)
    assert await feed_of(bob) == []
    await bob.post(path, {"message_id": here}, status=204)
    assert await view(bob, board) == (0, here)
    assert await view(bob, other) == (1, None)


async def test_who_comes_has_read_what_was_said_before_and_who_leaves_has_read_nothing(
    board: Board, alice: Person, eve: Person, olga: Person, connection: Any
) -> None:
    said = await say(alice, board)
    await olga.post(f"{board.path}/members", {"user_id": EVE})
    assert await view(eve, board) == (0, said)
    await say(alice, board)
    assert await view(eve, board) == (1, said)
    await eve.put(f"{board.path}/mute", {"muted": True}, status=204)
    await olga.delete(f"{board.path}/members/{EVE}")
    await eve.post(f"{board.path}/chat/read", {"message_id": said}, status=404)
    await eve.put(f"{board.path}/mute", {"muted": False}, status=404)
    rows = await connection.fetch("select user_id from project_readers order by 1")
    assert [row["user_id"] for row in rows] == [OLGA, ALICE, BOB]
    await olga.post(f"{board.path}/members", {"user_id": EVE})
    assert (await eve.get(board.path))["muted"] is False


async def test_nobody_waits_for_who_is_no_member(board: Board, alice: Person, root: Person) -> None:
    first = await say(alice, board)
    await say(alice, board)
    assert await view(root, board) == (0, None)
    await root.post(f"{board.path}/chat/read", {"message_id": first}, status=204)
    assert await view(root, board) == (1, first)


async def test_what_is_archived_is_read_and_muted_all_the_same(
    board: Board, alice: Person, bob: Person, olga: Person
) -> None:
    said = await say(alice, board)
    await olga.delete(board.path)
    await bob.post(f"{board.path}/chat/read", {"message_id": said}, status=204)
    await bob.put(f"{board.path}/mute", {"muted": True}, status=204)
    shown = await bob.get(board.path)
    assert (shown["unread_count"], shown["muted"]) == (0, True)


async def test_a_mute_is_the_readers_own_and_everything_is_counted(
    board: Board, alice: Person, bob: Person, eve: Person, root: Person
) -> None:
    path = f"{board.path}/mute"
    async with bob.socket() as socket:
        for muted in (True, True, False, True):
            await bob.put(path, {"muted": muted}, status=204)
            assert (await bob.get(board.path))["muted"] is muted
        await say(alice, board)
        assert (await socket.next("chat.message"))["seq"] == await head(bob, board)
    assert await view(bob, board) == (1, None)
    assert (await alice.get(board.path))["muted"] is False
    await eve.put(path, {"muted": True}, status=404)
    for wrong in ({}, {"muted": None}, {"muted": "yes"}):
        await bob.put(path, wrong, status=400)
    await root.put(path, {"muted": True}, status=204)
    listed = (await root.get("/projects"))[0]
    assert (listed["muted"], listed["unread_count"]) == (True, 0)


@pytest.mark.foul
async def test_what_is_unread_is_counted_among_a_thousand(
    board: Board, alice: Person, bob: Person, connection: Any
) -> None:
    await connection.execute(
        "insert into chat_messages (project_id, user_id, body)"
        " select $1, $2, n::text from generate_series(1, 1500) n",
        board.id,
        ALICE,
    )
    assert (await view(bob, board))[0] == 1000
    assert (await view(alice, board))[0] == 0
    last = await connection.fetchval("select max(id) from chat_messages")
    await bob.post(f"{board.path}/chat/read", {"message_id": last - 2}, status=204)
    assert await view(bob, board) == (2, last - 2)


@pytest.mark.foul
async def test_what_a_bot_says_is_unread(board: Board, bob: Person, connection: Any) -> None:
    await connection.execute(
        "insert into chat_messages (project_id, body, is_bot, bot_name)"
        " values ($1, 'x', true, 'b')",
        board.id,
    )
    assert await view(bob, board) == (1, None)


async def test_tabs_that_read_at_once_leave_the_farthest_mark(
    board: Board, alice: Person, bob: Person, person: Invite, twin: Door
) -> None:
    ids = [await say(alice, board, str(n)) for n in range(10)]
    far = person("bob", url=twin.url)
    path = f"{board.path}/chat/read"
    await asyncio.gather(
        *(
            (bob, far)[n % 2].post(path, {"message_id": id_}, status=204)
            for n, id_ in enumerate(ids)
        )
    )
    assert await view(bob, board) == (0, ids[-1])
    marks = [told["message_id"] for told in await feed_of(bob)]
    assert marks == sorted(set(marks))
    assert marks[-1] == ids[-1]


# The list


async def slugs(person: Person, query: str) -> list[str]:
    return [project["slug"] for project in await person.get(f"/projects?{query}")]


async def test_the_list_may_begin_with_what_was_active_last(olga: Person, board: Board) -> None:
    others = [(await olga.post("/projects", {"name": name}))["slug"] for name in ("A", "B", "C")]
    assert await slugs(olga, "sort=activity") == ["c", "b", "a", "demo"]
    for slug in ("b", "demo", "a", "demo"):
        await olga.post(f"/projects/{slug}/chat/messages", {"body": "Hello"})
    found = await olga.get("/projects?sort=activity")
    assert [project["slug"] for project in found] == ["demo", "a", "b", "c"]
    times = [project["last_activity_at"] for project in found]
    assert times == sorted(times, reverse=True)
    assert [p async for p in olga.client.items("/projects?sort=activity&limit=1")] == found
    assert await slugs(olga, "sort=name") == await slugs(olga, "") == [*others, "demo"]
    await olga.get("/projects?sort=size", status=400)


@pytest.mark.foul
async def test_activity_is_known_when_its_events_are_gone(
    olga: Person, alice: Person, board: Board, connection: Any
) -> None:
    """What is kept for good says it then; and nothing at all is as old as the project."""
    for path, body in (
        ("/chat/messages", {"body": "Hello"}),
        (f"/columns/{board.backlog}/cards", {"title": "A card"}),
        ("/topics", {"title": "Hello"}),
    ):
        before = (await olga.get(board.path))["last_activity_at"]
        await alice.post(f"{board.path}{path}", body)
        await connection.execute("delete from events")
        shown = await olga.get(board.path)
        assert shown["last_activity_at"] > before
    before, (topic,) = shown["last_activity_at"], await alice.get(f"{board.path}/topics")
    await alice.post(f"{board.path}/topics/{topic['id']}/replies", {"body": "Hello"})
    await connection.execute("delete from events")
    assert (await olga.get(board.path))["last_activity_at"] > before
    quiet = await olga.post("/projects", {"name": "Quiet"})
    assert quiet["last_activity_at"] == quiet["updated_at"]


@pytest.mark.foul
async def test_the_list_says_who_is_here(
    board: Board, olga: Person, alice: Person, bob: Person, root: Person
) -> None:
    await olga.post("/projects", {"name": "Empty"})
    assert all("here" not in each for each in await olga.get("/projects"))
    async with alice.socket(), bob.socket(), bob.socket():
        listed = {each["slug"]: each["here"] for each in await olga.get("/projects?include=here")}
        assert listed["empty"] == {"count": 0, "users": []}
        assert [user["id"] for user in listed["demo"]["users"]] == [BOB, ALICE]
        assert listed["demo"]["count"] == 2
        assert listed["demo"]["users"][0]["username"] == "bob"
        await olga.post(f"{board.path}/star", status=200)
        starred = await olga.get("/starred-projects?include=here")
        assert starred[0]["here"]["count"] == 2
        async with root.socket():
            here = (await bob.get("/projects?include=here"))[0]["here"]
            assert [user["id"] for user in here["users"]] == [ROOT, BOB, ALICE]
    await olga.get("/projects?include=there", status=400)


@pytest.mark.foul
async def test_the_list_names_five_of_many(
    board: Board, olga: Person, desk: Desk, connection: Any
) -> None:
    """Also of more projects than Redis is asked for at once, each with its own."""
    await connection.execute(
        "insert into users (email, username, password_hash, display_name)"
        " select 'u' || n || '@example.org', 'u' || n, 'x', 'U' || n from generate_series(10, 99) n"
    )
    for n in range(60):
        await olga.post("/projects", {"name": f"P {n}"})
    ids = [each["id"] for each in await olga.get("/projects")]
    for place, project_id in enumerate(ids):
        people = list(range(6, 6 + place % 9))
        for user_id in people:
            request = {"channel": project_channel(project_id), "known": -1, "renew": [user_id]}
            await desk.presence.leases.call([request | {"lower": [], "look": False}])
    shown = await olga.get("/projects?include=here")
    assert [each["id"] for each in shown] == ids
    for place, each in enumerate(shown):
        count = place % 9
        assert each["here"]["count"] == count
        assert len(each["here"]["users"]) == min(5, count)


@pytest.mark.foul
async def test_without_redis_nobody_knows_who_is_here(
    board: Board, olga: Person, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> Any:
        raise ConnectionError

    monkeypatch.setattr(desk.presence.leases, "_script", away)
    (listed,) = await olga.get("/projects?include=here")
    assert (listed["slug"], listed["here"]) == ("demo", None)


# What a list hears of


async def told(person: Person) -> list[tuple[str, Any]]:
    """All that a person's feed tells of projects."""
    events = (await person.get("/users/me/events?since=0&limit=500"))["events"]
    return [
        (event["type"].removeprefix("project."), event["payload"])
        for event in events
        if event["type"].startswith(("project.", "gone"))
    ]


async def test_each_member_hears_of_another_name_and_of_the_archive(
    board: Board, olga: Person, bob: Person, eve: Person, root: Person
) -> None:
    slug, before = {"slug": "demo"}, await head(bob, board)
    async with bob.socket("user") as socket:
        text = {"name": "New", "description": "x" * 1000}
        changed = await olga.put(board.path, text)
        event = await socket.next("project.updated")
        shown = event["payload"]["project"]
        assert event["payload"]["changes"] == ["name", "description"]
        assert (shown["name"], shown["open_card_count"]) == ("New", changed["open_card_count"])
        assert event["actor_id"] == OLGA
        own = {"description", "my_role", "starred", "unread_count", "last_read_message_id"}
        own |= {"mention_count", "muted", "last_activity_at"}
        assert shown.keys() == changed.keys() - own
        await olga.put(board.path, text)
        await olga.delete(board.path)
        await olga.delete(board.path)
        assert (await socket.next())["type"] == "project.archived"
        await olga.put(board.path, {"is_archived": False, "color": "#10b981"})
        assert [(await socket.next())["type"] for _ in range(2)] == [
            "project.unarchived",
            "project.updated",
        ]
    (first, _), *_, (last, payload) = await told(bob)
    assert (first, last) == ("joined", "updated")
    assert payload["changes"] == ["color"]
    assert (await told(bob))[2:4] == [("archived", slug), ("unarchived", slug)]
    assert (await told(bob))[1:] == (await told(olga))[1:]
    assert await told(eve) == await told(root) == []
    assert await head(bob, board) == before + 4


async def test_who_left_is_told_to_forget_the_project(
    board: Board, olga: Person, bob: Person
) -> None:
    said = await say(olga, board)
    await olga.put(board.path, {"name": "A secret"})
    await bob.post(f"{board.path}/chat/read", {"message_id": said}, status=204)
    await bob.post(f"{board.path}/star", status=200)
    async with bob.socket("user") as socket:
        await olga.delete(f"{board.path}/members/{BOB}")
        assert (await socket.next("project.left"))["payload"] == {"slug": "demo"}
        await olga.put(board.path, {"name": "Another"})
        await socket.settle()
        assert socket.waiting("project.updated") == []
    assert await told(bob) == [*[("gone", {})] * 5, ("left", {"slug": "demo"})]
    assert "secret" not in str(await bob.get("/users/me/events?since=0"))
    await olga.post(f"{board.path}/members", {"user_id": BOB})
    await olga.put(board.path, {"name": "Third"})
    assert [name for name, _ in await told(bob)][5:] == ["left", "joined", "updated"]


async def test_a_star_is_told_to_who_gave_it(board: Board, bob: Person, alice: Person) -> None:
    path, before = f"{board.path}/star", await head(bob, board)
    async with bob.socket("user") as socket:
        for _ in range(2):
            await bob.post(path, status=200)
        assert (await socket.next("project.starred"))["payload"] == {"slug": "demo"}
        for _ in range(2):
            await bob.delete(path)
        assert (await socket.next())["type"] == "project.unstarred"
    assert [name for name, _ in await told(bob)] == ["joined", "starred", "unstarred"]
    assert [name for name, _ in await told(alice)] == ["joined"]
    assert await head(bob, board) == before


@pytest.mark.foul
async def test_a_project_of_ten_thousand_is_renamed_within_a_second(
    board: Board, olga: Person, bob: Person, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connection.execute(
        "with made as ("
        " insert into users (email, username, password_hash, display_name)"
        " select 'u' || n || '@example.org', 'u' || n, 'x', 'U' || n"
        " from generate_series(1, 10000) n returning id"
        ") insert into project_members (project_id, user_id) select $1, id from made",
        board.id,
    )
    began = time.monotonic()
    await olga.put(board.path, {"name": "New"})
    assert time.monotonic() - began < pace.here(1.0) * pace.stretch()
    told_of = "select count(*) from events where type = 'project.updated'"
    assert await connection.fetchval(told_of) == 1 + 3 + 10_000

    monkeypatch.setattr(accounts, "MOST_TOLD", 10_002)
    before = await head(bob, board)
    await olga.put(board.path, {"name": "Newer"})
    assert await connection.fetchval(told_of) == 1 + 3 + 10_000 + 1
    assert await head(bob, board) == before + 1


# The board with its talk


async def test_a_board_may_bring_the_newest_messages(
    board: Board, alice: Person, bob: Person
) -> None:
    path = f"{board.path}?include=chat"
    empty = await bob.get(path)
    assert (empty["messages"], empty["messages_more"]) == ([], False)
    assert "columns" not in empty
    assert "messages" not in await bob.get(board.path)
    for n in range(51):
        await say(alice, board, str(n))
        if n == 49:
            shown = await bob.get(path)
            assert (len(shown["messages"]), shown["messages_more"]) == (50, False)
    shown = await bob.get(f"{board.path}?include=chat,labels")
    assert shown["messages"] == await bob.get(f"{board.path}/chat/messages")
    assert (len(shown["messages"]), shown["messages_more"]) == (50, True)
    assert (shown["unread_count"], shown["last_read_message_id"]) == (51, None)
    assert shown["labels"]

    first = shown["messages"][0]
    await bob.post(f"{board.path}/chat/read", {"message_id": first["id"]}, status=204)
    async with alice.socket(since=shown["seq"], epoch=shown["epoch"]) as socket:
        reactions = f"{board.path}/chat/messages/{first['id']}/reactions"
        await alice.post(reactions, {"emoji": "👍"})
        assert (await socket.next("chat.reaction_updated"))["seq"] == shown["seq"] + 1
    again = await bob.get(path)
    assert again["messages"][0]["reactions"][0]["emoji"] == "👍"
    assert (again["unread_count"], again["last_read_message_id"]) == (49, first["id"])
    await alice.delete(f"{board.path}/chat/messages/{first['id']}")
    last = await bob.get(path)
    assert [each["body"] for each in last["messages"]] == [str(n) for n in (0, *range(2, 51))]


async def test_long_messages_leave_the_board_its_room(
    board: Board, alice: Person, bob: Person
) -> None:
    ids = [await say(alice, board, "\u0001" * 20_000) for _ in range(12)]
    shown = await bob.get(f"{board.path}?include=chat,cards")
    told = [each["id"] for each in shown["messages"]]
    assert (told, shown["messages_more"]) == (ids[-len(told) :], True)
    assert 6 <= len(told) < 12
