"""Settings come from one file and the environment, and what cannot be is refused by name."""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib.resources
import re
import secrets
import stat
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmdesk import config
from warmdesk.config import ConfigError, Settings, home, load, with_secrets

LONG = "Zm9yIHRlc3RzIG9ubHk-q7Xw2LdV0pKt"


def test_the_file_that_ships_names_every_setting_with_its_default() -> None:
    text = importlib.resources.files("warmdesk.config_files").joinpath("warmdesk.toml").read_text()
    offered = dict(re.findall(r"^# (\w+) = (.+)$", text, re.MULTILINE))

    assert list(offered) == list(Settings.__struct_fields__)
    for name, value in offered.items():
        default = getattr(Settings(), name)
        if isinstance(default, bool):
            assert value == ('"on"' if default else '"off"')
        else:
            assert ast.literal_eval(value) == (str(default) if name == "data_dir" else default)


def test_the_file_that_ships_changes_nothing_and_explains_each_setting() -> None:
    text = importlib.resources.files("warmdesk.config_files").joinpath("warmdesk.toml").read_text()

    assert load(None, {}) == Settings(data_dir=home() / "var")
    for block in text.strip().split("\n\n")[1:]:
        sentence, setting = block.splitlines()
        assert re.fullmatch(r"# .+\.", sentence), block
        assert re.match(r"# \w+ = ", setting), block


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "desk.toml"
    file.write_text('port = 9000\nworkers = 3\nrate_limits = "off"\n')

    settings = load(file, {"WARMDESK_PORT": "9001", "HOME": "/home/eve", "WARMDESK_CONFIG": "x"})

    assert (settings.port, settings.workers, settings.rate_limits) == (9001, 3, False)


def test_an_empty_variable_is_an_unset_one() -> None:
    assert load(None, {"WARMDESK_PORT": "", "WARMDESK_DATABASE_URL": ""}).port == 8080


def test_relative_paths_never_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load(None, {"WARMDESK_DATA_DIR": "elsewhere"}).data_dir
    monkeypatch.chdir(tmp_path)

    assert load(None, {"WARMDESK_DATA_DIR": "elsewhere"}).data_dir == before == home() / "elsewhere"
    assert load(None, {"WARMDESK_DATA_DIR": "/srv/desk"}).data_dir == Path("/srv/desk")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WARMDESK_PORT", "eighty"),
        ("WARMDESK_PORT", "65536"),
        ("WARMDESK_WORKERS", "0"),
        ("WARMDESK_DATABASE_POOL", "-1"),
        ("WARMDESK_LOGINS_PER_ADDRESS", "0"),
        ("WARMDESK_LOGINS_PER_NAME", "1000001"),
        ("WARMDESK_REGISTRATIONS_PER_ADDRESS", "-1"),
        ("WARMDESK_RATE_LIMITS", "maybe"),
        ("WARMDESK_LOG_LEVEL", "loud"),
        ("WARMDESK_LOG_FORMAT", "xml"),
        ("WARMDESK_ACCESS_TOKEN_TTL", "0"),
        ("WARMDESK_EVENT_RETENTION_DAYS", "-1"),
        ("WARMDESK_DEFAULT_LOCALE", "klingon"),
        ("WARMDESK_DEFAULT_LOCALE", "xx"),
        ("WARMDESK_DEFAULT_LOCALE", "de-AT"),
        ("WARMDESK_DATABASE_URL", "mysql://localhost/desk"),
        ("WARMDESK_REDIS_URL", "memcached://localhost"),
        ("WARMDESK_REDIS_URL", "sentinel://localhost"),
        ("WARMDESK_BASE_URL", "desk.example.org"),
        ("WARMDESK_ALLOWED_ORIGINS", "https://desk.example.org, *"),
        ("WARMDESK_TRUSTED_PROXIES", "10.0.0.0/8, proxy"),
        ("WARMDESK_TLS_CERT", "/etc/desk.pem"),
        ("WARMDESK_JWT_SECRET", "short"),
        ("WARMDESK_SECRET_KEY", "short"),
    ],
)
def test_a_value_that_cannot_be_names_its_setting(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(None, {name: value})

    assert name in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["WARMDESK_PROT", "WARMDESK_port", "WARMDESK_"])
def test_an_unknown_variable_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is not a setting"):
        load(None, {name: "1"})


@pytest.mark.parametrize("line", ["prot = 8080", "[server]\nport = 8080", "port = 'x'"])
def test_a_wrong_line_in_the_file_is_refused_by_name(tmp_path: Path, line: str) -> None:
    file = tmp_path / "desk.toml"
    file.write_text(line)

    with pytest.raises(ConfigError) as refused:
        load(file, {})

    assert re.match(r"(prot|server|port) in ", str(refused.value))
    assert str(file) in str(refused.value)


