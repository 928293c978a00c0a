"""Notifications: each change tells whom it concerns, once, and nobody who may not see it; what is
deleted takes them along; a person's devices agree on how many are unread.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from tests.conftest import Board, Door, Invite, make_board, until
from tests.person import Person
from tests.rest.test_conversations import begin, head, held, say, told, types, waiting
from tests.rest.test_uploads import pending
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.jobs.retention import Retention

ROOT, OLGA, ALICE, BOB, EVE = range(1, 6)
SECRET = "secret"


async def bell(person: Person, query: str = "") -> list[Any]:
    """A person's notifications, the newest first."""
    page = await person.get(f"/notifications{query}")
    items: list[Any] = page["items"]
    return items


async def kinds(person: Person) -> list[str]:
    return [each["kind"] for each in await bell(person)]


async def unread(person: Person) -> int:
    count: int = (await person.get("/notifications"))["unread_count"]
    return count


async def recount(connection: Any) -> dict[int, int]:
    rows = await connection.fetch(
        "select user_id, count(*) as n from notifications where read_at is null group by user_id"
    )
    return {row["user_id"]: row["n"] for row in rows}


@pytest.fixture(autouse=True)
async def quiet(board: Board, connection: Any) -> None:
    """Nobody has anything from how the board was made."""
    await connection.execute("delete from notifications")


# What tells whom


async def test_a_comment_tells_each_person_once_of_what_concerns_them_most(
    board: Board, alice: Person, olga: Person, bob: Person
) -> None:
    card = await board.card(assignee_ids=[ALICE, OLGA])
    place = f"{board.path}/cards/{card['id']}"
    for person in (alice, olga, bob):
        await person.post(f"{place}/watch", status=200)
    await olga.post("/notifications/read-all", status=204)
    async with bob.socket("user") as socket:
        made = await alice.post(
            f"{place}/comments", {"body": "Look, @bob and @alice! " + "x" * 200}
        )
        event = await socket.next("notification")
    (his,) = await bell(bob)
    assert event["payload"] == his
    assert (event["actor_id"], "client_id" in event) == (ALICE, False)
    assert (his["kind"], his["title"], his["read_at"]) == ("mention", card["title"], None)
    assert his["body"] == ("Look, @bob and @alice! " + "x" * 200)[:120]
    assert (his["actor"]["username"], his["comment_id"]) == ("alice", made["id"])
    assert his["project"] == {"slug": "demo", "name": "Demo"}
    assert his["card"] == {"id": card["id"], "key": card["key"], "title": card["title"]}
    assert his["url"] == f"/p/demo/c/{card['key']}"
    assert (await kinds(olga))[0] == "assigned_commented"
    assert await kinds(alice) == []


async def test_a_card_tells_who_is_assigned_moved_and_watches(
    board: Board, alice: Person, olga: Person, bob: Person
) -> None:
    card = await board.card(assignee_ids=[OLGA])
    place = f"{board.path}/cards/{card['id']}"
    assert await kinds(olga) == ["assigned"]
    await bob.post(f"{place}/watch", status=200)
    await alice.put(place, {"title": "Another", "priority": "high"})
    (his,) = await bell(bob)
    assert (his["kind"], his["title"]) == ("watched_updated", "Another")
    assert (his["changes"], his["body"]) == (["title", "priority"], "")
    await alice.put(place, {"title": "Another"})
    await alice.request("PATCH", f"{place}/move", {"column_id": board.backlog, "index": 0})
    assert (await kinds(olga), await kinds(bob)) == (["assigned"], ["watched_updated"])
    moved = await alice.request("PATCH", f"{place}/move", {"column_id": board.done})
    assert moved.status == 200
    assert (await bell(olga))[0]["kind"] == "assigned_moved"
    assert (await bell(olga))[0]["changes"] == ["column_id"]
    await alice.put(place, {"add_assignee_ids": [ALICE]})
    assert (await bell(bob))[0]["changes"] == ["assignees"]
    assert len(await kinds(olga)) == 2
    await alice.put(place, {"title": "Back", "column_id": board.backlog})
    assert (await bell(olga))[0]["changes"] == ["title", "column_id"]
    await olga.post(f"{place}/assignees/{BOB}", status=200)
    assert (await bell(bob))[0]["kind"] == "assigned"
    await olga.post(f"{place}/copy")
    assert sorted((await kinds(alice))[:1] + (await kinds(bob))[:1]) == ["assigned", "assigned"]


async def test_a_bulk_change_tells_each_person_of_some_cards(
    board: Board, alice: Person, olga: Person, bob: Person
) -> None:
    ids = [(await board.card(f"Card {n}"))["id"] for n in range(25)]
    change = {"ids": ids, "change": {"assignee_ids": [BOB, ALICE, OLGA]}}
    seq = await head(bob)
    assert (await alice.request("PATCH", f"{board.path}/cards", change)).status == 200
    for person in (bob, olga):
        assert [each["card"]["id"] for each in await bell(person)] == ids[:20][::-1]
    assert types(await told(bob, seq, bell=True)).count("notification") == 20
    assert await kinds(alice) == []


