"""Replies: said to a topic, edited, deleted, read in pages; seen live, and counted there."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Board, Door, Invite
from tests.person import Person
from tests.rest.test_topics import (
    TEXTS,
    WORST,
    begin,
    head,
    size,
    take_the_longest_name,
    walk,
)
from warmdesk.db.queries import sql
from warmdesk.rest import topics
from warmdesk.rest.topics import PAGE_BYTES


@pytest.fixture
async def topic(board: Board, alice: Person) -> str:
    """The path of a topic of alice's."""
    path = f"{board.path}/topics"
    return f"{path}/{(await begin(alice, path))['id']}"


@pytest.fixture
def path(topic: str) -> str:
    return f"{topic}/replies"


async def say(person: Person, path: str, body: str = "The front door.") -> Any:
    return await person.post(path, {"body": body})


# Saying


async def test_a_reply_is_told_as_it_is_answered_and_read(
    topic: str, path: str, alice: Person, bob: Person, olga: Person, twin: Door, person: Invite
) -> None:
    before = (await bob.get(topic))["topic"]
    far = person("bob", url=twin.url)
    async with far.socket("demo") as socket:
        answer = await olga.request("POST", path, {"body": " **Both** "})
        told = await socket.next("topic.reply_created")
        await socket.settle()
        assert not socket.waiting("topic.updated")
    made = answer.body
    assert (told["payload"], told["actor_id"]) == (made, olga.id)
    assert (made["body"], made["user_id"], made["user"]["id"]) == (" **Both** ", olga.id, olga.id)
    assert (made["topic_id"], made["version"], made["is_edited"]) == (before["id"], 1, False)
    assert made["created_at"] == made["updated_at"]
    assert answer.headers["Location"] == f"/api/v1{path}/{made['id']}"
    assert answer.headers["ETag"] == '"1"'
    assert await bob.get(path) == [made]
    after = await bob.get(topic)
    assert after["topic"] == before | {
        "reply_count": 1,
        "last_activity_at": made["created_at"],
    }
    assert (after["replies"], after["replies_more"]) == ([made], False)


@pytest.mark.parametrize("text", [*TEXTS, "x" * 20_000, "👍" * 20_000, "\x01" * 20_000])
async def test_texts_come_back_as_they_were_sent(path: str, alice: Person, text: str) -> None:
    assert (await say(alice, path, text))["body"] == text
    assert [each["body"] for each in await alice.get(path)] == [text]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "required"),
        ({"body": ""}, "blank"),
        ({"body": " \n"}, "blank"),
        ({"body": None}, "required"),
        ({"body": 5}, "bad_format"),
        ({"body": "x" * 20_001}, "too_long"),
    ],
)
async def test_what_is_no_reply_is_refused(
    topic: str, path: str, alice: Person, body: Any, code: str
) -> None:
    one = f"{path}/{(await say(alice, path))['id']}"
    for refused in (
        await alice.post(path, body, status=400),
        await alice.put(one, body, status=400),
    ):
        assert refused["fields"] == {"body": code}
    assert (await alice.get(topic))["reply_count"] == 1


async def test_the_same_key_says_it_once(topic: str, path: str, alice: Person) -> None:
    answers = await asyncio.gather(
        *(alice.request("POST", path, {"body": "Once"}, key="once") for _ in range(20))
    )
    assert {answer.status for answer in answers} == {201}
    assert len({json.dumps(answer.body) for answer in answers}) == 1
    assert sum("Idempotent-Replay" in answer.headers for answer in answers) == 19
    assert (await alice.get(topic))["reply_count"] == len(await alice.get(path)) == 1


# Who may


