"""Secrets at rest: texts that the database keeps and only a host with the secret key can read.

AES-256-GCM with a key that is derived from the setting ``secret_key`` (HKDF-SHA256) and is in no
database. A sealed text is bound to what it is for: moved to another place it cannot be opened, so
who can write to the database cannot have one secret used as another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MARK = "sealed:1:"
NONCE_BYTES = 12
NAME_BYTES = 4
"""Of each key, so that the one that sealed a text is known before it is tried."""


class Unreadable(Exception):
    """The text was sealed with a key that is not here, for something else, or was changed."""


class Sealing:
    """Seals with the first of some secret keys; opens what any of them sealed."""

    def __init__(self, secret_key: str, *older: str) -> None:
        if not secret_key:
            raise ValueError("there is no secret key to seal with")
        keys = [_derived(each) for each in (secret_key, *older) if each]
        self._sealers = {_name(key): AESGCM(key) for key in keys}
        self._first = _name(keys[0])

    def seal(self, text: str, purpose: str) -> str:
        """The text, sealed for this purpose."""
        nonce = os.urandom(NONCE_BYTES)
        closed = self._sealers[self._first].encrypt(nonce, text.encode(), purpose.encode())
        return MARK + base64.urlsafe_b64encode(self._first + nonce + closed).decode()

    def open(self, sealed: str, purpose: str) -> str:
        """The text that was sealed for this purpose. Raises `Unreadable`."""
        raw = _raw(sealed)
        sealer = self._sealers.get(raw[:NAME_BYTES])
        if sealer is None:
            raise Unreadable("it was sealed with another secret key")
        nonce, closed = raw[NAME_BYTES:][:NONCE_BYTES], raw[NAME_BYTES + NONCE_BYTES :]
        try:
            return sealer.decrypt(nonce, closed, purpose.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise Unreadable("it was changed, or is for something else") from error

    def is_old(self, sealed: str) -> bool:
        """Whether an older key sealed it. Raises `Unreadable`."""
        return _raw(sealed)[:NAME_BYTES] != self._first


def _derived(secret_key: str) -> bytes:
    made = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"warmdesk secrets at rest")
    return made.derive(secret_key.encode())


def _name(key: bytes) -> bytes:
    return hashlib.sha256(b"name of " + key).digest()[:NAME_BYTES]


def _raw(sealed: str) -> bytes:
    try:
        return base64.b64decode(
            sealed.removeprefix(MARK).encode(), altchars=b"-_", validate=sealed.startswith(MARK)
        )
    except (binascii.Error, ValueError) as error:
        raise Unreadable("it is no sealed text") from error
