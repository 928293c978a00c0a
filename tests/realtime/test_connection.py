"""One socket, byte by byte: what RFC 6455 demands of a server, floods, slow readers, errors."""

from __future__ import annotations

import asyncio
import logging
import random
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import pace
from tests.realtime.raw import (
    all_frames,
    both_loops,
    closing,
    fill,
    masked,
    peer,
    serving,
    settled,
    until,
)
from warmdesk.realtime import connection as module
from warmdesk.realtime.connection import BUFFER_LIMIT, CLOSE_SECONDS, Connection
from warmdesk.realtime.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MESSAGE_LIMIT,
    PING,
    PONG,
    TEXT,
    close_frame,
    frame,
)


class Wire(asyncio.Transport):
    """A transport in memory: what was written stays in `out`."""

    def __init__(self) -> None:
        super().__init__()
        self.out = b""
        self.size = 0
        self.eof = self.closed = self.aborted = False
        self.reading = True

    def write(self, data: Any) -> None:
        assert not self.eof, "nothing may be written after the end"
        self.out += data

    def get_write_buffer_size(self) -> int:
        return self.size

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (BUFFER_LIMIT, 0)

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Heard:
    """A connection on a wire, and what its door heard."""

    def __init__(self, *, limits: bool = False) -> None:
        self.texts: list[bytes] = []
        self.refusals: list[str] = []
        self.ends: list[int] = []
        self.wire = Wire()
        self.connection = Connection(
            received=lambda connection, text: self.texts.append(text),
            refused=lambda connection, kind, text: self.refusals.append(kind),
            closed=lambda connection, code: self.ends.append(code),
            limits=limits,
        )
        self.connection.connection_made(self.wire)

    def hear(self, *chunks: bytes) -> Heard:
        for chunk in chunks:
            if not self.wire.closed:
                self.connection.data_received(chunk)
        return self

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        return all_frames(self.wire.out)

    @property
    def code(self) -> int | None:
        """The code of the Close frame that was written; it is the last frame."""
        *others, (opcode, payload) = self.frames or [(TEXT, b"")]
        assert all(kind != CLOSE for kind, _ in others)
        return int.from_bytes(payload[:2], "big") if opcode == CLOSE else None


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.WARNING)
    yield
    assert [record.getMessage() for record in caplog.get_records("call")] == []


# What is understood.

EURO = "€".encode()


@pytest.mark.parametrize(
    ("sent", "texts", "answers"),
    [
        (masked("hello"), [b"hello"], []),
        (masked(""), [b""], []),
        (masked("hello", mask=b"\0\0\0\0"), [b"hello"], []),
        (masked("x" * 125), [b"x" * 125], []),
        (masked("x" * 126), [b"x" * 126], []),
        (masked("x" * 65_535), [b"x" * 65_535], []),
        (masked("x" * 65_536), [b"x" * 65_536], []),
        (masked("κόσμε"), ["κόσμε".encode()], []),
        (masked("\U0010ffff"), ["\U0010ffff".encode()], []),
        (masked("a") + masked("b") + masked("c"), [b"a", b"b", b"c"], []),
        (masked("", PING), [], [(PONG, b"")]),
        (masked(b"\x00\xff", PING), [], [(PONG, b"\x00\xff")]),
        (masked("x" * 125, PING), [], [(PONG, b"x" * 125)]),
        (masked("1", PING) + masked("2", PING), [], [(PONG, b"1"), (PONG, b"2")]),
        (masked("unasked", PONG) + masked("a"), [b"a"], []),
        (masked("he", final=False) + masked("llo", CONTINUATION), [b"hello"], []),
        (
            masked("he", final=False)
            + masked("l", CONTINUATION, final=False)
            + masked("lo", CONTINUATION)
            + masked("next"),
            [b"hello", b"next"],
            [],
        ),
        (
            masked("he", final=False) + masked("in between", PING) + masked("llo", CONTINUATION),
            [b"hello"],
            [(PONG, b"in between")],
        ),
        (masked(EURO[:1], final=False) + masked(EURO[1:], CONTINUATION), [EURO], []),
        (masked("", final=False) + masked("", CONTINUATION), [b""], []),
        (
            masked("", final=False) + masked("", CONTINUATION, final=False) + masked("a", 0),
            [b"a"],
            [],
        ),
        (
            masked("x" * 65_000, final=False) + masked("x" * 536, CONTINUATION),
            [b"x" * MESSAGE_LIMIT],
            [],
        ),
    ],
)
def test_a_frame_is_understood(
    sent: bytes, texts: list[bytes], answers: list[tuple[int, bytes]]
) -> None:
    heard = Heard().hear(sent)

    assert heard.texts == texts
    assert heard.frames == answers
    assert not heard.wire.closed


