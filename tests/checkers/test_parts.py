"""What hangs on cards, and topics: following it equals fetching it, and what differs is found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.checkers import parts
from tests.checkers.mirror import Mirror
from tests.conftest import Board
from tests.person import Person
from tests.posting import hook


@pytest.fixture
async def followed(board: Board, bob: Person) -> AsyncIterator[Mirror]:
    """Bob, who keeps all of the board."""
    await bob.token()
    made = Mirror(bob.client, board.slug, parts=True)
    async with made.following():
        yield made


async def work(board: Board, olga: Person, root: Person, shown_to: Mirror | None = None) -> None:
    """Something of everything, and something of everything deleted: where it is `shown_to` a
    mirror, once that has it. One that is late is never told what is gone.
    """
    alice = board.maker

    async def delete(path: str, person: Person = alice) -> None:
        if shown_to is not None:
            await shown_to.reaches((await alice.get(f"{board.path}?include=labels"))["seq"])
        await person.delete(path)

    cards = [f"{board.path}/cards/{(await board.card(title))['id']}" for title in ("one", "two")]
    for path in cards:
        made = [await alice.post(f"{path}/comments", {"body": body}) for body in ("a", "b")]
        await alice.put(f"{path}/comments/{made[0]['id']}", {"body": "c", "minutes": 5})
        await delete(f"{path}/comments/{made[1]['id']}")
        items = [await alice.post(f"{path}/checklist", {"body": body}) for body in ("x", "y", "z")]
        await alice.put(f"{path}/checklist/{items[0]['id']}", {"is_completed": True})
        await delete(f"{path}/checklist/{items[1]['id']}")
        order = [items[2]["id"], items[0]["id"]]
        await alice.patch(f"{path}/checklist/reorder", {"item_ids": order})
        links = [
            await alice.post(f"{path}/links", {"url": f"https://example.org/{number}"})
            for number in range(2)
        ]
        await delete(f"{path}/links/{links[0]['id']}")
    program = await hook(olga, type="github")
    key = (await alice.get(cards[0]))["key"]
    for title in ("first", "second"):
        item = {"number": 1, "title": f"{key}: {title}", "state": "open"}
        told: dict[str, Any] = {
            "action": "edited",
            "pull_request": {**item, "html_url": "https://example.org/1"},
        }
        told |= {"repository": {"full_name": "a/b"}, "sender": {"login": "a"}}
        await program.post(told, X_GitHub_Event="pull_request")
    await delete(cards[1])
    for title in ("why", "how", "when"):
        topic = await alice.post(f"{board.path}/topics", {"title": title, "body": title * 1000})
        path = f"{board.path}/topics/{topic['id']}"
        replies = [await olga.post(f"{path}/replies", {"body": body}) for body in ("so", "no")]
        await olga.put(f"{path}/replies/{replies[0]['id']}", {"body": "because"})
        await delete(f"{path}/replies/{replies[1]['id']}", olga)
    await alice.put(path, {"is_pinned": True})
    await delete(f"{board.path}/topics/{topic['id'] - 1}")
    await root.post(f"{cards[0]}/comments", {"body": "a guest's"})
    for person in (olga, root):
        await person.put("/users/me", {"display_name": f"{person.username} the Great"})


async def test_following_equals_fetching(
    board: Board, olga: Person, root: Person, followed: Mirror
) -> None:
    await work(board, olga, root)
    await followed.compare()
    assert followed.state.parts is not None
    kinds = followed.state.parts.shown()
    assert {kind: len(things) for kind, things in kinds.items()} == {
        "comments": 2,
        "items": 2,
        "links": 2,
        "topics": 2,
        "replies": 2,
    }
    again = Mirror(followed.client, board.slug, parts=True)
    async with again.following():
        assert again.state.parts is not None
        assert again.state.parts.shown() == kinds


@pytest.mark.foul
@pytest.mark.parametrize("table", ["card_comments", "card_checklist_items", "topic_replies"])
async def test_a_change_without_an_event_is_found(
    table: str, board: Board, olga: Person, root: Person, connection: object, followed: Mirror
) -> None:
    await work(board, olga, root)
    await connection.execute(f"update {table} set body = 'changed'")  # type: ignore[attr-defined]
    with pytest.raises(AssertionError, match="fetched 'changed'"):
        await followed.compare()


@pytest.mark.parametrize("type", sorted(parts.RULES))
async def test_each_rule_is_needed(
    type: str,
    board: Board,
    olga: Person,
    root: Person,
    followed: Mirror,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(parts.RULES, type)
    await work(board, olga, root, followed)
    with pytest.raises(AssertionError, match="the mirror is not the board"):
        await followed.compare()