async def test_members_reply_and_viewers_read(
    path: str, alice: Person, bob: Person, eve: Person, root: Person
) -> None:
    made = await say(alice, path)
    await say(root, path)
    one = f"{path}/{made['id']}"
    for person, status in ((bob, 403), (eve, 404)):
        await person.post(path, {"body": "Mine"}, status=status)
        await person.put(one, {"body": "Mine"}, status=status)
        await person.delete(one, status=status)
    assert len(await bob.get(path)) == 2
    await eve.get(path, status=404)


async def test_its_author_and_project_admins_change_a_reply(
    board: Board, path: str, alice: Person, olga: Person, root: Person, bob: Person
) -> None:
    """Not whoever began the topic."""
    await olga.put(f"{board.path}/members/{bob.id}", {"role": "member"})
    theirs = f"{path}/{(await say(bob, path))['id']}"
    before = await head(alice, board)
    for sent in ({"body": "Alice's"}, {"body": "The front door."}):
        await alice.put(theirs, sent, status=403)
    await alice.delete(theirs, status=403)
    assert await head(alice, board) == before
    for person, body in ((bob, "Bob's"), (olga, "Olga's"), (root, "Root's")):
        changed = await person.put(theirs, {"body": body})
        assert (changed["body"], changed["user_id"]) == (body, bob.id)
    for person in (bob, olga, root):
        await person.delete(f"{path}/{(await say(bob, path))['id']}")


async def test_who_lost_the_right_to_write_changes_nothing(
    board: Board, path: str, alice: Person, olga: Person
) -> None:
    one = f"{path}/{(await say(alice, path))['id']}"
    members = f"{board.path}/members"
    await olga.put(f"{members}/{alice.id}", {"role": "viewer"})
    await alice.put(one, {"body": "Mine"}, status=403)
    await alice.delete(one, status=403)
    await olga.delete(f"{members}/{alice.id}")
    await alice.put(one, {"body": "Mine"}, status=404)
    await alice.delete(one, status=404)
    (shown,) = await olga.get(path)
    assert (shown["body"], shown["user"]["username"]) == ("The front door.", "alice")


async def test_a_reply_is_found_below_its_own_topic_alone(
    board: Board, topic: str, path: str, alice: Person, olga: Person
) -> None:
    one, number = (await say(olga, path))["id"], topic.rpartition("/")[2]
    near = await begin(alice, f"{board.path}/topics", "Another")
    other = f"/projects/{(await olga.post('/projects', {'name': 'Elsewhere'}))['slug']}"
    far = await begin(olga, f"{other}/topics", "Away")
    before = await head(alice, board), len((await olga.get(f"{other}/events"))["events"])
    for wrong in (
        f"{board.path}/topics/{near['id']}/replies/{one}",
        f"{other}/topics/{far['id']}/replies/{one}",
        f"{other}/topics/{number}/replies/{one}",
        f"{path}/999",
        f"{path}/x",
    ):
        await olga.put(wrong, {"body": "Mine"}, status=404)
        await olga.delete(wrong, status=404)
    for wrong in (f"{other}/topics/{number}/replies", f"{board.path}/topics/999/replies"):
        await olga.get(wrong, status=404)
        await olga.post(wrong, {"body": "Mine"}, status=404)
    after = await head(alice, board), len((await olga.get(f"{other}/events"))["events"])
    assert after == before
    assert [each["body"] for each in await olga.get(path)] == ["The front door."]
    for each in (f"{board.path}/topics/{near['id']}", f"{other}/topics/{far['id']}"):
        shown = await olga.get(each)
        assert (shown["reply_count"], shown["replies"]) == (0, [])


async def test_an_archived_project_takes_no_replies(board: Board, path: str, olga: Person) -> None:
    one = f"{path}/{(await say(olga, path))['id']}"
    await olga.delete(board.path)
    for refused in (
        await olga.post(path, {"body": "x"}, status=422),
        await olga.put(one, {"body": "x"}, status=422),
        await olga.delete(one, status=422),
    ):
        assert refused["code"] == "project_archived"
    assert len(await olga.get(path)) == 1


# Changing and deleting


