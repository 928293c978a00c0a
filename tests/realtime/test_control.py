"""Revocations act on open sockets within two seconds, whether the bus brings them or not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from tests import pace
from tests.conftest import Board, Door, Invite, Wait
from tests.person import PASSWORD, Person, Wire
from tests.realtime.story import tell
from warmdesk.auth.actor import GlobalRole
from warmdesk.auth.tokens import digest
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.realtime import control
from warmdesk.realtime.change import Change, ChangeContext
from warmdesk.realtime.channels import CONTROL, project_channel
from warmdesk.realtime.events import CONTROL_KEY

SECONDS = 2.0

Open = Callable[..., Awaitable[Wire]]


@pytest.fixture(params=[False, True], ids=["told", "lost"])
def lost(request: pytest.FixtureRequest, desk: Desk, twin: Door, board: Board) -> bool:
    """Whether the bus loses all that is said from now on."""
    if request.param:
        for each in (desk, twin.desk):
            each.bus.publish_all = lambda messages: None  # type: ignore[method-assign]
    return bool(request.param)


@pytest.fixture
async def opened(board: Board, desk: Desk) -> AsyncIterator[Open]:
    """Opens sockets that stay until the test's end."""
    async with AsyncExitStack() as stack:

        async def enter(person: Person, place: str = "demo") -> Wire:
            wire = await stack.enter_async_context(person.socket(place))
            await wire.next("hello")
            return wire

        yield enter


async def close_within(began: float, code: int, *wires: Wire) -> None:
    """All end with this code, two seconds after `began` at most (and a little for the machine)."""
    for wire in wires:
        assert await wire.closed(limit=SECONDS + 1.5) == code
    assert time.monotonic() - began < pace.here(SECONDS + 0.5)


async def stay_open(*wires: Wire) -> None:
    await asyncio.sleep(0.2)
    for wire in wires:
        await wire.settle()


async def test_a_logout_ends_the_sessions_sockets_everywhere_and_no_others(
    lost: bool, opened: Open, twin: Door, person: Invite, bob: Person
) -> None:
    alice = person("alice")
    far, other = person("alice", url=twin.url), person("alice")
    far.client.token = await alice.token()
    wires = [await opened(each, place) for each in (alice, far) for place in ("demo", "user")]
    staying = [await opened(other), await opened(bob)]
    began = time.monotonic()
    await alice.post("/auth/logout", {}, status=204)
    await close_within(began, 4401, *wires)
    await stay_open(*staying)
    for each in (alice, far):
        await each.get("/users/me", status=401)


async def test_a_password_change_ends_the_other_sessions(
    lost: bool, opened: Open, twin: Door, person: Invite
) -> None:
    alice, other = person("alice"), person("alice", url=twin.url)
    mine, theirs = await opened(alice), await opened(other)
    began = time.monotonic()
    body = {"current_password": PASSWORD, "new_password": "another horse battery"}
    await alice.put("/users/me/password", body)
    await close_within(began, 4401, theirs)
    await stay_open(mine)


async def test_a_deactivated_account_loses_its_sockets(
    lost: bool, opened: Open, twin: Door, person: Invite, root: Person, bob: Person
) -> None:
    alice, far = person("alice"), person("alice", url=twin.url)
    wires = [await opened(alice), await opened(far, "user")]
    staying = await opened(bob)
    began = time.monotonic()
    await root.put(f"/users/{alice.id}", {"is_active": False})
    for wire in wires:
        assert await wire.closed(limit=SECONDS + 1.5) == 4403
    assert time.monotonic() - began < pace.here(SECONDS + 0.5)
    await stay_open(staying)


async def test_a_key_that_is_revoked_ends_its_sockets(
    lost: bool, opened: Open, twin: Door, person: Invite, desk: Desk, connection: Any
) -> None:
    keys = {}
    for name in ("one", "two"):
        keys[name] = await connection.fetchval(
            "insert into api_keys (user_id, name, key_hash, key_prefix)"
            " values (3, $1, $2, 'wd_') returning id",
            name,
            digest(f"wd_{name}"),
        )
    near, far, other = (
        await opened(person("alice", api_key="wd_one")),
        await opened(person("alice", url=twin.url, api_key="wd_one")),
        await opened(person("alice", api_key="wd_two")),
    )

    async def revoke(change: Change) -> None:
        await change.connection.execute(
            "update api_keys set revoked_at = now() where id = $1", keys["one"]
        )
        change.emit(CONTROL, CONTROL_KEY, f'{{"key_id":{keys["one"]}}}')

    began = time.monotonic()
    await desk.changes.run(ChangeContext(actor_id=1), revoke)
    await close_within(began, 4401, near, far)
    await stay_open(other)
    await person("alice", api_key="wd_one").get("/users/me", status=401)


