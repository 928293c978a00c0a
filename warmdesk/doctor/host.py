"""This host: its settings, disks, limit of open files and certificate."""

from __future__ import annotations

import ipaddress
import os
import resource
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from warmdesk.auth.addresses import networks
from warmdesk.backups.directory import directory_of
from warmdesk.config import ConfigError, Settings, shipped_file
from warmdesk.disk import measure_disk
from warmdesk.doctor import Finding, Findings, Teller
from warmdesk.server import check_tls
from warmdesk.slots import WANTED_FILES

FEWEST_FILES = 1024
SOON_DAYS, VERY_SOON_DAYS = 21, 3
"""Days that a certificate is still good below which somebody should look; a program renews one
thirty days before."""
WIDEST = {4: 8, 6: 16}
"""Prefixes of networks so wide that nobody's proxies fill one, by version."""
MIB = 1 << 20

SETTINGS = Teller("settings")
DISK = Teller("disk")
FILES = Teller("open files")
CERTIFICATE = Teller("certificate")


async def settings(found: Settings, file: Path | None) -> Findings:
    """What the settings themselves tell."""
    host = urlsplit(found.base_url).hostname or ""
    if not found.base_url:
        yield SETTINGS.warning(
            "base_url is empty, so nothing is mailed and no link leads here",
            "set WARMDESK_BASE_URL to the address that people open",
        )
    elif found.base_url.startswith("http:") and not is_here(host):
        yield SETTINGS.warning(
            "base_url begins with http://, so passwords and tokens cross the network in clear",
            "put TLS in front, or set WARMDESK_TLS_CERT and WARMDESK_TLS_KEY",
        )
    wide = [
        str(each)
        for each in networks(found.trusted_proxies)
        if each.prefixlen < WIDEST[each.version] and not each.is_loopback
    ]
    if wide:
        yield SETTINGS.wrong(
            f"trusted_proxies has {', '.join(wide)}: anybody there may pretend any address",
            "name the addresses of your proxies alone in WARMDESK_TRUSTED_PROXIES",
        )
    if not found.rate_limits:
        yield SETTINGS.warning(
            "rate_limits is off: passwords can be guessed as fast as the host can check them",
            "set WARMDESK_RATE_LIMITS to on",
        )
    if found.previous_secret_key:
        yield SETTINGS.warning(
            "previous_secret_key is still set",
            "take it out when the log has said system.resealed",
        )
    if file is not None and file.stat().st_mode & 0o044 and _has_secret(found):
        yield SETTINGS.warning(f"others may read {file}, which has secrets", f"chmod 600 {file}")
    yield SETTINGS.ok(f"read from {file or shipped_file()}, the environment and the defaults")


def _has_secret(found: Settings) -> bool:
    urls = (found.database_url, found.redis_url)
    return bool(
        found.jwt_secret
        or found.secret_key
        or found.smtp_password
        or any(urlsplit(url).password for url in urls)
    )


def is_here(host: str) -> bool:
    """Whether a host's name or address is this very machine's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def disks(found: Settings) -> Findings:
    """Room, and the right to write, in each directory that something is kept in."""
    for what, directory in _directories(found):
        existing = next(each for each in (directory, *directory.parents) if each.exists())
        if not os.access(existing, os.W_OK | os.X_OK):
            yield DISK.wrong(
                f"the directory of {what}, {directory}, cannot be written",
                f"give it to the user that runs WarmDesk, with the id {os.geteuid()}",
            )
            continue
        disk = measure_disk(existing)
        assert disk is not None
        room = f"{disk.free // MIB:,} MiB of {disk.size // MIB:,} are free"
        said = f"{room} for {what}, in {directory}"
        if disk.full:
            yield DISK.wrong(said, "make room now: changes and uploads fail")
        elif disk.low:
            yield DISK.warning(said, "make room: uploads are refused below 1 GiB or 5 %")
        else:
            yield DISK.ok(said)


def _directories(found: Settings) -> Iterable[tuple[str, Path]]:
    """What is kept on disks of this host, and where."""
    yield "the data", found.data_dir
    if found.file_store and "://" not in found.file_store:
        yield "files", Path(found.file_store)
    yield "backups", directory_of(found)
    yield "temporary files", Path(tempfile.gettempdir())


async def open_files() -> Findings:
    """How many connections this host may have open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    said = f"a process may have {hard:,} open" if hard != resource.RLIM_INFINITY else "no limit"
    advice = f"set LimitNOFILE={WANTED_FILES} in its service, or ulimit -Hn before the start"
    if hard == resource.RLIM_INFINITY or hard >= WANTED_FILES:
        yield FILES.ok(said)
    elif hard < FEWEST_FILES:
        yield FILES.wrong(f"{said}, and each connection is one", advice)
    else:
        yield FILES.warning(f"{said}, and each connection is one", advice)


async def certificate(found: Settings) -> Findings:
    """The certificate that the server shows, if it shows one itself."""
    if not found.tls_cert:
        yield CERTIFICATE.ok("none here: TLS is spoken by what stands in front, or not at all")
        return
    try:
        check_tls(found)
        shown = x509.load_pem_x509_certificates(Path(found.tls_cert).read_bytes())[0]
    except (ConfigError, OSError, ValueError) as error:
        yield CERTIFICATE.wrong(
            str(error), "name a certificate and its key, as PEM, that belong together"
        )
        return
    for finding in judged(shown, CERTIFICATE):
        yield finding
    names = names_of(shown)
    host = urlsplit(found.base_url).hostname
    if host and not any(_covers(name, host) for name in names):
        yield CERTIFICATE.wrong(
            f"it is for {', '.join(names) or 'no name'}, and not for {host} of base_url",
            "get one for that name, or correct WARMDESK_BASE_URL",
        )
    if Path(found.tls_key).stat().st_mode & 0o077:
        yield CERTIFICATE.warning(
            f"others may read its key {found.tls_key}", f"chmod 600 {found.tls_key}"
        )


def judged(shown: x509.Certificate, tell: Teller) -> Iterable[Finding]:
    """For how long a certificate is good."""
    now = datetime.now(UTC)
    days = (shown.not_valid_after_utc - now).days
    until = f"{shown.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if shown.not_valid_before_utc > now:
        begins = f"{shown.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        yield tell.wrong(f"the certificate is not good before {begins}", "look at the host's clock")
    elif shown.not_valid_after_utc <= now:
        yield tell.wrong(f"the certificate was good until {until}", "renew it")
    elif days < VERY_SOON_DAYS:
        yield tell.wrong(f"the certificate is good for {days} more days, until {until}", "renew it")
    elif days < SOON_DAYS:
        yield tell.warning(
            f"the certificate is good for {days} more days, until {until}",
            "renew it, and see why nothing has done so",
        )
    else:
        yield tell.ok(f"the certificate is good for {days} more days")


def names_of(shown: x509.Certificate) -> list[str]:
    """The names and addresses that a certificate is for."""
    try:
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        *names.get_values_for_type(x509.DNSName),
        *map(str, names.get_values_for_type(x509.IPAddress)),
    ]


def _covers(name: str, host: str) -> bool:
    name, host = name.lower(), host.lower().rstrip(".")
    if name.startswith("*."):
        return host.partition(".")[2] == name[2:]
    return name == host
