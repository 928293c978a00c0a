"""Users through the doors: the own account, finding people, what administrators do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from tests import pace
from tests.checkers.mirror import mirror
from tests.closed import check
from tests.conftest import Board, Door, Invite, Wait
from tests.person import PASSWORD, Person
from warmdesk.auth.tokens import digest
from warmdesk.changes import accounts
from warmdesk.client import Client
from warmdesk.rest import users as module
from warmdesk.schemas.users import Account, FoundUser, Me

ROOT, OLGA, ALICE, BOB, EVE = 1, 2, 3, 4, 5
NEXT = "staple it all together"
CHANGE = {"current_password": PASSWORD, "new_password": NEXT}
PROOF = {"current_password": PASSWORD}
ZOE = {"email": "Zoe@Example.org", "username": "zoe", "password": "zoe keeps bees"}


@pytest.fixture
async def anyone(url: str) -> AsyncIterator[Client]:
    """Somebody without a credential."""
    async with Client(url, patience=0) as client:
        yield client


async def login_status(client: Client, name: str, password: str) -> int:
    body = {"username": name, "password": password}
    return (await client.request("POST", "/auth/login", body)).status


# The own account


async def test_i_see_my_account(alice: Person) -> None:
    me = await alice.get("/users/me")

    check(me, Me, "me")
    assert (me["id"], me["username"], me["email"]) == (ALICE, "alice", "alice@example.org")
    assert (me["global_role"], me["can_view_reports"]) == ("user", False)
    assert await alice.get("/auth/me") == me


async def test_reports_are_for_those_who_run_a_project(
    olga: Person, alice: Person, root: Person, board: Board
) -> None:
    assert (await olga.get("/users/me"))["can_view_reports"]
    assert (await root.get("/users/me"))["can_view_reports"]
    assert not (await alice.get("/users/me"))["can_view_reports"]


async def test_a_picture_is_asked_for_elsewhere_unless_that_is_switched_off(
    alice: Person, connection: Any
) -> None:
    url = (await alice.get("/users/me"))["gravatar_url"]

    assert url.startswith("https://www.gravatar.com/avatar/")
    assert "alice" not in url
    await connection.execute("insert into system_settings values ('gravatar_enabled', 'false')")
    assert (await alice.get("/users/me"))["gravatar_url"] is None
    await connection.execute("update system_settings set value = 'true'")
    assert (await alice.get("/users/me"))["gravatar_url"] == url


async def test_i_change_what_i_send_and_nothing_else(alice: Person) -> None:
    before = await alice.get("/users/me")
    changes = {
        "first_name": " Alice ",
        "last_name": "Liddell",
        "locale": "nl",
        "theme": "dark",
        "date_time_format": "DD.MM.YYYY",
        "timezone": "Europe/Amsterdam",
        "font": "serif",
        "font_size": "16",
        "sidebar_position": "right",
        "accent_color": "green",
        "week_start": "sunday",
        "time_notation": "hhmm",
        "show_breadcrumbs": False,
        "email_notifications": False,
        "avatar_url": "/alice.png",
    }

    after = await alice.put("/users/me", changes)

    check(after, Me, "me")
    differing = {key for key in before if before[key] != after[key]}
    assert differing == {*changes, "updated_at", "settings_updated_at"}
    assert after == before | changes | {
        "first_name": "Alice",
        "updated_at": after["updated_at"],
        "settings_updated_at": after["settings_updated_at"],
    }
    assert await alice.get("/users/me") == after


async def test_null_and_empty_clear_a_name_and_a_picture(alice: Person) -> None:
    full = {"first_name": "Alice", "last_name": "Liddell", "display_name": "A.", "avatar_url": "/a"}
    assert (await alice.put("/users/me", full))["display_name"] == "A."

    named = await alice.put("/users/me", {"display_name": "", "avatar_url": ""})
    assert (named["display_name"], named["avatar_url"]) == ("Alice Liddell", None)

    bare = await alice.put(
        "/auth/me", {"first_name": None, "last_name": "", "display_name": None, "avatar_url": None}
    )
    assert (bare["first_name"], bare["last_name"], bare["display_name"]) == ("", "", "alice")


@pytest.mark.parametrize(
    "changes",
    [
        {"theme": "pink"},
        {"locale": "xx"},
        {"timezone": "Mars/Olympus"},
        {"timezone": "../../etc/passwd"},
        {"timezone": "posix/Europe/Berlin"},
        {"timezone": "right/UTC"},
        {"timezone": "localtime"},
        {"timezone": ""},
        {"accent_color": "#ff0000"},
        {"week_start": "friday"},
        {"time_notation": "minutes"},
        {"sidebar_position": "top"},
        {"font_size": "huge"},
        {"show_breadcrumbs": "yes"},
        {"email": None},
        {"email": "nobody"},
        {"email": "a@b, c@d"},
        {"avatar_url": "javascript:alert(1)"},
        {"avatar_url": "data:image/png;base64,AAAA"},
        {"avatar_url": "//evil.example/x.png"},
        {"avatar_url": "/\\evil.example/x.png"},
        {"avatar_url": "https://example.org/" + "x" * 500},
        {"avatar_url": "https://example.org/x.png"},
        {"first_name": "x" * 101},
        {"display_name": "x" * 151},
        {"last_name": "\u0007"},
        {"theme": None},
    ],
    ids=lambda changes: str(changes)[:40],
)
async def test_a_profile_that_is_wrong_is_400(alice: Person, changes: dict[str, Any]) -> None:
    before = await alice.get("/users/me")

    answer = await alice.put("/users/me", {"first_name": "New", **changes}, status=400)

    assert next(iter(changes)) in answer["fields"]
    assert await alice.get("/users/me") == before


async def test_what_the_server_owns_is_passed_over(alice: Person, connection: Any) -> None:
    before = await alice.get("/users/me")

    after = await alice.put(
        "/users/me",
        {
            "id": 1,
            "username": "root2",
            "global_role": "admin",
            "is_active": False,
            "password": "another password",
            "password_hash": "x",
            "deleted_at": "2026-01-01T00:00:00Z",
            "totp_enabled": True,
            "must_change_password": True,
        },
    )

    assert after == before
    assert await connection.fetchval("select deleted_at from users where id = $1", ALICE) is None


async def test_an_address_can_be_somebodys_once(alice: Person, connection: Any) -> None:
    answer = await alice.put("/users/me", {"email": "BOB@example.org", **PROOF}, status=409)
    assert answer["fields"] == {"email": "taken"}

    after = await alice.put("/users/me", {"email": "Alice.New@Example.org", **PROOF})
    assert after["email"] == "alice.new@example.org"
    events = await connection.fetch("select event from login_events where user_id = $1", ALICE)
    assert "email_changed" in {row["event"] for row in events}


@pytest.mark.parametrize("email", ["İİ@Example.org", "ΑΣ@Example.org", "Ä@EXAMPLE.org"])
async def test_an_address_has_one_lower_case(
    alice: Person, root: Person, connection: Any, email: str
) -> None:
    """That of PostgreSQL, whichever way it comes in: so it is somebody's once."""
    kept = await connection.fetchval("select lower($1)", email)
    mine = {"email": email, "current_password": PASSWORD}
    assert (await alice.put("/users/me", mine))["email"] == kept
    new = {"email": email, "username": "other", "password": PASSWORD}
    assert (await root.post("/users", new, status=409))["fields"] == {"email": "taken"}
    assert (await alice.put("/users/me", mine))["email"] == kept
    changed = await root.put(f"/users/{alice.id}", {"email": "x@example.org"})
    assert changed["email"] == "x@example.org"
    assert (await root.put(f"/users/{alice.id}", {"email": email}))["email"] == kept
    path = "/admin/invitations"
    assert (await root.post(path, {"email": email}))["email"] == kept