# What is not.

HALF = masked("half", final=False)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        # Bits and kinds that nobody agreed on.
        (masked("a", rsv=0x40), 1002),
        (masked("a", rsv=0x20), 1002),
        (masked("a", rsv=0x10), 1002),
        (masked("a", PING, rsv=0x40), 1002),
        (masked("a", CLOSE, rsv=0x40), 1002),
        *((masked("a", opcode), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        # Not masked.
        (frame(b"a"), 1002),
        (frame(b"", PING), 1002),
        (close_frame(1000), 1002),
        # Control frames: short and whole.
        (masked("x" * 126, PING), 1002),
        (masked("x" * 126, PONG), 1002),
        (masked("x" * 126, CLOSE), 1002),
        (masked("a", PING, form=16), 1002),
        (masked("a", PING, final=False), 1002),
        (masked("a", PONG, final=False), 1002),
        (masked(b"\x03\xe8", CLOSE, final=False), 1002),
        # Fragments out of order.
        (masked("a", CONTINUATION), 1002),
        (masked("a", CONTINUATION, final=False), 1002),
        (HALF + masked("a"), 1002),
        (HALF + masked("a", final=False), 1002),
        (HALF + masked("a", CONTINUATION) + masked("b", CONTINUATION), 1002),
        # Lengths.
        (masked("a", form=16), 1002),
        (masked("x" * 125, form=16), 1002),
        (masked("a", form=64), 1002),
        (masked("x" * 65_535, form=64), 1002),
        (masked("", form=64, size=1 << 63), 1002),
        (masked("", form=64, size=(1 << 64) - 1), 1002),
        # Binary.
        (masked("a", BINARY), 1003),
        (masked("a", BINARY, final=False), 1003),
        (HALF + masked("a", BINARY), 1003),
        # Too long: said before it is all here.
        (masked("", size=65_537), 1009),
        (masked("", size=(1 << 63) - 1), 1009),
        (masked("x" * 65_536, final=False) + masked("x", CONTINUATION), 1009),
        (masked("x" * 40_000, final=False) + masked("", CONTINUATION, size=40_000), 1009),
        # Not UTF-8.
        (masked(b"\xff"), 1007),
        (masked(b"\xc3"), 1007),
        (masked(b"\xc0\xaf"), 1007),
        (masked(b"\xed\xa0\x80"), 1007),
        (masked(b"\xf4\x90\x80\x80"), 1007),
        (masked("κόσμε".encode() + b"\xed\xa0\x80edited"), 1007),
        (masked(EURO[:2], final=False) + masked("x", CONTINUATION), 1007),
        (masked(EURO[:2], final=False) + masked("", CONTINUATION), 1007),
        # Close frames that are none.
        (masked(b"\x03", CLOSE), 1002),
        (closing(1000, b"\xff"), 1007),
        (closing(1000, b"x" * 122 + b"\xc3"), 1007),
        *(
            (closing(code), 1002)
            for code in (0, 1, 999, 1004, 1005, 1006, 1012, 1013, 1014, 1015, 1016, 1100, 2000)
        ),
        *((closing(code), 1002) for code in (2999, 5000, 65_535)),
    ],
)
def test_what_breaks_the_protocol_is_refused_and_the_rest_is_not_read(
    sent: bytes, code: int
) -> None:
    heard = Heard().hear(sent, masked("after"), masked("after", PING), closing(1000))

    assert heard.code == code
    assert heard.frames[-1][0] == CLOSE
    assert len(heard.frames) == 1
    assert b"after" not in heard.texts
    assert heard.wire.eof
    assert not heard.wire.closed, "what it says is not believed, not even its Close"
    assert heard.connection.closing == code


