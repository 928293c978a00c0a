"""Files on comments and messages: uploaded before them, and put on them afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Board
from tests.locks import waiting
from tests.person import Person
from tests.uploads import AS_FORM, fetch, form, upload
from warmdesk.auth.access import Access
from warmdesk.config import Settings
from warmdesk.desk import Desk
from warmdesk.jobs.files import FileKeeper
from warmdesk.jobs.retention import Retention

TEXT = b"It is ajar."
DOOR = ("door.txt", TEXT)


async def pending(person: Person, **place: object) -> Any:
    """One upload that nothing has yet."""
    return await upload(person, "/attachments", DOOR, **(place or {"project": "demo"}))


async def conversation(alice: Person, other: Person) -> str:
    made = await alice.post("/conversations", {"user_ids": [other.id]})
    return f"/conversations/{made['id']}"


# Before


async def test_an_upload_is_its_uploaders_until_something_takes_it(
    board: Board, alice: Person, olga: Person, root: Person, eve: Person
) -> None:
    made = await pending(alice)
    assert (made["owner_type"], made["owner_id"]) == (None, None)
    assert (await fetch(alice, made["url"])).body == TEXT
    for other in (olga, root, eve):
        assert (await fetch(other, made["url"])).status == 404
        await other.delete(f"/attachments/{made['id']}", status=404)
    await alice.delete(f"/attachments/{made['id']}")
    await alice.delete(f"/attachments/{made['id']}", status=404)


async def test_one_has_fifty_uploads_that_nothing_has(
    board: Board, alice: Person, olga: Person, connection: Any
) -> None:
    """Wherever they are, and however many come at once."""
    talk = (await conversation(alice, olga)).rpartition("/")[2]
    places: list[dict[str, Any]] = [{"project": "demo"}, {"conversation_id": talk}]
    for place in places * 2:
        await upload(alice, "/attachments", *[DOOR] * 10, **place)

    async def more(place: dict[str, Any]) -> int:
        body = form(*[DOOR] * 10, **place)
        return (await alice.request("POST", "/attachments", body, headers=AS_FORM)).status

    assert sorted(await asyncio.gather(*map(more, places))) == [201, 413]
    assert (await upload(alice, "/attachments", DOOR, project="demo", status=413))["code"] == (
        "too_many_files"
    )
    await pending(olga)
    mine = await connection.fetchval(
        "select max(id) from attachments where uploader_id = $1", alice.id
    )
    await alice.delete(f"/attachments/{mine}")
    made = await pending(alice)
    await alice.post(
        "/projects/demo/chat/messages", {"body": "Here", "attachment_ids": [made["id"]]}
    )
    await pending(alice)


async def test_a_place_is_asked_whether_one_may_write_there(
    board: Board, alice: Person, bob: Person, eve: Person, olga: Person
) -> None:
    await upload(bob, "/attachments", DOOR, project="demo", status=403)
    await upload(eve, "/attachments", DOOR, project="demo", status=404)
    talk = (await conversation(alice, bob)).rpartition("/")[2]
    await upload(bob, "/attachments", DOOR, conversation_id=talk)
    await upload(eve, "/attachments", DOOR, conversation_id=talk, status=404)
    await upload(olga, "/attachments", DOOR, conversation_id=talk, status=404)
    await olga.delete("/projects/demo")
    refused = await upload(alice, "/attachments", DOOR, project="demo", status=422)
    assert refused["code"] == "project_archived"


@pytest.mark.parametrize(
    ("place", "status", "fields"),
    [
        ({}, 400, None),
        ({"project": "demo", "conversation_id": 1}, 400, None),
        ({"project": "demo", "owner_type": "card_comment", "owner_id": 1}, 400, None),
        ({"owner_type": "card_comment"}, 400, {"owner_id": "required"}),
        ({"owner_id": 1}, 400, {"owner_type": "required"}),
        ({"owner_type": "card", "owner_id": 1}, 400, {"owner_type": "not_one_of"}),
        ({"owner_type": "card_comment", "owner_id": "x"}, 400, {"owner_id": "bad_format"}),
        ({"conversation_id": "-1"}, 400, {"conversation_id": "bad_format"}),
        ({"owner_type": "card_comment", "owner_id": 2**52}, 404, None),
        ({"conversation_id": 2**52}, 404, None),
        ({"project": "nothing"}, 404, None),
        ({"project": "\0"}, 400, {"project": "bad_format"}),
        ({"project": "x" * 1000}, 404, None),
        ({"project": "x" * 1001}, 400, {"project": "too_long"}),
    ],
)
async def test_what_a_form_says_is_checked(
    board: Board,
    alice: Person,
    settings: Settings,
    place: dict[str, object],
    status: int,
    fields: Any,
) -> None:
    refused = await upload(alice, "/attachments", DOOR, status=status, **place)
    assert refused.get("fields") == fields
    assert [each for each in Path(settings.file_store).rglob("*") if each.is_file()] == []


# Taken


async def test_a_comment_takes_uploads(board: Board, alice: Person, bob: Person) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}/comments"
    first, second = [await pending(alice) for _ in range(2)]
    async with bob.socket("demo") as socket:
        ids = [second["id"], first["id"], first["id"]]
        made = await alice.post(path, {"body": " ", "attachment_ids": ids})
        assert (await socket.next("board.comment_created"))["payload"] == made
    assert made["body"] == ""
    assert [each["id"] for each in made["attachments"]] == [first["id"], second["id"]]
    assert {each["owner_id"] for each in made["attachments"]} == {made["id"]}
    assert await bob.get(path) == [made]
    shown = await bob.get(f"{board.path}/cards/{card['id']}")
    assert (shown["comments"], shown["attachments"]) == ([made], [])
    assert shown["attachment_count"] == 0
    url = made["attachments"][0]["url"]
    assert (await fetch(bob, url)).body == TEXT
    nested = f"{board.path}/cards/{card['id']}/attachments/{first['id']}"
    assert (await fetch(bob, nested)).body == TEXT
    await alice.put(f"{path}/{made['id']}", {"body": ""})


async def test_a_chat_message_takes_uploads(board: Board, alice: Person, bob: Person) -> None:
    path = f"{board.path}/chat/messages"
    taken = await pending(alice)
    async with bob.socket("demo") as socket:
        sent = {"body": "", "nonce": "n", "attachment_ids": [taken["id"]]}
        made = await alice.post(path, sent)
        assert (await socket.next("chat.message"))["payload"] == made
        assert await alice.post(path, sent, status=200) == made
    assert (made["body"], made["nonce"]) == ("", "n")
    assert made["attachments"] == [taken | {"owner_type": "chat_message", "owner_id": made["id"]}]
    assert await bob.get(path) == [made]
    assert (await fetch(bob, taken["url"])).body == TEXT


async def test_a_key_is_kept_for_a_message_with_files(board: Board, alice: Person) -> None:
    path = f"{board.path}/chat/messages"
    sent = {"body": "Look", "attachment_ids": [(await pending(alice))["id"]]}
    made = await alice.post(path, sent, key="k")
    again = await alice.request("POST", path, sent, key="k")
    assert (again.status, again.body) == (201, made)
    assert again.headers["Idempotent-Replay"] == "true"
    await alice.delete(f"{path}/{made['id']}")
    assert (await alice.request("POST", path, sent, key="k")).status == 410


async def test_a_message_with_files_is_sent_on_a_socket(board: Board, alice: Person) -> None:
    taken = await pending(alice)
    async with alice.socket("demo") as socket:
        await socket.send("chat.send", {"body": "", "attachment_ids": [taken["id"]]}, id=1)
        told = (await socket.next("chat.message"))["payload"]
        assert told["attachments"][0]["id"] == taken["id"]
        await socket.send("chat.send", {"body": "", "attachment_ids": [taken["id"]]}, id=2)
        refused = (await socket.next("error"))["payload"]
        assert refused["fields"] == {"attachment_ids": "unknown"}


async def test_a_message_of_a_conversation_takes_uploads(
    board: Board, alice: Person, bob: Person, eve: Person
) -> None:
    talk = await conversation(alice, bob)
    taken = await pending(alice, conversation_id=talk.rpartition("/")[2])
    path = f"{talk}/messages"
    async with bob.socket("user") as socket:
        sent = {"body": "", "attachment_ids": [taken["id"]]}
        made = await alice.post(path, sent)
        assert (await socket.next("dm.message"))["payload"] == made
    assert [each["id"] for each in made["attachments"]] == [taken["id"]]
    assert await bob.get(path) == [made]
    assert (await bob.get(talk))["last_message"] == made
    assert (await fetch(bob, taken["url"])).body == TEXT
    assert (await fetch(eve, taken["url"])).status == 404
    await alice.post(path, sent, status=422)


async def test_nobody_takes_what_is_not_theirs_or_is_elsewhere(
    board: Board, alice: Person, olga: Person, bob: Person
) -> None:
    card = await board.card()
    mine, others = await pending(alice), await pending(olga)
    talk = await conversation(alice, bob)
    there = await pending(alice, conversation_id=talk.rpartition("/")[2])
    elsewhere = await olga.post("/projects", {"name": "Other"})
    foreign = await upload(olga, "/attachments", DOOR, project=elsewhere["slug"])
    on_card = await upload(alice, f"{board.path}/cards/{card['id']}/attachments", DOOR)
    places = [
        f"{board.path}/cards/{card['id']}/comments",
        f"{board.path}/chat/messages",
        f"{talk}/messages",
    ]
    for path in places:
        wrong = [others["id"], foreign["id"], on_card["id"], 2**52]
        wrong.append(mine["id"] if path.startswith("/conversations") else there["id"])
        for each in wrong:
            for ids in ([each], [mine["id"], each]):
                refused = await alice.post(path, {"body": "x", "attachment_ids": ids}, status=422)
                assert refused["fields"] == {"attachment_ids": "unknown"}
        assert await alice.get(path) == []
        await alice.post(path, {"body": "x", "attachment_ids": [0]}, status=400)
        await alice.post(path, {"body": "x", "attachment_ids": [1] * 11}, status=400)
        blank = await alice.post(path, {"body": " ", "attachment_ids": []}, status=400)
        assert blank["fields"] == {"body": "blank"}
    assert (await fetch(alice, mine["url"])).status == 200


async def test_of_two_who_take_it_at_once_one_gets_it(board: Board, alice: Person) -> None:
    card = await board.card()
    for _ in range(5):
        sent = {"body": "x", "attachment_ids": [(await pending(alice))["id"]]}
        places = [f"{board.path}/cards/{card['id']}/comments", f"{board.path}/chat/messages"]
        found = await asyncio.gather(
            *(alice.request("POST", path, sent) for path in (places * 2)[:4])
        )
        assert sorted(each.status for each in found) == [201, 422, 422, 422]


# Afterwards


async def owners(board: Board, alice: Person, other: Person) -> dict[str, Any]:
    """A comment, a message and a message to somebody, each alice's: its path and its event."""
    card = await board.card()
    talk = await conversation(alice, other)
    paths = {
        "card_comment": (f"{board.path}/cards/{card['id']}/comments", "board.comment_updated"),
        "chat_message": (f"{board.path}/chat/messages", "chat.message_updated"),
        "conv_message": (f"{talk}/messages", "dm.message_updated"),
    }
    return {
        kind: (path, event, await alice.post(path, {"body": "Look"}))
        for kind, (path, event) in paths.items()
    }