async def test_my_sockets_hear_of_my_account(alice: Person) -> None:
    async with alice.socket("user") as socket:
        me = await alice.put("/users/me", {"theme": "dark"})

        frame = await socket.next("user.updated")

    assert frame["payload"] == me


async def test_nothing_changed_is_no_event(alice: Person, connection: Any) -> None:
    me = await alice.put("/users/me", {"theme": "dark", "first_name": "Al"})

    assert await alice.put("/users/me", {"theme": "dark", "first_name": "Al"}) == me
    assert await alice.put("/users/me", {}) == me

    assert await connection.fetchval("select count(*) from events where channel = 'user:3'") == 1


@pytest.mark.settings(foreign_pictures=True)
@pytest.mark.parametrize(
    "changes",
    [{"display_name": "Alice L."}, {"avatar_url": "/alice.png"}, {"avatar_url": "https://a.b/c"}],
)
async def test_everybody_in_my_projects_sees_my_name_and_picture_change(
    alice: Person, bob: Person, olga: Person, board: Board, changes: dict[str, str]
) -> None:
    other = await olga.post("/projects", {"name": "Other"})
    await olga.post(f"/projects/{other['slug']}/members", {"username": "alice", "role": "admin"})
    async with (
        mirror(bob, "demo"),
        bob.socket("demo") as his,
        olga.socket(other["slug"]) as hers,
    ):
        await alice.put("/users/me", changes)

        for socket, role in ((his, "member"), (hers, "admin")):
            member = (await socket.next("project.member_updated"))["payload"]
            assert (member["user_id"], member["role"]) == (ALICE, role)
            assert changes.items() <= member["user"].items()


async def works(who: Person, board: Board) -> None:
    await who.post(f"{board.path}/columns/{board.backlog}/cards", {"title": "A card"})


async def writes(who: Person, board: Board) -> None:
    await who.post(f"{board.path}/chat/messages", {"body": "Hello"})


async def writes_once(who: Person, board: Board) -> None:
    await who.post(f"{board.path}/chat/messages", {"body": "Hello", "nonce": "n"})


async def renames_a_column(who: Person, board: Board) -> None:
    await who.put(f"{board.path}/columns/{board.done}", {"name": "Ready"})


async def is_assigned(who: Person, board: Board) -> None:
    await board.card(assignee_ids=[who.id])


async def is_assigned_later(who: Person, board: Board) -> None:
    card = await board.card()
    await board.maker.put(f"{board.path}/cards/{card['id']}", {"assignee_ids": [who.id, ALICE]})


