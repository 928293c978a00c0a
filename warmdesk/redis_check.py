"""Redis as it is before the workers start: one that refuses us is told in a sentence, as the same
fault will be there tomorrow; one that is away is gone without.

What refuses does not always say why: a TLS port hangs up on who speaks plainly, and a plain port
waits for the end of a handshake's line. So when there is no answer the other way of speaking is
tried too, once, with nothing secret in it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import SplitResult, urlsplit

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    InvalidResponse,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from warmdesk.outages import reason_of
from warmdesk.realtime.bus import REDIS_AWAY, REDIS_PORT, connect_redis

ANSWER_SECONDS = 2.0
OTHER_WAY_SECONDS = 1.0

REFUSALS = (AuthenticationError, AuthorizationError, ResponseError)
PASSING = (ClusterDownError, OutOfMemoryError, ReadOnlyError, TryAgainError)
PASSING_WORDS = ("MISCONF ", "BUSY ")
"""Redis refuses commands now; later it may not: it could not write its file, which it says to each
ping, or a script takes long. redis-py has no error of its own for these two.
"""


class RedisRefused(Exception):
    """Redis is there and will not have us, or the URL cannot be; the message says why."""


@asynccontextmanager
async def checking(url: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """`check` for a URL, to be called again and again: what it finds lost is told once. Raises
    `RedisRefused`.
    """
    try:
        client = connect_redis(url)
        client.connection_pool.make_connection()
    except (RedisError, TypeError, ValueError):
        # Its text would show parts of the URL.
        raise RedisRefused("its URL has something that cannot be, perhaps a parameter") from None
    try:
        yield partial(check, client, url)
    finally:
        await client.aclose()


async def check(client: Any, url: str) -> None:
    """Say hello to Redis once. Raises `RedisRefused`, or one of `REDIS_AWAY` when it is away."""
    connection = client.connection_pool.make_connection()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await connection.connect()
            await connection.send_command("PING", check_health=False)
            await connection.read_response()
    except REDIS_AWAY as error:
        reason = await _refusal(error, urlsplit(url))
        if reason is not None:
            raise RedisRefused(reason) from None
        raise
    finally:
        await connection.disconnect(nowait=True)


async def _refusal(error: BaseException, url: SplitResult) -> str | None:
    """Why it will not have us; None when it is only away."""
    for said in (error, error.__cause__):  # what a sentinel said is a cause
        if isinstance(said, REFUSALS) and not _passes(said):
            return f"Redis refuses: {reason_of(said)}"
    secure = url.scheme == "rediss"
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted: {cause.verify_message}; name the authority that"
                " signed it with ?ssl_ca_certs=FILE"
            )
        if secure and isinstance(cause, FileNotFoundError):
            return "a file that its URL names is not there"
    if secure and await _speaks_plainly(url):
        return "no TLS is spoken there; write redis:// or name the port for TLS"
    if url.scheme == "redis" and await _speaks_tls(url):
        return "TLS is spoken there; write rediss://"
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return f"TLS fails: {cause.reason or cause}"
        if isinstance(cause, InvalidResponse):
            return "what answers there is no Redis"
    return None


def _passes(said: BaseException) -> bool:
    return isinstance(said, PASSING) or str(said).startswith(PASSING_WORDS)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


async def _speaks_plainly(url: SplitResult) -> bool:
    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"PING\r\n")
        return (await reader.read(1)) in (b"+", b"-")

    return await _other_way(url, ask)


async def _speaks_tls(url: SplitResult) -> bool:
    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        await writer.start_tls(context)
        return True

    return await _other_way(url, ask)


async def _other_way(url: SplitResult, ask: Any) -> bool:
    writer: asyncio.StreamWriter | None = None
    with suppress(OSError, TimeoutError):
        try:
            async with asyncio.timeout(OTHER_WAY_SECONDS):
                host, port = url.hostname or "localhost", url.port or REDIS_PORT
                reader, writer = await asyncio.open_connection(host, port)
                return bool(await ask(reader, writer))
        finally:
            if writer is not None:
                writer.transport.abort()
    return False
