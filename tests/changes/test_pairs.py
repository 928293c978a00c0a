"""Any two changes at once are as if one had come after the other, in the order of their events.

Each pair is made twice, on boards that are alike: one after the other, and at once, while somebody
holds the board's feed until both wait. At once they must give the same answers, leave the same
board, and tell events that lead a mirror to it. A change that read anything before its place in the
feed was sure, and could be overtaken by who changes that, tells an old name, counts a card that is
gone, or stands beside one.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg
import pytest

from tests.checkers.client_boards import wrongs
from tests.checkers.mirror import State, differences, shown
from tests.conftest import Door, Invite, until
from tests.person import Person
from tests.rest.test_members import lost_races
from tests.uploads import AS_FORM, form
from warmdesk import app
from warmdesk.auth.tokens import AccessTokens
from warmdesk.client_board import Board
from warmdesk.config import Settings
from warmdesk.db.pool import LOCK_MS
from warmdesk.http.route import PROJECT_SCOPE
from warmdesk.metrics import DB_RETRIES
from warmdesk.metrics.rows import ROWS

LIMIT = 20.0
TRIES = 5
"""How often two are tried at once where the machine stands still meanwhile."""
OLGA = 2
MAKER = """
create function pg_temp.scene(n integer) returns table (names json, sessions json) language plpgsql
as $$
declare
    p bigint;
    people bigint[];
    k bigint[];
    c bigint[];
    m bigint[];
    l bigint;
    notes bigint[];
    steps bigint[];
    linked bigint;
    attached bigint;
    noted bigint;
    uploaded bigint;
    t bigint;
    r bigint;
    o bigint;
    ok bigint;
