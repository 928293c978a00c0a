"""A town: hundreds of people in projects and conversations, who come and go, write, name each
other, read and delete. Everybody listens, to what is their own and to one of their projects.

``async with Town(url, connection, size) as town`` builds it; `works` lets people do things for a
while, `judges` asks whether anybody was told what they may not see, missed what they may, or has a
count that is wrong.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

from tests.checkers.cry import Checker
from tests.checkers.ears import listening
from tests.checkers.ledger import Ledger
from tests.checkers.private import Private
from tests.checkers.streams import Stream, Streams
from tests.checkers.unread import Inbox, Unread
from tests.conftest import until
from tests.person import Person
from warmdesk.auth.tokens import digest
from warmdesk.client import Refused
from warmdesk.realtime.channels import project_channel, user_channel

AT_ONCE = 16
NAMED = 0.3
PATIENCE = 30.0
ARRIVE_SECONDS = 20.0
MEMBERS, TALKERS = 20, 6
"""About so many are in each project, and in each group, when it all begins."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How many of each. `hands`: how many things are done at once."""

    people: int = 200
    projects: int = 20
    conversations: int = 50
    hands: int = 8


@dataclass
class Place:
    """A project or a conversation, as its maker knows it. `members`: who is in it for certain, but
    for the maker; `moves`: how often that began to change.
    """

    id: int
    path: str
    maker: int
    members: set[int]
    is_group: bool = True
    moves: int = 0
    moving: asyncio.Lock = field(default_factory=asyncio.Lock)
    column: int = 0
    cards: list[int] = field(default_factory=list)
    topics: list[int] = field(default_factory=list)

    @property
    def all(self) -> list[int]:
        return sorted({self.maker, *self.members})


@dataclass
class Visit:
    """One socket on a project, from its hello to its end."""

    user_id: int
    project: Place
    stream: Stream
    seqs: list[int] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    code: int | None = None

    def frame(self, frame: Json) -> None:
        self.stream.frame(frame)
        if frame["type"] == "hello":
            self.seqs = [frame["payload"]["seq"]]
        elif "seq" in frame:
            self.seqs.append(frame["seq"])

    def closed(self, code: int | None) -> None:
        self.stream.closed(code)
        self.code = code
        self.ended.set()


class Own:
    """Somebody's own socket."""

    def __init__(self, town: Town, user_id: int) -> None:
        self.user_id, self.private = user_id, town.private
        self.inbox = Inbox(user_id)
        self.streams = Streams(quiet=True)
        self.stream = self.streams.stream(f"user {user_id}")

    def frame(self, frame: Json) -> None:
        self.stream.frame(frame)
        self.inbox.frame(frame)
        self.private.frame(self.user_id, frame)

    def closed(self, code: int | None) -> None:
        self.stream.closed(code)


class Guests(Checker):
    """Nobody hears of a project before they come or after they left."""

    async def compare(self, connection: Any, visits: list[Visit], projects: list[Place]) -> None:
        """When nobody moves. `connection` is asyncpg's."""
        for project in projects:
            rows = await connection.fetch(
                "select seq, type, entity from events where channel = $1 and type like"
                " 'project.member_%' order by seq",
                project_channel(project.id),
            )
            moves: dict[int, list[tuple[int, bool]]] = collections.defaultdict(list)
            for row in rows:
                user_id = int(row["entity"].partition(":")[2])
                moves[user_id].append((row["seq"], row["type"] == "project.member_added"))
            for visit in visits:
                if visit.project is project and visit.seqs and visit.user_id != project.maker:
                    self._compare(visit, moves[visit.user_id])

    def _compare(self, visit: Visit, moves: list[tuple[int, bool]]) -> None:
        first, last = visit.seqs[0], visit.seqs[-1]
        who = f"user {visit.user_id}"
        before = [inside for seq, inside in moves if seq <= first]
        if not before or not before[-1]:
            self.cry(f"{who} came into {visit.project.path} at {first}, and was no member")
        left = min((seq for seq, inside in moves if seq > first and not inside), default=None)
        if left is not None and last > left:
            self.cry(f"{who} left {visit.project.path} at {left}, and heard {last}")
        if visit.ended.is_set() and (visit.code != 4403 or left is None):
            self.cry(f"{who} was put out of {visit.project.path} with {visit.code}")
        if left is not None and not visit.ended.is_set():
            self.cry(f"{who} left {visit.project.path} at {left}, and still listens")


