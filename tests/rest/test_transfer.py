"""Cards that go to another project, and copies of them there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.changes.test_pairs import circles
from tests.checkers.mirror import mirror
from tests.conftest import Board, Door, Invite, make_board, until
from tests.locks import waiting
from tests.person import Person
from tests.rest.test_conversations import held
from tests.told import head, told_since
from tests.uploads import upload
from warmdesk.auth.access import Access
from warmdesk.auth.tokens import digest
from warmdesk.desk import Desk
from warmdesk.realtime.channels import project_channel

ROOT, OLGA, ALICE, BOB, EVE = range(1, 6)
GONE = "board.card_deleted"
KEY = "wd_" + "a" * 48


@pytest.fixture
async def other(board: Board, olga: Person, alice: Person) -> Board:
    """Another project, of olga and alice, with bob as a viewer."""
    return await make_board(olga, alice, "Other")


def going(other: Board, action: str = "move", column: int = 0) -> dict[str, Any]:
    return {
        "target_project_slug": other.slug,
        "column_id": column or other.review,
        "action": action,
    }


async def move(person: Person, board: Board, card: Any, other: Board) -> Any:
    return await person.post(f"{board.path}/cards/{card['id']}/transfer", going(other))


# Moved


async def test_a_card_goes_with_all_that_hangs_on_it(
    board: Board, other: Board, alice: Person, bob: Person, person: Invite
) -> None:
    await alice.post(f"{other.path}/columns/{other.review}/cards", {"title": "Before it"})
    card = await board.card(
        "Fix the door",
        description="**bold**",
        priority="high",
        due_date="2026-02-28",
        label_ids=[board.labels["Bug"], board.labels["Design"]],
        assignee_ids=[BOB, ALICE],
        tags=["b", "a"],
    )
    path = f"{board.path}/cards/{card['id']}"
    await alice.post(f"{path}/comments", {"body": "One", "time_spent_minutes": 30})
    await alice.post(f"{path}/checklist", {"body": "Paint"})
    await alice.post(f"{path}/links", {"url": "https://example.org/one"})
    await bob.post(f"{path}/watch", status=200)
    for column in (board.done, board.backlog):
        await alice.patch(f"{path}/move", {"column_id": column})
    was = await bob.get(path)
    here, there = await head(bob, board), await head(bob, other)

    async with (
        mirror(person("root"), other.slug),
        bob.socket() as source,
        bob.socket(other.slug) as target,
    ):
        answer = await alice.request("POST", f"{path}/transfer", going(other))
        moved = answer.body
        told = (await source.next(GONE))["payload"]
        assert (await target.next("board.card_created"))["payload"] == moved
    assert answer.status == 201
    assert answer.headers["Location"] == f"/api/v1{other.path}/cards/{card['id']}"
    assert answer.headers["ETag"] == f'"{moved["version"]}"'
    assert told == {
        "card_id": card["id"],
        "column_id": board.backlog,
        "key": "DEMO-1",
        "moved_to_key": "OTHER-2",
    }
    assert len(await told_since(bob, board, here)) == len(await told_since(bob, other, there)) == 1

    now = await bob.get(f"{other.path}/cards/{card['id']}")
    new = {"key", "card_number", "project_id", "column_id", "column_name", "labels", "position"}
    new |= {"updated_at", "version"}
    assert {k: v for k, v in now.items() if k not in new} == {
        k: v for k, v in was.items() if k not in new
    }
    assert (now["key"], now["project_id"], now["column_id"]) == ("OTHER-2", other.id, other.review)
    assert (now["column_name"], now["position"]) == ("Review", 2000)
    assert now["version"] == was["version"] + 1
    assert now["updated_at"] > was["updated_at"]
    labels = [(label["id"], label["name"]) for label in now["labels"]]
    assert labels == [(other.labels["Bug"], "Bug"), (other.labels["Design"], "Design")]
    await bob.get(path, status=404)
    assert await bob.get(f"{board.path}/cards") == []

    (fact, *earlier) = await bob.get(f"{other.path}/cards/OTHER-2/history")
    assert (fact["event_type"], fact["detail"]) == ("project_moved", "DEMO-1 → OTHER-2")
    assert (fact["user"]["id"], fact["to_column"]) == (ALICE, "Review")
    assert earlier[-1]["event_type"] == "created"
    moves = [each for each in earlier if each["event_type"] == "column_move"]
    assert [each["to_column_id"] for each in moves] == [board.backlog, board.done]
    names = {each[name] for each in earlier for name in ("from_column", "to_column")}
    assert names == {None}, "columns of another project"
    comment = now["comments"][0]
    edited = await alice.put(
        f"{other.path}/cards/OTHER-2/comments/{comment['id']}", {"body": "Edited"}
    )
    assert edited["body"] == "Edited"
    assert (await board.card())["key"] == "DEMO-2", "a number is given once"
    found = await bob.get(f"{other.path}/cards?q=front door")
    assert found == []
    assert [each["id"] for each in await bob.get(f"{other.path}/cards?q=bold")] == [card["id"]]
    assert await bob.get(f"{board.path}/cards?q=bold") == []


@pytest.mark.foul
async def test_every_part_of_a_card_follows_it(
    board: Board, other: Board, alice: Person, connection: Any, desk: Desk
) -> None:
    """All tables that name a project beside a card: whoever makes another one writes it there."""
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    await alice.post(f"{path}/comments", {"body": "One", "time_spent_minutes": 30})
    gone = await alice.post(f"{path}/comments", {"body": "Two"})
    await alice.delete(f"{path}/comments/{gone['id']}")
    await upload(alice, f"{path}/attachments", ("door.txt", b"It is ajar."))
    await alice.post(f"{path}/comments", {"body": "@bob"})
    tables = await connection.fetch(
        "select c.attrelid::regclass::text as name from pg_attribute c"
        " inner join pg_class r on r.oid = c.attrelid and r.relkind = 'r'"
        " where c.attname = 'card_id' and exists (select from pg_attribute p"
        " where p.attrelid = c.attrelid and p.attname = 'project_id') order by 1"
    )
    names = [row["name"] for row in tables]
    assert names == [
        *("attachments", "card_comments", "card_grams", "card_history", "notifications"),
        "time_entries",
    ]
    await move(alice, board, card, other)
    for name in names:
        rows = await connection.fetch(
            f"select project_id from {name} where card_id = $1", card["id"]
        )
        projects = {row["project_id"] for row in rows}
        assert projects == (set() if name == "notifications" else {other.id}), name
    assert await connection.fetchval("select count(*) from card_key_aliases") == 1


async def test_the_key_of_before_leads_to_the_card(
    board: Board, other: Board, alice: Person, bob: Person, olga: Person
) -> None:
    third = await make_board(olga, alice, "Third")
    card = await board.card()
    await move(alice, board, card, other)
    shown = await alice.get(f"{other.path}/cards/OTHER-1")
    for path in (f"{other.path}/cards/demo-1", f"{board.path}/cards/DEMO-1"):
        assert await alice.get(path) == shown
    for path in (f"{third.path}/cards/DEMO-1", f"{board.path}/cards/OTHER-1"):
        await alice.get(path, status=404)
    changed = await alice.put(f"{other.path}/cards/DEMO-1", {"title": "New"})
    assert (changed["key"], changed["title"]) == ("OTHER-1", "New")
    await alice.put(f"{board.path}/cards/DEMO-1", {"title": "No"}, status=404)
    await alice.post(f"{other.path}/cards/DEMO-1/comments", {"body": "Hello"})

    await move(alice, other, card, board)
    for path in ("DEMO-2", "DEMO-1", "OTHER-1"):
        assert (await alice.get(f"{board.path}/cards/{path}"))["key"] == "DEMO-2"
    assert (await alice.get(f"{other.path}/cards/OTHER-1"))["key"] == "DEMO-2"
    await alice.get(f"{other.path}/cards/DEMO-1", status=404)
    await move(alice, board, card, third)
    for path in (f"{third.path}/cards/OTHER-1", f"{board.path}/cards/DEMO-2"):
        assert (await alice.get(path))["key"] == "THIRD-1"

    await olga.delete(f"{third.path}/members/{BOB}")
    refused = await bob.get(f"{board.path}/cards/DEMO-2", status=404)
    assert refused == await bob.get(f"{board.path}/cards/DEMO-9", status=404)
    await alice.delete(f"{third.path}/cards/DEMO-1")
    await alice.get(f"{board.path}/cards/DEMO-2", status=404)
    await olga.delete(f"{third.path}/cards/DEMO-1/permanent")


async def test_a_key_of_one_project_reaches_no_other(
    board: Board, other: Board, alice: Person, person: Invite, connection: Any
) -> None:
    card, second = await board.card(), await board.card()
    await move(alice, board, card, other)
    await connection.execute(
        "insert into api_keys (user_id, name, key_hash, key_prefix, project_id)"
        " values ($1, 'ci', $2, $3, $4)",
        ALICE,
        digest(KEY),
        KEY[:12],
        board.id,
    )
    key = person(api_key=KEY)
    assert (await key.get(f"{board.path}/cards/DEMO-2"))["id"] == second["id"]
    await key.get(f"{board.path}/cards/DEMO-1", status=404)
    refused = await key.post(
        f"{board.path}/cards/{second['id']}/transfer", going(other), status=403
    )
    assert refused["code"] == "key_scope"


async def test_what_was_told_of_it_is_told_no_more_where_it_was(
    board: Board, other: Board, alice: Person, bob: Person, desk: Desk
) -> None:
    column = f"{board.path}/columns/{board.backlog}/cards"
    since = await head(bob, board)
    card = await alice.post(column, {"title": "A secret"}, key="made")
    path = f"{board.path}/cards/{card['id']}"
    await alice.post(f"{path}/comments", {"body": "Another secret"}, key="said")
    async with bob.socket() as socket:
        answer = await alice.request("POST", f"{path}/transfer", going(other), key="went")
        await socket.next(GONE)
        assert "secret" not in str(socket.frames)
    events = await told_since(bob, board, since)
    assert [event["type"] for event in events] == [*["gone"] * (len(events) - 1), GONE]
    room = desk.hub.rooms.get(project_channel(board.id))
    assert room is not None
    assert not [kept for kept in room.tail if b"secret" in kept.body]
    again = await alice.request("POST", column, {"title": "A secret"}, key="made")
    assert again.status == 410
    assert "secret" in str(await told_since(bob, other, 0))
    replay = await alice.request("POST", f"{path}/transfer", going(other), key="went")
    assert (replay.status, replay.body) == (201, answer.body)
    await alice.delete(f"{other.path}/cards/{card['id']}")
    late = await alice.request("POST", f"{path}/transfer", going(other), key="went")
    assert late.status == 410


async def test_who_has_no_access_there_is_taken_from_the_card_and_shown_by_the_present_name(
    board: Board, other: Board, alice: Person, bob: Person, olga: Person, connection: Any
) -> None:
    await olga.put(f"{board.path}/members/{BOB}", {"role": "member"})
    card = await board.card(assignee_ids=[BOB, ALICE, ROOT])
    path = f"{board.path}/cards/{card['id']}"
    await bob.post(f"{path}/watch", status=200)
    await bob.post(f"{path}/comments", {"body": "Hello"})
    await olga.delete(f"{other.path}/members/{BOB}")
    moved = await move(alice, board, card, other)
    assert [user["id"] for user in moved["assignees"]] == [ALICE, ROOT]
    shown = await olga.get(f"{other.path}/cards/{card['id']}")
    assert (shown["watchers"], shown["comments"][0]["user"]["id"]) == ([], BOB)
    async with olga.socket(other.slug) as socket:
        await bob.put("/users/me", {"display_name": "Robert"})
        assert (await socket.next("project.guest_updated"))["payload"]["user_id"] == BOB
    shown = await olga.get(f"{other.path}/cards/{card['id']}")
    assert shown["comments"][0]["user"]["display_name"] == "Robert"
    await bob.get(f"{board.path}/cards/DEMO-1", status=404)


async def test_who_cannot_sign_in_is_taken_from_it(
    board: Board, other: Board, alice: Person, root: Person
) -> None:
    card = await board.card(assignee_ids=[BOB, ALICE])
    await root.put(f"/users/{BOB}", {"is_active": False})
    moved = await move(alice, board, card, other)
    assert [each["id"] for each in moved["assignees"]] == [ALICE]


async def test_whom_its_past_shows_is_a_guest_there(
    board: Board, other: Board, alice: Person, bob: Person, olga: Person, connection: Any
) -> None:
    await olga.put(f"{board.path}/members/{BOB}", {"role": "member"})
    await olga.delete(f"{other.path}/members/{BOB}")
    for what in ("made", "moved", "unsaid"):
        maker = bob if what == "made" else alice
        card = await maker.post(f"{board.path}/columns/{board.backlog}/cards", {"title": what})
        path = f"{board.path}/cards/{card['id']}"
        if what == "moved":
            await bob.put(path, {"column_id": board.done})
        if what == "unsaid":
            said = await bob.post(f"{path}/comments", {"body": "x"})
            await bob.delete(f"{path}/comments/{said['id']}")
        await move(alice, board, card, other)
        gone = "delete from project_guests where project_id = $1 returning user_id"
        assert [row["user_id"] for row in await connection.fetch(gone, other.id)] == [BOB], what


async def test_labels_are_found_by_their_names_whatever_their_case(
    board: Board, other: Board, alice: Person, olga: Person
) -> None:
    ids = {}
    for place, name in (
        (board, "Alike"),
        (other, "ALIKE"),
        *((each, name) for each in (board, other) for name in ("Gone here", "Gone there")),
    ):
        made = await olga.post(f"{place.path}/labels", {"name": name, "color": "#00ff00"})
        ids[place.slug, name] = made["id"]
    mine = [id_ for (slug, _), id_ in ids.items() if slug == board.slug]
    card = await board.card(label_ids=mine)
    await olga.delete(f"{board.path}/labels/{ids[board.slug, 'Gone here']}")
    await olga.delete(f"{other.path}/labels/{ids[other.slug, 'Gone there']}")
    transfer = f"{board.path}/cards/{card['id']}/transfer"
    for action in ("copy", "move"):
        gone = await alice.post(transfer, going(other, action))
        assert [label["name"] for label in gone["labels"]] == ["ALIKE"]


async def test_an_archived_card_stays_archived_and_a_deleted_one_goes_nowhere(
    board: Board, other: Board, alice: Person
) -> None:
    card, gone = await board.card(), await board.card()
    await alice.post(f"{board.path}/cards/{card['id']}/archive", status=200)
    moved = await move(alice, board, card, other)
    assert moved["archived_at"] is not None
    assert await alice.get(f"{other.path}/cards") == []
    back = await alice.delete(f"{other.path}/cards/{card['id']}/archive", status=200)
    assert back["archived_at"] is None
    await alice.delete(f"{board.path}/cards/{gone['id']}")
    await alice.post(f"{board.path}/cards/{gone['id']}/transfer", going(other), status=404)


@pytest.mark.foul
async def test_nobody_is_made_a_guest_of_too_many_projects(
    board: Board, other: Board, alice: Person, bob: Person, olga: Person, connection: Any
) -> None:
    await olga.put(f"{board.path}/members/{BOB}", {"role": "member"})
    card = await board.card()
    await bob.post(f"{board.path}/cards/{card['id']}/comments", {"body": "Hello"})
    await olga.delete(f"{other.path}/members/{BOB}")
    await connection.execute(
        "with made as ("
        " insert into projects (name, slug, key_prefix, created_by_id)"
        " select 'P', 'p' || n, 'P' || n, 2 from generate_series(1, 5000) as n returning id"
        ") insert into project_guests (project_id, user_id) select id, $1 from made",
        BOB,
    )
    before = await alice.get(f"{board.path}/cards/{card['id']}")
    path = f"{board.path}/cards/{card['id']}/transfer"
    assert (await alice.post(path, going(other), status=422))["code"] == "too_many_projects"
    assert await alice.get(f"{board.path}/cards/{card['id']}") == before


# Copied


async def test_a_copy_stands_there_and_the_card_here(
    board: Board, other: Board, alice: Person, bob: Person, olga: Person, person: Invite
) -> None:
    await olga.delete(f"{other.path}/members/{BOB}")
    await olga.post(f"{board.path}/labels", {"name": "Alone", "color": "#00ff00"})
    labels = await alice.get(f"{board.path}/labels")
    card = await board.card(
        "Fix the door",
        description="**bold**",
        priority="high",
        start_date="2026-02-01",
        due_date="2026-02-28",
        assignee_ids=[BOB, ALICE],
        label_ids=[label["id"] for label in labels],
        tags=["b", "a"],
    )
    path = f"{board.path}/cards/{card['id']}"
    await alice.post(f"{path}/comments", {"body": "Here"})
    await alice.post(f"{path}/checklist", {"body": "Paint"})
    before, was = await head(bob, board), await alice.get(path)
    async with mirror(person("root"), other.slug), alice.socket(other.slug) as socket:
        answer = await alice.request("POST", f"{path}/transfer", going(other, "copy"))
        assert (await socket.next("board.card_created"))["payload"] == answer.body
    copy = answer.body
    assert answer.headers["Location"] == f"/api/v1{other.path}/cards/{copy['id']}"
    assert (copy["title"], copy["key"], copy["version"]) == ("Fix the door", "OTHER-1", 1)
    assert (copy["description"], copy["priority"]) == ("**bold**", "high")
    assert (copy["start_date"], copy["due_date"]) == ("2026-02-01", "2026-02-28")
    assert [user["id"] for user in copy["assignees"]] == [ALICE]
    assert [label["name"] for label in copy["labels"]] == ["Bug", "Feature", "Design", "Content"]
    assert [tag["name"] for tag in copy["tags"]] == [tag["name"] for tag in card["tags"]]
    assert (copy["comment_count"], copy["checklist_total"]) == (0, 1)
    assert (await alice.get(path), await head(bob, board)) == (was, before)
    facts = await alice.get(f"{other.path}/cards/{copy['id']}/history")
    assert [fact["event_type"] for fact in facts] == ["created"]


# Refused


@pytest.mark.parametrize("action", ["move", "copy"])
async def test_members_of_both_transfer_what_is_there(
    board: Board,
    other: Board,
    action: str,
    alice: Person,
    bob: Person,
    eve: Person,
    olga: Person,
    connection: Any,
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}/transfer"
    rows = "select id, project_id, version from cards order by id"
    before = await connection.fetch(rows), await connection.fetchval("select count(*) from events")
    await bob.post(path, going(other, action), status=403)
    await eve.post(path, going(other, action), status=404)
    private = (await eve.post("/projects", {"name": "Private"}))["slug"]
    column = (await eve.get(f"/projects/{private}/columns"))[0]["id"]
    for slug in (private, "nothing-there"):
        sent = {"target_project_slug": slug, "column_id": column, "action": action}
        refused = await alice.post(path, sent, status=422)
        assert refused["error"] == "project not found"
        assert refused["fields"] == {"target_project_slug": "unknown"}
    for wrong in (board.done, column, 10**9):
        refused = await alice.post(path, going(other, action, wrong), status=422)
        assert refused["fields"] == {"column_id": "unknown"}
    refused = await alice.post(path, going(board, action, board.done), status=422)
    assert refused["fields"] == {"target_project_slug": "conflicting"}
    await alice.post(f"{other.path}/cards/{card['id']}/transfer", going(board, action), status=404)
    malformed: list[Any] = [
        {},
        {"action": "copy"},
        going(other, "steal"),
        going(other, action) | {"column_id": "1"},
        going(other, action) | {"target_project_slug": None},
        going(other, action) | {"target_project_slug": " "},
        going(other, action) | {"target_project_slug": "x" * 101},
    ]
    for each in malformed:
        await alice.post(path, each, status=400)
    stale = await alice.request("POST", path, going(other, action), headers={"If-Match": '"7"'})
    assert (stale.status, stale.body["current"]["version"]) == (412, 1)
    await olga.put(f"{other.path}/members/{ALICE}", {"role": "viewer"})
    await alice.post(path, going(other, action), status=403)
    await olga.put(f"{other.path}/members/{ALICE}", {"role": "member"})
    await olga.delete(other.path)
    assert (await alice.post(path, going(other, action), status=422))["code"] == "project_archived"
    assert await connection.fetch(rows) == before[0]
    assert "project_moved" not in str(await alice.get(f"{board.path}/cards/{card['id']}/history"))
    told = await connection.fetchval("select count(*) from events where type like 'board.%'")
    assert told == 1


async def test_a_right_that_ended_meanwhile_is_asked_again(
    board: Board,
    other: Board,
    alice: Person,
    olga: Person,
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This process remembers for a moment that alice was a member; the change itself does not."""
    card = await board.card()
    transfer = f"{board.path}/cards/{card['id']}/transfer"
    monkeypatch.setattr(Access, "forget", lambda access: None)
    for place, status, error in (
        (other, 422, "project not found"),
        (board, 404, "project not found"),
    ):
        member = f"{place.path}/members/{ALICE}"
        await alice.post(transfer, going(other, column=10**9), status=422)
        await olga.put(member, {"role": "viewer"})
        await alice.post(transfer, going(other), status=403)
        await olga.delete(member)
        refused = await alice.post(transfer, going(other), status=status)
        assert refused["error"] == error
        await olga.post(f"{place.path}/members", {"username": "alice", "role": "member"})
    assert (ALICE, board.slug, "user") in desk.access.entries
    moved = await alice.post(transfer, going(other))
    assert moved["project_id"] == other.id