begin
    with made as (
        insert into users (email, username, password_hash, display_name, global_role)
        select
            w || n || '@example.org', w || n, 'x', initcap(w),
            case w when 'boss' then 'admin' else 'user' end
        from unnest(array['worker', 'mate', 'guest', 'boss']) w returning id
    ) select array_agg(id order by id) into people from made;
    insert into projects (name, slug, key_prefix, created_by_id, card_counter)
    values ('Scene', 'scene-' || n, 'S' || n, 2, 9) returning id into p;
    insert into project_members (project_id, user_id, role)
    values (p, 2, 'owner'), (p, people[1], 'member'), (p, people[2], 'member');
    with made as (
        insert into columns (project_id, name, position)
        select p, w, 1000 * nth from unnest(array['A', 'B', 'C']) with ordinality w (w, nth)
        returning id
    ) select array_agg(id order by id) into k from made;
    with made as (
        insert into cards (
            project_id, column_id, title, position, card_number, created_by_id, deleted_at,
            archived_at
        )
        select
            p, k[1 + (i in (7, 8))::integer], 'Card ' || i, 1000 * i, i, 2,
            case when i = 9 then now() end, case when i = 5 then now() end
        from generate_series(1, 9) i order by i returning id
    ) select array_agg(id order by id) into c from made;
    insert into labels (project_id, name, color) values (p, 'Bug', '#ff0000') returning id into l;
    insert into card_assignees (card_id, user_id) values (c[1], people[2]);
    insert into card_assignees (card_id, user_id) values (c[1], people[1]);
    insert into card_labels (card_id, label_id) values (c[1], l);
    insert into card_tags (card_id, name) values (c[1], 'old');
    with made as (
        insert into chat_messages (project_id, user_id, body)
        values (p, people[1], 'one'), (p, people[2], 'two') returning id
    ) select array_agg(id order by id) into m from made;
    insert into message_reactions (owner_type, owner_id, user_id, emoji)
    values ('chat_message', m[1], people[2], '👍');
    with made as (
        insert into card_comments (project_id, card_id, user_id, body)
        values (p, c[1], people[1], 'one'), (p, c[1], people[2], 'two') returning id
    ) select array_agg(id order by id) into notes from made;
    with made as (
        insert into card_checklist_items (card_id, body, is_completed, position)
        values (c[1], 'one', false, 1000), (c[1], 'two', true, 2000) returning id
    ) select array_agg(id order by id) into steps from made;
    insert into card_links (card_id, platform, link_type, title, url, reference)
    values (c[1], 'other', 'link', 'one', 'https://example.org', 'one') returning id into linked;
    insert into attachments (
        project_id, card_id, owner_type, owner_id, uploader_id, filename, stored_name, mime_type,
        size_bytes, sha256
    ) values (
        p, c[1], 'card', c[1], people[1], 'one.txt', md5(c[1]::text), 'text/plain', 3, 'x'
    ) returning id into attached;
    insert into attachments (
        project_id, card_id, owner_type, owner_id, uploader_id, filename, stored_name, mime_type,
        size_bytes, sha256
    ) values (
        p, c[1], 'card_comment', notes[1], people[1], 'one.txt', md5('note ' || c[1]), 'text/plain',
        3, 'x'
    ) returning id into noted;
    insert into attachments (
        project_id, uploader_id, filename, stored_name, mime_type, size_bytes, sha256
    ) values (
        p, people[1], 'one.txt', md5('upload ' || c[1]), 'text/plain', 3, 'x'
    ) returning id into uploaded;
    update cards set
        comment_count = 2, checklist_total = 2, checklist_done = 1, attachment_count = 1
    where id = c[1];
    insert into topics (project_id, user_id, title, body, reply_count)
    values (p, people[1], 'A topic', 'Its body', 1) returning id into t;
    insert into topic_replies (project_id, topic_id, user_id, body)
    values (p, t, people[1], 'A reply') returning id into r;
    insert into projects (name, slug, key_prefix, created_by_id)
    values ('Other', 'other-' || n, 'O' || n, 2) returning id into o;
    insert into project_members (project_id, user_id, role)
    values (o, 2, 'owner'), (o, people[1], 'member');
    insert into columns (project_id, name, position) values (o, 'D', 1000) returning id into ok;
    insert into labels (project_id, name, color) values (o, 'bug', '#ff0000');
    insert into feeds (channel) values ('project:' || p), ('user:' || people[1]);
    return query
    with open as (
        insert into sessions (user_id, expires_at)
        select u, now() + interval '1 day' from unnest(people || 2::bigint) u returning user_id, id
    )
    select
        json_build_object(
            'project', p, 'worker', people[1], 'mate', people[2], 'guest', people[3],
            'boss', people[4], 'to people', '@mate' || n || ' and @boss' || n,
            'A', k[1], 'B', k[2], 'C', k[3], 'label', l, 'said', m[1], 'other', m[2],
            'note', notes[1], 'i1', steps[1], 'i2', steps[2], 'link', linked,
            'file', attached, 'noted', noted, 'upload', uploaded,
            'topic', t, 'reply', r, 'elsewhere', 'other-' || n, 'there', ok,
            'c1', c[1], 'c2', c[2], 'c3', c[3], 'c5', c[5], 'c6', c[6], 'c7', c[7], 'c9', c[9]
        ),
        (select json_object_agg(o.user_id, o.id) from open o);
end
$$;
"""


class Deed(NamedTuple):
    """Somebody's request; names in braces are ids of the scene."""

    who: str
    method: str
    path: str
    body: Any = None


