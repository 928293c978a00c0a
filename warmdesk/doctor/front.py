"""The address that people open, through whatever stands in front of the server: whether it leads
here, lets sockets pass, and tells where people come from.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
import sys
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
from cryptography import x509

from warmdesk.auth.addresses import parsed
from warmdesk.config import Settings
from warmdesk.db.dial import connect
from warmdesk.db.pool import BROKEN
from warmdesk.db.queries import sql
from warmdesk.doctor import SECONDS, Finding, Findings, Teller, leave
from warmdesk.doctor.host import judged
from warmdesk.outages import reason_of

API = "/api/v1"
ELSEWHERE = "127.0.0.2"
"""An address of this machine that nothing else of it sends from."""
INVENTED = "192.0.2.123"
"""An address of nobody, from RFC 5737: what a client may pretend."""
START = "start the server, correct WARMDESK_BASE_URL, or see what stands in front"

TELL = Teller("base_url")


async def front(found: Settings, *, reaches: bool) -> Findings:
    """Ask as a client does. `reaches`: the database can be asked what the server saw."""
    base = found.base_url.rstrip("/")
    if not base:
        return
    own = await _own_address(base)
    family = socket.AF_UNSPEC
    local = None
    if own == ELSEWHERE:
        local, family = (ELSEWHERE, 0), socket.AF_INET
    # aiohttp's own context is of the moment when it was imported.
    context = ssl.create_default_context()
    connector = aiohttp.TCPConnector(local_addr=local, family=family, force_close=True, ssl=context)
    limit = aiohttp.ClientTimeout(total=SECONDS)
    agent = f"warmdesk doctor {secrets.token_hex(8)}"
    headers = {"User-Agent": agent}
    async with aiohttp.ClientSession(connector=connector, timeout=limit, headers=headers) as http:
        try:
            yield await _leads_here(http, base)
            yield await _passes_upgrade(http, base)
            if reaches:
                yield await _tells_address(http, base, found, own, agent)
        except aiohttp.ClientConnectorCertificateError as error:
            yield TELL.wrong(
                f"its certificate is not one to trust: {error.certificate_error}",
                "get one that is, or name the authority by SSL_CERT_FILE",
            )
            return
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            yield TELL.wrong(f"{base} does not answer: {reason_of(error)}", START)
            return
    for finding in await _certificate(base):
        yield finding


async def _own_address(base: str) -> str:
    """From which address we ask. To an address of this machine that is one which a proxy on it does
    not have, so that the two cannot be mistaken. Empty when nothing answers there.
    """
    parts = urlsplit(base)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError):
        return ""
    own, there = (writer.get_extra_info(each)[0] for each in ("sockname", "peername"))
    writer.transport.abort()
    same_machine = own == there and ":" not in own
    return ELSEWHERE if same_machine and sys.platform == "linux" else str(own)


async def _leads_here(http: aiohttp.ClientSession, base: str) -> Finding:
    async with http.get(f"{base}{API}/health") as answer:
        said: Any = None
        if answer.content_type == "application/json":
            said = await answer.json()
        if answer.status == 200 and said == {"status": "ok"}:
            return TELL.ok(f"{base} leads to a WarmDesk")
        return TELL.wrong(
            f"{base}{API}/health is answered with {answer.status}, and not as WarmDesk does", START
        )


async def _passes_upgrade(http: aiohttp.ClientSession, base: str) -> Finding:
    """Without a token a handshake is refused with 401 when it arrives whole, and with 426 when it
    arrives as an ordinary request.
    """
    try:
        async with http.ws_connect(f"{base}{API}/ws/user") as met:
            await met.close()
            status = 101
    except aiohttp.WSServerHandshakeError as error:
        status = error.status
    if status == 401:
        return TELL.ok("sockets pass")
    return TELL.wrong(
        f"sockets do not pass: a handshake is answered with {status}",
        "have what stands in front pass Upgrade and Connection on, as the examples in config/ do",
    )


async def _tells_address(
    http: aiohttp.ClientSession, base: str, found: Settings, own: str, agent: str
) -> Finding:
    """Fail to sign in, by a name that nobody can have, and read what the login history says of it:
    it is in the database only if the server there is of this installation.
    """
    connection = await connect(found.database_url, timeout=SECONDS, command_timeout=SECONDS)
    try:
        after = await sql.doctor.last_failed(connection)
        body = {"username": "warmdesk:doctor", "password": secrets.token_hex(8)}
        pretended = {"X-Forwarded-For": INVENTED}
        async with http.post(f"{base}{API}/auth/login", json=body, headers=pretended) as answer:
            status = answer.status
        rows = await sql.doctor.failed_from(connection, after=after, agent=agent)
    except (*BROKEN, asyncpg.PostgresError) as error:
        return TELL.warning(f"where people come from is unknown: {reason_of(error)}", "try again")
    finally:
        await leave(connection)
    if status == 429:
        return TELL.warning(
            "where people come from is unknown: too many signed in wrongly from here", "try again"
        )
    if not rows:
        return TELL.wrong(
            "the server there has another database than these settings name",
            "correct WARMDESK_BASE_URL or WARMDESK_DATABASE_URL",
        )
    return judge_address(rows[0]["ip"], own)


def judge_address(seen: str, own: str) -> Finding:
    """What it means that the server saw a request of ours come from an address."""
    where = parsed(seen)
    if seen == INVENTED:
        return TELL.wrong(
            "it believes the address that a client names in X-Forwarded-For",
            "name your proxies alone in WARMDESK_TRUSTED_PROXIES, and have them add the address",
        )
    if where == parsed(own) or (where is not None and where.is_global):
        return TELL.ok(f"the server sees where people come from: we are {seen}")
    return TELL.wrong(
        f"the server sees everybody as {seen or 'nobody'}, and not as {own}",
        f"name {seen} in WARMDESK_TRUSTED_PROXIES, if it is your proxy, and have it add"
        " X-Forwarded-For, as the examples in config/ do",
    )


async def _certificate(base: str) -> list[Finding]:
    """For how long the certificate there is good; that it is one to trust was seen before."""
    parts = urlsplit(base)
    if parts.scheme != "https":
        return []
    context = ssl.create_default_context()
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or 443, ssl=context, server_hostname=parts.hostname
            )
    except (OSError, TimeoutError) as error:
        return [TELL.wrong(f"{base} does not answer: {reason_of(error)}", START)]
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return list(judged(x509.load_der_x509_certificate(shown), TELL))