def test_only_the_frames_before_the_fault_are_taken() -> None:
    heard = Heard().hear(masked("a") + masked("b", PING) + masked("c", BINARY) + masked("d"))

    assert heard.texts == [b"a"]
    assert heard.frames == [(PONG, b"b"), (CLOSE, b"\x03\xebonly text is understood")]


# Goodbye.


@pytest.mark.parametrize(
    ("sent", "answer", "code"),
    [
        (closing(None), b"", 1005),
        (closing(1000), b"\x03\xe8", 1000),
        (closing(1001, b"going away"), b"\x03\xe9", 1001),
        (closing(1000, "grüß".encode()), b"\x03\xe8", 1000),
        (closing(1000, b"x" * 123), b"\x03\xe8", 1000),
        *(
            (closing(code), struct.pack("!H", code), code)
            for code in (1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
        ),
    ],
)
def test_a_close_is_answered_with_its_code_and_the_socket_ends(
    sent: bytes, answer: bytes, code: int
) -> None:
    heard = Heard().hear(masked("a") + sent + masked("after") + masked("after", PING))

    assert heard.texts == [b"a"]
    assert heard.frames == [(CLOSE, answer)]
    assert heard.wire.closed
    heard.connection.connection_lost(None)
    assert heard.ends == [code]


def test_a_close_between_fragments_counts() -> None:
    heard = Heard().hear(HALF + closing(1000) + masked("way", CONTINUATION))

    assert (heard.texts, heard.frames) == ([], [(CLOSE, b"\x03\xe8")])


def test_after_our_close_nothing_is_written_and_only_the_answer_counts() -> None:
    heard = Heard()
    heard.connection.close(4401, "token expired")
    heard.connection.close(1011, "once is enough")
    heard.connection.send_text(b"late")
    heard.connection.write(frame(b"late"))
    heard.connection.ping()
    heard.hear(masked("late"), masked("late", PING), masked("la", final=False))

    assert heard.frames == [(CLOSE, b"\x11\x31token expired")]
    assert heard.texts == []
    assert not heard.wire.closed

    heard.hear(closing(1000))

    assert heard.wire.closed
    assert heard.frames == [(CLOSE, b"\x11\x31token expired")]
    heard.connection.connection_lost(None)
    assert heard.ends == [4401]


def test_a_peer_that_does_not_answer_our_close_is_closed_after_two_seconds(clock: Clock) -> None:
    heard = Heard()
    heard.connection.close(1001)
    heard.connection.tick(clock.now + CLOSE_SECONDS - 0.1)
    assert not heard.wire.closed

    heard.connection.tick(clock.now + CLOSE_SECONDS)

    assert heard.wire.closed
    heard.connection.tick(clock.now + 2 * CLOSE_SECONDS - 0.1)
    assert not heard.wire.aborted
    heard.connection.tick(clock.now + 2 * CLOSE_SECONDS)
    assert heard.wire.aborted


def test_what_a_peer_does_not_take_in_two_seconds_is_thrown_away(clock: Clock) -> None:
    heard = Heard()
    heard.wire.size = 100
    heard.connection.close(1001)

    heard.connection.tick(clock.now + CLOSE_SECONDS)

    assert heard.wire.aborted


def test_a_transport_that_does_not_end_by_itself_is_ended(clock: Clock) -> None:
    heard = Heard().hear(closing(1000))
    heard.connection.tick(clock.now + CLOSE_SECONDS)
    assert heard.wire.aborted

    half_closed = Heard()
    half_closed.connection.eof_received()
    half_closed.connection.tick(clock.now + CLOSE_SECONDS)
    assert half_closed.wire.closed
    half_closed.connection.tick(clock.now + 2 * CLOSE_SECONDS)
    assert half_closed.wire.aborted


def test_the_sweeper_is_asked_to_come_soon_when_a_socket_closes() -> None:
    heard = Heard()
    heard.connection.room = room = NotingRoom()
    heard.connection.due = 1e9
    heard.hear(masked("a", BINARY), masked("b"))

    assert heard.connection.due == 0
    assert room.told == ["closes"]


@pytest.mark.parametrize(
    ("before", "code"), [(b"", 1006), (masked("a", BINARY), 1003), (closing(3000), 3000)]
)
def test_the_end_is_told_once_with_its_code(before: bytes, code: int) -> None:
    heard = Heard().hear(before)
    heard.connection.connection_lost(None)

    heard.connection.write(b"late")
    heard.connection.ping()
    heard.connection.close(1001)
    heard.connection.abort()
    heard.connection.tick(1e9)
    heard.connection.resume_writing()
    heard.connection.data_received(b"")

    assert heard.ends == [code]
    assert heard.connection.buffered == 0


# However it is cut.

TEXTS = st.text(max_size=300) | st.integers(0, MESSAGE_LIMIT).map(lambda size: "x" * size)
CONTROL = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[bytes], list[tuple[int, bytes]]]:
    """What a well-behaved client sends, the texts in it, and the pongs it is owed."""
    sent, texts, pongs = [], [], []
    for text in draw(st.lists(TEXTS, max_size=5)):
        body = text.encode()
        cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=4)))
        pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        for place, piece in enumerate(pieces):
            for opcode, payload in draw(st.lists(CONTROL, max_size=2)):
                sent.append(masked(payload, opcode))
                if opcode == PING:
                    pongs.append((PONG, payload))
            kind = CONTINUATION if place else TEXT
            mask = draw(st.binary(min_size=4, max_size=4))
            sent.append(masked(piece, kind, final=place == len(pieces) - 1, mask=mask))
        texts.append(body)
    return b"".join(sent), texts, pongs


