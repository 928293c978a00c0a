"""Purges: a project, or a person, taken away for good."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Board, Door, Invite, until
from tests.person import PASSWORD, Person
from tests.samples import make_each
from tests.uploads import AS_FORM, PNG, form
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.jobs.files import FileKeeper
from warmdesk.jobs.purges import Purges
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.room import Room

ROOT, OLGA, ALICE, BOB, EVE = 1, 2, 3, 4, 5
EMPTY = {
    *("projects", "project_members", "project_readers", "project_guests", "starred_projects"),
    *("columns", "labels", "cards", "card_history", "card_comments", "card_grams", "talk_grams"),
    *("chat_messages", "message_reactions", "topics", "topic_replies", "card_links"),
    *("card_checklist_items", "attachments", "card_tags", "notifications"),
}
"""What has no row when there is no project."""
MINUTE = "update {} set purged_at = purged_at - interval '2 minutes' where purged_at is not null"


async def everything(connection: Any) -> dict[str, str]:
    """All that each table says."""
    tables = await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
    text = "select coalesce(string_agg(t::text, chr(10)), '') from {} as t"
    return {name: await connection.fetchval(text.format(name)) for (name,) in tables}


def is_clean(room: Room | None) -> bool:
    """Whether a room remembers nothing of the name."""
    return room is None or "Zelda" not in str([entry.body for entry in room.tail])


async def fill(board: Board, olga: Person, alice: Person) -> dict[str, Any]:
    """One of each in the project."""
    card = await board.card("A secret card", assignee_ids=[ALICE], tags=["secret"])
    path = f"{board.path}/cards/{card['id']}"
    await alice.post(f"{path}/comments", {"body": "A secret comment", "time_spent_minutes": 5})
    message = await alice.post(f"{board.path}/chat/messages", {"body": "A secret for @bob"})
    reactions = f"{board.path}/chat/messages/{message['id']}/reactions"
    await olga.post(reactions, {"emoji": "👍"})
    names = {"slug": board.slug, "column_id": board.backlog, "card_id": card["id"]}
    await make_each(alice, names, "A secret")
    # What people wrote in their own time sheets is theirs.
    await alice.delete(f"/time-entries/{names['entry_id']}")
    await olga.post(f"{board.path}/star", status=200)
    return names


async def purge(board: Board, root: Person) -> None:
    await root.delete(board.path)
    await root.delete(f"/admin/projects/{board.slug}")


@pytest.mark.foul
async def test_a_purged_project_is_gone_for_everybody_everywhere(
    board: Board,
    root: Person,
    olga: Person,
    alice: Person,
    bob: Person,
    twin: Door,
    person: Invite,
    desk: Desk,
) -> None:
    names = await fill(board, olga, alice)
    mine = (await olga.get("/notifications"))["items"]
    assert (await bob.get("/notifications"))["unread_count"] > 0
    elsewhere = person("bob", url=twin.url)
    await root.delete(f"/admin/projects/{board.slug}", status=409)
    seq = (await bob.get(f"{board.path}/events?since=0"))["seq"] + 1
    async with (
        bob.socket("demo") as his,
        root.socket("demo") as roots,
        elsewhere.socket("demo") as there,
        bob.socket("user") as own,
    ):
        for socket in (his, roots, there):
            await socket.next("hello")
        await root.delete(board.path)
        waiting = asyncio.create_task(
            elsewhere.request("GET", f"{board.path}/events?since={seq}&wait=30")
        )
        rooms, channel = twin.desk.hub.rooms, project_channel(board.id)
        await until(lambda: rooms[channel].waiting)

        await root.delete(f"/admin/projects/{board.slug}")

        for socket in (his, roots, there):
            assert await socket.closed(limit=2) == 4404
        assert (await asyncio.wait_for(waiting, 4)).status == 404
        assert (await own.next("project.left"))["payload"] == {"slug": "demo"}
    attachment = names["attachment_id"]
    for asker in (root, olga, elsewhere):
        await asker.get(board.path, status=404)
        await asker.get(f"/attachments/{attachment}", status=404)
        assert await asker.get("/projects?include_archived=true") == []
        assert await asker.get("/search?q=secret") == []
        told = await asker.get("/users/me/events?since=0")
        assert "secret" not in str(told)
        assert board.slug not in str((await asker.get("/notifications"))["items"]), mine
    assert await root.get("/admin/projects") == []
    await root.delete(f"/admin/projects/{board.slug}", status=404)
    await root.put(f"/admin/projects/{board.slug}", {"is_archived": False}, status=404)
    again = await olga.post("/projects", {"name": "Demo", "key_prefix": "DEMO"})
    assert (again["slug"], again["key_prefix"]) == ("demo", "DEMO")
    line = (await root.get("/admin/audit?action=project.purged"))[0]
    assert (line["target_id"], line["before"]) == (board.id, {"slug": "demo"})


@pytest.mark.foul
async def test_nothing_is_left_of_a_purged_project(
    board: Board, root: Person, olga: Person, alice: Person, desk: Desk, connection: Any
) -> None:
    await fill(board, olga, alice)
    files = await connection.fetch("select stored_name from attachments")
    assert files
    await purge(board, root)
    job = Purges(desk)

    await job.turn()
    assert await connection.fetchval("select count(*) from projects where id = $1", board.id) == 1
    kept = await connection.fetch("select seq from events where channel = 'project:1' order by seq")
    assert kept[0]["seq"] == 1, "who was away for a moment catches up without a hole"
    assert await sql.server.faults(connection) == []
    await connection.execute(MINUTE.format("projects"))
    await job.turn()

    left = await everything(connection)
    for table in left:
        if table not in ("audit", "removed_files"):  # the audit says what administrators did
            assert "secret" not in left[table].lower(), table
        if table in EMPTY:
            assert not left[table], table
    assert not await connection.fetch("select from events where channel = $1", "project:1")
    assert not await connection.fetch("select from feeds where channel = $1", "project:1")
    entries = await connection.fetch(
        "select user_id, project_id, minutes, description from time_entries"
    )
    assert [tuple(row) for row in entries] == [(ALICE, None, 5, "")]
    await FileKeeper(desk).turn()
    assert not [name for name in files if [*Path(desk.settings.file_store).rglob(name[0])]]
    assert await job.turn() == 0


async def test_a_live_account_is_not_purged(root: Person) -> None:
    answer = await root.delete(f"/users/{BOB}/permanent", status=409)
    assert answer["code"] == "not_deleted"
    await root.delete("/users/99/permanent", status=404)


@pytest.mark.foul
async def test_nothing_personal_stays_of_a_purged_person(
    board: Board,
    root: Person,
    olga: Person,
    alice: Person,
    bob: Person,
    twin: Door,
    desk: Desk,
    connection: Any,
) -> None:
    async with bob.socket("demo"):
        email, name = "zelda.quux@example.net", "Zelda Quux"
        picture = form(("zelda.png", PNG), part="avatar")
        await root.post("/admin/invitations", {"email": "Alice@example.org"})
        assert (await alice.get("/users/me"))["email"] == "alice@example.org"
        await alice.post("/auth/api-keys", {"name": "Zelda's laptop"})
        await alice.request("POST", "/users/me/avatar", picture, headers=AS_FORM)
        profile = {"display_name": name, "first_name": "Zelda", "last_name": "Quux", "email": email}
        profile["current_password"] = PASSWORD
        await alice.put("/users/me", {**profile, "timezone": "Asia/Tokyo"})
        await root.put(f"/users/{ALICE}", {"first_name": "Zelda Q."})
        names = await fill(board, olga, alice)
        history = f"{board.path}/cards/{names['card_id']}/history"
        await olga.put(history.removesuffix("/history"), {"assignee_ids": []})
        assert "Zelda Quux" in [each["detail"] for each in await bob.get(history)]
        await bob.post(f"/favorite-users/{ALICE}", status=204)
        group = await alice.post("/conversations", {"user_ids": [BOB, OLGA]}, key="k1")
        await alice.post(f"/conversations/{group['id']}/messages", {"body": "What stays"})
        await olga.post(f"{board.path}/chat/messages", {"body": "Hello @alice"}, key="k2")
        await root.put(f"{board.path}/members/{ALICE}", {"role": "owner"})
        made = {"email": "z2@example.net", "username": "zelda2", "password": PASSWORD}
        await root.post("/users", made, key="k3")
        typed = "insert into mails (kind, address) values ('password', 'Zelda.Quux@example.net')"
        await connection.execute(typed)
        await root.delete(f"/users/{ALICE}")
        assert "Zelda" in str(await bob.get(f"{board.path}/events?since=0"))

        rooms, channel = desk.hub.rooms, project_channel(board.id)
        assert not is_clean(rooms[channel])
        async with olga.socket("demo") as socket:
            await root.delete(f"/users/{ALICE}/permanent")
            told = (await socket.next("project.member_updated"))["payload"]
            assert told["user"] == {
                "id": ALICE,
                "username": f"deleted:{ALICE}",
                "display_name": "Deleted user",
                "avatar_url": None,
            }
            await root.delete(f"/users/{ALICE}/permanent", status=404)
            job = Purges(desk)
            job.after = type(job.after)()
            await job.turn()
            removed = (await socket.next("project.member_removed"))["payload"]
            assert removed == {"user_id": ALICE}

        for table, rows in (await everything(connection)).items():
            for word in ("zelda.", "Zelda", "Quux", "quux", '"alice"', "alice@", "Asia/Tokyo"):
                assert word not in rows, (table, word)
        assert await sql.server.faults(connection) == []
        assert await connection.fetchval("select count(*) from avatars") == 0
        assert await connection.fetchval("select scrubbed_at from users where id = $1", ALICE)
        comments = await bob.get(f"{board.path}/cards/{names['card_id']}/comments")
        assert {each["body"]: each["user"]["display_name"] for each in comments}[
            "A secret comment"
        ] == "Deleted user"
        unassigned = next(
            each for each in await bob.get(history) if each["event_type"] == "unassigned"
        )
        assert (unassigned["from_value"], unassigned["detail"]) == (str(ALICE), "Deleted user")
        said = await bob.get(f"/conversations/{group['id']}/messages")
        assert (said[0]["body"], said[0]["sender"]["id"]) == ("What stays", ALICE)
        card = await bob.get(f"{board.path}/cards/{names['card_id']}")
        assert (card["assignees"], card["created_by"]["id"]) == ([], ALICE)
        for place in (desk, twin.desk):
            room = place.hub.rooms.get(project_channel(board.id))
            await until(partial(is_clean, room))
        assert "Zelda" not in str(await bob.get(f"{board.path}/events?since=0"))
        for path in (
            f"/users/{ALICE}",
            f"/users/{ALICE}/login-history",
            f"/users/{ALICE}/projects",
        ):
            await root.get(path, status=404)
        await root.post(f"/users/{ALICE}/restore", status=404)
        assert ALICE not in {each["id"] for each in await root.get("/users?include_deleted=true")}
        # What a program of before wrote and did not take away is not shown.
        key = json.dumps({"name": "Zelda's laptop", "user_id": ALICE, "scopes": ["read"]})
        await connection.execute(
            "insert into audit (actor_id, ip, action, target_type, after)"
            " values ($1, '', 'key.created', 'api_key', $2)",
            *(ALICE, key),
        )
        await connection.execute(
            "update card_history set detail = $1 where field = $2", name, "assignees"
        )
        (line,) = (await root.get("/admin/audit?action=key.created"))[:1]
        assert line["after"] == {"user_id": ALICE, "project_id": None, "scopes": ["read"]}
        assert "Zelda" not in str(await bob.get(history))
        assert await job.turn() == 0
        await root.post("/users", {"email": email, "username": "alice", "password": PASSWORD})
        refused = await root.request(
            "POST", "/auth/login", {"username": f"deleted:{ALICE}", "password": ""}
        )
        assert refused.status in (400, 401)


async def test_administrators_see_and_change_all_projects(
    board: Board, root: Person, olga: Person
) -> None:
    old = await olga.post("/projects", {"name": "An old one"})
    await olga.delete("/projects/an-old-one")

    listed = await root.get("/admin/projects")

    assert [(each["slug"], each["is_archived"]) for each in listed] == [
        ("an-old-one", True),
        ("demo", False),
    ]
    assert [each["id"] for each in await root.get("/admin/projects?q=old")] == [old["id"]]
    async with olga.socket("an-old-one") as socket:
        changed = await root.put("/admin/projects/an-old-one", {"is_archived": False})
        assert not changed["is_archived"]
        await socket.next("project.unarchived")
    await root.put("/admin/projects/demo", {"name": ""}, status=400)
    await root.put("/admin/projects/demo", {"slug": "other"}, status=422)
    actions = [line["action"] for line in await root.get(f"/admin/audit?actor_id={OLGA}")]
    assert actions[0] == "project.archived"
