"""Encryption to a passphrase, as a stream: the age format, version 1, with its scrypt recipient.

The file is what ``age -d`` opens: a header with the file's key under the passphrase, then ChaCha20-
Poly1305 over chunks of 64 KiB, the last of which says that it is the last, so that a file which was
cut is found out. Source: https://age-encryption.org/v1 (C2SP), and STREAM by Hoang, Reyhanitabar,
Rogaway and Vizár (2015).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = b"age-encryption.org/v1\n"
LABEL = b"age-encryption.org/v1/scrypt"
CHUNK = 64 << 10
TAG = 16
SALT = NONCE = KEY = 16
COST = 15
"""The work factor that we write, as a power of two: 32 MiB of memory and a tenth of a second."""
MOST = 18
"""The greatest that we read, and what age itself writes: 256 MiB of memory, and a second."""
ZERO = bytes(12)
LONGEST_LINE = 1024


class WrongPassphrase(Exception):
    """The file is encrypted to another passphrase."""


class NotWhole(Exception):
    """The file is no age file of a passphrase, or not as it was written; the message says why."""


def is_age(start: bytes) -> bool:
    """Whether a file that begins so is an age file."""
    return start.startswith(VERSION)


class Encrypting:
    """Takes a stream and gives it encrypted: `head`, what `feed` gives, and at the end `end`."""

    def __init__(self, passphrase: str, *, cost: int = COST) -> None:
        key, salt, nonce = (secrets.token_bytes(size) for size in (KEY, SALT, NONCE))
        wrapped = ChaCha20Poly1305(_wrapping(passphrase, salt, cost)).encrypt(ZERO, key, None)
        header = VERSION + b"-> scrypt %s %d\n%s\n---" % (_text(salt), cost, _text(wrapped))
        mac = hmac.digest(_derived(key, b"", b"header"), header, "sha256")
        self.head = header + b" " + _text(mac) + b"\n" + nonce
        self._cipher = ChaCha20Poly1305(_derived(key, nonce, b"payload"))
        self._number = 0
        self._waiting = bytearray()

    def feed(self, piece: bytes) -> bytes:
        """The encrypted chunks that are full now. The last chunk always waits: only the end says
        that it is the last.
        """
        self._waiting += piece
        done = bytearray()
        at = 0
        while len(self._waiting) - at > CHUNK:
            done += self._chunk(bytes(self._waiting[at : at + CHUNK]), last=False)
            at += CHUNK
        del self._waiting[:at]
        return bytes(done)

    def end(self) -> bytes:
        """The last chunk."""
        return self._chunk(bytes(self._waiting), last=True)

    def _chunk(self, text: bytes, *, last: bool) -> bytes:
        nonce = _nonce(self._number, last)
        self._number += 1
        return self._cipher.encrypt(nonce, text, None)


class Decrypting:
    """An encrypted file as a stream of what it holds. Raises `WrongPassphrase` and `NotWhole`."""

    def __init__(self, source: BinaryIO, passphrase: str) -> None:
        self._source = source
        key, nonce = _open(source, passphrase)
        self._cipher = ChaCha20Poly1305(_derived(key, nonce, b"payload"))
        self._pieces = self._chunks()
        self._waiting = b""

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`; empty at the end."""
        while not self._waiting:
            self._waiting = next(self._pieces, b"")
            if not self._waiting:
                return b""
        if size < 0:
            rest = b"".join((self._waiting, *self._pieces))
            self._waiting = b""
            return rest
        given, self._waiting = self._waiting[:size], self._waiting[size:]
        return given

    def _chunks(self) -> Iterator[bytes]:
        number = 0
        ahead = self._source.read(CHUNK + TAG)
        while True:
            sealed, ahead = ahead, self._source.read(CHUNK + TAG)
            last = not ahead
            try:
                text = self._cipher.decrypt(_nonce(number, last), sealed, None)
            except InvalidTag:
                raise NotWhole("the encrypted file was cut or changed") from None
            if last and not text and number:
                raise NotWhole("the encrypted file was changed")
            if text:
                yield text
            if last:
                return
            number += 1


def _open(source: BinaryIO, passphrase: str) -> tuple[bytes, bytes]:
    """The file's key and the nonce of what it holds."""
    lines = [_line(source) for _ in range(4)]
    version, stanza, body, end = lines
    if version != VERSION:
        raise NotWhole("this is no age file")
    kind = stanza.split()
    if kind[:2] != [b"->", b"scrypt"] or len(kind) != 4 or not kind[3].isdigit():
        raise NotWhole("the file is not encrypted to a passphrase")
    cost = int(kind[3])
    if not cost:
        raise NotWhole("the file's passphrase has a work factor of 0, which there is not")
    if cost > MOST:
        raise NotWhole(
            f"opening the file would take too much memory: its passphrase has a work factor of"
            f" {cost}, and at most {MOST} is read; open it with age, which gives an archive that"
            " can be read as it is"
        )
    if not end.startswith(b"--- "):
        raise NotWhole("the encrypted file's header is not whole")
    salt, sealed, mac = (
        _bytes(kind[2], SALT),
        _bytes(body.strip(), KEY + TAG),
        _bytes(end[4:-1], 32),
    )
    try:
        key = ChaCha20Poly1305(_wrapping(passphrase, salt, cost)).decrypt(ZERO, sealed, None)
    except InvalidTag:
        raise WrongPassphrase("the file is encrypted to another passphrase") from None
    header = version + stanza + body + b"---"
    if not hmac.compare_digest(mac, hmac.digest(_derived(key, b"", b"header"), header, "sha256")):
        raise NotWhole("the encrypted file's header was changed")
    nonce = source.read(NONCE)
    if len(nonce) != NONCE:
        raise NotWhole("the encrypted file was cut")
    return key, nonce


def _line(source: BinaryIO) -> bytes:
    line = source.readline(LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise NotWhole("the encrypted file's header is not whole")
    return line


def _wrapping(passphrase: str, salt: bytes, cost: int) -> bytes:
    n, r = 1 << cost, 8
    return hashlib.scrypt(
        passphrase.encode(),
        salt=LABEL + salt,
        n=n,
        r=r,
        p=1,
        dklen=32,
        maxmem=130 * n * r + (1 << 20),
    )


def _derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(key)


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def _text(value: bytes) -> bytes:
    return base64.b64encode(value).rstrip(b"=")


def _bytes(text: bytes, size: int) -> bytes:
    """Canonical base64 without its filling."""
    try:
        value = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except ValueError:
        value = b""
    if len(value) != size or _text(value) != text:
        raise NotWhole("the encrypted file's header was changed")
    return value
