"""The client's own board: whenever a page was read and whenever it arrives, it shows what is there.

One day of work on a board is recorded: what it was after each change, every event as it was told
live and as it is told to who comes later, and boards and pages as clients read them between. Then
as many clients as wanted meet these in other orders, without a server.
"""

from __future__ import annotations

import ast
import asyncio
import random
import re
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import pace
from tests.checkers.client_boards import as_brief, as_shown, wrongs
from tests.checkers.mirror import differences, shown
from tests.conftest import Board as Demo
from tests.person import PASSWORD, Person
from warmdesk import client_board as module
from warmdesk.client import Answer, Refused
from warmdesk.client_board import Board

Json = dict[str, Any]

PROTOCOL = Path(__file__).parents[1] / "docs" / "protocol.rst"
CHANGES, CLIENTS = 70, 150
LONG = "Words of a long description. " * 100


@dataclass
class Opened:
    """A board as a client fetched it, and the pages that it read after it, each with its path."""

    fetched: Json
    is_brief: bool
    pages: list[tuple[str, Answer]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    """Where it has to read on."""


@dataclass
class Day:
    """What was recorded."""

    truths: dict[int, Json] = field(default_factory=dict)
    """The whole board after each change, by its seq."""
    digests: dict[int, Json] = field(default_factory=dict)
    counts: list[Json] = field(default_factory=list)
    live: dict[int, Json] = field(default_factory=dict)
    late: dict[int, Json] = field(default_factory=dict)
    """Events by their seq; what was deleted meanwhile is gone in the late ones."""
    opened: list[Opened] = field(default_factory=list)

    @property
    def end(self) -> int:
        return max(self.truths)

    def met_otherwise(self, seq: int) -> set[int]:
        """Cards that came back from the archive, or were moved, maybe from behind the cards that a
        board has to those that it has: what they say is not told again.
        """
        after = [event for event in self.live.values() if event["seq"] > seq]
        return {
            event["payload"]["id"]
            for event in after
            if "archived_at" in event["payload"].get("changes", ())
        } | {
            event["payload"]["card"]["id"] for event in after if event["type"] == "board.card_moved"
        }


class Work:
    """Everything that may happen to a board, as the dice fall."""

    guest = 5

    def __init__(self, demo: Demo, olga: Person, dice: random.Random) -> None:
        self.demo, self.olga, self.alice, self.dice = demo, olga, demo.maker, dice
        self.path = demo.path
        self.deleted: list[int] = []
        self.archived: list[int] = []

    async def one(self, board: Json, name: str) -> None:
        """One change of this name, if there is anything to change."""
        columns = board["columns"]
        cards = [card["id"] for column in columns for card in column["cards"]]
        labels = [each["id"] for each in board["labels"]]
        await getattr(self, name)(
            columns=[each["id"] for each in columns],
            card=self.dice.choice(cards or [0]),
            cards=cards,
            labels=labels,
            people=[each["user_id"] for each in board["members"]],
        )

    def some(self, things: list[int]) -> list[int]:
        return self.dice.sample(things, k=min(len(things), self.dice.randint(0, 3)))

    def column(self, columns: list[int]) -> int:
        """One is much longer than the others."""
        return columns[0] if self.dice.random() < 0.6 else self.dice.choice(columns)

    async def create(self, columns: Any, labels: Any, people: Any, **_: Any) -> None:
        body: Json = {
            "title": f"Card {self.dice.random()}",
            "assignee_ids": self.some(people),
            "label_ids": self.some(labels),
            "tags": [f"tag {n}" for n in self.some([1, 2, 3, 4])],
            "description": self.dice.choice(["", "Words", LONG]),
        }
        await self.alice.post(f"{self.path}/columns/{self.column(columns)}/cards", body)

    async def edit(self, card: int, labels: Any, people: Any, **_: Any) -> None:
        change: Json = self.dice.choice(
            [
                {"title": f"Title {self.dice.random()}"},
                {"description": self.dice.choice(["", "Other words", LONG])},
                {"closed": self.dice.random() < 0.6},
                {"assignee_ids": self.some(people), "priority": "high"},
                {"label_ids": self.some(labels), "tags": ["x"], "due_date": "2026-05-01"},
            ]
        )
        if card:
            await self.alice.put(f"{self.path}/cards/{card}", change)

    async def move(self, card: int, columns: Any, **_: Any) -> None:
        if card:
            body = {"column_id": self.column(columns), "index": self.dice.randint(0, 6)}
            await self.alice.patch(f"{self.path}/cards/{card}/move", body)

    async def send_over(self, card: int, columns: Any, **_: Any) -> None:
        if card:
            body = {"column_id": self.column(columns), "title": f"Sent {self.dice.random()}"}
            await self.alice.put(f"{self.path}/cards/{card}", body)

    async def crowd(self, columns: Any, **_: Any) -> None:
        """So often between two cards that those around them are spaced anew."""
        path = f"{self.path}/columns/{columns[0]}/cards"
        for _n in range(60):
            third = (await self.alice.get(f"{path}?limit=3"))[2]
            moved = f"{self.path}/cards/{third['id']}/reorder"
            await self.alice.patch(moved, {"index": 1})

    async def delete(self, card: int, **_: Any) -> None:
        if card:
            await self.alice.delete(f"{self.path}/cards/{card}")
            self.deleted.append(card)

    async def restore(self, **_: Any) -> None:
        if self.deleted:
            card = self.deleted.pop(self.dice.randrange(len(self.deleted)))
            await self.olga.post(f"{self.path}/cards/{card}/restore", status=200)

    async def archive(self, card: int, **_: Any) -> None:
        if card:
            await self.alice.post(f"{self.path}/cards/{card}/archive", status=200)
            self.archived.append(card)

    async def unarchive(self, **_: Any) -> None:
        if self.archived:
            card = self.archived.pop(self.dice.randrange(len(self.archived)))
            await self.alice.delete(f"{self.path}/cards/{card}/archive", status=200)

    async def delete_archived(self, **_: Any) -> None:
        if self.archived:
            await self.alice.delete(f"{self.path}/cards/{self.archived.pop()}")

    async def many(self, cards: Any, people: Any, **_: Any) -> None:
        ids = self.some(cards)
        change: Json = self.dice.choice([{"closed": True}, {"assignee_ids": self.some(people)}])
        if ids:
            await self.alice.patch(f"{self.path}/cards", {"ids": ids, "change": change})

    async def assign_guest(self, card: int, people: Any, **_: Any) -> None:
        """Before somebody else."""
        path = f"{self.path}/cards/{card}"
        if card and self.guest in people:
            await self.alice.put(path, {"assignee_ids": [self.guest]})
            await self.alice.put(path, {"add_assignee_ids": [self.alice.id]})

    async def comment(self, card: int, **_: Any) -> None:
        if card:
            await self.alice.post(f"{self.path}/cards/{card}/comments", {"body": "hello"})

    async def say(self, **_: Any) -> None:
        said = await self.alice.post(f"{self.path}/chat/messages", {"body": "hello"})
        if self.dice.random() < 0.5:
            await self.alice.delete(f"{self.path}/chat/messages/{said['id']}")

    async def name_column(self, columns: Any, **_: Any) -> None:
        named = {"name": f"Column {self.dice.random()}"}
        await self.olga.put(f"{self.path}/columns/{self.dice.choice(columns)}", named)

    async def add_column(self, columns: Any, **_: Any) -> None:
        if len(columns) < 6:
            await self.olga.post(f"{self.path}/columns", {"name": "Another"})

    async def order_columns(self, columns: Any, **_: Any) -> None:
        await self.olga.patch(f"{self.path}/columns/reorder", {"column_ids": columns[::-1]})

    async def delete_column(self, columns: Any, **_: Any) -> None:
        if len(columns) > 2:
            column, other = self.dice.sample(columns, k=2)
            await self.olga.delete(f"{self.path}/columns/{column}?move_to={other}")

    async def add_label(self, **_: Any) -> None:
        body = {"name": f"Label {self.dice.random()}", "color": "#123456"}
        await self.alice.post(f"{self.path}/labels", body)

    async def name_label(self, labels: Any, **_: Any) -> None:
        if labels:
            path = f"{self.path}/labels/{self.dice.choice(labels)}"
            await self.alice.put(path, {"name": f"Label {self.dice.random()}"})

    async def delete_label(self, labels: Any, **_: Any) -> None:
        if labels:
            await self.alice.delete(f"{self.path}/labels/{self.dice.choice(labels)}")

    async def add_guest(self, people: Any, **_: Any) -> None:
        if self.guest not in people:
            await self.olga.post(f"{self.path}/members", {"user_id": self.guest, "role": "member"})

    async def remove_guest(self, people: Any, **_: Any) -> None:
        if self.guest in people:
            await self.olga.delete(f"{self.path}/members/{self.guest}")

    async def rename(self, **_: Any) -> None:
        who = self.dice.choice([self.olga, self.alice])
        await who.put("/users/me", {"display_name": f"Somebody {self.dice.random()}"})

    async def project(self, **_: Any) -> None:
        await self.olga.put(self.path, {"name": f"Project {self.dice.random()}"})

    async def archive_project(self, **_: Any) -> None:
        await self.olga.delete(self.path)

    async def unarchive_project(self, **_: Any) -> None:
        await self.olga.put(self.path, {"is_archived": False})


WEIGHTS = {
    "create": 24,
    "edit": 16,
    "move": 12,
    "send_over": 4,
    "delete": 9,
    "restore": 3,
    "archive": 5,
    "unarchive": 3,
    "delete_archived": 2,
    "many": 3,
    "comment": 2,
    "say": 2,
    "name_column": 5,
    "add_column": 1,
    "order_columns": 2,
    "delete_column": 1,
    "add_label": 1,
    "name_label": 3,
    "delete_label": 1,
    "add_guest": 2,
    "assign_guest": 2,
    "remove_guest": 2,
    "rename": 2,
    "project": 1,
    "archive_project": 1,
}


async def recorded(demo: Demo, olga: Person, reader: Person, dice: random.Random) -> Day:
    """A day of work, read by somebody meanwhile."""
    day, work = Day(), Work(demo, olga, dice)
    board = await reader.get(demo.path)
    begin = seq = board["seq"]
    names = dice.choices(list(WEIGHTS), list(WEIGHTS.values()), k=CHANGES)
    names = ["create"] * 12 + names + list(WEIGHTS)
    names.insert(len(names) // 2, "crowd")
    for place in [n for n, name in enumerate(names) if name == "archive_project"][::-1]:
        names.insert(place + 1, "unarchive_project")
    for number, name in enumerate(names):
        await work.one(board, name)
        for event in await events(reader, demo, seq):
            day.live[event["seq"]] = event
        board = await reader.get(demo.path)
        seq = board["seq"]
        day.truths[seq] = board
        day.digests[seq] = await reader.get(f"{demo.path}/digest")
        if dice.random() < 0.2:
            day.counts.append(await reader.get(f"{demo.path}/counts"))
        if number % 12 == 0:
            is_brief = dice.random() < 0.5
            query = f"?cards_limit={dice.randint(1, 3)}" + ("&cards=brief" if is_brief else "")
            fetched = await reader.get(demo.path + query)
            opened = Opened(fetched, is_brief)
            opened.paths = list(Board(fetched, brief=is_brief).more().values())
            day.opened.append(opened)
        for opened in day.opened:
            if dice.random() < 0.4:
                await read_on(reader, opened, dice)
    day.counts.append(await reader.get(f"{demo.path}/counts"))
    for opened in day.opened:
        while opened.paths:
            await read_on(reader, opened, dice)
    for event in await events(reader, demo, begin):
        day.late[event["seq"]] = event
    return day


async def events(reader: Person, demo: Demo, since: int) -> list[Json]:
    found: list[Json] = []
    while page := (await reader.get(f"{demo.path}/events?since={since}&limit=500"))["events"]:
        found += page
        since = page[-1]["seq"]
    return found


async def read_on(reader: Person, opened: Opened, dice: random.Random) -> None:
    """A small page of one of the columns."""
    if not opened.paths:
        return
    path = opened.paths.pop(dice.randrange(len(opened.paths)))
    page = await reader.request("GET", path.replace(f"limit={module.PAGE}", "limit=4"))
    if page.status == 200:
        opened.pages.append((path, page))
        if page.next is not None:
            opened.paths.append(page.next)


@pytest.mark.parametrize("seed", [1, 2])
async def test_in_whatever_order_pages_and_events_come_the_board_is_that_of_a_fetch(
    board: Demo, olga: Person, bob: Person, seed: int
) -> None:
    day = await recorded(board, olga, bob, random.Random(seed))
    types = {event["type"] for event in [*day.live.values(), *day.late.values()]}
    assert types > {*Board.RULES, "gone", "project.archived"} - {"project.guest_updated"}
    assert sum(len(opened.pages) for opened in day.opened) > 20

    for client in range(CLIENTS):
        dice = random.Random(f"{seed} {client}")
        opened = dice.choice(day.opened)
        moments = range(opened.fetched["seq"], day.end + 1)
        pages = range(len(opened.pages))
        twice = [place for place in pages if dice.random() < 0.3]
        arrivals = [(dice.choice(moments), place) for place in [*pages, *twice]]
        if dice.random() < 0.2:
            arrivals = []
        counts = [each for each in day.counts if each["seq"] >= moments[0]]
        told = [(dice.choice(moments), each) for each in counts]
        try:
            follow(day, opened, dice.choice(moments), arrivals, told, dice.random() < 0.5)
        except AssertionError as error:
            raise AssertionError(f"client {client} of the day {seed}: {error}") from error


def follow(
    day: Day,
    opened: Opened,
    away: int,
    arrivals: list[tuple[int, int]],
    told: list[tuple[int, Json]],
    doubled: bool,
) -> None:
    """A client that begins with this, is told all events up to `away` live and the others late, and
    gets pages and counts when it is at the seqs that they stand beside.
    """
    mine = Board(opened.fetched, brief=opened.is_brief)
    heard_gone = False
    for seq in range(opened.fetched["seq"], day.end + 1):
        if seq > opened.fetched["seq"]:
            event = (day.live if seq <= away else day.late)[seq]
            heard_gone = heard_gone or event["type"] == "gone"
            assert mine.apply(event), mine.stale
            if doubled:
                assert mine.apply(event), "what is known is no mistake"
        for at, place in arrivals:
            if at == seq:
                assert mine.lay_over(*opened.pages[place])
        for at, counts in told:
            if at == seq:
                assert mine.count(counts)
        if not heard_gone and seq in day.truths:
            equals(mine, day.truths[seq])
            assert mine.check(day.digests[seq]) is not False
    truth = day.truths[day.end]
    equals(mine, truth)
    if arrivals or not Board(opened.fetched).more():
        assert not mine.more(), "all pages were read"
        assert not mine.uncounted or mine.count(day.counts[-1])
        assert not mine.uncounted
        lines = wrongs(mine, shown(truth, []))
        assert not lines, "\n".join(lines[:20])
        assert mine.check(day.digests[day.end])
        untold = {card["id"] for card in mine.cards.values() if "description" not in card}
        assert mine.brief or untold <= day.met_otherwise(opened.fetched["seq"])
    else:
        assert mine.count(day.counts[-1])
        assert not mine.uncounted
        equals(mine, truth)


def equals(mine: Board, truth: Json) -> None:
    """Of the cards that it has, it shows what is true, and counts all."""
    assert not mine.stale, mine.stale
    assert mine.seq == truth["seq"]
    made = shown(truth, [])
    del made["messages"]
    for column in made["columns"]:
        column["cards"] = [card for card in column["cards"] if card["id"] in mine.cards]
    if mine.brief:
        made = as_brief(made)
    held = as_shown(mine)
    if mine.uncounted:
        made["open_card_count"] = held["open_card_count"]
        for column, other in zip(made["columns"], held["columns"], strict=True):
            column["card_count"] = other["card_count"]
    lines = differences(held, made)
    assert not lines, f"at {mine.seq}:\n" + "\n".join(lines[:20])


# Single promises.


def test_it_needs_the_client_and_nothing_else_of_ours() -> None:
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in names if name and name.startswith("warmdesk")} == {"warmdesk.client"}


@pytest.fixture
async def opened(board: Demo, bob: Person) -> Board:
    """A board of ten cards, four of which are shown."""
    for number in range(10):
        await board.card(str(number), column=board.done if number > 6 else 0)
    return Board(await bob.get(f"{board.path}?cards_limit=2"))


async def page_of(board: Board, reader: Person) -> tuple[str, Answer]:
    path = board.more()[min(board.more())]
    return path, await reader.request("GET", path)


def as_of(page: Answer, seq: int, epoch: str) -> Answer:
    place = {"Warmdesk-Seq": str(seq), "Warmdesk-Epoch": epoch}
    return Answer(page.status, {**page.headers, **place}, page.body)


def nothing(seq: int) -> Json:
    return {"type": "chat.message_deleted", "payload": {"id": 1}, "seq": seq}


async def test_what_was_seen_changes_nothing_and_a_gap_is_said(opened: Board, bob: Person) -> None:
    before = opened.shown()
    deleted = {"card_id": min(opened.cards), "column_id": 1, "key": "DEMO-1"}
    old = {"type": "board.card_deleted", "payload": deleted, "seq": opened.seq}
    assert opened.apply(old)
    assert opened.shown() == before
    assert not opened.apply(old | {"seq": opened.seq + 2}), "one is missing between"
    assert opened.shown() == before
    assert not opened.stale, "it can be asked for"
    assert opened.apply(old | {"seq": opened.seq + 1})
    assert opened.shown() != before


async def test_signals_of_others_change_nothing(opened: Board) -> None:
    before = opened.shown()
    for type in ("hello", "presence.list", "chat.typing", "pong", "something.new"):
        assert opened.apply({"type": type, "payload": {}})
    assert opened.apply({"type": "poll.created", "payload": {"id": 1}, "seq": opened.seq + 1})
    assert opened.shown() == before | {"seq": before["seq"] + 1}


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "reset", "payload": {"seq": 1, "epoch": "e", "reason": "epoch"}},
        {"type": "sync.reset", "payload": {"seq": 1, "epoch": "e", "reason": "epoch"}},
        {"type": "board.card_created", "payload": {"id": 1}},
        {"type": "board.card_moved", "payload": None},
        {"type": "board.cards_reordered", "payload": {"cards": 7}},
    ],
)
async def test_what_cannot_be_applied_says_that_all_is_to_be_fetched(
    opened: Board, bob: Person, frame: Json
) -> None:
    before, page = opened.shown(), await page_of(opened, bob)
    told = frame if "reset" in frame["type"] else frame | {"seq": opened.seq + 1}
    assert not opened.apply(told)
    assert opened.stale
    assert not opened.apply(nothing(opened.seq + 1))
    assert not opened.lay_over(*page)
    assert not opened.count({"columns": [], "open_card_count": 0, "seq": opened.seq})
    assert opened.shown()["seq"] == before["seq"]


