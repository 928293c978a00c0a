"""Comments: written, edited, deleted, read in pages; seen live, and counted on the card."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.conftest import Board, Door
from tests.person import Person
from tests.told import head
from warmdesk.rest import comments

TEXTS = ("👩‍👩‍👧", "שלום עולם", "e\u0301", "\u202eabc", "  spaces around  ", "a\tb\nc", "\x01")


@pytest.fixture
async def path(board: Board) -> str:
    card = await board.card()
    return f"{board.path}/cards/{card['id']}/comments"


async def test_a_comment_is_seen_live_in_the_list_and_on_the_card(
    board: Board, path: str, alice: Person, bob: Person, twin: Door, person: Any
) -> None:
    far = person("bob", url=twin.url)
    async with far.socket("demo") as socket:
        made = await alice.post(path, {"body": "The hinge is worn."})
        told = await socket.next("board.comment_created")
        counted = (await socket.next("board.card_updated"))["payload"]
    assert told["payload"] == made
    assert (made["user"]["id"], made["user_id"], made["is_edited"]) == (alice.id, alice.id, False)
    assert (counted["changes"], counted["comment_count"]) == (["comment_count"], 1)
    assert (counted["version"], told["seq"] + 1) == (1, (await bob.get(board.path))["seq"])
    assert await bob.get(path) == [made]
    card = await bob.get(path.removesuffix("/comments"))
    assert (card["comments"], card["comments_more"], card["comment_count"]) == ([made], False, 1)
    history = await bob.get(path.replace("/comments", "/history"))
    assert (history[0]["event_type"], history[0]["detail"]) == ("comment_added", "")
    answer = await alice.request("POST", path, {"body": "Again"})
    assert answer.headers["Location"] == f"/api/v1{path}/{answer.body['id']}"
    assert answer.headers["ETag"] == '"1"'


async def test_a_card_is_named_by_its_key_too(board: Board, path: str, alice: Person) -> None:
    made = await alice.post(f"{board.path}/cards/demo-1/comments", {"body": "By its key"})
    assert await alice.get(f"{board.path}/cards/DEMO-1/comments") == [made]
    await alice.put(f"{board.path}/cards/DEMO-1/comments/{made['id']}", {"body": "Another"})
    await alice.delete(f"{board.path}/cards/DEMO-1/comments/{made['id']}")


@pytest.mark.parametrize("text", [*TEXTS, "x" * 20_000, "👍" * 20_000])
async def test_texts_come_back_as_they_were_sent(path: str, alice: Person, text: str) -> None:
    made = await alice.post(path, {"body": text})
    assert made["body"] == text
    assert [each["body"] for each in await alice.get(path)] == [text]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "required"),
        ({"body": ""}, "blank"),
        ({"body": "", "time_spent_minutes": 0}, "blank"),
        ({"body": " \n"}, "blank"),
        ({"body": "\u00a0"}, "blank"),
        ({"body": 5}, "bad_format"),
        ({"body": "x" * 20_001}, "too_long"),
    ],
)
async def test_what_is_no_comment_is_refused(
    path: str, alice: Person, body: Any, code: str
) -> None:
    assert (await alice.post(path, body, status=400))["fields"] == {"body": code}
    assert await alice.get(path) == []


async def test_only_its_author_edits_a_comment(
    board: Board, path: str, alice: Person, olga: Person, bob: Person
) -> None:
    made = await alice.post(path, {"body": "One"})
    one = f"{path}/{made['id']}"
    await olga.put(one, {"body": "Two"}, status=403)
    await bob.put(one, {"body": "Two"}, status=403)
    async with bob.socket("demo") as socket:
        edited = await alice.put(one, {"body": "Two"})
        assert (await socket.next("board.comment_updated"))["payload"] == edited
        seq = await head(bob, board)
        assert (await alice.put(one, {"body": "Two"})) == edited
        assert await head(bob, board) == seq
    assert (edited["body"], edited["is_edited"], edited["version"]) == ("Two", True, 2)


async def test_an_old_version_is_a_conflict(path: str, alice: Person) -> None:
    one = f"{path}/{(await alice.post(path, {'body': 'One'}))['id']}"
    await alice.put(one, {"body": "Two", "version": 1})
    refused = await alice.put(one, {"body": "Three", "version": 1}, status=409)
    assert (refused["code"], refused["current"]["body"]) == ("version_conflict", "Two")
    await alice.put(one, {"body": "Three"}, if_match=1, status=412)
    await alice.delete(one, if_match=1, status=412)
    await alice.put(one, {"body": "Three"}, if_match=2)
    await alice.delete(one, if_match=3)


async def test_its_author_and_project_admins_delete_a_comment(
    board: Board, path: str, alice: Person, olga: Person, bob: Person, root: Person
) -> None:
    for deleter in (alice, olga, root):
        one = f"{path}/{(await alice.post(path, {'body': 'A secret'}))['id']}"
        await bob.delete(one, status=403)
        async with bob.socket("demo") as socket:
            await deleter.delete(one)
            told = (await socket.next("board.comment_deleted"))["payload"]
            counted = (await socket.next("board.card_updated"))["payload"]
        assert told == {"comment_id": int(one.rpartition("/")[2]), "card_id": counted["id"]}
        assert counted["comment_count"] == 0
        await deleter.delete(one, status=404)
        await alice.put(one, {"body": "Back"}, status=404)
    theirs = await olga.post(path, {"body": "Olga's"})
    await alice.delete(f"{path}/{theirs['id']}", status=403)
    assert await bob.get(path) == [theirs]


async def test_who_left_the_project_edits_nothing(
    board: Board, path: str, alice: Person, olga: Person
) -> None:
    one = f"{path}/{(await alice.post(path, {'body': 'One'}))['id']}"
    await olga.delete(f"{board.path}/members/{alice.id}")
    await alice.put(one, {"body": "Two"}, status=404)
    await alice.delete(one, status=404)
    (shown,) = await olga.get(path)
    assert (shown["body"], shown["user"]["username"]) == ("One", "alice")


async def test_a_comment_is_found_on_its_own_card_alone(
    board: Board, path: str, alice: Person, olga: Person, eve: Person
) -> None:
    one = (await alice.post(path, {"body": "One"}))["id"]
    other = await board.card("Another")
    project = (await olga.post("/projects", {"name": "Elsewhere"}))["slug"]
    column = (await olga.get(f"/projects/{project}"))["columns"][0]["id"]
    away = await olga.post(f"/projects/{project}/columns/{column}/cards", {"title": "Away"})
    head = (await olga.get(board.path))["seq"]
    number = path.split("/")[-2]
    for wrong in (
        f"{board.path}/cards/{other['id']}/comments/{one}",
        f"/projects/{project}/cards/{away['id']}/comments/{one}",
        f"/projects/{project}/cards/{number}/comments/{one}",
    ):
        await olga.put(wrong, {"body": "Mine"}, status=404)
        await olga.delete(wrong, status=404)
    await olga.get(f"/projects/{project}/cards/{number}/comments", status=404)
    await olga.post(f"/projects/{project}/cards/{number}/comments", {"body": "x"}, status=404)
    await eve.get(path, status=404)
    await eve.post(path, {"body": "x"}, status=404)
    assert (await olga.get(board.path))["seq"] == head
    assert len((await olga.get(f"/projects/{project}/events?since=0"))["events"]) == 1


async def test_a_deleted_card_and_an_archived_project_take_no_comments(
    board: Board, path: str, alice: Person, olga: Person
) -> None:
    one = f"{path}/{(await alice.post(path, {'body': 'One'}))['id']}"
    await olga.delete(board.path)
    for refused in (
        await alice.post(path, {"body": "x"}, status=422),
        await alice.put(one, {"body": "x"}, status=422),
        await alice.delete(one, status=422),
    ):
        assert refused["code"] == "project_archived"
    assert len(await alice.get(path)) == 1
    await olga.put(board.path, {"is_archived": False})
    await alice.delete(path.removesuffix("/comments"))
    for method in ("GET", "POST"):
        answer = await alice.request(method, path, {"body": "x"})
        assert (answer.status, answer.body["error"]) == (404, "card not found")
    await olga.post(f"{path.removesuffix('/comments')}/restore", status=200)
    assert [each["body"] for each in await alice.get(path)] == ["One"]


async def test_pages_go_both_ways(path: str, alice: Person) -> None:
    made = [await alice.post(path, {"body": f"Text {n}"}) for n in range(7)]
    await alice.delete(f"{path}/{made.pop(3)['id']}")
    ids = [each["id"] for each in made]

    async def walk(first: str) -> list[list[int]]:
        pages, following = [], first
        while following:
            answer = await alice.request("GET", following)
            pages.append([each["id"] for each in answer.body])
            link = answer.headers.get("Link", "")
            following = link.partition(">")[0].removeprefix("</api/v1") if link else ""
        return pages

    assert await walk(f"{path}?limit=4") == [ids[:4], ids[4:]]
    assert await walk(f"{path}?limit=2&after={ids[1]}") == [ids[2:4], ids[4:]]
    assert await walk(f"{path}?limit=4&before={ids[5] + 1}") == [ids[2:], ids[:2]]
    assert await walk(f"{path}?limit=3") == [ids[:3], ids[3:]]
    between = await alice.get(f"{path}?after={ids[0]}&before={ids[3]}")
    assert [each["id"] for each in between] == ids[1:3]


async def test_a_page_of_long_comments_ends_early(
    path: str, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comments, "PAGE_BYTES", 100_000)
    long = [(await alice.post(path, {"body": "\x01" * 10_000}))["id"] for _ in range(3)]
    short = [(await alice.post(path, {"body": "short"}))["id"] for _ in range(3)]
    found = await alice.get(path)
    assert [each["id"] for each in found] == long[:1]
    found = await alice.get(f"{path}?after={long[-1]}")
    assert [each["id"] for each in found] == short
    found = await alice.get(f"{path}?before={short[0]}")
    assert [each["id"] for each in found] == long[-1:]


async def test_a_card_shows_its_newest_fifty(path: str, alice: Person) -> None:
    ids = [(await alice.post(path, {"body": f"Text {n}"}))["id"] for n in range(52)]
    card = await alice.get(path.removesuffix("/comments"))
    assert [each["id"] for each in card["comments"]] == ids[2:]
    assert (card["comments_more"], card["comment_count"]) == (True, 52)
    await alice.delete(f"{path}/{ids[0]}")
    await alice.delete(f"{path}/{ids[1]}")
    card = await alice.get(path.removesuffix("/comments"))
    assert (card["comments_more"], card["comment_count"]) == (False, 50)


@pytest.mark.parametrize("seed", range(3))
async def test_comments_of_any_length_are_told_and_erased(
    path: str, alice: Person, bob: Person, seed: int
) -> None:
    """Sizes around 123, 256, 379 and the limits of frames, and all their deletions."""
    dice = random.Random(seed)
    sizes = [dice.choice((dice.randint(1, 400), dice.randint(1, 20_000))) for _ in range(30)]
    async with bob.socket("demo") as socket:
        for size in sizes:
            made = await alice.post(path, {"body": "x" * size})
            assert (await socket.next("board.comment_created"))["payload"] == made
            await alice.delete(f"{path}/{made['id']}")
            assert (await socket.next("board.comment_deleted"))["payload"]["comment_id"] == made[
                "id"
            ]
    events = await bob.get(path.partition("/cards")[0] + "/events?since=0&limit=500")
    assert "xx" not in str(events)


async def test_many_at_once_are_all_counted(path: str, alice: Person, olga: Person) -> None:
    made = await asyncio.gather(
        *(who.post(path, {"body": "At once"}) for who in (alice, olga) for _ in range(10))
    )
    card = await alice.get(path.removesuffix("/comments"))
    assert card["comment_count"] == 20
    assert {each["id"] for each in card["comments"]} == {each["id"] for each in made}


# Time


async def entries(connection: Any) -> list[tuple[Any, ...]]:
    rows = await connection.fetch(
        "select user_id, minutes, description, comment_id from time_entries order by id"
    )
    return [tuple(row) for row in rows]


async def test_a_comment_logs_time(path: str, alice: Person, bob: Person, connection: Any) -> None:
    async with bob.socket("demo") as socket:
        made = await alice.post(
            path, {"body": "Oiled it. Twice!\nTomorrow again", "time_spent_minutes": 30}
        )
        told = (await socket.next("board.card_updated"))["payload"]
        assert (told["changes"], told["time_spent_minutes"]) == (
            ["comment_count", "time_spent_minutes"],
            30,
        )
        assert await entries(connection) == [(alice.id, 30, "Oiled it.", made["id"])]
        assert (made["time_spent_minutes"], made["time_entry_id"]) == (30, 1)
        one = f"{path}/{made['id']}"
        edited = await alice.put(one, {"body": "Oiled"})
        assert (edited["time_spent_minutes"], edited["time_entry_id"]) == (30, 1)
        edited = await alice.put(one, {"minutes": 45})
        told = (await socket.next("board.card_updated"))["payload"]
        assert (told["changes"], told["time_spent_minutes"]) == (["time_spent_minutes"], 45)
        assert (edited["body"], edited["time_spent_minutes"]) == ("Oiled", 45)
        edited = await alice.put(one, {"time_minutes": 0})
        assert (edited["time_spent_minutes"], edited["time_entry_id"]) == (0, None)
        assert (await socket.next("board.card_updated"))["payload"]["time_spent_minutes"] == 0
        assert await entries(connection) == []
    history = await bob.get(path.replace("/comments", "/history"))
    told = [each["event_type"] for each in history]
    assert (told.count("time_logged"), told.count("comment_added")) == (3, 1)


async def test_time_without_words_is_a_comment_too(path: str, alice: Person) -> None:
    made = await alice.post(path, {"body": " ", "time_spent_minutes": 1440})
    one = f"{path}/{made['id']}"
    assert made["body"] == ""
    refused = await alice.put(one, {"time_spent_minutes": None}, status=400)
    assert refused["fields"] == {"body": "blank"}
    await alice.put(one, {"time_spent_minutes": 0, "body": "Nothing"})
    for blank in ("", " ", "\u00a0\n"):
        await alice.put(one, {"body": blank}, status=400)
    for minutes in (-1, 1441, 1.5, "x"):
        refused = await alice.post(path, {"body": "x", "time_spent_minutes": minutes}, status=400)
        assert list(refused["fields"]) == ["time_spent_minutes"]
    refused = await alice.post(path, {"body": "x", "minutes": 5, "time_minutes": 6}, status=400)
    assert refused["fields"] == {"minutes": "conflicting", "time_minutes": "conflicting"}
    await alice.post(path, {"body": "x", "minutes": 5, "time_minutes": 5})


async def test_who_deletes_his_comment_deletes_its_time_and_an_admin_does_not(
    path: str, alice: Person, olga: Person, connection: Any
) -> None:
    card = path.removesuffix("/comments")
    mine = await alice.post(path, {"body": "One", "time_spent_minutes": 10})
    theirs = await alice.post(path, {"body": "Two", "time_spent_minutes": 20})
    await alice.put(card, {"time_spent_minutes": 35})
    await alice.delete(f"{path}/{mine['id']}")
    assert (await alice.get(card))["time_spent_minutes"] == 25
    await olga.delete(f"{path}/{theirs['id']}")
    assert (await alice.get(card))["time_spent_minutes"] == 25
    kept = [(alice.id, 20, "", None)]
    assert await entries(connection) == kept
    await alice.delete(card)
    await olga.delete(f"{card}/permanent")
    assert await entries(connection) == kept


async def test_the_day_is_that_of_the_author(path: str, alice: Person, connection: Any) -> None:
    days = []
    for zone in ("Pacific/Kiritimati", "Pacific/Niue"):
        await alice.put("/users/me", {"timezone": zone})
        await alice.post(path, {"body": zone, "time_spent_minutes": 1})
        days.append(
            await connection.fetchval("select date from time_entries order by id desc limit 1")
        )
        here = "select (now() at time zone $1)::date"
        assert days[-1] == await connection.fetchval(here, zone)
    assert days[0] > days[1]
