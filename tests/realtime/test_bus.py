"""The bus: it makes delivery instant, says when it cannot, and never makes a change wait."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import hiredis
import pytest
import trustme

from tests import pace
from tests.conftest import Wait
from tests.journeys.proxy import Proxy
from tests.realtime.story import Grown
from warmdesk.embedded import Valkey
from warmdesk.metrics import DELIVERY_FAILED
from warmdesk.realtime import bus as bus_module
from warmdesk.realtime.bus import Bus, connect_redis
from warmdesk.realtime.events import CHAT_TYPING

Heard = list[tuple[str, int, str, str, bytes, str]]


@asynccontextmanager
async def bus_on(
    url: str,
    *,
    doubt: Callable[[], None] | None = None,
    found: Callable[[], None] | None = None,
    hear: Callable[..., None] | None = None,
) -> AsyncIterator[tuple[Bus, Heard]]:
    """A bus as one process has it, and what it hears; `hear` is told first."""
    bus = Bus(connect_redis(url, listening=True))
    heard: Heard = []
    if hear is not None:
        bus.heard.add(hear)
    bus.heard.add(lambda *message: heard.append(message))
    if doubt is not None:
        bus.on_doubt.add(doubt)
    if found is not None:
        bus.on_found.add(found)
    await bus.start()
    try:
        yield bus, heard
    finally:
        await bus.stop()


async def ordered(url: str, *words: str | bytes) -> Any:
    """What a Redis answers to one command."""
    async with connect_redis(url) as client:
        return await client.execute_command(*words)


@pytest.fixture
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey that this test may stop."""
    valkey = Valkey(Path(tmp_path_factory.mktemp("bus")))
    valkey.start()
    yield valkey
    valkey.stop()


async def test_what_one_process_says_all_hear_who_subscribed(
    redis_url: str, eventually: Wait
) -> None:
    async with bus_on(redis_url) as (one, mine), bus_on(redis_url) as (other, theirs):
        assert one.good
        assert await one.subscribe("project:1")
        assert await other.subscribe("project:1")
        assert one.hears("project:1")
        assert not one.hears("project:2")
        one.publish_all(
            [
                'project:1 18 board.card_moved card:7 0123456789ab\n{"seq":18}',
                "project:2 1 x -\n{}",
                'project:1 19 board.card_moved card:7\n{"seq":19}',
            ]
        )
        expected = [
            ("project:1", 18, "board.card_moved", "card:7", b'{"seq":18}', "0123456789ab"),
            ("project:1", 19, "board.card_moved", "card:7", b'{"seq":19}', ""),
        ]
        await eventually(lambda: mine == theirs == expected)


async def test_a_confirmed_subscription_hears_everything_said_after(
    redis_url: str, eventually: Wait
) -> None:
    async with bus_on(redis_url) as (one, _), bus_on(redis_url) as (other, theirs):
        for number in range(50):
            channel = f"project:{number}"
            assert await other.subscribe(channel)
            one.publish_all([f"{channel} {number + 1} told -\n{{}}"])
        await eventually(lambda: len(theirs) == 50)


async def test_signals_and_hints_carry_no_seq(redis_url: str, eventually: Wait) -> None:
    async with bus_on(redis_url) as (bus, heard):
        await bus.subscribe("project:1")
        bus.signal("project:1", CHAT_TYPING, b'{"user_id":7}', entity="user:7")
        bus.hint("project:1", "presence.look")
        await eventually(lambda: len(heard) == 2)
        assert heard == [
            (
                "project:1",
                0,
                "chat.typing",
                "user:7",
                b'{"type":"chat.typing","payload":{"user_id":7}}',
                "",
            ),
            ("project:1", 0, "presence.look", "-", b"", ""),
        ]


async def test_after_unsubscribing_nothing_is_heard(redis_url: str, eventually: Wait) -> None:
    async with bus_on(redis_url) as (bus, heard):
        for _ in range(5):
            assert await bus.subscribe("project:1")
            bus.unsubscribe("project:1")
        assert await bus.subscribe("project:2")
        bus.publish_all(["project:1 1 told -\n{}", "project:2 1 told -\n{}"])
        await eventually(lambda: heard)
        assert [message[0] for message in heard] == ["project:2"]


