"""Topics: begun, edited, pinned, deleted, read in pages; seen live."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Board, Door, Invite
from tests.person import Person
from warmdesk.db.queries import sql
from warmdesk.rest.topics import FIRST_REPLIES_BYTES, PAGE_BYTES

TEXTS = ("👩‍👩‍👧", "שלום עולם", "e\u0301", "\u202eabc", "  spaces around  ", "a\tb\nc", "\x01")
ANY_TIME = "2026-04-04T10:00:00.000000Z"


@pytest.fixture
def path(board: Board) -> str:
    return f"{board.path}/topics"


async def begin(person: Person, path: str, title: str = "Which door?", **more: Any) -> Any:
    return await person.post(path, {"title": title, **more})


async def titles(person: Person, path: str, query: str = "") -> list[str]:
    return [topic["title"] for topic in await person.get(path + query)]


async def head(person: Person, board: Board) -> int:
    seq: int = (await person.get(board.path))["seq"]
    return seq


# Beginning


async def test_a_topic_is_told_as_it_is_answered_and_read(
    board: Board, path: str, alice: Person, bob: Person, twin: Door, person: Invite
) -> None:
    far = person("bob", url=twin.url)
    async with far.socket("demo") as socket:
        answer = await alice.request("POST", path, {"title": " Which door? ", "body": "**Both**"})
        told = await socket.next("topic.created")
    made = answer.body
    assert (told["payload"], told["actor_id"]) == (made, alice.id)
    assert (made["title"], made["body"], made["user"]["id"]) == (
        "Which door?",
        "**Both**",
        alice.id,
    )
    assert (made["is_pinned"], made["is_edited"], made["reply_count"]) == (False, False, 0)
    assert (made["version"], made["project_id"], made["user_id"]) == (1, board.id, alice.id)
    assert made["last_activity_at"] == made["created_at"] == made["updated_at"]
    assert answer.headers["Location"] == f"/api/v1{path}/{made['id']}"
    assert answer.headers["ETag"] == '"1"'
    assert await bob.get(path) == [made]
    shown = await bob.request("GET", f"{path}/{made['id']}")
    assert shown.body == {**made, "topic": made, "replies": [], "replies_more": False}
    assert shown.headers["ETag"] == '"1"'


@pytest.mark.parametrize("text", [*TEXTS, "x" * 100_000, "👍" * 100_000, "\x01" * 100_000])
async def test_texts_come_back_as_they_were_sent(
    path: str, alice: Person, bob: Person, text: str
) -> None:
    async with bob.socket("demo") as socket:
        made = await begin(alice, path, text[:500].strip() or "A title", body=text)
        assert (await socket.next("topic.created"))["payload"] == made
    shown = await bob.get(f"{path}/{made['id']}")
    assert made["body"] == shown["body"] == shown["topic"]["body"] == text


async def test_a_body_may_be_left_away(path: str, alice: Person) -> None:
    for more in ({}, {"body": ""}, {"body": None}):
        assert (await begin(alice, path, **more))["body"] == ""


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"title": "required"}),
        ({"title": ""}, {"title": "blank"}),
        ({"title": " \n"}, {"title": "blank"}),
        ({"title": None}, {"title": "required"}),
        ({"title": 5}, {"title": "bad_format"}),
        ({"title": "x" * 501}, {"title": "too_long"}),
        ({"title": "x", "body": 5}, {"body": "bad_format"}),
        ({"title": "x", "body": "x" * 100_001}, {"body": "too_long"}),
    ],
)
async def test_what_is_no_topic_is_refused(
    board: Board, path: str, alice: Person, body: Any, fields: dict[str, str]
) -> None:
    before = await head(alice, board)
    assert (await alice.post(path, body, status=400))["fields"] == fields
    assert await alice.get(path) == []
    assert await head(alice, board) == before


async def test_what_the_server_keeps_itself_is_passed_over(
    path: str, alice: Person, olga: Person
) -> None:
    sent: dict[str, Any] = {"id": 99, "user_id": olga.id, "is_pinned": True, "is_edited": True}
    made = await begin(alice, path, **sent, reply_count=9, version=7)
    assert (made["user_id"], made["is_pinned"], made["reply_count"]) == (alice.id, False, 0)
    one = f"{path}/{made['id']}"
    sent = {"user_id": olga.id, "reply_count": 9, "created_at": ANY_TIME, "project_id": 9}
    assert await alice.put(one, sent) == made


async def test_the_same_key_makes_one_topic(path: str, alice: Person) -> None:
    answers = await asyncio.gather(
        *(alice.request("POST", path, {"title": "Once"}, key="once") for _ in range(20))
    )
    assert {answer.status for answer in answers} == {201}
    assert len({json.dumps(answer.body) for answer in answers}) == 1
    assert sum("Idempotent-Replay" in answer.headers for answer in answers) == 19
    assert await titles(alice, path) == ["Once"]


# Who may


async def test_members_begin_topics_and_viewers_read_them(
    path: str, alice: Person, bob: Person, eve: Person, root: Person
) -> None:
    made = await begin(alice, path)
    await begin(root, path, "An administrator's")
    one = f"{path}/{made['id']}"
    await bob.post(path, {"title": "Mine"}, status=403)
    await bob.put(one, {"title": "Mine"}, status=403)
    await bob.delete(one, status=403)
    await bob.get(one)
    for status, ask in ((404, eve),):
        await ask.get(path, status=status)
        await ask.get(one, status=status)
        await ask.post(path, {"title": "Mine"}, status=status)
        await ask.put(one, {"title": "Mine"}, status=status)
        await ask.delete(one, status=status)
    assert await titles(bob, path) == ["An administrator's", "Which door?"]


async def test_its_author_and_project_admins_change_a_topic(
    board: Board, path: str, alice: Person, olga: Person, root: Person, bob: Person
) -> None:
    await olga.put(f"{board.path}/members/{bob.id}", {"role": "member"})
    one = f"{path}/{(await begin(alice, path))['id']}"
    before = await head(alice, board)
    for sent in ({"title": "Bob's"}, {"is_pinned": True}, {"title": "Which door?"}, {}):
        await bob.put(one, sent, status=403)
    await bob.delete(one, status=403)
    assert await head(alice, board) == before
    for person, title in ((alice, "Alice's"), (olga, "Olga's"), (root, "Root's")):
        changed = await person.put(one, {"title": title})
        assert (changed["title"], changed["user_id"]) == (title, alice.id)
    await olga.put(f"{board.path}/members/{bob.id}", {"role": "admin"})
    assert (await bob.put(one, {"is_pinned": True}))["is_pinned"]
    await bob.delete(one)


async def test_who_lost_the_right_to_write_changes_nothing(
    board: Board, path: str, alice: Person, olga: Person
) -> None:
    one = f"{path}/{(await begin(alice, path))['id']}"
    members = f"{board.path}/members"
    await olga.put(f"{members}/{alice.id}", {"role": "viewer"})
    await alice.put(one, {"title": "Mine"}, status=403)
    await alice.delete(one, status=403)
    await olga.delete(f"{members}/{alice.id}")
    await alice.put(one, {"title": "Mine"}, status=404)
    await alice.delete(one, status=404)
    (shown,) = await olga.get(path)
    assert (shown["title"], shown["user"]["username"]) == ("Which door?", "alice")


async def test_who_left_is_shown_by_the_name_of_today(
    board: Board, path: str, alice: Person, olga: Person, connection: Any
) -> None:
    """And so is who did nothing in the project but begin a topic, or reply to one."""
    topic = await begin(alice, path)
    await olga.post(f"{path}/{topic['id']}/replies", {"body": "Both."})
    await olga.delete(f"{board.path}/members/{alice.id}")
    guests = "select user_id from project_guests where project_id = $1"
    assert [row["user_id"] for row in await connection.fetch(guests, board.id)] == [alice.id]
    async with olga.socket("demo") as socket:
        await alice.put("/users/me", {"display_name": "Somebody"})
        user = (await socket.next("project.guest_updated"))["payload"]["user"]
    (shown,) = await olga.get(path)
    assert shown["user"] == user
    assert user["display_name"] == "Somebody"


async def test_a_topic_of_another_project_is_not_there(
    board: Board, path: str, alice: Person, olga: Person
) -> None:
    one = (await begin(olga, path))["id"]
    other = (await olga.post("/projects", {"name": "Elsewhere"}))["slug"]
    before = await head(alice, board)
    for wrong in (
        f"/projects/{other}/topics/{one}",
        f"{path}/999",
        f"{path}/0",
        f"{path}/x",
        f"{path}/{one}x",
    ):
        await olga.get(wrong, status=404)
        await olga.put(wrong, {"title": "Mine"}, status=404)
        await olga.delete(wrong, status=404)
    assert await olga.get(f"/projects/{other}/topics") == []
    assert len((await olga.get(f"/projects/{other}/events?since=0"))["events"]) == 0
    assert await head(alice, board) == before
    assert await titles(olga, path) == ["Which door?"]


async def test_an_archived_project_takes_no_topics(board: Board, path: str, olga: Person) -> None:
    one = f"{path}/{(await begin(olga, path))['id']}"
    await olga.delete(board.path)
    for refused in (
        await olga.post(path, {"title": "x"}, status=422),
        await olga.put(one, {"title": "x"}, status=422),
        await olga.delete(one, status=422),
    ):
        assert refused["code"] == "project_archived"
    assert await titles(olga, path) == ["Which door?"]
    await olga.get(one)


# Changing


async def test_what_is_sent_and_differs_is_changed(path: str, alice: Person, bob: Person) -> None:
    made = await begin(alice, path, body="Both.")
    one = f"{path}/{made['id']}"
    async with bob.socket("demo") as socket:
        changed = await alice.put(one, {"title": " Which door next? "})
        assert (await socket.next("topic.updated"))["payload"] == changed
        assert (changed["title"], changed["body"]) == ("Which door next?", "Both.")
        assert (changed["is_edited"], changed["version"]) == (True, 2)
        assert changed["updated_at"] > made["updated_at"]
        assert changed["last_activity_at"] == made["last_activity_at"]
        for same in ({}, {"title": "Which door next?"}, {"body": "Both.", "is_pinned": False}):
            assert await alice.put(one, same) == changed
        for cleared in (None, ""):
            assert (await alice.put(one, {"body": cleared}))["body"] == ""
        assert (await socket.next("topic.updated"))["payload"]["version"] == 3
        await socket.settle()
        assert not socket.waiting("topic.updated")
    assert (await bob.get(one))["version"] == 3


async def test_a_pin_alone_is_no_edit(path: str, alice: Person, olga: Person) -> None:
    one = f"{path}/{(await begin(alice, path))['id']}"
    pinned = await alice.put(one, {"is_pinned": True})
    assert (pinned["is_pinned"], pinned["is_edited"], pinned["version"]) == (True, False, 2)
    assert await alice.put(one, {"is_pinned": True}) == pinned
    freed = await olga.put(one, {"is_pinned": False})
    assert (freed["is_pinned"], freed["is_edited"], freed["version"]) == (False, False, 3)
    both = await olga.put(one, {"is_pinned": True, "body": "Both."})
    assert (both["is_pinned"], both["is_edited"], both["version"]) == (True, True, 4)
    assert (await olga.put(one, {"is_pinned": False}))["is_edited"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": None},
        {"title": ""},
        {"title": "  "},
        {"title": "x" * 501},
        {"body": 5},
        {"body": "x" * 100_001},
        {"is_pinned": None},
        {"is_pinned": 1},
        {"is_pinned": "true"},
        {"version": 0},
        {"version": "1"},
    ],
)
async def test_a_wrong_change_is_refused(path: str, alice: Person, wrong: dict[str, Any]) -> None:
    made = await begin(alice, path)
    one = f"{path}/{made['id']}"
    refused = await alice.put(one, {"body": "Another", **wrong}, status=400)
    assert list(refused["fields"]) == list(wrong)
    assert (await alice.get(one))["topic"] == made


async def test_an_old_version_is_a_conflict(path: str, alice: Person) -> None:
    one = f"{path}/{(await begin(alice, path))['id']}"
    await alice.put(one, {"title": "Two", "version": 1})
    refused = await alice.put(one, {"title": "Three", "version": 1}, status=409)
    assert refused["code"] == "version_conflict"
    assert refused["current"] == (await alice.get(one))["topic"]
    refused = await alice.put(one, {"title": "Three"}, if_match=1, status=412)
    assert refused["current"]["title"] == "Two"
    await alice.delete(one, if_match=1, status=412)
    await alice.put(one, {"title": "Three"}, if_match=2)
    await alice.post(f"{one}/replies", {"body": "A reply raises no version."})
    await alice.delete(one, if_match=3)


async def test_of_many_who_saw_one_version_one_changes_it(
    path: str, alice: Person, olga: Person
) -> None:
    one = f"{path}/{(await begin(alice, path))['id']}"
    answers = await asyncio.gather(
        *(
            who.request("PUT", one, {"title": f"Title {n}"}, if_match=1)
            for n, who in enumerate([alice, olga] * 4)
        )
    )
    assert sorted(answer.status for answer in answers) == [200] + [412] * 7
    (changed,) = (answer.body for answer in answers if answer.status == 200)
    assert (await alice.get(one))["topic"] == changed


# Deleting


async def test_a_deleted_topic_is_nowhere(
    board: Board, path: str, alice: Person, olga: Person, bob: Person, connection: Any
) -> None:
    for deleter in (alice, olga):
        topic = await begin(alice, path, "A secret", body="secret")
        one = f"{path}/{topic['id']}"
        reply = await olga.post(f"{one}/replies", {"body": "secret, too"})
        async with bob.socket("demo") as socket:
            await deleter.delete(one)
            assert (await socket.next("topic.deleted"))["payload"] == {"id": topic["id"]}
        for method, place, sent in (
            ("GET", one, None),
            ("PUT", one, {"title": "Back"}),
            ("DELETE", one, None),
            ("GET", f"{one}/replies", None),
            ("POST", f"{one}/replies", {"body": "More"}),
            ("PUT", f"{one}/replies/{reply['id']}", {"body": "More"}),
            ("DELETE", f"{one}/replies/{reply['id']}", None),
        ):
            assert (await olga.request(method, place, sent)).status == 404, (method, place)
    assert await bob.get(path) == []
    events = (await bob.get(f"{board.path}/events?since=0"))["events"]
    assert "secret" not in str(events)
    assert [event["type"] for event in events[-3:]] == ["gone", "gone", "topic.deleted"]
    kept = "select count(*) from topics t join topic_replies r on r.topic_id = t.id"
    assert await connection.fetchval(kept) == 2


# Pages


async def walk(person: Person, path: str | None) -> list[list[int]]:
    """The ids of a page and of all that follow it."""
    pages = []
    while path:
        answer = await person.request("GET", path)
        assert answer.status == 200, answer.body
        pages.append([each["id"] for each in answer.body])
        link = answer.headers.get("Link", "")
        path = link.partition(">")[0].removeprefix("</api/v1") if link else None
    return pages


async def test_pinned_topics_come_first_and_then_the_newest(path: str, alice: Person) -> None:
    ids = [(await begin(alice, path, f"Topic {n}"))["id"] for n in range(7)]
    for n in (1, 4):
        await alice.put(f"{path}/{ids[n]}", {"is_pinned": True})
    await alice.delete(f"{path}/{ids[5]}")
    await alice.post(f"{path}/{ids[0]}/replies", {"body": "A reply moves nothing."})
    order = [ids[n] for n in (4, 1, 6, 3, 2, 0)]
    assert await walk(alice, path) == [order]
    for limit in range(1, 7):
        pages = await walk(alice, f"{path}?limit={limit}")
        assert [each for page in pages for each in page] == order
        assert {len(page) for page in pages[:-1]} <= {limit}


async def test_a_page_goes_on_where_it_ended_whatever_is_begun(path: str, alice: Person) -> None:
    ids = [(await begin(alice, path, f"Topic {n}"))["id"] for n in range(4)]
    answer = await alice.request("GET", f"{path}?limit=2")
    await begin(alice, path, "Newer")
    await alice.delete(f"{path}/{ids[2]}")
    following = answer.headers["Link"].partition(">")[0].removeprefix("</api/v1")
    assert [each["id"] for each in await alice.get(following)] == ids[1::-1]


async def test_a_list_shows_the_beginning_of_a_long_body(path: str, alice: Person) -> None:
    for body in ("x" * 1000, "👍" * 1000, "x" * 1001, "👍" * 1001, "ä" * 600):
        made = await begin(alice, path, body=body)
        (shown, *_) = await alice.get(path)
        cut = {"body": body[:1000], "body_cut": True} if len(body) > 1000 else {}
        assert shown == {**made, **cut}
        assert (await alice.get(f"{path}/{made['id']}"))["body"] == body


WORST = "\x01"
"""A character that takes six bytes in JSON."""


async def take_the_longest_name(alice: Person) -> None:
    address = "/" + "👍" * 499
    await alice.put("/users/me", {"display_name": "👍" * 150, "avatar_url": address})


@pytest.mark.foul
async def test_no_page_is_too_long(board: Board, path: str, alice: Person, connection: Any) -> None:
    await take_the_longest_name(alice)
    await connection.execute(
        "insert into topics (project_id, user_id, title, body, reply_count)"
        " select $1, $2, repeat($3, 500), repeat($3, 100000), 2147483647"
        " from generate_series(1, 501)",
        board.id,
        alice.id,
        WORST,
    )
    answer = await alice.request("GET", f"{path}?limit=500")
    assert (len(answer.body), "Link" in answer.headers) == (500, True)
    assert {each["body_cut"] for each in answer.body} == {True}
    assert size(answer.body) <= PAGE_BYTES


def size(content: Any) -> int:
    return len(json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode())


@pytest.mark.foul
async def test_a_topic_with_the_longest_replies_is_not_too_long(
    board: Board, path: str, alice: Person, connection: Any
) -> None:
    await take_the_longest_name(alice)
    topic = await begin(alice, path, WORST * 500, body=WORST * 100_000)
    one = f"{path}/{topic['id']}"
    await connection.execute(
        "insert into topic_replies (project_id, topic_id, user_id, body)"
        " select $1, $2, $3, repeat($4, 20000) from generate_series(1, 101)",
        board.id,
        topic["id"],
        alice.id,
        WORST,
    )
    shown = await alice.get(one)
    assert FIRST_REPLIES_BYTES - 260_000 < size(shown["replies"]) <= FIRST_REPLIES_BYTES
    assert shown["replies_more"]
    assert size(shown) <= PAGE_BYTES
    last = shown["replies"][-1]["id"]
    read = [each["id"] for each in shown["replies"]]
    for page in await walk(alice, f"{one}/replies?after={last}&limit=200"):
        read += page
    assert len(set(read)) == len(read) == 101


@given(
    bodies=st.lists(
        st.tuples(st.integers(0, 1003), st.sampled_from('a"\x01é🦊')), min_size=1, max_size=12
    ),
    pins=st.sets(st.integers(0, 11)),
    deleted=st.sets(st.integers(0, 11)),
    limit=st.integers(1, 12),
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_topic_is_on_one_page_in_its_order(
    board: Board,
    connection: Any,
    bodies: list[tuple[int, str]],
    pins: set[int],
    deleted: set[int],
    limit: int,
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    try:
        rows = []
        for n, (length, letter) in enumerate(bodies):
            rows.append(
                await connection.fetchrow(
                    "insert into topics (project_id, user_id, title, body, is_pinned, deleted_at)"
                    " values ($1, 3, 'T', $2, $3, case when $4 then now() end)"
                    " returning id, body, is_pinned",
                    board.id,
                    letter * length,
                    n in pins,
                    n in deleted,
                )
            )
        live = [row for n, row in enumerate(rows) if n not in deleted]
        wanted = sorted(live, key=lambda row: (row["is_pinned"], row["id"]), reverse=True)
        found: list[Any] = []
        after: list[Any] | None = [None, None]
        while after is not None:
            page = await sql.topics.page(
                connection,
                project_id=board.id,
                after_pinned=after[0],
                after_id=after[1],
                limit=limit,
            )
            items = json.loads(page["items"])
            assert len(items) <= limit
            found += items
            after = json.loads(page["next"]) if page["next"] else None
            assert (after is None) == (len(found) == len(wanted))
        assert [each["id"] for each in found] == [row["id"] for row in wanted]
        for each, row in zip(found, wanted, strict=True):
            assert each["body"] == row["body"][:1000]
            assert each.get("body_cut", False) == (len(row["body"]) > 1000)
    finally:
        await transaction.rollback()
