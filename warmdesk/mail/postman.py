"""The way to the mail server: one connection, kept as long as there is something to send.

Whatever the server does, sending one mail ends within `SEND_SECONDS`: it is slow, silent, speaks
another language, shows a certificate that nobody trusts, or hangs up. Why a mail was not taken is
one of `REASONS`; what the server itself said stands in no answer, and in the log only as a number.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from email.message import EmailMessage
from types import TracebackType
from typing import NamedTuple

import aiosmtplib

from warmdesk.schemas.settings import SystemSettings

SEND_SECONDS = 60.0
STEP_SECONDS = 20.0
"""The server has so long for each of its answers."""
GOODBYE_SECONDS = 1.0
TLS_PORT = 465
TOO_LARGE = 552
"""A server that was told how long a mail is refuses it as it hears of the sender."""
REASONS = {
    "no_host": "no host is known by the name of the mail server",
    "unreachable": "the mail server cannot be reached",
    "slow": "the mail server does not answer in time",
    "certificate": "the certificate of the mail server is not one to trust",
    "no_tls": "the mail server does not speak TLS, or not as we do",
    "unencrypted": "the mail server offers no encryption",
    "no_login": "the mail server takes no username and password",
    "login": "the mail server does not accept the username and password",
    "sender": "the mail server does not accept the sender",
    "recipient": "the mail server does not accept the recipient",
    "recipient_later": "the mail server does not accept the recipient now, but may later",
    "refused": "the mail server does not take the mail",
    "nonsense": "the mail server does not speak SMTP",
    "key": "the link was made with another secret key",
}
"""Why a mail was not taken."""
OF_THE_MAIL = frozenset({"key", "recipient", "recipient_later", "refused"})
"""Reasons after which another mail may be taken all the same. All are sent by the same sender."""
SENDER = re.compile(
    r"[45]\.(?:1\.[78]|7\.60)\b|[45]\.\d+\.\d+ <[^>]*>: sender address rejected", re.IGNORECASE
)
"""How an answer begins that refuses the sender after all, and not the reader or the mail: Postfix
judges the sender only when it hears of a reader, Exchange when it has the mail.
"""


class NotTaken(Exception):
    """The mail server did not take a mail: one of `REASONS`, the number of its answer (0 when there
    was none). `final`: it never will. `counts`: it is a try of the mail; else none is taken now.
    """

    def __init__(self, reason: str, code: int = 0) -> None:
        super().__init__(REASONS[reason])
        self.reason, self.code = reason, code
        self.counts = reason in OF_THE_MAIL

    @property
    def final(self) -> bool:
        return self.counts and self.reason in OF_THE_MAIL and 500 <= self.code < 600


class Offer(NamedTuple):
    """What a mail server offers who connects as we do."""

    encrypted: bool
    extensions: tuple[str, ...]


class Postman:
    """Brings mails to the server that the settings name, one after the other. Use it as a context:
    at its end it says goodbye.
    """

    def __init__(self, values: SystemSettings, *, own_host: str) -> None:
        self.values = values
        self._own_host = own_host
        self._client: aiosmtplib.SMTP | None = None

    async def __aenter__(self) -> Postman:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        client, self._client = self._client, None
        if client is None or not client.is_connected:
            return
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await client.quit()
        except (aiosmtplib.SMTPException, OSError, TimeoutError):
            pass
        finally:
            client.close()

    async def offer(self) -> Offer:
        """Come as with a mail, and send none. Raises `NotTaken`."""
        try:
            client = await self._connected()
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
            extensions = tuple(sorted(each.upper() for each in client.esmtp_extensions))
            return Offer(client.get_transport_info("sslcontext") is not None, extensions)
        except BaseException as error:
            self._hang_up()
            if (why := _why(error)) is not None:
                raise why from error
            raise

    async def send(self, message: EmailMessage) -> None:
        """Have a mail taken. Raises `NotTaken`; then the next one begins with a new connection."""
        is_heard = False
        try:
            async with asyncio.timeout(SEND_SECONDS):
                client = await self._connected()
                is_heard = True
                await client.send_message(message)
        except BaseException as error:
            self._hang_up()
            if (why := _why(error)) is not None:
                # What ends the talk about a mail may be the mail: it must not be begun for ever.
                why.counts = is_heard and why.reason != "sender"
                raise why from error
            raise

    def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _connected(self) -> aiosmtplib.SMTP:
        if self._client is not None and self._client.is_connected:
            return self._client
        values, wish = self.values, self.values.smtp_security
        at_once = wish == "tls" or (wish == "auto" and values.smtp_port == TLS_PORT)
        client = self._client = aiosmtplib.SMTP(
            hostname=values.smtp_host,
            port=values.smtp_port,
            timeout=STEP_SECONDS,
            local_hostname=self._own_host,
            use_tls=at_once,
            start_tls=False,
            tls_context=ssl.create_default_context(),
        )
        try:
            await client.connect()
        except UnicodeError as error:  # no host can have such a name
            raise NotTaken("no_host") from error
        encrypted = at_once
        if not at_once and wish != "none":
            await client.ehlo()
            if client.supports_extension("starttls"):
                await client.starttls()
                encrypted = True
            elif wish == "starttls" or (not _is_here(values.smtp_host) and values.smtp_username):
                raise NotTaken("unencrypted")
        if values.smtp_username:
            if not encrypted and wish == "auto" and not _is_here(values.smtp_host):
                raise NotTaken("unencrypted")
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
            if not client.supports_extension("auth"):
                raise NotTaken("no_login")
            try:
                await client.login(values.smtp_username, values.smtp_password)
            except (aiosmtplib.SMTPNotSupported, UnicodeError) as error:
                raise NotTaken("login") from error
        return client


def _is_here(host: str) -> bool:
    """Whether it is this very machine: nobody listens between."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _why(error: BaseException) -> NotTaken | None:
    """What an error of a try means; None for one that is no answer of the server's."""
    found: NotTaken | None = None
    if isinstance(error, NotTaken):
        found = error
    elif (code := _refuses_sender(error)) is not None:
        found = NotTaken("sender", code)
    elif isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        code = max(each.code for each in error.recipients)
        found = NotTaken("recipient" if code >= 500 else "recipient_later", code)
    elif isinstance(error, aiosmtplib.SMTPNotSupported | UnicodeError):
        found = NotTaken("recipient", 550)
    elif isinstance(error, aiosmtplib.SMTPAuthenticationError):
        found = NotTaken("login", error.code)
    elif isinstance(error, aiosmtplib.SMTPDataError | aiosmtplib.SMTPSenderRefused):
        found = NotTaken("refused", error.code)
    elif _is_of_certificate(error):
        found = NotTaken("certificate")
    elif _is_of(error, ssl.SSLError):
        found = NotTaken("no_tls")
    elif _is_of(error, socket.gaierror):
        found = NotTaken("no_host")
    elif isinstance(error, TimeoutError | aiosmtplib.SMTPTimeoutError):
        found = NotTaken("slow")
    elif isinstance(error, aiosmtplib.SMTPServerDisconnected | OSError):
        found = NotTaken("unreachable", getattr(error, "code", 0))
    elif isinstance(error, aiosmtplib.SMTPResponseException):
        found = NotTaken("nonsense", max(error.code, 0))
    elif isinstance(error, aiosmtplib.SMTPException | ValueError):
        found = NotTaken("nonsense")
    return found


def _refuses_sender(error: BaseException) -> int | None:
    """The number of an answer that refuses the sender; None for all else."""
    if isinstance(error, aiosmtplib.SMTPSenderRefused):
        return error.code if error.code != TOO_LARGE else None
    refusals: list[aiosmtplib.SMTPResponseException] = []
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        refusals += error.recipients
    elif isinstance(error, aiosmtplib.SMTPDataError):
        refusals.append(error)
    return next((each.code for each in refusals if SENDER.match(each.message)), None)


def _is_of(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether such an error is behind it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, kind):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _is_of_certificate(error: BaseException) -> bool:
    if _is_of(error, ssl.SSLCertVerificationError):
        return True
    return "certificate" in str(error).lower() and isinstance(error, aiosmtplib.SMTPException)
