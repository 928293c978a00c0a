"""Redis pub/sub between the processes: it makes delivery instant, never certain.

A message is ``<seq> <type> <entity>`` (seq 0: a signal), a line feed, the envelope; so a reader
need not parse JSON. Publishing is never awaited by a change: messages go into a bounded queue, and
one task sends what a loop tick collected in one write, on a connection of its own: what redis-py
does around a pipeline costs a lone message more than all else that is done with it. What cannot be
published is handed to this process's own listener; the others find it in the feed.

redis-py resubscribes after a restart almost silently and never misses an answer to its ping, so
this listener owns its connection, sends itself a beat every second and counts the connection as
lost when three seconds pass without one. `on_lost` and `on_found` tell of it; after each new
connection `on_doubt` is called too: whatever was said meanwhile has to be read from the feeds.
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
from urllib.parse import unquote, urlsplit

import redis.asyncio as redis_asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from warmdesk.metrics import BUS_DROPPED, EVENTS_PUBLISHED, REDIS_UP
from warmdesk.realtime.events import Event
from warmdesk.realtime.sentinels import PrimaryConnection, Sentinels
from warmdesk.tasks import Tasks

PREFIX = "warmdesk:"
CALL_SECONDS = 0.25
CONFIRM_SECONDS = 1.0
CONNECTIONS = 50
SENTINEL_PORT = 26379
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

Heard = Callable[[str, int, str, str, bytes], None]


def connect_redis(url: str, *, listening: bool = False) -> Any:
    """A client for ``redis://``, ``rediss://``, ``unix://`` or
    ``sentinel://[[user]:password@]host:port,host:port/name``, where the password is that of Redis
    and of the sentinels that ask for one.

    Calls end after 250 ms and are not repeated: who calls has something better to do when Redis is
    away. A listening client waits without end.
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


