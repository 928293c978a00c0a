"""Every list in pages: all of it is read, once, whatever is made and deleted meanwhile; and a
cursor is good for its own list alone. The lists are taken from the routes.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import quote
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Board
from tests.person import Person
from tests.samples import SAMPLES, make_each
from warmdesk import app
from warmdesk.auth.actor import GlobalRole
from warmdesk.client import Answer, Client
from warmdesk.http.route import Route
from warmdesk.http.routing import BASE
from warmdesk.schemas.cards import CardsQuery
from warmdesk.schemas.pages import PageQuery

PAGED = [each for each in app.resources() if each.paged and get_origin(each.answer) is list]
LISTS = [each for each in PAGED if issubclass(each.query, PageQuery)]
SHORT = {
    "/admin/backups": "as many as are kept: a thousand at most",
    "/search": "the best of all that fits: twenty of each kind",
    "/online-users": "who is here now: five hundred at most",
    "/users/refs": "those that were asked for: a hundred at most",
    "/users/search": "for pickers: a hundred at most",
    "/users/{user_id}/projects": "all that somebody is in: five thousand at most",
    "/projects/{slug}/columns": "a hundred a project",
    "/projects/{slug}/cards/{card_id}/checklist": "two hundred a card",
    "/projects/{slug}/labels": "five hundred a project",
    "/projects/{slug}/outgoing-webhooks": "twenty a project",
    "/projects/{slug}/outgoing-webhooks/{outgoing_webhook_id}/deliveries": "fifty are kept",
    "/projects/{slug}/webhooks": "a hundred a project",
    "/projects/{slug}/webhooks/{webhook_id}/deliveries": "the last fifty",
}
"""Lists that are one answer, with the reason."""
FEW = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANY = settings(FEW, max_examples=150)
WRONG = (
    "null",
    "true",
    '"x"',
    '"\\u0000"',
    '"\\ud800"',
    "[]",
    "-1",
    "1e999",
    str(2**53),
    str(2**63),
)


def name_of(each: Route) -> str:
    return each.path


@dataclass
class World:
    """What hangs in the lists, and who asks for them."""

    board: Board
    olga: Person
    root: Person
    names: dict[str, Any]
    cards: list[int] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    slugs: list[str] = field(default_factory=list)
    members: list[int] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    others: int = 0
    directs: list[int] = field(default_factory=list)
    samples: dict[str, list[int]] = field(default_factory=dict)
    made: int = 0

    def path(self, each: Route) -> str:
        return each.path.format(**self.names)

    def reader(self, each: Route) -> Person:
        return self.root if each.need is GlobalRole.ADMIN else self.olga

    async def invite(self) -> None:
        """Also the audit grows by it."""
        await self.olga.post(f"{self.board.path}/invitations", {})
        await self.root.post("/admin/invitations", {})

    async def fail_to_sign_in(self) -> None:
        """A line of alice's history."""
        wrong = {"username": "alice", "password": "wrong"}
        async with Client(self.root.url) as client:
            await client.request("POST", "/auth/login", wrong)

    async def ask(self, each: Route, **query: Any) -> Answer:
        asked = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
        return await self.reader(each).request("GET", f"{self.path(each)}?{asked}")

    async def go_on(self, each: Route, path: str, limit: int) -> Answer:
        """The page that a link leads to, of another size."""
        path = re.sub(r"limit=\d+", f"limit={limit}", path)
        return await self.reader(each).request("GET", path)

    async def make_card(self) -> None:
        self.cards.append((await self.board.card(f"Card {self._next()}"))["id"])

    async def delete_card(self) -> None:
        if len(self.cards) > 3:
            await self.olga.delete(f"{self.board.path}/cards/{self.cards.pop(self.made % 3)}")

    async def retitle(self) -> None:
        path = f"{self.board.path}/cards/{self.names['card_id']}"
        await self.olga.put(path, {"title": f"Title {self._next()}"})

    async def say(self) -> None:
        said = await self.olga.post(f"{self.board.path}/chat/messages", {"body": "Good morning"})
        self.messages.append(said["id"])

    async def unsay(self) -> None:
        if len(self.messages) > 3:
            path = f"{self.board.path}/chat/messages"
            await self.olga.delete(f"{path}/{self.messages.pop(self._next() % 3)}")

    async def write(self) -> None:
        """In a conversation, which is then the last active: no act between two pages."""
        path = f"/conversations/{self.names['conversation_id']}/messages"
        self.directs.append((await self.olga.post(path, {"body": "Good morning"}))["id"])

    async def unwrite(self) -> None:
        if len(self.directs) > 3:
            path = f"/conversations/{self.names['conversation_id']}/messages"
            await self.olga.delete(f"{path}/{self.directs.pop(self._next() % 3)}")

    async def make_project(self) -> None:
        word = "ßäÄzZa"[self.made % 6] * 3
        slug = (await self.olga.post("/projects", {"name": f"{word} {self._next()}"}))["slug"]
        self.slugs.append(slug)
        await self.olga.post(f"/projects/{slug}/star", status=200)

    async def archive_project(self) -> None:
        if len(self.slugs) > 3:
            await self.olga.delete(f"/projects/{self.slugs.pop(self._next() % 3)}")

    async def unstar(self) -> None:
        await self.olga.delete(f"/projects/{self.slugs[-1]}/star")

    async def make_member(self) -> None:
        name = f"somebody{self._next()}"
        account = {"email": f"{name}@example.org", "username": name, "password": "wd 12345678"}
        user_id = (await self.root.post("/users", account))["id"]
        await self.olga.post(f"{self.board.path}/members", {"user_id": user_id})
        await self.olga.post(f"/favorite-users/{user_id}", status=204)
        self.members.append(user_id)

    async def remove_member(self) -> None:
        if len(self.members) > 3:
            user_id = self.members.pop(self._next() % 3)
            await self.olga.delete(f"{self.board.path}/members/{user_id}")
            await self.olga.delete(f"/favorite-users/{user_id}")

    async def sign_in(self) -> None:
        if len(self.sessions) >= 50:  # beyond 100 the oldest ends: the one with which olga asks
            return
        async with Client(self.olga.url) as client:
            await client.login("olga", self.olga.password)
        newest = (await self.olga.get("/auth/sessions?limit=1"))[0]
        self.sessions.append(newest["id"])

    async def end_session(self) -> None:
        if len(self.sessions) > 3:
            await self.olga.delete(f"/auth/sessions/{self.sessions.pop(self._next() % 3)}")

    async def make_key(self) -> None:
        for path in ("/auth/api-keys", f"{self.board.path}/api-keys"):
            if len(self.keys) < 100:
                made = await self.olga.post(path, {"name": f"Key {self._next()}"})
                self.keys.append(f"{path}/{made['id']}")
                if self.others < 90:
                    self.others += 1
                    await self.board.maker.post("/auth/api-keys", {"name": f"Key {self._next()}"})

    async def revoke_key(self) -> None:
        if len(self.keys) > 6:
            await self.olga.delete(self.keys.pop(self._next() % 3))

    async def make_samples(self) -> None:
        for sample in SAMPLES:
            made = self.samples.setdefault(sample.name, [])
            # Beside these there is the one that the paths name.
            if not sample.most or len(made) + 1 < sample.most:
                made.append(await sample.make(self.olga, self.names, f"Text {self._next()}"))

    async def delete_samples(self) -> None:
        for sample in SAMPLES:
            made = self.samples[sample.name]
            if sample.deletes is not None and len(made) > 3:
                await sample.delete(self.olga, self.names, made.pop(self._next() % 3))

    def _next(self) -> int:
        self.made += 1
        return self.made