class Town:
    """All of it. `connection` is asyncpg's; `done`: how often each thing was done."""

    def __init__(self, url: str, connection: Any, size: Size, seed: int = 1) -> None:
        self.url, self.connection, self.size = url, connection, size
        self.chance = random.Random(seed)
        self.people: dict[int, Person] = {}
        self.owns: dict[int, Own] = {}
        self.projects: list[Place] = []
        self.conversations: list[Place] = []
        self.messages: list[tuple[int, Place, int]] = []
        self.visits: list[Visit] = []
        self.streams: dict[int, Streams] = collections.defaultdict(lambda: Streams(quiet=True))
        self.private, self.unread, self.ledger = Private(), Unread(), Ledger()
        self.guests = Guests()
        self.done: collections.Counter[str] = collections.Counter()
        self.over = asyncio.Event()
        self._names = itertools.count(1)
        self._open = AsyncExitStack()
        self._visiting: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        try:
            await self._populate()
            await self.private.begin(self.connection)
            await self._build()
            for user_id, person in self.people.items():
                own = self.owns[user_id] = Own(self, user_id)
                await self._open.enter_async_context(listening(person, own, place="user"))
                self._visiting.append(asyncio.create_task(self._visit(user_id)))
            await until(self._all_listen, limit=ARRIVE_SECONDS)
            for conversation in self.conversations:
                await self._begin(conversation)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        self.over.set()
        for task in self._visiting:
            task.cancel()
        await asyncio.gather(*self._visiting, return_exceptions=True)
        await self._open.aclose()
        for person in self.people.values():
            await person.close()

    async def _populate(self) -> None:
        """Accounts, each with a key: hundreds who sign in cost a busy machine minutes."""
        for number in range(1, self.size.people + 1):
            name, key = f"somebody-{number}", f"wd_a_key_of_somebody_{number}"
            user_id = await self.connection.fetchval(
                "insert into users (email, username, password_hash, display_name)"
                " values ($1 || '@example.org', $1, '', $1) returning id",
                name,
            )
            await self.connection.execute(
                "insert into api_keys (user_id, name, key_hash, key_prefix)"
                " values ($1, 'own', $2, $3)",
                user_id,
                digest(key),
                key[:12],
            )
            self.people[user_id] = Person(
                self.url, name, id=user_id, api_key=key, patience=PATIENCE
            )

    async def _build(self) -> None:
        """The projects, and who shall be in the conversations."""
        everybody = list(self.people)
        for number in range(1, self.size.projects + 1):
            maker, *members = self.chance.sample(everybody, min(MEMBERS, len(everybody) // 2))
            made = await self.people[maker].post("/projects", {"name": f"Street {number}"})
            path = f"/projects/{made['slug']}"
            project = Place(made["id"], path, maker, set())
            board = await self.people[maker].get(path)
            project.column = board["columns"][0]["id"]
            self.projects.append(project)
            for user_id in members:
                body = {"user_id": user_id, "role": "member"}
                await self.people[maker].post(f"{path}/members", body)
                project.members.add(user_id)
        for number in range(1, self.size.conversations + 1):
            count = 2 if number % 3 == 0 else self.chance.randint(3, TALKERS)
            maker, *others = self.chance.sample(everybody, count)
            self.conversations.append(Place(0, "", maker, set(others), is_group=count > 2))

    async def _begin(self, conversation: Place) -> None:
        body: Json = {"user_ids": sorted(conversation.members)}
        made = await self.people[conversation.maker].client.post("/conversations", body)
        conversation.id, conversation.path = made["id"], f"/conversations/{made['id']}"

    def _all_listen(self) -> bool:
        return all(own.stream.open for own in self.owns.values())

    async def _visit(self, user_id: int) -> None:
        """Be before one of one's boards, until put out; then before another."""
        chance = random.Random(user_id)
        while not self.over.is_set():
            mine = [project for project in self.projects if user_id in project.all]
            if not mine:
                await asyncio.sleep(0.2)
                continue
            project = chance.choice(mine)
            streams = self.streams[project.id]
            name = f"user {user_id}, visit {len(self.visits)}"
            visit = Visit(user_id, project, streams.stream(name))
            slug = project.path.rpartition("/")[2]
            try:
                async with listening(self.people[user_id], visit, place=slug):
                    self.visits.append(visit)
                    await visit.ended.wait()
            except aiohttp.WSServerHandshakeError as refused:
                if refused.status not in (403, 404):
                    raise
                del streams.viewers[name]
                await asyncio.sleep(0.1)

    # What people do.

    async def works(self, seconds: float) -> None:
        """Many hands, each of somebody by chance, for so long, and until all was done once."""
        acts: dict[Callable[[int], Awaitable[bool]], int] = {
            self._say: 26,
            self._read: 14,
            self._notice: 14,
            self._comment: 14,
            self._discuss: 10,
            self._chat: 8,
            self._take_back: 4,
            self._move_in_group: 5,
            self._move_in_project: 3,
            self._leave: 2,
        }
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds

        async def hand() -> None:
            while loop.time() < end or len(self.done) < len(acts):
                act = self.chance.choices(list(acts), weights=list(acts.values()))[0]
                if await act(self.chance.choice(list(self.people))):
                    self.done[act.__name__.strip("_")] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(self.size.hands):
                group.create_task(hand())

    def _text(self) -> str:
        """A text that nothing else has, and that names somebody now and then."""
        name = f"text {next(self._names)}"
        if self.chance.random() < NAMED:
            name += f" @{self.people[self.chance.choice(list(self.people))].username} too"
        return name

    def _talks(self, user_id: int, *, groups: bool = False) -> Place | None:
        mine = [
            place
            for place in self.conversations
            if user_id in place.all and (place.is_group or not groups)
        ]
        return self.chance.choice(mine) if mine else None

    def _project(self, user_id: int) -> Place | None:
        mine = [project for project in self.projects if user_id in project.all]
        return self.chance.choice(mine) if mine else None

    async def _make(self, kind: str, name: str, place: Place, work: Awaitable[Any]) -> Any:
        """Something new; None when who made it was put out meanwhile."""
        moves = place.moves
        self.ledger.asked(kind, name)
        try:
            made = await work
        except Refused as error:
            if error.status != 404 or place.moves == moves:
                raise
            self.ledger.refused(kind, name)
            return None
        self.ledger.done(kind, name, made["id"])
        return made

    async def _unless_gone(self, work: Awaitable[Any]) -> Any:
        """What it is about may be gone meanwhile."""
        try:
            return await work
        except Refused as error:
            if error.status != 404:
                raise
            return None

    async def _say(self, user_id: int) -> bool:
        place, body = self._talks(user_id), self._text()
        if place is None:
            return False
        work = self.people[user_id].client.post(f"{place.path}/messages", {"body": body})
        made = await self._make("dm", body, place, work)
        if made is not None:
            self.messages.append((user_id, place, made["id"]))
        return made is not None

    async def _read(self, user_id: int) -> bool:
        place, client = self._talks(user_id), self.people[user_id].client
        page = place and await self._unless_gone(client.get(f"{place.path}/messages?limit=5"))
        if not page or place is None:
            return False
        last = page[-1] if self.chance.random() < 0.7 else self.chance.choice(page)
        await self._unless_gone(client.post(f"{place.path}/read", {"message_id": last["id"]}))
        return True

    async def _notice(self, user_id: int) -> bool:
        """Read one or all, or delete one."""
        client, context = self.people[user_id].client, self.chance.random()
        listed = (await client.get("/notifications?limit=50"))["items"]
        if not listed:
            return False
        id = self.chance.choice(listed)["id"]
        if context < 0.7:
            await self._unless_gone(client.post(f"/notifications/{id}/read"))
        elif context < 0.85:
            await self._unless_gone(client.delete(f"/notifications/{id}"))
        else:
            await client.post("/notifications/read-all")
        return True

    async def _take_back(self, user_id: int) -> bool:
        """Somebody deletes a message of theirs."""
        if not self.messages:
            return False
        author, place, id = self.messages.pop(self.chance.randrange(len(self.messages)))
        if author not in place.all:
            return False
        self.ledger.deleting(id, "dm")
        moves = place.moves
        await self._unless_gone(self.people[author].client.delete(f"{place.path}/messages/{id}"))
        if place.moves == moves:
            self.ledger.deleted(id, "dm")
        return True

    async def _comment(self, user_id: int) -> bool:
        """On a card; a new one while there are few."""
        project, body = self._project(user_id), self._text()
        if project is None:
            return False
        client = self.people[user_id].client
        if len(project.cards) < 5:
            path = f"{project.path}/columns/{project.column}/cards"
            made = await self._make("card", body, project, client.post(path, {"title": body}))
            if made is not None:
                project.cards.append(made["id"])
            return made is not None
        path = f"{project.path}/cards/{self.chance.choice(project.cards)}/comments"
        sent = {"body": body, "minutes": self.chance.choice([0, 5])}
        return await self._make("comment", body, project, client.post(path, sent)) is not None

    async def _discuss(self, user_id: int) -> bool:
        """Begin a topic, or reply to one."""
        project, body = self._project(user_id), self._text()
        if project is None:
            return False
        client, path = self.people[user_id].client, f"{project.path}/topics"
        if len(project.topics) < 3:
            made = await self._make(
                "topic", body, project, client.post(path, {"title": body, "body": self._text()})
            )
            if made is not None:
                project.topics.append(made["id"])
            return made is not None
        path = f"{path}/{self.chance.choice(project.topics)}/replies"
        return (
            await self._make("reply", body, project, client.post(path, {"body": body})) is not None
        )

    async def _chat(self, user_id: int) -> bool:
        project, body = self._project(user_id), self._text()
        if project is None:
            return False
        work = self.people[user_id].client.post(f"{project.path}/chat/messages", {"body": body})
        return await self._make("message", body, project, work) is not None

    async def _move_in_group(self, user_id: int) -> bool:
        groups = [place for place in self.conversations if place.is_group]
        return await self._move(self.chance.choice(groups), {})

    async def _move_in_project(self, user_id: int) -> bool:
        return await self._move(self.chance.choice(self.projects), {"role": "member"})

    async def _move(self, place: Place, role: Json) -> bool:
        """Its maker lets somebody in, or puts somebody out."""
        client = self.people[place.maker].client
        async with place.moving:
            if place.members and self.chance.random() < 0.5:
                who = self.chance.choice(sorted(place.members))
                place.moves += 1
                place.members.discard(who)
                await client.delete(f"{place.path}/members/{who}")
            else:
                who = self.chance.choice([each for each in self.people if each not in place.all])
                place.moves += 1
                await client.post(f"{place.path}/members", {"user_id": who, **role})
                place.members.add(who)
        return True

    async def _leave(self, user_id: int) -> bool:
        place = self._talks(user_id, groups=True)
        if place is None or place.maker == user_id:
            return False
        async with place.moving:
            if user_id not in place.members:
                return False
            place.moves += 1
            place.members.discard(user_id)
            await self.people[user_id].client.delete(f"{place.path}/members/{user_id}")
        return True

    # What came of it.

    async def judges(self) -> None:
        """When all is said; AssertionError with everything that is wrong."""
        for own in self.owns.values():
            channel = user_channel(own.user_id)
            await own.streams.compare(self.connection, channel, limit=ARRIVE_SECONDS)
        for project in self.projects:
            streams = self.streams[project.id]
            channel = project_channel(project.id)
            await streams.compare(self.connection, channel, limit=ARRIVE_SECONDS)
        await self.guests.compare(self.connection, self.visits, self.projects)
        await self.private.compare(self.connection)
        await self.ledger.compare(self.connection)
        await self.unread.counters(self.connection)
        for own in self.owns.values():
            await self.unread.follows(self.connection, own.inbox)
            client = self.people[own.user_id].client
            await self.unread.compare(self.connection, client, own.user_id)
        for checker in (self.guests, self.private, self.ledger, self.unread):
            checker.whole()
        for each in (*(own.streams for own in self.owns.values()), *self.streams.values()):
            each.whole()