async def test_a_digest_tells_who_is_wrong(
    board: Demo, opened: Board, alice: Person, bob: Person
) -> None:
    told = await bob.get(f"{board.path}/digest")
    assert opened.check(told) is None, "nobody knows without all cards"
    assert await opened.fill(bob.client)
    assert opened.check(told)
    for other in ({"seq": told["seq"] + 1}, {"epoch": "other"}):
        assert opened.check(told | other | {"digest": "other"}) is None
    pong = {"type": "pong", "payload": {"server_time": "", **told}}
    assert opened.apply(pong)
    wrong = {"type": "pong", "payload": {"server_time": "", **told, "digest": "other"}}
    assert not opened.apply(wrong)
    assert "not the server's" in opened.stale


async def test_a_page_of_another_history_or_too_old_is_asked_for_again(
    opened: Board, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 5)
    path, page = await page_of(opened, bob)
    begin, before = opened.seq, opened.shown()
    assert not opened.lay_over(path, as_of(page, begin, "other"))
    assert not opened.lay_over(path, as_of(page, begin - 1, opened.epoch))
    assert not opened.lay_over(path, Answer(page.status, {}, page.body))
    assert opened.shown() == before
    for seq in range(begin + 1, begin + 8):
        label = {"type": "board.label_deleted", "payload": {"id": 99}, "seq": seq}
        assert opened.apply(label if seq > begin + 1 else nothing(seq))
    assert not opened.lay_over(path, page), "an event after it is no longer remembered"
    assert path in opened.more().values()
    assert opened.lay_over(path, as_of(page, begin + 2, opened.epoch))
    assert path not in opened.more().values()


