"""API keys: a person's own and a project's; what they may do, and their end."""

from __future__ import annotations

import re
import time
from typing import Any

import aiohttp
import pytest

from tests import pace
from tests.conftest import Board, Door, Invite, make_board
from tests.person import PASSWORD, Person
from warmdesk import app
from warmdesk.auth.actor import GlobalRole
from warmdesk.auth.tokens import digest
from warmdesk.http.commands import COMMANDS
from warmdesk.http.route import PUBLIC, Route
from warmdesk.jobs.retention import Retention
from warmdesk.realtime.frames import Close
from warmdesk.rest import keys

OWN = "/auth/api-keys"
GRANTS = ("read", "write", "tickets", "metrics", "backup")


async def made(maker: Person, person: Invite, path: str = OWN, **fields: Any) -> Person:
    """A program with a new key."""
    key = await maker.post(path, {"name": "CI", **fields})
    return person(f"key of {maker.username}", api_key=key["key"], id=maker.id)


# Made, listed, revoked


async def test_a_key_is_shown_once_and_kept_as_a_hash(
    alice: Person, person: Invite, connection: Any
) -> None:
    key = await alice.post(OWN, {"name": " CI ", "expires_in_days": 30, "scopes": ["tickets"]})

    assert re.fullmatch("wd_[0-9a-f]{48}", key["key"])
    assert key["key_prefix"] == key["key"][:12]
    assert (key["name"], key["user_id"], key["project_id"]) == ("CI", alice.id, None)
    assert key["scopes"] == ["tickets"]
    (row,) = await connection.fetch("select * from api_keys")
    assert row["key_hash"] == digest(key["key"])
    assert key["key"] not in str(dict(row))
    assert (row["expires_at"] - row["created_at"]).days == 30
    listed = await alice.get(OWN)
    assert listed == [{name: value for name, value in key.items() if name != "key"}]
    assert await alice.get("/users/me/api-keys") == listed


async def test_a_new_key_may_do_what_its_owner_may(
    alice: Person, person: Invite, board: Board
) -> None:
    program = await made(alice, person)

    assert (await program.get("/users/me"))["id"] == alice.id
    path = f"{board.path}/columns/{board.backlog}/cards"
    assert (await program.post(path, {"title": "By a program"}))["created_by_id"] == alice.id
    (listed,) = await alice.get(OWN)
    assert listed["last_used_at"] is not None
    assert (listed["scopes"], listed["expires_at"]) == (None, None)


async def test_a_key_makes_lists_and_revokes_no_keys(
    olga: Person, person: Invite, board: Board
) -> None:
    program = await made(olga, person)
    (own,) = await olga.get(OWN)
    path = f"{board.path}/api-keys"
    of_project = await olga.post(path, {"name": "CI"})

    for place, id_ in (
        (OWN, own["id"]),
        ("/users/me/api-keys", own["id"]),
        (path, of_project["id"]),
    ):
        for method, where, body in (
            ("GET", place, None),
            ("POST", place, {"name": "Another"}),
            ("DELETE", f"{place}/{id_}", None),
        ):
            refused = await program.request(method, where, body)
            assert (refused.status, refused.body["code"]) == (403, "sign_in_required")
    assert len(await olga.get(OWN)) == len(await olga.get(path)) == 1


async def test_a_revoked_key_is_dead_everywhere_and_its_sockets_close(
    alice: Person, person: Invite, board: Board, door: Door, twin: Door
) -> None:
    key = await alice.post(OWN, {"name": "CI"})
    other = await alice.post(OWN, {"name": "Another"})
    near, far = (person("near", api_key=key["key"], url=each.url) for each in (door, twin))
    stays = person("stays", api_key=other["key"])
    async with near.socket("demo") as one, far.socket("user") as two, stays.socket("demo") as three:
        await alice.delete(f"{OWN}/{key['id']}")
        await near.get("/users/me", status=401)
        assert await one.closed() == 4401
        assert await two.closed(limit=2.0) == 4401
        await far.get("/users/me", status=401)
        await three.settle()
    await alice.delete(f"{OWN}/{key['id']}", status=404)
    assert [each["id"] for each in await alice.get(OWN)] == [other["id"]]


