"""Idempotency-Key: what a route declares is done for it, and the reference client knows it."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from tests.conftest import Board
from tests.person import PASSWORD, Person
from warmdesk import app, client
from warmdesk.desk import Desk
from warmdesk.http.route import Route
from warmdesk.realtime.channels import project_channel

EXAMPLES = json.loads(app.documents().json.body)["paths"]
KEYED = [each for each in app.resources() if each.keyed]
OWN_BODIES: dict[str, dict[str, Any]] = {"add_member": {"username": "eve", "role": "member"}}
"""Where the document's example would be refused in the tests' company."""


def names(route: Route) -> str:
    return route.handler.__name__


def body(route: Route) -> dict[str, Any]:
    """An example of the document."""
    operation = EXAMPLES[route.path][route.method.lower()]
    if route.body is None:
        return {}
    example: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["example"]
    made = dict(OWN_BODIES.get(names(route), example))
    for name in ("username", "email"):
        if names(route) == "create_user":
            made[name] = f"new-{made[name]}"
    return made


async def path(route: Route, board: Board, person: Person) -> str:
    """Where this person asks it: at things that are there. What has no fixture yet is told by its
    name.
    """
    known: dict[str, Any] = {"slug": board.slug, "column_id": board.backlog}
    if "{card_id}" in route.path:
        await board.card("Another")
        known["card_id"] = (await board.card())["id"]
        if names(route) == "restore_card":
            await board.maker.delete(f"{board.path}/cards/{known['card_id']}")
    if "{message_id}" in route.path:
        known["message_id"] = (await said(person, board))["id"]
    return re.sub(r"{(\w+)}", lambda found: str(known[found[1]]), route.path)


async def count(connection: Any) -> tuple[int, int]:
    """Events, and rows that were made."""
    tables = ("cards", "chat_messages", "columns", "project_members", "projects", "users")
    rows = [await connection.fetchval(f"select count(*) from {table}") for table in tables]
    return await connection.fetchval("select count(*) from events"), sum(rows)


@pytest.mark.parametrize("route", KEYED, ids=names)
async def test_the_same_key_is_answered_as_the_first_time(
    route: Route, root: Person, board: Board, connection: Any
) -> None:
    """One of many at once does it; the others, and who comes later, get the same bytes."""
    place, sent = await path(route, board, root), body(route)
    before = await count(connection)
    found = await asyncio.gather(
        *(root.request(route.method, place, sent, key="once") for _ in range(8))
    )
    assert {each.status for each in found} == {route.status}, [each.body for each in found]
    assert len({json.dumps(each.body, sort_keys=True) for each in found}) == 1
    replays = [each.headers.get("Idempotent-Replay") for each in found]
    assert sorted(replays, key=str) == [None, *["true"] * 7]
    after = await count(connection)
    assert after > before
    again = await root.request(route.method, place, sent, key="once")
    assert (again.status, again.body) == (found[0].status, found[0].body)
    assert await count(connection) == after
    if route.body is None:
        return
    refused = await root.request(route.method, place, {**sent, "zzz": 1}, key="once")
    assert (refused.status, refused.body["code"]) == (422, "idempotency_key_reused")
    other = await root.request(route.method, place, {"zzz": 1, **sent}, key="another")
    assert "Idempotent-Replay" not in other.headers


@pytest.mark.parametrize("route", KEYED, ids=names)
async def test_a_refusal_is_not_kept(route: Route, eve: Person, root: Person, board: Board) -> None:
    """Who was refused may send the same again when it is possible."""
    place, sent = await path(route, board, root), body(route)
    if names(route) == "create_project":
        return  # everybody may
    refused = await eve.request(route.method, place, sent, key="later")
    assert refused.status in (403, 404)
    again = await eve.request(route.method, place, sent, key="later")
    assert again.status == refused.status
    assert "Idempotent-Replay" not in again.headers
    assert (await root.request(route.method, place, sent, key="later")).status == route.status


REPEATED = [
    each
    for each in app.resources()
    if each.method == "POST" and not each.keyed and each.path not in client.ONCE
]


@pytest.mark.parametrize("route", REPEATED, ids=names)
async def test_what_the_client_repeats_without_a_key_does_no_harm(
    route: Route, olga: Person, board: Board, connection: Any, desk: Desk
) -> None:
    """The second one makes nothing, and is no mistake: the client takes its answer."""
    card, message = await board.card(), await said(olga, board)
    tokens = await olga.request("POST", "/auth/login", {"login": "olga", "password": PASSWORD})
    known = {"slug": board.slug, "card_id": card["id"], "message_id": message["id"]}
    place = re.sub(r"{(\w+)}", lambda found: str(known[found[1]]), route.path)
    bodies: dict[str, Any] = {
        "log_in": {"login": "olga", "password": PASSWORD},
        "refresh_tokens": {"refresh_token": tokens.body["refresh_token"]},
        "log_out": {"refresh_token": tokens.body["refresh_token"]},
        "add_reaction": {"emoji": "👍"},
    }
    sent = bodies.get(names(route))
    first = await olga.request("POST", place, sent)
    before = await count(connection)
    again = await olga.request("POST", place, sent)
    assert first.status in (route.status, *route.also)
    assert again.status in (route.status, *route.also)
    assert await count(connection) == before


async def said(person: Person, board: Board) -> Any:
    return await person.post(f"{board.path}/chat/messages", {"body": "Good morning"})


@pytest.mark.foul
async def test_a_key_of_a_project_is_kept_with_its_change(
    board: Board, alice: Person, connection: Any
) -> None:
    """The answer and the change are one transaction: what was lost leaves no key."""
    await connection.execute(
        "create function fail() returns trigger language plpgsql as"
        " $$ begin raise exception 'no' using errcode = '53100'; end $$;"
        "create trigger fail before insert on events for each row execute function fail()"
    )
    where = f"{board.path}/columns/{board.backlog}/cards"
    lost = await alice.request("POST", where, {"title": "T"}, key="k")
    assert lost.status == 503
    await connection.execute("drop trigger fail on events")
    made = await alice.request("POST", where, {"title": "T"}, key="k")
    assert (made.status, "Idempotent-Replay" in made.headers) == (201, False)
    events = await connection.fetchval(
        "select count(*) from events where channel = $1 and type = 'board.card_created'",
        project_channel(board.id),
    )
    assert events == 1
