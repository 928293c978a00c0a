"""Encryption to a passphrase: what we write another program opens, and the other way round; a file
that is not whole is found out at every byte.
"""

from __future__ import annotations

import base64
import io

import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmdesk.backups import age
from warmdesk.backups.age import CHUNK, Decrypting, Encrypting, NotWhole, WrongPassphrase

CHEAP = 4
SIZES = st.one_of(
    st.integers(0, 300),
    st.sampled_from([CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7, 3 * CHUNK]),
)
WORD = "correct horse Käse 🐎"
OF_18 = base64.b64decode(
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBEdWdyL1JVNFNQQW9zTE9ZMmVBQUx3IDE4ClFvc25r"
    "MG5yRlZsbSszWUpsMkVFTGxNMUE5Mkhabmh3SUxyeDM1eUJHRVUKLS0tIHNpa1hYYU1xekNMdjk2aDY5TFFR"
    "c3RYeVBkbUluRUluUWxoSnNuTnl5b1EKqfVCIDLyFKKM8mLVZ0HN6hGN9MzJDtKFdyp8UcWo5rKlQPPEcTBY"
    "a8iwO0dlo8qZ79sdrOXI4kCD"
)
"""What another program wrote, with the work factor that age itself takes."""


def encrypted(text: bytes, word: str = WORD, *, step: int = 10_000) -> bytes:
    cipher = Encrypting(word, cost=CHEAP)
    parts = [cipher.head]
    parts += [cipher.feed(text[at : at + step]) for at in range(0, len(text), step)]
    return b"".join((*parts, cipher.end()))


def decrypted(file: bytes, word: str = WORD, *, step: int = 7777) -> bytes:
    source = Decrypting(io.BytesIO(file), word)
    found = bytearray()
    while piece := source.read(step):
        found += piece
    return bytes(found)


@settings(max_examples=60)
@given(SIZES, st.integers(1, 200_000), st.integers(1, 200_000))
def test_what_was_written_is_read(size: int, written: int, read: int) -> None:
    text = bytes(number % 251 for number in range(size))
    assert decrypted(encrypted(text, step=written), step=read) == text


@settings(max_examples=15)
@given(SIZES)
def test_another_program_reads_it(size: int) -> None:
    text = bytes(number % 251 for number in range(size))
    assert pyrage.passphrase.decrypt(encrypted(text), WORD) == text


def test_what_another_program_wrote_is_read_up_to_the_factor_of_age() -> None:
    assert OF_18.split(b"\n")[1].endswith(b" 18")
    assert decrypted(OF_18) == b"what age wrote by itself\n"
    text = bytes(number % 251 for number in range(2 * CHUNK + 1))
    file = pyrage.passphrase.encrypt(text, WORD)
    cost = int(file.split(b"\n")[1].split()[-1])  # as much as takes this machine a second
    if cost <= age.MOST:
        assert decrypted(file) == text
        return
    with pytest.raises(NotWhole, match=f"work factor of {cost}"):
        decrypted(file)


def test_another_passphrase_opens_nothing() -> None:
    with pytest.raises(WrongPassphrase):
        decrypted(encrypted(b"text"), "correct horse")


def test_a_file_that_was_cut_anywhere_is_refused() -> None:
    file = encrypted(bytes(CHUNK + 100))
    head = len(Encrypting(WORD, cost=CHEAP).head)
    tag = 16
    ends = {*range(head + 40), head + CHUNK + tag - 1, head + CHUNK + tag, head + CHUNK + tag + 1}
    for end in sorted(ends | {len(file) - 1}):
        with pytest.raises(NotWhole):
            decrypted(file[:end])


def test_a_file_that_was_changed_anywhere_is_refused() -> None:
    file = bytearray(encrypted(b"a" * 200))
    for at in range(len(file)):
        file[at] ^= 1
        with pytest.raises((NotWhole, WrongPassphrase)):
            decrypted(bytes(file))
        file[at] ^= 1


def test_a_file_that_goes_on_is_refused() -> None:
    file = encrypted(bytes(CHUNK))
    for more in (b"x", file[-CHUNK - 16 :]):
        with pytest.raises(NotWhole):
            decrypted(file + more)


@pytest.mark.parametrize("cost", [0, 19, 64])
def test_a_passphrase_that_takes_more_memory_than_there_is_is_refused(cost: int) -> None:
    file = encrypted(b"text").replace(b" %d\n" % CHEAP, b" %d\n" % cost, 1)
    with pytest.raises(NotWhole, match="work factor"):
        decrypted(file)