@pytest.mark.parametrize("kind", ["card_comment", "chat_message", "conv_message"])
async def test_its_author_puts_files_on_it_and_takes_them_off(
    board: Board, alice: Person, olga: Person, eve: Person, kind: str
) -> None:
    path, event, made = (await owners(board, alice, olga))[kind]
    where = {"owner_type": kind, "owner_id": made["id"]}
    async with olga.socket("user" if kind == "conv_message" else "demo") as socket:
        one = await upload(alice, "/attachments", DOOR, **where)
        told = (await socket.next(event))["payload"]
        assert told["attachments"] == [one]
        assert (told["version"], told["is_edited"]) == (2, False)
        assert await olga.get(path) == [told]
        await upload(olga, "/attachments", DOOR, status=403, **where)
        await upload(eve, "/attachments", DOOR, status=404, **where)
        await eve.delete(f"/attachments/{one['id']}", status=404)
        nine = await upload(alice, "/attachments", *[DOOR] * 9, **where)
        assert len((await socket.next(event))["payload"]["attachments"]) == 10
        refused = await upload(alice, "/attachments", DOOR, status=413, **where)
        assert refused["code"] == "too_many_files"
        await alice.delete(f"/attachments/{one['id']}")
        assert (await socket.next(event))["payload"]["attachments"] == nine["attachments"]
        if kind == "conv_message":
            await olga.delete(f"/attachments/{nine['id']}", status=403)
        else:
            await olga.delete(f"/attachments/{nine['id']}")
            assert len((await socket.next(event))["payload"]["attachments"]) == 8