def test_a_file_that_is_not_there_or_not_toml_is_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("port: 8080")

    for file in (tmp_path / "none.toml", broken, tmp_path):
        with pytest.raises(ConfigError, match="the settings file"):
            load(file, {})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "http", "cannot be 'http': it must be a whole number"),
        ("PORT", "70000", "cannot be '70000': it must be at most 65,535"),
        ("WORKERS", "0", "cannot be '0': it must be at least 1"),
        ("RATE_LIMITS", "maybe", "cannot be 'maybe': it must be on or off"),
        ("LOG_LEVEL", "loud", "it must be one of debug, info, warning, error"),
        ("WAIT_AT_ONCE", "x" * 900, "…: it must be a number"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_peoples_words(
    name: str, value: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(None, {f"WARMDESK_{name}": value})
    assert str(refused.value).startswith(f"WARMDESK_{name} cannot be ")
    assert str(refused.value).endswith(sentence)
    assert "`" not in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("origin", ["https://*.example.org", "*", "https://*", "http://a.*:80"])
def test_an_origin_that_stands_for_many_is_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match=r"ALLOWED_ORIGINS: .* stands for many origins; name"):
        load(None, {"WARMDESK_ALLOWED_ORIGINS": f"https://one.example.org, {origin}"})


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("redis://127.0.0.1:6379/0", True),
        ("redis://localhost", True),
        ("redis://[::1]:6379", True),
        ("unix:///run/redis.sock", True),
        ("rediss://:word@redis.example.org:6380", True),
        ("redis://10.0.0.5?password=word", True),
        ("sentinel://:word@one:26379,two:26379/main", True),
        ("sentinel://localhost,127.0.0.1/main", True),
        ("redis://redis.example.org", False),
        ("redis://user@redis.example.org", False),
        ("rediss://10.0.0.5", False),
        ("sentinel://localhost,two/main", False),
    ],
)
def test_a_redis_on_another_host_needs_a_password(url: str, fine: bool) -> None:
    if fine:
        assert load(None, {"WARMDESK_REDIS_URL": url}).redis_url == url
    else:
        with pytest.raises(ConfigError, match="password"):
            load(None, {"WARMDESK_REDIS_URL": url})


DATABASE, REDIS = "WARMDESK_DATABASE_URL", "WARMDESK_REDIS_URL"