DEEDS = {
    "create": Deed(
        "worker", "POST", "/columns/{A}/cards", {"title": "N", "assignee_ids": ["mate"]}
    ),
    "create beside": Deed(
        "worker", "POST", "/columns/{A}/cards", {"title": "N", "before_card_id": "c2"}
    ),
    "title": Deed("worker", "PUT", "/cards/{c1}", {"title": "T"}),
    "lists": Deed(
        "worker",
        "PUT",
        "/cards/{c2}",
        {"assignee_ids": ["worker", "mate"], "label_ids": ["label"], "tags": ["x"]},
    ),
    "parts of lists": Deed(
        "worker",
        "PUT",
        "/cards/{c1}",
        {
            "add_assignee_ids": ["boss"],
            "remove_assignee_ids": ["mate"],
            "add_label_ids": ["label"],
            "add_tags": ["x"],
            "was": {"title": "Card 1"},
        },
    ),
    "assign alone": Deed("worker", "PUT", "/cards/{c1}/assignee", {"user_id": "mate"}),
    "assign": Deed("worker", "POST", "/cards/{c2}/assignees/{mate}"),
    "unassign": Deed("worker", "DELETE", "/cards/{c1}/assignees/{mate}"),
    "put a label on": Deed("worker", "POST", "/cards/{c2}/labels/{label}"),
    "take a label off": Deed("worker", "DELETE", "/cards/{c1}/labels/{label}"),
    "tag": Deed("worker", "POST", "/cards/{c1}/tags", {"name": "new"}),
    "untag": Deed("worker", "DELETE", "/cards/{c1}/tags/old"),
    "add a label": Deed("worker", "POST", "/labels", {"name": "Flaw", "color": "#00ff00"}),
    "name a label": Deed("worker", "PUT", "/labels/{label}", {"name": "Flaw"}),
    "color a label": Deed("worker", "PUT", "/labels/{label}", {"color": "#0000ff"}),
    "delete a label": Deed("worker", "DELETE", "/labels/{label}"),
    "archive a card": Deed("worker", "POST", "/cards/{c2}/archive"),
    "unarchive a card": Deed("worker", "DELETE", "/cards/{c5}/archive"),
    "copy": Deed("worker", "POST", "/cards/{c1}/copy"),
    "send elsewhere": Deed(
        "worker",
        "POST",
        "/cards/{c1}/transfer",
        {"target_project_slug": "elsewhere", "column_id": "there", "action": "move"},
    ),
    "copy elsewhere": Deed(
        "worker",
        "POST",
        "/cards/{c2}/transfer",
        {"target_project_slug": "elsewhere", "column_id": "there", "action": "copy"},
    ),
    "move many": Deed(
        "worker", "PATCH", "/cards", {"ids": ["c7", "c2", "c5"], "change": {"column_id": "C"}}
    ),
    "change many": Deed(
        "worker",
        "PATCH",
        "/cards",
        {
            "ids": ["c5", "c1", "c2"],
            "change": {
                "archived": False,
                "priority": "high",
                "assignee_ids": ["worker"],
                "add_label_ids": ["label"],
            },
        },
    ),
    "purge": Deed("olga", "DELETE", "/cards/{c9}/permanent"),
    "send over": Deed("worker", "PUT", "/cards/{c1}", {"column_id": "B", "title": "T"}),
    "move beside": Deed(
        "worker", "PATCH", "/cards/{c6}/move", {"column_id": "A", "before_card_id": "c2"}
    ),
    "move to an index": Deed("worker", "PATCH", "/cards/{c6}/move", {"column_id": "A", "index": 2}),
    "reorder": Deed("worker", "PATCH", "/cards/{c1}/reorder", {"after_card_id": "c2"}),
    "move away": Deed("worker", "PATCH", "/cards/{c2}/move", {"column_id": "B", "index": 0}),
    "move here": Deed("worker", "PATCH", "/cards/{c7}/move", {"column_id": "A", "index": 1}),
    "delete": Deed("worker", "DELETE", "/cards/{c2}"),
    "delete the first": Deed("worker", "DELETE", "/cards/{c1}"),
    "restore": Deed("olga", "POST", "/cards/{c9}/restore"),
    "add a column": Deed("olga", "POST", "/columns", {"name": "D"}),
    "name a column": Deed("olga", "PUT", "/columns/{A}", {"name": "Renamed"}),
    "order columns": Deed("olga", "PATCH", "/columns/reorder", {"column_ids": ["C", "A", "B"]}),
    "delete a column": Deed("olga", "DELETE", "/columns/{C}"),
    "empty a column": Deed("olga", "DELETE", "/columns/{A}?move_to={B}"),
    "add a member": Deed("olga", "POST", "/members", {"user_id": "guest"}),
    "demote": Deed("olga", "PUT", "/members/{worker}", {"role": "viewer"}),
    "remove": Deed("olga", "DELETE", "/members/{mate}"),
    "leave": Deed("worker", "DELETE", "/members/{worker}"),
    "name the project": Deed("olga", "PUT", "", {"name": "Another"}),
    "archive": Deed("olga", "DELETE", ""),
    "comment": Deed("worker", "POST", "/cards/{c1}/comments", {"body": "Hello"}),
    "name in a comment": Deed("worker", "POST", "/cards/{c1}/comments", {"body": "to people"}),
    "edit a comment": Deed("worker", "PUT", "/cards/{c1}/comments/{note}", {"body": "edited"}),
    "name in an edit": Deed("worker", "PUT", "/cards/{c1}/comments/{note}", {"body": "to people"}),
    "delete a comment": Deed("worker", "DELETE", "/cards/{c1}/comments/{note}"),
    "comment with time": Deed(
        "mate", "POST", "/cards/{c1}/comments", {"body": "Hello", "time_spent_minutes": 30}
    ),
    "add a step": Deed("worker", "POST", "/cards/{c1}/checklist", {"body": "three"}),
    "tick a step": Deed("mate", "PUT", "/cards/{c1}/checklist/{i1}", {"is_completed": True}),
    "delete a step": Deed("mate", "DELETE", "/cards/{c1}/checklist/{i2}"),
    "order steps": Deed(
        "worker", "PATCH", "/cards/{c1}/checklist/reorder", {"item_ids": ["i2", "i1"]}
    ),
    "attach": Deed("worker", "POST", "/cards/{c1}/attachments", form(("two.txt", b"two"))),
    "detach": Deed("worker", "DELETE", "/cards/{c1}/attachments/{file}"),
    "comment with a file": Deed(
        "worker", "POST", "/cards/{c1}/comments", {"body": "Look", "attachment_ids": ["upload"]}
    ),
    "take a comment's file": Deed("worker", "DELETE", "/attachments/{noted}"),
    "say with a file": Deed(
        "worker", "POST", "/chat/messages", {"body": "Look", "attachment_ids": ["upload"]}
    ),
    "link": Deed("worker", "POST", "/cards/{c1}/links", {"url": "https://example.org/two"}),
    "unlink": Deed("worker", "DELETE", "/cards/{c1}/links/{link}"),
    "say": Deed("worker", "POST", "/chat/messages", {"body": "Hello"}),
    "say to all": Deed("olga", "POST", "/chat/messages", {"body": "@all"}),
    "say once": Deed("worker", "POST", "/chat/messages", {"body": "Hello", "nonce": "n"}),
    "edit": Deed("worker", "PUT", "/chat/messages/{said}", {"body": "edited"}),
    "unsay": Deed("worker", "DELETE", "/chat/messages/{said}"),
    "react": Deed("mate", "POST", "/chat/messages/{said}/reactions", {"emoji": "🎉"}),
    "take back": Deed("mate", "DELETE", "/chat/messages/{said}/reactions/👍"),
    "file a ticket": Deed(
        "worker", "POST", "/ticket", {"title": "N", "column_name": "b", "labels": ["bug"]}
    ),
    "change a ticket": Deed(
        "mate",
        "PATCH",
        "/ticket/{c1}",
        {"column_name": "c", "title": "Changed", "comment": "Hello"},
    ),
    "comment a ticket": Deed("worker", "PATCH", "/ticket/{c1}", {"comment": "Hello"}),
    "begin a topic": Deed("worker", "POST", "/topics", {"title": "Another", "body": "Why?"}),
    "edit a topic": Deed("worker", "PUT", "/topics/{topic}", {"title": "Edited"}),
    "pin a topic": Deed("olga", "PUT", "/topics/{topic}", {"is_pinned": True}),
    "end a topic": Deed("olga", "DELETE", "/topics/{topic}"),
    "answer": Deed("mate", "POST", "/topics/{topic}/replies", {"body": "An answer"}),
    "name in an answer": Deed("worker", "POST", "/topics/{topic}/replies", {"body": "to people"}),
    "edit an answer": Deed("worker", "PUT", "/topics/{topic}/replies/{reply}", {"body": "Edited"}),
    "take an answer back": Deed("worker", "DELETE", "/topics/{topic}/replies/{reply}"),
    "rename myself": Deed("worker", "PUT", "/users/me", {"display_name": "Somebody"}),
    "rename a mate": Deed("mate", "PUT", "/users/me", {"display_name": "Nobody"}),
    "assign the boss": Deed("worker", "PUT", "/cards/{c2}", {"assignee_ids": ["boss", "mate"]}),
    "say as the boss": Deed("boss", "POST", "/chat/messages", {"body": "Hello"}),
    "make as the boss": Deed("boss", "POST", "/columns/{A}/cards", {"title": "N"}),
    "rename the boss": Deed("boss", "PUT", "/users/me", {"display_name": "Chief"}),
    "read": Deed("worker", "POST", "/chat/read", {"message_id": "said"}),
    "read what was told": Deed("mate", "POST", "/notifications/read-all"),
    "mute": Deed("worker", "PUT", "/mute", {"muted": True}),
    "star": Deed("worker", "POST", "/star"),
    "unstar": Deed("worker", "DELETE", "/star"),
}
ALONE: dict[str, str] = {
    f"{method} /cards/{{card_id}}/{path}": "no event tells of it, and no board shows it"
    for path in ("watch", "watchers/{user_id}")
    for method in ("POST", "DELETE")
} | dict.fromkeys(
    (
        *("POST /api-keys", "DELETE /api-keys/{project_key_id}"),
        *("POST /invitations", "DELETE /invitations/{invitation_id}"),
        "POST /invitations/{invitation_id}/mail",
        *("POST /webhooks", "PUT /webhooks/{webhook_id}", "DELETE /webhooks/{webhook_id}"),
        "POST /webhooks/{webhook_id}/regenerate",
        "POST /webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
        "POST /outgoing-webhooks",
        "PUT /outgoing-webhooks/{outgoing_webhook_id}",
        "DELETE /outgoing-webhooks/{outgoing_webhook_id}",
        "POST /outgoing-webhooks/{outgoing_webhook_id}/replay",
    ),
    "no event of the project tells of it, and no board shows it",
)
"""Changes below a project, as ``POST /polls``, that meet nobody else's, each with the reason."""


