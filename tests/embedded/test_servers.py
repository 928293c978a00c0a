"""The embedded servers start anywhere, survive what kills them, and never outlive who started
them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import asyncpg
import pytest
import redis

from warmdesk.embedded import EmbeddedError, Postgres, Valkey
from warmdesk.embedded import postgres as postgres_module

T = TypeVar("T")

STARTER = """
import os, signal, sys
from pathlib import Path
from warmdesk.embedded import Postgres, Valkey
base = Path(sys.argv[1])
postgres, valkey = Postgres(base), Valkey(base)
postgres.start(), valkey.start()
print(postgres.pid, valkey.pid, postgres.dsn, valkey.url, flush=True)
signal.pause()
"""


@pytest.fixture
def base() -> Iterator[Path]:
    """A short path: pytest's own are too long for a socket below them."""
    made = Path(tempfile.mkdtemp(prefix="wd-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def postgres(base: Path) -> Iterator[Postgres]:
    server = Postgres(base, durable=False)
    yield server
    server.stop()


@pytest.fixture
def valkey(base: Path) -> Iterator[Valkey]:
    server = Valkey(base)
    yield server
    server.stop()


def ask(server: Postgres, statement: str) -> Any:
    """One value from a server that may still be starting."""

    async def once() -> Any:
        connection = await asyncpg.connect(server.dsn, timeout=5)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    def attempt() -> list[Any]:
        with asyncio.Runner() as runner:
            return [runner.run(once())]

    return until(attempt, within=10)[0]


def until(attempt: Callable[[], T], *, within: float) -> T:
    """The first true or non-None answer; whatever goes wrong meanwhile is only told at the end."""
    end = time.monotonic() + within
    while True:
        try:
            answer = attempt()
            if answer is not None and answer is not False:
                return answer
            wrong: Exception | None = None
        except (OSError, asyncpg.PostgresError, redis.RedisError) as error:
            wrong = error
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s") from wrong
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_postgres_has_our_database_in_a_locale_that_is_the_same_everywhere(
    postgres: Postgres,
) -> None:
    postgres.start()

    assert ask(postgres, "select current_database()") == "warmdesk"
    assert ask(postgres, "select 'É' ilike 'é' and lower('Σ') = 'σ'") is True
    assert (
        ask(postgres, "select datlocale from pg_database where datname = 'warmdesk'") == "C.UTF-8"
    )


def test_only_we_reach_the_servers_and_their_files(
    postgres: Postgres, valkey: Valkey, base: Path
) -> None:
    postgres.start()
    valkey.start()

    assert ask(postgres, "select current_setting('listen_addresses') = ''") is True
    assert [mode(base / name) for name in ("postgres", "valkey", "run")] == [0o700] * 3
    assert [mode(base / name) for name in ("postgres.log", "valkey.log")] == [0o600] * 2
    with redis.Redis.from_url(valkey.url) as client:
        assert client.config_get("port") == {"port": "0"}


def test_a_restart_keeps_what_was_there(postgres: Postgres, valkey: Valkey) -> None:
    postgres.start()
    valkey.start()
    ask(postgres, "create table kept as select 7 as n")
    with redis.Redis.from_url(valkey.url) as client:
        client.set("kept", 7)
    postgres.stop()
    valkey.stop()

    postgres.start()
    valkey.start()

    assert ask(postgres, "select n from kept") == 7
    with redis.Redis.from_url(valkey.url) as client:
        assert client.get("kept") == b"7"


def test_killed_servers_come_back_at_the_same_address_with_all_that_was_acknowledged(
    postgres: Postgres, valkey: Valkey
) -> None:
    postgres.durable = True
    postgres.start()
    valkey.start()
    address = postgres.dsn, valkey.url
    ask(postgres, "create table kept as select 7 as n")
    with redis.Redis.from_url(valkey.url) as client:
        client.set("kept", 7)
    for server in (postgres, valkey):
        os.kill(server.pid, signal.SIGKILL)
        until(lambda server=server: not server.alive(), within=5)  # type: ignore[misc]

    for server in (postgres, valkey):
        server.start(wait=False)

    assert (postgres.dsn, valkey.url) == address
    assert ask(postgres, "select n from kept") == 7
    with redis.Redis.from_url(valkey.url) as client:
        assert until(lambda: client.get("kept"), within=5) == b"7"


def test_servers_end_with_whoever_started_them_and_the_next_start_waits_for_that(
    base: Path, postgres: Postgres, valkey: Valkey
) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(base)], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    first, second = (int(pid) for pid in starter.stdout.readline().split()[:2])
    starter.kill()
    starter.wait()

    postgres.start()
    valkey.start()

    assert is_gone(first)
    assert is_gone(second)
    assert ask(postgres, "select 7") == 7
    starter.stdout.close()


def test_two_never_run_on_the_same_data(
    postgres: Postgres, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "PREDECESSOR_SECONDS", 0.2)
    postgres.start()

    with pytest.raises(EmbeddedError, match="another postgres still runs on"):
        Postgres(base, durable=False).start()
    assert ask(postgres, "select 7") == 7


def test_a_process_id_that_is_somebody_elses_now_stops_nobody(
    postgres: Postgres, base: Path
) -> None:
    postgres.start()
    postgres.stop()
    (base / "postgres" / "postmaster.pid").write_text(
        f"{os.getppid()}\n{base / 'postgres'}\n1\n5432\n{base / 'run'}\n\n1 1\nready\n"
    )
    lock = base / "run" / ".s.PGSQL.5432.lock"
    lock.write_text(f"{os.getppid()}\n")

    postgres.start()

    assert ask(postgres, "select 7") == 7


def test_an_interrupted_first_start_is_begun_again(postgres: Postgres, base: Path) -> None:
    half = base / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")

    postgres.start()

    assert ask(postgres, "select 7") == 7
    assert not half.exists()


def test_a_directory_of_something_else_is_left_alone(postgres: Postgres, base: Path) -> None:
    (base / "postgres").mkdir()
    (base / "postgres" / "thesis.txt").write_text("years of work")

    with pytest.raises(EmbeddedError, match="is not a PostgreSQL data directory"):
        postgres.start()
    assert (base / "postgres" / "thesis.txt").read_text() == "years of work"


def test_a_server_that_cannot_start_says_why_in_one_sentence(
    postgres: Postgres, base: Path
) -> None:
    postgres.start()
    postgres.stop()
    (base / "postgres" / "postgresql.conf").write_text("no_such_setting = 1\n")

    with pytest.raises(EmbeddedError) as failed:
        postgres.start()
    assert "no_such_setting" in str(failed.value)
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("name", ["a place with spaces", 'com,ma "and" quotes', "x" * 120])
def test_any_path_will_do(base: Path, name: str) -> None:
    place = base / name
    postgres, valkey = Postgres(place, durable=False), Valkey(place)
    with ExitStack() as closing:
        closing.callback(_forget_sockets, valkey)
        for server in (postgres, valkey):
            closing.callback(server.stop)
            server.start()
        _check_place(postgres, valkey)


def _forget_sockets(valkey: Valkey) -> None:
    """Directories outside of the base, where it was no place for sockets."""
    directory = Path(unquote(valkey.url.removeprefix("unix://"))).parent
    if directory.parent == Path("/tmp"):
        shutil.rmtree(directory)


def _check_place(postgres: Postgres, valkey: Valkey) -> None:
    assert ask(postgres, "select 7") == 7
    with redis.Redis.from_url(valkey.url) as client:
        assert client.ping()
        socket = Path(client.connection_pool.connection_kwargs["path"])
    assert mode(socket.parent) == 0o700
    assert len(os.fsencode(socket)) < 104


def test_postgres_variables_in_the_environment_lead_nowhere(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPORT": "1", "PGHOST": "elsewhere", "PGUSER": "eve"}.items():
        monkeypatch.setenv(name, value)

    postgres.start()

    assert ask(postgres, "select current_user::text") == "warmdesk"


def test_root_without_user_namespaces_gives_the_data_to_nobody(base: Path) -> None:
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("only root on Linux has to become somebody else")
    base.chmod(0o755)
    # In a changed root, the kernel refuses user namespaces.
    inside = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount --rbind / /mnt && exec chroot /mnt "$@"',
        "-",
    ]
    if subprocess.run([*inside, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this root may not mount")
    starter = subprocess.Popen(
        [*inside, sys.executable, "-c", STARTER, str(base / "data")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline().split()[0])

    try:
        assert Path(f"/proc/{pid}").stat().st_uid == 65534
        assert (base / "data" / "postgres").stat().st_uid == 65534
        assert mode(base / "data" / "postgres") == 0o700
    finally:
        starter.kill()
        starter.wait()
        starter.stdout.close()
    until(lambda: is_gone(pid), within=10)