async def test_a_key_is_its_owners_alone(
    alice: Person, olga: Person, root: Person, board: Board, connection: Any
) -> None:
    key = await alice.post(OWN, {"name": "CI"})
    of_project = await olga.post(f"{board.path}/api-keys", {"name": "CI"})

    for other in (olga, root):
        await other.delete(f"{OWN}/{key['id']}", status=404)
    await olga.delete(f"{OWN}/{of_project['id']}", status=404)
    await olga.delete(f"{board.path}/api-keys/{key['id']}", status=404)
    assert await connection.fetchval("select count(*) from api_keys where revoked_at is null") == 2
    assert await olga.get(OWN) == []


async def test_the_key_of_a_project_is_revoked_by_any_owner_there_and_nowhere_else(
    olga: Person, root: Person, alice: Person, board: Board, connection: Any
) -> None:
    other = await make_board(olga, alice, "Other")
    key = await olga.post(f"{board.path}/api-keys", {"name": "CI"})
    assert (key["project_id"], key["user_id"]) == (board.id, olga.id)

    await olga.delete(f"{other.path}/api-keys/{key['id']}", status=404)
    await alice.get(f"{board.path}/api-keys", status=403)
    await alice.delete(f"{board.path}/api-keys/{key['id']}", status=403)
    assert await olga.get(f"{other.path}/api-keys") == []
    assert [each["id"] for each in await root.get(f"{board.path}/api-keys")] == [key["id"]]
    await olga.delete(board.path)
    await olga.post(f"{board.path}/api-keys", {"name": "Late"}, status=422)
    await root.delete(f"{board.path}/api-keys/{key['id']}")
    noted = await connection.fetch(
        "select user_id, actor_id, event from login_events where event like 'api_key%' order by id"
    )
    assert [tuple(row) for row in noted] == [
        (olga.id, None, "api_key_created"),
        (olga.id, root.id, "api_key_deleted"),
    ]


async def test_a_key_of_a_project_is_good_there_alone_and_ends_with_its_owners_rights(
    olga: Person, root: Person, alice: Person, person: Invite, board: Board
) -> None:
    other = await make_board(olga, alice, "Other")
    program = await made(olga, person, f"{board.path}/api-keys")

    assert (await program.get(board.path))["my_role"] == "owner"
    for path in (other.path, "/users/me", "/projects"):
        refused = await program.get(path, status=403)
        assert refused["code"] == "key_scope"
    await root.put(f"{board.path}/members/{alice.id}", {"role": "owner"})
    await root.put(f"{board.path}/members/{olga.id}", {"role": "viewer"})
    await program.post(f"{board.path}/columns", {"name": "No more"}, status=403)
    await root.delete(f"{board.path}/members/{olga.id}")
    await program.get(board.path, status=404)


async def test_there_are_so_many_keys_and_no_more(
    olga: Person, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MOST", 2)
    for path in (OWN, f"{board.path}/api-keys"):
        first, _ = [await olga.post(path, {"name": f"{n}"}) for n in range(2)]
        refused = await olga.post(path, {"name": "One more"}, status=422)
        assert refused["code"] == "too_many_keys"
        await olga.delete(f"{path}/{first['id']}")
        await olga.post(path, {"name": "One more"})


async def test_dead_keys_go_after_a_month(door: Door, alice: Person, connection: Any) -> None:
    for n in range(5):
        await alice.post(OWN, {"name": f"Key {n}"})
    for name, changes in {
        "Key 1": "revoked_at = now() - interval '29 days'",
        "Key 2": "revoked_at = now() - interval '31 days'",
        "Key 3": "expires_at = now() - interval '29 days'",
        "Key 4": "expires_at = now() - interval '31 days'",
    }.items():
        await connection.execute(f"update api_keys set {changes} where name = $1", name)

    await Retention(door.desk).turn()

    left = await connection.fetch("select name from api_keys order by name")
    assert [row["name"] for row in left] == ["Key 0", "Key 1", "Key 3"]


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "name", "required"),
        ({"name": " "}, "name", "blank"),
        ({"name": "n" * 101}, "name", "too_long"),
        ({"name": "n", "expires_in_days": 0}, "expires_in_days", "out_of_range"),
        ({"name": "n", "expires_in_days": 1.5}, "expires_in_days", "bad_format"),
        ({"name": "n", "scopes": []}, "scopes", "too_short"),
        ({"name": "n", "scopes": ["admin"]}, "scopes", "not_one_of"),
        ({"name": "n", "scopes": "read"}, "scopes", "bad_format"),
        ({"name": "n", "expires_at": "2027-01-01T00:00:00Z"}, "expires_at", "unknown"),
        ({"name": "n", "scope": ["read"]}, "scope", "unknown"),
    ],
)
async def test_what_is_no_key_is_refused_by_its_field(
    olga: Person, board: Board, connection: Any, body: Any, field: str, code: str
) -> None:
    for path in (OWN, f"{board.path}/api-keys"):
        refused = await olga.post(path, body, status=400)
        assert refused["fields"] == {field: code}
    assert await connection.fetchval("select count(*) from api_keys") == 0


