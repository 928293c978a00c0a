"""Members: who may add, promote and remove whom, and what everybody hears of it."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from tests.conftest import Board, Invite
from tests.locks import waiting
from tests.person import Person
from warmdesk.changes import accounts
from warmdesk.metrics import DB_RETRIES
from warmdesk.metrics.rows import ROWS

NUMBERS = itertools.count(1)


@pytest.fixture
async def admin(board: Board, olga: Person, person: Invite) -> Person:
    """Eve, made a project admin of demo."""
    await olga.post(f"{board.path}/members", {"username": "eve", "role": "admin"})
    return person("eve")


async def account(root: Person, global_role: str = "user") -> Any:
    """A new account."""
    n = next(NUMBERS)
    return await root.post(
        "/users",
        {
            "email": f"new{n}@example.org",
            "username": f"new{n}",
            "password": "correct horse battery",
            "global_role": global_role,
        },
    )


async def test_a_new_member_is_told_to_everybody_and_to_them(
    olga: Person, bob: Person, eve: Person, board: Board
) -> None:
    await eve.get(board.path, status=404)
    async with bob.socket("demo") as his, eve.socket("user") as hers:
        added = await olga.post(f"{board.path}/members", {"user_id": eve.id})
        told = await his.next("project.member_added")
        joined = await hers.next("project.joined")

    assert told["payload"] == added
    assert joined["payload"] == {"slug": "demo"}
    assert (added["user_id"], added["role"], added["invited_by"]) == (eve.id, "member", olga.id)
    assert added["user"]["username"] == "eve"
    assert (await eve.get(board.path))["my_role"] == "member"


async def test_a_user_is_found_by_any_of_their_names(
    olga: Person, eve: Person, board: Board
) -> None:
    for name in (
        {"user_id": eve.id},
        {"username": "EVE"},
        {"email": "Eve@Example.org"},
        {"login": "eve"},
        {"login": "eve@example.org"},
    ):
        added = await olga.post(f"{board.path}/members", name)
        assert added["user_id"] == eve.id
        await olga.delete(f"{board.path}/members/{eve.id}")


async def test_who_cannot_be_added_is_refused(
    olga: Person, root: Person, eve: Person, board: Board
) -> None:
    path = f"{board.path}/members"
    service, gone = await account(root, "metrics"), await account(root)
    await root.put(f"/users/{gone['id']}", {"is_active": False})
    for name in (
        {"user_id": 999_999},
        {"username": "nobody"},
        {"email": "nobody@example.org"},
        {"user_id": service["id"]},
        {"user_id": gone["id"]},
    ):
        await olga.post(path, name, status=422)
    await olga.post(path, {"username": "alice"}, status=409)
    for malformed in (
        {},
        {"username": "eve", "role": "king"},
        {"user_id": "5"},
        {"user_id": 0},
        {"username": ""},
        {"username": "eve", "email": "eve@example.org"},
    ):
        await olga.post(path, malformed, status=400)
    await eve.get(board.path, status=404)


async def test_one_user_is_added_once_even_if_asked_for_many_times(
    olga: Person, eve: Person, board: Board
) -> None:
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(olga.request("POST", f"{board.path}/members", {"username": "eve"}))
            for _ in range(8)
        ]
    assert sorted(each.result().status for each in asked) == [201] + [409] * 7


async def test_project_admins_add_viewers_and_members_only(
    root: Person, admin: Person, alice: Person, bob: Person, board: Board
) -> None:
    path = f"{board.path}/members"
    for role, status in (("viewer", 201), ("member", 201), ("admin", 403), ("owner", 403)):
        new = await account(root)
        await admin.post(path, {"user_id": new["id"], "role": role}, status=status)
    new = await account(root)
    for person in (alice, bob):
        await person.post(path, {"user_id": new["id"], "role": "viewer"}, status=403)


async def test_only_owners_promote_and_remove_others(
    admin: Person, alice: Person, bob: Person, board: Board
) -> None:
    for person in (admin, alice, bob):
        other = alice if person is not alice else bob
        path = f"{board.path}/members/{other.id}"
        await person.put(path, {"role": "admin"}, status=403)
        await person.put(f"{path}/role", {"role": "admin"}, status=403)
        await person.delete(path, status=403)
        await person.delete(f"{board.path}/members/999999", status=403)


async def test_a_role_is_changed_and_counts_at_once(
    olga: Person, alice: Person, bob: Person, board: Board
) -> None:
    async with bob.socket("demo") as his:
        changed = await olga.put(f"{board.path}/members/{alice.id}", {"role": "admin"})
        told = await his.next("project.member_updated")
        same = await olga.put(f"{board.path}/members/{alice.id}/role", {"role": "admin"})
        await his.settle()
        assert his.waiting("project.member_updated") == []

    assert told["payload"] == changed == same
    assert changed["role"] == "admin"
    await alice.post(f"{board.path}/columns", {"name": "Hers"})
    await olga.put(f"{board.path}/members/{alice.id}/role", {"role": "viewer"})
    await alice.post(f"{board.path}/columns", {"name": "No"}, status=403)
    await olga.put(f"{board.path}/members/{alice.id}", {"role": "king"}, status=400)
    await olga.put(f"{board.path}/members/{alice.id}", {}, status=400)
    for stranger in (999_999, 5, "x"):
        await olga.put(f"{board.path}/members/{stranger}", {"role": "member"}, status=404)


async def test_a_removed_member_leaves_their_cards_and_sockets(
    olga: Person, alice: Person, bob: Person, board: Board, connection: Any
) -> None:
    card = await board.card("Fix the door", assignee_ids=[alice.id, olga.id])
    watch = "insert into card_watchers (card_id, user_id) values ($1, $2)"
    await connection.execute(watch, card["id"], alice.id)
    async with (
        bob.socket("demo") as his,
        alice.socket("demo") as hers,
        alice.socket("user") as own,
    ):
        await olga.delete(f"{board.path}/members/{alice.id}")
        told = await his.next("project.member_removed")
        left = await own.next("project.left")
        code = await hers.closed()

    assert (told["payload"], left["payload"]) == ({"user_id": alice.id}, {"slug": "demo"})
    assert code == 4403
    await alice.get(board.path, status=404)
    shown = await bob.get(f"{board.path}/cards/{card['id']}")
    assert [user["id"] for user in shown["assignees"]] == [olga.id]
    assert (shown["assignee_id"], shown["watchers"]) == (olga.id, [])
    assert shown["version"] == card["version"]
    await olga.delete(f"{board.path}/members/{alice.id}", status=404)


async def test_everybody_may_leave_but_the_last_owner(
    olga: Person, alice: Person, bob: Person, board: Board
) -> None:
    for person in (alice, bob):
        await person.delete(f"{board.path}/members/{person.id}")
        await person.get(board.path, status=404)
    refused = await olga.delete(f"{board.path}/members/{olga.id}", status=422)
    assert refused["code"] == "last_owner"
    await olga.put(f"{board.path}/members/{olga.id}", {"role": "member"}, status=422)
    assert [m["user_id"] for m in await olga.get(f"{board.path}/members")] == [olga.id]


async def test_somebody_in_as_many_projects_as_there_may_be_gets_no_other(
    alice: Person, olga: Person, eve: Person, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "PROJECTS", 1)
    refused = "a person is a member of at most 1 projects"

    made = await alice.post("/projects", {"name": "Other"}, status=422)
    assert (made["error"], made["code"]) == (refused, "too_many_projects")
    await eve.post("/projects", {"name": "Other"})
    for name in ({"user_id": eve.id}, {"username": "eve"}):
        (field,) = name
        added = await olga.post(f"{board.path}/members", name, status=422)
        assert (added["error"], added["code"]) == (f"{field}: {refused}", "too_many_projects")
        assert added["fields"] == {field: "conflicting"}

    await alice.delete(f"{board.path}/members/{alice.id}")
    await alice.post("/projects", {"name": "Mine"})


async def test_an_owner_remains_after_twenty_parallel_demotions(
    olga: Person, root: Person, board: Board
) -> None:
    owners = [olga.id]
    for _ in range(19):
        new = await account(root)
        await olga.post(f"{board.path}/members", {"user_id": new["id"], "role": "owner"})
        owners.append(new["id"])
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(
                root.request("PUT", f"{board.path}/members/{owner}", {"role": "member"})
                if n % 2
                else root.request("DELETE", f"{board.path}/members/{owner}")
            )
            for n, owner in enumerate(owners)
        ]
    statuses = sorted(each.result().status for each in asked)
    assert statuses.count(422) == 1, statuses
    assert set(statuses) <= {200, 204, 422}
    members = await root.get(f"{board.path}/members")
    assert sum(member["role"] == "owner" for member in members) == 1


@pytest.mark.parametrize(
    "what",
    [
        "global_role = 'viewer'",
        "global_role = 'metrics'",
        "is_active = false",
        "deleted_at = now()",
    ],
)
async def test_the_last_owner_who_may_act_stays(
    olga: Person, root: Person, eve: Person, board: Board, connection: Any, what: str
) -> None:
    await olga.post(f"{board.path}/members", {"user_id": eve.id, "role": "owner"})
    await connection.execute(f"update users set {what} where id = $1", eve.id)
    for refused in (
        await olga.delete(f"{board.path}/members/{olga.id}", status=422),
        await olga.put(f"{board.path}/members/{olga.id}", {"role": "admin"}, status=422),
        await root.delete(f"{board.path}/members/{olga.id}", status=422),
    ):
        assert refused["code"] == "last_owner"
    await olga.put(f"{board.path}/members/{eve.id}", {"role": "admin"})
    await olga.put(f"{board.path}/members/{eve.id}", {"role": "owner"})
    await olga.delete(f"{board.path}/members/{eve.id}")


async def test_owners_who_may_not_act_stay_until_another_is_there(
    olga: Person, alice: Person, root: Person, eve: Person, board: Board
) -> None:
    await olga.post(f"{board.path}/members", {"user_id": eve.id, "role": "owner"})
    for person in (olga, eve):
        await root.put(f"/users/{person.id}", {"is_active": False})
    await root.delete(f"{board.path}/members/{eve.id}", status=422)
    await root.put(f"{board.path}/members/{alice.id}", {"role": "owner"})
    await root.delete(f"{board.path}/members/{eve.id}")
    await alice.delete(f"{board.path}/members/{olga.id}")


async def test_no_owner_leaves_while_the_other_is_being_deactivated(
    olga: Person, eve: Person, board: Board, connection: Any
) -> None:
    await olga.post(f"{board.path}/members", {"user_id": eve.id, "role": "owner"})
    async with connection.transaction():
        await connection.execute("update users set is_active = false where id = $1", eve.id)
        leaving = asyncio.create_task(olga.delete(f"{board.path}/members/{olga.id}", status=422))
        await waiting(connection)
    assert (await leaving)["code"] == "last_owner"


def lost_races() -> float:
    """How often a change of this process had to start again because it waited in a circle."""
    return float(ROWS.mine[DB_RETRIES.at(state="40P01").offset])


async def test_owners_who_demote_each_other_do_not_wait_in_a_circle(
    olga: Person, root: Person, person: Invite, board: Board
) -> None:
    before = lost_races()
    people = [olga]
    for _ in range(5):
        new = await account(root)
        await olga.post(f"{board.path}/members", {"user_id": new["id"], "role": "owner"})
        people.append(person(new["username"], id=new["id"]))
    for each in people:
        await each.token()
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(
                one.request("PUT", f"{board.path}/members/{other.id}", {"role": "member"})
            )
            for one, other in zip(people, people[1:] + people[:1], strict=True)
        ]
    statuses = {each.result().status for each in asked}
    assert statuses <= {200, 403, 422}
    members = await root.get(f"{board.path}/members")
    assert sum(member["role"] == "owner" for member in members) >= 1
    assert lost_races() == before


async def test_who_changes_owners_waits_in_no_circle_with_who_changes_their_accounts(
    olga: Person, root: Person, person: Invite, board: Board
) -> None:
    before = lost_races()
    owners = [olga.id]
    for _ in range(5):
        new = await account(root)
        await olga.post(f"{board.path}/members", {"user_id": new["id"], "role": "owner"})
        owners.append(new["id"])
    for n in range(4):
        async with asyncio.TaskGroup() as group:
            for owner in owners:
                member = f"{board.path}/members/{owner}"
                group.create_task(root.request("PUT", member, {"role": ("admin", "owner")[n % 2]}))
                name = {"display_name": f"Owner {n}"}
                group.create_task(root.request("PUT", f"/users/{owner}", name))
                seen = {"is_active": bool(n % 2)}
                group.create_task(root.request("PUT", f"/users/{owner}", seen))
    assert lost_races() == before


async def test_only_project_admins_and_owners_see_mail_addresses(
    olga: Person, root: Person, alice: Person, bob: Person, admin: Person, board: Board
) -> None:
    for person in (alice, bob):
        assert all("email" not in member for member in await person.get(f"{board.path}/members"))
    for person in (olga, root, admin):
        mails = [member["email"] for member in await person.get(f"{board.path}/members")]
        assert mails[0] == "olga@example.org"
    assert all("email" not in member for member in (await olga.get(board.path))["members"])


async def test_members_come_in_pages(olga: Person, board: Board) -> None:
    path = f"{board.path}/members"
    everybody = await olga.get(path)
    assert [member["user"]["username"] for member in everybody] == ["olga", "alice", "bob"]
    first = await olga.request("GET", f"{path}?limit=2")
    assert first.body == everybody[:2]
    assert 'rel="next"' in first.headers["Link"]
    assert [member async for member in olga.client.items(f"{path}?limit=1")] == everybody
    assert len(await olga.get(f"{path}?limit=-5")) == 1
    assert "Link" not in (await olga.request("GET", f"{path}?limit=999999")).headers
    for wrong in ("limit=x", "cursor=x", "cursor=-1"):
        await olga.get(f"{path}?{wrong}", status=400)


async def test_an_archived_project_takes_nobody_in_but_lets_everybody_go(
    olga: Person, alice: Person, bob: Person, board: Board
) -> None:
    await olga.delete(board.path)
    await olga.post(f"{board.path}/members", {"username": "eve"}, status=422)
    await olga.put(f"{board.path}/members/{bob.id}", {"role": "member"}, status=422)
    await alice.delete(f"{board.path}/members/{alice.id}")
    await olga.delete(f"{board.path}/members/{bob.id}")


async def test_strangers_and_other_projects_learn_nothing(
    eve: Person, olga: Person, alice: Person, board: Board
) -> None:
    await eve.get(f"{board.path}/members", status=404)
    await eve.post(f"{board.path}/members", {"username": "eve", "role": "owner"}, status=404)
    await eve.put(f"{board.path}/members/{eve.id}", {"role": "owner"}, status=404)
    await eve.delete(f"{board.path}/members/{eve.id}", status=404)
    hers = await eve.post("/projects", {"name": "Hers"})
    await eve.put(f"/projects/{hers['slug']}/members/{alice.id}", {"role": "owner"}, status=404)
    await eve.delete(f"/projects/{hers['slug']}/members/{alice.id}", status=404)
    assert len(await olga.get(f"{board.path}/members")) == 3


async def test_a_global_viewer_who_owns_is_no_more_than_a_viewer(
    root: Person, olga: Person, person: Invite, board: Board
) -> None:
    new = await account(root, "viewer")
    await olga.post(f"{board.path}/members", {"user_id": new["id"], "role": "owner"})
    viewer = person(new["username"], id=new["id"])
    assert (await viewer.get(board.path))["my_role"] == "viewer"
    await viewer.put(board.path, {"name": "Mine"}, status=403)
    await viewer.post(f"{board.path}/members", {"username": "eve"}, status=403)