async def test_topics_and_replies_tell_whom_they_name_and_the_author(
    board: Board, alice: Person, olga: Person, bob: Person
) -> None:
    topic = await olga.post(f"{board.path}/topics", {"title": "Doors", "body": "@bob?"})
    (his,) = await bell(bob)
    assert (his["kind"], his["topic_id"], his["reply_id"]) == ("mention", topic["id"], None)
    assert his["url"] == f"/p/demo/topics/{topic['id']}"
    path = f"{board.path}/topics/{topic['id']}"
    reply = await alice.post(f"{path}/replies", {"body": "Both, @bob"})
    await alice.post(f"{path}/replies", {"body": "I mean @olga"})
    assert await kinds(olga) == ["mention", "topic_reply"]
    assert (await bell(bob))[0]["reply_id"] == reply["id"]
    await olga.post(f"{path}/replies", {"body": "Mine"})
    assert len(await kinds(olga)) == 2
    await olga.put(path, {"body": "@bob and @alice"})
    await olga.put(path, {"is_pinned": True})
    await alice.put(f"{path}/replies/{reply['id']}", {"body": "Both, @bob, @olga"})
    assert (await kinds(alice), len(await kinds(bob)), len(await kinds(olga))) == (
        ["mention"],
        2,
        3,
    )


async def test_chat_names_members_alone_or_in_a_group_and_all_by_an_admin(
    board: Board, alice: Person, olga: Person, bob: Person, eve: Person, root: Person
) -> None:
    path = f"{board.path}/chat/messages"
    sent = await alice.post(path, {"body": "@bob @eve @root @nobody @all"})
    (his,) = await bell(bob)
    assert (his["kind"], his["message_id"], his["title"]) == ("mention", sent["id"], "Demo")
    assert his["url"] == "/p/demo/chat"
    assert (await kinds(eve), await kinds(olga), await kinds(root)) == ([], [], ["mention"])
    many = await asyncio.gather(
        *(alice.post(path, {"body": f"{n} @bob @olga", "nonce": f"n{n}"}) for n in range(20))
    )
    ids = {each["message_id"] for each in await bell(bob)}
    assert ids == {sent["id"], *(each["id"] for each in many)}
    again = await alice.request("POST", path, {"body": "0 @bob @olga", "nonce": "n0"})
    assert (again.status, len(await bell(bob))) == (200, 21)
    await olga.post(path, {"body": "@all and @bob"})
    assert (await kinds(alice), len(await bell(bob)), len(await bell(eve))) == (["mention"], 22, 0)
    await alice.put(f"{path}/{sent['id']}", {"body": "@bob @olga"})
    assert len(await bell(bob)) == 22
    assert (await bell(olga))[0]["message_id"] == sent["id"]


@pytest.mark.foul
@pytest.mark.settings(rate_limits=True, changes_per_minute=100_000, cards_per_change=10)
async def test_all_are_at_most_ten_thousand_and_each_counts(
    board: Board, olga: Person, connection: Any, desk: Desk
) -> None:
    """Whoever names thousands pays for each, and no message is too large to be sent."""
    await connection.execute(
        "with made as ("
        " insert into users (email, username, password_hash, display_name)"
        " select n || '@x', 'crowd' || n, 'x', 'Crowd ' || n from generate_series(1, 9998) as n"
        " returning id) insert into project_members (project_id, user_id, role)"
        " select $1, id, 'viewer' from made",
        board.id,
    )

    async def told(body: str) -> int:
        await connection.execute("delete from notifications")
        before = desk.pace.left(OLGA)
        await olga.post(f"{board.path}/chat/messages", {"body": body})
        count: int = await connection.fetchval("select count(*) from notifications")
        assert before - desk.pace.left(OLGA) == (count + 1) // 10
        return count

    assert await told("Hello @all and @bob") == 1
    await connection.execute("delete from project_members where user_id = $1", ALICE)
    assert await told("Hello @all") == 9_999


async def test_all_are_named_by_admins_of_the_project_and_of_the_installation(
    board: Board, alice: Person, olga: Person, bob: Person, root: Person
) -> None:
    path = f"{board.path}/chat/messages"
    await olga.put(f"{board.path}/members/{ALICE}", {"role": "admin"})
    await alice.post(path, {"body": "@all"})
    assert (await kinds(olga), await kinds(bob), await kinds(root)) == (
        ["mention"],
        ["mention"],
        [],
    )
    await root.post(path, {"body": "@all"})
    assert (len(await kinds(olga)), await kinds(alice)) == (2, ["mention"])


async def test_a_message_with_files_names_people_too(
    board: Board, alice: Person, bob: Person
) -> None:
    taken = await pending(alice)
    sent = {"body": "@bob", "attachment_ids": [taken["id"]]}
    made = await alice.post(f"{board.path}/chat/messages", sent)
    assert [each["message_id"] for each in await bell(bob)] == [made["id"]]