class HeldTooLong(Exception):
    """The lock that both should wait for was held longer than a change waits for one."""


@dataclass
class Scene:
    """One board with the four who work on it."""

    slug: str
    ids: dict[str, Any]
    people: dict[tuple[str, str], Person]

    async def do(self, name: str, url: str, client: str, *, busy: bool = False) -> list[Any]:
        """A deed at a server: its status, and what its answer says that the board may show. `busy`:
        503 is an answer too.
        """
        deed = DEEDS[name]
        apart = deed.path.startswith(("/users", "/attachments", "/notifications"))
        base = "" if apart else f"/projects/{self.slug}"
        path = base + deed.path.format(**self.ids)
        who = self.people[deed.who, url]
        headers = {"X-Client-Id": client} | (AS_FORM if isinstance(deed.body, bytes) else {})
        answer = await who.request(deed.method, path, self._filled(deed.body), headers=headers)
        fine = answer.status < 500 or (busy and answer.status == 503)
        assert fine, f"{name}: {answer.status} {answer.body}"
        return [answer.status, brief(answer.body) if answer.status < 300 else None]

    def _filled(self, body: Any) -> Any:
        if isinstance(body, dict):
            return {key: self._filled(value) for key, value in body.items()}
        if isinstance(body, list):
            return [self._filled(each) for each in body]
        return self.ids.get(body, body) if isinstance(body, str) else body

    async def fetched(self, reader: Person) -> tuple[Any, list[Any]]:
        path = f"/projects/{self.slug}"
        return await reader.get(path), await reader.get(f"{path}/chat/messages")

    async def topics(self, reader: Person) -> Any:
        """What the topics show, and the scene's own with its reply."""
        path = f"/projects/{self.slug}/topics"
        own = await reader.request("GET", f"{path}/{self.ids['topic']}")
        assert own.status in (200, 404)
        return brief([await reader.get(path), own.body])

    async def told(self) -> Any:
        """What those who are named have heard of it, in any order."""
        bells = []
        for (who, _), person in self.people.items():
            if who in ("mate", "boss"):
                bell = await person.get("/notifications")
                shown = [
                    f"{item['kind']}, {'read' if item['read_at'] else 'new'}: {brief(item['body'])}"
                    for item in bell["items"]
                ]
                bells.append([bell["unread_count"], sorted(shown)])
        return bells


