"""One-time passwords, by the vectors of their RFCs."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmdesk.auth import totp

SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("moment", "password"),
    [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ],
)
def test_the_vectors_of_rfc_6238(moment: int, password: str) -> None:
    assert totp.password_at(SECRET, moment // 30) == password
    assert totp.step_of(SECRET, password, moment) == moment // 30


def test_the_vectors_of_rfc_4226() -> None:
    said = "755224 287082 359152 969429 338314 254676 287922 162583 399871 520489"
    assert [totp.password_at(SECRET, step) for step in range(10)] == said.split()


@given(now=st.integers(10_000, 4_000_000_000), away=st.integers(-5, 5))
def test_the_password_of_one_step_before_and_after_is_taken_and_no_other(
    now: int, away: int
) -> None:
    step = now // 30 + away
    code = totp.password_at(SECRET, step)
    around = {totp.password_at(SECRET, now // 30 + each): each for each in (1, -1, 0)}
    found = totp.step_of(SECRET, f" {code[:3]} {code[3:]}", now)
    assert found == (now // 30 + around[code] if code in around else None)


@given(st.text(max_size=70))
def test_what_is_no_password_is_none(code: str) -> None:
    known = {totp.password_at(SECRET, step) for step in (0, 1, 2)}
    plain = "".join(code.split()).replace("-", "")
    assert (totp.step_of(SECRET, code, 45.0) is None) == (plain not in known)


def test_a_secret_is_of_one_session_and_one_time() -> None:
    made = {
        totp.pending_secret(key, user, session, changes)
        for key in ("a key", "another")
        for user in (1, 2)
        for session in ("a", "b")
        for changes in (0, 1)
    }
    assert len(made) == 16
    assert {len(base64.b32decode(each)) for each in made} == {totp.SECRET_BYTES}


def test_the_address_says_all_that_an_authenticator_needs() -> None:
    made = urlsplit(totp.uri(SECRET, account="zoë.b", issuer="Wonder: land & Co"))
    assert (made.scheme, made.netloc) == ("otpauth", "totp")
    assert unquote(made.path) == "/Wonder  land & Co:zoë.b"
    assert {name: values[0] for name, values in parse_qs(made.query).items()} == {
        "secret": SECRET,
        "issuer": "Wonder  land & Co",
        "algorithm": "SHA1",
        "digits": "6",
        "period": "30",
    }


def test_recovery_codes_are_long_and_read_however_they_are_typed() -> None:
    codes = totp.new_codes()
    assert len(set(codes)) == totp.CODES
    for code in codes:
        assert [len(part) for part in code.split("-")] == [4] * 4
        typed = code.upper().replace("-", " ")
        assert totp.code_digest(typed) == totp.code_digest(code)