async def test_a_member_takes_off_nothing_of_others(
    board: Board, alice: Person, olga: Person, bob: Person
) -> None:
    await olga.put(f"{board.path}/members/{bob.id}", {"role": "member"})
    made = await owners(board, alice, olga)
    for kind in ("card_comment", "chat_message"):
        where = {"owner_type": kind, "owner_id": made[kind][2]["id"]}
        one = await upload(alice, "/attachments", DOOR, **where)
        await bob.delete(f"/attachments/{one['id']}", status=403)
        assert (await fetch(bob, one["url"])).body == TEXT


@pytest.mark.parametrize("kind", ["card_comment", "chat_message", "conv_message"])
async def test_the_files_go_with_it(
    board: Board, alice: Person, olga: Person, kind: str, settings: Settings, desk: Desk
) -> None:
    path, _, made = (await owners(board, alice, olga))[kind]
    where = {"owner_type": kind, "owner_id": made["id"]}
    one = await upload(alice, "/attachments", DOOR, **where)
    await alice.delete(f"{path}/{made['id']}")
    assert (await fetch(alice, one["url"])).status == 404
    await upload(alice, "/attachments", DOOR, status=404, **where)
    assert await FileKeeper(desk).turn() == 1
    assert [each for each in Path(settings.file_store).rglob("*") if each.is_file()] == []


