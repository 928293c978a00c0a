"""Lists have a place in the feed: the seq of the last event that they show, and its epoch."""

from __future__ import annotations

import asyncio
import random
import re
from typing import Any

from tests.conftest import Board
from tests.person import Person
from tests.samples import make_each
from warmdesk import app

READINGS = 40

TOLD = "select seq, type, entity from events where channel = $1 order by seq"
HEAD = "select seq from feeds where channel = $1"


async def test_every_answer_below_a_project_or_a_conversation_has_a_place(
    board: Board, alice: Person, root: Person, connection: Any
) -> None:
    card = await board.card()
    await alice.post(f"{board.path}/chat/messages", {"body": "hello"})
    group = await root.post("/conversations", {"user_ids": [alice.id]})
    names = {
        "slug": board.slug,
        "column_id": board.backlog,
        "card_id": card["id"],
        "user_id": alice.id,
        "conversation_id": group["id"],
    }
    made = dict(names)
    await make_each(alice, made)
    epoch = (await root.get(board.path))["epoch"]
    heads = {
        "projects": await connection.fetchval(HEAD, f"project:{board.id}"),
        "conversations": await connection.fetchval(HEAD, f"user:{root.id}"),
    }
    assert heads["projects"] != heads["conversations"]
    paths = {
        each.path: each.feed
        for each in app.resources()
        if each.method == "GET"
        and not each.stays
        and re.match(r"/(projects|conversations)/{", each.path)
    }
    assert {path for path, feed in paths.items() if feed is None} == {"/projects/{slug}/presence"}
    for path, feed in paths.items():
        if feed is not None:
            asks = "?closed=false" if path.endswith("/wait") else ""
            place = (await root.request("GET", path.format(**made | names) + asks)).place
            assert place == (heads[path.split("/")[1]], epoch), path
    assert (await root.request("GET", "/conversations")).place == (heads["conversations"], epoch)


async def test_what_did_not_change_has_its_place_too(board: Board, alice: Person) -> None:
    shown = await alice.request("GET", board.path)
    seen = {"If-None-Match": shown.headers["ETag"]}
    again = await alice.request("GET", board.path, headers=seen)
    assert again.status == 304
    assert again.place == shown.place == (shown.body["seq"], shown.body["epoch"])


async def test_a_refusal_has_no_place(board: Board, alice: Person, eve: Person) -> None:
    assert (await alice.request("GET", f"{board.path}/cards/999")).place is None
    assert (await eve.request("GET", f"{board.path}/cards")).place is None


async def test_a_deletion_that_is_told_while_a_page_is_under_way_holds(
    board: Board, alice: Person, bob: Person
) -> None:
    """The page was read before it and arrives after it: only its seq tells."""
    said = f"{board.path}/chat/messages"
    messages = [await alice.post(said, {"body": f"message {n}"}) for n in range(3)]
    async with bob.socket("demo") as socket:
        page = await bob.request("GET", said)
        await alice.delete(f"{said}/{messages[1]['id']}")
        deleted = await socket.next("chat.message_deleted")
        after = await bob.request("GET", said)
    assert page.place is not None
    seq, epoch = page.place
    assert seq == deleted["seq"] - 1
    assert after.place == (deleted["seq"], epoch)
    shown = {message["id"]: message for message in page.body}
    for event in socket.events:
        if event["seq"] > seq:
            shown.pop(event["payload"]["id"])
    assert list(shown.values()) == after.body


async def test_a_page_shows_every_event_up_to_its_seq_and_none_behind_it(
    board: Board, alice: Person, olga: Person, bob: Person, connection: Any
) -> None:
    """Some make and delete things as fast as they can while others read pages of them.

    What a page shows must be what is left of the events up to its seq: then a client that applies
    the younger ones again never keeps what was deleted.
    """
    card = await board.card("A card with comments")
    pages = {
        "message": f"{board.path}/chat/messages",
        "card": f"{board.path}/cards",
        "comment": f"{board.path}/cards/{card['id']}/comments",
    }
    over = asyncio.Event()
    dice = random.Random(7)

    async def write(person: Person, kind: str) -> None:
        path, mine = pages[kind], list[int]()
        makes = f"{board.path}/columns/{board.done}/cards" if kind == "card" else path
        body = {"title": "A card"} if kind == "card" else {"body": "words"}
        while not over.is_set():
            mine.append((await person.post(makes, body))["id"])
            if len(mine) > 8 or dice.random() < 0.4:
                await person.delete(f"{path}/{mine.pop(dice.randrange(len(mine)))}")

    async def read(kind: str) -> list[tuple[int, list[int]]]:
        found = []
        for _ in range(READINGS):
            page = await bob.request("GET", f"{pages[kind]}?limit=200")
            assert page.place is not None
            found.append((page.place[0], sorted(each["id"] for each in page.body)))
        return found

    writers = [asyncio.create_task(write(who, kind)) for who in (alice, olga) for kind in pages]
    readings = await asyncio.gather(*map(read, pages))
    over.set()
    await asyncio.gather(*writers)

    told = await connection.fetch(TOLD, f"project:{board.id}")
    moved = 0
    for kind, found in zip(pages, readings, strict=True):
        for seq, shown in found:
            assert shown == alive(told, kind, seq), f"{kind} at {seq}"
        moved += len({seq for seq, _ in found})
    assert moved > READINGS, "nobody wrote while pages were read"


def alive(told: list[Any], kind: str, upto: int) -> list[int]:
    """What is left of a kind after the events up to a seq."""
    there: set[int] = set()
    for event in told:
        at = (event["entity"] or "").rpartition("/")[2]
        if event["seq"] > upto or not at.startswith(f"{kind}:"):
            continue
        number = int(at.partition(":")[2])
        if event["type"].endswith(f"{kind}_deleted"):
            there.discard(number)
        else:
            there.add(number)
    return sorted(there)
