"""Invitations, from the link to the place it leads to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.closed import check
from tests.conftest import Board, Invite
from tests.person import PASSWORD, Person
from warmdesk.auth.tokens import digest
from warmdesk.changes.invitations import token_of
from warmdesk.client import Client
from warmdesk.desk import Desk
from warmdesk.schemas.invitations import Invitation, Invited, Offer

ROOT, OLGA, ALICE, BOB, EVE = 1, 2, 3, 4, 5
ZOE = {"email": "zoe@example.org", "username": "zoe", "password": PASSWORD}
DEAD = {"error": "the invitation is not valid", "code": "not_found"}


@pytest.fixture
async def anyone(url: str) -> AsyncIterator[Client]:
    async with Client(url, patience=0) as client:
        yield client


async def invite(person: Person, path: str, **body: Any) -> tuple[dict[str, Any], str]:
    """An invitation and its token."""
    made = await person.post(f"{path}/invitations", body)
    check(made, Invited, "invitation")
    return made, made["url"].rpartition("/invitations/")[2]


async def is_dead(client: Client, eve: Person, token: str) -> bool:
    """Whether nobody comes in by it, and nobody learns why."""
    register = {**ZOE, "invitation": token}
    answers = [
        await client.request("GET", f"/invitations/{token}"),
        await eve.request("POST", f"/invitations/{token}/accept"),
        await client.request("POST", "/auth/register", register),
    ]
    for answer in answers:
        if answer.status == 404:
            assert {name: answer.body[name] for name in DEAD} == DEAD
    return [answer.status for answer in answers] == [404] * 3


async def test_a_link_leads_into_a_project_once(
    board: Board, olga: Person, alice: Person, eve: Person, root: Person, anyone: Client
) -> None:
    made, token = await invite(olga, board.path, email="Eve@Example.org", role="admin")

    assert (made["email"], made["role"]) == ("eve@example.org", "admin")
    offer = (await anyone.request("GET", f"/invitations/{token}")).body
    check(offer, Offer, "offer")
    assert offer == {
        "kind": "project",
        "project": {"name": "Demo"},
        "role": "admin",
        "inviter": {"display_name": "Olga"},
        "email": "eve@example.org",
        "expires_at": made["expires_at"],
    }
    listed = await olga.get(f"{board.path}/invitations")
    check(listed[0], Invitation, "invitation")
    assert [each["id"] for each in listed] == [made["id"]]
    async with olga.socket("demo") as socket, eve.socket("user") as hers:
        accepted = await eve.post(f"/invitations/{token}/accept", status=200)

        assert (accepted["project"]["slug"], accepted["project"]["my_role"]) == ("demo", "admin")
        member = (await socket.next("project.member_added"))["payload"]
        assert (member["user_id"], member["role"], member["invited_by"]) == (EVE, "admin", OLGA)
        assert (await hers.next("project.joined"))["payload"] == {"slug": "demo"}
    assert (await eve.get(board.path))["my_role"] == "admin"
    assert await olga.get(f"{board.path}/invitations") == []
    again = await eve.post(f"/invitations/{token}/accept", status=200)
    assert again["project"]["id"] == accepted["project"]["id"]
    assert await is_dead(anyone, alice, token)
    actions = [line["action"] for line in await root.get("/admin/audit?limit=3")]
    assert actions == ["invitation.accepted", "member.added", "invitation.created"]


async def test_the_link_is_kept_nowhere(
    board: Board, olga: Person, root: Person, bob: Person, desk: Desk, connection: Any
) -> None:
    made, token = await invite(olga, board.path, email="zoe@example.org")
    server, other = await invite(root, "/admin")

    rows = await connection.fetch("select * from invitations order by id")
    assert [row["token_hash"] for row in rows] == [digest(token), digest(other)]
    assert [row["wants_mail"] for row in rows] == [False, False]
    assert [token_of(desk.settings.secret_key, str(row["salt"])) for row in rows] == [token, other]
    said = str([list(row.values()) for row in rows]) + str(await root.get("/admin/audit"))
    for asker, path in ((olga, board.path), (root, "/admin")):
        said += str(await asker.get(f"{path}/invitations"))
    assert token not in said
    assert other not in said
    assert made["id"] != server["id"]


async def test_what_is_made_under_a_key_is_told_again_until_it_is_used(
    board: Board, olga: Person, root: Person, eve: Person, connection: Any
) -> None:
    body = {"role": "viewer"}
    first = await olga.post(f"{board.path}/invitations", body, key="k")
    assert await olga.post(f"{board.path}/invitations", body, key="k") == first
    token = first["url"].rpartition("/")[2]
    await eve.post(f"/invitations/{token}/accept", status=200)
    second = await root.post("/admin/invitations", {}, key="k")
    await root.delete(f"/admin/invitations/{second['id']}")

    kept = await connection.fetchval("select string_agg(answer, '') from idempotency_keys")

    assert not kept or "/invitations/" not in kept


@pytest.mark.parametrize(
    "end",
    [
        "used",
        "revoked",
        "expired",
        "demoted",
        "removed",
        "deactivated",
        "deleted",
        "forged",
    ],
)
async def test_a_dead_link_is_404_whatever_ended_it(
    board: Board,
    root: Person,
    olga: Person,
    bob: Person,
    alice: Person,
    eve: Person,
    anyone: Client,
    connection: Any,
    end: str,
) -> None:
    await olga.put(f"{board.path}/members/{ALICE}", {"role": "admin"})
    made, token = await invite(alice, board.path)
    if end == "used":
        await eve.post(f"/invitations/{token}/accept", status=200)
        await olga.delete(f"{board.path}/members/{EVE}")
    elif end == "revoked":
        await olga.delete(f"{board.path}/invitations/{made['id']}")
        await olga.delete(f"{board.path}/invitations/{made['id']}", status=404)
    elif end == "expired":
        await connection.execute("update invitations set expires_at = now()")
    elif end == "demoted":
        await olga.put(f"{board.path}/members/{ALICE}", {"role": "member"})
    elif end == "removed":
        await olga.delete(f"{board.path}/members/{ALICE}")
    elif end == "deactivated":
        await root.put(f"/users/{ALICE}", {"is_active": False})
    elif end == "deleted":
        await root.delete(f"/users/{ALICE}")
    else:
        token = f"{token[:-1]}{'A' if token[-1] != 'A' else 'B'}"

    assert await is_dead(anyone, eve, token)
    assert await connection.fetchval("select count(*) from users where username = 'zoe'") == 0


async def test_an_archive_takes_nobody_in_and_a_purge_ends_the_link(
    root: Person, olga: Person, eve: Person, anyone: Client
) -> None:
    await olga.post("/projects", {"name": "Other"})
    _, token = await invite(olga, "/projects/other")
    await olga.delete("/projects/other")
    answer = await eve.post(f"/invitations/{token}/accept", status=422)
    assert answer["code"] == "project_archived"
    await root.delete("/admin/projects/other")

    assert await is_dead(anyone, eve, token)


async def test_nobody_invites_above_the_own_role(
    board: Board, olga: Person, alice: Person, root: Person, anyone: Client, eve: Person
) -> None:
    await alice.post(f"{board.path}/invitations", {}, status=403)
    await olga.put(f"{board.path}/members/{ALICE}", {"role": "admin"})
    await alice.post(f"{board.path}/invitations", {"role": "owner"}, status=403)
    await alice.post(f"{board.path}/invitations", {"role": "admin"})
    _, token = await invite(olga, board.path, role="owner")
    await root.put(f"{board.path}/members/{ALICE}", {"role": "owner"})
    await root.put(f"{board.path}/members/{OLGA}", {"role": "admin"})
    assert await is_dead(anyone, eve, token)
    for body in ({"role": "king"}, {"email": "nobody"}, {"email": "a@b\r\nBcc: c@d"}):
        await root.post(f"{board.path}/invitations", body, status=400)
    await root.post("/admin/invitations", {"global_role": "king"}, status=400)
    await olga.delete(board.path, status=403)
    await root.delete(board.path)
    await root.post(f"{board.path}/invitations", {}, status=422)


async def test_an_invitation_of_another_project_is_not_there(
    board: Board, olga: Person, root: Person
) -> None:
    await olga.post("/projects", {"name": "Other"})
    made, _ = await invite(olga, board.path)
    server, _ = await invite(root, "/admin")
    for id_ in (made["id"], server["id"]):
        await olga.delete(f"/projects/other/invitations/{id_}", status=404)
    await root.delete(f"/admin/invitations/{made['id']}", status=404)
    assert len(await olga.get(f"{board.path}/invitations")) == 1


async def test_of_many_who_use_one_link_at_once_one_comes_in(
    board: Board, root: Person, olga: Person, person: Invite, connection: Any
) -> None:
    _, token = await invite(olga, board.path)
    crowd = []
    for number in range(8):
        name = f"guest{number}"
        await root.post("/users", {**ZOE, "username": name, "email": f"{name}@example.org"})
        crowd.append(person(name))
        await crowd[-1].token()

    answers = await asyncio.gather(
        *(each.request("POST", f"/invitations/{token}/accept") for each in crowd)
    )

    assert sorted(answer.status for answer in answers) == [200] + [404] * 7
    assert len(await olga.get(f"{board.path}/members")) == 4


async def test_a_member_gets_409_and_the_link_stays_good(
    board: Board, olga: Person, alice: Person, eve: Person
) -> None:
    _, token = await invite(olga, board.path, role="viewer")
    assert (await alice.post(f"/invitations/{token}/accept", status=409))[
        "code"
    ] == "already_member"
    await eve.post(f"/invitations/{token}/accept", status=200)


async def test_who_is_invited_may_register_where_nobody_else_may(
    board: Board, root: Person, olga: Person, anyone: Client, connection: Any, person: Invite
) -> None:
    await connection.execute("insert into system_settings values ('registration_enabled', 'false')")
    refused = await anyone.request("POST", "/auth/register", ZOE)
    assert (refused.status, refused.body["code"]) == (403, "registration_disabled")
    _, token = await invite(olga, board.path, email=ZOE["email"], role="admin")

    made = await anyone.request("POST", "/auth/register", {**ZOE, "invitation": token})

    assert (made.status, made.body["user"]["global_role"]) == (201, "user")
    assert made.body["user"]["can_view_reports"]
    zoe = person("zoe", id=made.body["id"])
    assert (await zoe.get(board.path))["my_role"] == "admin"
    taken = await anyone.request("POST", "/auth/register", {**ZOE, "invitation": token})
    assert taken.status == 404


async def test_a_member_is_not_invited_again(board: Board, olga: Person, root: Person) -> None:
    body = {"email": "Alice@example.org"}
    refused = await olga.post(f"{board.path}/invitations", body, status=409)
    assert (refused["code"], refused["fields"]) == ("already_member", {"email": "taken"})
    assert await olga.get(f"{board.path}/invitations") == []
    await olga.post(f"{board.path}/invitations", {"email": "eve@example.org"})
    await root.post("/admin/invitations", {**body, "global_role": "admin"})


@pytest.mark.settings(rate_limits=True, registrations_per_address=1)
async def test_who_is_invited_does_not_use_up_what_an_address_may_try(
    board: Board, olga: Person, anyone: Client
) -> None:
    async def register(name: str, token: str | None) -> int:
        body = {**ZOE, "username": name, "email": f"{name}@example.org"}
        body |= {"invitation": token} if token else {}
        return (await anyone.request("POST", "/auth/register", body)).status

    tokens = [(await invite(olga, board.path))[1] for _ in range(3)]
    assert [await register(f"guest{n}", token) for n, token in enumerate(tokens)] == [201] * 3
    assert [await register("guest4", token) for token in ("none", tokens[0])] == [404, 429]
    assert await register("guest5", None) == 429
    last = (await invite(olga, board.path))[1]
    assert [await register("olga", last) for _ in range(21)] == [409] * 20 + [429]


async def test_a_link_to_the_installation_gives_its_role(
    root: Person, eve: Person, anyone: Client
) -> None:
    made, token = await invite(root, "/admin", global_role="viewer")
    assert made["role"] == "viewer"
    assert (await anyone.request("GET", f"/invitations/{token}")).body["kind"] == "server"
    assert (await eve.post(f"/invitations/{token}/accept", status=409))["code"] == "already_member"
    new = await anyone.request("POST", "/auth/register", {**ZOE, "invitation": token})
    assert new.body["user"]["global_role"] == "viewer"

    _, token = await invite(root, "/admin", global_role="admin")
    assert await eve.post(f"/invitations/{token}/accept", status=200) == {"project": None}

    assert (await eve.get("/users/me"))["global_role"] == "admin"
    assert await eve.get("/users")
    line = (await eve.get("/admin/audit?action=user.role_changed"))[0]
    assert (line["actor"]["id"], line["after"]) == (EVE, {"global_role": "admin"})
    _, token = await invite(root, "/admin")
    await eve.put(f"/users/{ROOT}", {"global_role": "user"})
    assert (await anyone.request("GET", f"/invitations/{token}")).status == 404


async def test_a_name_that_is_taken_spends_no_invitation(
    board: Board, olga: Person, anyone: Client
) -> None:
    _, token = await invite(olga, board.path)
    body = {**ZOE, "username": "alice", "invitation": token}
    assert (await anyone.request("POST", "/auth/register", body)).status == 409
    assert (await anyone.request("GET", f"/invitations/{token}")).status == 200


async def test_no_log_has_the_link(
    board: Board, olga: Person, eve: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    _, token = await invite(olga, board.path)
    await eve.get(f"/invitations/{token}")
    await eve.post(f"/invitations/{token}/accept", status=200)
    assert token not in caplog.text