@pytest.mark.parametrize(
    ("name", "url"),
    [
        (name, f"{scheme}://{user}:{password}@{host}")
        for password in (
            *(f"hid{character}den" for character in "#?/@["),
            *(f"1234{character}hid=den" for character in "#?/@["),
            "hid/den@hidden",
            "hid?den=hidden/",
        )
        for name, scheme, user, host in (
            (DATABASE, "postgresql", "desk", "db.example.org/warmdesk"),
            (DATABASE, "postgres", "desk", "one,two:5433"),
            (REDIS, "redis", "", "localhost"),
            (REDIS, "rediss", "desk", "redis.example.org:6380/1"),
            (REDIS, "sentinel", "", "one:26379,two/main"),
        )
    ]
    + [
        (DATABASE, "postgresql://desk@db.example.org:hidden/warmdesk"),
        (DATABASE, "postgresql://desk@one:5432,two:hidden/warmdesk"),
        (DATABASE, "postgresql://desk@db.example.org:65536/warmdesk"),
        (DATABASE, "postgresql://db.example.org/warmdesk?port=hidden"),
        (DATABASE, "postgresql://desk@[hidden/warmdesk"),
        (DATABASE, "postgresql://desk:hid\u2100den@db.example.org/warmdesk"),
        (REDIS, "redis://localhost:hidden"),
        (REDIS, "redis://localhost:-1"),
        (REDIS, "unix://:hid/den@/run/redis.sock"),
        (REDIS, "sentinel://:word@one:hidden,two/main"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_any_of_it(name: str, url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(None, {name: url})

    said = "".join(traceback.format_exception(refused.value))
    assert f"{name} cannot be read as a URL" in said
    assert "%23 %3F %2F %40" in said
    assert not re.search("hid|den|1234", said.rpartition("ConfigError")[2])
    assert said.count("Traceback") == 1


@pytest.mark.parametrize(
    ("name", "url"),
    [
        (DATABASE, "postgresql://db/desk"),
        (
            DATABASE,
            "postgres://desk:p%23%3F%2F%40:w%5B@db.example.org:5433/desk?sslmode=verify-full",
        ),
        (DATABASE, "postgresql://desk@/desk?host=/run/postgresql&port=5433"),
        (DATABASE, "postgresql:///desk?host=/run/pg@15&user=desk@corp&password=word"),
        (DATABASE, "postgresql://db.example.org:5432/desk?user=desk@corp&application_name="),
        (DATABASE, "postgresql://desk:word@[::1]:5433,[fe80::1]/desk?target_session_attrs=primary"),
        (DATABASE, "postgresql://one:5432,two,three:5434/desk"),
        (DATABASE, "postgresql://desk:word@%2Frun%2Fpostgresql/desk"),
        (REDIS, "rediss://:word@redis.example.org:6380/1?ssl_ca_certs=/etc/ca.pem&db=2"),
        (REDIS, "redis://desk:p%40%3A:w@[::1]:6379/0"),
        (REDIS, "unix:///run/redis@main/redis.sock?db=1&password=w@rd"),
        (REDIS, "unix://desk:word@/run/redis@main/redis.sock"),
        (REDIS, "sentinel://desk:word@[::1]:26379, two/main"),
    ],
)
def test_a_url_with_everything_that_one_may_have_is_taken(name: str, url: str) -> None:
    settings = load(None, {name: url})

    assert url in (settings.database_url, settings.redis_url)


def test_a_url_or_a_secret_that_is_no_text_is_not_told(tmp_path: Path) -> None:
    file = tmp_path / "desk.toml"
    for key in ("database_url", "redis_url", "jwt_secret", "secret_key"):
        file.write_text(f'{key} = ["redis://:hidden@localhost"]')
        with pytest.raises(ConfigError) as refused:
            load(file, {})
        assert str(refused.value) == f"{key} in {file} must be text"


def test_secrets_are_made_once_and_only_we_can_read_them(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)

    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(lambda _: with_secrets(settings), range(8)))

    assert len(made) == 1
    (once,) = made
    assert once.jwt_secret != once.secret_key
    for name in ("jwt_secret", "secret_key"):
        file = tmp_path / name
        assert file.read_text() == getattr(once, name)
        assert len(file.read_text()) >= 32
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jwt_secret", "secret_key"]


def test_secrets_that_are_set_are_not_written_down(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, jwt_secret=LONG, secret_key=LONG)

    assert with_secrets(settings) == settings
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["jwt_secret", "secret_key"])
def test_an_external_database_without_a_secret_is_refused(tmp_path: Path, name: str) -> None:
    settings = msgspec.structs.replace(
        Settings(data_dir=tmp_path, database_url="postgresql://db/desk"),
        **{"jwt_secret": LONG, "secret_key": LONG, name: ""},
    )

    with pytest.raises(ConfigError, match=f"WARMDESK_{name.upper()} must be set"):
        with_secrets(settings)
    assert not list(tmp_path.iterdir())


def test_a_kept_secret_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jwt_secret").write_text("cut")

    with pytest.raises(ConfigError, match="jwt_secret has fewer than 32 bytes"):
        with_secrets(Settings(data_dir=tmp_path))


@pytest.mark.parametrize("name", ["WARMDESK_JWT_SECRET", "WARMDESK_SECRET_KEY"])
@pytest.mark.parametrize(
    "secret",
    [
        "a" * 32,
        "x" * 500,
        " " * 50,
        "ab" * 20,
        "abababababababababababababababac",
        "changeme" * 4,
        "correct horse battery" * 2,
        "0123456789" * 4,
        "0123456789abcdef" * 2,
        "abcdefghijklmnopqrstuvwxyz012345",
        "zyxwvutsrqponmlkjihgfedcba987654",
        "ä" * 20,
    ],
)
def test_a_secret_that_can_be_guessed_is_refused(tmp_path: Path, name: str, secret: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(None, {name: secret})

    assert str(refused.value).startswith(f"{name} can be guessed: ")
    assert "openssl rand -base64 48" in str(refused.value)
    assert secret.strip()[:8] not in str(refused.value) or not secret.strip()
    (tmp_path / "jwt_secret").write_text(secret)
    with pytest.raises(ConfigError, match=r"jwt_secret (can be guessed|has fewer than)"):
        with_secrets(Settings(data_dir=tmp_path))


@given(secret=st.binary(min_size=24, max_size=96))
def test_what_a_generator_of_secrets_gives_is_taken(secret: bytes) -> None:
    """`openssl rand` in base64 and in hex; hypothesis likes to repeat bytes, so they are hashed."""
    made = hashlib.shake_256(secret).digest(len(secret))
    for text in (made.hex(), base64.b64encode(made).decode(), secrets.token_urlsafe(24)):
        assert load(None, {"WARMDESK_JWT_SECRET": text}).jwt_secret == text


def test_a_wrong_line_in_the_file_that_ships_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "warmdesk.toml"
    file.write_text('log_format = "bogus"\n')
    monkeypatch.setattr(config, "shipped_file", lambda: file)
    with pytest.raises(ConfigError, match=r"^log_format in .*/warmdesk.toml cannot be 'bogus'"):
        load(None, {})
    file.write_text("colour = 1\n")
    with pytest.raises(ConfigError, match=r"^colour in .*/warmdesk.toml is not a setting"):
        load(None, {})
