"""Who works in a soak: each does one thing again and again and tells the checkers what it saw."""

from __future__ import annotations

import asyncio
import collections
import itertools
import random
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from load.soak.abusers import ACCOUNTS, EDITOR, SITTER, STREET, Abusers
from load.soak.ends import DEACTIVATED, TENANT, UNMADE, Ends, seated, watched
from load.soak.seats import PATIENCE, SLUG, Figures, Json, Pen, Phase, Seat, StreamSeat
from load.soak.talkers import Talk
from load.soak.texts import DESCRIPTION, ITEM, MESSAGE, TITLE, text
from load.soak.world import Host, World
from tests.checkers.client_boards import Accompanied
from tests.checkers.ledger import Ledger
from tests.checkers.logs import Logs
from tests.checkers.mirror import fetch, shown
from tests.checkers.presence import Presence
from tests.checkers.private import Private
from tests.checkers.revoked import Revoked
from tests.checkers.stranger import Stranger
from tests.checkers.streams import Streams
from tests.checkers.unread import Unread
from tests.closed import check_frame
from tests.conftest import until
from tests.person import PASSWORD
from warmdesk.client import LOST, Client, Refused, SocketRefused
from warmdesk.realtime.channels import project_channel, user_channel

SOCKETS_EACH = 4
STREAM_OF = 3
"""Every third viewer has a stream of events instead: on each host, beside sockets of its person."""
CARDS_EACH, MESSAGES_EACH, ITEMS_EACH = 30, 40, 5
DESCRIBED = 0.3
"""So many of the cards have a description: each event of such a card carries it."""
WATCHER = "watcher"
HEALINGS = re.compile(r'^warmdesk_feed_repairs_total\{cause="(gap|check)"\} (\S+)$', re.MULTILINE)
WORKED_MINUTES = 1200
NAMED = 0.3
"""So many of the texts name somebody, who is notified."""
REMEMBERED_FRAMES = 4096
FEW, FEW_SECONDS = 2, 30.0
"""Cards of each column that a board begins with, and the longest until it reads the others."""
OWN_SECONDS = 15.0
"""Until everybody has what concerns them, when all is calm."""
EXPECTED = (r"worker\.crash_loop",)
"""Errors that faults explain: whoever kills a worker again and again is told of a loop."""


