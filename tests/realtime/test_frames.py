from __future__ import annotations

import struct

import pytest

from tests.realtime.raw import take_frame
from warmdesk.realtime.frames import CLOSE, PING, TEXT, Close, accept_key, close_frame, frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_a_frame_says_its_length_in_the_shortest_form(size: int) -> None:
    made = frame(b"x" * size)

    assert take_frame(made) == (TEXT, b"x" * size, b"")
    assert len(made) - size == (2 if size < 126 else 4 if size < 65_536 else 10)


def test_a_frame_has_the_opcode_that_was_asked_for() -> None:
    assert frame(b"", PING) == b"\x89\x00"
    assert frame("grüß".encode()) == b"\x81\x06gr\xc3\xbc\xc3\x9f"


def test_a_close_frame_carries_code_and_reason() -> None:
    assert close_frame(Close.SIGNED_OUT, "token expired") == b"\x88\x0f\x11\x31token expired"
    assert close_frame(1000) == b"\x88\x02\x03\xe8"


def test_a_long_reason_loses_its_end_but_no_half_character() -> None:
    opcode, payload, rest = take_frame(close_frame(1011, "ü" * 100)) or (0, b"", b"")

    assert (opcode, rest) == (CLOSE, b"")
    assert payload == struct.pack("!H", 1011) + ("ü" * 61).encode()


def test_the_handshake_is_accepted_with_the_key_of_the_rfc() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_every_close_code_may_be_sent_and_has_a_sentence() -> None:
    assert [int(code) for code in Close] == [
        *(1000, 1001, 1002, 1003, 1007, 1009, 1011, 1012, 1013),
        *(4400, 4401, 4403, 4404, 4408, 4409, 4429, 4431),
    ]
    for code in Close:
        assert code.sentence.endswith(".")
        assert "\n" not in code.sentence