async def test_a_key_makes_no_administrators(root: Person, person: Invite) -> None:
    """One who signs in would be there when the key is revoked."""
    program = await made(root, person)
    account = {"email": "z@example.org", "username": "zoe", "password": PASSWORD}
    refused = await program.post("/users", account | {"global_role": "admin"}, status=403)
    assert refused["code"] == "sign_in_required"
    zoe = await program.post("/users", account)
    await program.put(f"/users/{zoe['id']}", {"global_role": "admin"}, status=403)
    await program.put(f"/users/{zoe['id']}", {"global_role": "viewer"})
    refused = await program.post("/admin/invitations", {"global_role": "admin"}, status=403)
    assert refused["code"] == "sign_in_required"
    assert await root.get("/admin/invitations") == []
    await program.post("/admin/invitations", {"global_role": "user"})
    await root.put(f"/users/{zoe['id']}", {"global_role": "admin"})


async def test_a_key_brings_no_administrators_back(root: Person, person: Invite) -> None:
    program = await made(root, person)
    account = {"email": "z@example.org", "username": "zoe", "password": PASSWORD}
    zoe = await root.post("/users", account | {"global_role": "admin"})
    path = f"/users/{zoe['id']}"

    await root.put(path, {"is_active": False})
    before = await root.get(path)
    refused = await program.put(path, {"is_active": True, "first_name": "Zoe"}, status=403)
    assert refused["code"] == "sign_in_required"
    assert await root.get(path) == before
    await program.put(path, {"first_name": "Zoe", "is_active": False})
    await root.put(path, {"is_active": True})
    await program.put(path, {"first_name": "Zo", "is_active": True})

    await root.delete(path)
    refused = await program.post(f"{path}/restore", status=403)
    assert refused["code"] == "sign_in_required"
    assert (await root.get(path))["deleted_at"] is not None
    await root.post(f"{path}/restore", status=200)
    await program.post(f"{path}/restore", status=200)

    await root.put(path, {"global_role": "user", "is_active": False})
    await program.put(path, {"is_active": True})
    await root.delete(path)
    await program.post(f"{path}/restore", status=200)


async def test_a_project_has_no_keys_for_the_whole_installation(olga: Person, board: Board) -> None:
    for scope in ("metrics", "backup"):
        body = {"name": "n", "scopes": ["read", scope]}
        refused = await olga.post(f"{board.path}/api-keys", body, status=400)
        assert refused["fields"] == {"scopes": "not_one_of"}
        assert refused["allowed"]["scopes"] == ["read", "write", "tickets"]


async def test_every_wrong_key_is_refused_alike(
    alice: Person, person: Invite, connection: Any, door: Door
) -> None:
    """Nothing tells whether there ever was such a key."""
    dead = [(await alice.post(OWN, {"name": f"Key {n}"}))["key"] for n in range(2)]
    await connection.execute("update api_keys set revoked_at = now() where name = 'Key 0'")
    await connection.execute("update api_keys set expires_at = now() where name = 'Key 1'")
    never = "wd_" + "0" * 48

    answers = [
        await person("nobody", api_key=key).request("GET", "/users/me")
        for key in (never, *dead, dead[0][:-1], "no key")
    ]

    assert {each.status for each in answers} == {401}
    assert len({(each.body["error"], each.body["code"]) for each in answers}) == 1


# Scopes


@pytest.fixture
async def programs(root: Person, person: Invite) -> dict[str, Person]:
    """A key of the administrator for each scope, and one for all."""
    found = {each: await made(root, person, scopes=[each]) for each in GRANTS}
    return found | {"all": await made(root, person)}