ACTS: list[Callable[[World], Awaitable[None]]] = [
    World.make_card,
    World.delete_card,
    World.retitle,
    World.say,
    World.unsay,
    World.unwrite,
    World.make_project,
    World.archive_project,
    World.unstar,
    World.make_member,
    World.remove_member,
    World.sign_in,
    World.end_session,
    World.make_key,
    World.revoke_key,
    World.make_samples,
    World.delete_samples,
    World.invite,
    World.fail_to_sign_in,
]


@pytest.fixture
async def place(board: Board, olga: Person, root: Person) -> World:
    """All that the paths of the lists name, and little in the lists."""
    card = await board.card()
    group = await olga.post("/conversations", {"user_ids": [board.maker.id, root.id]})
    names = {
        "slug": board.slug,
        "column_id": board.backlog,
        "card_id": card["id"],
        "conversation_id": group["id"],
        "user_id": board.maker.id,
    }
    await make_each(olga, names)
    return World(board, olga, root, names)


@pytest.fixture
async def world(place: World) -> World:
    """Five things at least in every list."""
    for _ in range(10):
        await place.make_card()
    for _ in range(5):
        for act in (
            *ACTS[1:4],
            World.make_project,
            World.make_member,
            World.sign_in,
            World.invite,
            World.fail_to_sign_in,
        ):
            await act(place)
        await place.write()
        await place.make_key()
        await place.make_samples()
    return place


