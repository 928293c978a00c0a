"""Deliveries to webhooks beside what people do: they wait in no circle, and lose nothing."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from tests.conftest import Board, Door
from tests.hosts.payloads import GitHub
from tests.person import Person
from tests.posting import Hook, hook

GITHUB = GitHub()
ROUNDS = 12


@pytest.mark.parametrize("seed", range(3))
async def test_deliveries_and_people_wait_in_no_circle(
    board: Board, twin: Door, olga: Person, alice: Person, seed: int
) -> None:
    chance, numbers = random.Random(seed), itertools.count(1)
    cards = [await board.card(f"{n}") for n in range(4)]
    made = await hook(olga, type="github")
    other = Hook(olga, made.path, {**made.made, "url": made.url.replace(olga.url, twin.url)})

    async def deliver(to: Hook) -> None:
        keys = [each["key"] for each in chance.sample(cards, 3)]
        number = next(numbers)
        event, payload = GITHUB.pull_request("opened", " ".join(keys), number=number % 5 + 1)
        answer = await to.request(payload, **GITHUB.headers(event, f"d{number}"))
        assert answer.status == 200, answer

    async def person_does() -> None:
        card = chance.choice(cards)
        path = f"{board.path}/cards/{card['id']}"
        ids = [each["id"] for each in chance.sample(cards, 3)]
        method, where, body = chance.choice(
            [
                ("PATCH", f"{path}/move", {"column_id": chance.choice([board.done, board.review])}),
                ("PUT", path, {"title": "Another"}),
                ("POST", f"{path}/links", {"url": f"https://example.org/{next(numbers)}"}),
                ("PATCH", f"{board.path}/cards", {"ids": ids, "change": {"closed": True}}),
                ("POST", f"{board.path}/chat/messages", {"body": "Hello"}),
                ("DELETE", path, None),
                ("POST", f"{path}/restore", None),
                ("PUT", made.path, {"name": f"Hook {next(numbers)}"}),
                ("GET", f"{made.path}/deliveries", None),
            ]
        )
        answer = await olga.request(method, where, body)
        assert answer.status < 500, (method, where, answer)

    for _ in range(ROUNDS):
        await asyncio.gather(
            *(deliver(each) for each in (made, other) * 2), *(person_does() for _ in range(4))
        )
    events = (await olga.get(f"{board.path}/events?since=0&limit=500"))["events"]
    seqs = [each["seq"] for each in events]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    lines = [each for each in events if each["type"] == "chat.message" and not each["actor_id"]]
    assert len(lines) == 4 * ROUNDS
