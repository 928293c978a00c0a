"""Who loses all rights at once: an administrator who is none any more, an account that is
deactivated or purged, the people of a project that is purged. Two seconds later nothing of theirs
is left: no socket or stream of a session or a key, no answer, and no mail that waited leaves.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg

from load.soak.seats import OWN, PATIENCE, SLUG, Pen, Seat, StreamSeat
from tests.checkers import revoked
from tests.checkers.revoked import Watch
from tests.checkers.streams import Streams
from tests.conftest import until
from warmdesk.client import LOST

if TYPE_CHECKING:
    from load.soak.people import Team
    from load.soak.world import Host

Deed = Callable[[], Awaitable[Any]]

TENANT, UNMADE, DEACTIVATED = "tenant", "unmade", "deactivated"
"""A member of each project that will be purged, an administrator for a while, who comes back."""
LOOK_SECONDS = 0.05
CLOSED_SECONDS = 20.0
"""So long sockets are awaited: how late one is says more than that it is."""
LEAVES_SECONDS = 8.0
"""A mail that is due leaves within this, or a fault keeps it."""
LATER = "clock_timestamp() + interval '1 day'"
DATABASE_AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
ACCOUNT = """
    insert into users (email, username, password_hash, display_name)
    select $1 || '@example.org', $1, u.password_hash, $1 from users as u where u.username = $2
    returning id
"""
"""Without the cost of one more hash."""
RESET = f"insert into mails (kind, address, due_at) values ('password', $1, {LATER}) returning id"
TOLD = f"""
    insert into mails (kind, user_id, about, due_at)
    select
        'backup', u.id,
        '{{"ok": false, "cause": "died", "host": "", "moment": "2026-01-01 00:00"}}',
        {LATER}
    from users as u where u.email = $1
    returning id
"""
"""A mail for administrators alone."""
INVITED = f"""
    insert into mails (kind, invitation_id, due_at)
    select 'invitation', i.id, {LATER} from invitations as i where i.email = $1
    on conflict (invitation_id) where invitation_id is not null
        do update set due_at = {LATER}, takes = mails.takes + 1
    returning id
