"""Favourites, who is online, names for ids, and whom pickers find."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.closed import check
from tests.conftest import Board, Door, Invite, Wait
from tests.person import Person
from warmdesk.desk import Desk
from warmdesk.schemas.users import UserRef

ROOT, OLGA, ALICE, BOB, EVE = range(1, 6)


async def ids(person: Person, path: str) -> list[int]:
    return [each["id"] for each in await person.get(path)]


# Favourites


async def test_favourites_are_ones_own(alice: Person, bob: Person) -> None:
    assert await alice.get("/favorite-users") == []
    for _ in range(2):
        await alice.post(f"/favorite-users/{EVE}", status=204)
    await alice.post(f"/favorite-users/{OLGA}", status=204)

    shown = await alice.get("/favorite-users")
    first = await alice.request("GET", "/favorite-users?limit=1")
    following = first.headers["Link"][1:].partition(">")[0].partition("/api/v1")[2]
    second = await alice.request("GET", following)
    assert (first.body + second.body, "Link" in second.headers) == (shown, False)
    for user in shown:
        check(user, UserRef, "a favourite")
    assert [user["username"] for user in shown] == ["olga", "eve"]
    assert await bob.get("/favorite-users") == []

    for _ in range(2):
        await alice.delete(f"/favorite-users/{OLGA}")
    await bob.delete(f"/favorite-users/{EVE}")
    assert await ids(alice, "/favorite-users") == [EVE]


async def test_who_cannot_be_found_is_no_favourite(alice: Person, connection: Any) -> None:
    await alice.post("/favorite-users/999", status=404)
    refused = await alice.post(f"/favorite-users/{ALICE}", status=422)
    assert refused["code"] == "own_account"
    for change in ("is_active = false", "deleted_at = now()", "global_role = 'backup'"):
        await connection.execute(f"update users set {change} where id = $1", BOB)
        await alice.post(f"/favorite-users/{BOB}", status=404)
        await connection.execute(
            "update users set is_active = true, deleted_at = null, global_role = 'user'"
            " where id = $1",
            BOB,
        )
    assert await connection.fetchval("select count(*) from favorite_users") == 0


async def test_a_favourite_whose_account_is_closed_comes_back_with_it(
    alice: Person, root: Person
) -> None:
    await alice.post(f"/favorite-users/{EVE}", status=204)
    await root.put(f"/users/{EVE}", {"is_active": False})
    assert await ids(alice, "/favorite-users") == []
    await root.put(f"/users/{EVE}", {"is_active": True})
    assert await ids(alice, "/favorite-users") == [EVE]


# Who is online


async def test_only_those_near_me_are_told_to_be_online(
    board: Board,
    twin: Door,
    alice: Person,
    olga: Person,
    eve: Person,
    root: Person,
    person: Invite,
    eventually: Wait,
) -> None:
    far = person("olga", url=twin.url)
    async with far.socket("demo") as socket, eve.socket("user") as other:
        await socket.next("presence.list")
        await other.next("hello")

        async def both() -> bool:
            return await ids(root, "/online-users") == [EVE, OLGA, ROOT]  # who follows the board

        await eventually(both)
        for user in await root.get("/online-users"):
            check(user, UserRef, "who is online")
        assert await ids(alice, "/online-users") == [OLGA]
        assert await ids(eve, "/online-users") == [EVE]

        await alice.post("/conversations", {"user_ids": [EVE]})
        assert await ids(alice, "/online-users") == [EVE, OLGA]
        assert await ids(eve, "/online-users") == [EVE]

    async def neither() -> bool:
        return await ids(root, "/online-users") == [ROOT]

    await eventually(neither, limit=15)  # they are gone when they were away for five seconds


async def test_without_redis_those_of_this_process_are_told(
    board: Board, desk: Desk, olga: Person, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> set[int]:
        raise ConnectionError("Redis is away")

    async with olga.socket("demo") as socket:
        await socket.next("presence.list")
        monkeypatch.setattr(desk.presence.leases, "everybody_online", away)
        assert await ids(alice, "/online-users") == [OLGA]


async def test_a_closed_account_is_not_told(
    board: Board, desk: Desk, olga: Person, alice: Person, connection: Any
) -> None:
    async with olga.socket("demo") as socket:
        await socket.next("presence.list")
        assert await ids(alice, "/online-users") == [OLGA]
        await connection.execute("update users set is_active = false where id = $1", OLGA)
        assert await ids(alice, "/online-users") == []


# Names


async def test_names_are_told_of_those_i_see_somewhere(
    board: Board, alice: Person, bob: Person, eve: Person, olga: Person, root: Person
) -> None:
    everybody = "/users/refs?ids=5,4,3,2,1,999"
    shown = await root.get(everybody)
    for user in shown:
        check(user, UserRef, "a name")
    assert [user["id"] for user in shown] == [ROOT, OLGA, ALICE, BOB, EVE]
    assert await ids(alice, everybody) == [OLGA, ALICE, BOB]
    assert await ids(eve, everybody) == [EVE]
    assert await ids(alice, "/users/refs?ids=2,%202") == [OLGA]

    # Who works there without being a member, and who left what they did.
    await root.post(f"{board.path}/chat/messages", {"body": "Hello"})
    assert await ids(alice, everybody) == [ROOT, OLGA, ALICE, BOB]
    await alice.post(f"{board.path}/chat/messages", {"body": "Hello"})
    await olga.delete(f"{board.path}/members/{ALICE}")
    assert await ids(bob, everybody) == [ROOT, OLGA, ALICE, BOB]
    assert await ids(alice, everybody) == [ALICE]


async def test_who_left_a_conversation_keeps_a_name_there(alice: Person, eve: Person) -> None:
    group = await alice.post("/conversations", {"user_ids": [BOB, EVE], "name": "Lunch"})
    path = f"/conversations/{group['id']}"
    await eve.post(f"{path}/messages", {"body": "I am off"})
    await eve.delete(f"{path}/members/{EVE}")

    assert await ids(alice, f"/users/refs?ids={EVE},{BOB},{OLGA}") == [BOB, EVE]
    assert await ids(eve, f"/users/refs?ids={EVE},{BOB},{ALICE}") == [EVE]


async def test_a_deleted_account_keeps_its_name(
    board: Board, alice: Person, bob: Person, connection: Any
) -> None:
    await connection.execute(
        "update users set deleted_at = now(), is_active = false where id = $1", BOB
    )
    assert await ids(alice, f"/users/refs?ids={BOB}") == [BOB]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "required"),
        ("ids=", "blank"),
        ("ids=1,", "bad_format"),
        ("ids=1;2", "bad_format"),
        ("ids=0", "bad_format"),
        ("ids=-1", "bad_format"),
        ("ids=x", "bad_format"),
        ("ids=٣", "bad_format"),
        (f"ids={2**53}", "bad_format"),
        ("ids=" + ",".join(["1"] * 101), "too_long"),
    ],
)
async def test_ids_that_are_none_are_refused(alice: Person, query: str, code: str) -> None:
    refused = await alice.get(f"/users/refs?{query}", status=400)
    assert refused["fields"] == {"ids": code}


async def test_a_hundred_names_at_once(alice: Person) -> None:
    asked = ",".join(map(str, range(1, 101)))
    assert await ids(alice, f"/users/refs?ids={asked}") == [ALICE]


# Pickers


async def test_a_picker_leaves_out_who_is_there_already(
    board: Board, alice: Person, eve: Person
) -> None:
    found = await alice.get(f"/users/search?not_in={board.slug}")
    assert {user["id"] for user in found} == {ROOT, EVE}
    found = await alice.get(f"/users/search?not_in={board.slug}&q=ev")
    assert [user["id"] for user in found] == [EVE]
    # Who is in a project is told to nobody who does not see it.
    await eve.get(f"/users/search?not_in={board.slug}", status=404)
    await eve.get("/users/search?not_in=none", status=404)


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("", ["olga", "alice", "bob"]),
        ("OL", ["olga"]),
        ("b", ["bob"]),
        (" bob ", ["bob"]),
        ("example.org", []),
        ("%", []),
        ("_", []),
        ("\\", []),
    ],
)
async def test_members_are_found_by_a_part_of_their_name(
    board: Board, alice: Person, q: str, found: list[str]
) -> None:
    members = await alice.get(f"{board.path}/members?q={quote(q)}")
    assert [each["user"]["username"] for each in members] == found


@pytest.mark.foul
async def test_found_members_come_in_pages(board: Board, olga: Person, connection: Any) -> None:
    await connection.execute(
        "insert into users (email, username, password_hash, display_name)"
        " select 'm' || n || '@example.org', 'm' || n, 'x', case when n % 2 = 0 then 'Möwe'"
        " else 'Gull' end from generate_series(1, 20) as n"
    )
    await connection.execute(
        "insert into project_members (project_id, user_id, role)"
        " select $1, id, 'viewer' from users where username like 'm%' order by id",
        board.id,
    )
    read: list[str] = []
    path: str | None = f"{board.path}/members?q=m%C3%B6we&limit=4"
    while path is not None:
        page = await olga.request("GET", path)
        assert 0 < len(page.body) <= 4
        read += [each["user"]["username"] for each in page.body]
        link = page.headers.get("Link", "")
        path = link[link.index("/api/v1") + 7 : link.index(">")] if link else None
    assert read == [f"m{n}" for n in range(2, 21, 2)]