async def test_an_edit_is_told_and_the_same_text_is_none(
    topic: str, path: str, alice: Person, bob: Person
) -> None:
    made = await say(alice, path)
    before = (await bob.get(topic))["topic"]
    one = f"{path}/{made['id']}"
    async with bob.socket("demo") as socket:
        edited = await alice.put(one, {"body": "The back door."})
        assert (await socket.next("topic.reply_updated"))["payload"] == edited
        assert await alice.put(one, {"body": "The back door."}) == edited
        await socket.settle()
        assert not socket.waiting("topic.reply_updated")
    assert (edited["body"], edited["is_edited"], edited["version"]) == ("The back door.", True, 2)
    assert edited["updated_at"] > edited["created_at"] == made["created_at"]
    assert await bob.get(path) == [edited]
    assert (await bob.get(topic))["topic"] == before


async def test_an_old_version_is_a_conflict(path: str, alice: Person) -> None:
    one = f"{path}/{(await say(alice, path))['id']}"
    await alice.put(one, {"body": "Two", "version": 1})
    refused = await alice.put(one, {"body": "Three", "version": 1}, status=409)
    assert (refused["code"], refused["current"]["body"]) == ("version_conflict", "Two")
    await alice.put(one, {"body": "Three"}, if_match=1, status=412)
    await alice.delete(one, if_match=1, status=412)
    await alice.put(one, {"body": "Three"}, if_match=2)
    await alice.delete(one, if_match=3)


async def test_a_deleted_reply_is_nowhere(
    board: Board, topic: str, path: str, alice: Person, bob: Person, connection: Any
) -> None:
    kept = await say(alice, path, "Kept.")
    made = await say(alice, path, "A secret.")
    one = f"{path}/{made['id']}"
    before = (await bob.get(topic))["topic"]
    async with bob.socket("demo") as socket:
        await alice.delete(one)
        told = await socket.next("topic.reply_deleted")
    assert told["payload"] == {"id": made["id"], "topic_id": made["topic_id"]}
    assert (await alice.put(one, {"body": "Back"}, status=404))["code"] == "not_found"
    await alice.delete(one, status=404)
    after = await bob.get(topic)
    assert after["topic"] == before | {"reply_count": 1}
    assert after["replies"] == await bob.get(path) == [kept]
    assert "secret" not in str(await bob.get(f"{board.path}/events?since=0"))
    assert await connection.fetchval("select count(*) from topic_replies") == 2


# Pages


async def test_pages_go_both_ways(path: str, alice: Person) -> None:
    made = [await say(alice, path, f"Text {n}") for n in range(7)]
    await alice.delete(f"{path}/{made.pop(3)['id']}")
    ids = [each["id"] for each in made]
    assert await walk(alice, path) == [ids]
    assert await walk(alice, f"{path}?limit=4") == [ids[:4], ids[4:]]
    assert await walk(alice, f"{path}?limit=3") == [ids[:3], ids[3:]]
    assert await walk(alice, f"{path}?limit=2&after={ids[1]}") == [ids[2:4], ids[4:]]
    assert await walk(alice, f"{path}?limit=4&before={ids[5] + 1}") == [ids[2:], ids[:2]]
    assert await walk(alice, f"{path}?limit=1&after={ids[0]}&before={ids[3]}") == [
        ids[1:2],
        ids[2:3],
    ]
    assert await walk(alice, f"{path}?after={ids[5]}") == [[]]
    assert await walk(alice, f"{path}?before={ids[0]}") == [[]]
    assert len(await alice.get(f"{path}?limit=0")) == 1
    assert len(await alice.get(f"{path}?limit=9999")) == 6
    for wrong in ("limit=x", "before=0", "after=-1", "before=" + "9" * 20):
        await alice.get(f"{path}?{wrong}", status=400)