@dataclass(frozen=True)
class Size:
    """How many of each, and how long each rests between two things, in seconds: who chats rests
    so long that no limit refuses him. Neighbours work on the street's board, beside an abuser.
    """

    writers: int = 6
    chatters: int = 12
    viewers: int = 48
    joiners: int = 8
    mirrors: int = 2
    neighbours: int = 2
    talkers: int = 6
    rest: float = 0.15
    chat_rest: float = 1.2
    talk_rest: float = 0.9

    @classmethod
    def of(cls, viewers: int) -> Size:
        """A team with so many viewers; of fewer people where they are few: each signs in first."""
        share = min(1.0, viewers / cls.viewers)
        chatters, joiners = (max(2, round(share * n)) for n in (cls.chatters, cls.joiners))
        talkers = max(3, round(share * cls.talkers))
        return cls(viewers=viewers, chatters=chatters, joiners=joiners, talkers=talkers)

    @property
    def people(self) -> dict[str, str]:
        """Usernames with their global roles."""
        names = ["olga", "eve"]
        for role, count in (
            ("writer", self.writers),
            ("chatter", self.chatters),
            ("viewer", -(-self.viewers // SOCKETS_EACH)),
            ("joiner", self.joiners),
            ("mirror", self.mirrors),
            ("neighbour", self.neighbours),
            ("talker", self.talkers),
        ):
            names += [f"{role}-{number}" for number in range(1, count + 1)]
        names += ["leaver", "removed", DEACTIVATED, "demoted", TENANT, *ACCOUNTS]
        return {"root": "admin", UNMADE: "admin", WATCHER: "metrics"} | dict.fromkeys(names, "user")


class Team:
    """All of them, and the checkers that watch."""

    def __init__(self, world: World, size: Size, abusers: Abusers | None = None) -> None:
        self.world, self.size, self.abusers = world, size, abusers
        self.chance = random.Random(world.seed)
        self.figures = Figures()
        self.ledger, self.presence, self.revoked = Ledger(), Presence(), Revoked()
        self.streams = Streams()
        self.private, self.unread = Private(), Unread()
        self.own_streams: dict[int, Streams] = collections.defaultdict(Streams)
        self.logs = Logs(world.logs, {PASSWORD}, expected=EXPECTED)
        self.stranger = Stranger(Client(""), [SLUG])
        self.over, self.working, self.joining = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.seats: list[Seat] = []
        self.own_seats: list[Seat] = []
        self.talk = Talk(self)
        self.ends = Ends(self)
        self.cards: dict[str, list[int]] = {SLUG: [], STREET: []}
        """Those that writers made, and have not deleted."""
        self.mirrors: list[tuple[Accompanied, asyncio.Task[None]]] = []
        self.broken: list[str] = []
        self.late_excused = self.slow_excused = self.away_excused = False
        self.back_at = 0.0
        self.phase: Phase | None = None
        self.changes = 0
        self._busy = self._guests = self._newest = 0
        self._clients: dict[tuple[str, int], Pen] = {}
        self._frames: collections.OrderedDict[str, Json] = collections.OrderedDict()
        self._open = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    # Everybody comes, everybody goes.

    async def begin(self) -> None:
        """The board is made, all come, and the work begins."""
        size, world = self.size, self.world
        await world.populate(size.people)
        connection = await world.connect()
        try:
            await self.private.begin(connection)
        finally:
            await connection.close()
        await self._sign_in_all()
        olga = await self.client("olga", world.hosts[0])
        here = set(size.people) - {"root", "olga", "eve", WATCHER, TENANT, UNMADE, *ACCOUNTS}
        neighbours = {name for name in here if name.startswith("neighbour")}
        board = await self._found(olga, SLUG, here - neighbours)
        street = await self._found(olga, STREET, neighbours | {EDITOR, SITTER})
        self.project_id: int = board["id"]
        self.columns = {
            slug: [column["id"] for column in each["columns"]]
            for slug, each in ((SLUG, board), (STREET, street))
        }
        self.worked: collections.Counter[str] = collections.Counter()
        self.named = sorted(here - neighbours - {DEACTIVATED} | {"eve", "root"})
        self.stranger.client = await self.client("eve", world.hosts[-1])
        for number in range(1, size.mirrors + 1):
            client = await self.client(f"mirror-{number}", self.host(number))
            mirror = Accompanied(client, SLUG, checked=check_frame, keep=False)
            task = await self._open.enter_async_context(mirror.following())
            self.mirrors.append((mirror, task))
            self._seat(f"mirror-{number}", client)
        for number in range(size.viewers):
            username = f"viewer-{number // SOCKETS_EACH + 1}"
            client = await self.client(username, self.host(number))
            kind = StreamSeat if number % STREAM_OF == STREAM_OF - 1 else Seat
            self._seat(f"{username}/{number}", client, kind)
        self.working.set()
        self.joining.set()
        for number in range(1, size.chatters + 1):
            client = await self.client(f"chatter-{number}", self.host(number))
            self._start(self._chat(self._seat(f"chatter-{number}", client)))
        for username in self.talk.usernames:
            for host in world.hosts:
                self._own_seat(username, await self.client(username, host))
        await self.everybody_reaches(0, limit=30)
        for username in self.talk.usernames:
            self._start(self.talk.go_on(username))
        for number in range(1, size.writers + 1):
            client = await self.client(f"writer-{number}", self.host(number))
            self._start(self._write(client, SLUG))
        for number in range(1, size.neighbours + 1):
            client = await self.client(f"neighbour-{number}", self.host(number))
            self._start(self._write(client, STREET))
        for number in range(1, size.joiners + 1):
            self._start(self._join(f"joiner-{number}"))
        self._start(self.stranger.run(self.over))
        acts = [self._log_out, self._be_removed, self._be_demoted, self.ends.go_on]
        for act in [*acts, *([self._show_out] if self.abusers else [])]:
            self._start(self._again_and_again(act))

    async def _sign_in_all(self) -> None:
        """Everybody who is about to come, a few at once: each costs a hash."""
        size, hosts = self.size, self.world.hosts
        places = {(name, host) for name in ("olga", "root") for host in range(len(hosts))}
        places |= {("eve", len(hosts) - 1)}
        places |= {(f"viewer-{n // SOCKETS_EACH + 1}", n % len(hosts)) for n in range(size.viewers)}
        for role, count in (
            ("mirror", size.mirrors),
            ("chatter", size.chatters),
            ("writer", size.writers),
            ("neighbour", size.neighbours),
        ):
            places |= {(f"{role}-{n}", n % len(hosts)) for n in range(1, count + 1)}
        numbers = range(1, size.talkers + 1)
        places |= {(f"talker-{n}", host) for n in numbers for host in range(len(hosts))}
        turn = asyncio.Semaphore(2 * len(hosts))

        async def one(username: str, number: int) -> None:
            async with turn:
                await self.client(username, hosts[number])

        await asyncio.gather(*(one(*place) for place in sorted(places)))

    async def _found(self, olga: Pen, slug: str, members: set[str]) -> Any:
        """A project of olga's with these members: its board."""
        await olga.post("/projects", {"name": slug.title()})
        for username in sorted(members):
            await olga.post(f"/projects/{slug}/members", self.membership(username))
        return await olga.get(f"/projects/{slug}")

    def excuse(self, excuses: frozenset[str]) -> None:
        """What a fault may do that would be a broken promise else; nothing from now on if empty."""
        self.presence.excused = "leaves" in excuses
        self.late_excused = "late" in excuses
        self.slow_excused = "slow" in excuses
        if self.away_excused and "away" not in excuses:
            self.back_at = time.monotonic()
        self.away_excused = "away" in excuses

    def explained(self, began: float) -> bool:
        """Whether a fault explains that what was asked at this moment is refused now."""
        return self.away_excused or began < self.back_at

    async def healings(self) -> collections.Counter[str]:
        """What the servers say of events that came from the feed because the bus lacked them."""
        found: collections.Counter[str] = collections.Counter()
        for host in self.world.hosts:
            watcher = await self.client(WATCHER, host)
            for cause, count in HEALINGS.findall(await watcher.get("/metrics")):
                found[cause] += int(float(count))
        return found

    async def probe(self, host: Host) -> None:
        """A change at this host that everybody sees."""
        client = await self.client("olga", host)
        name = f"probe {uuid.uuid4().hex}"
        work = client.post(f"/projects/{SLUG}/chat/messages", {"body": name})
        await self.record("message", name, work)
        await self.everybody_reaches(await self.head(), limit=PATIENCE)

    def membership(self, username: str) -> Json:
        watches = username.startswith(("viewer", "mirror"))
        return {"username": username, "role": "viewer" if watches else "member"}

    async def end(self) -> None:
        """Everybody stops; sockets are closed."""
        self.over.set()
        self.working.set()
        self.joining.set()
        for seat in [*self.seats, *self.own_seats]:
            if seat.socket is not None:
                await seat.socket.close()
        done, late = await asyncio.wait(self._tasks, timeout=30)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for task in done:
            if not task.cancelled() and (error := task.exception()):
                self.broken.append(f"somebody gave up: {error!r}")
        await self._open.aclose()

    def host(self, number: int) -> Host:
        return self.world.hosts[number % len(self.world.hosts)]

    async def client(self, username: str, host: Host) -> Pen:
        """Somebody signed in at a host; the same each time."""
        place = (username, host.number)
        if place not in self._clients:
            client = await self._open.enter_async_context(self.stranger_to(username, host))
            await client.sign_in()
            self._clients[place] = client
        return self._clients[place]

    def stranger_to(self, username: str, host: Host) -> Pen:
        """The same person in a browser of its own: not signed in yet."""
        return Pen(host.url, self, username)

    def _seat(self, name: str, client: Pen, kind: type[Seat] = Seat) -> Seat:
        seat = kind(self, client, name)
        self.seats.append(seat)
        self._start(seat.stay())
        return seat

    def _own_seat(self, username: str, client: Pen) -> None:
        """Somebody who follows what concerns them."""
        user_id = self.world.ids[username]
        seat = Seat(self, client, f"{client.url} of {username}", own=self.own_streams[user_id])

        def heard(frame: Json) -> None:
            self.private.frame(user_id, frame)

        seat.on_frame = heard
        self.own_seats.append(seat)
        self._start(seat.stay())

    def _start(self, work: Any) -> None:
        self._tasks.append(asyncio.create_task(work))

    def decode(self, raw: str) -> Json:
        """A frame, decoded once for all; notes how late an event came."""
        known = self._frames.get(raw)
        frame: Json = orjson.loads(raw) if known is None else known
        if known is None:
            if "seq" not in frame:
                return frame
            self._frames[raw] = frame
            if len(self._frames) > REMEMBERED_FRAMES:
                self._frames.popitem(last=False)
            at = datetime.fromisoformat(frame["ts"]).timestamp()
            # An older one comes to somebody who was away, or is `gone` since.
            if frame["seq"] > self._newest:
                self._newest = frame["seq"]
                late = time.time() - at
                self.figures.late.append(late)
                if self.phase is not None:
                    self.phase.late.append(late)
        return frame

    # Who writes.

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """One change, when it is time to work."""
        await self.working.wait()
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            self.changes += 1

    async def rest(self, seconds: float | None = None) -> None:
        await asyncio.sleep(self.chance.uniform(0.3, 1.7) * (seconds or self.size.rest))

    async def record(
        self,
        kind: str,
        name: str,
        work: Awaitable[Any],
        *,
        unless: Callable[[], bool] = lambda: False,
    ) -> Any | None:
        """A creation in the ledger. None when it is not known what became of it. `unless`: whether
        what it belongs to may be gone, so that 404 is right.
        """
        self.ledger.asked(kind, name)
        try:
            made = await work
        except Refused as error:
            if error.status < 500:
                self.ledger.refused(kind, name)
                if not (error.status == 404 and unless()):
                    self.broken.append(f"a {kind} was refused: {error}")
            return None
        except LOST:
            return None
        self.ledger.done(kind, name, made["id"])
        return made

    def said(self, chance: random.Random, name: str, most: int = MESSAGE) -> str:
        """A text that begins with its name, and names somebody else now and then."""
        if chance.random() < NAMED:
            name += f" @{chance.choice(self.named)}"
        return text(chance, most, name)

    async def _write(self, client: Pen, slug: str) -> None:
        """Cards: make, rename, describe, move, comment, tick, link, delete; and a word over REST
        now and then.
        """
        chance, path = random.Random(f"{self.world.seed} {client.username}"), f"/projects/{slug}"
        cards: list[int] = []
        items: dict[int, list[int]] = {}
        for number in itertools.count():
            if self.over.is_set():
                return
            async with self.at_work():
                if self.over.is_set():
                    return
                name = f"{client.username} {number}"
                context = chance.random()
                if len(cards) < 4 or (context < 0.25 and len(cards) < CARDS_EACH):
                    column = chance.choice(self.columns[slug])
                    title = text(chance, TITLE, name)
                    work = client.post(f"{path}/columns/{column}/cards", {"title": title})
                    card = await self.record("card", title, work)
                    if card is not None:
                        cards.append(card["id"])
                        self.cards[slug].append(card["id"])
                        if chance.random() < DESCRIBED:
                            said = text(chance, DESCRIPTION)
                            await self._set(client, slug, card["id"], "description", said)
                elif 0.25 <= context < 0.35:
                    body = self.said(chance, name)
                    work = client.post(f"{path}/chat/messages", {"body": body})
                    await self.record("message", body, work)
                elif 0.35 <= context < 0.55:
                    card_id = chance.choice(cards)
                    known = items.setdefault(card_id, [])
                    await self._hang(client, f"{path}/cards/{card_id}", known, chance, name)
                else:
                    await self._touch(client, slug, cards, chance, name)
            await self.rest()

    async def _set(self, client: Pen, slug: str, card_id: int, field: str, value: str) -> None:
        self.ledger.pending(card_id, field, value)
        try:
            await client.put(f"/projects/{slug}/cards/{card_id}", {field: value})
        except Refused as error:
            if error.status < 500:
                self.broken.append(f"a change of a card was refused: {error}")
        except LOST:
            pass
        else:
            self.ledger.last(card_id, field, value)

    async def comment(
        self, client: Pen, card: str, chance: random.Random, name: str, **options: Any
    ) -> None:
        """A comment, with the time that it took: a day has no more hours than it has."""
        body = self.said(chance, name)
        there_is = self.worked[client.username] < WORKED_MINUTES
        minutes = chance.choice([0, 0, 5, 90]) if there_is else 0
        self.worked[client.username] += minutes
        sent = {"body": body, "time_spent_minutes": minutes}
        await self.record("comment", body, client.post(f"{card}/comments", sent), **options)

    async def _hang(
        self, client: Pen, card: str, items: list[int], chance: random.Random, name: str
    ) -> None:
        """A comment, an item or a link on a card of one's own; or an item is ticked."""
        context = chance.random()
        if context < 0.4:
            await self.comment(client, card, chance, name)
        elif context < 0.6 and len(items) < ITEMS_EACH:
            body = text(chance, ITEM, name)
            made = await self.record("item", body, client.post(f"{card}/checklist", {"body": body}))
            if made is not None:
                items.append(made["id"])
        elif context < 0.8 and items:
            await self._tick(client, card, items, chance)
        else:
            url = f"https://example.org/{name.replace(' ', '/')}"
            await self.record("link", url, client.post(f"{card}/links", {"url": url}))

    async def _tick(self, client: Pen, card: str, items: list[int], chance: random.Random) -> None:
        item_id, ticked = chance.choice(items), chance.random() < 0.7
        path = f"{card}/checklist/{item_id}"
        try:
            if chance.random() < 0.15:
                items.remove(item_id)
                self.ledger.deleting(item_id, "item")
                await client.delete(path)
                self.ledger.deleted(item_id, "item")
            else:
                self.ledger.pending(item_id, "is_completed", ticked, "item")
                await client.put(path, {"is_completed": ticked})
                self.ledger.last(item_id, "is_completed", ticked, "item")
        except Refused as error:
            if error.status < 500:
                self.broken.append(f"a change of a checklist was refused: {error}")
        except LOST:
            pass

    async def _touch(
        self, client: Pen, slug: str, cards: list[int], chance: random.Random, name: str
    ) -> None:
        """Change a card of one's own: nobody else writes it."""
        card_id = chance.choice(cards)
        path = f"/projects/{slug}/cards/{card_id}"
        context = chance.random()
        try:
            if context < 0.4:
                await self._set(client, slug, card_id, "title", text(chance, TITLE, name))
            elif context < 0.9 or len(cards) < CARDS_EACH // 2:
                columns = self.columns[slug]
                body = {"column_id": chance.choice(columns), "index": chance.randrange(5)}
                await client.patch(f"{path}/move", body)
            else:
                cards.remove(card_id)
                self.cards[slug].remove(card_id)
                self.ledger.deleting(card_id)
                await client.delete(path)
                self.ledger.deleted(card_id)
        except Refused as error:
            if error.status < 500:
                self.broken.append(f"a change of a card was refused: {error}")
        except LOST:
            pass

    async def _chat(self, seat: Seat) -> None:
        """Talk over the socket: the same nonce until it is known to be said."""
        mine: collections.deque[int] = collections.deque()
        chance = random.Random(f"{self.world.seed} {seat.name}")
        for number in itertools.count():
            if self.over.is_set():
                return
            async with self.at_work():
                if self.over.is_set():
                    return
                body = self.said(chance, f"{seat.name} {number}")
                self.ledger.asked("message", body)
                said = await self._until_known(seat, {"body": body, "nonce": uuid.uuid4().hex})
                if said is not None:
                    self.ledger.done("message", body, said["message_id"])
                    mine.append(said["message_id"])
                if len(mine) > MESSAGES_EACH:
                    with suppress(SocketRefused, ConnectionError, TimeoutError):
                        self.ledger.deleting(mine[0], "message")
                        await seat.say("chat.delete", {"message_id": mine[0]})
                        self.ledger.deleted(mine.popleft(), "message")
            await self.rest(self.size.chat_rest)

    async def _until_known(self, seat: Seat, payload: Json) -> Json | None:
        end, wait = time.monotonic() + PATIENCE, 0.2
        while time.monotonic() < end:
            try:
                return await seat.say("chat.send", payload)
            except SocketRefused as error:
                # Each try counts as a message, so a long absence uses the sixty of a minute up.
                if error.code not in ("unavailable", "unknown_outcome", "rate_limited"):
                    self.ledger.refused("message", payload["body"])
                    self.broken.append(f"a message was refused: {error}")
                    return None
            except (ConnectionError, TimeoutError):
                pass
            if self.over.is_set():
                return None
            await asyncio.sleep(wait)
            wait = min(2.0, 1.5 * wait)
        return None

    # Who comes and goes.

    async def _join(self, username: str) -> None:
        """Come, watch for a moment, go without a word or with one, come back somewhere else."""
        chance = random.Random(f"{self.world.seed} {username}")
        seats = [
            Seat(self, await self.client(username, host), f"{username} at {host}", shown=False)
            for host in self.world.hosts
        ]
        seat = seats[0]
        while not self.over.is_set():
            await self.joining.wait()
            last, seat = seat, chance.choice(seats)
            seat.stream, seat.seq, seat.epoch = last.stream, last.seq, last.epoch
            self._guests += 1
            try:
                await seat.visit(limit=chance.choice([0.1, 0.5, 2.0, 6.0]) * chance.random())
            finally:
                self._guests -= 1
            await asyncio.sleep(chance.choice([0.0, 0.2, 1.0, 8.0]) * chance.random())

    # Who loses rights.

    async def _again_and_again(self, act: Callable[[], Awaitable[None]]) -> None:
        while not self.over.is_set():
            async with self.at_work():
                if self.over.is_set():
                    return
                try:
                    await act()
                except Refused as error:
                    if error.status < 500:
                        self.broken.append(f"{act.__name__}: {error}")
                except LOST:
                    pass
            await asyncio.sleep(self.chance.uniform(1, 4))

    async def _log_out(self) -> None:
        async with AsyncExitStack() as stack:
            clients = []
            for host in self.world.hosts:
                browser = self.stranger_to("leaver", host)
                clients.append(await stack.enter_async_context(browser))
            await clients[0].sign_in()
            for client in clients[1:]:
                client.token = clients[0].token
            async with watched(self, seated(self, clients)) as those:
                await those.present()
                body = {"refresh_token": clients[0].refresh_token}
                await clients[0].post("/auth/logout", body)
                await those.judge("logout")

    async def _be_removed(self) -> None:
        olga = await self.client("olga", self.chance.choice(self.world.hosts))
        clients = [await self.client("removed", host) for host in self.world.hosts]
        # The last time it may have stayed unknown whether he became a member again.
        await self._bring_back(olga, SLUG, "removed")
        async with watched(self, seated(self, clients)) as those:
            await those.present()
            if await self._remove(olga, SLUG, "removed"):
                await those.judge("removed")

    async def _remove(self, olga: Pen, slug: str, username: str) -> bool:
        """False when an earlier removal, never answered, was carried out late."""
        began, phase = time.monotonic(), self.phase
        try:
            await olga.delete(f"/projects/{slug}/members/{self.world.ids[username]}")
        except Refused as error:
            if error.status == 404:
                return False
            raise
        finally:
            if phase is not None:
                phase.removals.append(time.monotonic() - began)
        return True

    async def _show_out(self) -> None:
        """Remove the abuser from the street while he writes there; he comes back."""
        abusers = self.abusers
        if abusers is None or not abusers.acting:
            return
        olga = await self.client("olga", self.chance.choice(self.world.hosts))
        try:
            if await self._remove(olga, STREET, EDITOR):
                answered = time.monotonic()
                await until(lambda: abusers.told_at > answered + 1, limit=PATIENCE)
                late = abusers.editor["accepted"] - answered
                if late > 0:
                    self.broken.append(f"{EDITOR} could write {late:.2f} s after his removal")
        finally:
            await self._bring_back(olga, STREET, EDITOR)

    async def _bring_back(self, olga: Pen, slug: str, username: str) -> None:
        """Make him a member, whatever became of it before."""
        while not self.over.is_set():
            try:
                await olga.post(f"/projects/{slug}/members", self.membership(username))
                return
            except Refused as error:
                if error.status == 409:
                    return
            except LOST:
                pass
            await asyncio.sleep(0.2)

    async def _be_demoted(self) -> None:
        olga = await self.client("olga", self.chance.choice(self.world.hosts))
        client = await self.client("demoted", self.chance.choice(self.world.hosts))
        path = f"/projects/{SLUG}/members/{self.world.ids['demoted']}"
        async with watched(self, seated(self, [client])) as those:
            await those.present()
            await olga.put(path, {"role": "viewer"})
            name = f"demoted {uuid.uuid4().hex}"
            self.ledger.asked("message", name)
            try:
                await client.post(f"/projects/{SLUG}/chat/messages", {"body": name})
            except Refused as error:
                if error.status == 403:
                    self.ledger.refused("message", name)
            else:
                self.broken.append("a demoted member could write")
        await olga.put(path, {"role": "member"})

    # What is compared when all is calm.

    async def head(self) -> int:
        """The board's head, from PostgreSQL itself."""
        connection = await self.world.connect()
        try:
            head = await connection.fetchval(
                "select seq from feeds where channel = $1", project_channel(self.project_id)
            )
            return int(head or 0)
        finally:
            await connection.close()

    async def everybody_reaches(self, seq: int, *, limit: float) -> None:
        """Until every steady seat is there and has this event; AssertionError says who is not."""

        def late() -> list[str]:
            return [s.name for s in self.seats if not s.here or (s.seq or 0) < seq]

        try:
            await until(lambda: not late(), limit=limit)
        except AssertionError:
            raise AssertionError(f"after {limit} s not at {seq}: {', '.join(late()[:9])}") from None

    @asynccontextmanager
    async def silence(self) -> AsyncIterator[None]:
        """Nobody writes, comes or goes; what was under way is answered."""
        self.working.clear()
        self.joining.clear()
        try:
            await until(lambda: self._busy == 0 and not self._guests, limit=PATIENCE + 10)
            yield
        finally:
            self.working.set()
            self.joining.set()

    async def compare_mirrors(self) -> None:
        """Following equals fetching, for each mirror and for the client's boards, one of which read
        its cards while things broke.
        """
        for mirror, following in self.mirrors:
            if following.done():
                following.result()
                raise AssertionError(f"a mirror's socket closed with {mirror.socket.code}")
            board, messages = await fetch(mirror.client, SLUG)
            await mirror.reaches(board["seq"], limit=15)
            await mirror.close_few()
            mirror.equals(shown(board, messages))
            mirror.proves(await mirror.client.get(f"/projects/{SLUG}/digest"))
            mirror.strict()
            mirror.forget_few()
            await mirror.open_few(FEW, self.chance.uniform(0, FEW_SECONDS))

    async def compare_own(self) -> None:
        """What concerns single people: who was told, and what they are said to have unread."""
        connection = await self.world.connect()
        try:
            heads = dict(await connection.fetch("select channel, seq from feeds"))

            def late() -> list[str]:
                return [
                    seat.name
                    for seat in self.own_seats
                    if not seat.here or (seat.seq or 0) < heads.get(user_channel(seat.user_id), 0)
                ]

            with suppress(AssertionError):
                await until(lambda: not late(), limit=OWN_SECONDS)
            assert not late(), f"not at the head of their own feeds: {', '.join(late()[:9])}"
            await self.private.compare(connection)
            await self.unread.counters(connection)
            for number in range(1, self.size.writers + 1):
                await self._recount(connection, f"writer-{number}", self.host(number))
            for username in self.talk.usernames:
                await self._recount(connection, username, self.chance.choice(self.world.hosts))
        finally:
            await connection.close()

    async def _recount(self, connection: Any, username: str, host: Host) -> None:
        client = await self.client(username, host)
        await self.unread.compare(connection, client, self.world.ids[username], username)

    async def compare(self) -> None:
        """Everything that was answered and seen, with what is stored."""
        connection = await self.world.connect()
        try:
            await self.ledger.compare(connection)
            await self.streams.compare(connection, project_channel(self.project_id))
            for user_id, streams in self.own_streams.items():
                await streams.compare(connection, user_channel(user_id))
            await self.private.compare(connection)
        finally:
            await connection.close()
        self.revoked.finish()
        self.logs.finish()