def cut(draw: Any, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@settings(max_examples=150)
@given(conversations(), st.data())
def test_any_cut_of_any_conversation_gives_the_same_messages(
    conversation: tuple[bytes, list[bytes], list[tuple[int, bytes]]], data: Any
) -> None:
    sent, texts, pongs = conversation
    heard = Heard().hear(*cut(data.draw, sent))

    assert heard.texts == texts
    assert heard.frames == pongs
    assert heard.connection._pending is None


@settings(max_examples=100)
@given(conversations(), conversations(), st.data())
def test_no_byte_of_one_socket_reaches_another(one: Any, two: Any, data: Any) -> None:
    hers, his = Heard(), Heard()
    left = [(hers, cut(data.draw, one[0])), (his, cut(data.draw, two[0]))]
    while left:
        turn = data.draw(st.sampled_from(left))
        heard, chunks = turn
        heard.hear(chunks.pop(0))
        if not chunks:
            left.remove(turn)

    assert (hers.texts, hers.frames) == one[1:]
    assert (his.texts, his.frames) == two[1:]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 1000])
def test_byte_by_byte(size: int) -> None:
    sent = masked("x" * size) + masked("p", PING) + masked("ä" * size)
    heard = Heard().hear(*(sent[at : at + 1] for at in range(len(sent))))

    assert heard.texts == [b"x" * size, "ä".encode() * size]
    assert heard.frames == [(PONG, b"p")]