async def test_a_topic_shows_its_first_hundred_replies(
    topic: str, path: str, alice: Person, olga: Person
) -> None:
    for _ in range(10):
        await asyncio.gather(*(say(who, path) for who in (alice, olga) for _ in range(5)))
    shown = await alice.get(topic)
    every = await alice.get(f"{path}?limit=200")
    assert (shown["replies"], shown["replies_more"], shown["reply_count"]) == (every, False, 100)
    assert len(await alice.get(path)) == 50
    last = await say(olga, path)
    shown = await alice.get(topic)
    assert (shown["replies"], shown["replies_more"], shown["reply_count"]) == (every, True, 101)
    assert await alice.get(f"{path}?after={every[-1]['id']}") == [last]


async def test_a_page_of_long_replies_ends_early(
    path: str, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "PAGE_BYTES", 100_000)
    long = [(await say(alice, path, WORST * 10_000))["id"] for _ in range(3)]
    short = [(await say(alice, path, "short"))["id"] for _ in range(3)]
    assert await walk(alice, path) == [long[:1], long[1:2], [long[2], *short]]
    assert await walk(alice, f"{path}?after={long[-1]}") == [short]
    assert await walk(alice, f"{path}?before={short[0]}") == [long[2:], long[1:2], long[:1]]


@pytest.mark.foul
async def test_no_page_is_too_long(
    board: Board, topic: str, path: str, alice: Person, connection: Any
) -> None:
    await take_the_longest_name(alice)
    await connection.execute(
        "insert into topic_replies (project_id, topic_id, user_id, body)"
        " select $1, $2, $3, repeat($4, 20000) from generate_series(1, 201)",
        board.id,
        int(topic.rpartition("/")[2]),
        alice.id,
        WORST,
    )
    for place in (f"{path}?limit=200", f"{path}?limit=200&before=999999"):
        answer = await alice.request("GET", place)
        assert PAGE_BYTES - 260_000 < size(answer.body) <= PAGE_BYTES
        pages = await walk(alice, place)
        assert len({each for page in pages for each in page}) == 201


@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 9_000), st.sampled_from('a"\x01é🦊')), min_size=1, max_size=12
    ),
    deleted=st.sets(st.integers(0, 11)),
    bytes_=st.integers(0, 60_000),
    limit=st.integers(1, 12),
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_fits_every_reply_is_on_one_page(
    board: Board,
    connection: Any,
    sizes: list[tuple[int, str]],
    deleted: set[int],
    bytes_: int,
    limit: int,
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    try:
        topic_id = await connection.fetchval(
            "insert into topics (project_id, user_id, title) values ($1, 3, 'T') returning id",
            board.id,
        )
        ids = []
        for n, (length, letter) in enumerate(sizes):
            id_ = await connection.fetchval(
                "insert into topic_replies (project_id, topic_id, user_id, body, deleted_at)"
                " values ($1, $2, 3, $3, case when $4 then now() end) returning id",
                board.id,
                topic_id,
                letter * length,
                n in deleted,
            )
            ids += [id_] if n not in deleted else []

        async def read(backwards: bool) -> list[int]:
            found: list[int] = []
            place: dict[str, int | None] = {"before": None, "after": None}
            if backwards:
                place["before"] = 2**53
            while True:
                page = await sql.replies.page(
                    connection,
                    project_id=board.id,
                    topic_id=topic_id,
                    limit=limit,
                    bytes=bytes_,
                    **place,
                )
                part = [each["id"] for each in json.loads(page["items"])]
                assert len(part) <= limit
                assert len(part) <= 1 or len(page["items"].encode()) <= bytes_
                found = part + found if backwards else found + part
                assert page["more"] == (len(found) < len(ids))
                if not page["more"]:
                    return found
                assert page["end_id"] == (part[0] if backwards else part[-1])
                place["before" if backwards else "after"] = page["end_id"]

        assert await read(backwards=False) == await read(backwards=True) == ids
    finally:
        await transaction.rollback()
