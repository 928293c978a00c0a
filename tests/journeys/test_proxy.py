"""The bad network itself: it must be bad in the way it says, and only there."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st

from tests.journeys.proxy import Messages, Proxy, Weather, garbage_like

MESSAGES = [
    b"+OK\r\n",
    b"-ERR no\r\n",
    b":17\r\n",
    b"$5\r\nhello\r\n",
    b"$-1\r\n",
    b"$0\r\n\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*2\r\n$3\r\na\r\n\r\n:1\r\n",
    b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\n\r\n\r\n\r\n",
    b"%2\r\n+a\r\n:1\r\n+b\r\n*2\r\n:1\r\n:2\r\n",
    b"~1\r\n#t\r\n",
    b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n",
    b"_\r\n",
    b",3.14\r\n",
    b"=7\r\ntxt:abc\r\n",
    b"|1\r\n+ttl\r\n:3600\r\n$2\r\nhi\r\n",
    b"!5\r\nERR x\r\n",
]


@given(st.lists(st.sampled_from(MESSAGES), max_size=12), st.lists(st.integers(1, 9), min_size=1))
def test_a_stream_is_cut_between_messages_however_it_comes(
    sent: list[bytes], sizes: list[int]
) -> None:
    stream, messages, found, at = b"".join(sent), Messages(), list[bytes](), 0
    while stream:
        size = sizes[at % len(sizes)]
        found += messages.feed(stream[:size])
        stream, at = stream[size:], at + 1
    assert found == sent


@pytest.mark.parametrize("protocol", [2, 3])
async def test_answers_pass_and_published_messages_meet_the_weather(
    servers: Any, tmp_path: Path, protocol: int
) -> None:
    upstream = servers.valkey.url.removeprefix("unix://")
    weather = Weather(drop=0.3, double=0.2)
    async with Proxy(upstream, "127.0.0.1:0", weather=weather, seed=3) as proxy:
        through = redis.asyncio.from_url(f"redis://{proxy.listen}", protocol=protocol)
        straight = redis.asyncio.from_url(servers.valkey.url)
        for number in range(100):
            assert await through.incr(f"count-{protocol}") == number + 1
        listener = through.pubsub()
        await listener.subscribe("news")
        await listener.get_message(timeout=1)
        for number in range(200):
            await straight.publish("news", str(number))

        heard = []
        while (message := await listener.get_message(timeout=0.3)) is not None:
            heard.append(int(message["data"]))
        assert heard == sorted(heard)
        assert len(heard) == 200 - proxy.counts.dropped + proxy.counts.doubled
        assert 30 < proxy.counts.dropped < 90
        await listener.aclose()  # type: ignore[no-untyped-call]
        await through.aclose()
        await straight.aclose()


async def test_a_frozen_network_says_nothing_and_a_cut_one_resets(servers: Any) -> None:
    upstream = servers.valkey.url.removeprefix("unix://")
    async with Proxy(upstream, "127.0.0.1:0", bytes_only=True) as proxy:
        host, _, port = proxy.listen.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"PING\r\n")
        assert await reader.readline() == b"+PONG\r\n"

        proxy.freeze()
        writer.write(b"PING\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.2)
        proxy.thaw()
        assert await reader.readline() == b"+PONG\r\n"

        proxy.cut()
        with suppress(ConnectionResetError):
            assert await reader.readline() == b""
        writer.close()


def test_invented_messages_are_whole_messages() -> None:
    original = MESSAGES[12]
    for seed in range(20):
        invented = garbage_like(original, random.Random(seed))
        assert Messages().feed(invented) == [invented]