async def test_a_page_that_is_younger_waits_for_its_events(opened: Board, bob: Person) -> None:
    path, page = await page_of(opened, bob)
    begin, before = opened.seq, opened.shown()
    assert opened.lay_over(path, as_of(page, begin + 2, opened.epoch))
    assert opened.apply(nothing(begin + 1))
    assert opened.shown()["columns"] == before["columns"]
    assert opened.apply(nothing(begin + 2))
    assert len(opened.shown()["columns"][0]["cards"]) == 7


async def test_a_text_that_is_whole_stays_so_when_its_event_is_applied_again(
    opened: Board, bob: Person
) -> None:
    """The event has its beginning, one page has all of it, and another that is older comes late."""
    path, page = await page_of(opened, bob)
    begin, whole = opened.seq, "x" * 5000
    card = page.body[0]
    told = card | {"description": whole[:2000], "description_cut": True, "version": 7}
    told["changes"] = ["description"]
    event = {"type": "board.card_updated", "payload": told, "seq": begin + 1, "ts": ""}
    assert opened.apply(event)
    assert opened.cards[card["id"]]["description_cut"]
    body = [card | {"description": whole, "version": 7}, *page.body[1:]]
    later = as_of(Answer(page.status, page.headers, body), begin + 1, opened.epoch)
    assert opened.lay_over(path, later)
    assert opened.lay_over(path, as_of(page, begin, opened.epoch))
    shown = opened.cards[card["id"]]
    assert (shown["description"], "description_cut" in shown) == (whole, False)
    assert opened.apply(event | {"payload": told | {"version": 8}, "seq": begin + 2})
    assert opened.cards[card["id"]]["description_cut"], "it is another text"


