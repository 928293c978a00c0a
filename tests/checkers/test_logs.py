"""What may not stand in a log is found there: tracebacks, errors, tokens, passwords."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.checkers.logs import Logs
from tests.conftest import Board, Door, until
from tests.person import PASSWORD, Person
from warmdesk import log as log_form
from warmdesk.auth.access import Access

WARMDESK = logging.getLogger("warmdesk")


@pytest.fixture(params=["text", "json"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(tmp_path: Path, form: str) -> Iterator[Path]:
    """The log of the server in this process, in its own form."""
    path = tmp_path / "log"
    handler = logging.FileHandler(path)
    handler.setFormatter(log_form.Lines(as_json=form == "json"))
    level = WARMDESK.level
    WARMDESK.addHandler(handler)
    WARMDESK.setLevel("INFO")
    yield path
    WARMDESK.removeHandler(handler)
    WARMDESK.setLevel(level)
    handler.close()


def said(logs: Logs) -> str:
    return "\n".join(logs.broken)


async def test_a_whole_run_leaves_nothing_broken(
    path: Path, door: Door, bob: Person, board: Board
) -> None:
    logs = Logs([path], [PASSWORD])
    logs.secret(await bob.token())
    async with bob.socket(since=1, epoch="0123456789ab", token=bob.client.token) as wire:
        await wire.next("presence.list")
        room = door.desk.hub.rooms[f"project:{board.id}"]
        await door.desk.hub.catch_up(room, cause="check")
    await bob.get(f"{board.path}?token={bob.client.token}&password={PASSWORD}")
    logs.finish()
    logs.whole()
    assert logs.counts["hub.caught_up"] == 1


async def test_a_handler_that_fails_with_a_token_is_found(
    monkeypatch: pytest.MonkeyPatch, path: Path, bob: Person, board: Board
) -> None:
    logs = Logs([path])
    token = await bob.token()
    secret = str(bob.client.refresh_token)

    async def fail(self: Access, *given: Any) -> Any:
        raise RuntimeError(f"{token} and {secret} are of no use")

    monkeypatch.setattr(Access, "enter_project", fail)
    await bob.get(board.path, status=500)
    logs.secret(secret)
    logs.check()
    assert logs.counts["http.failed"] == 1
    assert "a token stands in" in said(logs)
    assert "a secret stands in" in said(logs)
    assert re.search(r"log: .*http\.failed", said(logs))
    assert "Traceback" in said(logs)
    assert token not in said(logs).replace("…", "")


async def test_a_password_that_the_log_would_not_blank_is_found(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    logs = Logs([path], ["hunter2hunter2"])
    WARMDESK.info("login.tried password=%s", "hunter2hunter2")
    logs.check()
    logs.whole()
    monkeypatch.setattr(log_form, "SECRET", re.compile("(never)(ever)"))
    WARMDESK.info("login.tried password=%s", "hunter2hunter2")
    logs.check()
    assert logs.count == 1
    assert "hunter2" not in said(logs)


async def test_a_secret_learnt_later_is_looked_for_in_what_was_read(path: Path) -> None:
    logs = Logs([path])
    WARMDESK.info("key.made key=wd_0123456789")
    logs.check()
    logs.whole()
    logs.secret("wd_0123456789")
    logs.check()
    logs.check()
    assert logs.count == 1


async def test_a_task_that_dies_is_found_unless_the_fault_explains_it(path: Path) -> None:
    logs = Logs([path], expected=[r"hub\.check_failed error=OSError"])
    for error in (OSError(), ValueError()):
        try:
            raise error
        except Exception as caught:
            WARMDESK.exception("hub.check_failed error=%s", type(caught).__name__)
    logs.check()
    assert "OSError" not in said(logs)
    assert "ValueError" in said(logs)


def test_what_python_itself_complains_of_is_found(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logs = Logs([path])
    logs.check()
    path.write_text("Exception ignored in: <function")
    logs.check()
    logs.whole()
    with path.open("a") as opened:
        opened.write(" Room.__del__>\nTask exception was never retr")
    logs.check()
    assert logs.count == 1
    with path.open("a") as opened:
        opened.write("ieved")
    logs.finish()
    assert logs.count == 2


async def test_what_the_log_says_can_be_waited_for(path: Path) -> None:
    logs = Logs([path])
    WARMDESK.warning("hub.woken rooms=3")

    def woken() -> int:
        logs.check()
        return logs.counts["hub.woken"]

    assert await until(woken) == 1
    logs.whole()