def test_a_long_message_in_small_pieces_costs_no_more_than_its_length() -> None:
    """64 KiB byte by byte, and as 65,536 fragments: seconds would be quadratic."""
    sent = masked("x" * MESSAGE_LIMIT)
    began = time.process_time()
    heard = Heard().hear(*(sent[at : at + 1] for at in range(len(sent))))
    pieces = masked("x", final=False) + masked("x", CONTINUATION, final=False) * 65_534
    heard.hear(pieces + masked("x", CONTINUATION))

    assert heard.texts == [b"x" * MESSAGE_LIMIT] * 2
    assert time.process_time() - began < 2


def noise(source: random.Random) -> bytes:
    """Bytes that look a little like frames, and some that do not."""
    parts = []
    for _ in range(source.randrange(6)):
        body = source.randbytes(source.choice([0, 1, 2, 3, 125, 126, 500]))
        parts.append(
            source.choice(
                [
                    source.randbytes(source.randrange(40)),
                    masked(body, source.randrange(16), final=source.random() < 0.7),
                    masked(b"a" * len(body), source.choice([0, 1]), final=source.random() < 0.5),
                    masked(body, form=source.choice([7, 16, 64])),
                    closing(source.randrange(1 << 16), body[:123]),
                    masked(b"", size=source.randrange(1 << 64), form=64),
                ]
            )
        )
    sent = b"".join(parts)
    return sent[: source.randrange(len(sent) + 1)] if source.random() < 0.3 else sent


def test_noise_only_ever_closes_or_waits() -> None:
    """No exception, no malformed frame, nothing after a Close."""
    source = random.Random(6455)
    waits = 0
    for _ in range(10_000):
        sent = noise(source)
        cuts = sorted(source.randrange(len(sent) + 1) for _ in range(source.randrange(4)))
        heard = Heard(limits=source.random() < 0.5)
        heard.hear(*(sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)))
        kinds = [kind for kind, _ in heard.frames]
        assert all(kind == PONG for kind in kinds[:-1])
        assert set(kinds[-1:]) <= {PONG, CLOSE}
        assert bool(heard.connection.closing) == (CLOSE in kinds)
        waits += not heard.connection.closing
        heard.connection.connection_lost(None)
        assert len(heard.ends) == 1
    assert 1000 < waits < 9000


# Floods.


def test_thirty_messages_at_once_are_carried_out_and_then_three_a_second(clock: Clock) -> None:
    heard = Heard(limits=True).hear(masked("a") * 31)
    assert (len(heard.texts), heard.refusals) == (30, ["text"])

    clock.now += 1
    heard.hear(masked("b") * 4)
    assert (len(heard.texts), heard.refusals) == (33, ["text", "text"])

    clock.now += 3600
    heard.hear(masked("c") * 31)
    assert (len(heard.texts), len(heard.refusals)) == (63, 3)
    assert not heard.connection.closing


def test_a_message_in_fragments_counts_once(clock: Clock) -> None:
    pieces = masked("a", final=False) + masked("b", CONTINUATION, final=False) * 50
    heard = Heard(limits=True).hear((pieces + masked("c", CONTINUATION)) * 30)

    assert len(heard.texts) == 30
    assert heard.refusals == []


def test_thirty_refusals_within_ten_seconds_end_the_socket(clock: Clock) -> None:
    heard = Heard(limits=True).hear(masked("a") * 59)
    assert (len(heard.texts), len(heard.refusals), heard.code) == (30, 29, None)

    heard.hear(masked("a") * 100)

    assert (len(heard.texts), len(heard.refusals), heard.code) == (30, 29, 4429)


def test_who_is_only_a_little_too_fast_is_not_cut_off(clock: Clock) -> None:
    heard = Heard(limits=True).hear(masked("a") * 30)
    for _ in range(600):
        clock.now += 0.2  # five a second
        heard.hear(masked("a"))

    assert 385 <= len(heard.texts) <= 395
    assert not heard.connection.closing


