"""Who offers the sub-protocol is told on the socket why there is none: a browser cannot read why a
handshake was refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.closed import check_frame
from tests.conftest import Board, Door, Invite, Wait
from tests.person import Person
from warmdesk.desk import Desk


@asynccontextmanager
async def opened(
    person: Person, place: str, token: str, **headers: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with person.client.session.ws_connect(
        f"{person.client.url}/ws/{place}",
        protocols=("warmdesk", f"bearer.{token}"),
        headers=headers,
    ) as socket:
        yield socket


async def told(person: Person, place: str, token: str, **headers: str) -> tuple[int | None, Any]:
    """The code that a socket closes with, and the only frame that it says before."""
    async with opened(person, place, token, **headers) as socket:
        assert socket.protocol == "warmdesk"
        frame = await socket.receive_json()
        check_frame(frame)
        assert frame["type"] == "error"
        last = await socket.receive()
        assert last.type is aiohttp.WSMsgType.CLOSE
        return socket.close_code, frame["payload"]


async def test_a_bad_token(board: Board, person: Invite) -> None:
    for place in ("demo", "user", "nowhere"):
        code, error = await told(person("nobody"), place, "nonsense")
        assert (code, error["code"]) == (4401, "invalid_token")


async def test_a_project_that_is_not_there_or_not_shown(board: Board, eve: Person) -> None:
    for place in ("demo", "nowhere"):
        code, error = await told(eve, place, await eve.token())
        assert (code, error["code"]) == (4404, "not_found")


async def test_an_account_that_may_open_none(
    board: Board, eve: Person, connection: Any, eventually: Wait
) -> None:
    token = await eve.token()
    await connection.execute("update users set global_role = 'metrics' where username = 'eve'")
    code, error = await told(eve, "user", token)

    assert (code, error["code"]) == (4403, "forbidden")


@pytest.mark.settings(rate_limits=True)
async def test_too_many_at_once(board: Board, alice: Person, door: Door) -> None:
    token = await alice.token()
    for _ in range(120):
        await door.desk.limits.take("socket", alice.id, limit=120, seconds=60)
    code, error = await told(alice, "demo", token)

    assert (code, error["code"]) == (4429, "rate_limited")
    assert 1 <= error["retry_after"] <= 60


async def test_a_server_that_stops(board: Board, alice: Person, desk: Desk) -> None:
    token = await alice.token()
    desk.draining = True
    try:
        code, error = await told(alice, "demo", token)
    finally:
        desk.draining = False

    assert (code, error["code"], error["retry_after"]) == (1013, "unavailable", 1)


async def test_nobody_is_present_by_it_and_nothing_stays(
    board: Board, alice: Person, eve: Person, desk: Desk
) -> None:
    async with alice.socket("demo") as watching:
        await watching.next("presence.list")
        for _ in range(5):
            await told(eve, "demo", await eve.token())
        await watching.settle()
        assert not watching.waiting("presence.join")
        assert eve.id not in desk.hub.roster.people


async def test_one_that_never_says_goodbye_is_ended(
    board: Board, eve: Person, door: Door, eventually: Wait
) -> None:
    async with opened(eve, "demo", await eve.token()) as socket:
        # Nothing is read, so no Close is answered.
        transport = socket._response.connection.transport  # type: ignore[union-attr]
        assert transport is not None
        await eventually(transport.is_closing, limit=10)


async def test_a_foreign_page_is_not_let_in(board: Board, alice: Person) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await told(alice, "demo", await alice.token(), Origin="https://evil.example")

    assert refused.value.status == 403


async def test_everybody_else_gets_the_status(board: Board, person: Invite) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with person("nobody").client.session.ws_connect(
            f"{board.maker.client.url}/ws/demo", protocols=("bearer.nonsense",)
        ):
            pass

    assert refused.value.status == 401