async def test_a_removed_member_hears_of_the_removal_and_of_nothing_after(
    lost: bool, opened: Open, board: Board, desk: Desk, twin: Door, person: Invite, olga: Person
) -> None:
    alice, far = person("alice"), person("alice", url=twin.url)
    wires = [await opened(alice), await opened(far)]
    user_wire = await opened(alice, "user")
    staying = await opened(olga)
    began = time.monotonic()
    await olga.delete(f"/projects/demo/members/{alice.id}")
    await tell(desk, project_channel(board.id), 5)
    await close_within(began, 4403, *wires)
    for wire in wires:
        assert wire.events[-1]["type"] == "project.member_removed"
        assert wire.events[-1]["payload"] == {"user_id": alice.id}
        last = wire.frames[-1]
        assert last["type"] == "project.member_removed", "no frame after"
    await stay_open(user_wire)
    for _ in range(5):
        await staying.next("project.unarchived", limit=SECONDS)
    await alice.get("/projects/demo", status=404)
    for each in (alice, far):
        refused = await each.request("GET", "/ws/demo")
        assert refused.status in (404, 426)


async def test_who_is_a_member_again_is_not_sent_away_for_good_by_a_room_that_is_late(
    board: Board, desk: Desk, opened: Open, alice: Person, olga: Person
) -> None:
    """The room hears of the removal when its user is let in anew. 4403 is for ever, 1012 is not."""
    staying = await opened(olga)
    await alice.token()
    desk.bus.publish_all = lambda messages: None  # type: ignore[method-assign]
    while True:
        await olga.delete(f"/projects/demo/members/{alice.id}")
        await olga.post("/projects/demo/members", {"user_id": alice.id, "role": "member"})
        wire = await opened(alice)
        if wire.frames[0]["payload"]["seq"] < (await olga.get("/projects/demo"))["seq"]:
            break
    assert await wire.closed(limit=SECONDS + 1.5) == 1012
    assert wire.events == [] or wire.events[-1]["type"] == "project.member_removed"
    again = await opened(alice)
    await tell(desk, project_channel(board.id), 1)
    for each in (again, staying):
        await each.next("project.unarchived", limit=SECONDS)


async def test_a_role_that_changed_keeps_the_socket_and_binds_its_next_write(
    lost: bool, opened: Open, olga: Person, alice: Person
) -> None:
    wire = await opened(alice)
    await wire.send("chat.send", {"body": "hello"}, id=1)
    await wire.next("ack")
    await olga.put(f"/projects/demo/members/{alice.id}", {"role": "viewer"})
    await wire.send("chat.send", {"body": "hello"}, id=2)
    assert (await wire.next("error"))["payload"]["code"] == "forbidden"
    await stay_open(wire)


async def test_caches_forget_within_two_seconds(
    lost: bool, board: Board, twin: Door, person: Invite, olga: Person, eventually: Wait
) -> None:
    far = person("alice", url=twin.url)
    await far.get("/projects/demo")
    assert (far.id, "demo", GlobalRole.USER) in twin.desk.access.entries
    began = time.monotonic()
    await olga.delete(f"/projects/demo/members/{far.id}")

    async def stranger() -> bool:
        return (await far.request("GET", "/projects/demo")).status == 404

    await eventually(stranger, limit=SECONDS + 1)
    assert time.monotonic() - began < pace.here(SECONDS + 0.5)


