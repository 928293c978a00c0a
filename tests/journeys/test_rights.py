"""Rights are part of the order: who loses them sees nothing from that event on, on any server."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from tests import pace
from tests.conftest import Board
from tests.journeys.conftest import Process, Visit, furnished
from tests.person import Wire
from warmdesk.realtime.control import IN_BAND_SECONDS

WITHIN = 2.0


async def close_code(socket: Wire, since: float) -> int | None:
    code = await socket.closed(limit=WITHIN + 3)
    took = time.monotonic() - since
    assert took < pace.allows(WITHIN), f"it took {took:.1f} s"
    return code


async def write_on(board: Board) -> None:
    """Somebody always writes, so that whoever listens too long hears something."""
    while True:
        await board.card("business as usual")


async def test_a_removed_member_is_put_out_at_the_removal(
    fleet: list[Process], visit: Visit
) -> None:
    here, there = fleet
    board = await furnished(here, visit)
    olga, bob = visit(here, "olga"), visit(there, "bob")
    async with bob.socket("demo") as socket, visit(there, "alice").socket("demo") as other:
        await socket.next("presence.list")
        await other.next("presence.list")
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(write_on(board))
            # Bob's coming, too, makes a server ask about his sockets later: let that be over.
            settled = time.monotonic() + IN_BAND_SECONDS + 0.5
            while time.monotonic() < settled:
                await socket.next("board.card_created")
            await olga.token()
            begun = time.monotonic()
            await olga.delete(f"{board.path}/members/{bob.id}")
            code = await close_code(socket, begun)
            await board.card("not for bob")
            writing.cancel()

        assert code == 4403
        removal = socket.events[-1]
        assert removal["type"] == "project.member_removed"
        assert removal["payload"] == {"user_id": bob.id}
        while (await other.next("board.card_created"))["seq"] < removal["seq"]:
            pass
    await bob.get(board.path, status=404)


async def test_a_logout_ends_the_sockets_of_its_session_everywhere(
    fleet: list[Process], visit: Visit
) -> None:
    here, there = fleet
    await furnished(here, visit)
    alice, elsewhere = visit(here, "alice", patience=0), visit(there, "alice", patience=0)
    await alice.token()
    elsewhere.client.token = alice.client.token
    untouched = visit(there, "alice")
    async with (
        alice.socket("demo") as one,
        elsewhere.socket("demo") as two,
        elsewhere.socket("user") as three,
        untouched.socket("demo") as four,
    ):
        for socket in (one, two, three, four):
            await socket.next("hello")
        begun = time.monotonic()
        body = {"refresh_token": alice.client.refresh_token}
        await alice.post("/auth/logout", body, status=204)
        codes = await asyncio.gather(*(close_code(socket, begun) for socket in (one, two, three)))
        assert codes == [4401, 4401, 4401]
        await four.settle()
        assert not four.socket.closed
    await elsewhere.get("/projects", status=401)


async def test_a_demoted_member_can_read_on_but_not_write(
    fleet: list[Process], visit: Visit
) -> None:
    here, there = fleet
    board = await furnished(here, visit)
    olga, alice = visit(here, "olga"), visit(there, "alice")
    async with alice.socket("demo") as socket:
        await socket.next("presence.list")
        await socket.send("chat.send", {"body": "as a member"}, id="1")
        await socket.next("ack")
        await olga.put(f"{board.path}/members/{alice.id}", {"role": "viewer"})

        await socket.send("chat.send", {"body": "as a viewer"}, id="2")
        refused = await socket.next("error")
        assert refused["payload"]["code"] == "forbidden"
        assert refused["payload"]["id"] == "2"
        body = {"title": "no"}
        await alice.post(f"{board.path}/columns/{board.backlog}/cards", body, status=403)
        await olga.put(board.path, {"description": "alice may read this"})
        await socket.next("project.updated")


async def test_a_deactivated_account_is_out_everywhere(fleet: list[Process], visit: Visit) -> None:
    here, there = fleet
    await furnished(here, visit)
    root, bob = visit(here, "root"), visit(there, "bob", patience=0)
    async with bob.socket("demo") as socket, bob.socket("user") as own:
        await socket.next("presence.list")
        await own.next("hello")
        await root.token()
        begun = time.monotonic()
        await root.put(f"/users/{bob.id}", {"is_active": False})
        assert await close_code(socket, begun) == 4403
        assert await close_code(own, begun) == 4403
    await bob.get("/projects", status=401)


async def test_a_stranger_learns_nothing(fleet: list[Process], visit: Visit) -> None:
    board = await furnished(fleet[0], visit)
    eve = visit(fleet[1], "eve", patience=0)
    await eve.get(board.path, status=404)
    for place in ("demo", "there-is-none"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with eve.socket(place):
                pass
        assert refused.value.status == 404
