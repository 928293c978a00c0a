"""Idempotency-Key: what a route declares is done for it, and the reference client knows it."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, NamedTuple

import pytest

from tests.conftest import Board, Invite
from tests.person import PASSWORD, Person
from tests.samples import SAMPLES, Sample
from tests.samples.outgoing import BODY as NOWHERE
from tests.trying_out import WITHOUT_MAIL
from warmdesk import app, client
from warmdesk.auth.actor import GlobalRole
from warmdesk.desk import Desk
from warmdesk.http.route import Route
from warmdesk.mail.letters import FAREWELL
from warmdesk.realtime.channels import project_channel
from warmdesk.sealing import MARK

EXAMPLES = json.loads(app.documents().json.body)["paths"]
KEYED = [each for each in app.resources() if each.keyed]
OWN_BODIES: dict[str, dict[str, Any]] = {
    "add_member": {"username": "eve", "role": "member"},
    "add_participant": {"user_id": 5},
    "create_outgoing_webhook": {"name": "Deploy", **NOWHERE},
    "transfer_card": {"target_project_slug": "my-project", "column_id": 5, "action": "move"},
}
"""Where the document's example would be refused in the tests' company."""
STRICT = {
    "change_ticket": {"title": "Another"},
    "create_key": {"name": "Another"},
    "create_key_of_user": {"name": "Another"},
    "create_project_key": {"name": "Another"},
}
"""What makes another body, where unknown fields are refused."""


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
        if names(route) == "transfer_card":
            await person.post("/projects", {"name": "My Project"})
        if names(route) == "restore_card":
            await board.maker.delete(f"{board.path}/cards/{known['card_id']}")
    if "{conversation_id}" in route.path:
        known |= await in_a_group(person)
    elif "{message_id}" in route.path:
        known["message_id"] = (await said(person, board))["id"]
    if "{label_id}" in route.path:
        known["label_id"] = board.labels["Bug"]
    if names(route) == "create_key_of_user":
        account = {"username": "metrics", "email": "metrics@example.org", "password": PASSWORD}
        made = await person.post("/users", account | {"global_role": "metrics"})
        known["user_id"] = made["id"]
    for sample in SAMPLES:
        if f"{{{sample.name}}}" in route.path and sample.name not in known:
            known[sample.name] = await sample.make(person, known, "Some text")
    return re.sub(r"{(\w+)}", lambda found: str(known[found[1]]), route.path)


async def count(connection: Any) -> tuple[int, int]:
    """Events, and rows that were made."""
    tables = ["cards", "chat_messages", "columns", "labels", "project_members", "projects", "users"]
    tables += ["invitations", "outgoing_webhooks", "project_webhooks", "topics", "topic_replies"]
    tables += ["conversations", "conversation_members", "conversation_messages", "api_keys"]
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
    more = STRICT.get(names(route), {"zzz": 1})
    refused = await root.request(route.method, place, {**sent, **more}, key="once")
    assert (refused.status, refused.body["code"]) == (422, "idempotency_key_reused")
    other = await root.request(route.method, place, {**more, **sent}, key="another")
    assert "Idempotent-Replay" not in other.headers


@pytest.mark.parametrize("route", KEYED, ids=names)
async def test_a_refusal_is_not_kept(route: Route, eve: Person, root: Person, board: Board) -> None:
    """Who was refused may send the same again when it is possible."""
    place, sent = await path(route, board, root), body(route)
    if names(route) in ("create_key", "create_project", "create_conversation", "log_time"):
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
    if each.method == "POST"
    and not each.keyed
    and not client.sent_once(each.path)
    # A delivery has a name of its own.
    and "{token}" not in each.path
]


@pytest.mark.parametrize("route", REPEATED, ids=names)
async def test_what_the_client_repeats_without_a_key_does_no_harm(
    route: Route, olga: Person, root: Person, board: Board, connection: Any, desk: Desk
) -> None:
    """The second one makes nothing, and is no mistake: the client takes its answer."""
    card, message = await board.card(), await said(olga, board)
    tokens = await olga.request("POST", "/auth/login", {"login": "olga", "password": PASSWORD})
    known = {"slug": board.slug, "card_id": card["id"], "message_id": message["id"]}
    known |= {"user_id": olga.id, "label_id": board.labels["Bug"]}
    who = root if route.need is GlobalRole.ADMIN else olga
    if names(route) == "accept_invitation":
        await board.maker.post("/projects", {"name": "Other"})
        invited = await board.maker.post("/projects/other/invitations", {})
        known["token"] = invited["url"].rpartition("/")[2]
    if names(route) == "restore_user":
        known["user_id"] = board.maker.id
        await root.delete(f"/users/{board.maker.id}")
    if names(route) == "favor_user":
        known["user_id"] = board.maker.id
    if "{invitation_id}" in route.path:
        where = "/admin" if "admin" in route.path else board.path
        known["invitation_id"] = (await who.post(f"{where}/invitations", {}))["id"]
    if "{conversation_id}" in route.path:
        known |= await in_a_group(olga)
    if "{notification_id}" in route.path:
        await board.maker.post(f"{board.path}/chat/messages", {"body": "@olga"})
        known["notification_id"] = (await olga.get("/notifications"))["items"][0]["id"]
    for sample in SAMPLES:
        if f"{{{sample.name}}}" in route.path and sample.name not in known:
            known[sample.name] = await sample.make(olga, known, "Some text")
    place = re.sub(r"{(\w+)}", lambda found: str(known[found[1]]), route.path)
    headers: dict[str, str] = {}
    if names(route) == "stop_mails":
        place += f"?token={desk.system.sealing.seal(str(olga.id), FAREWELL).removeprefix(MARK)}"
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    bodies: dict[str, Any] = {
        "log_in": {"login": "olga", "password": PASSWORD},
        "refresh_tokens": {"refresh_token": tokens.body["refresh_token"]},
        "log_out": {"refresh_token": tokens.body["refresh_token"]},
        "add_reaction": {"emoji": "👍"},
        "add_tag": {"name": "urgent"},
        "add_conversation_reaction": {"emoji": "👍"},
        "replay_outgoing_webhook": {"since": 0},
        "read_chat": {"message_id": known["message_id"]},
        "read_conversation": {"message_id": known["message_id"]},
        "forgot_password": {"email": "nobody@example.org"},
    }
    sent = bodies.get(names(route))
    first = await who.request("POST", place, sent, headers=headers)
    before = await count(connection)
    again = await who.request("POST", place, sent, headers=headers)
    expected = {WITHOUT_MAIL.get(names(route), route.status), route.status, *route.also}
    assert first.status in expected
    assert again.status in expected
    assert await count(connection) == before


@pytest.mark.parametrize("route", [each for each in KEYED if each.secret], ids=names)
async def test_an_answer_with_a_secret_is_sealed_and_for_who_asked_first(
    route: Route, root: Person, board: Board, connection: Any, person: Invite
) -> None:
    """Not for another session of the same person, nor for a key; and the database has it not."""
    place, sent = await path(route, board, root), body(route)
    first = await root.request(route.method, place, sent, key="once")
    assert first.status == route.status
    kept = await connection.fetchval("select answer from idempotency_keys where key = 'once'")
    assert kept.startswith(MARK)
    assert "created_at" not in kept
    key = (await root.post("/auth/api-keys", {"name": "CI"}))["key"]
    before = await count(connection)
    refused = "sign_in_required" if route.session else "idempotency_key_not_yours"
    others = {person("root", api_key=key): refused, person("root"): "idempotency_key_not_yours"}
    for other, code in others.items():
        again = await other.request(route.method, place, sent, key="once")
        assert (again.status, again.body["code"]) == (403, code)
    assert await count(connection) == before
    again = await root.request(route.method, place, sent, key="once")
    assert (again.status, again.body) == (first.status, first.body)
    # What is sealed for one key is not opened under another.
    await connection.execute("update idempotency_keys set key = 'moved'")
    moved = await root.request(route.method, place, sent, key="moved")
    assert (moved.status, moved.body["code"]) == (403, "idempotency_key_not_yours")


async def said(person: Person, board: Board) -> Any:
    return await person.post(f"{board.path}/chat/messages", {"body": "Good morning"})


async def in_a_group(person: Person) -> dict[str, Any]:
    """A conversation with a message, by the names of paths."""
    group = await person.post("/conversations", {"user_ids": [3, 4]})
    path = f"/conversations/{group['id']}/messages"
    message = await person.post(path, {"body": "Good morning"})
    return {"conversation_id": group["id"], "message_id": message["id"]}


# What the answer shows is deleted

SECRET = "secret"


class Told(NamedTuple):
    """A keyed request whose answer shows a secret, and what is deleted then."""

    method: str
    path: str
    body: Any
    deleted: str


async def a_message(board: Board, olga: Person, alice: Person) -> Told:
    path = f"{board.path}/chat/messages"
    body = {"body": SECRET}
    return Told("POST", path, body, path + "/{id}")


async def a_card(board: Board, olga: Person, alice: Person) -> Told:
    path = f"{board.path}/columns/{board.backlog}/cards"
    return Told("POST", path, {"title": SECRET}, board.path + "/cards/{id}")


async def a_column(board: Board, olga: Person, alice: Person) -> Told:
    path = f"{board.path}/columns"
    return Told("POST", path, {"name": SECRET}, path + "/{id}")


async def a_topic(board: Board, olga: Person, alice: Person) -> Told:
    path = f"{board.path}/topics"
    return Told("POST", path, {"title": SECRET, "body": SECRET}, path + "/{id}")


async def a_reply(board: Board, olga: Person, alice: Person) -> Told:
    path = f"{board.path}/topics"
    path = f"{path}/{(await olga.post(path, {'title': 'T'}))['id']}/replies"
    return Told("POST", path, {"body": SECRET}, path + "/{id}")


async def a_reply_below(board: Board, olga: Person, alice: Person) -> Told:
    """It is deleted with its topic."""
    told = await a_reply(board, olga, alice)
    return told._replace(deleted=told.path.removesuffix("/replies"))


async def the_same_topic(board: Board, olga: Person, alice: Person) -> Told:
    topic = await alice.post(f"{board.path}/topics", {"title": SECRET})
    path = f"{board.path}/topics/{topic['id']}"
    return Told("PUT", path, {"title": SECRET}, path)


async def the_same_reply(board: Board, olga: Person, alice: Person) -> Told:
    told = await a_reply(board, olga, alice)
    path = f"{told.path}/{(await alice.post(told.path, told.body))['id']}"
    return Told("PUT", path, told.body, path)


async def of_another(board: Board, olga: Person) -> str:
    where = f"{board.path}/columns/{board.backlog}/cards"
    card = await olga.post(where, {"title": "T", "description": SECRET, "tags": ["old"]})
    return f"{board.path}/cards/{card['id']}"


async def a_ticket(board: Board, olga: Person, alice: Person) -> Told:
    body = {"title": SECRET, "column_name": "backlog"}
    return Told("POST", f"{board.path}/ticket", body, f"{board.path}/cards/{{id}}")


async def another_card(board: Board, olga: Person, alice: Person) -> Told:
    path = await of_another(board, olga)
    return Told("PUT", path, {"tags": ["new"]}, path)


async def nothing_new(board: Board, olga: Person, alice: Person) -> Told:
    """No event tells of it."""
    path = await of_another(board, olga)
    return Told("PUT", path, {"tags": ["old"]}, path)


async def nowhere_else(board: Board, olga: Person, alice: Person) -> Told:
    path = await of_another(board, olga)
    return Told("PATCH", f"{path}/move", {"column_id": board.backlog, "index": 0}, path)


async def the_same_message(board: Board, olga: Person, alice: Person) -> Told:
    message = await alice.post(f"{board.path}/chat/messages", {"body": SECRET})
    path = f"{board.path}/chat/messages/{message['id']}"
    return Told("PUT", path, {"body": SECRET}, path)


async def the_same_column(board: Board, olga: Person, alice: Person) -> Told:
    column = await olga.post(f"{board.path}/columns", {"name": SECRET})
    path = f"{board.path}/columns/{column['id']}"
    return Told("PUT", path, {"name": SECRET}, path)


async def a_card_that_came_back(board: Board, olga: Person, alice: Person) -> Told:
    path = await of_another(board, olga)
    await olga.delete(path)
    return Told("POST", f"{path}/restore", None, path)


TOLD = [
    *(a_message, a_card, a_ticket, a_column, another_card, nothing_new, nowhere_else),
    *(the_same_message, the_same_column, a_card_that_came_back),
    *(a_topic, a_reply, a_reply_below, the_same_topic, the_same_reply),
]


@pytest.mark.parametrize("how", TOLD)
async def test_an_answer_goes_with_what_it_shows(
    board: Board, olga: Person, alice: Person, connection: Any, how: Any
) -> None:
    await olga.put(f"{board.path}/members/{alice.id}", {"role": "admin"})
    told = await how(board, olga, alice)
    first = await alice.request(told.method, told.path, told.body, key="k")
    assert first.status in (200, 201)
    assert SECRET in str(first.body)
    other = await alice.request("POST", f"{board.path}/columns", {"name": "Other"}, key="other")
    again = await alice.request(told.method, told.path, told.body, key="k")
    assert (again.status, again.body) == (first.status, first.body)

    deleted = told.deleted.format(**first.body)
    await olga.delete(deleted)
    stored = await connection.fetchval("select string_agg(answer, '') from idempotency_keys")
    assert SECRET not in stored
    gone = await alice.request(told.method, told.path, told.body, key="k")
    refused = {"error": "what was made with this key is deleted", "code": "deleted"}
    assert (gone.status, gone.body.items() >= refused.items()) == (410, True)
    if told.body:
        changed = await alice.request(told.method, told.path, {**told.body, "zzz": 1}, key="k")
        assert (changed.status, changed.body["code"]) == (422, "idempotency_key_reused")
    same = await alice.request("POST", f"{board.path}/columns", {"name": "Other"}, key="other")
    assert (same.status, same.body) == (201, other.body)

    if "/cards/" in deleted:
        await olga.post(f"{deleted}/restore", status=200)
        still = await alice.request(told.method, told.path, told.body, key="k")
        assert (still.status, still.body["code"]) == (410, "deleted")
    await olga.delete(f"{board.path}/members/{alice.id}")
    lost = await alice.request(told.method, told.path, told.body, key="k")
    assert lost.status == 404


CARD = "/projects/{slug}/cards/{card_id}"
HANGING = [each for each in SAMPLES if str(each.deletes).startswith(f"{CARD}/")]


@pytest.mark.parametrize("sample", HANGING, ids=[each.name for each in HANGING])
async def test_a_card_is_not_shown_again_with_what_hung_on_it(
    board: Board, olga: Person, connection: Any, sample: Sample
) -> None:
    """Also where it is deleted and the card stays; what came later is no part of the answer."""
    names: dict[str, Any] = {"slug": board.slug, "card_id": (await board.card())["id"]}
    path, body = CARD.format(**names), {"tags": ["new"]}
    made = await sample.make(olga, names, SECRET)
    first = await olga.request("PUT", path, body, key="k")
    assert SECRET in str(first.body)
    later = await sample.make(olga, names, "later")
    await sample.delete(olga, names, later)
    again = await olga.request("PUT", path, body, key="k")
    assert (again.status, again.body) == (200, first.body)

    await sample.delete(olga, names, made)
    stored = await connection.fetchval("select string_agg(answer, '') from idempotency_keys")
    assert SECRET not in stored
    gone = await olga.request("PUT", path, body, key="k")
    assert (gone.status, gone.body["code"]) == (410, "deleted")


@pytest.mark.parametrize("is_added", [False, True])
async def test_a_conversation_is_not_shown_again_with_its_last_message(
    alice: Person, bob: Person, olga: Person, eve: Person, connection: Any, *, is_added: bool
) -> None:
    """Where one is opened that was there already, and where somebody is added to a group."""
    others = [bob.id, olga.id] if is_added else [bob.id]
    here = await alice.post("/conversations", {"user_ids": others})
    talk = f"/conversations/{here['id']}"
    path: str = f"{talk}/members" if is_added else "/conversations"
    body: dict[str, Any] = {"user_id": eve.id} if is_added else {"user_ids": others}
    said = [await bob.post(f"{talk}/messages", {"body": text}) for text in ("before", SECRET)]
    first = await alice.request("POST", path, body, key="k")
    assert first.body["last_message"]["body"] == SECRET
    await bob.delete(f"{talk}/messages/{said[0]['id']}")
    again = await alice.request("POST", path, body, key="k")
    assert (again.status, again.body) == (first.status, first.body)

    await bob.delete(f"{talk}/messages/{said[1]['id']}")
    stored = await connection.fetchval("select string_agg(answer, '') from idempotency_keys")
    assert SECRET not in stored
    gone = await alice.request("POST", path, body, key="k")
    assert (gone.status, gone.body["code"]) == (410, "deleted")


@pytest.mark.parametrize("how", [a_message, a_card, a_column, a_topic, a_reply])
async def test_who_asks_while_it_is_deleted_gets_the_answer_or_hears_that(
    board: Board, olga: Person, alice: Person, how: Any
) -> None:
    await olga.put(f"{board.path}/members/{alice.id}", {"role": "admin"})
    told = await how(board, olga, alice)
    for key in ("one", "two", "three"):
        first, *_ = found = await asyncio.gather(
            *(alice.request(told.method, told.path, told.body, key=key) for _ in range(8))
        )
        assert [(each.status, each.body) for each in found] == [(201, first.body)] * 8

        async def ask(key: str = key) -> Any:
            return await alice.request(told.method, told.path, told.body, key=key)

        deleted = asyncio.ensure_future(olga.delete(told.deleted.format(**first.body)))
        for each in await asyncio.gather(*(ask() for _ in range(8))):
            assert each.status == 410 or (each.status, each.body) == (201, first.body)
        await deleted
        assert (await ask()).status == 410


async def test_a_deletion_on_a_socket_takes_the_answer_with_it(board: Board, alice: Person) -> None:
    path = f"{board.path}/chat/messages"
    made = await alice.post(path, {"body": SECRET}, key="k")
    async with alice.socket("demo") as socket:
        await socket.send("chat.delete", {"message_id": made["id"]}, id=1)
        await socket.next("ack")
    again = await alice.request("POST", path, {"body": SECRET}, key="k")
    assert (again.status, again.body["code"]) == (410, "deleted")


async def test_an_answer_of_before_stays_for_its_day(
    board: Board, olga: Person, alice: Person, connection: Any
) -> None:
    """What it is about was not written down."""
    path = f"{board.path}/chat/messages"
    made = await alice.post(path, {"body": "Hello"}, key="k")
    await connection.execute("update idempotency_keys set about = null")
    await olga.delete(f"{path}/{made['id']}")
    assert await alice.post(path, {"body": "Hello"}, key="k") == made


@pytest.mark.parametrize("route", app.resources(), ids=names)
def test_the_document_says_that_what_has_a_key_may_be_deleted(route: Route) -> None:
    assert ("410" in EXAMPLES[route.path][route.method.lower()]["responses"]) == route.keyed


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