class Stage:
    """Makes scenes, all alike, in one database; two servers play them."""

    def __init__(
        self, connection: Any, doors: tuple[Door, Door], person: Invite, olga: Person, secret: str
    ) -> None:
        self.connection, self.doors, self.olga = connection, doors, olga
        self.issue = AccessTokens(secret, ttl=3600).issue
        self.count = 0
        # The people of each scene take the connections of those of the scene before.
        self.people = {
            (who, door.url): person(who, url=door.url)
            for who in ("worker", "mate", "boss", "olga")
            for door in doors
        }

    @asynccontextmanager
    async def scene(self) -> AsyncIterator[Scene]:
        self.count += 1
        row = await self.connection.fetchrow("select * from pg_temp.scene($1)", self.count)
        ids: dict[str, Any] = json.loads(row["names"])
        sessions: dict[str, str] = json.loads(row["sessions"])
        for (who, _), one in self.people.items():
            one.id = ids.get(who, OLGA)
            one.client.token = self.issue(one.id, sessions[str(one.id)])
        yield Scene(f"scene-{self.count}", ids, self.people)

    async def in_turn(self, first: str, second: str) -> Any:
        """What the two say and leave, one after the other."""
        async with self.scene() as scene:
            said = {"first": await scene.do(first, self.doors[0].url, "first")}
            said["second"] = await scene.do(second, self.doors[1].url, "second")
            left = summary(*await scene.fetched(self.olga))
            return [said, *left, await scene.topics(self.olga), await scene.told()]

    async def at_once(self, first: str, second: str, holding: str) -> tuple[Any, str, list[str]]:
        """The same of both at once, the order that the feed tells, and what is wrong with it."""
        for _ in range(TRIES):
            try:
                return await self._at_once(first, second, holding)
            except HeldTooLong as error:
                last = error
        raise AssertionError(f"{first} / {second}: held too long {TRIES} times") from last

    async def _at_once(self, first: str, second: str, holding: str) -> tuple[Any, str, list[str]]:
        async with self.scene() as scene:
            fetched = await scene.fetched(self.olga)
            before, mine = State(*fetched), Board(fetched[0])
            async with self.connection.transaction():
                await self.connection.execute(holding.format(**scene.ids))
                began = time.monotonic()
                one = asyncio.create_task(scene.do(first, self.doors[0].url, "first", busy=True))
                await self._waiting(1, one)
                other = asyncio.create_task(
                    scene.do(second, self.doors[1].url, "second", busy=True)
                )
                await self._waiting(2 - one.done(), other)
            held = time.monotonic() - began
            said = dict(zip(("first", "second"), await asyncio.gather(one, other), strict=True))
            if held > LOCK_MS / 1000 and 503 in {status for status, _ in said.values()}:
                raise HeldTooLong(f"{held:.1f} s, and then {said}")
            assert 503 not in {status for status, _ in said.values()}, said
            board, messages = await scene.fetched(self.olga)
            topics, bells = await scene.topics(self.olga), await scene.told()
            path = f"/projects/{scene.slug}/events?since=0&limit=500"
            events = (await self.olga.get(path))["events"]
        order = [event["client_id"] for event in events]
        for event in events:
            before.apply(event)
            assert mine.apply(event), mine.stale
        wrong = differences(before.shown(), shown(board, messages))
        wrong += wrongs(mine, shown(board, messages))
        told = order[0] if len(set(order)) == 2 else "either"
        return [said, *summary(board, messages), topics, bells], told, wrong

    async def _waiting(self, count: int, task: asyncio.Task[Any]) -> None:
        async def enough() -> bool:
            found: int = await self.connection.fetchval(
                "select count(*) from pg_stat_activity, pg_stat_clear_snapshot()"
                " where wait_event_type = 'Lock' and datname = current_database()"
            )
            return found >= count or task.done()

        await until(enough, limit=LIMIT, every=0.002)