def expected(each: Route) -> set[str]:
    """The scopes that do for a route, from what is promised of them, apart from its declaration."""
    tickets = {"tickets"} if "/ticket" in each.path else set()
    reads = {"/auth/ws-ticket", "/attachments/{attachment_id}/link"}
    if each.path in ("/admin/backup", "/backup"):
        return {"backup"}
    if (each.method, each.path) == ("GET", "/admin/backups/{filename}"):
        return {"backup"}  # it holds the hashes of all passwords
    if each.path == "/metrics":
        return {"read", "write", "metrics"}
    if each.method == "GET" or each.path in reads:
        return {"read", "write"} | tickets
    if each.need in (GlobalRole.ADMIN, frozenset({GlobalRole.ADMIN})):
        return set()
    return {"write"} | tickets


async def test_every_route_asks_a_key_for_its_scope(programs: dict[str, Person]) -> None:
    wrong = []
    for each in app.resources():
        if each.need is PUBLIC:
            continue
        path = re.sub(r"{\w+}", "0", each.path)
        for scope, program in programs.items():
            answer = await program.request(each.method, path, {} if each.changes else None)
            code = answer.body.get("code") if isinstance(answer.body, dict) else None
            if each.session:
                asked = code == "sign_in_required"
            elif scope == "all" or scope in expected(each):
                asked = code not in ("key_lacks_scope", "sign_in_required")
            else:
                asked = (answer.status, code) == (403, "key_lacks_scope")
            if not asked:
                wrong.append(f"{each.method} {each.path} as {scope}: {answer.status} {code}")
    assert not wrong, "\n" + "\n".join(wrong)


async def test_the_refusal_names_the_scope(programs: dict[str, Person], board: Board) -> None:
    refused = await programs["read"].post(f"{board.path}/columns", {"name": "No"}, status=403)
    assert refused["error"] == "key lacks scope write"
    refused = await programs["tickets"].get(board.path, status=403)
    assert refused["error"] == "key lacks scope read or write"
    refused = await programs["write"].post("/users", {}, status=403)
    assert refused["error"].startswith("key lacks scope")


async def test_a_socket_needs_a_key_that_reads(programs: dict[str, Person], board: Board) -> None:
    for scope in GRANTS:
        for place in ("demo", "user"):
            if scope in ("read", "write"):
                async with programs[scope].socket(place) as socket:
                    await socket.settle()
            else:
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    async with programs[scope].socket(place):
                        pass
                assert refused.value.status == 403


CHANGING = {"chat.send", "chat.edit", "chat.delete", "chat.react", "chat.typing", "dm.typing"}


async def test_commands_that_change_need_a_key_that_writes(
    programs: dict[str, Person], board: Board
) -> None:
    of_user = {name for name, each in COMMANDS.items() if each.of_user}
    for place, names in (("demo", COMMANDS.keys() - of_user), ("user", of_user)):
        async with (
            programs["read"].socket(place) as reads,
            programs["write"].socket(place) as writes,
        ):
            for name in sorted(names):
                for socket in (reads, writes):
                    await socket.send(name, {"conversation_id": 1}, id=name)
                    await socket.settle()
                refused = [
                    any(each["payload"]["code"] == "key_lacks_scope" for each in said)
                    for said in (
                        [f for f in socket.frames if f["type"] == "error" and f.get("id") == name]
                        for socket in (reads, writes)
                    )
                ]
                assert refused == [name in CHANGING, False], name


async def test_a_ticket_of_a_key_has_its_scopes(
    programs: dict[str, Person], board: Board, url: str
) -> None:
    ticket = (await programs["read"].post("/auth/ws-ticket"))["ticket"]
    async with aiohttp.ClientSession() as http:
        place = f"{url}/api/v1/ws/demo?ticket={ticket}"
        async with http.ws_connect(place) as socket:
            await socket.send_json({"type": "chat.send", "payload": {"body": "No"}, "id": 1})
            async for message in socket:
                frame = message.json()
                if frame["type"] == "error":
                    break
    assert frame["payload"]["code"] == "key_lacks_scope"
    assert await programs["read"].get(f"{board.path}/chat/messages") == []


# Of service accounts