async def test_a_name_is_the_same_in_whatever_case_and_a_dot_is_a_dot(
    board: Board, alice: Person, bob: Person, root: Person
) -> None:
    await bob.token()
    await root.put(f"/users/{BOB}", {"username": "Bob.By"})
    place = f"{board.path}/cards/{(await board.card())['id']}/comments"
    made = await alice.post(place, {"body": "@bobxby"})
    await alice.put(f"{place}/{made['id']}", {"body": "@BOB.by"})
    made = await alice.post(place, {"body": "\t\n @BOB.BY\t"})
    await alice.put(f"{place}/{made['id']}", {"body": "again @bob.by"})
    notified = [(each["kind"], each["body"]) for each in await bell(bob)]
    assert notified == [("mention", "@BOB.BY"), ("mention", "@BOB.by")]


async def test_an_edited_comment_tells_only_whom_it_did_not_name(
    board: Board, alice: Person, olga: Person, bob: Person
) -> None:
    card = await board.card()
    place = f"{board.path}/cards/{card['id']}/comments"
    made = await alice.post(place, {"body": "x@bob @bob.by @bob-b, @olga."})
    assert (await kinds(bob), await kinds(olga)) == ([], ["mention"])
    await alice.put(f"{place}/{made['id']}", {"body": "@bob, @olga and @alice"})
    await alice.put(f"{place}/{made['id']}", {"body": "@BOB. @olga", "time_spent_minutes": 5})
    assert (await kinds(bob), await kinds(olga)) == (["mention"], ["mention"])
    assert (await bell(bob))[0]["body"] == "@bob, @olga and @alice"


async def test_who_is_added_to_a_project_is_told_and_who_leaves_keeps_nothing(
    board: Board, alice: Person, olga: Person, eve: Person
) -> None:
    await olga.post(f"{board.path}/members", {"username": "eve"})
    (hers,) = await bell(eve)
    assert (hers["kind"], hers["title"], hers["url"]) == ("project_added", "Demo", "/p/demo")
    await alice.post(f"{board.path}/chat/messages", {"body": f"@eve {SECRET}"})
    assert await unread(eve) == 2
    await olga.delete(f"{board.path}/members/{EVE}")
    assert (await bell(eve), await unread(eve)) == ([], 0)
    events = await told(eve, bell=True)
    assert events[-1]["type"] == "notification.deleted"
    assert (events[-1]["payload"]["unread_count"], SECRET in str(events)) == (0, False)
    assert "project.left" in types(events)
    await alice.post(f"{board.path}/chat/messages", {"body": "@eve"})
    assert await bell(eve) == []


async def test_nobody_is_told_who_cannot_sign_in_or_sees_no_project(
    board: Board, alice: Person, root: Person, connection: Any
) -> None:
    await root.put(f"/users/{BOB}", {"is_active": False})
    await root.put(f"/users/{OLGA}", {"global_role": "metrics"})
    await connection.execute("delete from notifications")
    await alice.post(f"{board.path}/chat/messages", {"body": "@bob @olga @root"})
    assert await recount(connection) == {ROOT: 1}


# Conversations


async def test_a_conversation_is_one_notification_until_it_is_read(
    board: Board, alice: Person, bob: Person, eve: Person, olga: Person
) -> None:
    group = (await begin(alice, BOB, EVE))["id"]
    path = f"/conversations/{group}"
    first = await say(alice, group, "One @eve")
    await say(alice, group, "Two @eve @olga")
    third = await say(bob, group, "Three")
    (his,) = await bell(bob)
    assert (his["kind"], his["body"], his["message_id"]) == ("dm", "One @eve", first["id"])
    assert (his["conversation_id"], his["title"], his["project"]) == (group, "Alice", None)
    assert await kinds(eve) == ["dm", "mention", "mention"]
    assert (await kinds(alice), await kinds(olga)) == (["dm"], [])
    await bob.post(f"{path}/read", {"message_id": first["id"]}, status=204)
    assert await unread(bob) == 1
    await bob.post(f"{path}/read", {"message_id": third["id"]}, status=204)
    await eve.post(f"{path}/read", {"message_id": first["id"]}, status=204)
    assert (await unread(bob), await unread(eve)) == (0, 2)
    await say(alice, group, "Four")
    assert await kinds(bob) == ["dm", "dm"]
    assert await unread(bob) == 1


