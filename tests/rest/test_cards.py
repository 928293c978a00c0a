"""Cards: what may be written of them, by whom, and what everybody hears of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import Board, make_board
from tests.person import Person
from warmdesk.schemas.cards import MAX_LABELS


async def told(wire: Any, kind: str) -> Any:
    return (await wire.next(kind))["payload"]


# Creating


async def test_a_new_card_is_numbered_and_stands_at_the_end(alice: Person, board: Board) -> None:
    first, second = await board.card("One"), await board.card("Two")
    assert (first["key"], second["key"]) == ("DEMO-1", "DEMO-2")
    assert (first["position"], second["position"]) == (1000, 2000)
    assert first["column_name"] == "Backlog"
    assert first["created_by_id"] == alice.id
    assert first["version"] == 1


async def test_a_new_card_is_told_as_it_is_answered_and_read(alice: Person, board: Board) -> None:
    async with alice.socket() as wire:
        card = await board.card(
            "All of it",
            description="**bold**",
            priority="high",
            start_date="2026-02-01",
            due_date="2026-02-28",
            assignee_ids=[alice.id, 2, alice.id],
            label_ids=list(board.labels.values())[:2],
            tags=["#Urgent", " urgent ", "Two Words"],
        )
        assert await told(wire, "board.card_created") == card
    assert card["assignee_id"] == alice.id
    assert [user["id"] for user in card["assignees"]] == [alice.id, 2]
    assert [tag["name"] for tag in card["tags"]] == ["urgent", "two words"]
    assert len(card["labels"]) == 2
    shown = await alice.get(f"{board.path}/cards/{card['id']}")
    assert card.items() <= shown.items()
    assert [shown["created_by"]["id"], shown["watchers"], shown["watching"]] == [
        alice.id,
        [],
        False,
    ]
    assert shown["comments_more"] is False
    for name in ("comments", "checklist", "attachments", "links"):
        assert shown[name] == []


@pytest.mark.parametrize(
    ("place", "order"),
    [
        ({}, ["a", "b", "c", "new"]),
        ({"index": 0}, ["new", "a", "b", "c"]),
        ({"index": 2}, ["a", "b", "new", "c"]),
        ({"index": 99}, ["a", "b", "c", "new"]),
        ({"position": 1500}, ["a", "new", "b", "c"]),
        ({"position": 2000}, ["a", "b", "new", "c"]),
        ({"before": "a"}, ["new", "a", "b", "c"]),
        ({"after": "c"}, ["a", "b", "c", "new"]),
        ({"after": "a"}, ["a", "new", "b", "c"]),
    ],
)
async def test_a_new_card_may_be_given_a_place(
    alice: Person, board: Board, place: dict[str, Any], order: list[str]
) -> None:
    ids = {title: (await board.card(title))["id"] for title in "abc"}
    sent = {
        f"{name}_card_id" if name in ("before", "after") else name: ids.get(value, value)
        for name, value in place.items()
    }
    await board.card("new", **sent)
    cards = await alice.get(f"{board.path}/columns/{board.backlog}/cards")
    assert [card["title"] for card in cards] == order


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"title": ""},
        {"title": "  "},
        {"title": None},
        {"title": 7},
        {"title": "x" * 501},
        {"title": "x\0"},
        {"description": "x" * 100_001},
        {"priority": "urgent"},
        {"due_date": "tomorrow"},
        {"due_date": "2026-02-30"},
        {"due_date": "2026-1-2"},
        {"due_date": "2026-01-02 nonsense"},
        {"due_date": "2026-01-02T25:00:00Z"},
        {"start_date": 20260101},
        {"assignee_ids": "3"},
        {"assignee_ids": [0]},
        {"assignee_ids": list(range(1, 102))},
        {"label_ids": [True]},
        {"label_ids": list(range(1, MAX_LABELS + 2))},
        {"tags": ["#"]},
        {"tags": [" "]},
        {"tags": ["x" * 101]},
        {"tags": "urgent"},
        {"tags": ["t"] * 101},
        {"index": -1},
        {"position": "first"},
        {"index": 0, "position": 3},
        {"before_card_id": 1, "after_card_id": 1},
    ],
)
async def test_what_is_malformed_makes_no_card(
    alice: Person, board: Board, wrong: dict[str, Any]
) -> None:
    body = wrong if "title" in wrong or not wrong else {"title": "T"} | wrong
    await alice.post(f"{board.path}/columns/{board.backlog}/cards", body, status=400)
    assert await alice.get(f"{board.path}/cards") == []


@pytest.mark.parametrize(
    "impossible",
    [
        {"assignee_ids": [5]},
        {"assignee_id": 999},
        {"label_ids": [999]},
        {"start_date": "2026-02-02", "due_date": "2026-02-01"},
        {"before_card_id": 999},
        {"after_card_id": 999},
    ],
)
async def test_what_cannot_be_makes_no_card(
    alice: Person, board: Board, impossible: dict[str, Any]
) -> None:
    body = {"title": "T"} | impossible
    await alice.post(f"{board.path}/columns/{board.backlog}/cards", body, status=422)
    assert (await board.card("Next"))["card_number"] == 1


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ({"assignee_id": 999}, "assignee_id"),
        ({"assignee_ids": [999]}, "assignee_ids"),
        ({"assignee_id": 3, "assignee_ids": [999]}, "assignee_ids"),
    ],
)
async def test_who_cannot_be_assigned_is_refused_by_the_name_that_was_sent(
    alice: Person, board: Board, sent: dict[str, Any], named: str
) -> None:
    card = await board.card()
    for refused in (
        await alice.put(f"{board.path}/cards/{card['id']}", sent, status=422),
        await alice.post(
            f"{board.path}/columns/{board.backlog}/cards", {"title": "T"} | sent, status=422
        ),
    ):
        assert list(refused["fields"]) == [named]
        assert refused["error"].startswith(f"{named}: ")


async def test_a_date_is_kept_as_it_was_written(board: Board) -> None:
    for text in ("2026-05-01", "2026-05-01T23:59:59-11:00", "2026-05-01T00:30:00.5+14:00"):
        assert (await board.card(due_date=text))["due_date"] == "2026-05-01"


async def test_a_global_admin_may_be_assigned_without_being_a_member(board: Board) -> None:
    assert (await board.card(assignee_id=1))["assignee_id"] == 1


async def test_the_same_key_makes_one_card(alice: Person, board: Board) -> None:
    path = f"{board.path}/columns/{board.backlog}/cards"
    answers = await asyncio.gather(
        *(alice.request("POST", path, {"title": "Once"}, key="once") for _ in range(50))
    )
    assert {answer.status for answer in answers} == {201}
    assert len({str(answer.body) for answer in answers}) == 1
    assert sum("Idempotent-Replay" in answer.headers for answer in answers) == 49
    assert len(await alice.get(f"{board.path}/cards")) == 1
    await alice.post(path, {"title": "Another"}, key="once", status=422)


async def test_a_refused_card_leaves_its_key_free(alice: Person, board: Board) -> None:
    path = f"{board.path}/columns/{board.backlog}/cards"
    await alice.post(path, {"title": "T", "label_ids": [999]}, key="k", status=422)
    await alice.post(path, {"title": "T"}, key="k")


async def test_two_hundred_cards_at_once_are_numbered_without_a_gap(
    alice: Person, olga: Person, board: Board
) -> None:
    columns = (board.backlog, board.progress, board.review, board.done)
    limit = asyncio.Semaphore(20)

    async def make(n: int) -> Any:
        async with limit:
            path = f"{board.path}/columns/{columns[n % 4]}/cards"
            return await (alice, olga)[n % 2].post(path, {"title": f"Card {n}"})

    cards = await asyncio.gather(*map(make, range(200)))
    assert sorted(card["card_number"] for card in cards) == list(range(1, 201))
    for column in columns:
        positions = sorted(card["position"] for card in cards if card["column_id"] == column)
        assert positions == [1000 * n for n in range(1, 51)]


# Reading


async def test_a_card_is_named_by_id_or_by_key_in_any_case(alice: Person, board: Board) -> None:
    card = await board.card()
    for ref in (card["id"], "DEMO-1", "demo-1", "Demo-1", "demo-01"):
        assert (await alice.get(f"{board.path}/cards/{ref}"))["id"] == card["id"]
    for ref in (999, "DEMO-2", "OTHER-1", "DEMO-", "DEMO-x", "1-1", "%00", "9" * 30, "1e3", "x"):
        await alice.get(f"{board.path}/cards/{ref}", status=404)


async def test_a_card_of_another_project_is_not_there(
    alice: Person, olga: Person, board: Board
) -> None:
    other = await make_board(olga, alice, "Other")
    card = await other.card(tags=["t"])
    path = f"{board.path}/cards/{card['id']}"
    await alice.get(path, status=404)
    await alice.get(f"{board.path}/cards/{card['key']}", status=404)
    await alice.put(path, {"title": "Mine"}, status=404)
    await alice.delete(path, status=404)
    await alice.patch(f"{path}/move", {"column_id": board.done}, status=404)
    await alice.patch(f"{path}/reorder", {"index": 0}, status=404)
    await alice.get(f"{path}/history", status=404)
    await olga.post(f"{path}/restore", {}, status=404)
    await alice.get(f"{board.path}/columns/{other.backlog}/cards", status=404)
    await alice.post(f"{board.path}/columns/{other.backlog}/cards", {"title": "T"}, status=404)
    assert await alice.get(f"{other.path}/cards/{card['id']}") == await alice.get(
        f"{other.path}/cards/{card['key']}"
    )


async def test_the_etag_of_a_card_is_its_version(alice: Person, board: Board) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    assert (await alice.request("GET", path)).headers["ETag"] == '"1"'
    await alice.put(path, {"title": "New"})
    assert (await alice.request("GET", path)).headers["ETag"] == '"2"'


async def pages(person: Person, path: str) -> list[list[Any]]:
    """Every page of a list, by its links."""
    found = []
    while path:
        answer = await person.request("GET", path)
        assert answer.status == 200, answer.body
        found.append(answer.body)
        link = answer.headers.get("Link", "")
        path = link.partition(";")[0].strip("<>").removeprefix("/api/v1")
    return found


async def test_a_column_is_read_in_pages_that_miss_nothing(alice: Person, board: Board) -> None:
    for n in range(7):
        await board.card(f"Card {n}", **({"index": 0} if n % 2 else {}))
    path = f"{board.path}/columns/{board.backlog}/cards"
    whole = await alice.get(path)
    read = await pages(alice, f"{path}?limit=3")
    assert [len(page) for page in read] == [3, 3, 1]
    assert [card for page in read for card in page] == whole
    assert len(await pages(alice, f"{path}?limit=7")) == 1


async def test_a_page_is_followed_by_the_next_while_cards_move(alice: Person, board: Board) -> None:
    for n in range(6):
        await board.card(f"Card {n}")
    path = f"{board.path}/columns/{board.backlog}/cards"
    first = await alice.request("GET", f"{path}?limit=3")
    await alice.patch(f"{board.path}/cards/DEMO-2/move", {"column_id": board.done})
    link = first.headers["Link"].partition(";")[0].strip("<>").removeprefix("/api/v1")
    assert [card["title"] for card in await alice.get(link)] == ["Card 3", "Card 4", "Card 5"]


async def test_closed_and_archived_cards_may_be_left_out(
    alice: Person, board: Board, connection: Any
) -> None:
    opened, closed, archived = [await board.card(title) for title in ("open", "closed", "archived")]
    await alice.put(f"{board.path}/cards/{closed['id']}", {"closed": True})
    await alice.delete(f"{board.path}/cards/{archived['id']}")
    await connection.execute(
        "update cards set deleted_at = null, archived_at = now() where id = $1", archived["id"]
    )
    path = f"{board.path}/columns/{board.backlog}/cards"

    async def titles(query: str) -> list[str]:
        return [card["title"] for card in await alice.get(path + query)]

    assert await titles("") == ["open", "closed"]
    assert await titles("?include_closed=false") == ["open"]
    assert await titles("?include_archived=true") == ["open", "closed", "archived"]
    moved = await alice.patch(f"{board.path}/cards/{opened['id']}/reorder", {"index": 5})
    assert moved["position"] == 3000


@pytest.mark.parametrize(
    "query",
    [
        "cursor=x",
        "limit=many",
        "include_closed=perhaps",
    ],
)
async def test_a_column_refuses_what_is_no_query(alice: Person, board: Board, query: str) -> None:
    await alice.get(f"{board.path}/columns/{board.backlog}/cards?{query}", status=400)


async def test_limits_out_of_range_are_brought_into_it(alice: Person, board: Board) -> None:
    await board.card()
    await board.card()
    for path in (f"{board.path}/cards", f"{board.path}/columns/{board.backlog}/cards"):
        assert len(await alice.get(f"{path}?limit=0")) == 1
        assert len(await alice.get(f"{path}?limit=100000")) == 2


async def test_cards_are_found_by_every_filter(alice: Person, board: Board) -> None:
    bug = board.labels["Bug"]
    await board.card("A 50% thing", due_date="2026-01-10", assignee_id=alice.id)
    await board.card("The Door", board.done, label_ids=[bug], description="squeaks")
    await board.card("Third", due_date="2026-02-01", assignee_id=2)
    await alice.put(f"{board.path}/cards/DEMO-3", {"closed": True})

    async def found(query: str) -> list[int]:
        cards = await alice.get(f"{board.path}/cards?{query}")
        return [card["card_number"] for card in cards]

    assert await found("") == [1, 2, 3]
    assert await found(f"column_id={board.done}") == [2]
    assert await found("assignee=me") == [1]
    assert await found("assignee=2") == [3]
    assert await found(f"label={bug}") == await found("label=bug") == [2]
    assert await found("q=door") == await found("q=SQUEAKS") == [2]
    assert await found("q=50%25") == [1]
    assert await found("q=%25") == [1]
    assert await found("q=_") == []
    assert await found("q=demo-3") == [3]
    assert await found("closed=true") == [3]
    assert await found("closed=false") == [1, 2]
    assert await found("due_before=2026-01-10") == []
    assert await found("due_before=2026-01-11") == [1]
    assert await found("closed=false&assignee=me&q=thing") == [1]
    for wrong in (
        "assignee=alice",
        "column_id=x",
        "due_before=soon",
        "cursor=x",
        "q=%00",
        "label=",
    ):
        await alice.get(f"{board.path}/cards?{wrong}", status=400)
    read = await pages(alice, f"{board.path}/cards?limit=2")
    assert [card["card_number"] for page in read for card in page] == [1, 2, 3]


# Writing


async def test_only_what_is_sent_and_differs_is_changed(alice: Person, board: Board) -> None:
    card = await board.card("Old", description="text", priority="low", due_date="2026-01-01")
    path = f"{board.path}/cards/{card['id']}"
    async with alice.socket() as wire:
        shown = await alice.put(path, {"title": "New", "priority": "low", "closed": False})
        payload = await told(wire, "board.card_updated")
    assert payload["changes"] == ["title"]
    assert (payload["title"], payload["version"]) == ("New", 2)
    assert (shown["description"], shown["due_date"]) == ("text", "2026-01-01")
    assert {k: v for k, v in payload.items() if k != "changes"}.items() <= shown.items()
    assert shown == await alice.get(path)


async def test_everything_may_be_changed_at_once(alice: Person, board: Board) -> None:
    card = await board.card(
        "Old", assignee_ids=[2], label_ids=[board.labels["Bug"]], tags=["a", "b"]
    )
    async with alice.socket() as wire:
        await alice.put(
            f"{board.path}/cards/{card['id']}",
            {
                "title": "New",
                "description": "more",
                "priority": "critical",
                "start_date": "2026-01-01",
                "due_date": "2026-01-02",
                "closed": True,
                "time_spent_minutes": 90,
                "assignee_ids": [alice.id],
                "label_ids": [board.labels["Feature"]],
                "tags": ["b", "c"],
                "column_id": board.done,
            },
        )
        moved, updated = (
            await told(wire, "board.card_moved"),
            await told(wire, "board.card_updated"),
        )
    assert moved["card"].items() <= updated.items()
    assert (moved["from_column_id"], moved["to_column_id"]) == (board.backlog, board.done)
    assert moved["version"] == updated["version"] == 2
    assert updated["changes"] == [
        "title",
        "description",
        "priority",
        "start_date",
        "due_date",
        "closed",
        "time_spent_minutes",
        "assignees",
        "labels",
        "tags",
    ]
    assert updated["tags"][0] == card["tags"][1]
    facts = await alice.get(f"{board.path}/cards/{card['id']}/history")
    assert [fact["event_type"] for fact in reversed(facts)] == [
        "created",
        "title_changed",
        "description_changed",
        "priority_changed",
        "start_date_changed",
        "due_date_changed",
        "closed",
        "time_logged",
        "unassigned",
        "assigned",
        "label_removed",
        "label_added",
        "tag_removed",
        "tag_added",
        "column_move",
    ]
    move = facts[0]
    assert (move["from_column"], move["to_column"]) == ("Backlog", "Done")
    assert move["user"]["username"] == "alice"
    title = facts[-2]
    assert (title["field"], title["from_value"], title["to_value"]) == ("title", "Old", "New")


async def test_null_and_nothing_clear_a_field(alice: Person, board: Board) -> None:
    for nothing in (None, ""):
        card = await board.card(
            description="text",
            priority="high",
            start_date="2026-01-01",
            due_date="2026-01-02",
            assignee_id=alice.id,
            label_ids=[board.labels["Bug"]],
            tags=["t"],
        )
        texts = ("description", "priority", "start_date", "due_date")
        lists = ("assignee_id", "label_ids", "tags")
        fields = dict.fromkeys(texts, nothing) | dict.fromkeys(lists)
        shown = await alice.put(f"{board.path}/cards/{card['id']}", fields)
        assert [shown[name] for name in texts] == ["", "none", None, None]
        assert (shown["assignee_id"], shown["assignees"], shown["labels"], shown["tags"]) == (
            None,
            [],
            [],
            [],
        )


async def test_what_does_not_differ_is_no_event_and_no_version(alice: Person, board: Board) -> None:
    fields: dict[str, Any] = {
        "title": "Same",
        "description": "text",
        "priority": "high",
        "start_date": "2026-01-01",
        "due_date": "2026-01-02",
        "assignee_ids": [2, alice.id],
        "label_ids": [board.labels["Bug"], board.labels["Design"]],
        "tags": ["one", "two"],
    }
    card = await board.card(**fields)
    path = f"{board.path}/cards/{card['id']}"
    before = (await alice.get(f"{board.path}/events?since=0"))["seq"]
    again = fields | {
        "closed": False,
        "time_spent_minutes": 0,
        "column_id": board.backlog,
        "tags": ["#TWO", "one"],
        "assignee_ids": [alice.id, 2],
    }
    for body in (again, {}, {"unknown": 1}):
        assert card.items() <= (await alice.put(path, body)).items()
    assert (await alice.get(f"{board.path}/events?since=0"))["seq"] == before
    assert [fact["event_type"] for fact in await alice.get(f"{path}/history")] == ["created"]


async def test_closing_has_a_time_and_opening_again_forgets_it(alice: Person, board: Board) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    closed = await alice.put(path, {"closed": True})
    assert closed["closed_at"] is not None
    assert (await alice.put(path, {"title": "T", "closed": True}))["closed_at"] == closed[
        "closed_at"
    ]
    assert (await alice.put(path, {"closed": False}))["closed_at"] is None
    facts = await alice.get(f"{path}/history")
    assert [fact["event_type"] for fact in facts][:3] == ["reopened", "title_changed", "closed"]


async def test_a_due_date_is_never_before_the_start(alice: Person, board: Board) -> None:
    card = await board.card(start_date="2026-02-01", due_date="2026-02-10")
    path = f"{board.path}/cards/{card['id']}"
    await alice.put(path, {"due_date": "2026-01-31"}, status=422)
    await alice.put(path, {"start_date": "2026-02-11"}, status=422)
    await alice.put(path, {"start_date": "2026-02-11", "due_date": "2026-02-11"})


async def test_time_set_by_hand_is_not_below_what_was_logged(
    alice: Person, board: Board, connection: Any
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    await alice.put(path, {"time_spent_minutes": 30})
    await connection.execute("update cards set manual_minutes = 10 where id = $1", card["id"])
    await alice.put(path, {"time_spent_minutes": 19}, status=422)
    assert (await alice.put(path, {"time_spent_minutes": 20}))["time_spent_minutes"] == 20
    await alice.put(path, {"time_spent_minutes": -1}, status=400)


@pytest.mark.parametrize(
    "impossible",
    [{"assignee_ids": [5]}, {"label_ids": [999]}, {"column_id": 999}, {"assignee_id": 999}],
)
async def test_what_cannot_be_changes_nothing_of_a_card(
    alice: Person, board: Board, impossible: dict[str, Any]
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    await alice.put(path, {"title": "New", "tags": ["new"]} | impossible, status=422)
    assert card.items() <= (await alice.get(path)).items()


@pytest.mark.foul
async def test_a_card_may_have_every_label_of_its_project(
    alice: Person, board: Board, connection: Any
) -> None:
    rows = await connection.fetch(
        "insert into labels (project_id, name, color)"
        " select $1, 'Label ' || n, '#ef4444' from generate_series(5, 500) as n returning id",
        board.id,
    )
    labels = [*board.labels.values(), *(row["id"] for row in rows)]
    card = await board.card(label_ids=labels[:-1])
    changed = await alice.put(f"{board.path}/cards/{card['id']}", {"label_ids": labels})
    assert {label["id"] for label in changed["labels"]} == set(labels)
    assert len(labels) == 500


async def test_labels_of_another_project_are_unknown(
    alice: Person, olga: Person, board: Board
) -> None:
    other = await make_board(olga, alice, "Other")
    card = await board.card()
    for label in other.labels.values():
        await alice.put(f"{board.path}/cards/{card['id']}", {"label_ids": [label]}, status=422)


async def test_two_people_who_write_different_fields_both_win(
    alice: Person, olga: Person, board: Board
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    await asyncio.gather(
        *(
            person.put(path, {field: f"{field} {n}"})
            for n in range(5)
            for person, field in ((alice, "title"), (olga, "description"))
        )
    )
    shown = await alice.get(path)
    assert shown["title"].startswith("title ")
    assert shown["description"].startswith("description ")
    assert shown["version"] == 11


async def test_a_stale_version_is_refused_with_the_present_card(
    alice: Person, board: Board
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    await alice.put(path, {"title": "Two"}, if_match=1)
    for method, where, body in (
        ("PUT", path, {"title": "Three"}),
        ("PATCH", f"{path}/move", {"column_id": board.done}),
        ("PATCH", f"{path}/reorder", {"index": 0}),
        ("DELETE", path, None),
    ):
        answer = await alice.request(method, where, body, if_match=1)
        assert answer.status == 412
        assert answer.body["code"] == "version_conflict"
        assert answer.body["current"]["title"] == "Two"
    for where, body in ((path, {"title": "Three"}), (f"{path}/move", {"column_id": board.done})):
        answer = await alice.request(
            "PUT" if where == path else "PATCH", where, body | {"version": 1}
        )
        assert answer.status == 409
        assert answer.body["current"]["version"] == 2
    assert (await alice.put(path, {"title": "Three", "version": 2}))["version"] == 3
    several = {"headers": {"If-Match": '"1", W/"3"'}}
    assert (await alice.put(path, {"title": "Four"}, **several))["version"] == 4
    await alice.put(path, {"title": "Five"}, **several, status=412)
    await alice.delete(path, if_match=4)


# Deleting


async def test_a_deleted_card_is_gone_everywhere_and_its_text_from_the_feed(
    alice: Person, olga: Person, board: Board
) -> None:
    kept, card = await board.card("Kept"), await board.card("Secret plan")
    path = f"{board.path}/cards/{card['id']}"
    async with alice.socket() as wire:
        await alice.delete(path)
        payload = await told(wire, "board.card_deleted")
    assert payload == {"card_id": card["id"], "column_id": board.backlog, "key": "DEMO-2"}
    await alice.delete(path, status=404)
    await alice.get(path, status=404)
    await alice.get(f"{board.path}/cards/DEMO-2", status=404)
    await alice.put(path, {"title": "T"}, status=404)
    await alice.get(f"{path}/history", status=404)
    await alice.patch(f"{path}/reorder", {"index": 0}, status=404)
    await alice.patch(
        f"{board.path}/cards/{kept['id']}/reorder", {"before_card_id": card["id"]}, status=422
    )
    replay = await alice.get(f"{board.path}/events?since=0")
    assert "Secret plan" not in str(replay)
    assert (await board.card("Next"))["key"] == "DEMO-3"


async def test_a_project_admin_brings_a_card_back(
    alice: Person, olga: Person, board: Board
) -> None:
    card = await board.card("Back", tags=["t"])
    await board.card("Other")
    path = f"{board.path}/cards/{card['id']}"
    await alice.delete(path)
    await alice.post(f"{path}/restore", {}, status=403)
    assert [each["key"] for each in await olga.get(f"{board.path}/cards/deleted")] == ["DEMO-1"]
    async with alice.socket() as wire:
        back = await olga.post(f"{path}/restore", {}, status=200)
        assert await told(wire, "board.card_restored") == back
    assert (back["position"], back["column_id"], back["version"]) == (3000, board.backlog, 3)
    await olga.post(f"{path}/restore", {}, status=404)
    assert await olga.get(f"{board.path}/cards/deleted") == []
    facts = await alice.get(f"{path}/history")
    assert [fact["event_type"] for fact in facts] == ["restored", "deleted", "created"]


async def test_a_card_comes_back_to_the_first_column_when_its_own_is_gone(
    alice: Person, olga: Person, board: Board
) -> None:
    card = await board.card("Lost", board.review)
    await alice.delete(f"{board.path}/cards/{card['id']}")
    await olga.delete(f"{board.path}/columns/{board.review}")
    back = await olga.post(f"{board.path}/cards/DEMO-1/restore", {}, status=200)
    assert back["column_id"] == board.backlog


async def test_deleted_cards_are_listed_the_last_one_first(
    alice: Person, olga: Person, board: Board
) -> None:
    for n in range(5):
        card = await board.card(f"Card {n}")
        await alice.delete(f"{board.path}/cards/{card['id']}")
    await alice.get(f"{board.path}/cards/deleted", status=403)
    read = await pages(olga, f"{board.path}/cards/deleted?limit=2")
    assert [[card["card_number"] for card in page] for page in read] == [[5, 4], [3, 2], [1]]
    await olga.get(f"{board.path}/cards/deleted?cursor=x", status=400)


async def test_a_history_is_read_in_pages(alice: Person, board: Board) -> None:
    card = await board.card("0")
    for n in range(1, 5):
        await alice.put(f"{board.path}/cards/{card['id']}", {"title": str(n)})
    read = await pages(alice, f"{board.path}/cards/{card['id']}/history?limit=2")
    assert [[fact["detail"] for fact in page] for page in read] == [
        ["3 → 4", "2 → 3"],
        ["1 → 2", "0 → 1"],
        ["0"],
    ]


# Who may


async def test_viewers_read_and_do_not_write(alice: Person, bob: Person, board: Board) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    column = f"{board.path}/columns/{board.backlog}/cards"
    for where in (path, column, f"{board.path}/cards", f"{path}/history"):
        await bob.get(where)
    await bob.get(f"{board.path}/cards/deleted", status=403)
    await bob.post(column, {"title": "T"}, status=403)
    await bob.put(path, {"title": "T"}, status=403)
    await bob.patch(f"{path}/move", {"column_id": board.done}, status=403)
    await bob.patch(f"{path}/reorder", {"index": 0}, status=403)
    await bob.delete(path, status=403)
    await bob.post(f"{path}/restore", {}, status=403)


async def test_strangers_find_nothing(eve: Person, board: Board) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    column = f"{board.path}/columns/{board.backlog}/cards"
    for where in (path, column, f"{board.path}/cards", f"{path}/history"):
        await eve.get(where, status=404)
    await eve.post(column, {"title": "T"}, status=404)
    await eve.put(path, {"title": "T"}, status=404)
    await eve.patch(f"{path}/move", {"column_id": board.done}, status=404)
    await eve.delete(path, status=404)


async def test_a_global_admin_writes_without_being_a_member(root: Person, board: Board) -> None:
    path = f"{board.path}/columns/{board.backlog}/cards"
    card = await root.post(path, {"title": "From above", "assignee_id": 3})
    assert card["created_by_id"] == 1


async def test_an_archived_project_is_read_only(alice: Person, olga: Person, board: Board) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    await olga.put(board.path, {"is_archived": True})
    for call in (
        alice.post(f"{board.path}/columns/{board.backlog}/cards", {"title": "T"}, status=422),
        alice.put(path, {"title": "T"}, status=422),
        alice.patch(f"{path}/move", {"column_id": board.done}, status=422),
        alice.patch(f"{path}/reorder", {"index": 0}, status=422),
        alice.delete(path, status=422),
        olga.post(f"{path}/restore", {}, status=422),
    ):
        assert (await call)["code"] == "project_archived"
    await alice.get(path)


async def test_the_tab_that_wrote_is_named_in_the_event(alice: Person, board: Board) -> None:
    async with alice.socket() as wire:
        await alice.post(
            f"{board.path}/columns/{board.backlog}/cards",
            {"title": "T"},
            headers={"X-Client-Id": "tab-7"},
        )
        frame = await wire.next("board.card_created")
    assert (frame["client_id"], frame["actor_id"]) == ("tab-7", alice.id)