async def test_a_text_that_a_page_told_stays_when_its_card_comes_back_again(
    opened: Board, bob: Person
) -> None:
    """From the archive: the events tell nothing of the text, and an older page comes late."""
    path, page = await page_of(opened, bob)
    begin, card = opened.seq, page.body[0] | {"has_description": True}
    told = {key: value for key, value in card.items() if key != "description"}
    told["changes"] = ["archived_at"]
    for seq, archived_at in ((begin + 1, "2026-04-04T12:00:00.000000Z"), (begin + 2, None)):
        payload = told | {"archived_at": archived_at, "version": seq}
        event = {"type": "board.card_updated", "payload": payload, "seq": seq, "ts": ""}
        assert opened.apply(event)
    assert "description" not in opened.cards[card["id"]]
    body = [card | {"description": "Words", "version": begin + 2}, *page.body[1:]]
    later = as_of(Answer(page.status, page.headers, body), begin + 2, opened.epoch)
    assert opened.lay_over(path, later)
    assert opened.lay_over(path, as_of(page, begin, opened.epoch))
    assert opened.cards[card["id"]]["description"] == "Words"


async def test_a_page_that_passed_over_a_card_is_found_by_the_counts(
    opened: Board, bob: Person
) -> None:
    path, page = await page_of(opened, bob)
    assert not opened.lay_over(path, Answer(page.status, page.headers, page.body[1:]))
    assert "has not the 7 cards" in opened.stale