@pytest.mark.parametrize(
    "deed", [works, writes, writes_once, renames_a_column, is_assigned, is_assigned_later]
)
async def test_the_name_of_an_administrator_who_is_no_member_changes_where_it_is_shown(
    root: Person, bob: Person, board: Board, deed: Any
) -> None:
    await deed(root, board)
    before = await bob.request("GET", board.path)
    async with bob.socket("demo") as socket:
        await root.put("/users/me", {"display_name": "The Root", "avatar_url": "/r.png"})

        told = (await socket.next("project.guest_updated"))["payload"]

    user = {"id": ROOT, "username": "root", "display_name": "The Root", "avatar_url": "/r.png"}
    assert told == {"user_id": ROOT, "user": user}
    kept = {"If-None-Match": before.headers["ETag"]}
    assert (await bob.request("GET", board.path, headers=kept)).status == 200
    seq = (await bob.get(board.path))["seq"]
    await root.put("/users/me", {"theme": "dark"})
    assert (await bob.get(board.path))["seq"] == seq


@pytest.mark.parametrize("deed", [works, writes])
async def test_the_name_of_who_left_changes_where_it_is_shown(
    alice: Person, bob: Person, olga: Person, root: Person, board: Board, deed: Any
) -> None:
    await deed(alice, board)
    await olga.delete(f"{board.path}/members/{ALICE}")
    async with bob.socket("demo") as socket:
        await root.put(f"/users/{ALICE}", {"username": "alison"})

        told = (await socket.next("project.guest_updated"))["payload"]

    assert (told["user_id"], told["user"]["username"]) == (ALICE, "alison")
    await olga.post(f"{board.path}/members", {"username": "alison"})
    async with bob.socket("demo") as socket:
        await alice.put("/users/me", {"display_name": "Alison"})
        await socket.next("project.member_updated")
        await socket.settle()

        assert not socket.waiting("project.guest_updated")


async def test_the_name_of_a_founder_who_left_changes_on_the_project(
    olga: Person, alice: Person, board: Board
) -> None:
    await olga.put(f"{board.path}/members/{ALICE}", {"role": "owner"})
    await olga.delete(f"{board.path}/members/{OLGA}")
    async with alice.socket("demo") as socket:
        await olga.put("/users/me", {"display_name": "Olga the First"})

        await socket.next("project.guest_updated")

    assert (await alice.get(board.path))["created_by"]["display_name"] == "Olga the First"


async def test_who_left_no_trace_is_not_told_of(
    alice: Person, bob: Person, olga: Person, board: Board
) -> None:
    await olga.delete(f"{board.path}/members/{ALICE}")
    seq = (await bob.get(board.path))["seq"]
    await alice.put("/users/me", {"display_name": "Alison"})
    assert (await bob.get(board.path))["seq"] == seq


async def test_names_of_guests_that_change_while_they_come_and_go_end_alike_everywhere(
    alice: Person, olga: Person, root: Person, board: Board
) -> None:
    async with mirror(olga, "demo"):
        for turn in range(8):
            await writes(alice, board)
            card = await board.card()
            await asyncio.gather(
                alice.put("/users/me", {"display_name": f"Alice {turn}"}),
                olga.delete(f"{board.path}/members/{ALICE}"),
                root.put("/users/me", {"display_name": f"Root {turn}"}),
                olga.put(f"{board.path}/cards/{card['id']}", {"assignee_ids": [ROOT]}),
                writes(root, board),
            )
            await olga.post(f"{board.path}/members", {"user_id": ALICE})


async def test_a_name_in_as_many_projects_as_there_may_be_changes_within_a_second(
    alice: Person, connection: Any, board: Board
) -> None:
    await connection.execute(
        "with made as ("
        " insert into projects (name, slug, key_prefix, created_by_id)"
        " select 'P', 'p' || n, 'P' || n, 2 from generate_series(2, $1::integer) as n returning id"
        ") insert into project_members (project_id, user_id) select id, $2 from made",
        accounts.PROJECTS,
        ALICE,
    )
    await alice.put("/users/me", {"display_name": "Alice A."})
    began, longest = time.monotonic(), 0.0
    renaming = asyncio.create_task(alice.put("/users/me", {"display_name": "Alice B."}))
    while not renaming.done():
        before = time.monotonic()
        await board.card()
        longest = max(longest, time.monotonic() - before)
    await renaming

    assert time.monotonic() - began < pace.here(1.0)
    assert longest < pace.here(0.5)
    told = await connection.fetchval(
        "select count(*) from events where type = 'project.member_updated'"
        " and payload like '%Alice B.%'"
    )
    assert told == accounts.PROJECTS


OWN = {
    "api_keys",
    "attachments",
    "invitations",
    "notifications",
    "outgoing_webhooks",
    "project_members",
    "project_guests",
    "project_readers",
    "project_webhooks",
    "starred_projects",
}
"""Tables of a project whose rows are about the user himself, and are shown of members alone or to
nobody else; or that show the id alone, beside a fact or a message that shows the user, or to owners
who manage the thing."""