@pytest.mark.settings(project_file_bytes=100)
async def test_files_go_where_there_is_room_for_them(
    board: Board, other: Board, alice: Person
) -> None:
    """What a project may hold is not passed by filling another and carrying it over."""
    cards = [await board.card(f"Card {n}") for n in range(2)]
    paths = [f"{board.path}/cards/{card['id']}" for card in cards]
    await upload(alice, f"{paths[0]}/attachments", ("a", b"x" * 90))
    await move(alice, board, cards[0], other)
    file = await upload(alice, f"{paths[1]}/attachments", ("b", b"x" * 90))
    refused = await alice.post(f"{paths[1]}/transfer", going(other), status=413)
    assert refused["code"] == "quota_exceeded"
    assert (await alice.get(paths[1]))["attachments"] == [file]
    copied = await alice.post(f"{paths[1]}/transfer", going(other, "copy"))
    assert copied["attachment_count"] == 0
    await alice.delete(f"{paths[1]}/attachments/{file['id']}")
    await upload(alice, f"{paths[1]}/attachments", ("c", b"x" * 10))
    assert (await move(alice, board, cards[1], other))["attachment_count"] == 1


# At once


@pytest.mark.foul
async def test_cards_that_cross_wait_in_no_circle(
    board: Board, other: Board, alice: Person, olga: Person, person: Invite, twin: Door
) -> None:
    """Each goes there and back, both ways at once, beside moves and comments, and who is alone in
    a project.
    """
    before = circles()
    far = person("alice", url=twin.url)
    cards = [await board.card(f"Card {n}") for n in range(4)]
    column = f"{other.path}/columns/{other.backlog}/cards"
    cards += [await alice.post(column, {"title": f"Card {n}"}) for n in range(4, 8)]

    async def to_and_fro(one: Person, card: Any, here: Board, there: Board) -> None:
        for turn in range(5):
            path = f"{here.path}/cards/{card['id']}"
            target = going(there, column=there.backlog)
            name = f"{here.slug} {card['id']} {turn}"
            done, moved, said, _ = await asyncio.gather(
                one.request("POST", f"{path}/transfer", target),
                olga.request("PATCH", f"{path}/move", {"column_id": here.done}),
                olga.request("POST", f"{path}/comments", {"body": "Hello"}),
                olga.put(here.path, {"name": name}),
            )
            assert done.status == 201, done.body
            assert moved.status in (200, 404), moved.body
            assert said.status in (201, 404), said.body
            here, there = there, here

    await asyncio.gather(
        *(
            to_and_fro((alice, far)[n % 2], card, *((board, other) if n < 4 else (other, board)))
            for n, card in enumerate(cards)
        )
    )
    assert circles() == before
    shown = [await alice.get(f"{each.path}/cards") for each in (board, other)]
    titles = [{card["title"] for card in each} for each in shown]
    assert titles == [{f"Card {n}" for n in range(4, 8)}, {f"Card {n}" for n in range(4)}]
    numbers = [card["card_number"] for each in shown for card in each]
    assert min(numbers) > 4