async def service(root: Person, role: str = "metrics") -> int:
    """An account with a role that nobody signs in with."""
    body = {"email": f"{role}@example.org", "username": role, "password": PASSWORD}
    return int((await root.post("/users", body | {"global_role": role}))["id"])


async def test_administrators_make_and_revoke_keys_of_service_accounts(
    root: Person, person: Invite, connection: Any, twin: Door
) -> None:
    user_id = await service(root)
    path = f"/users/{user_id}/api-keys"
    key = await root.post(path, {"name": " Prometheus ", "scopes": ["metrics"]})
    assert (key["name"], key["user_id"], key["scopes"]) == ("Prometheus", user_id, ["metrics"])
    assert await root.get(path) == [{name: key[name] for name in key if name != "key"}]
    programs = [person("prometheus", api_key=key["key"], url=url) for url in (root.url, twin.url)]
    for program in programs:
        assert (await program.request("GET", "/metrics")).status == 200
        await program.get("/projects", status=403)
    await root.delete(f"{path}/{key['id']}")
    began = time.monotonic()
    for program in programs:
        while (await program.request("GET", "/metrics")).status == 200:
            assert time.monotonic() - began < 2.0 * pace.stretch()
        assert (await program.request("GET", "/metrics")).status == 401
    assert await root.get(path) == []
    await root.delete(f"{path}/{key['id']}", status=404)
    noted = await connection.fetch(
        "select user_id, actor_id, event from login_events where event like 'api_key%' order by id"
    )
    assert [tuple(row) for row in noted] == [
        (user_id, root.id, "api_key_created"),
        (user_id, root.id, "api_key_deleted"),
    ]
    lines = await root.get("/admin/audit?limit=2")
    assert [(line["action"], line["target_id"], line["actor"]["id"]) for line in lines] == [
        ("key.revoked", key["id"], root.id),
        ("key.created", key["id"], root.id),
    ]
    assert lines[1]["after"]["user_id"] == user_id
    assert key["key"] not in str(lines)


async def test_people_make_their_own_keys_and_administrators_revoke_them(
    root: Person, alice: Person, person: Invite
) -> None:
    path = f"/users/{alice.id}/api-keys"
    said = await root.post(path, {"name": "CI"}, status=422)
    assert said["code"] == "not_a_service_account"
    program = await made(alice, person)
    async with program.socket("user") as socket:
        await socket.next("hello")
        (key,) = await root.get(path)
        await root.delete(f"{path}/{key['id']}")
        assert await socket.closed() == Close.SIGNED_OUT
    assert await alice.get(OWN) == []


async def test_a_key_stands_below_its_own_account_alone(
    root: Person, olga: Person, alice: Person, board: Board
) -> None:
    own = await alice.post(OWN, {"name": "CI"})
    of_project = await olga.post(f"{board.path}/api-keys", {"name": "CI"})
    await root.delete(f"/users/{olga.id}/api-keys/{own['id']}", status=404)
    await root.delete(f"/users/{olga.id}/api-keys/{of_project['id']}", status=404)
    assert await root.get(f"/users/{olga.id}/api-keys") == []
    assert len(await olga.get(f"{board.path}/api-keys")) == 1
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/1")):
        body = {"name": "CI"} if method == "POST" else None
        answer = await root.request(method, f"/users/999999/api-keys{path}", body)
        assert answer.status == 404


async def test_no_key_makes_shows_or_ends_a_key_of_another_account(
    root: Person, person: Invite, alice: Person
) -> None:
    user_id = await service(root, "backup")
    key = await root.post(f"/users/{user_id}/api-keys", {"name": "Backup"})
    program = await made(root, person)
    path = f"/users/{user_id}/api-keys"
    for who in (program, alice):
        await who.get(path, status=403)
        await who.post(path, {"name": "More"}, status=403)
        await who.delete(f"{path}/{key['id']}", status=403)
    assert [each["id"] for each in await root.get(path)] == [key["id"]]


async def test_a_service_account_has_no_more_keys_than_a_person_and_a_deleted_one_gets_none(
    root: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MOST", 1)
    user_id = await service(root)
    path = f"/users/{user_id}/api-keys"
    await root.post(path, {"name": "One"})
    assert (await root.post(path, {"name": "Two"}, status=422))["code"] == "too_many_keys"
    await root.delete(f"/users/{user_id}")
    await root.post(path, {"name": "Three"}, status=404)