def test_pings_have_a_bucket_of_their_own(clock: Clock) -> None:
    heard = Heard(limits=True).hear(masked("a") * 30, masked("p", PING) * 31, masked("", PONG))

    assert heard.frames == [(PONG, b"p")] * 30
    assert heard.refusals == ["control", "control"]
    heard.hear(masked("p", PING) * 28)
    assert heard.code == 4429
    assert len(heard.texts) == 30


def test_empty_pongs_fill_the_bucket_too(clock: Clock) -> None:
    """One at a time, as they come on an idle socket."""
    heard = Heard(limits=True).hear(*[masked("", PONG)] * 30)
    assert heard.refusals == []
    heard.hear(*[masked("", PONG)] * 29)
    assert (heard.refusals, heard.code) == (["control"] * 29, None)
    heard.hear(masked("", PONG))
    assert heard.code == 4429

    calm = Heard(limits=True)
    for _ in range(100):
        clock.now += 1.0
        calm.hear(masked("", PONG))
        assert calm.connection.last_heard == clock.now
    assert (calm.refusals, calm.frames) == ([], [])


def test_what_looks_like_an_empty_pong_may_be_the_middle_of_something() -> None:
    likeness = bytes((0x80 | PONG, 0x80)) + b"mask"
    heard = Heard().hear(bytes((0x80 | PING, 0x80 | 6)) + bytes(4), likeness, masked("a"))

    assert heard.frames == [(PONG, likeness)]
    assert heard.texts == [b"a"]
    # And with the fifth part of it something else may begin.
    assert Heard().hear(likeness[:5], likeness[5:] + masked("b")).texts == [b"b"]


def test_empty_fragments_cannot_go_on_for_ever(clock: Clock) -> None:
    heard = Heard(limits=True).hear(HALF + masked("", CONTINUATION, final=False) * 60)

    assert heard.code == 4429


def test_without_limits_nothing_is_refused() -> None:
    heard = Heard(limits=False).hear(masked("a") * 500 + masked("", PING) * 500)

    assert (len(heard.texts), len(heard.frames), heard.refusals) == (500, 500, [])


def test_the_third_senseless_message_within_a_minute_is_one_too_many() -> None:
    connection = Heard().connection
    assert [connection.strike(now) for now in (0, 50, 61, 111, 140)] == [False] * 5

    assert connection.strike(160)


# Errors stay at home.


def test_a_door_that_fails_closes_its_socket_alone(caplog: pytest.LogCaptureFixture) -> None:
    def fail(connection: Connection, said: Any) -> None:
        raise RuntimeError("the door is broken")

    heard, other = Heard(), Heard()
    heard.connection._received = heard.connection._closed = fail
    heard.hear(masked("a") + masked("b"), masked("c"))
    heard.connection.connection_lost(None)
    other.hear(masked("a"))

    assert heard.code == 1011
    assert other.texts == [b"a"]
    logged = [record.getMessage() for record in caplog.records]
    assert [line.split()[0] for line in logged] == ["socket.failed"] * 2
    assert heard.connection.id in logged[0]
    caplog.clear()


def test_a_room_that_fails_closes_its_socket_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def paused(self, connection: Connection) -> None:
            raise RuntimeError("the room is broken")

        def resumed(self, connection: Connection) -> None: ...

        def closes(self, connection: Connection) -> None: ...

    heard = Heard()
    heard.connection.room = Broken()
    heard.connection.pause_writing()

    assert heard.code == 1011
    assert len(caplog.records) == 1
    caplog.clear()


@pytest.mark.parametrize("end", [lambda c: c.close(4401), lambda c: c.abort()])
def test_a_door_may_close_or_abort_while_it_is_told(end: Any) -> None:
    heard = Heard()

    def said(connection: Connection, text: bytes) -> None:
        heard.texts.append(text)
        end(connection)

    heard.connection._received = said
    heard.hear(masked("a") + masked("b") + masked("", PING))

    assert heard.texts == [b"a"]
    assert all(kind == CLOSE for kind, _ in heard.frames)


# Slow readers.


