"""The Standard Webhooks scheme: receivers can tell that a delivery is ours, and no repeat."""

from __future__ import annotations

import base64
import hashlib
import hmac

SALT_BYTES = 16
PREFIX = "whsec_"


def secret_of(secret_key: str, salt: bytes) -> bytes:
    """What the deliveries of a webhook are signed with."""
    return hmac.digest(secret_key.encode(), b"outgoing webhook " + salt, hashlib.sha256)


def shown_secret(secret: bytes) -> str:
    """A secret as the Standard Webhooks scheme writes it."""
    return PREFIX + base64.b64encode(secret).decode()


def signed(secret: bytes, name: str, moment: int, body: bytes) -> dict[str, str]:
    """The headers of the Standard Webhooks scheme."""
    mark = hmac.digest(secret, f"{name}.{moment}.".encode() + body, hashlib.sha256)
    return {
        "webhook-id": name,
        "webhook-timestamp": str(moment),
        "webhook-signature": f"v1,{base64.b64encode(mark).decode()}",
    }