async def test_every_table_of_a_project_that_shows_users_is_looked_at(connection: Any) -> None:
    """Who left a project, and is still shown there, has to be known when his name changes."""
    found = await connection.fetch(
        "select c.conrelid::regclass::text as name, a.attname as of_user from pg_constraint c"
        " inner join pg_attribute a on a.attrelid = c.conrelid and a.attnum = any(c.conkey)"
        " where c.contype = 'f' and c.confrelid = 'users'::regclass and exists ("
        " select from pg_attribute p where p.attrelid = c.conrelid and p.attname = 'project_id')"
    )
    looked_at = await connection.fetch("select table_name, user_column from shows_users")
    shown = {(row["name"], row["of_user"]) for row in found if row["name"] not in OWN}
    assert shown == {(row["table_name"], row["user_column"]) for row in looked_at}


async def test_nobody_is_made_a_guest_of_more_projects_than_that(
    root: Person, alice: Person, connection: Any, board: Board
) -> None:
    await connection.execute(
        "with made as ("
        " insert into projects (name, slug, key_prefix, created_by_id)"
        " select 'P', 'p' || n, 'P' || n, 2 from generate_series(1, $1::integer) as n returning id"
        ") insert into project_guests (project_id, user_id) select id, $2 from made",
        accounts.PROJECTS,
        ROOT,
    )
    card = await board.card()
    path, assign = f"{board.path}/cards/{card['id']}", {"assignee_ids": [ALICE, ROOT]}

    refused = await alice.put(path, assign, status=422)

    assert refused["fields"] == {"assignee_ids": "conflicting"}
    await works(root, board)
    assert len((await alice.put(path, assign))["assignees"]) == 2


async def test_a_name_that_is_shown_in_too_many_projects_stays(
    alice: Person, olga: Person, connection: Any, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "MOST_TOLD", 1)
    await alice.put("/users/me", {"display_name": "Alice A."})
    await writes(alice, board)
    await olga.delete(f"{board.path}/members/{ALICE}")
    await alice.post("/projects", {"name": "Mine"})

    refused = await alice.put(
        "/users/me", {"display_name": "Alice B.", "theme": "dark"}, status=422
    )

    assert refused["code"] == "too_many_projects"
    assert refused["fields"] == {"display_name": "conflicting"}
    me = await alice.put("/users/me", {"theme": "light"})
    assert (me["display_name"], me["theme"]) == ("Alice A.", "light")


async def test_preferences_concern_nobody_else(alice: Person, bob: Person, board: Board) -> None:
    async with bob.socket("demo") as socket:
        changed = {"theme": "dark", "first_name": "Al", "email": "a@b.org"}
        await alice.put("/users/me", {**changed, **PROOF})
        await socket.settle()

    assert not socket.events


async def test_names_and_memberships_that_change_at_once_end_alike_everywhere(
    alice: Person, olga: Person, root: Person, board: Board
) -> None:
    async with mirror(olga, "demo"):
        for turn in range(8):
            await asyncio.gather(
                alice.put("/users/me", {"display_name": f"Alice {turn}"}),
                olga.put(
                    f"/projects/demo/members/{ALICE}",
                    {"role": "admin" if turn % 2 else "member"},
                ),
                olga.request("DELETE", f"/projects/demo/members/{EVE}"),
                olga.request("POST", "/projects/demo/members", {"user_id": EVE}),
                root.put(f"/users/{EVE}", {"display_name": f"Eve {turn}"}),
                root.put(f"/users/{ALICE}", {"avatar_url": f"/{turn}.png"}),
            )


@pytest.mark.parametrize(
    ("meanwhile", "who", "role"),
    [
        ("insert into project_members (project_id, user_id) values ($1, 5)", "eve", "member"),
        ("update project_members set role = 'viewer' where project_id = $1", "alice", "viewer"),
    ],
)
async def test_a_name_that_changes_while_a_membership_does_is_told_with_it(
    person: Invite,
    olga: Person,
    connection: Any,
    door: Door,
    eventually: Wait,
    meanwhile: str,
    who: str,
    role: str,
) -> None:
    project = await olga.post("/projects", {"name": "Other"})
    await olga.post(f"/projects/{project['slug']}/members", {"username": "alice"})
    renamed = person(who)
    await renamed.token()
    other = connection.transaction()
    await other.start()
    await connection.execute("select lock_members($1, 2, $2)", project["id"], renamed.id)
    await connection.execute(meanwhile, project["id"])

    renaming = asyncio.create_task(renamed.put("/users/me", {"display_name": "Somebody"}))

    async def waits() -> bool:
        (waiting,) = await door.desk.database.reserved.fetchrow(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
            " and datname = current_database()"
        )
        return bool(waiting) or renaming.done()

    await eventually(waits)
    await other.commit()
    await renaming
    told = await connection.fetchval(
        "select payload from events where channel = $1 and type = 'project.member_updated'",
        f"project:{project['id']}",
    )
    assert told is not None
    assert json.loads(told)["role"] == role
    assert json.loads(told)["user"]["display_name"] == "Somebody"


@pytest.mark.parametrize("role", ["metrics", "backup"])
async def test_service_accounts_keep_their_own_account_and_see_nobody(
    bob: Person, connection: Any, role: str
) -> None:
    await connection.execute("update users set global_role = $1 where id = $2", role, BOB)

    assert (await bob.put("/users/me", {"theme": "dark"}))["global_role"] == role
    await bob.get("/auth/sessions")
    await bob.put("/users/me/password", CHANGE)
    await bob.get("/users/search", status=403)
    await bob.get("/users", status=403)
    await bob.get("/projects", status=403)


