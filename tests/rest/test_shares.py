"""Nobody takes more than his share: of the connections at once, and of a minute."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from tests import pace
from tests.conftest import Board, Invite, Wait
from tests.person import Person
from warmdesk.desk import Desk

SHARE = 4
MANY = 24

pytestmark = pytest.mark.settings(rate_limits=True)


@asynccontextmanager
async def held(database_url: str, lock: str) -> AsyncIterator[Any]:
    """Somebody else's lock; the connection tells who waits for it."""
    watcher = await asyncpg.connect(database_url)
    holder = await asyncpg.connect(database_url)
    try:
        await holder.execute("begin")
        await holder.execute(lock)
        yield watcher
    finally:
        await holder.close()
        await watcher.close()


async def waiting(watcher: Any) -> int:
    return int(
        await watcher.fetchval(
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock'"
        )
    )


async def most_waiting(watcher: Any, tasks: list[asyncio.Task[Any]]) -> int:
    """The most statements that waited at once until everything was answered."""
    most = 0
    while not all(task.done() for task in tasks):
        most = max(most, await waiting(watcher))
        await asyncio.sleep(0.02)
    return most


def check_refusal(answer: Any) -> None:
    assert answer.body["code"] == "too_many_at_once"
    assert int(answer.headers["Retry-After"]) >= 1
    assert 'qu="concurrent-requests"' in answer.headers["RateLimit-Policy"]


async def test_one_persons_writes_leave_connections_to_the_others(
    board: Board, alice: Person, olga: Person, database_url: str
) -> None:
    cards = [(await board.card(f"Card {number}"))["id"] for number in range(MANY)]
    await olga.token()
    async with held(
        database_url, f"select from cards where project_id = {board.id} for update"
    ) as w:
        writes = [
            asyncio.create_task(
                alice.request("PUT", f"{board.path}/cards/{card}", {"description": "x"})
            )
            for card in cards
        ]
        counting = asyncio.create_task(most_waiting(w, writes))
        while not counting.done():
            await olga.post(f"{board.path}/chat/messages", {"body": "Am I heard?"})
            await asyncio.sleep(0.2)
        assert await counting == SHARE
    refused = [task.result() for task in writes if task.result().status == 429]
    assert len(refused) >= MANY - 3 * SHARE
    for answer in refused:
        check_refusal(answer)
    await alice.put(f"{board.path}/cards/{cards[0]}", {"description": "y"})


async def test_one_persons_reads_leave_connections_to_the_others(
    board: Board, alice: Person, olga: Person, database_url: str
) -> None:
    await alice.get(board.path)
    await olga.token()
    async with held(database_url, "lock table chat_messages in access exclusive mode") as watcher:
        reads = [
            asyncio.create_task(alice.request("GET", f"{board.path}/chat/messages"))
            for _ in range(MANY)
        ]
        counting = asyncio.create_task(most_waiting(watcher, reads))
        while not counting.done():
            await olga.get(f"{board.path}/columns")
            await asyncio.sleep(0.1)
        assert await counting == SHARE
    for answer in (task.result() for task in reads):
        assert answer.status in (429, 503)
        if answer.status == 429:
            check_refusal(answer)
    await alice.get(f"{board.path}/chat/messages")