async def test_counts_that_contradict_what_is_there_are_found(
    board: Demo, opened: Board, bob: Person
) -> None:
    told = await bob.get(f"{board.path}/counts")
    assert await opened.fill(bob.client)
    assert opened.count(told)
    told["columns"][0]["card_count"] += 1
    assert not opened.count(told)
    assert opened.stale


async def test_a_card_that_a_page_passed_over_is_found_whatever_was_deleted(
    board: Demo, opened: Board, alice: Person, bob: Person
) -> None:
    """The deletion of a card that it never had leaves counts unsure for a while."""
    unseen = [
        each for each in await bob.get(f"{board.path}/cards") if each["id"] not in opened.cards
    ]
    passed_over, deleted = (each["id"] for each in unseen[:2])
    path, page = await page_of(opened, bob)
    await alice.delete(f"{board.path}/cards/{deleted}")
    for event in await events(bob, board, opened.seq):
        assert opened.apply(event)
    assert opened.uncounted
    cards = [each for each in page.body if each["id"] != passed_over]
    assert opened.lay_over(path, Answer(page.status, page.headers, cards))
    assert not await opened.fill(bob.client)
    assert "that are counted" in opened.stale


async def test_counts_that_follow_what_is_gone_prove_again(
    board: Demo, opened: Board, bob: Person
) -> None:
    path, page = await page_of(opened, bob)
    assert opened.apply({"type": "gone", "payload": {}, "seq": opened.seq + 1})
    short = Answer(page.status, page.headers, page.body[1:])
    assert opened.lay_over(path, short)
    told = await bob.get(f"{board.path}/counts")
    counts = {"type": "board.counts", "payload": told}
    assert opened.apply(counts), "these were read before what is gone"
    counts["payload"]["seq"] = opened.seq
    assert not opened.apply(counts)
    assert "that are counted" in opened.stale


