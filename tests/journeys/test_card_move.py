"""A card moves on one server; everybody on the other sees it."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack

from tests.checkers.mirror import mirror
from tests.conftest import undescribed
from tests.journeys.conftest import Crowd, Process, Visit, furnished


async def test_a_card_move_is_seen_by_everyone_on_both_servers(
    fleet: list[Process], visit: Visit
) -> None:
    here, there = fleet
    board = await furnished(here, visit)
    card = await board.card("Fix the door")
    alice, bob = visit(here, "alice"), visit(there, "bob")

    async with AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(person.socket("demo"))
            for person in (alice, bob)
            for _ in range(4)
        ]
        for socket in sockets:
            await socket.next("presence.list")
        body = {"column_id": board.done, "index": 0}
        answer = await alice.patch(f"{board.path}/cards/{card['id']}/move", body)

        frames = [await socket.next("board.card_moved") for socket in sockets]
        assert frames == [frames[0]] * len(sockets)
        assert frames[0]["payload"]["card"] == undescribed(answer)
        assert frames[0]["payload"]["from_column_id"] == board.backlog
        assert frames[0]["payload"]["to_column_id"] == board.done

    shown = await bob.get(f"{board.path}/cards/{card['id']}")
    assert {key: shown[key] for key in answer} == answer


async def test_the_bus_brings_moves_and_the_feed_is_hardly_read(
    fleet: list[Process], visit: Visit
) -> None:
    """The feed makes delivery certain; what makes it instant is the bus."""
    here, there = fleet
    board = await furnished(here, visit)
    card = await board.card("Fix the door")
    alice, bob = visit(here, "alice"), visit(there, "bob")
    moves = 20
    async with bob.socket("demo") as socket:
        for number in range(moves):
            body = {"column_id": board.done if number % 2 == 0 else board.backlog}
            await alice.patch(f"{board.path}/cards/{card['id']}/move", body)
            await socket.next("board.card_moved")

    figures = (await visit(there, "root").request("GET", "/metrics")).body
    lines = re.findall(r"^warmdesk_feed_repairs_total\{.*\} (\S+)$", figures, re.MULTILINE)
    assert lines
    assert sum(float(line) for line in lines) < moves / 4


async def test_writers_on_two_servers_make_one_order(fleet: list[Process], visit: Visit) -> None:
    board = await furnished(fleet[0], visit)
    people = [visit(process, name) for process in fleet for name in ("olga", "alice")]
    crowd = Crowd(board, people)
    async with AsyncExitStack() as stack:
        mirrors = [
            await stack.enter_async_context(mirror(visit(process, name)))
            for process in fleet
            for name in ("olga", "alice", "bob")
        ]
        await crowd.work(240)
        head = (await people[0].get(board.path))["seq"]
        for one in mirrors:
            await one.reaches(head)
        events = [[f for f in one.frames if "seq" in f] for one in mirrors]
        assert all(its == events[0] for its in events)
    await crowd.check_ledger(people[0])


async def test_a_reload_on_the_other_server_gives_what_the_first_one_told(
    fleet: list[Process], visit: Visit
) -> None:
    """What a socket has told is in every answer from then on, wherever it is asked."""
    here, there = fleet
    board = await furnished(here, visit)
    bob = visit(there, "bob")
    async with bob.socket("demo") as socket:
        for number in range(20):
            change = asyncio.create_task(board.card(f"card {number}"))
            frame = await socket.next("board.card_created")
            shown = await bob.get(board.path)
            assert shown["seq"] >= frame["seq"]
            titles = [c["title"] for column in shown["columns"] for c in column["cards"]]
            assert frame["payload"]["title"] in titles
            await change