@pytest.mark.parametrize("kind", ["card_comment", "chat_message", "conv_message"])
async def test_what_has_the_same_id_keeps_its_files(
    board: Board, alice: Person, olga: Person, kind: str
) -> None:
    made = await owners(board, alice, olga)
    places = {each: {"owner_type": each, "owner_id": made[each][2]["id"]} for each in made}
    card = f"{board.path}/cards/1"
    files = {"card": await upload(alice, f"{card}/attachments", DOOR)}
    for each, where in places.items():
        files[each] = await upload(alice, "/attachments", DOOR, **where)
    assert {file["owner_id"] for file in files.values()} == {1}
    path, _, _ = made[kind]
    await alice.delete(f"{path}/1")
    gone = {each for each, file in files.items() if (await fetch(alice, file["url"])).status == 404}
    assert gone == {kind}
    assert (await alice.get(card))["attachment_count"] == 1


async def test_what_everybody_left_takes_its_files_along(
    board: Board, alice: Person, bob: Person, olga: Person, desk: Desk, connection: Any
) -> None:
    group = await alice.post("/conversations", {"user_ids": [bob.id, olga.id]})
    talk = f"/conversations/{group['id']}"
    await pending(bob, conversation_id=group["id"])
    taken = await pending(alice, conversation_id=group["id"])
    await alice.post(f"{talk}/messages", {"body": "", "attachment_ids": [taken["id"]]})
    for each in (alice, bob, olga):
        await each.delete(f"{talk}/members/{each.id}")
    await Retention(desk).turn()
    assert await connection.fetchval("select count(*) from attachments") == 0
    assert await FileKeeper(desk).turn() == 2


