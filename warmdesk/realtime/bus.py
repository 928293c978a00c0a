"""Redis pub/sub between the processes: it makes delivery instant, never certain.

A message is ``<seq> <type> <entity> <epoch>`` (seq 0: a signal, which has no epoch), a line feed,
the envelope; so a reader need not parse JSON. Publishing is never awaited by a change: messages go
into a bounded queue, and what a loop tick collected is sent in one write, on a connection of its
own. Messages that Redis does not take, in time and in order, go to this process's own listener; the
others find them in the feed.

redis-py resubscribes after a restart almost silently and never misses an answer to its ping, so
this listener owns its connection, sends itself a beat every second and counts the connection as
lost when three seconds pass without one. `on_lost` and `on_found` tell of it. After each new
connection `on_doubt` is called too: the messages of the meantime have to be read from the feeds.

The beat goes round by both connections, so its silence is doubt in both: after a failover one may
stand at the new primary and the other at a deposed one, which answers and reaches nobody. That is
why both are in one module, which is longer than others.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import redis.asyncio as redis_asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from warmdesk.metrics import BUS_DROPPED, DELIVERY_FAILED, EVENTS_PUBLISHED, REDIS_UP
from warmdesk.outages import REDIS, Outage
from warmdesk.realtime.events import Event
from warmdesk.realtime.observers import Observers
from warmdesk.realtime.sentinels import PrimaryConnection, Sentinels
from warmdesk.redis_calls import NAMES, RedisConnection, pack
from warmdesk.tasks import Tasks, seconds_to_tick

CALL_SECONDS = 0.25
CONFIRM_SECONDS = 1.0
CONNECTIONS = 50
REDIS_PORT, SENTINEL_PORT = 6379, 26379
BEAT_SECONDS = 1.0
SILENCE_SECONDS = 3.0
QUEUE_MESSAGES = 10_000
QUEUE_BYTES = 16 << 20
BATCH = 500
FIRST_PAUSE = 0.05
LAST_PAUSE = 1.0
"""Seconds between two attempts to listen: from the first on they double."""

REDIS_AWAY = (RedisError, OSError, TimeoutError)

log = logging.getLogger(__name__)


def connect_redis(url: str, *, listening: bool = False) -> Any:
    """A client for ``redis://``, ``rediss://``, ``unix://`` or
    ``sentinel://[[user]:password@]host:port,host:port/name``, where the password is that of Redis
    and of the sentinels that ask for one.

    Calls end after 250 ms and are not repeated: each caller can go on without Redis. A listening
    client waits without end.
    """
    options: dict[str, Any] = {
        "socket_connect_timeout": 1.0,
        "socket_timeout": None if listening else CALL_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        # Of its own accord a pool refuses the 101st call at once; a storm should wait its turn.
        "max_connections": CONNECTIONS,
        "timeout": CALL_SECONDS,
    }
    if listening:
        options["protocol"] = 2
    if url.startswith("sentinel://"):
        pool = redis_asyncio.BlockingConnectionPool(**options, **_through_sentinels(url))
    else:
        pool = redis_asyncio.BlockingConnectionPool.from_url(url, **options)
    return redis_asyncio.Redis.from_pool(pool)


def named_redis(url: str) -> str:
    """Where the Redis of a URL is, for people: without user and password."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return unquote(parts.path)
    if parts.scheme == "sentinel":
        asked = ",".join(f"{host}:{port}" for host, port in _addresses(parts))
        return f"{parts.path.strip('/')}@{asked}"
    return f"{parts.hostname or 'localhost'}:{parts.port or REDIS_PORT}"


def sentinels_of(url: str) -> list[tuple[str, int]]:
    """The sentinels of a URL, each as host and port."""
    return _addresses(urlsplit(url))


def _addresses(parts: SplitResult) -> list[tuple[str, int]]:
    found = []
    for address in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{address.strip()}")
        found.append((one.hostname or "localhost", one.port or SENTINEL_PORT))
    return found


