"""Settings: config/warmdesk.toml (or ``--config FILE``), overridden by ``WARMDESK_*`` in the
environment, and that by the command line.

A key or variable that is not known is an error that names it, and so is a value that cannot be: a
misspelt setting would otherwise be a default that nobody chose.
"""

from __future__ import annotations

import importlib.resources
import ipaddress
import itertools
import os
import re
import secrets
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints
from urllib.parse import SplitResult, parse_qs, urlsplit

import msgspec
from msgspec import Meta

from warmdesk.errors import cut
from warmdesk.validation import sentence

PREFIX = "WARMDESK_"
FILE_VARIABLE = "WARMDESK_CONFIG"
SHORTEST_SECRET = 32
"""Bytes: shorter keys make HMAC-SHA256 weaker than its digest."""
FEWEST_VALUES = 10
"""Different bytes of a secret, and different steps from one to the next: 32 random hexadecimal
digits have about 14, and fewer than 10 once in a hundred thousand times."""
DATABASE_SCHEMES = ("postgresql", "postgres")
REDIS_SCHEMES = ("redis", "rediss", "unix", "sentinel")
STORE_SCHEMES = ("s3", "gs", "az")
HOST_AND_PORT = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::(\d*))?")
"""A host of a URL, and its port."""
ON_OFF = {"on": "true", "off": "false"}

Count = Annotated[int, Meta(ge=1, le=1000)]
Limit = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[int, Meta(ge=1, le=10 * 366 * 86400)]
Locale = Literal["en", "nl", "de", "fr", "es", "da", "sv", "nb", "fi", "is", "pt", "it"]
"""What an account may choose, and so what a new one may be given."""


class ConfigError(Exception):
    """The settings cannot be; the message names the one and says what it may be."""


class Settings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Every setting with its default; config/warmdesk.toml explains each in a sentence."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    data_dir: Path = Path("var")
    database_url: str = ""
    redis_url: str = ""
    jwt_secret: str = ""
    secret_key: str = ""
    previous_secret_key: str = ""
    database_pool: Count = 10
    database_heavy_pool: Count = 2
    base_url: str = ""
    allowed_origins: str = ""
    trusted_proxies: str = ""
    rate_limits: bool = True
    connections_per_address: Limit = 1000
    sockets_per_person: Limit = 100
    waits_per_person: Limit = 20
    public_body_bytes: Annotated[int, Meta(ge=1024, le=1 << 20)] = 16384
    reads_at_once: Count = 4
    writes_at_once: Count = 4
    wait_at_once: Annotated[float, Meta(ge=0, le=10)] = 2.0
    changes_per_minute: Annotated[int, Meta(ge=60, le=1_000_000)] = 1200
    cards_per_change: Count = 50
    messages_per_minute: Limit = 60
    webhook_deliveries_per_minute: Limit = 120
    logins_per_name_and_address: Limit = 10
    logins_per_address: Limit = 100
    logins_per_name: Limit = 100
    known_address_days: Annotated[int, Meta(ge=0, le=400)] = 30
    registrations_per_address: Limit = 5
    resets_per_address: Limit = 5
    calendars_per_address: Limit = 120
    calendar_reads: Limit = 60
    access_token_ttl: Seconds = 900
    refresh_token_ttl: Seconds = 604800
    presence_leave_delay: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    event_retention_days: Annotated[float, Meta(ge=0, le=3660)] = 7.0
    file_store: str = ""
    upload_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 26_214_400
    files_per_card: Count = 100
    foreign_pictures: bool = False
    project_file_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 50)] = 10 << 30
    backup_dir: str = ""
    backup_passphrase: str = ""
    webhook_allow_private: str = ""
    default_locale: Locale = "en"
    smtp_host: str = ""
    smtp_port: Annotated[int, Meta(ge=1, le=65535)] = 587
    smtp_security: Literal["auto", "tls", "starttls", "none"] = "auto"
    smtp_username: str = ""
    smtp_password: str = ""
    smtp_from: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    tls_cert: str = ""
    tls_key: str = ""


SECRETS = ("jwt_secret", "secret_key")


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + field.upper()


def home() -> Path:
    """What relative paths in settings are relative to: the checkout, or the user's own data when
    there is none.
    """
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "bin" / "serve").exists():
        return checkout
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "warmdesk"


class Explained(NamedTuple):
    """A setting as config/warmdesk.toml tells it: its default is TOML."""

    name: str
    default: str
    sentence: str


def explained() -> list[Explained]:
    """Every setting, in the order of `Settings`."""
    found = []
    for block in _shipped().strip().split("\n\n")[1:]:
        sentence, _, setting = block.removeprefix("# ").partition("\n# ")
        name, _, default = setting.partition(" = ")
        found.append(Explained(name, default, sentence))
    return found