def brief(thing: Any) -> Any:
    """What must be the same on boards that are alike: no ids, no times."""
    if isinstance(thing, list):
        return [brief(each) for each in thing]
    if isinstance(thing, str):
        return re.sub(r"@(mate|boss)[0-9]+", r"@\1", thing)
    if not isinstance(thing, dict):
        return thing
    kept = {}
    for key, value in thing.items():
        if key.endswith(("_at", "_id", "_ids")) or key in ("id", "key", "seq", "epoch", "slug"):
            continue
        if key in ("username", "email", "key_prefix", "gravatar_url"):
            continue
        if key == "url" and value.startswith(("/api/", "/p/")):
            continue
        kept[key] = brief(value)
    return kept


def summary(board: Any, messages: list[Any]) -> Any:
    return brief(board), brief(messages)


@pytest.fixture
async def stage(
    database_url: str,
    door: Door,
    twin: Door,
    person: Invite,
    olga: Person,
    settings: Settings,
) -> AsyncIterator[Stage]:
    connection = await asyncpg.connect(database_url)
    await connection.execute(MAKER)
    yield Stage(connection, (door, twin), person, olga, settings.jwt_secret)
    await connection.close()


def test_every_change_below_a_project_has_its_deed() -> None:
    """One without a deed is tried beside no other: what it reads too early, nobody sees."""
    below = [route for route in app.resources() if route.changes and route.scope is PROJECT_SCOPE]
    wanted = {}
    for route in below:
        if not route.same_as:
            path = route.path.removeprefix("/projects/{slug}")
            wanted[f"{route.method} {path}"] = re.compile(re.sub(r"\{\w+\}", "[^/]+", path))
    done = {
        name
        for name, pattern in wanted.items()
        for deed in DEEDS.values()
        if f"{deed.method} " == name[: len(deed.method) + 1]
        and pattern.fullmatch(deed.path.partition("?")[0])
    }
    assert wanted.keys() - done == ALONE.keys()