async def test_it_fills_itself_while_columns_go(
    board: Demo, opened: Board, alice: Person, olga: Person, bob: Person
) -> None:
    """A page of a column that was deleted is not found: that is no reason to begin anew."""
    async with bob.socket("demo", since=opened.seq, epoch=opened.epoch) as socket:
        await olga.delete(f"{board.path}/columns/{board.done}?move_to={board.backlog}")
        assert await opened.fill(bob.client)
        await socket.next("board.column_deleted")
        for event in socket.events:
            assert opened.apply(event)
    assert not wrongs(opened, shown(await bob.get(board.path), []))
    with pytest.raises(Refused, match="404"):
        opened.lay_over("", await bob.request("GET", f"{board.path}/columns/999/cards"))


async def test_it_writes_to_nothing_that_it_is_given(
    board: Demo, alice: Person, olga: Person, bob: Person
) -> None:
    card = await board.card(assignee_ids=[alice.id], label_ids=[board.labels["Bug"]])
    fetched = await bob.get(board.path)
    mine, same = Board(fetched), Board(fetched)
    before = same.shown()
    await olga.put("/users/me", {"display_name": "Somebody"})
    await alice.put("/users/me", {"display_name": "Somebody else"})
    await alice.put(f"{board.path}/labels/{board.labels['Bug']}", {"name": "Flaw"})
    await olga.put(f"{board.path}/columns/{board.backlog}", {"name": "Later"})
    await alice.delete(f"{board.path}/cards/{card['id']}")
    for event in (await bob.get(f"{board.path}/events?since={fetched['seq']}"))["events"]:
        assert mine.apply(event)
    assert same.shown() == before
    assert mine.shown() != before