@pytest.mark.parametrize(
    "garbage", [b"", b"\xff\xfe\n{}", b"x y z\n{}", b"1 two\n{}", b"1 2 3 4 5\n", b"\n\n\n"]
)
async def test_garbage_is_passed_over(redis_url: str, garbage: bytes, eventually: Wait) -> None:
    async with bus_on(redis_url) as (bus, heard):
        await bus.subscribe("project:1")
        await ordered(redis_url, "PUBLISH", "warmdesk:project:1", garbage)
        bus.publish_all(["project:1 1 told -\n{}"])
        await eventually(lambda: heard)
        assert [message[1] for message in heard] == [1]
        assert bus.good


async def test_a_listener_that_fails_does_not_end_the_listening(
    redis_url: str, eventually: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*message: object) -> None:
        if message[1] == 1:
            raise RuntimeError("a bug")

    doubts: list[int] = []
    async with bus_on(redis_url, hear=fails, doubt=lambda: doubts.append(1)) as (bus, heard):
        failed = Grown(DELIVERY_FAILED)
        await bus.subscribe("project:1")
        doubts.clear()
        bus.publish_all(["project:1 1 told -\n{}", "project:1 2 told -\n{}"])
        await eventually(lambda: len(heard) == 2)
        assert "bus.message_failed" in caplog.text
        assert (len(doubts), failed()) == (1, 1), "what was heard of it is in doubt"


async def test_what_is_beyond_the_queue_goes_to_the_own_listener(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, eventually: Wait
) -> None:
    monkeypatch.setattr(bus_module, "QUEUE_MESSAGES", 10)
    async with bus_on(redis_url) as (bus, mine), bus_on(redis_url) as (other, theirs):
        await bus.subscribe("project:1")
        await other.subscribe("project:1")
        bus.publish_all([f"project:1 {seq} told -\n{{}}" for seq in range(1, 31)])
        assert len(mine) >= 19, "the own listener gets at once what has no place"
        await eventually(lambda: len(mine) == 30)
        await eventually(lambda: len(theirs) == 30 - 20 or len(theirs) == 30 - 21)
        assert sorted(message[1] for message in mine) == list(range(1, 31))


async def test_the_queue_is_bounded_by_bytes_too(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "QUEUE_BYTES", 1000)
    async with bus_on(redis_url) as (bus, mine):
        bus.publish_all(f"project:1 {seq} told -\n{'x' * 600}" for seq in range(1, 11))
        assert len(mine) >= 7
        assert bus._waiting_bytes <= 2000


async def test_without_redis_the_own_listener_hears_and_it_says_it_is_not_good(
    tmp_path: Path, eventually: Wait
) -> None:
    began = time.monotonic()
    async with bus_on(f"unix://{tmp_path}/nobody.sock") as (bus, heard):
        assert time.monotonic() - began < pace.here(2)
        assert not bus.good
        assert not await bus.subscribe("project:1")
        bus.publish_all(["project:1 1 told -\n{}"])
        await eventually(lambda: heard, limit=1)
        assert not bus.hears("project:1")


async def test_who_gave_up_waiting_for_redis_is_forgotten(
    own_valkey: Valkey, eventually: Wait
) -> None:
    async with bus_on(own_valkey.url) as (bus, _):
        async with stopped(own_valkey):
            patient, cancelled = (asyncio.create_task(bus.subscribe("project:1")) for _ in "ab")
            await eventually(lambda: len(bus._confirming.get("project:1", ())) == 2)
            cancelled.cancel()
            assert not await patient
            assert not bus._confirming
        await eventually(lambda: bus.hears("project:1"))
        await asyncio.to_thread(own_valkey.stop)
        await eventually(lambda: bus._listening is None)
        assert not await bus.subscribe("project:2")
        assert not bus._confirming