# The password


@pytest.mark.parametrize("path", ["/users/me/password", "/auth/me/password"])
async def test_a_new_password_replaces_the_old_one_and_ends_other_sessions(
    path: str, person: Invite, anyone: Client, board: Board, connection: Any
) -> None:
    here, there = person("alice"), person("alice")
    await connection.execute("update users set must_change_password = true where id = $1", ALICE)
    async with there.socket("demo") as socket, here.socket("user") as mine:
        await there.get("/users/me")

        answer = await here.put(path, CHANGE)

        assert answer == {"message": "the password was changed"}
        assert await socket.closed(limit=2) == 4401
        assert (await mine.next("session.revoked"))["payload"]["session_id"]
        me = (await mine.next("user.updated"))["payload"]
        assert me["must_change_password"] is False
    assert (await here.get("/users/me")) == me
    assert await login_status(anyone, "alice", PASSWORD) == 401
    assert await login_status(anyone, "alice", NEXT) == 200
    row = await connection.fetchrow("select * from users where id = $1", ALICE)
    assert row["password_changed_at"] is not None
    assert NEXT not in str(row)


async def test_other_sessions_tokens_are_dead_after_a_new_password(
    person: Invite, anyone: Client, eventually: Wait
) -> None:
    here, there = person("alice"), person("alice")
    token = await there.token()
    refresh_token = there.client.refresh_token
    await here.put("/users/me/password", CHANGE)

    async def dead() -> bool:
        headers = {"Authorization": f"Bearer {token}"}
        return (await anyone.request("GET", "/users/me", headers=headers)).status == 401

    await eventually(dead, limit=2)
    body = {"refresh_token": refresh_token}
    assert (await anyone.request("POST", "/auth/refresh", body)).status == 401
    own = {"refresh_token": here.client.refresh_token}
    assert (await anyone.request("POST", "/auth/refresh", own)).status == 200


async def test_the_current_password_must_be_right(alice: Person, anyone: Client) -> None:
    wrong = CHANGE | {"current_password": "a wrong password"}

    answer = await alice.put("/users/me/password", wrong, status=422)

    assert answer["error"] == "incorrect current password"
    assert await login_status(anyone, "alice", PASSWORD) == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "current_password"),
        ({"current_password": PASSWORD}, "new_password"),
        (CHANGE | {"new_password": "short"}, "new_password"),
        (CHANGE | {"new_password": "x" * 129}, "new_password"),
        (CHANGE | {"new_password": "x" * 1_000_000}, "new_password"),
        (CHANGE | {"current_password": "x" * 129}, "current_password"),
        (CHANGE | {"new_password": None}, "new_password"),
    ],
)
async def test_a_new_password_that_is_none_is_400(
    alice: Person, body: dict[str, Any], field: str
) -> None:
    assert field in (await alice.put("/users/me/password", body, status=400))["fields"]


async def test_the_password_of_now_is_no_new_one(
    alice: Person, anyone: Client, connection: Any
) -> None:
    await connection.execute("update users set must_change_password = true where id = $1", ALICE)
    kept = await connection.fetchval("select password_hash from users where id = $1", ALICE)

    for current in (PASSWORD, "a wrong password"):
        same = {"current_password": current, "new_password": current}
        answer = await alice.put("/users/me/password", same, status=422)
        assert answer["fields"] == {"new_password": "conflicting"}

    row = await connection.fetchrow("select * from users where id = $1", ALICE)
    assert (row["password_hash"], row["must_change_password"]) == (kept, True)
    assert await login_status(anyone, "alice", PASSWORD) == 200


async def test_passwords_differ_in_their_last_byte(alice: Person, anyone: Client) -> None:
    await alice.put("/users/me/password", CHANGE | {"new_password": "a" * 127 + "b"})

    assert await login_status(anyone, "alice", "a" * 127 + "c") == 401
    assert await login_status(anyone, "alice", "a" * 72) == 401
    assert await login_status(anyone, "alice", "a" * 127 + "b") == 200


@pytest.mark.settings(rate_limits=True)
async def test_who_found_a_session_cannot_try_passwords_forever(alice: Person) -> None:
    wrong = CHANGE | {"current_password": "a wrong password"}
    for _ in range(module.PASSWORD_TRIES):
        await alice.put("/users/me/password", wrong, status=422)

    answer = await alice.request("PUT", "/users/me/password", CHANGE)

    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) > 800


async def test_of_two_password_changes_at_once_one_wins(alice: Person, anyone: Client) -> None:
    answers = await asyncio.gather(
        *(
            alice.request("PUT", "/users/me/password", CHANGE | {"new_password": f"{NEXT} {n}"})
            for n in range(5)
        )
    )

    good = [n for n, answer in enumerate(answers) if answer.status == 200]
    assert len(good) == 1
    assert {answer.status for answer in answers} == {200, 422}
    assert await login_status(anyone, "alice", f"{NEXT} {good[0]}") == 200


# Finding people