def load(
    file: Path | None, environ: Mapping[str, str], options: Mapping[str, Any] | None = None
) -> Settings:
    """Settings from `file` (without one: config/warmdesk.toml as it ships), then `environ`, and
    then `options` of the command line, by field. Raises `ConfigError`.

    An empty variable counts as unset, and so does an option that is None.
    """
    raw: dict[str, tuple[str, Any]] = {}
    source = file or shipped_file()
    advice = "is not a setting of WarmDesk; remove or correct it"
    for key, value in _read(file).items():
        if key not in Settings.__struct_fields__:
            raise ConfigError(f"{key} in {source} {advice}")
        raw[key] = (f"{key} in {source}", value)
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name == FILE_VARIABLE:
            continue
        key = name.removeprefix(PREFIX).lower()
        if key not in Settings.__struct_fields__ or name != variable(key):
            raise ConfigError(f"{name} {advice}")
        if value != "":
            raw[key] = (name, value)
    for key, value in (options or {}).items():
        if value is not None:
            raw[key] = ("--" + key.replace("_", "-"), value)
    kinds = get_type_hints(Settings, include_extras=True)
    settings = Settings(
        **{key: _converted(name, value, kinds[key]) for key, (name, value) in raw.items()}
    )
    settings = msgspec.structs.replace(
        settings,
        data_dir=home() / settings.data_dir,
        file_store=_store(settings.file_store),
        backup_dir=_below_home(settings.backup_dir),
        tls_cert=_below_home(settings.tls_cert),
        tls_key=_below_home(settings.tls_key),
    )
    _check(settings)
    return settings


def with_secrets(settings: Settings) -> Settings:
    """Settings with the secrets that are unset: kept in the data directory, made there the first
    time.

    Only with the embedded database: several hosts that share one must share its secrets too, so
    there an operator sets them.
    """
    found = {}
    for field in SECRETS:
        if getattr(settings, field):
            continue
        if settings.database_url:
            raise ConfigError(
                f"{variable(field)} must be set when WARMDESK_DATABASE_URL is:"
                f" at least {SHORTEST_SECRET} random bytes"
            )
        found[field] = _secret_in(settings.data_dir / field, field)
    return msgspec.structs.replace(settings, **found)


def _read(file: Path | None) -> dict[str, Any]:
    file = file or shipped_file()
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"the settings file {file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the settings file {file} is not TOML: {error}") from error


def shipped_file() -> Path:
    """The settings file that is read where none is named: config/warmdesk.toml of a checkout."""
    folder = importlib.resources.files("warmdesk.config_files")
    return Path(str(folder.joinpath("warmdesk.toml"))).resolve()


def _shipped() -> str:
    return shipped_file().read_text("utf-8")


def _converted(name: str, value: Any, kind: Any) -> Any:
    if isinstance(value, str) and kind is bool:
        value = ON_OFF.get(value.lower(), value)
    try:
        return msgspec.convert(value, kind, strict=False, dec_hook=lambda to, raw: to(raw))
    except msgspec.ValidationError as error:
        if kind is str:  # it may be a secret
            raise ConfigError(f"{name} must be text") from None
        wanted = "must be on or off" if kind is bool else sentence(kind, error)
        raise ConfigError(f"{name} cannot be {cut(repr(value), 200)}: it {wanted}") from None


def _below_home(path: str) -> str:
    return str(home() / path) if path else ""


def _store(place: str) -> str:
    """Where files are kept: a URL as it is, a directory below home."""
    return place if "://" in place else _below_home(place)


def _check(settings: Settings) -> None:
    """What a type alone cannot say."""
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise ConfigError("WARMDESK_TLS_CERT and WARMDESK_TLS_KEY go together; set both or none")
    for field in SECRETS:
        secret = getattr(settings, field)
        if 0 < len(secret.encode()) < SHORTEST_SECRET:
            raise ConfigError(f"{variable(field)} must have at least {SHORTEST_SECRET} bytes")
        if secret:
            _refuse_guessable(variable(field), secret)
    if settings.database_url:
        parts = _parts("WARMDESK_DATABASE_URL", settings.database_url)
        if parts.scheme not in DATABASE_SCHEMES:
            raise ConfigError("WARMDESK_DATABASE_URL must begin with postgresql://")
    if settings.redis_url:
        _check_redis(_parts("WARMDESK_REDIS_URL", settings.redis_url))
    if "://" in settings.file_store:
        parts = _parts("WARMDESK_FILE_STORE", settings.file_store)
        if parts.scheme not in STORE_SCHEMES or not parts.hostname:
            kinds = ", ".join(f"{scheme}://" for scheme in STORE_SCHEMES)
            raise ConfigError(
                f"WARMDESK_FILE_STORE must be a directory, or one of {kinds} and a bucket's name"
            )
    if settings.base_url and not _is_origin(settings.base_url, path=True):
        raise ConfigError("WARMDESK_BASE_URL must be an address like https://desk.example.org")
    for origin in listed(settings.allowed_origins):
        if "*" in origin:
            raise ConfigError(
                f"WARMDESK_ALLOWED_ORIGINS: {origin!r} stands for many origins; name each of them,"
                " like https://desk.example.org"
            )
        if not _is_origin(origin):
            raise ConfigError(
                f"WARMDESK_ALLOWED_ORIGINS: {origin!r} is not an origin like https://desk.example.org"
            )
    for proxy in listed(settings.trusted_proxies):
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            raise ConfigError(
                f"WARMDESK_TRUSTED_PROXIES: {proxy!r} is not an address or a network"
            ) from None