async def test_a_redis_that_is_gone_is_noticed_and_all_is_heard_again_when_it_is_back(
    own_valkey: Valkey, eventually: Wait
) -> None:
    channels = [f"project:{number}" for number in range(300)]
    ready: list[bool] = []

    running: list[Bus] = []

    def doubted() -> None:
        ready.append(all(each.hears(channel) for each in running for channel in channels))

    async with bus_on(own_valkey.url, doubt=doubted) as (bus, heard):
        running.append(bus)
        await asyncio.gather(*(bus.subscribe(channel) for channel in channels))
        assert all(bus.hears(channel) for channel in channels)
        ready.clear()
        await asyncio.to_thread(own_valkey.stop)
        await eventually(lambda: not bus.good, limit=3.5)
        assert not any(bus.hears(channel) for channel in channels)
        bus.unsubscribe(channels.pop())
        assert not await bus.subscribe("project:late")
        channels.append("project:late")
        # Valkey may only be started from the main thread; this is it, and blocks the loop.
        own_valkey.start()
        await eventually(lambda: bus.good and all(map(bus.hears, channels)), limit=5)
        await eventually(lambda: ready)
        assert ready == [True], "doubt comes once, when everything is confirmed"
        heard.clear()
        bus.publish_all(["project:late 1 told -\n{}"])
        await eventually(lambda: heard)
        assert bus.trouble is None


