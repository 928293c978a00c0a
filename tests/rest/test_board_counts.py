"""Counts of cards: what a board shows, and what heals a client that was told of what is gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import Board, Door, Invite
from tests.person import Person, Wire
from warmdesk.client_board import Board as Shown
from warmdesk.desk import Desk
from warmdesk.realtime import resume


async def test_counts_are_those_of_the_board(
    board: Board, alice: Person, bob: Person, eve: Person
) -> None:
    cards = [await board.card(str(n)) for n in range(4)]
    await board.card("done", column=board.done, assignee_ids=[alice.id])
    await alice.put(f"{board.path}/cards/{cards[0]['id']}", {"closed": True})
    await alice.delete(f"{board.path}/cards/{cards[1]['id']}")
    await alice.post(f"{board.path}/cards/{cards[2]['id']}/archive", status=200)

    shown = await bob.get(board.path)
    assert await bob.get(f"{board.path}/counts") == counts_of(shown)
    assert counts_of(shown)["open_card_count"] == 2
    await eve.get(f"{board.path}/counts", status=404)


async def test_an_empty_project_has_counts(olga: Person) -> None:
    made = await olga.post("/projects", {"name": "Other"})
    counts = await olga.get(f"/projects/{made['slug']}/counts")
    assert counts == counts_of(await olga.get(f"/projects/{made['slug']}"))
    assert [each["card_count"] for each in counts["columns"]] == [0, 0, 0, 0]


def counts_of(shown: Any) -> Any:
    return {
        "columns": [
            {"id": each["id"], "card_count": each["card_count"]} for each in shown["columns"]
        ],
        "open_card_count": shown["open_card_count"],
        "seq": shown["seq"],
    }


async def make_gone(board: Board, alice: Person) -> Any:
    """A card that came and went after what this gives: the board of before."""
    await board.card("One that stays")
    before = await alice.get(board.path)
    card = await board.card("One that goes")
    await alice.patch(f"{board.path}/cards/{card['id']}/move", {"column_id": board.done})
    await alice.delete(f"{board.path}/cards/{card['id']}")
    return before


def place(shown: Any) -> dict[str, Any]:
    return {"since": shown["seq"], "epoch": shown["epoch"]}


async def heals(socket: Wire, alice: Person, board: Board) -> None:
    """The counts come behind all events that are counted."""
    told = await socket.next("board.counts")
    assert told["payload"] == await alice.get(f"{board.path}/counts")
    types = [frame["type"] for frame in socket.frames if frame["type"] != "ack"]
    at = types.index("board.counts")
    assert types[at - 3 : at] == ["gone", "gone", "board.card_deleted"]


async def test_counts_follow_a_replay_that_held_something_gone(
    board: Board, alice: Person, bob: Person
) -> None:
    async with bob.socket("demo") as watching:
        before = await make_gone(board, alice)
        async with bob.socket("demo", **place(before)) as socket:
            await heals(socket, alice, board)
        await watching.settle()
        assert not watching.waiting("board.counts"), "who followed live was told all of it"


async def test_counts_follow_what_is_read_from_the_feed(
    board: Board, alice: Person, twin: Door, person: Invite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a server that remembers nothing: for all its sockets, or for this one alone."""
    bob = person("bob", url=twin.url)
    before = await make_gone(board, alice)
    monkeypatch.setattr(resume, "TAIL_EVENTS", 0)
    async with bob.socket("demo", **place(before)) as socket:
        await heals(socket, alice, board)
    monkeypatch.undo()
    async with bob.socket("demo", **place(before)) as socket:
        await heals(socket, alice, board)


async def test_counts_follow_a_sync(board: Board, alice: Person, bob: Person) -> None:
    before = await make_gone(board, alice)
    async with bob.socket("demo") as socket:
        await socket.send("sync", place(before))
        await heals(socket, alice, board)


async def test_no_counts_follow_where_nothing_is_gone(
    board: Board, alice: Person, bob: Person
) -> None:
    await make_gone(board, alice)
    before = await alice.get(board.path)
    await board.card("Another")
    async with bob.socket("demo", **place(before)) as socket:
        await socket.next("board.card_created")
        await socket.settle()
        assert not socket.waiting("board.counts")


async def test_a_persons_own_socket_has_no_counts(board: Board, alice: Person, bob: Person) -> None:
    group = await alice.post("/conversations", {"user_ids": [bob.id]})
    said = f"/conversations/{group['id']}/messages"
    message = await alice.post(said, {"body": "hello"})
    await alice.delete(f"{said}/{message['id']}")
    async with bob.socket("user", since=0) as socket:
        await socket.next("gone")
        await socket.next("dm.message_deleted")
        await socket.settle()
        assert not socket.waiting("board.counts")


async def test_counts_are_not_of_before_something_went(
    board: Board, alice: Person, twin: Door, person: Invite, desk: Desk
) -> None:
    """A process that hears late has read counts in which a card is still, and then is told of both
    at once: that it came, which is gone, and that it was deleted. A client that has all cards would
    find one too many counted, and its board proven wrong.
    """
    bob = person("bob", url=twin.url)
    publish = desk.bus.publish_all
    for _ in range(10):
        before = await make_gone(board, alice)
        shown = await bob.get(board.path)
        mine = Shown(shown)
        async with bob.socket("demo", **place(shown)) as socket:
            await socket.settle()
            desk.bus.publish_all = lambda messages: None  # type: ignore[method-assign]
            card = await board.card("One that comes and goes")
            await socket.send("sync", place(before))
            await socket.next("gone")
            await asyncio.sleep(0.05)  # that the counts are read; a test without it finds less
            await alice.delete(f"{board.path}/cards/{card['id']}")
            desk.bus.publish_all = publish  # type: ignore[method-assign]
            await socket.next("board.card_deleted")
            head = (await alice.get(board.path))["seq"]
            while (told := await socket.next("board.counts"))["payload"]["seq"] < head:
                pass
            assert told["payload"] == await alice.get(f"{board.path}/counts")
        for frame in socket.frames:
            assert mine.apply(frame), mine.stale