def _refuse_guessable(name: str, secret: str) -> None:
    """`ConfigError` for a secret that somebody typed: few characters, a sequence, a short pattern
    again and again. An attacker who guesses it signs access tokens for every account.
    """
    raw = secret.encode()
    steps = {(after - before) % 256 for before, after in itertools.pairwise(raw)}
    longest = min(len(raw) // 2, SHORTEST_SECRET - 1)
    repeats = any(raw.startswith(raw[length:]) for length in range(1, longest + 1))
    if repeats or min(len(set(raw)), len(steps)) < FEWEST_VALUES:
        raise ConfigError(
            f"{name} can be guessed: it repeats itself or has too few different characters;"
            " set one that is random, like the output of: openssl rand -base64 48"
        )


def listed(value: str) -> list[str]:
    """The parts of a setting that is a list with commas."""
    return [part.strip() for part in value.split(",") if part.strip()]


def _parts(name: str, url: str) -> SplitResult:
    """The parts of a server's URL. A character of its password that is not escaped ends a part too
    early, and what cannot be read there would be told in errors.
    """
    try:
        parts = urlsplit(url)
        login, _, hosts = parts.netloc.rpartition("@")
        matches = [HOST_AND_PORT.fullmatch(host.strip()) for host in hosts.split(",")]
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
        ports = [match[1] or "0" for match in matches if match]
        ports += ",".join(options.get("port", ["0"])).split(",")
        fine = all(matches) and all(0 <= int(port) <= 65535 for port in ports)
    except ValueError:
        fine = False
    else:
        rest = parts.path if parts.scheme != "unix" else ""
        if hosts and not login and not parts.path:
            rest = parts.query
        fine = fine and "@" not in login + rest and "#" not in url
    if not fine:
        raise ConfigError(
            f"{name} cannot be read as a URL; its port is a number, and in its password characters"
            " like # ? / @ [ ] % are written percent-encoded: %23 %3F %2F %40 %5B %5D %25"
        )
    return parts


def _check_redis(parts: SplitResult) -> None:
    if parts.scheme not in REDIS_SCHEMES:
        kinds = ", ".join(f"{scheme}://" for scheme in REDIS_SCHEMES)
        raise ConfigError(f"WARMDESK_REDIS_URL must begin with one of {kinds}")
    if parts.scheme == "unix":
        return
    login, _, hosts = parts.netloc.rpartition("@")
    remote = not all(_is_loopback(host) for host in hosts.split(","))
    if remote and not login.partition(":")[2] and "password=" not in parts.query:
        raise ConfigError(
            "WARMDESK_REDIS_URL names a Redis on another host without a password;"
            " give it one (redis://:PASSWORD@host)"
        )
    if parts.scheme == "sentinel" and not parts.path.strip("/"):
        raise ConfigError("WARMDESK_REDIS_URL must name the primary: sentinel://host1,host2/NAME")


def _is_loopback(host: str) -> bool:
    name = re.sub(r":\d+$", "", host.strip()).strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in ("localhost", "")


def _is_origin(text: str, *, path: bool = False) -> bool:
    parts = urlsplit(text)
    rest = bool(parts.query or parts.fragment or (parts.path.strip("/") and not path))
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not rest


def _secret_in(file: Path, field: str) -> str:
    """The secret in a file, made once: two that make it at the same time end with the same one."""
    try:
        if not file.exists():
            fd, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
            fresh = Path(name)
            with os.fdopen(fd, "w") as opened:
                opened.write(secrets.token_urlsafe(48))
                opened.flush()
                os.fsync(opened.fileno())
            try:
                os.link(fresh, file)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        secret = file.read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError(f"the secret {file} cannot be kept: {error.strerror}") from error
    if len(secret.encode()) < SHORTEST_SECRET:
        raise ConfigError(
            f"{file} has fewer than {SHORTEST_SECRET} bytes;"
            f" delete it to have a new one made, or set {variable(field)}"
        )
    _refuse_guessable(str(file), secret)
    return secret