def following(answer: Answer) -> str | None:
    """The path of the next page."""
    found = re.search(rf'<[^>]*{BASE}([^>]+)>; rel="next"', answer.headers.get("Link", ""))
    return found and found[1]


def ids(answer: Answer) -> list[Any]:
    assert answer.status == 200, answer.body
    return [item["id"] for item in answer.body]


def content_of(cursor: str) -> bytes:
    return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[4:]


def cursor_in(path: str | None) -> str:
    found = re.search(r"cursor=([\w-]+)", path or "")
    assert found, path
    return found[1]


def forged(path: str, query: Any, values: bytes) -> str:
    """A cursor as the server makes them, with any values."""
    filters = [
        getattr(query, name) for name in query.__struct_fields__ if name not in ("limit", "cursor")
    ]
    mark = sha256(msgspec.json.encode([BASE + path, filters]) + values).digest()[:4]
    return urlsafe_b64encode(mark + values).decode().rstrip("=")


def some(kind: Any) -> Any:
    """A value of a part of a place."""
    plain = get_args(kind)[0] if hasattr(kind, "__metadata__") else kind
    return {
        int: 7,
        float: 1.5,
        str: "a",
        date: "2026-05-01",
        bool: False,
        UUID: "0198c5f2-5d0a-7c1e-9f0a-2b1c3d4e5f60",
    }[plain]


def values_of(each: Route) -> list[Any]:
    return [some(part) for part in get_args(each.query.cursor_type)]


def fits(each: Route, values: str) -> bool:
    """Whether this is a place in the list after all."""
    try:
        msgspec.json.decode(values, type=each.query.cursor_type)
    except msgspec.MsgspecError:
        return False
    return "\\u0000" not in values


def refused(answer: Answer) -> bool:
    return answer.status == 400 and list(answer.body["fields"]) == ["cursor"]


def test_what_has_a_cursor_says_that_it_is_paged() -> None:
    """But who is here: those are counted off."""
    assert len(LISTS) >= 9
    for each in app.resources():
        if "cursor" in getattr(each.query, "__struct_fields__", ()):
            assert each in LISTS or each.path.endswith("/presence"), each.path


def test_every_list_comes_in_pages_or_is_short() -> None:
    lists = [each for each in app.resources() if get_origin(each.answer) is list]
    whole = {each.path for each in lists if each.method == "GET" and not each.paged}
    assert whole == SHORT.keys()


@pytest.mark.parametrize("each", PAGED, ids=name_of)
@given(limits=st.lists(st.integers(1, 8), min_size=1, max_size=5))
@FEW
async def test_all_is_read_once(world: World, each: Route, limits: list[int]) -> None:
    whole = await world.ask(each, limit=200)
    assert "Link" not in whole.headers
    assert len(whole.body) >= 5, "this list has too little in it: see World"

    read, page = [], await world.ask(each, limit=limits[0])
    for number in range(1, 100):
        assert 0 < len(page.body) <= limits[(number - 1) % len(limits)]
        read.append(page.body)
        path = following(page)
        if path is None:
            break
        page = await world.go_on(each, path, limits[number % len(limits)])
    if each.path.endswith("/messages"):  # talk goes back from its end
        read.reverse()
    assert [item for part in read for item in part] == whole.body


@pytest.mark.parametrize("each", PAGED, ids=name_of)
@given(
    limit=st.integers(1, 5),
    between=st.lists(st.lists(st.sampled_from(ACTS), max_size=3), min_size=1, max_size=6),
)
@FEW
async def test_what_stays_is_read_once_whatever_comes_and_goes(
    world: World,
    each: Route,
    limit: int,
    between: list[list[Callable[[World], Awaitable[None]]]],
) -> None:
    before = ids(await world.ask(each, limit=200))
    read, page = [], await world.ask(each, limit=limit)
    for number in range(200):
        read += ids(page)
        path = following(page)
        if path is None:
            break
        for act in between[number % len(between)]:
            await act(world)
        page = await world.go_on(each, path, limit)
    after = ids(await world.ask(each, limit=200))

    assert len(set(read)) == len(read)
    assert set(before) & set(after) <= set(read)