async def test_people_are_found_by_a_part_of_their_name(alice: Person, olga: Person) -> None:
    found = await alice.get("/users/search?q=OL")

    for user in found:
        check(user, FoundUser, "found")
    assert [user["username"] for user in found] == ["olga"]
    await olga.put("/users/me", {"display_name": "Bobby O."})
    found = await alice.get("/users/search?q=bob")
    assert [user["username"] for user in found] == ["bob", "olga"]


async def test_a_search_tells_no_address_and_finds_none_by_it(alice: Person) -> None:
    assert await alice.get("/users/search?q=example.org") == []
    assert "@" not in json.dumps(await alice.get("/users/search"))


@pytest.mark.parametrize("q", ["%", "_", "a%e", "\\", "'", "%25"])
async def test_wildcards_are_letters(alice: Person, q: str) -> None:
    assert await alice.get(f"/users/search?q={quote(q)}") == []


async def test_only_active_people_are_found(alice: Person, connection: Any) -> None:
    await connection.execute("update users set is_active = false where id = $1", BOB)
    await connection.execute("update users set deleted_at = now() where id = $1", EVE)
    await connection.execute("update users set global_role = 'metrics' where id = $1", OLGA)

    found = await alice.get("/users/search")

    assert {user["username"] for user in found} == {"alice", "root"}


async def test_a_search_is_bounded(alice: Person) -> None:
    assert len(await alice.get("/users/search?limit=2")) == 2
    assert len(await alice.get("/users/search?limit=0")) == 1
    assert len(await alice.get("/users/search?limit=100000")) == 5
    await alice.get("/users/search?limit=many", status=400)
    await alice.get(f"/users/search?q={'x' * 101}", status=400)


async def test_online_is_told_only_of_those_i_share_a_project_with(
    alice: Person, eve: Person, olga: Person, root: Person, board: Board, eventually: Wait
) -> None:
    async def online(who: Person) -> set[str]:
        found = await who.get("/users/search")
        return {user["username"] for user in found if user["online"]}

    async with olga.socket("demo") as socket, eve.socket("user") as other:
        await socket.next("presence.list")
        await other.next("hello")

        async def seen() -> bool:
            return await online(root) >= {"olga", "eve"}

        await eventually(seen)
        assert await online(alice) == {"olga"}
        assert await online(eve) == {"eve"}


# Administration


@pytest.mark.parametrize("role", ["user", "viewer", "metrics", "backup"])
async def test_accounts_are_for_administrators(
    bob: Person, connection: Any, role: str, anyone: Client
) -> None:
    await connection.execute("update users set global_role = $1 where id = $2", role, BOB)

    await bob.get("/users", status=403)
    await bob.get(f"/users/{BOB}", status=403)
    await bob.post("/users", ZOE, status=403)
    await bob.put(f"/users/{BOB}", {"global_role": "admin"}, status=403)
    for method, path in (("GET", "/users"), ("POST", "/users"), ("PUT", "/users/1")):
        assert (await anyone.request(method, path, {})).status == 401


async def test_an_administrator_makes_accounts(
    root: Person, anyone: Client, connection: Any
) -> None:
    made = await root.post("/users", ZOE | {"first_name": "Zoe", "global_role": "viewer"})

    check(made, Account, "account")
    assert (made["email"], made["display_name"]) == ("zoe@example.org", "Zoe")
    assert (made["global_role"], made["deleted_at"]) == ("viewer", None)
    assert await root.get(f"/users/{made['id']}") == made
    assert await login_status(anyone, "zoe", ZOE["password"]) == 200
    row = await connection.fetchrow("select * from login_events where event = 'admin_user_created'")
    assert (row["user_id"], row["actor_id"]) == (made["id"], ROOT)


async def test_an_account_can_be_made_for_later(root: Person, anyone: Client) -> None:
    made = await root.post("/users", ZOE | {"is_active": False, "must_change_password": True})

    assert (made["is_active"], made["must_change_password"]) == (False, True)
    assert await login_status(anyone, "zoe", ZOE["password"]) == 403


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"global_role": "owner"}, 400),
        ({"global_role": None}, 400),
        ({"password": "short"}, 400),
        ({"email": "nobody"}, 400),
        ({"username": "z"}, 400),
        ({"is_active": "no"}, 400),
        ({"username": "ALICE"}, 409),
        ({"email": "alice@EXAMPLE.org"}, 409),
    ],
)
async def test_an_account_that_cannot_be_is_refused(
    root: Person, changes: dict[str, Any], status: int
) -> None:
    answer = await root.post("/users", ZOE | changes, status=status)

    assert next(iter(changes)) in answer["fields"]


async def test_accounts_are_listed_in_pages_and_by_what_they_are(
    root: Person, connection: Any
) -> None:
    await connection.execute("update users set is_active = false where id = $1", BOB)
    await connection.execute("update users set deleted_at = now() where id = $1", EVE)

    async def ids(query: str) -> list[int]:
        listed = await root.get(f"/users{query}")
        for account in listed:
            check(account, Account, "account")
        return [account["id"] for account in listed]

    assert await ids("") == [BOB, ALICE, OLGA, ROOT]
    assert await ids("?include_deleted=true") == [EVE, BOB, ALICE, OLGA, ROOT]
    assert await ids("?active=false") == [BOB]
    assert await ids("?active=true&role=user") == [ALICE, OLGA]
    assert await ids("?role=admin") == [ROOT]
    assert await ids("?q=ALICE@EX") == [ALICE]
    assert await ids("?q=%25") == []
    first = await root.request("GET", "/users?limit=3")
    assert [account["id"] for account in first.body] == [BOB, ALICE, OLGA]
    path = first.headers["Link"].partition(">")[0].removeprefix("</api/v1")
    rest = await root.request("GET", path)
    assert [account["id"] for account in rest.body] == [ROOT]
    assert "Link" not in rest.headers
    await root.get("/users?role=owner", status=400)
    await root.get("/users?before=0", status=400)


