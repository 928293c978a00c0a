"""What a route deletes is told to nobody after it: by no feed, no room, no page, no answer under an
Idempotency-Key. A new route that deletes has a sample or a line here, and so an event that should
erase and does not is found.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.closed import routes
from tests.conftest import Board, until
from tests.person import Person
from tests.samples import SAMPLES, Sample, make_below, make_each
from warmdesk.desk import Desk
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.events import CATALOGUE, ERASING

SECRET = "secret"
KEPT = {
    "/attachments/{attachment_id}": "as on its card; what a comment or a message has is edited",
    **dict.fromkeys(
        (
            "/admin/invitations/{invitation_id}",
            "/projects/{slug}/invitations/{invitation_id}",
            "/users/{user_id}",
        ),
        "no event tells of it",
    ),
    **dict.fromkeys(("/admin/projects/{slug}", "/users/{user_id}/permanent"), "see test_purges.py"),
    "/users/me/avatar": "the account stays",
    "/users/me/calendar": "the account stays",
    "/admin/backups/{filename}": "what it holds is elsewhere",
    **dict.fromkeys(
        (
            "/auth/api-keys/{key_id}",
            "/users/me/api-keys/{key_id}",
            "/projects/{slug}/api-keys/{project_key_id}",
            "/users/{user_id}/api-keys/{user_key_id}",
        ),
        "no event tells of it",
    ),
    "/auth/sessions/{session_id}": "the user's own channel, and no text",
    "/favorite-users/{user_id}": "no event tells of it",
    "/notifications/{notification_id}": "the user's own channel: see test_notifications.py",
    "/projects/{slug}/webhooks/{webhook_id}": "no event tells of it",
    "/projects/{slug}": "nobody follows it any more",
    "/projects/{slug}/outgoing-webhooks/{outgoing_webhook_id}": "no event tells of it; what a key"
    " keeps is forgotten: see test_outgoing.py",
    "/projects/{slug}/star": "the user's own channel, and no text",
    "/projects/{slug}/members/{user_id}": "a membership ends; the person stays, and is told to"
    " forget the project: see test_project_readers.py",
    "/projects/{slug}/chat/messages/{message_id}/reactions/{emoji}": "the message stays",
    "/projects/{slug}/cards/{card_id}/archive": "the card comes back",
    "/projects/{slug}/cards/{card_id}/permanent": "it was deleted before, and is told to nobody",
    "/projects/{slug}/cards/{card_id}/assignees/{user_id}": "the card stays, and so does the user",
    "/projects/{slug}/cards/{card_id}/labels/{label_id}": "the card stays, and so does the label",
    "/projects/{slug}/cards/{card_id}/tags/{tag}": "the card stays",
    "/projects/{slug}/cards/{card_id}/watch": "no event tells of it",
    "/projects/{slug}/cards/{card_id}/watchers/{user_id}": "no event tells of it",
    "/conversations/{conversation_id}/avatar": "the group stays",
    "/conversations/{conversation_id}/messages/{message_id}/reactions/{emoji}": "the message stays",
    **dict.fromkeys(
        (
            "/conversations/{conversation_id}/members/{user_id}",
            "/conversations/{conversation_id}/messages/{message_id}",
        ),
        "it erases on the channels of people: see test_conversations.py",
    ),
}
"""Routes whose deletion erases nothing, with the reason."""


async def card(board: Board, olga: Person) -> None:
    path = f"{board.path}/cards/{(await board.card(f'1st {SECRET}'))['id']}"
    await olga.put(path, {"title": f"2nd {SECRET}"})
    await olga.patch(f"{path}/move", {"column_id": board.done})
    names = {"slug": board.slug, "card_id": path.rpartition("/")[2]}
    await make_below(olga, names, "/projects/{slug}/cards/{card_id}", f"3rd {SECRET}")
    await olga.delete(path)
    await olga.post(f"{path}/restore", status=200)
    await olga.delete(path)


async def message(board: Board, olga: Person) -> None:
    path = f"{board.path}/chat/messages"
    path = f"{path}/{(await olga.post(path, {'body': f'1st {SECRET}'}))['id']}"
    await olga.put(path, {"body": f"2nd {SECRET}"})
    await olga.post(f"{path}/reactions", {"emoji": "👍"})
    await olga.delete(path)


async def column(board: Board, olga: Person) -> None:
    path = f"{board.path}/columns"
    path = f"{path}/{(await olga.post(path, {'name': f'1st {SECRET}'}))['id']}"
    await olga.put(path, {"name": f"2nd {SECRET}"})
    await olga.delete(path)


def of_sample(sample: Sample) -> Callable[[Board, Person], Awaitable[None]]:
    async def told(board: Board, olga: Person) -> None:
        names: dict[str, Any] = {"slug": board.slug, "column_id": board.backlog}
        names["card_id"] = (await board.card())["id"]
        await make_each(olga, names)
        for text in (f"1st {SECRET}", f"2nd {SECRET}"):
            id_ = await sample.make(olga, names, text)
            await sample.edit(olga, names, id_, f"{text}, edited")
            await make_below(olga, {**names, sample.name: id_}, str(sample.deletes), text)
            await sample.delete(olga, names, id_)

    return told


DELETED: dict[str, Callable[[Board, Person], Awaitable[None]]] = {
    "/projects/{slug}/cards/{card_id}": card,
    "/projects/{slug}/chat/messages/{message_id}": message,
    "/projects/{slug}/columns/{column_id}": column,
    **{each.deletes: of_sample(each) for each in SAMPLES if each.deletes is not None},
}
"""Routes whose deletion erases: each with how a thing is made, told of, and deleted."""


UPLOADED = "/projects/{slug}/cards/{card_id}/attachments/{attachment_id}"
"""Uploads have no keys, so none of their answers is kept."""


def test_every_route_that_deletes_has_a_line() -> None:
    deleting = {route.path for method, _, route in routes() if method == "DELETE"}
    assert {path.removeprefix("/api/v1") for path in deleting} == {*DELETED, *KEPT}


def test_a_sample_is_edited_where_its_route_says_so() -> None:
    edited = {route.path for method, _, route in routes() if method == "PUT"}
    for each in SAMPLES:
        assert (each.deletes in edited) == (each.edits is not None), each.name


@pytest.mark.parametrize("name", ERASING)
def test_what_erases_shows_nothing_of_what_it_erases(name: str) -> None:
    assert not CATALOGUE[name].shaped


@pytest.mark.parametrize("told", DELETED.values(), ids=DELETED)
async def test_who_asks_again_is_not_answered_with_what_is_deleted(
    board: Board,
    olga: Person,
    alice: Person,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
    told: Any,
) -> None:
    sent: list[tuple[Person, str, str, Any, str]] = []

    def keyed(person: Person) -> Any:
        ask = person.request

        async def request(method: str, path: str, body: Any = None, **options: Any) -> Any:
            sent.append((person, method, path, body, f"key-{len(sent)}"))
            return await ask(method, path, body, key=sent[-1][-1], **options)

        return request

    with monkeypatch.context() as patched:
        for person in (olga, alice):
            patched.setattr(person, "request", keyed(person))
        await told(board, olga)
    stored = await connection.fetch("select status, answer from idempotency_keys")
    assert [row["answer"] for row in stored if SECRET in row["answer"]] == []
    assert (410 in [row["status"] for row in stored]) != (told is DELETED[UPLOADED])
    for person, method, path, body, key in sent:
        again = await person.request(method, path, body, key=key)
        assert SECRET not in str(again.body), f"{method} {path}"


TOLD = {path: told for path, told in DELETED.items() if path != "/time-entries/{entry_id}"}
"""What a board is told of: not of what is one person's."""


