"""Access tokens: signed, short-lived, and only that. Every other secret is random and kept as its
hash.

An access token names a user and a session, never their rights: role, activity and the session's
life are looked up (see `warmdesk.auth.identity`). Refresh tokens, tickets and API keys are not
signed, so none of them can pass for an access token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from math import isfinite
from uuid import UUID

import jwt

from warmdesk import clock
from warmdesk.errors import Unauthorized
from warmdesk.metrics import AUTH_FAILURES
from warmdesk.schemas import MAX_ID

ALGORITHM = "HS256"
KIND = "access"
CLAIMS = ["sub", "jti", "iat", "exp", "typ", "sid"]
LONGEST = 2048
"""Characters; ours have about 300."""
CLOCK_SKEW = 30.0
"""Seconds that a token may be from the future: hosts learn the time from PostgreSQL, each a little
late."""
BAD_TOKEN = "the token is not valid"
PART = "(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[048AEIMQUYcgkosw])?"
SPELLING = re.compile(rf"{PART}\.{PART}\.{PART}")
"""Three parts in base64url as RFC 7515 writes them: no padding, nothing beside the alphabet, unused
bits zero. PyJWT's decoder passes over all three, and each spelling would be remembered apart."""
SECRET_BYTES = 32
MADE = re.compile("[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of an access token. ``expires_at`` in seconds since 1970."""

    user_id: int
    session_id: str
    expires_at: float


class AccessTokens:
    """Signs and reads access tokens with the installation's secret; ``ttl`` in seconds."""

    def __init__(self, secret: str, *, ttl: int) -> None:
        self._secret = secret
        self.ttl = ttl

    def issue(self, user_id: int, session_id: str) -> str:
        """A new token for a session."""
        now = int(clock.now())
        claims = {
            "sub": str(user_id),
            "sid": session_id,
            "jti": secrets.token_hex(16),
            "iat": now,
            "exp": now + self.ttl,
            "typ": KIND,
        }
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def read(self, token: str) -> Claims:
        """The claims of a token, or `Unauthorized`: another algorithm, key or kind, a missing
        claim, expired, from the future, or spelt otherwise than it was issued.
        """
        if len(token) > LONGEST or not SPELLING.fullmatch(token):
            raise not_good("token", BAD_TOKEN)
        try:
            # PyJWT would ask this host's own clock.
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                options={"require": CLAIMS, "verify_iat": False, "verify_exp": False},
            )
            session_id, user_id = str(UUID(claims["sid"])), int(claims["sub"])
            issued_at, expires_at = float(claims["iat"]), float(claims["exp"])
        except (
            jwt.PyJWTError,
            ValueError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise not_good("token", BAD_TOKEN) from error
        now = clock.now()
        if not 0 < user_id <= MAX_ID:
            raise not_good("token", BAD_TOKEN)
        if claims["typ"] != KIND or not issued_at <= now + CLOCK_SKEW or not isfinite(expires_at):
            raise not_good("token", BAD_TOKEN)
        if expires_at <= now:
            raise expired()
        return Claims(user_id, session_id, expires_at)


def expired() -> Unauthorized:
    """The token was good once: the client refreshes and asks again."""
    return not_good("token_expired", "the token has expired", "token_expired")


def not_good(reason: str, message: str, code: str = "invalid_token") -> Unauthorized:
    """The refusal of a credential, counted by its reason."""
    AUTH_FAILURES.inc(reason=reason)
    return Unauthorized(message, code=code)


def new_secret() -> str:
    """A random 256-bit secret for a refresh token or a ticket."""
    return secrets.token_urlsafe(SECRET_BYTES)


def derived_secret(key: str, purpose: str, salt: str) -> str:
    """A 256-bit secret that whoever has the configuration's key can make again from what is kept,
    and nobody else.
    """
    made = hmac.digest(key.encode(), f"warmdesk:{purpose}:{salt}".encode(), "sha256")
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def is_secret(text: str) -> bool:
    """Whether one of these two may have made it: what else is sent need not be looked for."""
    return MADE.fullmatch(text) is not None


def digest(secret: str) -> str:
    """The SHA-256 of a random secret in hex, which is all that is stored. Enough, because nobody
    can guess 256 bits.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
