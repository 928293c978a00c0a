"""One-time passwords by the clock (RFC 6238, by HMAC-SHA-1 as all authenticators know it), and
codes for whoever lost the device.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from urllib.parse import quote, urlencode

from warmdesk.auth.tokens import derived_secret, digest

STEP_SECONDS = 30
DIGITS = 6
SECRET_BYTES = 20
AROUND = (0, -1, 1)
"""Steps beside the present one: clocks differ, and people type slowly."""
CODES = 10
CODE_BYTES = 10
A_PASSWORD = re.compile(rf"[0-9]{{{DIGITS}}}")
BESIDE = re.compile(r"[\s-]+")


def pending_secret(secret_key: str, user_id: int, session_id: str, changes: int) -> str:
    """The secret that somebody sets up: of this session, so that who was signed in elsewhere does
    not know it, and another one each time it was turned on or off.
    """
    made = derived_secret(secret_key, "totp", f"{user_id}:{session_id}:{changes}")
    raw = hashlib.sha256(made.encode()).digest()[:SECRET_BYTES]
    return base64.b32encode(raw).decode()


def sealed_for(user_id: int) -> str:
    """The purpose for which the secret of an account is sealed."""
    return f"totp {user_id}"


def uri(secret: str, *, account: str, issuer: str) -> str:
    """What an authenticator reads from a picture."""
    issuer = issuer.replace(":", " ")
    facts = {"secret": secret, "issuer": issuer, "algorithm": "SHA1"}
    query = urlencode(facts | {"digits": DIGITS, "period": STEP_SECONDS}, quote_via=quote)
    return f"otpauth://totp/{quote(issuer, safe='')}:{quote(account, safe='')}?{query}"


def password_at(secret: str, step: int) -> str:
    """The password of a step of the clock. ValueError for a secret that is none."""
    try:
        key = base64.b32decode(secret)
    except binascii.Error as error:
        raise ValueError("the secret is not in base 32") from error
    made = hmac.digest(key, step.to_bytes(8), "sha1")
    at = made[-1] & 15
    number = int.from_bytes(made[at : at + 4]) & 0x7FFFFFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def step_of(secret: str, code: str, now: float) -> int | None:
    """The step whose password this is, of those around now; None when it is none."""
    code = BESIDE.sub("", code)
    if not A_PASSWORD.fullmatch(code):
        return None
    present = int(now // STEP_SECONDS)
    found = None
    for beside in AROUND:
        if hmac.compare_digest(password_at(secret, present + beside), code) and found is None:
            found = present + beside
    return found


def new_codes() -> list[str]:
    """Codes of 80 bits: each lets its account in once without the device."""
    made = [
        base64.b32encode(secrets.token_bytes(CODE_BYTES)).decode().lower() for _ in range(CODES)
    ]
    return ["-".join(code[at : at + 4] for at in range(0, len(code), 4)) for code in made]


def code_digest(code: str) -> str:
    """What is kept of a code, however it was typed."""
    return digest(BESIDE.sub("", code).lower())