# What the document shows.


async def test_the_program_in_the_protocol_shows_what_happens(
    url: str, board: Demo, tmp_path: Path
) -> None:
    """As a file, run as it is, but for the address and the password."""
    for number in range(22):
        await board.card(f"Card {number}")
    text = PROTOCOL.read_text("utf-8").split("\nA board that follows\n", 1)[1]
    source = text.split(".. code-block:: python\n", 1)[1]
    source = textwrap.dedent(re.split(r"\n(?=\S)", source, maxsplit=1)[0])
    source = source.replace("http://127.0.0.1:8080", url).replace("hunter2hunter2", PASSWORD)
    (tmp_path / "board.py").write_text(source)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "board.py"), cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None

    async def shows(begin: str, what: str) -> None:
        while True:
            line = (await process.stdout.readline()).decode()  # type: ignore[union-attr]
            assert line, "it has ended"
            if line.startswith(begin) and what in line:
                return

    try:
        async with asyncio.timeout(20 * pace.stretch()):
            await shows("Backlog 22 ", "'Card 0'")
            card = await board.card("Fix the door", column=board.review)
            await shows("Review 1 ", "'Fix the door'")
            titles: list[str] = []
            while len(titles) < 22:
                await board.maker.put(
                    f"{board.path}/cards/{card['id']}", {"title": f"Again {len(titles)}"}
                )
                titles = await shown_cards(process.stdout, "Backlog")
    finally:
        process.kill()
        await process.wait()


async def shown_cards(output: asyncio.StreamReader, column: str) -> list[str]:
    """The titles of a column, when it is shown next."""
    while not (line := (await output.readline()).decode()).startswith(column):
        assert line, "it has ended"
    titles: list[str] = ast.literal_eval(line[line.index("[") :])
    return titles