"""
"""Whoever sends it just now is not done with it."""


@dataclass
class Door:
    """An address that is answered to who has the right."""

    client: Pen
    path: str

    async def opens(self) -> bool:
        """Whether it is answered now; it is asked once."""
        with suppress(*LOST):
            return (await self.client._once("GET", self.path, None, {})).status < 400
        return False


@dataclass
class Rights:
    """All that hangs on the rights of somebody. `mail` makes one to `address` that waits."""

    user_id: int
    seats: list[Seat] = field(default_factory=list)
    doors: list[Door] = field(default_factory=list)
    address: str = ""
    mail: str = ""


class Watched:
    """Seats of people whose rights will be taken away."""

    def __init__(self, team: Team, seats: Sequence[Seat]) -> None:
        self.team, self.seats = team, seats
        self.visits = [asyncio.create_task(seat.visit()) for seat in seats]

    async def present(self) -> None:
        """Each has said hello, or could not come."""
        await until(
            lambda: all(s.here or v.done() for s, v in zip(self.seats, self.visits, strict=True)),
            limit=PATIENCE,
        )

    async def judge(self, kind: str) -> None:
        """The right is gone now: what comes from here on is judged."""
        now = time.monotonic()
        for seat, visit in zip(self.seats, self.visits, strict=True):
            if visit.done() or not seat.here:
                continue
            watch = self.team.revoked.act(kind, seat.user_id, at=now)
            seat.on_frame = self._unless_excused(watch, watch.frame)
            seat.on_closed = self._unless_excused(watch, watch.closed)
        await asyncio.wait(self.visits, timeout=CLOSED_SECONDS)

    def _unless_excused(self, watch: Watch, judge: Callable[[Any], None]) -> Callable[[Any], None]:
        """What happens while nobody can tell the host is not judged, nor what follows."""

        def judged(seen: Any) -> None:
            watches = self.team.revoked.watches
            if self.team.late_excused and watch in watches:
                watches.remove(watch)
            if watch in watches:
                judge(seen)

        return judged

    async def end(self) -> None:
        for seat in self.seats:
            if seat.socket is not None:
                await seat.socket.close()
        for visit in self.visits:
            visit.cancel()
        await asyncio.gather(*self.visits, return_exceptions=True)
        for seat in self.seats:
            await seat._end()


@asynccontextmanager
async def watched(team: Team, seats: Sequence[Seat]) -> AsyncIterator[Watched]:
    """They are present; they leave for good afterwards."""
    found = Watched(team, seats)
    try:
        yield found
    finally:
        await found.end()


def seated(team: Team, clients: Sequence[Pen], place: str = SLUG) -> list[Seat]:
    """A seat for each, by turns at a socket and at a stream."""
    seats = []
    for client, kind in zip(clients, itertools.cycle((Seat, StreamSeat)), strict=False):
        name = f"{client.username} {uuid.uuid4().hex[:6]}"
        own = None if place == SLUG else Streams()
        seat = kind(team, client, name, shown=False, steady=False, own=own)
        seat.place = place
        seats.append(seat)
    return seats


class Ends:
    """One after the other loses them."""

    def __init__(self, team: Team) -> None:
        self.team = team
        self._acts = itertools.cycle(
            (self.purge_project, self.unmake, self.purge_account, self.deactivate)
        )
        self._number = itertools.count(1)
        self._keys: dict[str, str] = {}

    async def go_on(self) -> None:
        """The next one."""
        await next(self._acts)()

    @property
    def _hosts(self) -> list[Host]:
        return self.team.world.hosts

    async def _root(self) -> Pen:
        return await self.team.client("root", self.team.chance.choice(self._hosts))

    async def purge_project(self) -> None:
        """A project of olga's, and whoever may see it: a member, by a key too, and root."""
        team = self.team
        olga = await team.client("olga", team.chance.choice(self._hosts))
        made = await olga.post("/projects", {"name": f"End {next(self._number)}"})
        path, slug = f"/projects/{made['slug']}", made["slug"]
        await olga.post(f"{path}/members", team.membership(TENANT))
        guest = f"{slug}@example.com"
        await olga.post(f"{path}/invitations", {"email": guest})
        root = await self._root()
        async with self._keyed(TENANT, await self._visits(TENANT)) as clients:
            everybody = [root, *clients]
            rights = Rights(
                team.world.ids[TENANT],
                seated(team, everybody, slug),
                [Door(each, path) for each in everybody],
                guest,
                INVITED,
            )

            async def end() -> None:
                await root.delete(path)
                await root.delete(f"/admin/projects/{slug}")

            await self._judge(revoked.PURGED, rights, end)

    async def unmake(self) -> None:
        """An administrator, who sees every project, becomes a user."""
        team, user_id = self.team, self.team.world.ids[UNMADE]
        root, path = await self._root(), f"/users/{self.team.world.ids[UNMADE]}"
        # The last time it may have stayed unknown what became of it.
        await root.put(path, {"global_role": "admin"})
        async with self._keyed(UNMADE, await self._visits(UNMADE)) as clients:
            doors = ("/admin/projects?limit=1", f"/projects/{SLUG}/digest")
            rights = Rights(
                user_id,
                seated(team, clients),
                [Door(each, door) for each in clients for door in doors],
                f"{UNMADE}@example.org",
                TOLD,
            )
            await self._judge(
                revoked.UNMADE, rights, lambda: root.put(path, {"global_role": "user"})
            )

    async def purge_account(self) -> None:
        """Somebody with a key, who is deleted and purged."""
        team, username = self.team, f"ended-{next(self._number)}"
        with suppress(*DATABASE_AWAY):
            connection = await team.world.connect()
            try:
                made = await connection.fetchval(ACCOUNT, username, DEACTIVATED)
            finally:
                await connection.close()
            team.world.ids[username] = made
        if username not in team.world.ids:
            return
        root, path = await self._root(), f"/users/{team.world.ids[username]}"

        await self._account(
            revoked.DELETED,
            username,
            lambda: root.delete(path),
            then=lambda: root.delete(f"{path}/permanent"),
        )
        # There is nobody any more whose key it is.
        self._keys.pop(username, None)

    async def deactivate(self) -> None:
        """Somebody whose account is active again afterwards."""
        root, path = await self._root(), f"/users/{self.team.world.ids[DEACTIVATED]}"
        await root.put(path, {"is_active": True})
        try:
            await self._account(
                revoked.DEACTIVATED, DEACTIVATED, lambda: root.put(path, {"is_active": False})
            )
        finally:
            await root.put(path, {"is_active": True})

    async def _account(self, kind: str, username: str, end: Deed, then: Deed | None = None) -> None:
        """An account that ends with its session, on each host, and its key."""
        team = self.team
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(team.stranger_to(username, host))
                for host in self._hosts
            ]
            await clients[0].sign_in()
            for client in clients[1:]:
                client.token = clients[0].token
            clients = await stack.enter_async_context(self._keyed(username, clients))
            is_member = username == DEACTIVATED
            seats = seated(team, clients, OWN) + (seated(team, clients) if is_member else [])
            doors = [Door(client, "/users/me") for client in clients]
            address = f"{username}@example.org"
            rights = Rights(team.world.ids[username], seats, doors, address, RESET)
            await self._judge(kind, rights, end, then)

    async def _visits(self, username: str) -> list[Pen]:
        return [await self.team.client(username, host) for host in self._hosts]

    @asynccontextmanager
    async def _keyed(self, username: str, clients: list[Pen]) -> AsyncIterator[list[Pen]]:
        """These clients of somebody, and a program with a key of theirs."""
        if username not in self._keys:
            made = await clients[0].post("/auth/api-keys", {"name": "A program"})
            self._keys[username] = made["key"]
            self.team.logs.secret(made["key"])
        async with self.team.stranger_to(username, self._hosts[-1]) as program:
            program.api_key = self._keys[username]
            yield [*clients, program]

    # What is judged.

    async def _judge(self, kind: str, rights: Rights, end: Deed, then: Deed | None = None) -> None:
        """Take the right, and look at all that hung on it, beside what follows `then`."""
        team = self.team
        async with watched(team, rights.seats) as those:
            await those.present()
            doors = [door for door in rights.doors if await door.opens()]
            mail = await self._ask(rights.mail, rights.address)
            await end()
            at = time.monotonic()
            await asyncio.gather(
                those.judge(kind),
                self._knock(kind, rights.user_id, doors, at),
                self._post(kind, rights, mail, at),
                *([then()] if then else []),
            )

    async def _knock(self, kind: str, user_id: int, doors: list[Door], at: float) -> None:
        """Ask once more when the right is gone everywhere."""
        if await self._passed(at):
            return
        for door in doors:
            sent = time.monotonic()
            opens = await door.opens()
            if self.team.late_excused:
                return
            self.team.revoked.asked += 1
            if opens:
                what = f"GET {door.path} was answered to {door.client.username}"
                self.team.revoked.outlived(kind, user_id, what, sent - at)

    async def _post(self, kind: str, rights: Rights, mail: int | None, at: float) -> None:
        """Let the mail be due then: it may not arrive."""
        if mail is None:
            return
        try:
            if await self._passed(at):
                return
            before = len(self.team.world.box.to(rights.address))
            await self._ask("update mails set due_at = clock_timestamp() where id = $1", mail)
            if not await self._has_left(mail):
                return
        finally:
            # It may leave no more once the right is there again.
            await self._ask("delete from mails where id = $1", mail)
        self.team.revoked.mails += 1
        if len(self.team.world.box.to(rights.address)) > before:
            what = f"a mail left for {rights.address}"
            self.team.revoked.outlived(kind, rights.user_id, what, time.monotonic() - at)

    async def _has_left(self, mail: int) -> bool:
        """Wait until a mail that is due was sent or dropped; False when a fault keeps it."""
        there = "select count(*) from mails where id = $1"

        async def is_gone() -> bool:
            return bool(await self._ask(there, mail) == 0)

        with suppress(AssertionError):
            await until(is_gone, limit=LEAVES_SECONDS)
            return True
        return False

    async def _passed(self, at: float) -> bool:
        """Wait until nobody may know of the right any more; whether a fault explains who does."""
        explained = False
        while time.monotonic() - at <= revoked.WITHIN:
            explained |= self.team.late_excused
            await asyncio.sleep(LOOK_SECONDS)
        return explained or self.team.late_excused

    async def _ask(self, statement: str, *values: Any) -> Any:
        """A value from PostgreSQL, past everything; None while it is away."""
        with suppress(*DATABASE_AWAY):
            connection = await self.team.world.connect()
            try:
                return await connection.fetchval(statement, *values)
            finally:
                await connection.close()
        return None
