"""What is said in conversations: sent once, edited, deleted, reacted to, read in pages, typed."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import Board, Door, Invite
from tests.person import Person
from tests.rest.test_conversations import ALICE, BOB, EVE, begin, head, say, told, types
from warmdesk.rest.conversations import PAGE_BYTES

SECRET = "secret"
LONGEST = "\x01" * 20_000


@pytest.fixture
async def path(alice: Person) -> str:
    """The messages of a conversation of alice and bob."""
    return f"/conversations/{(await begin(alice, BOB))['id']}/messages"


@pytest.fixture
async def here(path: str) -> int:
    return int(path.split("/")[2])


async def bodies(person: Person, path: str, query: str = "") -> list[str]:
    return [each["body"] for each in await person.get(f"{path}{query}")]


# Sending


async def test_a_message_is_told_as_it_is_answered_and_read(
    alice: Person, bob: Person, path: str, here: int
) -> None:
    async with alice.socket("user") as hers, bob.socket("user") as his:
        sent = await alice.post(path, {"body": "**Hi** 🚀", "nonce": "n1"})
        for socket in (hers, his):
            frame = await socket.next("dm.message")
            assert (frame["payload"], frame["actor_id"]) == (sent, ALICE)
    assert (sent["conversation_id"], sent["sender_id"]) == (here, ALICE)
    assert sent["sender"]["username"] == "alice"
    assert (sent["body"], sent["nonce"], sent["version"]) == ("**Hi** 🚀", "n1", 1)
    assert (sent["is_edited"], sent["is_deleted"]) == (False, False)
    assert (sent["attachments"], sent["reactions"]) == ([], [])
    assert await bob.get(path) == await alice.get(path) == [sent]
    assert (await bob.get(f"/conversations/{here}"))["last_message"] == sent


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"body": ""},
        {"body": " \n"},
        {"body": 7},
        {"body": "x" * 20_001},
        {"body": "x", "nonce": ""},
        {"body": "x", "nonce": "n" * 101},
    ],
)
async def test_what_is_malformed_is_not_sent(alice: Person, path: str, wrong: Any) -> None:
    await alice.post(path, wrong, status=400)
    assert await bodies(alice, path) == []


async def test_the_longest_message_goes_through(alice: Person, path: str) -> None:
    assert (await alice.post(path, {"body": LONGEST}))["body"] == LONGEST


async def test_the_same_nonce_is_the_same_message_in_one_conversation(
    alice: Person, bob: Person, path: str
) -> None:
    first = await alice.post(path, {"body": "Once", "nonce": "n"})
    before = await head(bob)
    assert await alice.post(path, {"body": "Again", "nonce": "n"}, status=200) == first
    assert await head(bob) == before
    assert (await bob.post(path, {"body": "Mine", "nonce": "n"}))["id"] != first["id"]
    elsewhere = f"/conversations/{(await begin(alice, EVE))['id']}/messages"
    assert (await alice.post(elsewhere, {"body": "There", "nonce": "n"}))["body"] == "There"


@pytest.mark.foul
async def test_a_nonce_is_forgotten_after_ten_minutes(
    alice: Person, path: str, connection: Any
) -> None:
    await alice.post(path, {"body": "Once", "nonce": "n"})
    for age, status in (("9 minutes 50 seconds", 200), ("10 minutes 1 second", 201)):
        await connection.execute(
            f"update conversation_messages set created_at = now() - interval '{age}'"
        )
        await alice.post(path, {"body": "Again", "nonce": "n"}, status=status)


async def test_fifty_at_once_with_one_nonce_or_key_are_one_message(
    alice: Person, person: Invite, twin: Door, path: str
) -> None:
    far = person("alice", url=twin.url)
    for options in ({"key": "k"}, {}):
        body = {"body": "Once", **({} if options else {"nonce": "n"})}
        answers = await asyncio.gather(
            *(who.request("POST", path, body, **options) for who in (alice, far) for _ in range(25))
        )
        assert {each.status for each in answers} <= {200, 201}
        assert len({each.body["id"] for each in answers}) == 1
    assert await bodies(alice, path) == ["Once", "Once"]


async def test_ids_and_events_have_one_order(
    alice: Person, bob: Person, person: Invite, twin: Door, path: str
) -> None:
    far = person("bob", url=twin.url)
    await asyncio.gather(
        *(who.post(path, {"body": "x"}) for who in (alice, bob, far) for _ in range(10))
    )
    for who in (alice, bob):
        shown = [each["payload"]["id"] for each in await told(who) if each["type"] == "dm.message"]
        assert len(shown) == 30
        assert shown == sorted(shown)


@pytest.mark.settings(rate_limits=True)
async def test_one_person_sends_sixty_messages_a_minute_here_and_in_projects(
    alice: Person, bob: Person, board: Board, path: str
) -> None:
    for n in range(30):
        await alice.post(path, {"body": str(n)})
        await alice.post(f"{board.path}/chat/messages", {"body": str(n)})
    refused = await alice.request("POST", path, {"body": "61"})
    assert (refused.status, refused.headers["RateLimit-Policy"]) == (429, '"message";q=60;w=60')
    await bob.post(path, {"body": "mine"})


# Edited, deleted


async def test_an_edit_is_told_and_the_same_text_is_not(
    alice: Person, bob: Person, path: str
) -> None:
    sent = await alice.post(path, {"body": "First"})
    async with bob.socket("user") as socket:
        edited = await alice.put(f"{path}/{sent['id']}", {"body": "Second"})
        assert (await socket.next("dm.message_updated"))["payload"] == edited
        again = await alice.patch(f"{path}/{sent['id']}", {"body": "Third"})
        assert (await socket.next("dm.message_updated"))["payload"] == again
    assert (again["body"], again["is_edited"], again["version"]) == ("Third", True, 3)
    before = await head(bob)
    assert await alice.put(f"{path}/{sent['id']}", {"body": "Third"}) == again
    assert await head(bob) == before


async def test_a_message_is_its_senders(alice: Person, bob: Person, path: str) -> None:
    sent = await alice.post(path, {"body": "Mine"})
    before = await head(alice)
    for method in ("PUT", "PATCH", "DELETE"):
        body = None if method == "DELETE" else {"body": "Yours"}
        assert (await bob.request(method, f"{path}/{sent['id']}", body)).status == 403
    assert (await bodies(alice, path), await head(alice)) == (["Mine"], before)


async def test_who_edits_what_another_tab_changed_hears_of_it(alice: Person, path: str) -> None:
    sent = await alice.post(path, {"body": "One"})
    place = f"{path}/{sent['id']}"
    edited = await alice.put(place, {"body": "Two", "version": 1})
    late = await alice.put(place, {"body": "Three", "version": 1}, status=409)
    assert (late["code"], late["current"]) == ("version_conflict", edited)
    for method in ("PUT", "PATCH", "DELETE"):
        body = None if method == "DELETE" else {"body": "Three"}
        refused = await alice.request(method, place, body, if_match=1)
        assert refused.status == 412
    kept = await alice.request("PUT", place, {"body": "Three"}, if_match=2)
    assert (kept.status, kept.headers["ETag"]) == (200, '"3"')
    assert (await alice.request("DELETE", place, if_match=3)).status == 204


async def test_a_deleted_message_is_told_to_nobody_after_it(
    alice: Person, bob: Person, path: str, here: int, connection: Any
) -> None:
    sent = (await alice.request("POST", path, {"body": f"1st {SECRET}"}, key="k")).body
    other = await alice.post(path, {"body": "other"})
    place = f"{path}/{sent['id']}"
    edit = {"body": f"2nd {SECRET}"}
    assert (await alice.request("PUT", place, edit, key="e")).status == 200
    await bob.post(f"{place}/reactions", {"emoji": "👍"})
    async with bob.socket("user") as socket:
        hello = (await socket.next("hello"))["payload"]
        await alice.delete(place)
        deleted = await socket.next("dm.message_deleted")
        assert deleted["payload"] == {"conversation_id": here, "id": sent["id"]}
    for who in (alice, bob):
        events = await told(who)
        assert SECRET not in str(events)
        assert types(events) == [
            "dm.conversation_created",
            *(("gone", "gone") if who is bob else ("gone",)),
            *("dm.message", "gone", "gone", "dm.message_deleted"),
        ]
    async with bob.socket("user", since=0, epoch=hello["epoch"]) as late:
        await late.next("dm.message_deleted")
        assert SECRET not in str(late.frames)
    again: list[tuple[str, str, Any, str]] = [
        ("POST", path, {"body": f"1st {SECRET}"}, "k"),
        ("PUT", place, edit, "e"),
    ]
    for method, asked, body, key in again:
        gone = await alice.request(method, asked, body, key=key)
        assert (gone.status, gone.body["code"]) == (410, "deleted")
    stored = await connection.fetchval("select string_agg(answer, ' ') from idempotency_keys")
    assert SECRET not in stored
    assert await alice.get(path) == [other]
    seen = await bob.get(f"/conversations/{here}")
    assert (seen["last_message"], seen["unread_count"]) == (other, 1)
    for method, body in (("PUT", {"body": "x"}), ("DELETE", None)):
        missing = await alice.request(method, place, body)
        assert (missing.status, missing.body["error"]) == (404, "message not found")
    await bob.post(f"{place}/reactions", {"emoji": "👍"}, status=404)


async def test_who_leaves_takes_no_answer_of_another_along(
    alice: Person, bob: Person, eve: Person
) -> None:
    group = await begin(alice, BOB, EVE)
    path = f"/conversations/{group['id']}"
    sent = await alice.post(f"{path}/messages", {"body": "Hello"}, key="k")
    named = await alice.post("/conversations", {"user_ids": [BOB, EVE]}, key="c")
    await eve.delete(f"{path}/members/{EVE}")
    await eve.delete(f"/conversations/{named['id']}/members/{EVE}")
    assert await alice.post(f"{path}/messages", {"body": "Hello"}, key="k") == sent
    assert await alice.post("/conversations", {"user_ids": [BOB, EVE]}, key="c") == named
    await alice.delete(f"{path}/members/{ALICE}")
    gone = await alice.request("POST", f"{path}/messages", {"body": "Hello"}, key="k")
    assert gone.status == 410


# Reactions


async def test_reactions_are_told_and_shown(
    alice: Person, bob: Person, path: str, here: int
) -> None:
    sent = await alice.post(path, {"body": "Cake?"})
    place = f"{path}/{sent['id']}/reactions"
    async with alice.socket("user") as socket:
        added = await bob.post(place, {"emoji": "🎉"})
        shown = [{"emoji": "🎉", "count": 1, "user_ids": [BOB]}]
        assert (added["message_id"], added["reactions"]) == (sent["id"], shown)
        event = await socket.next("dm.reaction_updated")
        assert event["payload"] == {
            "conversation_id": here,
            "message_id": sent["id"],
            "reactions": shown,
        }
        before = await head(alice)
        assert await bob.post(place, {"emoji": "🎉"}, status=200) == added
        assert await head(alice) == before
        assert (await alice.get(path))[0]["reactions"] == shown
        await bob.delete(f"{place}/{quote('🎉')}")
        assert (await socket.next("dm.reaction_updated"))["payload"]["reactions"] == []
    await bob.delete(f"{place}/{quote('🎉')}", status=404)
    for wrong in ("x", "👍👍", ""):
        await bob.post(place, {"emoji": wrong}, status=400)


async def test_a_message_of_a_chat_with_the_same_id_has_its_own_reactions(
    alice: Person, board: Board, path: str
) -> None:
    chat = f"{board.path}/chat/messages"
    sent = await alice.post(path, {"body": "here"})
    said = await alice.post(chat, {"body": "there"})
    while said["id"] < sent["id"]:
        said = await alice.post(chat, {"body": "there"})
    while sent["id"] < said["id"]:
        sent = await alice.post(path, {"body": "here"})
    assert sent["id"] == said["id"]
    await alice.post(f"{path}/{sent['id']}/reactions", {"emoji": "👍"})
    assert (await alice.get(chat))[-1]["reactions"] == []
    await alice.post(f"{chat}/{said['id']}/reactions", {"emoji": "🎉"})
    assert [each["emoji"] for each in (await alice.get(path))[-1]["reactions"]] == ["👍"]


async def test_a_message_takes_fifty_different_emojis(alice: Person, path: str) -> None:
    sent = await alice.post(path, {"body": "x"})
    emojis = [chr(0x1F600 + n) for n in range(51)]
    for each in emojis[:50]:
        await alice.post(f"{path}/{sent['id']}/reactions", {"emoji": each})
    refused = await alice.post(f"{path}/{sent['id']}/reactions", {"emoji": emojis[50]}, status=422)
    assert refused["code"] == "too_many_reactions"


# Pages


async def test_a_page_is_the_newest_and_reads_from_old_to_new(alice: Person, path: str) -> None:
    ids = [(await alice.post(path, {"body": str(n)}))["id"] for n in range(1, 8)]
    await alice.delete(f"{path}/{ids[3]}")
    assert await bodies(alice, path) == ["1", "2", "3", "5", "6", "7"]
    assert await bodies(alice, path, "?limit=2") == ["6", "7"]
    assert await bodies(alice, path, f"?limit=2&before={ids[5]}") == ["3", "5"]
    assert await bodies(alice, path, f"?limit=2&after={ids[1]}") == ["3", "5"]
    assert await bodies(alice, path, f"?limit=3&around={ids[2]}") == ["2", "3", "5"]
    assert await bodies(alice, path, "?limit=0") == ["7"]
    answer = await alice.request("GET", f"{path}?limit=3&around={ids[2]}")
    rels = re.findall(r'[?&](before|after)=(\d+)>; rel="(\w+)"', answer.headers["Link"])
    assert rels == [("after", str(ids[4]), "next"), ("before", str(ids[1]), "prev")]


@pytest.mark.foul
async def test_a_page_of_the_longest_messages_ends_and_goes_on(
    alice: Person, path: str, here: int, connection: Any
) -> None:
    rows = await connection.fetch(
        "insert into conversation_messages (conversation_id, sender_id, body)"
        " select $1, 3, $2 from generate_series(1, 200) returning id",
        here,
        LONGEST,
    )
    ids, found = [row["id"] for row in rows], []
    place: str | None = f"{path}?limit=200"
    while place is not None:
        answer = await alice.request("GET", place)
        assert len(json.dumps(answer.body, separators=(",", ":"))) <= PAGE_BYTES
        found.append([each["id"] for each in answer.body])
        link = re.search(r'<[^>]*/api/v1([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        place = link and link[1]
    assert [len(each) for each in found] == [69, 69, 62]
    assert [each for part in reversed(found) for each in part] == ids


# Typing


async def test_who_types_is_told_to_the_others_at_most_once_in_three_seconds(
    alice: Person, bob: Person, eve: Person, path: str, here: int
) -> None:
    async with (
        alice.socket("user") as hers,
        bob.socket("user") as his,
        eve.socket("user") as strange,
    ):
        for _ in range(3):
            await hers.send("dm.typing", {"conversation_id": here})
        told_of = await his.next("dm.typing")
        assert told_of == {
            "type": "dm.typing",
            "payload": {"conversation_id": here, "user_id": ALICE},
        }
        await alice.post(path, {"body": "There"})
        await his.next("dm.message")
        for socket in (hers, strange):
            await socket.settle()
            assert "dm.typing" not in types(socket.frames)
        await his.settle()
        assert types(his.frames).count("dm.typing") == 1


async def test_nobody_types_where_they_are_not(
    alice: Person, eve: Person, board: Board, here: int
) -> None:
    async with alice.socket("user") as hers, eve.socket("user") as strange:
        await strange.send("dm.typing", {"conversation_id": here}, id=1)
        error = (await strange.next("error"))["payload"]
        assert (error["code"], error["message"]) == ("not_found", "conversation not found")
        await hers.settle()
        assert "dm.typing" not in types(hers.frames)
        await strange.send("dm.typing", {"conversation_id": "x"}, id=2)
        assert (await strange.next("error"))["payload"]["code"] == "invalid_payload"
    async with alice.socket("demo") as project:
        await project.send("dm.typing", {"conversation_id": here}, id=3)
        assert (await project.next("error"))["payload"]["code"] == "unknown_type"


async def test_who_left_types_no_more(alice: Person, bob: Person, eve: Person) -> None:
    group = await begin(alice, BOB, EVE)
    async with eve.socket("user") as hers, bob.socket("user") as his:
        await alice.delete(f"/conversations/{group['id']}/members/{EVE}")
        await hers.send("dm.typing", {"conversation_id": group["id"]}, id=1)
        assert (await hers.next("error"))["payload"]["code"] == "not_found"
        await say(alice, group["id"])
        await his.next("dm.message")
        assert "dm.typing" not in types(his.frames)


# What a socket begins with


async def test_a_socket_says_in_how_many_conversations_something_is_unread(
    alice: Person, bob: Person, eve: Person, board: Board, path: str, here: int
) -> None:
    async def unread(person: Person) -> int:
        async with person.socket("user") as socket:
            hello = (await socket.next("hello"))["payload"]
            assert hello["seq"] == await head(person)
            count: int = hello["unread_conversations"]
            return count

    assert await unread(bob) == 0
    sent = [await alice.post(path, {"body": "x"}) for _ in range(2)]
    assert (await unread(alice), await unread(bob)) == (0, 1)
    group = await begin(eve, ALICE, BOB)
    await say(eve, group["id"])
    assert (await unread(alice), await unread(bob)) == (1, 2)
    await bob.post(f"/conversations/{here}/read", {"message_id": sent[-1]["id"]}, status=204)
    assert await unread(bob) == 1
    await eve.delete(f"/conversations/{group['id']}/members/{BOB}")
    assert await unread(bob) == 0
    async with bob.socket("demo") as socket:
        assert "unread_conversations" not in (await socket.next("hello"))["payload"]


@pytest.mark.foul
async def test_no_more_than_a_hundred_are_counted(alice: Person, connection: Any) -> None:
    await connection.execute(
        "with made as ("
        " insert into conversations (is_group, created_by_id) select true, $2"
        " from generate_series(1, 120) returning id"
        "), told as ("
        " insert into conversation_messages (conversation_id, sender_id, body)"
        " select id, $2, 'x' from made"
        ") insert into conversation_members (conversation_id, user_id)"
        " select id, $1 from made",
        ALICE,
        BOB,
    )
    async with alice.socket("user") as socket:
        assert (await socket.next("hello"))["payload"]["unread_conversations"] == 100
