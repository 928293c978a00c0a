"""What is lost is told once, and what is back once, however often it was tried meanwhile."""

from __future__ import annotations

import time

import pytest
from redis.exceptions import ResponseError

from warmdesk import outages
from warmdesk.errors import Unavailable
from warmdesk.outages import DATABASE, DISK, REDIS, Outage, reason_of

REFUSED = ConnectionRefusedError("nobody listens")


@pytest.fixture
def database() -> Outage:
    return Outage(DATABASE, host="db.example.org:5432")


@pytest.fixture
def minute(monkeypatch: pytest.MonkeyPatch) -> float:
    """A minute that is over soon."""
    monkeypatch.setattr(outages, "AGAIN_SECONDS", 0.1)
    return 0.1


def facts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.split()[0] for line in caplog.messages]


def test_many_tries_are_one_line_and_one_when_it_is_back(
    database: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        database.failed(REFUSED)
        database.doubt("POST /cards", REFUSED)
    assert database.lasts
    database.works()
    database.works()

    assert not database.lasts
    lost, back = caplog.messages
    assert lost == 'database.lost host=db.example.org:5432 reason="nobody listens"'
    assert back.startswith("database.back host=db.example.org:5432 seconds=0.")


def test_while_it_lasts_there_is_a_line_a_minute(
    database: Outage, minute: float, caplog: pytest.LogCaptureFixture
) -> None:
    end = time.monotonic() + 3.5 * minute
    while time.monotonic() < end:
        database.failed(REFUSED)
        time.sleep(minute / 20)
    assert facts(caplog)[0] == "database.lost"
    assert facts(caplog)[1:] in (["database.still_lost"] * n for n in (2, 3))
    assert 'reason="nobody listens"' in caplog.messages[-1]


def test_what_comes_and_goes_all_the_time_is_told_ten_times_a_minute(
    database: Outage, minute: float, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(50):
        database.failed(REFUSED)
        database.works()
    assert facts(caplog) == ["database.lost", "database.back"] * 10
    time.sleep(1.5 * minute)
    database.failed(REFUSED)
    assert facts(caplog)[-1] == "database.lost"


def test_one_that_was_not_told_and_lasts_is_told_after_a_minute(
    database: Outage, minute: float, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(11):
        database.works()
        database.failed(REFUSED)
    time.sleep(1.5 * minute)
    database.failed(REFUSED)
    database.works()
    assert facts(caplog)[-2:] == ["database.still_lost", "database.back"]


def test_who_is_let_down_by_a_server_that_works_is_told_once_a_minute(
    minute: float, caplog: pytest.LogCaptureFixture
) -> None:
    redis = Outage(REDIS, host="cache:6379")
    redis.doubt("limits", "OOM")
    assert not caplog.messages, "the next judgement tells whether it is lost"
    redis.works()
    for _ in range(30):
        redis.doubt("limits", "OOM")
        redis.works()
    assert caplog.messages == ['redis.troubled host=cache:6379 of="limits" times=1 reason="OOM"']
    time.sleep(1.5 * minute)
    redis.works()
    assert 'times=30 reason="OOM"' in caplog.messages[1]


def test_a_doubt_that_the_loss_explains_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    redis = Outage(REDIS)
    redis.doubt("limits", "no answer")
    redis.failed("no answer")
    redis.works()
    redis.works()
    assert facts(caplog) == ["redis.lost", "redis.back"]


def test_of_two_judges_the_last_one_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    disk = Outage(DISK, host="here")
    disk.failed("1 MiB are free", of="data_dir")
    disk.failed("no space left", of="postgresql")
    disk.works(of="postgresql")
    assert disk.lasts
    disk.works(of="data_dir")
    disk.failed("no space left", of="postgresql")
    disk.over()
    assert facts(caplog) == ["disk.full", "disk.free"] * 2


def test_a_reason_is_one_line_and_tells_no_arguments() -> None:
    password = "hidden-4711"
    unknown = ResponseError(f"unknown command 'AUTH', with args beginning with: '{password}'")
    assert reason_of(unknown) == "unknown command 'AUTH'"
    assert reason_of(ValueError("first\nsecond")) == "first"
    assert reason_of(TimeoutError()) == "no answer in time"
    assert reason_of(ConnectionResetError()) == "ConnectionResetError"
    assert len(reason_of(OSError("x" * 5000))) == outages.LONGEST_REASON
    with pytest.raises(Unavailable) as caught:
        raise Unavailable from REFUSED
    assert reason_of(caught.value) == "nobody listens"