def _through_sentinels(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    places = []
    for place in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{place.strip()}")
        places.append((one.hostname or "localhost", one.port or SENTINEL_PORT))
    # With a user's name, AUTH is no error where no password is asked for.
    username = unquote(parts.username or "default")
    password = unquote(parts.password) if parts.password else None
    name = parts.path.strip("/")
    options: dict[str, Any] = {
        "connection_class": PrimaryConnection,
        "sentinels": Sentinels(places, name, username=username, password=password),
    }
    return options | ({"username": username, "password": password} if password else {})


def _packed(batch: list[tuple[str, bytes]]) -> bytes:
    """Messages as commands of RESP, the protocol of Redis."""
    commands = []
    for channel, message in batch:
        name = (PREFIX + channel).encode()
        commands.append(
            b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n"
            % (len(name), name, len(message), message)
        )
    return b"".join(commands)


def _is_over(connection: Any) -> bool:
    """Whether Redis ended a connection that nothing is asked on: messages written to it would be
    lost. Seen without reading; redis-py's own way costs as much as publishing.
    """
    reader = connection._reader
    return reader is None or reader.at_eof() or reader.exception() is not None


class Bus:
    """The bus as one process sees it. ``heard(channel, seq, type, entity, envelope)`` is called
    for each message.
    """

    def __init__(self, client: Any) -> None:
        """`client`: one that listens, of `connect_redis`. Only connections are taken from it."""
        self.process = secrets.token_hex(6)
        self.heard: Heard = lambda *message: None
        self.on_doubt: Callable[[], None] = lambda: None
        self.on_lost: Callable[[], None] = lambda: None
        self.on_found: Callable[[], None] = lambda: None
        self._client = client
        self._connection: Any = None
        self._wanted: set[str] = set()
        self._confirmed: set[str] = set()
        self._confirming: dict[str, list[asyncio.Future[None]]] = {}
        self._asks: list[tuple[str, str]] = []
        self._ask = asyncio.Event()
        self._queue: deque[tuple[str, bytes]] = deque()
        self._queued_bytes = 0
        self._sending = False
        self._more = asyncio.Event()
        self._answered = False
        self._beat_heard = 0.0
        self._tasks = Tasks()

    async def start(self) -> None:
        """Begin to listen and to publish; gives up waiting for Redis after a second, and goes on
        trying.
        """
        self._tasks.start("bus.listen", self._listen)
        self._tasks.start("bus.publish", self._publish)
        self._tasks.start("bus.beat", self._beat)
        self._tasks.start("bus.subscribe", self._subscribe)
        limit = time.monotonic() + CONFIRM_SECONDS
        while not self.good and time.monotonic() < limit:
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Send what waits (a quarter second at most), then end."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                while self._queue or self._sending:
                    await asyncio.sleep(0.005)
        except TimeoutError:
            pass
        await self._tasks.stop()
        await self._drop_connection()
        await self._client.aclose()

    @property
    def good(self) -> bool:
        """Whether this process hears its own beat: then it hears the others too."""
        return (
            self._connection is not None
            and self._answered
            and time.monotonic() - self._beat_heard < SILENCE_SECONDS
        )

    @property
    def trouble(self) -> str | None:
        return self._tasks.trouble()

    # Publishing

    def publish_all(self, messages: Iterable[str]) -> None:
        """Queue a change's events, as ``record`` gave them: ``channel seq type entity``, a line
        feed, the envelope.
        """
        for message in messages:
            channel, _, rest = message.partition(" ")
            self._put(channel, rest.encode())
            EVENTS_PUBLISHED.inc()

    def signal(self, channel: str, event: Event, payload: bytes, *, entity: str = "-") -> None:
        """Queue a signal; its payload is JSON."""
        envelope = b'{"type":"%s","payload":%s}' % (event.name.encode(), payload)
        self._put(channel, b"0 %s %s\n%s" % (event.name.encode(), entity.encode(), envelope))

    def hint(self, channel: str, word: str) -> None:
        """Queue a word for the processes alone; it never reaches a socket."""
        self._put(channel, b"0 %s -\n" % word.encode())

    def _put(self, channel: str, message: bytes) -> None:
        if len(self._queue) >= QUEUE_MESSAGES or self._queued_bytes >= QUEUE_BYTES:
            self._keep(channel, message)
            return
        self._queue.append((channel, message))
        self._queued_bytes += len(message)
        self._more.set()

    async def _publish(self) -> None:
        connection: Any = None
        connecting: asyncio.Task[Any] | None = None
        try:
            while True:
                await self._more.wait()
                batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                self._queued_bytes -= sum(len(message) for _, message in batch)
                if not self._queue:
                    self._more.clear()
                self._sending, told = True, 0
                try:
                    async with asyncio.timeout(CALL_SECONDS):
                        if connection is not None and _is_over(connection):
                            over, connection = connection, None
                            await over.disconnect(nowait=True)
                        if connection is None:
                            # Where it takes longer than these may wait, the next find it there.
                            if connecting is None or (connecting.done() and connecting.exception()):
                                connecting = asyncio.create_task(self._connect())
                            connection = await asyncio.shield(connecting)
                            connecting = None
                        await connection.send_packed_command(_packed(batch), check_health=False)
                        for _ in batch:
                            await connection.read_response()
                            told += 1
                except REDIS_AWAY as error:
                    log.warning(
                        "bus.publish_failed messages=%d error=%s",
                        len(batch) - told,
                        type(error).__name__,
                    )
                    for channel, message in batch[told:]:
                        self._keep(channel, message)
                    # Its answers would be taken for those of the next.
                    lost, connection = connection, None
                    if lost is not None:
                        await lost.disconnect(nowait=True)
                    await asyncio.sleep(0)
                finally:
                    self._sending = False
        finally:
            if connecting is not None and not connecting.cancel() and not connecting.exception():
                connection = connecting.result()
            if connection is not None:
                await connection.disconnect(nowait=True)

    def _keep(self, channel: str, message: bytes) -> None:
        """What Redis did not take goes to the own listener; but a beat is only heard when it
        really came round.
        """
        BUS_DROPPED.inc()
        if not channel.startswith("beat:"):
            self._hear(channel, message)

    async def _beat(self) -> None:
        while True:
            self._put("beat:" + self.process, b"0 beat -\n")
            REDIS_UP.set(1.0 if self.good else 0.0)
            if (
                self._connection is not None
                and time.monotonic() - self._beat_heard > SILENCE_SECONDS
            ):
                log.warning("bus.silent seconds=%.1f", time.monotonic() - self._beat_heard)
                await self._drop_connection()
            await asyncio.sleep(BEAT_SECONDS)

    # Listening

    async def subscribe(self, channel: str) -> bool:
        """Hear a channel from now on. True once Redis confirmed it (at most a second); False: it
        will be, later.
        """
        self._wanted.add(channel)
        if channel in self._confirmed:
            return True
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._confirming.setdefault(channel, []).append(waiting)
        self._asks.append(("SUBSCRIBE", channel))
        self._ask.set()
        try:
            async with asyncio.timeout(CONFIRM_SECONDS if self._connection is not None else 0):
                await waiting
        except TimeoutError:
            return False
        return True

    def unsubscribe(self, channel: str) -> None:
        """Stop hearing a channel, soon."""
        self._wanted.discard(channel)
        self._confirmed.discard(channel)
        self._asks.append(("UNSUBSCRIBE", channel))
        self._ask.set()

    def hears(self, channel: str) -> bool:
        """Whether the channel's messages reach this process now, as far as it can know."""
        return self.good and channel in self._confirmed

    async def _subscribe(self) -> None:
        """Sends subscriptions; those of one tick in one command."""
        while True:
            await self._ask.wait()
            self._ask.clear()
            asks, self._asks = self._asks, []
            connection = self._connection
            if connection is None:
                continue
            last = {channel: verb for verb, channel in asks}
            try:
                for verb in ("UNSUBSCRIBE", "SUBSCRIBE"):
                    channels = [
                        PREFIX + channel for channel, wanted in last.items() if wanted == verb
                    ]
                    for at in range(0, len(channels), 1000):
                        await connection.send_command(verb, *channels[at : at + 1000])
            except REDIS_AWAY:
                await self._drop_connection()

    async def _listen(self) -> None:
        pause = FIRST_PAUSE
        while True:
            self._answered = False
            try:
                await self._follow()
            except REDIS_AWAY as error:
                log.warning("bus.lost error=%s", type(error).__name__)
            if self._answered:
                pause = FIRST_PAUSE
            await self._drop_connection()
            # Spread, or all processes of all hosts would ask in the same moment.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(LAST_PAUSE, pause * 2)

    async def _follow(self) -> None:
        """One connection, from its beginning to its end."""
        connection = await self._connect()
        try:
            beat = "beat:" + self.process
            asked = {beat, *self._wanted}
            await connection.send_command("SUBSCRIBE", *(PREFIX + channel for channel in asked))
            self._connection = connection
            # A Redis that hangs takes connections and commands; it is good when it answers.
            self._answered = False
            self._beat_heard = time.monotonic()
            # What was wanted while the command was on its way had no connection to ask.
            self._asks = [("SUBSCRIBE", channel) for channel in self._wanted - asked]
            self._ask.set()
            missing = asked | self._wanted
            while True:
                kind, name, content = await connection.read_response()
                self._answered = True
                channel = name.decode().removeprefix(PREFIX)
                if kind == b"message":
                    self._hear(channel, content)
                    continue
                if kind == b"subscribe":
                    self._confirm(channel)
                if channel in missing:
                    missing.discard(channel)
                    if not missing:
                        self.on_doubt()
                        self.on_found()
        finally:
            if self._connection is connection:
                self._connection = None
                self.on_lost()
            await connection.disconnect(nowait=True)

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
            seq, kind, entity = head.decode().split(" ")
            number = int(seq)
        except ValueError:
            BUS_DROPPED.inc()
            log.warning("bus.garbage channel=%s bytes=%d", channel, len(message))
            return
        if kind == "beat":
            self._beat_heard = time.monotonic()
            return
        try:
            self.heard(channel, number, kind, entity, envelope)
        except Exception:
            log.exception("bus.message_failed channel=%s seq=%d type=%s", channel, number, kind)

    async def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        self._confirmed.clear()
        if connection is not None:
            self.on_lost()
            await connection.disconnect(nowait=True)