@pytest.mark.foul
async def test_what_was_read_long_ago_costs_no_message(
    board: Board, alice: Person, connection: Any
) -> None:
    """Ninety days of a busy conversation, and what people left unread elsewhere: the same few pages
    as on its first day.
    """
    group = (await begin(alice, BOB, EVE))["id"]
    said = await say(alice, group)
    note = (
        "explain (analyze, buffers, format json)"
        " select note_message(m, '') from conversation_messages m where m.id = $1"
    )

    async def buffers() -> int:
        await connection.execute("vacuum (analyze) notifications")
        for _ in range(2):  # the second time without what PostgreSQL reads once a session
            plan = json.loads(await connection.fetchval(note, said["id"]))[0]["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    young = await buffers()
    await connection.execute(
        "insert into notifications (user_id, kind, conversation_id, read_at)"
        " select $1::bigint, 'dm', $2::bigint, now() from generate_series(1, 20000)"
        " union all select $1, 'dm', null, null from generate_series(1, 20000)",
        BOB,
        group,
    )
    assert await buffers() < young + 20


async def test_an_edited_message_tells_whom_it_names_newly(
    board: Board, alice: Person, bob: Person, eve: Person
) -> None:
    group = (await begin(alice, BOB, EVE, name="Zoo"))["id"]
    said = await say(alice, group, "Hello @bob")
    path = f"/conversations/{group}/messages/{said['id']}"
    await alice.put(path, {"body": "Hello @bob, @eve and @olga"})
    assert (await kinds(bob), await kinds(eve)) == (["mention"], ["mention", "dm"])
    hers = (await bell(eve))[0]
    assert (hers["message_id"], hers["title"]) == (said["id"], "Zoo")


async def test_who_stood_in_code_is_named_newly_by_a_comment(
    board: Board, alice: Person, bob: Person
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}/comments"
    for before, after, expected in (
        ("see `@bob`", "see @bob", ["mention"]),
        ("see @bob", "see @bob again", ["mention"]),
        ("```\n@bob\n```\n@bob", "@bob", ["mention"]),
    ):
        comment = await alice.post(path, {"body": before})
        await alice.put(f"{path}/{comment['id']}", {"body": after})
        assert await kinds(bob) == expected, before
        for each in await bell(bob):
            await bob.delete(f"/notifications/{each['id']}")


async def test_a_service_account_is_told_of_no_conversation(
    board: Board, alice: Person, eve: Person, root: Person, connection: Any
) -> None:
    group = (await begin(alice, BOB, EVE, ROOT))["id"]
    await root.put(f"/users/{BOB}", {"global_role": "metrics"})
    await root.put(f"/users/{EVE}", {"global_role": "viewer"})
    await say(alice, group)
    await say(alice, group, "@bob @eve")
    assert await recount(connection) == {ROOT: 1, EVE: 2}


@pytest.mark.parametrize("first", ["sent", "read"])
async def test_a_message_that_comes_while_its_conversation_is_read_is_told(
    board: Board, alice: Person, bob: Person, connection: Any, first: str
) -> None:
    here = (await begin(alice, BOB))["id"]
    seen = await say(alice, here)

    async def read() -> None:
        await bob.post(f"/conversations/{here}/read", {"message_id": seen["id"]}, status=204)

    async with held(connection, f"select * from feeds where channel = 'user:{BOB}'"):
        one = asyncio.create_task(say(alice, here) if first == "sent" else read())
        await waiting(connection, 1)
        other = asyncio.create_task(read() if first == "sent" else say(alice, here))
        await waiting(connection, 2)
    await asyncio.gather(one, other)
    assert await unread(bob) == 1
    assert len(await bell(bob)) == (1 if first == "sent" else 2)


async def test_a_deleted_message_hands_its_notification_on(
    board: Board, alice: Person, bob: Person
) -> None:
    here = (await begin(alice, BOB))["id"]
    first, second = await say(alice, here, SECRET), await say(alice, here, "Second @bob")
    third = await say(alice, here, "Third")
    await alice.delete(f"/conversations/{here}/messages/{first['id']}")
    assert [each["message_id"] for each in await bell(bob)] == [second["id"], second["id"]]
    await alice.delete(f"/conversations/{here}/messages/{second['id']}")
    (his,) = await bell(bob)
    assert (his["kind"], his["message_id"]) == ("dm", third["id"])
    await alice.delete(f"/conversations/{here}/messages/{third['id']}")
    assert (await bell(bob), SECRET in str(await told(bob, bell=True))) == ([], False)


async def test_what_is_handed_on_is_unread_and_of_others(
    board: Board, alice: Person, bob: Person, eve: Person
) -> None:
    group = (await begin(alice, BOB, EVE))["id"]
    path = f"/conversations/{group}"
    read = await say(alice, group, "read")
    await bob.post(f"{path}/read", {"message_id": read["id"]}, status=204)
    second, _ = await say(alice, group, "second"), await say(bob, group, "mine")
    third = await say(eve, group, "third")
    await alice.delete(f"{path}/messages/{second['id']}")
    (his,) = await bell(bob, "?unread=true")
    assert his["message_id"] == third["id"]
    await bob.post(f"/notifications/{his['id']}/read", status=204)
    await say(alice, group, "fourth")
    assert len(await bell(bob)) == 3
    await eve.delete(f"{path}/messages/{third['id']}")
    assert [each["body"] for each in await bell(bob)] == ["fourth", "read"]


async def test_who_has_nothing_left_after_a_deletion_has_read_what_said_so(
    board: Board, alice: Person, bob: Person
) -> None:
    here = (await begin(alice, BOB))["id"]
    first, second = await say(alice, here, "First"), await say(alice, here, "Second")
    await bob.post(f"/conversations/{here}/read", {"message_id": first["id"]}, status=204)
    (his,) = await bell(bob, "?unread=true")
    async with bob.socket("user") as socket:
        await alice.delete(f"/conversations/{here}/messages/{second['id']}")
        told = await socket.next("notification.read")
    assert told["payload"] == {"id": his["id"], "unread_count": 0}
    assert await bell(bob, "?unread=true") == []
    assert [each["id"] for each in await bell(bob)] == [his["id"]]


async def test_who_reads_while_the_rest_is_deleted_has_nothing_left(
    board: Board, alice: Person, bob: Person, connection: Any
) -> None:
    """The deletion is done, and waits for the reader's feed: it does not see the reader's mark, nor
    the reader what is deleted, unless one waits for the other at the notification.
    """
    here = (await begin(alice, BOB))["id"]
    first, second = await say(alice, here, "First"), await say(alice, here, "Second")
    deletion, mark = f"/conversations/{here}/messages/{second['id']}", {"message_id": first["id"]}
    async with held(connection, f"select * from feeds where channel = 'user:{BOB}'"):
        deletes = asyncio.create_task(alice.delete(deletion))
        await waiting(connection, 1)
        reads = asyncio.create_task(bob.request("POST", f"/conversations/{here}/read", mark))
        await waiting(connection, 2)
    await deletes
    assert (await reads).status == 204
    assert await bell(bob, "?unread=true") == []


async def test_who_leaves_a_conversation_loses_what_it_told(
    board: Board, alice: Person, bob: Person
) -> None:
    group = (await begin(alice, BOB, EVE))["id"]
    await say(alice, group, f"@bob {SECRET}")
    async with bob.socket("user") as socket:
        await alice.delete(f"/conversations/{group}/members/{BOB}")
        await socket.next("dm.conversation_deleted")
        gone = await socket.next("notification.deleted")
    assert gone["payload"]["unread_count"] == 0
    assert (await bell(bob), SECRET in str(await told(bob, bell=True))) == ([], False)


async def test_mail_is_wanted_where_it_is_not_declined(
    board: Board, alice: Person, olga: Person, bob: Person, eve: Person, connection: Any
) -> None:
    async def wanted() -> list[tuple[int, str]]:
        rows = await connection.fetch(
            "select user_id, kind from notifications where wants_mail order by id"
        )
        return [tuple(row) for row in rows]

    group = (await begin(alice, BOB, EVE))["id"]
    await eve.put(f"/conversations/{group}/mute", {"muted": True}, status=204)
    await say(alice, group)
    assert await wanted() == [(BOB, "dm")]
    await bob.put("/users/me", {"email_notifications": False})
    await alice.post(f"{board.path}/chat/messages", {"body": "@bob @olga"})
    card = await board.card(assignee_ids=[OLGA])
    await alice.put(f"{board.path}/cards/{card['id']}", {"column_id": board.done})
    assert (await wanted())[1:] == [(OLGA, "mention"), (OLGA, "assigned")]
    await olga.put(f"{board.path}/mute", {"muted": True}, status=204)
    await alice.post(f"{board.path}/chat/messages", {"body": "@olga"})
    assert len(await wanted()) == 3
    dm = next(each for each in await bell(bob) if each["kind"] == "dm")
    await bob.post(f"/notifications/{dm['id']}/read", status=204)
    assert (BOB, "dm") not in await wanted()
    await olga.post("/notifications/read-all", status=204)
    assert await wanted() == []


async def test_no_mail_is_wanted_of_what_can_wait(
    board: Board, alice: Person, olga: Person, bob: Person, connection: Any
) -> None:
    card = await board.card()
    await bob.post(f"{board.path}/cards/{card['id']}/watch", status=200)
    await alice.put(f"{board.path}/cards/{card['id']}", {"title": "New"})
    topic = await olga.post(f"{board.path}/topics", {"title": "T"})
    await alice.post(f"{board.path}/topics/{topic['id']}/replies", {"body": "r"})
    await olga.post(f"{board.path}/members", {"username": "eve"})
    rows = await connection.fetch("select kind, wants_mail from notifications order by id")
    assert [tuple(row) for row in rows] == [
        ("watched_updated", False),
        ("topic_reply", False),
        ("project_added", False),
    ]


async def test_a_chat_that_was_read_reads_who_was_named_there(
    board: Board, alice: Person, bob: Person
) -> None:
    async def counts() -> tuple[int, int]:
        project = await bob.get(board.path)
        (listed,) = await bob.get("/projects")
        assert listed["mention_count"] == project["mention_count"]
        return project["unread_count"], project["mention_count"]

    path = f"{board.path}/chat/messages"
    first = await alice.post(path, {"body": "1 @bob"})
    second = await alice.post(path, {"body": "2 @bob"})
    card = await board.card()
    await alice.post(f"{board.path}/cards/{card['id']}/comments", {"body": "@bob"})
    assert (await counts(), await unread(bob)) == ((2, 3), 3)
    await board.card(assignee_ids=[BOB])
    assert (await counts(), await unread(bob)) == ((2, 3), 4), "only mentions are mentions"
    await bob.delete(f"/notifications/{(await bell(bob))[0]['id']}")
    await bob.post(f"{board.path}/chat/read", {"message_id": first["id"]}, status=204)
    assert (await counts(), await unread(bob)) == ((1, 2), 2)
    await bob.post(f"{board.path}/chat/read", {"message_id": first["id"]}, status=204)
    await bob.post(f"{board.path}/chat/read", {"message_id": second["id"]}, status=204)
    assert (await counts(), await unread(bob)) == ((0, 1), 1)
    assert types(await told(bob, bell=True)).count("notification.read") == 2


async def test_a_chat_that_was_read_reads_nothing_of_another(
    board: Board, alice: Person, olga: Person, bob: Person
) -> None:
    other = await make_board(olga, alice, "Other")
    await bob.post("/notifications/read-all", status=204)
    await alice.post(f"{board.path}/chat/messages", {"body": "@bob"})
    await alice.post(f"{board.path}/chat/messages", {"body": "@olga"})
    said = await alice.post(f"{other.path}/chat/messages", {"body": "@bob @olga"})
    await bob.post(f"{other.path}/chat/read", {"message_id": said["id"]}, status=204)
    (his,) = await bell(bob, "?unread=true")
    assert (his["project"]["slug"], his["body"]) == (board.slug, "@bob")
    assert (await bob.get(board.path))["mention_count"] == 1
    assert (await bob.get(other.path))["mention_count"] == 0
    assert await unread(olga) == 2


async def test_a_card_that_goes_to_another_project_takes_none_along(
    board: Board, olga: Person, bob: Person
) -> None:
    other = await olga.post("/projects", {"name": "Other"})
    column = (await olga.get(f"/projects/{other['slug']}"))["columns"][0]["id"]
    card = await board.card(SECRET, assignee_ids=[BOB])
    assert await kinds(bob) == ["assigned"]
    move = {"target_project_slug": other["slug"], "column_id": column, "action": "move"}
    await olga.post(f"{board.path}/cards/{card['id']}/transfer", move)
    assert (await bell(bob), SECRET in str(await told(bob, bell=True))) == ([], False)


# Erasing


@pytest.mark.parametrize("what", ["comment", "card", "topic", "reply", "chat"])
async def test_what_is_deleted_takes_its_notifications_along(
    board: Board, alice: Person, olga: Person, bob: Person, what: str
) -> None:
    card = await board.card(SECRET, assignee_ids=[BOB])
    place = f"{board.path}/cards/{card['id']}"
    text = f"@bob @olga {SECRET}"
    comment = await alice.post(f"{place}/comments", {"body": text})
    topic = await alice.post(f"{board.path}/topics", {"title": SECRET, "body": text})
    of_topic = f"{board.path}/topics/{topic['id']}"
    reply = await alice.post(f"{of_topic}/replies", {"body": text})
    message = await alice.post(f"{board.path}/chat/messages", {"body": text})
    assert await unread(bob) == 5
    paths = {
        "comment": (f"{place}/comments/{comment['id']}", 1, "comment_id"),
        "card": (place, 2, "card"),
        "topic": (of_topic, 2, "topic_id"),
        "reply": (f"{of_topic}/replies/{reply['id']}", 1, "reply_id"),
        "chat": (f"{board.path}/chat/messages/{message['id']}", 1, "message_id"),
    }
    path, lost, key = paths[what]
    gone = [each["id"] for each in await bell(bob) if each[key]]
    if what == "comment":
        gone = [each["id"] for each in await bell(bob) if each["comment_id"]]
    async with bob.socket("user") as socket:
        await alice.delete(path)
        event = await socket.next("notification.deleted")
    assert event["payload"] == {"ids": sorted(gone), "unread_count": 5 - lost}
    assert len(gone) == lost
    left = await bell(bob)
    assert len(left) == 5 - lost
    assert not set(gone) & {each["id"] for each in left}
    events = await told(bob, bell=True)
    kept = [
        each["payload"]["id"]
        for each in events
        if each["type"] == "notification" and each["payload"]["kind"] != "project_added"
    ]
    assert sorted(kept) == sorted(each["id"] for each in left)


async def test_a_purged_card_leaves_none(
    board: Board, alice: Person, olga: Person, bob: Person
) -> None:
    card = await board.card(assignee_ids=[BOB])
    place = f"{board.path}/cards/{card['id']}"
    await alice.delete(place)
    await olga.post(f"{place}/restore", status=200)
    await alice.post(f"{place}/comments", {"body": "@bob"})
    await alice.delete(place)
    await olga.delete(f"{place}/permanent")
    assert await bell(bob) == []


# Read and deleted


async def test_reading_is_told_to_all_devices_and_once(
    board: Board, alice: Person, bob: Person, twin: Door, person: Invite
) -> None:
    path = f"{board.path}/chat/messages"
    for n in range(3):
        await alice.post(path, {"body": f"{n} @bob"})
    newest, middle, oldest = await bell(bob)
    elsewhere = person("bob", url=twin.url)
    async with bob.socket("user") as one, elsewhere.socket("user") as other:
        hello = (await one.next("hello"))["payload"]
        assert hello["unread_notifications"] == 3
        await bob.post(f"/notifications/{middle['id']}/read", status=204)
        await bob.post(f"/notifications/{middle['id']}/read", status=204)
        await elsewhere.delete(f"/notifications/{oldest['id']}")
        await elsewhere.delete(f"/notifications/{oldest['id']}", status=404)
        await bob.post("/notifications/read-all", status=204)
        await bob.post("/notifications/read-all", status=204)
        for socket in (one, other):
            read = await socket.next("notification.read")
            gone = await socket.next("notification.deleted")
            all_read = await socket.next("notification.read")
            assert read["payload"] == {"id": middle["id"], "unread_count": 2}
            assert gone["payload"] == {"ids": [oldest["id"]], "unread_count": 1}
            assert all_read["payload"] == {"all": True, "unread_count": 0}
    events = types(await told(bob, bell=True))
    assert events.count("notification.read") == 2
    left = await bell(bob)
    assert [each["id"] for each in left] == [newest["id"], middle["id"]]
    assert all(each["read_at"] for each in left)
    assert await bell(bob, "?unread=true") == []


async def test_pages_go_on_and_count_all(board: Board, alice: Person, bob: Person) -> None:
    path = f"{board.path}/chat/messages"
    for n in range(7):
        await alice.post(path, {"body": f"{n} @bob"})
    every = await bell(bob)
    await bob.post(f"/notifications/{every[0]['id']}/read", status=204)
    for limit in (1, 2):
        seen: list[int] = []
        place: str | None = f"/notifications?limit={limit}&unread=true"
        while place is not None:
            answer = await bob.request("GET", place)
            assert (answer.body["unread_count"], len(answer.body["items"])) == (6, limit)
            seen += [each["id"] for each in answer.body["items"]]
            link = answer.headers.get("Link")
            place = link and link[1 : link.index(">")].partition("/api/v1")[2]
        assert seen == [each["id"] for each in every[1:]]
    page = await bob.get("/notifications?limit=1")
    feed = await bob.get("/users/me/events?since=0&limit=1")
    assert (page["seq"], page["epoch"]) == (feed["seq"], feed["epoch"])


@pytest.mark.parametrize("query", ["before=x", "limit=x", "unread=perhaps", "before=0"])
async def test_a_wrong_query_is_refused(board: Board, bob: Person, query: str) -> None:
    assert (await bob.request("GET", f"/notifications?{query}")).status == 400


async def test_nobody_reads_or_deletes_anothers(
    board: Board, alice: Person, olga: Person, bob: Person, root: Person
) -> None:
    await alice.post(f"{board.path}/chat/messages", {"body": "@bob"})
    (his,) = await bell(bob)
    for other in (alice, olga, root):
        assert await bell(other) == []
        await other.post(f"/notifications/{his['id']}/read", status=404)
        await other.delete(f"/notifications/{his['id']}", status=404)
    assert await bell(bob) == [his]


async def test_all_is_read_whatever_comes_meanwhile(
    board: Board, alice: Person, bob: Person, connection: Any
) -> None:
    """What is told before the event is read by it, what comes after it is not."""
    path = f"{board.path}/chat/messages"
    await alice.post(path, {"body": "first @bob"})
    async with held(connection, f"select * from feeds where channel = 'user:{BOB}'"):
        sending = asyncio.create_task(alice.post(path, {"body": "second @bob"}))
        await waiting(connection, 1)
        reading = asyncio.create_task(bob.post("/notifications/read-all", status=204))
        await waiting(connection, 2)
    await asyncio.gather(sending, reading)
    (event,) = [each for each in await told(bob, bell=True) if each["type"] == "notification.read"]
    later = [
        each
        for each in await told(bob, bell=True)
        if each["type"] == "notification" and each["seq"] > event["seq"]
    ]
    assert event["payload"]["unread_count"] == 0
    assert len(later) == len(await bell(bob, "?unread=true")) == await unread(bob)


@pytest.mark.parametrize("what", ["message", "participant", "member"])
async def test_who_reads_and_who_deletes_wait_for_each_other_in_one_order(
    board: Board, alice: Person, olga: Person, bob: Person, connection: Any, what: str
) -> None:
    """Rows before feeds, whichever of the two comes first; else PostgreSQL ends one of them."""
    group = (await begin(alice, BOB, EVE))["id"]
    said = await say(alice, group)
    if what == "member":
        await alice.post(f"{board.path}/chat/messages", {"body": "@bob"})
    paths = {
        "message": f"/conversations/{group}/messages/{said['id']}",
        "participant": f"/conversations/{group}/members/{BOB}",
        "member": f"{board.path}/members/{BOB}",
    }
    (his, *_) = await bell(bob)
    deleting = olga if what == "member" else alice
    async with held(connection, f"select * from feeds where channel = 'user:{BOB}'"):
        reads = asyncio.create_task(bob.request("POST", f"/notifications/{his['id']}/read"))
        await waiting(connection, 1)
        deletes = asyncio.create_task(deleting.delete(paths[what]))
        await waiting(connection, 2)
        blocked = await connection.fetchval(
            "select count(*) from pg_locks where not granted and locktype = 'transactionid'"
        )
        assert blocked == 2, "the one waits for the feed, the other for the row"
    assert (await reads).status == 204
    await deletes
    assert await unread(bob) == len(await bell(bob, "?unread=true"))


async def test_who_reads_wants_nothing_more_when_the_feed_is_held(
    board: Board, alice: Person, bob: Person, connection: Any, database_url: str
) -> None:
    """What comes after the mark moved is another writer's, who has its row and wants the feed."""
    here = (await begin(alice, BOB))["id"]
    seen = await say(alice, here)
    other = await asyncpg.connect(database_url)
    async with connection.transaction():
        read = await sql.conversations.read(connection, id=here, actor=BOB, message_id=seen["id"])
        await connection.fetchval("select take_seq($1)", f"user:{BOB}")
        late = await other.fetchval(
            "insert into notifications (user_id, kind, actor_id, conversation_id)"
            " values ($1, 'dm', $2, $3) returning id",
            BOB,
            ALICE,
            here,
        )
        async with held(other, f"select * from notifications where id = {late}"):
            await connection.execute("set local lock_timeout = '200ms'")
            await sql.notifications.read_these(connection, user_id=BOB, ids=read, client=None)
    await other.close()
    assert [each["id"] for each in await bell(bob, "?unread=true")] == [late]


async def test_counts_are_true_after_all_comes_at_once(
    board: Board, alice: Person, olga: Person, bob: Person, connection: Any
) -> None:
    """What a client counts by events equals a recount, whatever order things come in."""
    here = (await begin(alice, BOB, OLGA))["id"]
    path = f"{board.path}/chat/messages"
    card = await board.card(assignee_ids=[BOB, OLGA])
    comments = f"{board.path}/cards/{card['id']}/comments"

    async def talk(person: Person, n: int) -> None:
        sent = await person.post(path, {"body": f"{n} @bob @olga @alice"})
        await person.post(comments, {"body": "@bob"})
        said = await say(person, here, "@olga" if n % 2 else "all")
        if n % 3 == 0:
            await person.delete(f"{path}/{sent['id']}")
            await person.delete(f"/conversations/{here}/messages/{said['id']}")

    async def read(person: Person, n: int) -> None:
        items = await bell(person)
        if n % 4 == 3:
            await person.post("/notifications/read-all", status=204)
        elif items:
            place = f"/notifications/{items[n % len(items)]['id']}"
            await person.request("POST" if n % 2 else "DELETE", place + "/read" * (n % 2))

    async with bob.socket("user") as socket:
        for n in range(12):
            await asyncio.gather(
                talk(alice, n), talk(olga, n + 1), read(bob, n), read(olga, n), read(bob, n + 2)
            )
        await socket.settle()
        counted = 0
        for frame in socket.events:
            if frame["type"] == "notification":
                counted += 1
            elif "unread_count" in frame["payload"]:
                counted = frame["payload"]["unread_count"]
    real = await recount(connection)
    assert counted == real.get(BOB, 0) == await unread(bob)
    assert await unread(olga) == real.get(OLGA, 0)


# Bounds


async def test_old_and_surplus_notifications_go(
    board: Board, alice: Person, bob: Person, desk: Desk, connection: Any
) -> None:
    await connection.execute(
        "insert into notifications (user_id, kind, project_id, created_at)"
        " select $1, 'project_added', $2, now() - interval '90 days' + n * interval '1 minute'"
        " from unnest('{-1, 1}'::integer[]) as n",
        BOB,
        board.id,
    )
    await connection.execute(
        "insert into notifications (user_id, kind, project_id)"
        " select $1, 'project_added', $2 from generate_series(1, 1001)",
        ALICE,
        board.id,
    )
    first = await connection.fetchval("select min(id) from notifications where user_id = $1", ALICE)
    await Retention(desk).turn()
    (his,) = await bell(bob)
    assert his["id"] == first - 1
    assert await recount(connection) == {ALICE: 1000, BOB: 1}
    assert await connection.fetchval("select min(id) from notifications") == his["id"]
    assert await connection.fetchval("select count(*) from notifications where id = $1", first) == 0


async def test_what_was_told_of_an_old_notification_goes_with_it(
    board: Board, alice: Person, bob: Person, desk: Desk, connection: Any
) -> None:
    """Whoever deletes the text afterwards finds nobody any more who was told of it."""
    path = f"{board.path}/chat/messages"
    old, young = [await alice.post(path, {"body": f"@bob {text}"}) for text in (SECRET, "Lunch?")]
    before = await told(bob, bell=True)
    assert SECRET in str(before)
    await connection.execute(
        "update notifications set created_at = now() - interval '91 days'"
        " where chat_message_id = $1",
        old["id"],
    )
    await Retention(desk).turn()
    assert [each["message_id"] for each in await bell(bob)] == [young["id"]]
    await alice.delete(f"{path}/{old['id']}")
    after = await told(bob, bell=True)
    assert [each["seq"] for each in after] == [each["seq"] for each in before]
    assert (SECRET in str(after), "Lunch?" in str(after)) == (False, True)


@pytest.mark.foul
async def test_a_crowd_is_told_at_once(
    board: Board, olga: Person, alice: Person, connection: Any
) -> None:
    """Everybody of a project of thousands, in one change."""
    await connection.execute(
        "with come as ("
        " insert into users (email, username, password_hash, display_name)"
        " select n || '@x', 'crowd' || n, 'x', 'Crowd ' || n from generate_series(1, 5000) as n"
        " returning id) insert into project_members (project_id, user_id, role)"
        " select $1, id, 'viewer' from come",
        board.id,
    )
    await olga.post(f"{board.path}/chat/messages", {"body": "@all Lunch!"})
    told_of = await connection.fetchval(
        "select count(*) from events"
        " where type = 'notification' and payload::json ->> 'kind' = 'mention'"
    )
    assert told_of == 5002
    assert await until(lambda: unread(alice)) == 1
