"""Outgoing webhooks: delivers a project's events to the addresses that its owners named.

Each webhook is a reader of its project's feed with a cursor of its own, in PostgreSQL. One worker
at a time delivers for it, by a lease; what a worker that died had under way is delivered again by
another one, under the same id. The body is read from the feed right before it is sent, so what was
deleted meanwhile is sent to nobody, and no queue has to be cleared.

An event is tried until it is answered with 2xx, and those after it wait: receivers get them in the
order of their seqs. After `WAITS` the webhook is parked until somebody replays. Webhooks that fail
or are slow have half of the places, so that they wait for each other and for nobody else.

When a feed no longer keeps what a webhook would have to send next (it was parked, or not enabled,
for longer than ``event_retention_days``), or when history went backwards, its log says so.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import time
from contextlib import suppress
from typing import Any, NamedTuple

import aiohttp
import asyncpg
from yarl import URL

from warmdesk import __version__, clock
from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.jobs.periodic import Job
from warmdesk.metrics import OUTGOING_DELIVERIES
from warmdesk.realtime.channels import project_channel
from warmdesk.signatures import secret_of, signed
from warmdesk.targets import ForbiddenTarget, Unanswered
from warmdesk.tasks import Background, Tasks

WAITS = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 28_800)
"""Seconds until the next try, after each that failed: about a day together."""
PLACES = 128
SLOW_PLACES = PLACES // 2
MOST = 4 * PLACES
"""Deliveries under way at once, those included that were believed to be quick."""
LEASE_SECONDS, KEEP_SECONDS = 5.0, 1.5
PAUSE_SECONDS = 0.05
"""Between two looks, however much happens."""
ANSWER_SECONDS = 10.0
ANSWER_BYTES = 64 << 10
REST_SECONDS = 1.0
"""How long the rest of an answer is waited for; without it the connection is not used again."""
SLOW_SECONDS = 1.0
SHARE_EVENTS, SHARE_SECONDS = 20, 1.0
"""So much of one webhook is delivered, then those that wait have their turn."""
STOP_SECONDS = 2.0
KEEP_ALIVE_SECONDS = 15.0

log = logging.getLogger(__name__)


class Result(NamedTuple):
    """How a try ended: the status of the answer, and what was wrong, empty if nothing."""

    status: int | None
    reason: str


class Outgoing(Job):
    """See the module."""

    name = "outgoing"
    seconds = 2.0

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.holder = f"{os.getpid()}-{secrets.token_hex(8)}"
        self.allowed = desk.system.values.webhook_allow_private
        self.held: dict[int, bool] = {}
        """The webhooks that this worker delivers for, and whether each has a slow one's place."""
        self._http: aiohttp.ClientSession | None = None
        self._wake = asyncio.Event()
        self._stopping = False
        self._deliveries = Background("outgoing.deliveries")
        self._replaced = Background("outgoing.replaced")
        self._keeping = Tasks()

    def start(self) -> None:
        self._http = self._session()
        self._keeping.start("outgoing.keep", self._keep)
        super().start()

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self.desk.resolving(),
                use_dns_cache=False,
                limit=0,
                keepalive_timeout=KEEP_ALIVE_SECONDS,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"WarmDesk/{__version__}",
                "Accept-Encoding": "identity",
            },
        )

    def _follow_setting(self) -> None:
        """Connect where the setting of now allows it; a connection that was open before is used for
        nothing that begins now.
        """
        allowed = self.desk.system.values.webhook_allow_private
        if allowed == self.allowed:
            return
        self.allowed = allowed
        before, self._http = self._http, self._session()
        if before is not None:
            self._replaced.start(_close_later(before))

    async def stop(self) -> None:
        """What is under way has a moment; what it does not end in is another worker's."""
        self._stopping = True
        await super().stop()
        self.desk.bus.watched.clear()
        until = time.monotonic() + STOP_SECONDS
        while len(self._deliveries) and time.monotonic() < until:
            await asyncio.sleep(0.02)
        await self._deliveries.stop()
        await self._keeping.stop()
        await self._replaced.stop()
        if self._http is not None:
            await self._http.close()

    async def _turns(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.seconds * random.uniform(0.8, 1.2)):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self.turn()
            except DATABASE_AWAY as error:
                self.desk.database.outage.doubt(self.name, error)
            await asyncio.sleep(PAUSE_SECONDS)

    async def turn(self) -> int:
        """Take what is due, as far as there is room; gives how many that are."""
        rows = await sql.outgoing.waiting(self.desk.database)
        self.desk.bus.watched = {project_channel(row["project_id"]): self._wake for row in rows}
        if not rows or self._stopping:
            return 0
        slow, room = sum(self.held.values()), MOST - len(self.held)
        quick = min(PLACES - SLOW_PLACES - len(self.held) + slow, room)
        taken = await self._claim(slow=False, limit=quick)
        return taken + await self._claim(slow=True, limit=min(SLOW_PLACES - slow, room - taken))

    async def _claim(self, *, slow: bool, limit: int) -> int:
        if limit <= 0:
            return 0
        rows = await sql.outgoing.claim(
            self.desk.database, holder=self.holder, seconds=LEASE_SECONDS, slow=slow, limit=limit
        )
        fresh = [row["id"] for row in rows if row["id"] not in self.held]
        for id_ in fresh:
            self.held[id_] = slow
            self._deliveries.start(self._deliver_all(id_))
        return len(fresh)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            if self.held:
                with suppress(*DATABASE_AWAY):
                    await sql.outgoing.keep(
                        self.desk.database,
                        holder=self.holder,
                        ids=list(self.held),
                        seconds=LEASE_SECONDS,
                    )

    async def _deliver_all(self, id_: int) -> None:
        """Deliver what there is for one webhook, one event after the other, as far as its share
        goes; then give it back, behind those that wait.
        """
        until = time.monotonic() + SHARE_SECONDS
        try:
            for _ in range(SHARE_EVENTS):
                if self._stopping or time.monotonic() > until:
                    break
                if not await self._deliver_next(id_):
                    break
        except asyncpg.ForeignKeyViolationError:
            pass  # it was deleted meanwhile
        except DATABASE_AWAY as error:
            self.desk.database.outage.doubt(self.name, error)
        finally:
            del self.held[id_]
            with suppress(*DATABASE_AWAY):
                rows = await sql.outgoing.release(self.desk.database, id=id_, holder=self.holder)
                if rows and rows[0]["more"]:
                    self._wake.set()

    async def _deliver_next(self, id_: int) -> bool:
        """Deliver the next event, or look further; whether there may be another one."""
        database = self.desk.database
        rows = await sql.outgoing.next(database, id=id_, holder=self.holder)
        if not rows:
            return False
        found = rows[0]
        done, head = found["done"], found["head"]
        if found["known"] != found["epoch"] or done > head:
            reason = f"history went back: it goes on behind event {min(done, head)}"
            return await self._pass(id_, found, min(done, head), "history", reason)
        if done < found["oldest"] - 1:
            last = found["oldest"] - 1
            reason = f"events {done + 1} to {last} were kept no longer, and were not delivered"
            return await self._pass(id_, found, last, "missed", reason)
        if found["seq"] is None:
            if found["upto"] is None:
                return False
            await sql.outgoing.pass_over(
                database, id=id_, holder=self.holder, was=done, done=found["upto"]
            )
            return bool(found["upto"] < head)
        return await self._try(id_, found)

    async def _pass(self, id_: int, found: Any, done: int, result: str, reason: str) -> bool:
        """Go on behind events that cannot be delivered, and say so in the log."""
        OUTGOING_DELIVERIES.inc(result=result)
        log.warning("outgoing.passed webhook=%d from=%d to=%d", id_, found["done"], done)
        return bool(
            await sql.outgoing.note(
                self.desk.database,
                id=id_,
                holder=self.holder,
                url=None,
                was=found["done"],
                done=done,
                epoch=found["epoch"],
                attempt=0,
                slow=False,
                wait=None,
                parked=False,
                seq=done,
                tried=0,
                status=None,
                reason=reason,
                duration=0,
            )
        )

    async def _try(self, id_: int, found: Any) -> bool:
        """One try; whether it was taken."""
        began = time.monotonic()
        late = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._is_slow, id_)
        try:
            result = await self._post(id_, found)
        finally:
            late.cancel()
        took = time.monotonic() - began
        taken, tried = not result.reason, found["attempt"] + 1
        parked = not taken and tried > len(WAITS)
        wait = None if taken or parked else WAITS[tried - 1]
        OUTGOING_DELIVERIES.inc(
            result="delivered" if taken else "parked" if parked else "failed",
        )
        if parked:
            log.warning("outgoing.parked webhook=%d seq=%d", id_, found["seq"])
        moved = await sql.outgoing.note(
            self.desk.database,
            id=id_,
            holder=self.holder,
            url=found["url"],
            was=found["done"],
            done=found["seq"] if taken else found["done"],
            epoch=None,
            attempt=0 if taken else tried,
            slow=not taken or took > SLOW_SECONDS,
            wait=wait,
            parked=parked,
            seq=found["seq"],
            tried=tried,
            status=result.status,
            reason=result.reason,
            duration=round(took * 1000),
        )
        # One that is slow goes back to where those wait.
        return bool(moved and taken and took <= SLOW_SECONDS)

    def _is_slow(self, id_: int) -> None:
        """It takes long: its place is another's that is quick."""
        self.held[id_] = True
        self._wake.set()

    async def _post(self, id_: int, found: Any) -> Result:
        """Send one event."""
        self._follow_setting()
        assert self._http is not None
        url, body = URL(found["url"]), found["envelope"].encode()
        secret = secret_of(self.desk.settings.secret_key, found["salt"])
        headers = signed(secret, f"{id_}.{found['seq']}", int(clock.now()), body)
        try:
            self.desk.resolver.targets.check_literal(url.host or "")
            async with self._http.post(
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
            ) as answer:
                await _read_rest(answer)
                if 200 <= answer.status < 300:
                    return Result(answer.status, "")
                return Result(answer.status, f"answered with {answer.status}")
        except TimeoutError:
            return Result(None, f"no answer within {ANSWER_SECONDS:g} s")
        except ForbiddenTarget:
            return Result(None, "not a public address")
        except aiohttp.ClientConnectorDNSError as error:
            if isinstance(error.os_error, ForbiddenTarget):
                return Result(None, "not a public address")
            if isinstance(error.os_error, Unanswered):
                return Result(None, "nobody answers for its name")
            return Result(None, "its name has no address")
        except (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch):
            return Result(None, "its certificate is not good")
        except aiohttp.ClientConnectorError:
            return Result(None, "no connection")
        except (aiohttp.ClientError, OSError, ValueError):
            return Result(None, "no HTTP answer")


async def _close_later(session: aiohttp.ClientSession) -> None:
    """Close a session when what is under way there is over."""
    try:
        await asyncio.sleep(ANSWER_SECONDS + REST_SECONDS)
    finally:
        await session.close()


async def _read_rest(answer: aiohttp.ClientResponse) -> None:
    """Read a short answer to its end, so that its connection can be used again. Of a long one, or
    one that does not come, the connection ends.
    """
    size = 0
    try:
        async with asyncio.timeout(REST_SECONDS):
            while size < ANSWER_BYTES and not answer.content.at_eof():
                size += len(await answer.content.read(ANSWER_BYTES - size))
    except (TimeoutError, aiohttp.ClientError):
        pass
    if not answer.content.at_eof():
        answer.close()
