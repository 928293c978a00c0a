"""The start of a client: all that it shows first, by one request."""

from __future__ import annotations

from tests.conftest import Board, Invite
from tests.person import Person
from warmdesk.schemas.settings import FACTS, PUBLIC


async def test_it_shows_what_the_single_requests_show(
    board: Board, alice: Person, olga: Person
) -> None:
    await board.card("First")
    await olga.post(f"{board.path}/chat/messages", {"body": "@alice look"})
    shown = await alice.get("/bootstrap?project=demo")

    assert shown["user"] == await alice.get("/users/me")
    assert set(shown["settings"]) == {*PUBLIC, *FACTS}
    assert shown["projects"] == await alice.get("/projects?mine=true")
    assert shown["unread_notifications"] == 2  # that she was added, too
    assert shown["unread_conversations"] == 0
    assert shown["project"] == await alice.get("/projects/demo")


async def test_what_happens_afterwards_is_told_by_the_events_after_it(
    board: Board, alice: Person, olga: Person
) -> None:
    shown = await alice.request("GET", "/bootstrap")
    at = int(shown.headers["Warmdesk-Seq"])
    await olga.post("/projects", {"name": "Attic"})
    await olga.post("/projects/attic/members", {"user_id": 3, "role": "member"})
    page = await alice.get(f"/users/me/events?since={at}")
    assert page["epoch"] == shown.headers["Warmdesk-Epoch"]
    assert "project.joined" in [each["type"] for each in page["events"]]
    assert page["events"][0]["seq"] == at + 1


async def test_the_board_is_as_it_is_asked_for(board: Board, alice: Person) -> None:
    await board.card("First")
    await board.card("Second")
    query = "include=columns,cards,chat&cards=brief&cards_limit=1"
    shown = await alice.get(f"/bootstrap?project=demo&{query}")

    assert shown["project"] == await alice.get(f"/projects/demo?{query}")


async def test_without_one_there_is_no_board(board: Board, alice: Person) -> None:
    assert (await alice.get("/bootstrap"))["project"] is None


async def test_a_project_that_is_not_there_or_not_shown_is_none(
    board: Board, alice: Person, eve: Person
) -> None:
    assert (await alice.get("/bootstrap?project=nowhere"))["project"] is None
    shown = await eve.get("/bootstrap?project=demo")
    assert (shown["project"], shown["projects"]) == (None, [])


async def test_an_administrator_begins_with_what_is_his(board: Board, root: Person) -> None:
    shown = await root.get("/bootstrap?project=demo")

    assert shown["projects"] == []
    assert shown["project"]["slug"] == "demo"


async def test_a_key_begins_with_what_it_may_read(
    board: Board, alice: Person, olga: Person, person: Invite
) -> None:
    await alice.post("/projects", {"name": "Mine"})
    for maker, path, body, refused in (
        (alice, "/users/me/api-keys", {"scopes": ["read"]}, ""),
        (alice, "/users/me/api-keys", {"scopes": ["write"]}, ""),
        (alice, "/users/me/api-keys", {"scopes": ["tickets"]}, "key_lacks_scope"),
        (olga, "/projects/demo/api-keys", {}, "key_scope"),
    ):
        key = await maker.post(path, {"name": "start", **body})
        robot = person("robot", api_key=key["key"])
        shown = await robot.get("/bootstrap?project=demo", status=403 if refused else 200)
        if refused:
            assert shown["code"] == refused
        else:
            assert shown == await alice.get("/bootstrap?project=demo")


async def test_wrong_parts_are_named(board: Board, alice: Person) -> None:
    await alice.get("/bootstrap?project=demo&include=nonsense", status=400)
    await alice.get("/bootstrap?project=demo&cards=short", status=400)