async def test_a_file_follows_a_card_that_goes_meanwhile(
    board: Board, other: Board, alice: Person, olga: Person, connection: Any
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    said = await olga.post(f"{path}/comments", {"body": "Hello"})
    old = await upload(olga, f"{path}/attachments", ("old", b"old"))
    where = {"owner_type": "card_comment", "owner_id": said["id"]}
    async with held(connection, f"select from cards where id = {card['id']}"):
        moves = asyncio.create_task(move(alice, board, card, other))
        await waiting(connection)
        puts = asyncio.create_task(upload(olga, "/attachments", ("new", b"new"), **where))
        await waiting(connection, 2)
        takes = asyncio.create_task(olga.delete(f"/attachments/{old['id']}"))
        await waiting(connection, 3)
    moved, new, _ = await asyncio.gather(moves, puts, takes)
    assert (moved["attachment_count"], moved["project_id"]) == (1, other.id)
    shown = await olga.get(f"{other.path}/cards/{card['id']}")
    assert (shown["attachment_count"], shown["comments"][0]["attachments"]) == (0, [new])
    rows = await connection.fetch("select id, project_id from attachments")
    assert [tuple(row) for row in rows] == [(new["id"], other.id)]


@pytest.mark.foul
@pytest.mark.parametrize("back", [False, True])
async def test_the_first_project_is_entered_first_whatever_the_way(
    board: Board, other: Board, alice: Person, connection: Any, back: bool
) -> None:
    """Else two who go opposite ways, and two who wait to be alone, wait for each other."""
    here, there = (other, board) if back else (board, other)
    column = f"{here.path}/columns/{here.backlog}/cards"
    card = await alice.post(column, {"title": "A card"})

    async def locks() -> dict[int, bool]:
        """The projects that others enter, and whether they are in."""
        rows = await connection.fetch(
            "select objid, granted from pg_locks where locktype = 'advisory' and classid = 1"
            " and objsubid = 2 and pid <> pg_backend_pid()"
            " and database = (select oid from pg_database where datname = current_database())"
        )
        return {row["objid"]: row["granted"] for row in rows}

    async def waits() -> bool:
        return False in (await locks()).values()

    async with connection.transaction():
        await connection.execute("select hold_project($1)", other.id)
        going_there = asyncio.create_task(move(alice, here, card, there))
        await until(waits)
        assert await locks() == {board.id: True, other.id: False}
    assert (await going_there)["project_id"] == there.id