async def test_who_waits_a_moment_is_served_and_reads_are_not_writes(
    board: Board, alice: Person, database_url: str, eventually: Wait
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    async with held(database_url, f"select from cards where id = {card['id']} for update") as w:
        writes = [
            asyncio.create_task(alice.request("PUT", path, {"description": str(number)}))
            for number in range(10)
        ]

        async def stand() -> bool:
            return await waiting(w) == SHARE

        await eventually(stand)
        await alice.get(path)
    assert {answer.status for answer in await asyncio.gather(*writes)} == {200}


async def test_a_key_counts_for_its_owner(
    board: Board, alice: Person, person: Invite, connection: Any, database_url: str
) -> None:
    key = "wd_" + "5" * 48
    await connection.execute(
        "insert into api_keys (user_id, name, key_hash, key_prefix) values ($1, 'ci', $2, $3)",
        alice.id,
        hashlib.sha256(key.encode()).hexdigest(),
        key[:12],
    )
    script = person(api_key=key)
    cards = [(await board.card())["id"] for _ in range(MANY)]
    async with held(
        database_url, f"select from cards where project_id = {board.id} for update"
    ) as w:
        writes = [
            asyncio.create_task(
                who.request("PUT", f"{board.path}/cards/{card}", {"description": "x"})
            )
            for card, who in zip(cards, [alice, script] * MANY, strict=False)
        ]
        assert await most_waiting(w, writes) == SHARE


async def test_messages_of_sockets_have_the_same_share_and_keep_their_order(
    board: Board, alice: Person, desk: Desk, database_url: str, eventually: Wait
) -> None:
    sent = [
        (await alice.post(f"{board.path}/chat/messages", {"body": str(number)}))["id"]
        for number in range(10)
    ]
    async with asyncio.TaskGroup() as opening, asyncio.timeout(30 * pace.stretch()):
        gate = asyncio.Event()
        said: list[list[dict[str, Any]]] = []

        async def follow(message_id: int) -> None:
            async with alice.socket("demo") as wire:
                await wire.next("hello")
                await wire.send("chat.edit", {"message_id": message_id, "body": "first"}, id=1)
                await wire.send("chat.edit", {"message_id": message_id, "body": "second"}, id=2)
                await gate.wait()
                answers: list[dict[str, Any]] = []
                while len(answers) < 2:
                    frame = await wire.next()
                    if frame["type"] in ("ack", "error"):
                        answers.append(frame)
                said.append(answers)

        lock = f"select from chat_messages where project_id = {board.id} for update"
        async with held(database_url, lock) as watcher:
            for message_id in sent:
                opening.create_task(follow(message_id))

            async def stand() -> bool:
                return (
                    await waiting(watcher) == SHARE
                    and len(desk.writes._waiting.get(alice.id, ())) == 6
                )

            await eventually(stand)
        gate.set()
    assert len(said) == 10
    for first, second in said:
        assert (first["id"], second["id"]) == (1, 2)
        assert (first["type"], second["type"]) == ("ack", "ack")
    shown = await alice.get(f"{board.path}/chat/messages")
    assert {message["body"] for message in shown} == {"second"}


# Of a minute


@pytest.mark.settings(rate_limits=True, reads_at_once=1, writes_at_once=2, wait_at_once=0.05)
async def test_how_long_one_waits_for_a_turn_is_a_setting(
    board: Board, alice: Person, desk: Desk
) -> None:
    await alice.token()
    assert desk.reads.take(alice.id)
    assert desk.writes.take(alice.id)
    assert desk.writes.take(alice.id)
    for method, place, policy in (
        ("GET", f"{board.path}/cards/1", '"reads";q=1;qu="concurrent-requests"'),
        ("POST", f"{board.path}/star", '"writes";q=2;qu="concurrent-requests"'),
    ):
        began = time.monotonic()
        answer = await alice.request(method, place, None)
        assert time.monotonic() - began < 1
        assert answer.status == 429
        check_refusal(answer)
        assert answer.headers["RateLimit-Policy"] == policy
        assert answer.headers["RateLimit"] == f"{policy.partition(';')[0]};r=0;t=1"


@pytest.mark.settings(rate_limits=True, cards_per_change=5)
async def test_for_how_many_cards_a_change_counts_once_is_a_setting(desk: Desk) -> None:
    before = desk.pace.left(7)
    desk.pace.add(7, 14)
    assert desk.pace.left(7) == before - 2


@pytest.mark.settings(rate_limits=True, changes_per_minute=60)
async def test_changes_have_a_limit_a_minute(
    board: Board, alice: Person, olga: Person, person: Invite
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    for number in range(59):
        await alice.put(path, {"description": str(number)})
    for method, place, body in (
        ("PUT", path, {"title": "x"}),
        ("POST", f"{board.path}/columns/{board.backlog}/cards", {"title": "x"}),
        ("DELETE", path, None),
        ("POST", f"{board.path}/star", None),
    ):
        answer = await alice.request(method, place, body)
        assert answer.status == 429, place
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert answer.body["code"] == "rate_limited"
        assert answer.headers["RateLimit-Policy"] == '"changes";q=60;w=60'
    assert (await alice.get(path))["description"] == "58"
    await olga.put(path, {"description": "everybody has a limit of his own"})
    await alice.post(f"{board.path}/chat/messages", {"body": "messages have another"})


@pytest.mark.settings(rate_limits=True, changes_per_minute=60)
@pytest.mark.parametrize("path", ["columns/{backlog}/cards", "chat/messages"])
async def test_bodies_that_are_much_work_and_good_for_nothing_have_a_limit_too(
    board: Board, alice: Person, olga: Person, path: str
) -> None:
    place = f"{board.path}/{path.format(backlog=board.backlog)}"
    bad = {"title": 5, "body": 5, "more": [[]] * 150_000}
    statuses = [(await alice.request("POST", place, bad)).status for _ in range(8)]
    assert statuses == [400] * 4 + [429] * 4
    assert (await olga.request("POST", place, bad | {"more": []})).status == 400
    await olga.post(f"{board.path}/chat/messages", {"body": "Am I heard?"})


@pytest.mark.settings(rate_limits=True, changes_per_minute=60)
async def test_changes_by_socket_count_as_those_by_rest(board: Board, alice: Person) -> None:
    message = await alice.post(f"{board.path}/chat/messages", {"body": "0"})
    async with alice.socket("demo") as wire:
        for number in range(1, 21):
            await wire.send("chat.edit", {"message_id": message["id"], "body": str(number)})
            await wire.next("ack")
        path = f"{board.path}/chat/messages/{message['id']}"
        for number in range(21, 61):
            await alice.put(path, {"body": str(number)})
        assert (await alice.request("PUT", path, {"body": "61"})).status == 429
        await wire.send("chat.edit", {"message_id": message["id"], "body": "61"}, id=7)
        reaction = {"message_id": message["id"], "emoji": "👍"}
        await wire.send("chat.react", reaction, id=8)
        for id in (7, 8):
            error = await wire.next("error")
            assert (error["payload"]["code"], error["payload"]["id"]) == ("rate_limited", id)


@pytest.mark.settings(rate_limits=True, changes_per_minute=100_000)
async def test_a_moved_column_counts_by_its_cards(
    board: Board, alice: Person, olga: Person, desk: Desk
) -> None:
    for _ in range(120):
        await board.card()
    before = desk.pace.left(olga.id)
    await olga.delete(f"{board.path}/columns/{board.backlog}?move_to={board.done}")
    assert before - desk.pace.left(olga.id) == 1 + 120 // 50


@pytest.mark.settings(rate_limits=True, changes_per_minute=100_000, cards_per_change=5)
@pytest.mark.parametrize("key", [None, "k"])
async def test_a_long_text_counts_by_its_length(
    board: Board, alice: Person, desk: Desk, key: str | None
) -> None:
    path = f"{board.path}/cards/{(await board.card())['id']}/comments"
    before = desk.pace.left(alice.id)
    await alice.post(path, {"body": "x" * 20_000}, key=key)
    assert before - desk.pace.left(alice.id) == 1 + (1 + 20_000 // 1024) // 5


@pytest.mark.settings(rate_limits=True, changes_per_minute=100_000)
async def test_another_name_counts_by_the_projects_that_are_told(
    board: Board, alice: Person, desk: Desk, connection: Any
) -> None:
    await connection.execute(
        "with made as ("
        " insert into projects (name, slug, key_prefix, created_by_id)"
        " select 'P', 'p' || n, 'P' || n, 2 from generate_series(1, 120) as n returning id"
        ") insert into project_members (project_id, user_id) select id, $1 from made",
        alice.id,
    )
    await alice.put("/users/me", {"theme": "dark"})
    before = desk.pace.left(alice.id)
    await alice.put("/users/me", {"display_name": "Alison"})
    assert before - desk.pace.left(alice.id) == 1 + 120 // 50


# Of the connections


HEAVY = {
    "search": "/cards?q=door",
    "a column's list": "/columns/{board.backlog}/cards?limit=500",
    "deleted cards": "/cards/deleted",
    "activity": "/activity",
    "history": "/cards/1/history",
    "events": "/events?since=0",
    "a board": "?include=cards",
}


@pytest.mark.settings(rate_limits=False)
@pytest.mark.parametrize("kind", HEAVY)
async def test_heavy_reads_have_few_connections_of_their_own(
    board: Board, olga: Person, alice: Person, database_url: str, kind: str
) -> None:
    """However many ask for them: here without shares, as if each were somebody else."""
    await board.card()
    others = [(await olga.post("/projects", {"name": f"P{number}"}))["slug"] for number in range(8)]
    path = HEAVY[kind].format(board=board)
    paths = [board.path + path] * 8
    if kind == "a board":
        paths = [f"/projects/{slug}{path}" for slug in others]
    await alice.token()
    facts = {"activity": "card_history", "events": "events", "history": "card_history"}
    table = facts.get(kind, "cards")
    async with held(database_url, f"lock table {table} in access exclusive mode") as watcher:
        reads = [asyncio.create_task(olga.request("GET", each)) for each in paths]
        counting = asyncio.create_task(most_waiting(watcher, reads))
        while not counting.done():
            await alice.get(f"{board.path}/chat/messages")
            await asyncio.sleep(0.1)
        assert await counting == 2
    assert {task.result().status for task in reads} == {503}
    assert all(int(task.result().headers["Retry-After"]) >= 1 for task in reads)
    await olga.get(paths[0])


async def test_one_person_has_half_of_the_connections_for_heavy_reads(
    board: Board, olga: Person, alice: Person, database_url: str, eventually: Wait
) -> None:
    await board.card()
    await alice.token()
    await olga.token()
    path = f"{board.path}/cards?q=door"
    async with held(database_url, "lock table cards in access exclusive mode") as watcher:
        reads = [asyncio.create_task(olga.request("GET", path)) for _ in range(8)]
        await eventually(lambda: waiting(watcher))
        await asyncio.sleep(0.3)
        assert await waiting(watcher) == 1
        another = asyncio.create_task(alice.request("GET", path))

        async def both_wait() -> bool:
            return await waiting(watcher) == 2

        await eventually(both_wait, limit=1.0)
    answers = await asyncio.gather(*reads)
    assert {answer.status for answer in answers} <= {200, 429}
    assert (await another).status in {200, 503}
    assert (await olga.request("GET", path)).status == 200


async def test_one_persons_boards_leave_a_connection_to_the_others(
    board: Board, olga: Person, alice: Person, database_url: str, eventually: Wait
) -> None:
    await alice.token()
    slugs = [(await olga.post("/projects", {"name": f"Other {n}"}))["slug"] for n in range(4)]
    await board.card()
    async with held(database_url, "lock table cards in access exclusive mode") as watcher:
        reads = [asyncio.create_task(olga.request("GET", f"/projects/{slug}")) for slug in slugs]
        await eventually(lambda: waiting(watcher))
        await asyncio.sleep(0.3)
        assert await waiting(watcher) == 1
        another = asyncio.create_task(alice.request("GET", board.path))

        async def both_wait() -> bool:
            return await waiting(watcher) == 2

        await eventually(both_wait, limit=1.0)
    assert {answer.status for answer in await asyncio.gather(*reads)} <= {200, 429}
    assert (await another).status in {200, 503}
    assert (await olga.request("GET", f"/projects/{slugs[0]}")).status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_what_one_project_waits_for_stops_nobody_elsewhere(
    board: Board,
    olga: Person,
    alice: Person,
    root: Person,
    desk: Desk,
    database_url: str,
    method: str,
) -> None:
    """The title of a card; and the deletion of a column, which is a function of its own."""
    card = f"{board.path}/cards/{(await board.card())['id']}"
    column = f"{board.path}/columns/{board.backlog}?move_to={board.done}"
    path, body = (card, {"title": "x"}) if method == "PUT" else (column, None)
    await olga.put(f"{board.path}/members/{alice.id}", {"role": "admin"})
    people = [olga, alice, root]
    for person in people:
        await person.token()
    other = (await root.post("/projects", {"name": "Elsewhere"}))["slug"]
    async with held(database_url, f"select hold_project({board.id})") as watcher:
        writes = [
            asyncio.create_task(people[number % 3].request(method, path, body))
            for number in range(24)
        ]
        counting = asyncio.create_task(most_waiting(watcher, writes))
        while not counting.done():
            await olga.get("/users/me")
            # A writer's own share may be taken; the connections are not.
            elsewhere = await root.request("PUT", f"/projects/{other}", {"name": "Elsewhere"})
            assert elsewhere.status in {200, 429}
            await asyncio.sleep(0.1)
        assert await counting == desk.settings.database_pool // 2
    assert {task.result().status for task in writes} <= {200, 429, 503}
    assert (await alice.request("PUT", card, {"title": "y"})).status == 200