@pytest.mark.foul
async def test_each_deed_can_be_done(stage: Stage) -> None:
    """One that is refused on a board that nobody else changes is tried beside nothing."""
    refused = {}
    for name in DEEDS:
        async with stage.scene() as scene:
            status, _ = await scene.do(name, stage.doors[0].url, "alone")
            if status >= 300:
                refused[name] = status
    assert not refused


FEED = "select 1 from feeds where channel = 'project:{project}' for update"


async def compare(stage: Stage, first: str, second: str, holding: str) -> list[str]:
    """What two at once did that they would not have done in turn."""
    found, order, wrong = await stage.at_once(first, second, holding)
    complaints = [f"{first} / {second}: {line}" for line in wrong]
    turns = []
    if order != "second":
        turns.append(await stage.in_turn(first, second))
    if order != "first" and found not in turns:
        said, *left = await stage.in_turn(second, first)
        turns.append([{"first": said["second"], "second": said["first"]}, *left])
    if found not in turns:
        lines = min((differences(found, turn) for turn in turns), key=len)
        complaints += [f"{first} / {second}, told {order}: {line}" for line in lines[:6]]
    return complaints


def beside(first: str) -> list[str]:
    """Those that come second to it: of each two one comes first, now the one and now the other."""
    names = list(DEEDS)
    mine = names.index(first)
    return [
        name
        for place, name in enumerate(names)
        if (mine <= place) == ((mine + place) % 2 == 0) or place == mine
    ]


def test_each_two_meet_once() -> None:
    met = [frozenset((first, second)) for first in DEEDS for second in beside(first)]
    assert len(met) == len(set(met)) == len(DEEDS) * (len(DEEDS) + 1) // 2


@pytest.mark.foul
@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", DEEDS)
async def test_two_at_once_are_as_if_one_came_after_the_other(stage: Stage, first: str) -> None:
    before = lost_races()
    complaints: list[str] = []
    for second in beside(first):
        complaints += await compare(stage, first, second, FEED)
    assert not complaints, "\n".join(complaints)
    assert lost_races() == before


def circles() -> float:
    """How often PostgreSQL found changes of this process waiting for each other."""
    return float(ROWS.mine[DB_RETRIES.at(state="40P01").offset])


@pytest.mark.foul
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(4))
async def test_all_at_once_wait_in_no_circle(stage: Stage, seed: int) -> None:
    """Every change beside every other, in any order, and again: each is carried out or refused."""
    before, dice = circles(), random.Random(seed)
    for _ in range(6):
        async with stage.scene() as scene:
            state = State(*await scene.fetched(stage.olga))
            names = [name for name in DEEDS if name != "archive" or dice.random() < 0.3]
            names = dice.sample(names * 2, k=2 * len(names))
            doors = [dice.choice(stage.doors).url for _ in names]
            await asyncio.gather(
                *(
                    scene.do(name, url, f"client-{number}")
                    for number, (name, url) in enumerate(zip(names, doors, strict=True))
                )
            )
            board, messages = await scene.fetched(stage.olga)
            path = f"/projects/{scene.slug}/events?since=0&limit=500"
            for event in (await stage.olga.get(path))["events"]:
                state.apply(event)
            here = [each for each in messages if each["user_id"] in state.members]
            state.messages = {each["id"]: state.messages[each["id"]] for each in here}
            lines = differences(state.shown(), shown(board, here))
            assert not lines, "\n".join(lines)
    assert circles() == before