async def test_what_is_said_after_redis_ended_the_connection_is_heard_by_all(
    own_valkey: Valkey, eventually: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    url = own_valkey.url
    async with bus_on(url) as (one, mine), bus_on(url) as (other, theirs):
        assert await one.subscribe("project:1")
        assert await other.subscribe("project:1")
        for seq in (1, 2):
            # Their own subscriptions stay.
            await ordered(url, "CLIENT", "KILL", "TYPE", "normal")
            await asyncio.sleep(0.1)
            one.publish_all([f"project:1 {seq} told -\n{{}}"])
            await eventually(lambda seq=seq: mine == theirs and len(theirs) == seq)
        beat = one._beat_heard
        await eventually(lambda: one._beat_heard > beat)
        assert "bus.publish" not in caplog.text


async def test_a_redis_that_takes_no_message_is_lost_for_the_reason_it_says(
    own_valkey: Valkey, eventually: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    async with bus_on(own_valkey.url) as (bus, _):
        await ordered(own_valkey.url, "ACL", "SETUSER", "default", "-publish")
        await eventually(lambda: bus.outage.lasts, limit=10)
        assert "redis.lost " in caplog.text
        assert "no permissions to run the 'publish' command" in caplog.text
        await ordered(own_valkey.url, "ACL", "SETUSER", "default", "+publish")
        await eventually(lambda: not bus.outage.lasts, limit=10)


async def test_of_a_batch_that_was_told_in_part_only_the_rest_is_told_here(
    own_valkey: Valkey, eventually: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    """A Redis that allows all channels but one answers to the message before it."""
    async with bus_on(own_valkey.url) as (bus, heard):
        assert await bus.subscribe("project:1")
        allowed = ["resetchannels", "&warmdesk:project:1", "&warmdesk:beat:*"]
        await ordered(own_valkey.url, "ACL", "SETUSER", "default", *allowed)
        bus.publish_all(["project:1 1 told -\n{}", "project:2 1 told -\n{}"])
        await eventually(lambda: len(heard) == 2)
        bus.publish_all(["project:1 2 told -\n{}"])
        await eventually(lambda: heard[-1][:2] == ("project:1", 2))

        assert sorted(message[:2] for message in heard) == [
            ("project:1", 1),
            ("project:1", 2),
            ("project:2", 1),
        ]
        await eventually(lambda: 'of="bus.publish" times=1 ' in caplog.text)


async def test_who_publishes_does_not_stay_with_a_redis_that_nobody_listens_to(
    own_valkey: Valkey, redis_url: str, eventually: Wait, tmp_path: Path
) -> None:
    """After a failover the old one still answers: every message has gone to nobody at all."""
    old, new = (url.removeprefix("unix://") for url in (own_valkey.url, redis_url))
    found: list[float] = []
    async with (
        Proxy(old, str(tmp_path / "redis")) as network,
        bus_on(f"unix://{network.listen}", found=lambda: found.append(time.monotonic())) as (
            bus,
            heard,
        ),
        bus_on(redis_url) as (other, theirs),
    ):
        assert await bus.subscribe("project:1")
        assert await other.subscribe("project:1")
        bus.publish_all(["project:1 1 told -\n{}"])
        await eventually(lambda: [message[1] for message in heard] == [1])
        publishing = bus._publishing
        found.clear()
        network.fail_over(new)
        moved = time.monotonic()
        await eventually(lambda: found)
        bus.publish_all(["project:1 2 told -\n{}"])
        limit = bus_module.SILENCE_SECONDS + 2 * bus_module.BEAT_SECONDS + 3
        await eventually(lambda: bus._publishing is not publishing, limit=limit)
        await eventually(lambda: bus.hears("project:1"), limit=limit)
        print(f"both at the new one after {time.monotonic() - moved:.1f} s")
        bus.publish_all(["project:1 3 told -\n{}"])
        await eventually(lambda: heard and theirs and heard[-1][1] == theirs[-1][1] == 3)
        await asyncio.sleep(bus_module.SILENCE_SECONDS + 2 * bus_module.BEAT_SECONDS)
        assert bus.hears("project:1"), "and there it stays"
        assert len(found) == 2, (
            "it listened anew once, because it could not know which one was lost"
        )


async def test_a_redis_that_is_slow_to_connect_to_is_published_to_all_the_same(
    own_valkey: Valkey, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sentinels are asked first, the network is wide, or this process has much to do."""
    connect = Bus._connect

    async def slowly(bus: Bus) -> object:
        await asyncio.sleep(0.4)
        return await connect(bus)

    monkeypatch.setattr(Bus, "_connect", slowly)
    url = own_valkey.url
    async with bus_on(url) as (one, _), bus_on(url) as (other, theirs):
        assert await other.subscribe("project:1")
        await eventually(lambda: one.good and other.good)
        one.publish_all(["project:1 1 told -\n{}"])
        await eventually(lambda: theirs)


async def test_a_redis_that_hangs_delays_no_change_and_is_noticed(
    own_valkey: Valkey, eventually: Wait
) -> None:
    ready: list[float] = []
    async with AsyncExitStack() as stack:
        opening = bus_on(own_valkey.url, doubt=lambda: ready.append(time.monotonic()))
        bus, heard = await stack.enter_async_context(opening)
        await bus.subscribe("project:1")
        ready.clear()
        os.kill(own_valkey.pid, signal.SIGSTOP)
        try:
            began = time.process_time()
            for seq in range(1, 101):
                bus.publish_all([f"project:1 {seq} told -\n{{}}"])
            assert time.process_time() - began < 0.05
            await eventually(lambda: len(heard) == 100, limit=2)
            assert [message[1] for message in heard] == list(range(1, 101))
            await eventually(lambda: not bus.good, limit=4)
            # New connections are taken by the kernel; that does not make it good.
            for _ in range(20):
                await asyncio.sleep(0.1)
                assert not bus.good
        finally:
            os.kill(own_valkey.pid, signal.SIGCONT)
        await eventually(lambda: bus.good and bus.hears("project:1"), limit=5)
        assert ready


@asynccontextmanager
async def stopped(valkey: Valkey) -> AsyncIterator[None]:
    """It takes bytes, as the kernel does for it, and does nothing with them."""
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(valkey.pid, signal.SIGCONT)


@pytest.mark.parametrize(("bound", "most"), [("QUEUE_BYTES", 2 << 20), ("QUEUE_MESSAGES", 500)])
async def test_more_than_the_kernel_takes_waits_in_order_and_within_its_bound(
    bound: str, most: int, own_valkey: Valkey, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "CALL_SECONDS", 5.0)
    # Nothing else is said that could set it going again.
    monkeypatch.setattr(bus_module, "BEAT_SECONDS", 60.0)
    monkeypatch.setattr(bus_module, bound, most)
    url, size = own_valkey.url, 4096
    async with bus_on(url) as (one, mine), bus_on(url) as (other, theirs):
        assert await one.subscribe("project:1")
        assert await other.subscribe("project:1")
        told = [f"project:1 {seq} told -\n{'x' * size}" for seq in range(1, 1001)]
        async with stopped(own_valkey):
            for at in range(0, len(told), 10):
                one.publish_all(told[at : at + 10])
                await asyncio.sleep(0)
            link = one._publishing
            assert link is not None
            assert link.full
            beyond = len(mine)
            assert 400 < 1000 - beyond <= (most if most < 1000 else most // size) + 1
            assert link._transport.get_write_buffer_size() < 1 << 20

        await eventually(lambda: len(theirs) == 1000 - beyond)
        await eventually(lambda: len(mine) == 1000)
        assert [seq for _, seq, *_ in theirs] == list(range(1, 1001 - beyond))
        assert sorted(seq for _, seq, *_ in mine) == list(range(1, 1001))
        assert one._waiting_bytes == 0


async def test_what_a_dying_redis_did_not_take_is_told_here_at_once(
    own_valkey: Valkey, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "CALL_SECONDS", 60.0)
    async with bus_on(own_valkey.url) as (bus, heard):
        assert await bus.subscribe("project:1")
        bus.publish_all(["project:1 1 told -\n{}"])
        await eventually(lambda: heard)
        os.kill(own_valkey.pid, signal.SIGSTOP)
        for seq in range(2, 12):
            bus.publish_all([f"project:1 {seq} told -\n{{}}"])
            await asyncio.sleep(0)
        os.kill(own_valkey.pid, signal.SIGKILL)

        await eventually(lambda: len(heard) == 11)
        assert [seq for _, seq, *_ in heard] == list(range(1, 12))
        assert bus._waiting_bytes == 0
        assert bus._patience is None


async def slow_redis(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers at once, but to each PUBLISH 0.8 seconds after it came."""
    loop, commands = asyncio.get_running_loop(), hiredis.Reader()
    while data := await reader.read(1 << 16):
        commands.feed(data)
        while words := commands.gets():
            if words[0] == b"PUBLISH":
                loop.call_later(0.8, writer.write, b":1\r\n")
            elif words[0] == b"SUBSCRIBE":
                for word in words[1:]:
                    writer.write(
                        b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n" % (len(word), word)
                    )
            else:
                writer.write(b"+OK\r\n")
    writer.close()


async def test_who_answers_in_time_is_waited_for_however_much_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "CALL_SECONDS", 1.4)
    path = str(tmp_path / "slow.sock")
    async with (
        await asyncio.start_unix_server(slow_redis, path),
        bus_on(f"unix://{path}") as (bus, heard),
    ):
        assert await bus.subscribe("project:1")
        for seq in range(1, 13):
            bus.publish_all([f"project:1 {seq} told -\n{{}}"])
            await asyncio.sleep(0.2)
            assert bus._unanswered, "it never has everything answered"

        assert not heard, "what is told here was not published"


async def test_stopping_sends_what_waits(redis_url: str, eventually: Wait) -> None:
    async with bus_on(redis_url) as (other, theirs):
        await other.subscribe("project:1")
        async with bus_on(redis_url) as (bus, _):
            bus.publish_all([f"project:1 {seq} told -\n{{}}" for seq in range(1, 2001)])
        await eventually(lambda: len(theirs) == 2000)


@pytest.mark.parametrize(
    ("url", "places", "user", "password"),
    [
        ("h1:5,10.0.0.2/main", [("h1", 5), ("10.0.0.2", 26379)], "default", None),
        (":se%40cret@[::1]:26380,h2/main", [("::1", 26380), ("h2", 26379)], "default", "se@cret"),
        ("desk:secret@10.0.0.1/main", [("10.0.0.1", 26379)], "desk", "secret"),
    ],
)
async def test_sentinels_are_asked_for_the_primary(
    url: str, places: list[tuple[str, int]], user: str, password: str | None
) -> None:
    redis = connect_redis(f"sentinel://{url}")
    options = redis.connection_pool.connection_kwargs
    assert options["sentinels"].addresses == places
    assert options["sentinels"].name == "main"
    assert options.get("password") == password
    assert options.get("username", "default") == user
    await redis.aclose()


async def test_redis_is_heard_through_tls_and_its_certificate_is_checked(
    redis_url: str, tmp_path: Path, eventually: Wait
) -> None:
    """As the embedded Valkey speaks no TLS, a proxy in front of it does."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        above, below = await asyncio.open_unix_connection(redis_url.removeprefix("unix://"))
        tasks.update(asyncio.create_task(pump(*way)) for way in ((reader, below), (above, writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"rediss://localhost:{server.sockets[0].getsockname()[1]}"
    try:
        async with bus_on(f"{url}?ssl_ca_certs={tmp_path}/ca.pem") as (bus, heard):
            assert bus.good
            assert await bus.subscribe("project:1")
            bus.publish_all(["project:1 1 told -\n{}"])
            await eventually(lambda: heard)
        async with bus_on(url) as (bus, _):
            assert not bus.good, "nobody vouches for this certificate"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