@pytest.mark.settings(project_file_bytes=1 << 20)
async def test_a_conversation_has_its_limit_too(board: Board, alice: Person, bob: Person) -> None:
    talk = (await conversation(alice, bob)).rpartition("/")[2]
    half = ("half", b"x" * 600_000)
    await upload(alice, "/attachments", half, conversation_id=talk)
    refused = await upload(bob, "/attachments", half, conversation_id=talk, status=413)
    assert refused["code"] == "quota_exceeded"
    await upload(alice, "/attachments", half, project="demo")
    refused = await upload(alice, "/attachments", half, project="demo", status=413)
    assert refused["code"] == "quota_exceeded"


@pytest.mark.settings(project_file_bytes=1 << 20)
async def test_the_limit_holds_for_what_is_put_on_afterwards(
    board: Board, alice: Person, olga: Person
) -> None:
    half = ("half", b"x" * 600_000)
    made = await owners(board, alice, olga)
    for kind, status in (("card_comment", 201), ("chat_message", 413), ("conv_message", 201)):
        where = {"owner_type": kind, "owner_id": made[kind][2]["id"]}
        told = await upload(alice, "/attachments", half, status=status, **where)
        assert told.get("code") == ("quota_exceeded" if status == 413 else None)
    refused = await upload(alice, "/attachments", half, status=413, **where)
    assert refused["code"] == "quota_exceeded"


@pytest.mark.settings(project_file_bytes=1 << 20)
@pytest.mark.parametrize("place", ["cards", "project", "conversation"])
async def test_two_who_upload_at_once_share_what_there_is(
    board: Board, alice: Person, olga: Person, connection: Any, place: str
) -> None:
    """The second counts what the first has written, and not what was there when it came."""
    paths, fields = ["/attachments"] * 2, {}
    if place == "cards":
        cards = [await board.card() for _ in range(2)]
        paths = [f"{board.path}/cards/{card['id']}/attachments" for card in cards]
    elif place == "project":
        fields = {"project": "demo"}
    else:
        fields = {"conversation_id": (await conversation(alice, olga)).rpartition("/")[2]}
    sent = form(("half", b"x" * 600_000), **fields)
    async with connection.transaction():
        # Both may count, and neither may write.
        await connection.execute("lock table attachments in share mode")
        tasks = [
            asyncio.create_task(person.request("POST", path, sent, headers=AS_FORM))
            for person, path in zip((alice, olga), paths, strict=True)
        ]
        await waiting(connection, 2)
    found = await asyncio.gather(*tasks)
    assert sorted(each.status for each in found) == [201, 413]


async def test_who_left_the_project_sees_and_takes_nothing(
    board: Board, alice: Person, olga: Person
) -> None:
    path, _, made = (await owners(board, alice, olga))["chat_message"]
    one = await upload(alice, "/attachments", DOOR, owner_type="chat_message", owner_id=made["id"])
    mine = await pending(alice)
    await olga.delete(f"{board.path}/members/{alice.id}")
    for each in (one, mine):
        assert (await fetch(alice, each["url"])).status == 404
        await alice.delete(f"/attachments/{each['id']}", status=404)
    await upload(alice, "/attachments", DOOR, project="demo", status=404)
    assert len((await olga.get(path))[0]["attachments"]) == 1


async def test_a_right_that_ended_meanwhile_keeps_no_upload(
    board: Board, alice: Person, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process remembers for a moment that alice was a member; the change itself does not."""
    await pending(alice)
    monkeypatch.setattr(Access, "forget", lambda access: None)
    member = f"{board.path}/members/{alice.id}"
    await olga.put(member, {"role": "viewer"})
    await upload(alice, "/attachments", DOOR, project="demo", status=403)
    await olga.delete(member)
    await upload(alice, "/attachments", DOOR, project="demo", status=404)
