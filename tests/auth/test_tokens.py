"""Access tokens: only our own, of the right kind, in time."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from warmdesk.auth.tokens import AccessTokens, digest, new_secret
from warmdesk.errors import Unauthorized

SECRET = "j" * 64
SESSION = "0b7f5c9e-3f0a-4b57-9a53-5f0a3d1c2b4e"


@pytest.fixture
def tokens() -> AccessTokens:
    return AccessTokens(SECRET, ttl=900)


def signed(secret: Any = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    """A token like ours, with some claims changed; None takes a claim away."""
    now = int(time.time())
    claims = {
        "sub": "7",
        "sid": SESSION,
        "jti": "a" * 32,
        "iat": now,
        "exp": now + 900,
        "typ": "access",
    } | changes
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(given, secret, algorithm=algorithm)


def test_a_token_says_who_and_which_session(tokens: AccessTokens) -> None:
    claims = tokens.read(tokens.issue(7, SESSION))

    assert (claims.user_id, claims.session_id) == (7, SESSION)
    assert 899 <= claims.expires_at - time.time() <= 901


def test_two_tokens_are_never_the_same(tokens: AccessTokens) -> None:
    assert tokens.issue(7, SESSION) != tokens.issue(7, SESSION)


def test_what_the_tests_sign_is_good_when_nothing_is_changed(tokens: AccessTokens) -> None:
    assert tokens.read(signed()).user_id == 7


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": "k" * 64},
        {"algorithm": "HS512"},
        {"typ": "refresh"},
        {"typ": "mfa"},
        {"typ": None},
        {"sub": None},
        {"sub": "seven"},
        {"sub": "0"},
        {"sub": str(2**53)},
        {"sid": None},
        {"sid": "not-a-uuid"},
        {"sid": 7},
        {"jti": None},
        {"iat": None},
        {"iat": "yesterday"},
        {"exp": None},
        {"exp": 1},
        {"exp": float("inf")},
        {"aud": "somebody else"},
    ],
    ids=str,
)
def test_anything_else_is_refused(tokens: AccessTokens, changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized):
        tokens.read(signed(**changes))


def test_an_unsigned_token_is_refused(tokens: AccessTokens) -> None:
    with pytest.raises(Unauthorized):
        tokens.read(signed(secret=None, algorithm="none"))
    header, payload, _ = signed().split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    for forged in (f"{none}.{payload}.", f"{header}.{payload}.", f"{none}.{payload}"):
        with pytest.raises(Unauthorized):
            tokens.read(forged)


def test_a_token_signed_with_a_private_key_is_refused(tokens: AccessTokens) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    with pytest.raises(Unauthorized):
        tokens.read(signed(secret=key, algorithm="RS256"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "é.é.é",
        "\ud800",
        "x" * 100_000,
        base64.urlsafe_b64encode(b"[" * 1500).decode(),
        new_secret(),
        "wd_" + "0" * 48,
    ],
    ids=range(10),
)
def test_noise_is_refused(tokens: AccessTokens, text: str) -> None:
    with pytest.raises(Unauthorized):
        tokens.read(text)


def test_a_clock_that_is_half_a_minute_ahead_is_forgiven_and_more_is_not(
    tokens: AccessTokens,
) -> None:
    now = int(time.time())

    assert tokens.read(signed(iat=now + 25)).user_id == 7
    with pytest.raises(Unauthorized):
        tokens.read(signed(iat=now + 60))


def test_an_expired_token_says_so_and_gets_no_extra_time(tokens: AccessTokens) -> None:
    with pytest.raises(Unauthorized) as caught:
        tokens.read(signed(exp=int(time.time()) - 1))

    assert caught.value.extra["code"] == "token_expired"


def test_secrets_are_long_and_kept_as_their_hash() -> None:
    secret = new_secret()

    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert len(digest(secret)) == 64
    assert secret not in json.dumps(digest(secret))


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def spellings(token: str) -> set[str]:
    """Other texts whose parts a lenient decoder takes for the same bytes."""
    parts = token.split(".")
    found = {f"{token}\n", f" {token}", f"{token}.", f"{token} "}
    for place, part in enumerate(parts):
        bits = {0: 0, 2: 4, 3: 2}[len(part) % 4]
        last = ALPHABET.index(part[-1])
        others = [part[:-1] + ALPHABET[last | unused] for unused in range(1, 1 << bits)]
        others += [part + tail for tail in ("=", "==", "====", "!", "\n", "\u0660")]
        others += [part[:3] + odd + part[3:] for odd in ("=", "+", "/", " ", "é")]
        found |= {".".join([*parts[:place], other, *parts[place + 1 :]]) for other in others}
    return found


@pytest.mark.parametrize("length", range(60, 66))
def test_a_token_has_one_spelling(tokens: AccessTokens, length: int) -> None:
    """Every one more would be an entry of its own in what a process remembers."""
    token = signed(jti="a" * length)
    assert tokens.read(token).user_id == 7

    accepted = []
    for other in spellings(token):
        try:
            tokens.read(other)
        except Unauthorized:
            continue
        accepted.append(other.removeprefix(token[:10])[-12:])

    assert not accepted


@given(data=st.data())
def test_no_text_a_step_away_from_a_token_is_one(data: st.DataObject) -> None:
    tokens = AccessTokens(SECRET, ttl=900)
    token = tokens.issue(7, SESSION)
    place = data.draw(st.integers(0, len(token)))
    taken = data.draw(st.integers(0, 2))
    put = data.draw(st.text(st.one_of(st.sampled_from(ALPHABET + "=.+/"), st.characters())))
    other = token[:place] + put + token[place + taken :]
    if other == token:
        return

    with pytest.raises(Unauthorized):
        tokens.read(other)