@pytest.mark.parametrize("name", ["0", "-1", "999", "x", "99999999999999999999", "1e3"])
async def test_an_account_that_is_none_is_404(root: Person, name: str) -> None:
    await root.get(f"/users/{name}", status=404)
    await root.put(f"/users/{name}", {"first_name": "X"}, status=404)


async def test_a_deleted_account_is_seen_and_not_changed(root: Person, connection: Any) -> None:
    await connection.execute("update users set deleted_at = now() where id = $1", EVE)

    assert (await root.get(f"/users/{EVE}"))["deleted_at"] is not None
    await root.put(f"/users/{EVE}", {"first_name": "X"}, status=404)


async def test_an_administrator_changes_what_is_sent(
    root: Person, alice: Person, connection: Any
) -> None:
    before = await root.get(f"/users/{ALICE}")
    changes = {
        "username": "alison",
        "email": "Alison@example.org",
        "first_name": "Alison",
        "global_role": "viewer",
        "locale": "de",
        "must_change_password": True,
    }
    async with alice.socket("user") as socket:
        after = await root.put(f"/users/{ALICE}", changes)
        me = (await socket.next("user.updated"))["payload"]

    check(after, Account, "account")
    assert after == before | changes | {
        "email": "alison@example.org",
        "gravatar_url": after["gravatar_url"],
        "updated_at": after["updated_at"],
        "last_login_at": after["last_login_at"],
    }
    assert me == {key: value for key, value in after.items() if key != "deleted_at"}
    row = await connection.fetchrow("select * from login_events where event = 'admin_user_updated'")
    assert (row["user_id"], row["actor_id"]) == (ALICE, ROOT)


async def test_another_username_is_seen_in_every_project(
    root: Person, bob: Person, board: Board
) -> None:
    async with mirror(bob, "demo"), bob.socket("demo") as socket:
        await root.put(f"/users/{ALICE}", {"username": "alison", "display_name": "Alison"})

        member = (await socket.next("project.member_updated"))["payload"]

    assert member["user"]["username"] == "alison"
    assert member["user"]["display_name"] == "Alison"


async def test_nothing_changed_by_an_administrator_is_no_event(
    root: Person, connection: Any
) -> None:
    before = await root.get(f"/users/{ALICE}")

    assert await root.put(f"/users/{ALICE}", {"global_role": "user", "is_active": True}) == before

    assert await connection.fetchval("select count(*) from events") == 0


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"global_role": "boss"}, "global_role"), ({"username": "a b"}, "username")],
)
async def test_a_change_that_is_wrong_is_400(
    root: Person, changes: dict[str, str], field: str
) -> None:
    assert field in (await root.put(f"/users/{ALICE}", changes, status=400))["fields"]


async def test_a_deactivated_user_is_out_at_once(
    root: Person, alice: Person, board: Board, twin: Door, anyone: Client, eventually: Wait
) -> None:
    token = await alice.token()
    headers = {"Authorization": f"Bearer {token}"}
    async with Client(twin.url, patience=0) as there:
        assert (await there.request("GET", "/users/me", headers=headers)).status == 200
        async with alice.socket("demo") as socket, alice.socket("user") as own:
            await root.put(f"/users/{ALICE}", {"is_active": False})

            assert await socket.closed(limit=2) == 4403
            assert await own.closed(limit=2) == 4403

        async def dead() -> bool:
            return (await there.request("GET", "/users/me", headers=headers)).status == 401

        await eventually(dead, limit=2)
    body = {"refresh_token": alice.client.refresh_token}
    assert (await anyone.request("POST", "/auth/refresh", body)).status == 401
    assert await login_status(anyone, "alice", PASSWORD) == 403

    await root.put(f"/users/{ALICE}", {"is_active": True})
    assert await login_status(anyone, "alice", PASSWORD) == 200
    assert (await anyone.request("POST", "/auth/refresh", body)).status == 401


async def test_a_password_from_an_administrator_ends_all_sessions(
    root: Person, alice: Person, anyone: Client, board: Board
) -> None:
    async with alice.socket("demo") as socket:
        await root.put(f"/users/{ALICE}", {"password": NEXT})

        assert await socket.closed(limit=2) == 4401
    body = {"refresh_token": alice.client.refresh_token}
    assert (await anyone.request("POST", "/auth/refresh", body)).status == 401
    assert await login_status(anyone, "alice", PASSWORD) == 401
    assert await login_status(anyone, "alice", NEXT) == 200