def _through_sentinels(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    # With a user's name, AUTH is no error where no password is asked for.
    username = unquote(parts.username or "default")
    password = unquote(parts.password) if parts.password else None
    name = parts.path.strip("/")
    options: dict[str, Any] = {
        "connection_class": PrimaryConnection,
        "sentinels": Sentinels(_addresses(parts), name, username=username, password=password),
    }
    return options | ({"username": username, "password": password} if password else {})


def _packed(names: str, batch: list[tuple[str, bytes]]) -> bytes:
    """Messages as commands."""
    return b"".join([pack(("PUBLISH", names + channel, message)) for channel, message in batch])


class Bus:
    """The bus as one process sees it.

    heard      each message: channel, seq, type, entity, envelope, and the epoch, "" where none is
               told; what raises is in doubt
    on_doubt   messages may have been lost: read the feeds
    on_lost    the connection that listens ended
    on_found   it is there again, and all that is followed is confirmed

    `outage` tells whether Redis is lost: from the end of the connection that listens until the own
    beat is heard again.
    """

    def __init__(self, client: Any, *, names: str = NAMES, host: str = "") -> None:
        """`client`: one that listens, of `connect_redis`. Only connections are taken from it.
        `names`: how its channels begin in Redis, see `names_of`. `host`: for people, where it is.
        """
        self.names = names
        self.outage = Outage(REDIS, host=host)
        self.process = secrets.token_hex(6)
        self.heard: Observers[[str, int, str, str, bytes, str]] = Observers("bus.heard")
        self.on_doubt: Observers[[]] = Observers("bus.doubt")
        self.on_lost: Observers[[]] = Observers("bus.lost")
        self.on_found: Observers[[]] = Observers("bus.found")
        self._tell: Callable[[str, int, str, str, bytes, str], None] = self.heard
        self._client = client
        self._listening: RedisConnection | None = None
        self._wanted: set[str] = set()
        self._confirmed: set[str] = set()
        self._confirming: dict[str, set[asyncio.Future[None]]] = {}
        self._asks: dict[str, str] = {}
        self.watched: dict[str, asyncio.Event] = {}
        """Whom to tell in this process, by channel, that a change here recorded events."""
        self._publishing: RedisConnection | None = None
        self._publishing_since = 0.0
        self._refused: ResponseError | None = None
        self._queue: deque[tuple[str, bytes]] = deque()
        self._unanswered: deque[tuple[str, bytes]] = deque()
        self._waiting_bytes = 0
        self._settled = 0
        self._due = False
        self._patience: asyncio.TimerHandle | None = None
        self._needed = asyncio.Event()
        self._answered = False
        self._beat_heard = 0.0
        self._tasks = Tasks()

    async def start(self) -> None:
        """Begin to listen and to publish; gives up waiting for Redis after a second, and goes on
        trying.
        """
        self._tell = self.heard.complete()
        for observers in (self.on_doubt, self.on_lost, self.on_found):
            observers.complete()
        self._tasks.start("bus.listen", self._listen)
        self._tasks.start("bus.publish", self._connect_to_publish)
        self._tasks.start("bus.beat", self._beat)
        limit = time.monotonic() + CONFIRM_SECONDS
        while not self.good and time.monotonic() < limit:
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Send what waits (a quarter second at most), then end."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                while self._queue or self._unanswered:
                    await asyncio.sleep(0.005)
        except TimeoutError:
            pass
        await self._tasks.stop()
        self._drop_listening()
        self._queue.clear()
        self._unanswered.clear()
        if self._patience is not None:
            self._patience.cancel()
        if self._publishing is not None:
            self._publishing.end(ConnectionAbortedError("this process stops"))
        await self._client.aclose()

    @property
    def good(self) -> bool:
        """Whether this process hears its own beat: then it hears the others too."""
        return (
            self._listening is not None
            and self._answered
            and time.monotonic() - self._beat_heard < SILENCE_SECONDS
        )

    @property
    def trouble(self) -> str | None:
        return self._tasks.trouble()

    # Publishing

    def publish_all(self, messages: Iterable[str]) -> None:
        """Queue a change's events, as ``record`` gave them: ``channel seq type entity epoch``, a
        line feed, the envelope.
        """
        for message in messages:
            channel, _, rest = message.partition(" ")
            self._put(channel, rest.encode())
            if channel in self.watched:
                self.watched[channel].set()
            EVENTS_PUBLISHED.inc()

    def signal(self, channel: str, event: Event, payload: bytes, *, entity: str = "-") -> None:
        """Queue a signal; its payload is JSON."""
        envelope = b'{"type":"%s","payload":%s}' % (event.name.encode(), payload)
        self._put(channel, b"0 %s %s\n%s" % (event.name.encode(), entity.encode(), envelope))

    def hint(self, channel: str, word: str) -> None:
        """Queue a word for the processes alone; it never reaches a socket."""
        self._put(channel, b"0 %s -\n" % word.encode())

    def _put(self, channel: str, message: bytes) -> None:
        waiting = len(self._queue) + len(self._unanswered)
        if waiting >= QUEUE_MESSAGES or self._waiting_bytes >= QUEUE_BYTES:
            self._keep(channel, message)
            return
        self._queue.append((channel, message))
        self._waiting_bytes += len(message)
        self._publish_soon()

    def _publish_soon(self) -> None:
        if self._queue and not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._publish)

    def _publish(self) -> None:
        """Write what is queued; `_published`, `_not_published` or `_give_up` hears how it went."""
        self._due = False
        self._be_patient()
        link = self._publishing
        if link is None:
            self._needed.set()
        elif not link.full:
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            self._unanswered.extend(batch)
            link.write(_packed(self.names, batch))
            self._publish_soon()

    def _published(self, answer: int | ResponseError) -> None:
        """Redis took the message that waited longest, or refused it."""
        if isinstance(answer, ResponseError):
            self._refused = answer
            raise answer
        _, message = self._unanswered.popleft()
        self._waiting_bytes -= len(message)
        self._settled += 1
        if not self._unanswered:
            self._need_no_patience()

    def _need_no_patience(self) -> None:
        if self._patience is not None and not self._queue and not self._unanswered:
            self._patience.cancel()
            self._patience = None

    def _be_patient(self) -> None:
        """All that waits now is settled within `CALL_SECONDS`, or `_give_up` does it."""
        waiting = len(self._queue) + len(self._unanswered)
        if waiting and self._patience is None:
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(CALL_SECONDS, self._give_up, self._settled + waiting)

    def _give_up(self, expected: int) -> None:
        self._patience = None
        if self._settled >= expected:
            self._be_patient()
            return
        if self._publishing is not None:
            self._publishing.end(TimeoutError("Redis does not answer"))
        self._settle_here(self._queue, TimeoutError())

    async def _connect_to_publish(self) -> None:
        """Connects when a message waits. If that takes longer than the message may wait, the next
        one finds the connection.
        """
        while True:
            await self._needed.wait()
            try:
                if self._publishing is None:
                    self._publishing = RedisConnection(
                        await self._connect(),
                        answered=self._published,
                        ended=self._not_published,
                        drained=self._publish_soon,
                    )
                    self._publishing_since = time.monotonic()
            except REDIS_AWAY as error:
                self._settle_here(self._queue, error)
            self._needed.clear()
            self._publish_soon()

    def _not_published(self, reason: Exception) -> None:
        """The connection ended. Unanswered messages are delivered here; the rest goes over the next
        one.
        """
        self._publishing = None
        self._settle_here(self._unanswered, reason)
        self._publish_soon()

    def _settle_here(self, messages: deque[tuple[str, bytes]], reason: Exception) -> None:
        """Redis does not take these: deliver them here, in their order."""
        if not messages:
            return
        self.outage.doubt("bus.publish", reason)
        refused = list(messages)
        messages.clear()
        self._settled += len(refused)
        for channel, message in refused:
            self._waiting_bytes -= len(message)
            self._keep(channel, message)
        self._need_no_patience()

    def _keep(self, channel: str, message: bytes) -> None:
        """Deliver a message that Redis did not take to the own listener; but a beat counts only
        when it really came round.
        """
        BUS_DROPPED.inc()
        if not channel.startswith("beat:"):
            self._hear(channel, message)

    async def _beat(self) -> None:
        while True:
            self._put("beat:" + self.process, b"0 beat -\n")
            REDIS_UP.set(1.0 if self.good else 0.0)
            now = time.monotonic()
            silence = now - self._beat_heard
            if silence > SILENCE_SECONDS:
                if self._listening is not None:
                    silent = f"it has been silent for {silence:.1f} seconds"
                    self.outage.failed(self._refused or silent)
                    self._drop_listening()
                if self._publishing is not None and now - self._publishing_since > SILENCE_SECONDS:
                    self._publishing.end(TimeoutError("what is said there is not heard"))
            await asyncio.sleep(seconds_to_tick(BEAT_SECONDS))

    # Listening

    async def subscribe(self, channel: str) -> bool:
        """Hear a channel from now on. True once Redis confirmed it (at most a second); False: it
        will be, later.
        """
        self._wanted.add(channel)
        if channel in self._confirmed:
            return True
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._confirming.setdefault(channel, set()).add(waiting)
        self._ask("SUBSCRIBE", channel)
        try:
            async with asyncio.timeout(CONFIRM_SECONDS if self._listening is not None else 0):
                await waiting
        except TimeoutError:
            return False
        finally:
            # While Redis is away nothing else takes them out.
            if (others := self._confirming.get(channel)) is not None:
                others.discard(waiting)
                if not others:
                    del self._confirming[channel]
        return True

    def unsubscribe(self, channel: str) -> None:
        """Stop hearing a channel, soon."""
        self._wanted.discard(channel)
        self._confirmed.discard(channel)
        self._ask("UNSUBSCRIBE", channel)

    def hears(self, channel: str) -> bool:
        """Whether the channel's messages reach this process now, as far as it can know."""
        return self.good and channel in self._confirmed

    def _ask(self, verb: str, channel: str) -> None:
        """One command for all that is asked for in a tick; the last word on a channel counts."""
        if not self._asks:
            asyncio.get_running_loop().call_soon(self._send_asks)
        self._asks[channel] = verb

    def _send_asks(self) -> None:
        asks, self._asks = self._asks, {}
        if self._listening is None:
            return
        for verb in ("UNSUBSCRIBE", "SUBSCRIBE"):
            names = [self.names + channel for channel, word in asks.items() if word == verb]
            if names:
                self._listening.write(pack((verb, *names)))

    async def _listen(self) -> None:
        pause = FIRST_PAUSE
        while True:
            self._answered = False
            try:
                await self._follow()
            except REDIS_AWAY as error:
                self.outage.failed(error)
            if self._answered:
                pause = FIRST_PAUSE
            # Spread, or all processes of all hosts would ask in the same moment.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(LAST_PAUSE, pause * 2)

    async def _follow(self) -> None:
        """One connection, from its beginning to its end: the reason is raised."""
        over: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        unconfirmed: set[str] = set()

        def take(answer: list[Any] | ResponseError) -> None:
            if isinstance(answer, ResponseError):
                raise answer
            kind, name, content = answer
            self._answered = True
            channel = name.decode().removeprefix(self.names)
            if kind == b"message":
                self._hear(channel, content)
                return
            if kind == b"subscribe":
                self._confirm(channel)
            if channel in unconfirmed:
                unconfirmed.discard(channel)
                if not unconfirmed:
                    self.on_doubt()
                    self.on_found()

        def ended(reason: Exception) -> None:
            if not over.done():
                over.set_result(reason)

        link = RedisConnection(await self._connect(), answered=take, ended=ended)
        try:
            unconfirmed.update(("beat:" + self.process, *self._wanted))
            link.write(pack(("SUBSCRIBE", *(self.names + channel for channel in unconfirmed))))
            self._listening = link
            # A Redis that hangs takes connections and commands; it is good when it answers.
            self._answered = False
            self._beat_heard = time.monotonic()
            raise await over
        finally:
            if self._listening is link:
                self._drop_listening()

    async def _connect(self) -> Any:
        connection = self._client.connection_pool.make_connection()
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await connection.connect()
        except BaseException:  # cancelled or refused, its socket would stay open
            await connection.disconnect(nowait=True)
            raise
        return connection

    def _confirm(self, channel: str) -> None:
        if channel in self._wanted:
            self._confirmed.add(channel)
        for waiting in self._confirming.pop(channel, ()):
            if not waiting.done():
                waiting.set_result(None)

    def _hear(self, channel: str, message: bytes) -> None:
        head, _, envelope = message.partition(b"\n")
        try:
            words = head.decode().split(" ")
            epoch = words.pop() if len(words) == 4 else ""
            seq, kind, entity = words
            number = int(seq)
        except ValueError:
            BUS_DROPPED.inc()
            log.warning("bus.garbage channel=%s bytes=%d", channel, len(message))
            return
        if kind == "beat":
            self._beat_heard = time.monotonic()
            self._refused = None
            self.outage.works()
            return
        try:
            self._tell(channel, number, kind, entity, envelope, epoch)
        except Exception:
            log.exception("bus.message_failed channel=%s seq=%d type=%s", channel, number, kind)
            DELIVERY_FAILED.inc()
            if number:  # an event, so a feed has it; a signal is gone
                self.on_doubt()

    def _drop_listening(self) -> None:
        """Hear nothing until the next connection."""
        link, self._listening = self._listening, None
        self._confirmed.clear()
        if link is not None:
            self.on_lost()
            link.end(ConnectionAbortedError("dropped"))
