"""Whoever must be alone in a project waits for those who write there now, not for all who will."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.conftest import Board, Door, Invite
from tests.person import PASSWORD, Person
from warmdesk.auth.actor import Role
from warmdesk.changes.chat import Chat
from warmdesk.desk import Desk
from warmdesk.errors import WarmDeskError
from warmdesk.realtime.change import ChangeContext

AT_ONCE = 24
SECONDS = 2.0
"""How soon a removal acts, whatever the removed one does."""


@asynccontextmanager
async def flood(count: int, write: Callable[[int, int], Any]) -> AsyncIterator[list[int]]:
    """So many write again and again without a pause. Gives how many writes succeeded."""
    done = [0]

    async def writer(number: int) -> None:
        turn = 0
        while True:
            turn += 1
            try:
                await write(number, turn)
                done[0] += 1
            except WarmDeskError:
                await asyncio.sleep(0.001)

    writers = [asyncio.create_task(writer(number)) for number in range(count)]
    try:
        while done[0] < count:
            await asyncio.sleep(0.01)
        yield done
    finally:
        for each in writers:
            each.cancel()
        await asyncio.gather(*writers, return_exceptions=True)


async def timed(asking: Any) -> float:
    began = time.monotonic()
    await asking
    return time.monotonic() - began


async def alone(owner: Person, board: Board, added: int) -> dict[str, float]:
    """What has to wait for others in the project, each once, and the seconds it took."""
    path = board.path
    return {
        "card": await timed(owner.post(f"{path}/columns/{board.done}/cards", {"title": "A card"})),
        "column": await timed(owner.post(f"{path}/columns", {"name": "A column"})),
        "order": await timed(
            owner.patch(f"{path}/columns/reorder", [{"id": board.done, "position": 1}])
        ),
        "member": await timed(owner.post(f"{path}/members", {"user_id": added})),
        "role": await timed(owner.put(f"{path}/members/{added}", {"role": "viewer"})),
        "name": await timed(owner.put(path, {"name": "Another name"})),
        "archive": await timed(owner.delete(path)),
        "back": await timed(owner.put(path, {"is_archived": False})),
    }


def chat_of(desk: Desk) -> Chat:
    return Chat(desk.changes)


async def test_who_edits_without_pause_can_be_removed(
    desk: Desk, twin: Door, alice: Person, eve: Person, person: Invite, board: Board
) -> None:
    owner = person("olga", url=twin.url)
    said = await alice.post(f"{board.path}/chat/messages", {"body": "mine"})
    chat = chat_of(desk)

    async def edit(number: int, turn: int) -> None:
        await chat.edit(
            ChangeContext(alice.id, project_id=board.id, need=Role.MEMBER),
            said["id"],
            f"{number} {turn}",
        )

    await owner.token()
    async with flood(AT_ONCE, edit):
        took = await alone(owner, board, eve.id)
        took["removal"] = await timed(owner.delete(f"{board.path}/members/{alice.id}"))
    print(took)
    assert max(took.values()) < SECONDS, took


async def test_many_who_write_without_pause_keep_nobody_waiting(
    desk: Desk, twin: Door, root: Person, eve: Person, person: Invite, board: Board
) -> None:
    owner, chat = person("olga", url=twin.url), chat_of(desk)
    mine: list[tuple[int, int]] = []
    for number in range(16):
        name = f"writer{number}"
        account = {"email": f"{name}@example.org", "username": name, "password": PASSWORD}
        made = await root.post("/users", account)
        await owner.post(f"{board.path}/members", {"user_id": made["id"]})
        sent = await chat.send(
            ChangeContext(made["id"], project_id=board.id, need=Role.MEMBER),
            "mine",
            f"nonce {number}",
        )
        mine.append((made["id"], json.loads(sent.text)["id"]))

    async def edit(number: int, turn: int) -> None:
        user_id, message_id = mine[number]
        await chat.edit(
            ChangeContext(user_id, project_id=board.id, need=Role.MEMBER),
            message_id,
            f"{number} {turn}",
        )

    async with flood(len(mine), edit):
        took = await alone(owner, board, eve.id)
        took["removal"] = await timed(owner.delete(f"{board.path}/members/{mine[3][0]}"))
    print(took)
    assert max(took.values()) < SECONDS, took


async def test_who_renames_himself_without_pause_can_be_removed(
    desk: Desk, twin: Door, alice: Person, person: Invite, board: Board
) -> None:
    """His account and his memberships are his own, and still not his to keep."""
    owner, root = person("olga", url=twin.url), person("root", url=twin.url)
    await owner.token()
    await root.token()
    turns = iter(range(1_000_000))

    async def rename(number: int, turn: int) -> None:
        answer = await alice.request("PUT", "/users/me", {"display_name": f"A {next(turns)}"})
        if answer.status != 200:
            raise WarmDeskError(str(answer.body), status=answer.status)

    async with flood(AT_ONCE, rename):
        took = {
            "role": await timed(owner.put(f"{board.path}/members/{alice.id}", {"role": "viewer"})),
            "removal": await timed(owner.delete(f"{board.path}/members/{alice.id}")),
            "account": await timed(root.put(f"/users/{alice.id}", {"global_role": "viewer"})),
        }
    print(took)
    assert max(took.values()) < SECONDS, took


@pytest.mark.parametrize("what", ["writes", "makes projects"])
async def test_an_administrator_who_writes_without_pause_can_be_demoted(
    desk: Desk, twin: Door, root: Person, eve: Person, person: Invite, board: Board, what: str
) -> None:
    """Administrators write by their account, which their writes hold as it is."""
    await root.put(f"/users/{eve.id}", {"global_role": "admin"})
    other = person("root", url=twin.url)
    said = await eve.post(f"{board.path}/chat/messages", {"body": "mine"})
    await other.token()
    chat = chat_of(desk)

    async def write(number: int, turn: int) -> None:
        if what == "writes":
            await chat.edit(
                ChangeContext(eve.id, project_id=board.id, need=Role.MEMBER),
                said["id"],
                f"{number} {turn}",
            )
        elif (await eve.request("POST", "/projects", {"name": f"P{number}"})).status != 201:
            raise WarmDeskError("no", status=503)

    async with flood(AT_ONCE, write):
        took = await timed(other.put(f"/users/{eve.id}", {"global_role": "user"}))
    print(took)
    assert took < SECONDS