class NotingRoom:
    def __init__(self) -> None:
        self.told: list[str] = []

    def paused(self, connection: Connection) -> None:
        self.told.append("paused")

    def resumed(self, connection: Connection) -> None:
        self.told.append("resumed")

    def closes(self, connection: Connection) -> None:
        self.told.append("closes")


def test_a_slow_reader_is_not_read_either_until_it_drained(clock: Clock) -> None:
    heard = Heard()
    heard.connection.room = room = NotingRoom()
    heard.connection.pause_writing()
    heard.connection.ping()
    heard.hear(masked("a") + masked("", PING))

    assert (heard.texts, heard.frames, heard.wire.reading) == ([], [], False)
    assert heard.connection.paused_since == clock.now

    clock.now += 50
    heard.connection.resume_writing()

    assert (heard.texts, heard.frames, heard.wire.reading) == ([b"a"], [(PONG, b"")], True)
    assert room.told == ["paused", "resumed"]
    assert heard.connection.paused_since == 0


def test_a_room_may_fill_the_buffer_again_while_it_catches_up() -> None:
    heard = Heard()

    class Generous(NotingRoom):
        def resumed(self, connection: Connection) -> None:
            connection.pause_writing()

        def closes(self, connection: Connection) -> None: ...

    heard.connection.room = Generous()
    heard.connection.pause_writing()
    heard.hear(masked("a"))
    heard.connection.resume_writing()

    assert heard.connection.paused_since
    assert (heard.texts, heard.wire.reading) == ([], False)


def test_who_takes_what_waited_for_it_is_there(clock: Clock) -> None:
    heard = Heard()
    heard.connection.pause_writing()
    heard.connection.ping()
    clock.now += 50
    heard.connection.resume_writing()

    assert heard.connection.alive
    assert heard.connection.last_heard == clock.now
    assert not heard.connection.closing


def test_stalled_means_that_nothing_was_taken_since(clock: Clock) -> None:
    heard = Heard()
    heard.wire.size = 2000
    heard.connection.pause_writing()
    began = clock.now
    heard.connection.tick(began + 5)
    assert heard.connection.stalled_since == began

    heard.wire.size = 1500
    heard.connection.tick(began + 6)
    heard.connection.tick(began + 15)

    assert heard.connection.stalled_since == began + 6
    assert heard.connection.paused_since == began
    heard.connection.resume_writing()
    assert heard.connection.stalled_since == 0


def test_a_slow_reader_that_is_closed_is_read_again_for_its_answer() -> None:
    heard = Heard()
    heard.connection.pause_writing()
    heard.connection.close(4431)
    assert heard.wire.reading

    heard.hear(closing(4431))

    assert heard.wire.closed
    heard.connection.resume_writing()
    assert heard.frames == [(CLOSE, b"\x11\x4f")]


# On real sockets.


@both_loops
async def test_everybody_gets_a_burst_in_order() -> None:
    async with serving() as desk, peer(desk) as alice, peer(desk) as bob:
        for number in range(300):
            desk.room.deliver(b'{"n":%d}' % number)

        for client in (alice, bob):
            for number in range(300):
                assert await client.frame() == (TEXT, b'{"n":%d}' % number)


@both_loops
async def test_a_goodbye_of_either_side_ends_the_socket() -> None:
    async with serving() as desk, peer(desk) as alice, peer(desk) as bob:
        alice.say(masked("last words") + closing(1001))
        assert await alice.everything() == [(CLOSE, b"\x03\xe9")]

        desk.connections[1].close(4401)
        assert await bob.frame() == (CLOSE, b"\x11\x31")
        bob.say(closing(4401))
        assert await bob.everything() == []

        await until(lambda: desk.ended == [1001, 4401])
        assert [text for _, text in desk.said] == [b"last words"]


