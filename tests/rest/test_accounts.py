"""What administrators do to accounts, and that it is written down."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.closed import check
from tests.conftest import Board, Door, Invite, until
from tests.person import Person
from warmdesk.auth.tokens import digest
from warmdesk.desk import Desk
from warmdesk.realtime.channels import project_channel
from warmdesk.schemas.audit import AuditLine
from warmdesk.schemas.users import Account, LoginEvent, UserProject

ROOT, OLGA, ALICE, BOB, EVE = 1, 2, 3, 4, 5


async def audit(root: Person, query: str = "") -> list[dict[str, Any]]:
    lines = await root.get(f"/admin/audit?{query}")
    for line in lines:
        check(line, AuditLine, "line")
    return list(lines)


async def test_who_is_deleted_is_out_at_once_on_every_worker(
    board: Board, root: Person, alice: Person, twin: Door
) -> None:
    elsewhere = Person(twin.url, "alice")
    async with alice.socket("demo") as board_socket, elsewhere.socket("user") as user_socket:
        await board_socket.next("hello")
        await user_socket.next("hello")

        await root.delete(f"/users/{ALICE}")

        assert await board_socket.closed(limit=2) == 4403
        assert await user_socket.closed(limit=2) == 4403
    await alice.get("/users/me", status=401)
    await elsewhere.get("/users/me", status=401)
    await elsewhere.close()
    refused = await root.request("POST", "/auth/login", {"username": "alice", "password": "wrong"})
    assert refused.status == 401
    assert not await root.get("/users?q=alice")
    shown = (await root.get("/users?q=alice&include_deleted=true"))[0]
    check(shown, Account, "account")
    assert shown["deleted_at"] is not None


@pytest.mark.parametrize("end", ["deleted", "deactivated", "of service"])
async def test_a_key_ends_with_its_account_on_every_worker(
    board: Board, root: Person, twin: Door, person: Invite, connection: Any, end: str
) -> None:
    key = "wd_" + "5" * 48
    await connection.execute(
        "insert into api_keys (user_id, name, key_hash, key_prefix) values ($1, 'k', $2, 'wd_5')",
        ALICE,
        digest(key),
    )
    bot = person("alice", url=twin.url, api_key=key)
    async with bot.socket("demo") as socket:
        await socket.next("hello")
        if end == "deleted":
            await root.delete(f"/users/{ALICE}")
        else:
            change = {"is_active": False} if end == "deactivated" else {"global_role": "backup"}
            await root.put(f"/users/{ALICE}", change)

        assert await socket.closed(limit=2) == 4403
    await bot.get(board.path, status=403 if end == "of service" else 401)


async def test_what_was_deleted_comes_back_as_it_was(
    board: Board, root: Person, alice: Person
) -> None:
    await alice.get("/users/me")
    before = await root.get(f"/users/{ALICE}")
    message = await alice.post(f"{board.path}/chat/messages", {"body": "Hello"})
    await root.delete(f"/users/{ALICE}")
    await root.delete(f"/users/{ALICE}", status=404)
    await root.put(f"/users/{ALICE}", {"global_role": "admin"}, status=404)
    said = (await root.get(f"{board.path}/chat/messages"))[0]
    assert said["user"] == message["user"]
    taken = {"username": "ALICE", "email": "a@example.org", "password": "alice number two"}
    await root.post("/users", taken, status=409)

    after = await root.post(f"/users/{ALICE}/restore", status=200)

    assert after == before | {"updated_at": after["updated_at"]}
    assert await root.post(f"/users/{ALICE}/restore", status=200) == after
    await root.post("/users/99/restore", status=404)
    alice.client.token = None
    assert (await alice.get(f"{board.path}"))["my_role"] == "member"


async def test_nobody_takes_the_last_administrator_away(root: Person, olga: Person) -> None:
    for answer in (
        await root.delete(f"/users/{ROOT}", status=422),
        await root.put(f"/users/{ROOT}", {"is_active": False}, status=422),
        await root.put(f"/users/{ROOT}", {"global_role": "user"}, status=422),
    ):
        assert answer["code"] == "own_account"
    await root.put(f"/users/{OLGA}", {"global_role": "admin"})
    await olga.get("/users")

    both = await asyncio.gather(
        root.request("DELETE", f"/users/{OLGA}"), olga.request("DELETE", f"/users/{ROOT}")
    )

    assert sorted(answer.status for answer in both) in ([204, 401], [204, 403], [204, 404])
    alive = root if both[0].status == 204 else olga
    assert len(await alive.get("/users?role=admin")) == 1


async def test_the_login_history_says_who_did_what(
    board: Board, root: Person, alice: Person
) -> None:
    await alice.get("/users/me")
    await root.request("POST", "/auth/login", {"username": "alice", "password": "wrong"})
    await root.put(f"/users/{ALICE}", {"must_change_password": True})

    lines = await root.get(f"/users/{ALICE}/login-history")

    for line in lines:
        check(line, LoginEvent, "line")
    assert [(line["event"], line["actor"] and line["actor"]["id"]) for line in lines] == [
        ("admin_user_updated", ROOT),
        ("login_failed", None),
        ("login_ok", None),
    ]
    assert lines[1]["ip"] == "127.0.0.1"
    await root.get("/users/99/login-history", status=404)


async def test_an_administrator_says_in_which_projects_somebody_is(
    board: Board, root: Person, olga: Person, alice: Person
) -> None:
    other = await olga.post("/projects", {"name": "Other"})
    async with alice.socket("user") as hers, olga.socket(other["slug"]) as there:
        listed = await root.put(f"/users/{ALICE}/projects", {"project_ids": [other["id"]]})

        for each in listed:
            check(each, UserProject, "project")
        assert [(each["slug"], each["role"]) for each in listed] == [("other", "member")]
        assert (await there.next("project.member_added"))["payload"]["user_id"] == ALICE
        assert (await hers.next("project.left"))["payload"] == {"slug": "demo"}
        assert (await hers.next("project.joined"))["payload"] == {"slug": "other"}
    assert await root.get(f"/users/{ALICE}/projects") == listed
    await alice.get(board.path, status=404)
    again = await root.put(f"/users/{ALICE}/projects", {"project_ids": [other["id"]] * 2})
    assert again == listed
    lines = await audit(root, f"actor_id={ROOT}")
    assert [line["action"] for line in lines] == ["member.added", "member.removed"]


async def test_who_owns_a_project_alone_stays_in_it(
    board: Board, root: Person, olga: Person
) -> None:
    listed = await root.put(f"/users/{OLGA}/projects", {"project_ids": []})
    assert [(each["slug"], each["role"]) for each in listed] == [("demo", "owner")]
    await root.put(f"{board.path}/members/{ALICE}", {"role": "owner"})

    assert await root.put(f"/users/{OLGA}/projects", {"project_ids": []}) == []


async def test_memberships_that_cannot_be_change_nothing(
    board: Board, root: Person, olga: Person
) -> None:
    old = await olga.post("/projects", {"name": "Old"})
    await olga.delete("/projects/old")
    path = f"/users/{EVE}/projects"
    for ids, status, code in (
        ([board.id, 99], 422, "impossible"),
        ([board.id, old["id"]], 422, "project_archived"),
        ([board.id, 0], 400, "invalid_fields"),
        ("all", 400, "invalid_fields"),
        ([*range(10_000, 10_201)], 422, "impossible"),
    ):
        answer = await root.put(path, {"project_ids": ids}, status=status)
        assert (answer["code"], next(iter(answer["fields"]))[:11]) == (code, "project_ids")
    assert await root.get(path) == []
    await root.put(f"/users/{EVE}", {"global_role": "metrics"})
    await root.put(path, {"project_ids": [board.id]}, status=422)
    await root.put("/users/99/projects", {"project_ids": []}, status=404)


async def test_the_audit_says_who_changed_which_right(
    board: Board, root: Person, olga: Person, alice: Person
) -> None:
    await alice.get("/users/me")
    begun = (await audit(root))[0]["id"]
    await olga.put(f"{board.path}/members/{ALICE}", {"role": "admin"})
    await olga.put(f"{board.path}/members/{ALICE}", {"role": "admin"})
    await root.put(f"/users/{ALICE}", {"global_role": "viewer", "theme": "dark"})
    await root.put(f"/users/{ALICE}", {"theme": "light"})
    await root.put(f"/users/{ALICE}", {"is_active": False})
    await root.put(f"/users/{ALICE}", {"is_active": True, "password": "a new one, not told"})
    await root.delete(f"/users/{ALICE}")
    await root.post(f"/users/{ALICE}/restore", status=200)

    lines = [line for line in await audit(root) if line["id"] > begun]

    assert {line["ip"] for line in lines} == {"127.0.0.1"}
    assert [
        (line["actor"]["id"], line["action"], line["target_type"], line["target_id"])
        for line in lines[::-1]
    ] == [
        (OLGA, "member.role_changed", "project", board.id),
        (ROOT, "user.role_changed", "user", ALICE),
        (ROOT, "session.ended", "user", ALICE),
        (ROOT, "user.deactivated", "user", ALICE),
        (ROOT, "user.activated", "user", ALICE),
        (ROOT, "user.password_reset", "user", ALICE),
        (ROOT, "user.deleted", "user", ALICE),
        (ROOT, "user.restored", "user", ALICE),
    ]
    assert (lines[-1]["before"], lines[-1]["after"]) == (
        {"user_id": ALICE, "role": "member"},
        {"user_id": ALICE, "role": "admin"},
    )
    assert (lines[-2]["before"], lines[-2]["after"]) == (
        {"global_role": "user"},
        {"global_role": "viewer"},
    )
    assert "a new one" not in str(lines)
    assert (await audit(root, f"actor_id={OLGA}"))[0] == lines[-1]
    assert await audit(root, "action=user.deleted") == lines[1:2]
    assert await audit(root, f"before={lines[1]['id']}&limit=1") == lines[2:3]
    assert "action" in (await root.get("/admin/audit?action=user.eaten", status=400))["fields"]


async def test_the_audit_says_who_gave_somebody_another_name_or_address(
    board: Board, root: Person, alice: Person
) -> None:
    me = await alice.get("/users/me")
    changed = {"email": "New@Example.org", "username": "alicia", "display_name": " Alicia "}
    for _ in range(2):
        await root.put(f"/users/{ALICE}", {**changed, "theme": "dark"})
    await root.put(f"/users/{ALICE}", {"must_change_password": True})
    await alice.put("/users/me", {"last_name": "Liddell"})

    lines = await audit(root, "action=user.updated")

    assert [(line["actor"]["id"], line["target_id"], line["ip"]) for line in lines] == [
        (ROOT, ALICE, "127.0.0.1")
    ] * 2
    assert lines[0]["before"] == {"must_change_password": False}
    assert (lines[1]["before"], lines[1]["after"]) == (
        {name: me[name] for name in changed},
        {"email": "new@example.org", "username": "alicia", "display_name": "Alicia"},
    )
    await root.put(f"/users/{ALICE}", {"display_name": None})
    line = (await audit(root, "action=user.updated"))[0]
    assert (line["before"], line["after"]) == (
        {"display_name": "Alicia"},
        {"display_name": "Liddell"},
    )


@pytest.mark.parametrize("verb", ["delete", "deactivate", "demote"])
async def test_what_ends_is_out_of_an_open_wait(
    board: Board, root: Person, bob: Person, desk: Desk, verb: str
) -> None:
    seq = (await bob.get(f"{board.path}/events?since=0"))["seq"]
    waiting = asyncio.create_task(bob.request("GET", f"{board.path}/events?since={seq}&wait=30"))
    rooms, channel = desk.hub.rooms, project_channel(board.id)
    await until(lambda: channel in rooms and rooms[channel].waiting)
    if verb == "delete":
        await root.delete(f"/users/{BOB}")
    else:
        change = {"is_active": False} if verb == "deactivate" else {"global_role": "metrics"}
        await root.put(f"/users/{BOB}", change)

    answer = await asyncio.wait_for(waiting, 4)

    assert answer.status == (403 if verb == "demote" else 401)