async def test_who_took_a_right_never_meets_the_old_one_in_its_own_process(
    board: Board,
    desk: Desk,
    no_checks: None,
    olga: Person,
    alice: Person,
    root: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is heard of the change, not even by its own process: its answer comes after it."""
    monkeypatch.setattr(desk.bus, "publish_all", lambda messages: None)
    await alice.get(board.path)
    await olga.delete(f"{board.path}/members/{alice.id}")
    await alice.get(board.path, status=404)
    await olga.post(f"{board.path}/members", {"user_id": alice.id, "role": "viewer"})
    await alice.get(board.path)
    await root.put(f"/users/{alice.id}", {"is_active": False})
    await alice.get("/users/me", status=401)


async def test_a_socket_that_is_being_opened_while_its_right_is_taken_is_closed(
    board: Board,
    desk: Desk,
    opened: Open,
    alice: Person,
    olga: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    come = desk.presence.come
    entering = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(*args: Any) -> None:
        entering.set()
        await go_on.wait()
        await come(*args)

    await alice.token()
    monkeypatch.setattr(desk.presence, "come", slow)
    opening = asyncio.ensure_future(opened(alice))
    await entering.wait()
    before = desk.access.generation
    await olga.delete(f"/projects/demo/members/{alice.id}")
    while desk.access.generation == before:
        await asyncio.sleep(0.01)
    go_on.set()
    wire = await opening
    began = time.monotonic()
    await close_within(began, 4403, wire)
    assert "project.member_removed" not in [frame["type"] for frame in wire.frames]


async def test_what_control_missed_is_asked_about_all_the_same(
    opened: Open, desk: Desk, alice: Person, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session ended by hand, in the database, without an event."""
    monkeypatch.setattr(control, "EVERY_SECONDS", 0.5)
    await desk.control._tasks.stop()
    await desk.control.start()
    wire = await opened(alice)
    await connection.execute("update sessions set revoked_at = now() where user_id = $1", alice.id)
    assert await wire.closed(limit=3) == 4401


async def test_the_tabs_of_one_person_are_one_question(
    opened: Open,
    desk: Desk,
    alice: Person,
    bob: Person,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But for each place that they are in; and many questions do not go at once."""
    monkeypatch.setattr(control, "ASKED_AT_ONCE", 2)
    tabs = [await opened(alice) for _ in range(3)]
    tabs += [await opened(alice, "user"), await opened(alice, "user")]
    other = await opened(bob)
    refused = type(sql.sockets.refused).__call__
    asked: list[int] = []

    async def counted(self: Any, connection: Any, /, **params: Any) -> Any:
        if self.name == "sockets.refused":
            asked.append(len(params["users"]))
        return await refused(self, connection, **params)

    monkeypatch.setattr(type(sql.sockets.refused), "__call__", counted)
    await desk.control._ask_about_all()
    assert asked == [2, 1]
    await stay_open(*tabs, other)
    await connection.execute("update sessions set revoked_at = now() where user_id = $1", alice.id)
    began = time.monotonic()
    await desk.control._ask_about_all()
    await close_within(began, 4401, *tabs)
    await stay_open(other)


async def test_a_right_that_could_not_be_asked_about_is_asked_about_again(
    opened: Open, desk: Desk, root: Person, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = await opened(alice)
    refused = type(sql.sockets.refused).__call__
    failures = 0

    async def away(self: Any, connection: Any, /, **params: Any) -> Any:
        nonlocal failures
        if self.name == "sockets.refused" and failures < 2:
            failures += 1
            raise asyncpg.ConnectionDoesNotExistError("the connection was lost")
        return await refused(self, connection, **params)

    monkeypatch.setattr(type(sql.sockets.refused), "__call__", away)
    await root.put(f"/users/{alice.id}", {"global_role": "metrics"})
    assert await wire.closed(limit=4) == 4403
    assert failures == 2


@pytest.mark.foul
async def test_control_events_that_went_by_unheard_are_as_if_all_was_said(
    opened: Open, desk: Desk, alice: Person, connection: Any, eventually: Wait
) -> None:
    """The feed was trimmed below a process that slept for days."""
    wire = await opened(alice)
    await alice.get("/projects/demo")
    assert desk.access.entries
    await connection.execute("update sessions set revoked_at = now() where user_id = $1", alice.id)
    await connection.execute(
        "update feeds set seq = seq + 10, oldest = seq + 11 where channel = 'control'"
    )
    await eventually(lambda: not desk.access.entries, limit=3)
    assert await wire.closed(limit=3) == 4401


@pytest.mark.foul
async def test_a_restore_closes_all_with_1012(
    opened: Open, desk: Desk, alice: Person, connection: Any
) -> None:
    wire = await opened(alice)
    await connection.execute(
        "select record(array[new_event('control', 'control.restored', '{}')], null, null)"
    )
    assert await wire.closed(limit=3) == 1012