@both_loops
async def test_a_close_frame_arrives_although_the_peer_talks_on() -> None:
    async with serving() as desk, peer(desk) as alice:
        alice.say(masked("a", BINARY))
        for _ in range(64):
            alice.say(b"\xff" * 65_536)

        assert await alice.frame() == (CLOSE, b"\x03\xebonly text is understood")
        with pytest.raises(EOFError):
            await alice.frame()
        await alice.leave()
        await until(lambda: desk.ended == [1003])


@both_loops
async def test_a_connection_that_is_cut_is_lost() -> None:
    async with serving() as desk, peer(desk) as alice, peer(desk) as bob:
        alice.say(masked("half of it")[:5])
        await alice.leave()
        bob.writer.write_eof()

        await until(lambda: desk.ended == [1006, 1006])
        assert desk.room.ready == {}


@both_loops
async def test_a_slow_reader_leaves_the_room_delays_nobody_and_comes_back() -> None:
    text = b"x" * 50_000
    async with serving() as desk, peer(desk, receive_buffer=65_536, limit=1024) as sloth:
        slow = desk.connections[0]
        async with peer(desk, limit=1 << 22) as alice:
            for _ in range(200):
                desk.room.deliver(text)
                assert await alice.frame() == (TEXT, text)
            assert list(desk.room.slow) == [slow]
            assert BUFFER_LIMIT <= slow.buffered < 2 * BUFFER_LIMIT
            assert slow.paused_since

            got = 0
            while slow.paused_since:
                await sloth.frame()
                got += 1
            assert 20 < got < 200
            assert slow in desk.room.ready

            sloth.say(masked("here again"))
            await until(lambda: desk.said == [(slow, b"here again")])
            desk.room.deliver(b"the latest")
            while (await sloth.frame()) != (TEXT, b"the latest"):
                pass


@both_loops
async def test_progress_of_a_slow_reader_is_seen() -> None:
    async with serving() as desk, peer(desk, receive_buffer=65_536, limit=1024) as sloth:
        slow = desk.connections[0]
        await fill(desk, slow)
        before = await settled(slow)

        while slow.stalled_since == before:
            await sloth.frame()
            slow.tick(time.monotonic())


@both_loops
async def test_a_reader_that_takes_a_little_at_a_time_is_seen_to_take_it() -> None:
    """Long before the kernel's buffer has room for more."""
    async with (
        serving() as desk,
        peer(desk, receive_buffer=16_384, segment=1460, limit=1024) as sloth,
    ):
        slow = desk.connections[0]
        await fill(desk, slow)
        before = await settled(slow)
        waiting = slow.buffered

        taken = 0
        while slow.stalled_since == before:
            taken += len(await asyncio.wait_for(sloth.reader.read(1000), 5 * pace.stretch()))
            assert taken < 50_000, "it took so much, and seems to take nothing"
            await asyncio.sleep(0.002)
            slow.tick(time.monotonic())
        assert slow.buffered == waiting


@both_loops
async def test_a_peer_that_asks_but_does_not_read_is_not_answered_without_end() -> None:
    """Even without limits: what waits for it is bounded, and in the end it gets all its answers."""
    ping, count = masked("p" * 125, PING), 60_000
    async with serving() as desk:
        desk.limits = False
        async with peer(desk, receive_buffer=65_536, limit=1024) as alice:
            (slow,) = desk.connections
            alice.say(ping * count)
            await until(lambda: slow.paused_since)
            for _ in range(20):
                assert slow.buffered < BUFFER_LIMIT + 300_000
                await asyncio.sleep(0.005)

            for _ in range(count):
                assert await alice.frame() == (PONG, b"p" * 125)


@both_loops
async def test_a_closed_socket_over_a_full_buffer_is_cut_after_two_seconds() -> None:
    async with serving() as desk, peer(desk, receive_buffer=65_536, limit=1024):
        slow = desk.connections[0]
        await fill(desk, slow)
        slow.close(4431, "too slow")
        slow.tick(time.monotonic())
        assert desk.ended == []

        slow.tick(time.monotonic() + CLOSE_SECONDS)

        await until(lambda: desk.ended == [4431])