@pytest.mark.parametrize("told", TOLD.values(), ids=TOLD)
async def test_nothing_that_was_told_of_what_is_deleted_is_told_again(
    board: Board,
    desk: Desk,
    olga: Person,
    bob: Person,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
    told: Any,
) -> None:
    async with bob.socket("demo") as live:
        hello = (await live.next("hello"))["payload"]
        ask = olga.request

        async def request(method: str, path: str, body: Any = None, **options: Any) -> Any:
            """Nothing is deleted before bob was told of it."""
            if method == "DELETE":
                head = (await ask("GET", board.path)).body["seq"]
                await until(lambda: [each["seq"] for each in live.events][-1:] == [head])
            return await ask(method, path, body, **options)

        with monkeypatch.context() as patched:
            patched.setattr(olga, "request", request)
            await told(board, olga)
        head = (await olga.get(board.path))["seq"]
        await until(lambda: [each["seq"] for each in live.events][-1:] == [head])
        assert str(live.events).count(SECRET) > 1

        room = desk.hub.rooms[project_channel(board.id)]
        assert room.first <= hello["seq"] + 1
        assert not [kept for kept in room.tail if SECRET.encode() in kept.body]
    stored = await connection.fetch("select type, payload from events")
    assert [row["type"] for row in stored if SECRET in row["payload"]] == []
    page = await bob.get(f"{board.path}/events?since={hello['seq']}")
    async with bob.socket("demo", since=hello["seq"], epoch=hello["epoch"]) as late:
        await until(lambda: [each["seq"] for each in late.events][-1:] == [head])
    for shown in (page["events"], late.events):
        assert [each["seq"] for each in shown] == list(range(hello["seq"] + 1, head + 1))
        assert SECRET not in str(shown)