async def test_a_password_i_give_myself_is_proved_and_my_own_session_survives_it(
    root: Person, anyone: Client
) -> None:
    wrong = {"current_password": "another"}
    for proof, code in ((dict[str, str](), "required"), (wrong, "incorrect")):
        body = {"password": NEXT, "theme": "dark", **proof}
        refused = await root.put(f"/users/{ROOT}", body, status=422)
        assert refused["code"] == "wrong_password"
        assert refused["fields"] == {"current_password": code}
    assert (await root.get("/users/me"))["theme"] == "system"
    await root.put(f"/users/{ROOT}", {"password": NEXT, "current_password": PASSWORD})
    assert await login_status(anyone, "root", PASSWORD) == 401

    assert (await root.get("/users/me"))["id"] == ROOT
    token = {"refresh_token": root.client.refresh_token}
    assert (await anyone.request("POST", "/auth/refresh", token)).status == 200


async def test_a_role_acts_at_once(
    root: Person, alice: Person, board: Board, eventually: Wait
) -> None:
    await alice.get("/projects/demo")
    await root.put(f"/users/{ALICE}", {"global_role": "viewer"})

    async def only_reads() -> bool:
        made = await alice.request(
            "POST", f"/projects/demo/columns/{board.backlog}/cards", {"title": "x"}
        )
        return made.status == 403

    await eventually(only_reads, limit=2)
    assert (await alice.get("/projects/demo"))["my_role"] == "viewer"


@pytest.mark.parametrize(
    "changes", [{"global_role": "user"}, {"global_role": "viewer"}, {"is_active": False}]
)
async def test_nobody_steps_down_alone(root: Person, changes: dict[str, Any]) -> None:
    answer = await root.put(f"/users/{ROOT}", changes, status=422)

    assert answer["fields"].keys() == changes.keys()
    assert (await root.get("/users/me"))["global_role"] == "admin"


async def test_an_administrator_may_say_again_what_is_so(root: Person) -> None:
    await root.put(f"/users/{ROOT}", {"global_role": "admin", "is_active": True, "theme": "dark"})


@pytest.mark.parametrize("changes", [{"global_role": "user"}, {"is_active": False}])
async def test_of_twenty_who_demote_each_other_one_remains(
    person: Invite, connection: Any, root: Person, changes: dict[str, Any]
) -> None:
    await connection.execute("update users set global_role = 'admin'")
    for number in range(15):
        await connection.execute(
            "insert into users (email, username, password_hash, display_name, global_role)"
            " select $1, $2, password_hash, $2, 'admin' from users where id = 1",
            f"admin{number}@example.org",
            f"admin{number}",
        )
    names = [row["username"] for row in await connection.fetch("select username from users")]
    ids = [row["id"] for row in await connection.fetch("select id from users order by id")]
    people = [person(name) for name in names]
    for each in people:
        await each.token()

    answers = await asyncio.gather(
        *(
            each.request("PUT", f"/users/{ids[(place + shift) % 20]}", changes)
            for place, each in enumerate(people)
            for shift in (1, 7)
        )
    )

    assert {a.status for a in answers} <= {200, 401, 403, 422}
    left = await connection.fetchval(
        "select count(*) from users where global_role = 'admin' and is_active"
    )
    assert left >= 1


async def test_two_who_demote_each_other_leave_one(
    person: Invite, connection: Any, root: Person
) -> None:
    await connection.execute("update users set global_role = 'admin' where id = $1", ALICE)
    alice = person("alice")
    await asyncio.gather(root.token(), alice.token())

    answers = await asyncio.gather(
        root.request("PUT", f"/users/{ALICE}", {"global_role": "user"}),
        alice.request("PUT", f"/users/{ROOT}", {"global_role": "user"}),
    )

    assert sorted(a.status for a in answers) == [200, 403]
    assert await connection.fetchval("select count(*) from users where global_role = 'admin'") == 1


async def test_who_was_an_administrator_a_moment_ago_changes_nothing(
    root: Person, connection: Any
) -> None:
    await root.get("/users")
    await connection.execute("update users set global_role = 'user' where id = $1", ROOT)

    # This process has not heard of it; the change itself asks again.
    await root.put(f"/users/{ALICE}", {"global_role": "admin"}, status=403)
    await root.post("/users", ZOE, status=403)


async def test_an_administrators_key_gives_no_passwords_and_addresses(
    person: Invite, connection: Any
) -> None:
    key = "wd_" + "b" * 48
    await connection.execute(
        "insert into api_keys (user_id, name, key_hash, key_prefix) values ($1, 'ci', $2, $3)",
        ROOT,
        digest(key),
        key[:12],
    )
    robot = person(api_key=key)

    await robot.get("/users")
    await robot.put(f"/users/{ALICE}", {"password": NEXT}, status=403)
    for user in (ALICE, ROOT):
        await robot.put(f"/users/{user}", {"email": "robot@example.org"}, status=403)
    assert (await robot.put(f"/users/{ALICE}", {"theme": "dark"}))["theme"] == "dark"


async def test_no_answer_holds_a_hash(root: Person, alice: Person) -> None:
    said = [
        await root.get("/users"),
        await root.get(f"/users/{ALICE}"),
        await root.put(f"/users/{ALICE}", {"first_name": "A"}),
        await alice.get("/users/me"),
        await alice.get("/users/search"),
        await alice.get("/auth/sessions"),
    ]

    assert "$2b$" not in json.dumps(said)
    assert "hash" not in json.dumps(said)