@pytest.mark.parametrize("shift", [0, 1_000_000], ids=["to higher places", "to lower places"])
async def test_cards_that_are_spaced_anew_between_two_pages_are_read_once(
    world: World, connection: Any, shift: int
) -> None:
    (each,) = (route for route in PAGED if route.query is CardsQuery)
    await connection.execute("update cards set position = position + $1", shift)
    before = ids(await world.ask(each, limit=200))
    page = await world.ask(each, limit=5)
    read = ids(page)
    for _ in range(35):
        await world.board.card("Between the first and the second", after_card_id=before[0])
    while path := following(page):
        page = await world.go_on(each, path, 5)
        read += ids(page)
    reordered = await world.olga.get(f"{world.board.path}/events?limit=500")
    assert "board.cards_reordered" in str(reordered)
    assert [id_ for id_ in read if id_ in before] == before


# Cursors


@pytest.mark.parametrize("each", LISTS, ids=name_of)
async def test_a_cursor_is_good_for_its_list_and_filters_alone(world: World, each: Route) -> None:
    first = await world.ask(each, limit=2)
    cursor = cursor_in(following(first))
    assert cursor == forged(world.path(each), each.query(), content_of(cursor))
    assert len(cursor) < 60, "compact"
    assert (await world.ask(each, limit=7, cursor=cursor)).status == 200

    for other in LISTS:
        if other is not each:
            assert refused(await world.ask(other, cursor=cursor)), other.path
    for name, value in filters_of(each.query):
        filtered = await world.ask(each, cursor=cursor, **{name: value})
        assert refused(filtered), (name, value)
    if "{column_id}" in each.path:
        world.names["column_id"] = world.board.done
        assert refused(await world.ask(each, cursor=cursor))


def filters_of(query: Any) -> list[tuple[str, str]]:
    """A value for each filter that is not its default."""
    found = []
    types = get_type_hints(query, include_extras=True)
    for each in msgspec.structs.fields(query):
        if each.name not in ("limit", "cursor"):
            found.append((each.encode_name, another(types[each.name], each.default)))
    return found


def another(kind: Any, default: Any) -> str:
    words = ("admin", "activity", "here", "brief", "updated", "key.created")
    for text in ("1", "true", "false", *words, "2026-05-01", str(some(UUID))):
        try:
            if msgspec.convert(text, kind, strict=False) != default:
                return text
        except msgspec.ValidationError:
            continue
    raise AssertionError(f"none of the texts above is a {kind}")


@pytest.mark.parametrize("each", LISTS, ids=name_of)
async def test_a_place_of_wrong_values_is_refused(place: World, each: Route) -> None:
    """Also when whoever made the cursor knows how."""
    path, good = place.path(each), values_of(each)

    async def sent(values: bytes) -> Answer:
        return await place.ask(each, cursor=forged(path, each.query(), values))

    assert (await sent(msgspec.json.encode(good))).status == 200
    for number in range(len(good)):
        for wrong in WRONG:
            text = json.dumps([*good[:number], "?", *good[number + 1 :]]).replace('"?"', wrong)
            answer = await sent(text.encode())
            assert refused(answer) or (answer.status == 200 and fits(each, text)), text
    for wrong in ("", "[]", "7", "null", "{}", "[[[[", "\xff", json.dumps([*good, 1])):
        assert refused(await sent(wrong.encode("latin-1"))), wrong


@pytest.mark.parametrize("each", LISTS, ids=name_of)
async def test_garbage_is_refused(place: World, each: Route) -> None:
    for text in ("", "x", "7", "null", "2000.0_7", "é", "=", "a" * 2001, "W10", "-1"):
        assert refused(await place.ask(each, cursor=text)), text


@given(data=st.data())
@MANY
async def test_a_changed_cursor_is_refused(place: World, data: st.DataObject) -> None:
    each = data.draw(st.sampled_from(LISTS))
    values = msgspec.json.encode(values_of(each))
    cursor = forged(place.path(each), each.query(), values)
    letters = st.sampled_from("ABCXYZabcxyz0189-_=+/ .~é")
    at = data.draw(st.integers(0, len(cursor)))
    upto = data.draw(st.integers(at, min(len(cursor), at + 3)))
    changed = cursor[:at] + data.draw(st.text(letters, max_size=3)) + cursor[upto:]

    answer = await place.ask(each, cursor=changed)
    assert refused(answer) or (answer.status == 200 and changed == cursor), changed
