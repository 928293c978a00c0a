"""A real mail server for tests: it takes mails, or refuses, delays and keeps silent as it is told.

It runs on a thread of its own, so a slow server is slow for nobody else.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

LINK = re.compile(r"https?://\S+")
WAITING = """
    with people as (
        insert into users (email, username, password_hash, display_name)
        select 'u' || n || '@example.org', 'u' || n, 'x', 'Person ' || n
        from generate_series(1, $1::integer) as n
        returning id
    ), project as (
        insert into projects (name, slug, key_prefix, created_by_id)
        values ('Mail', 'mail', 'MAIL', 1) returning id
    ), members as (
        insert into project_members (project_id, user_id, role)
        select p.id, u.id, 'member' from people as u, project as p
    ), told as (
        insert into notifications (user_id, kind, actor_id, project_id, body)
        select u.id, 'mention', 1, p.id, 'Look' from people as u, project as p
        returning id, user_id
    )
    insert into mails (kind, user_id, notification_ids)
    select 'news', t.user_id, array[t.id] from told as t
"""
"""People who are members of a project, named there, and each with a mail that waits."""


@dataclass
class Letter:
    """A mail that arrived: to whom, and what."""

    sender: str
    to: list[str]
    message: EmailMessage
    tls: bool

    @property
    def text(self) -> str:
        part = self.message.get_body(("plain",))
        assert part is not None
        return str(part.get_content())

    @property
    def page(self) -> str:
        part = self.message.get_body(("html",))
        assert part is not None
        return str(part.get_content())

    @property
    def links(self) -> list[str]:
        return LINK.findall(self.text)


@dataclass
class Postbox:
    """What arrived, and what the server answers instead: `refusals` go first, one for each mail;
    `before` is how long it waits with its answer to a mail. `no_sender`: the command at which it
    refuses every sender, and how.
    """

    letters: list[Letter] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    no_such: set[str] = field(default_factory=set)
    no_sender: tuple[str, str] = ("", "")
    before: float = 0.0
    logins: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0
    began: int = 0

    def to(self, address: str) -> list[Letter]:
        """What arrived for somebody."""
        return [letter for letter in self.letters if address in letter.to]

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any
    ) -> str:
        if self.no_sender[0] == "MAIL":
            return self.no_sender[1]
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any
    ) -> str:
        if self.no_sender[0] == "RCPT":
            return self.no_sender[1]
        if address in self.no_such:
            return "550 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.began += 1
        end = time.monotonic() + self.before
        while time.monotonic() < end:
            await asyncio.sleep(0.01)
        if self.no_sender[0] == "DATA":
            return self.no_sender[1]
        if self.refusals:
            return self.refusals.pop(0)
        assert isinstance(envelope.content, bytes)
        made = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(made, EmailMessage)
        self.letters.append(
            Letter(
                str(envelope.mail_from),
                [str(each) for each in envelope.rcpt_tos],
                made,
                session.ssl is not None,
            )
        )
        return "250 Message accepted for delivery"

    def let_in(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"a mail password", handled=False)


@contextmanager
def postbox(
    *,
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    login: bool = False,
    port: int = 0,
) -> Iterator[Postbox]:
    """A mail server on a port of this machine."""
    box = Postbox()

    loop = asyncio.SelectorEventLoop()

    def speak() -> SMTP:
        return SMTP(
            box,
            hostname="mail.example.org",
            tls_context=starttls,
            authenticator=box.let_in if login else None,
            auth_required=login,
            auth_require_tls=login and starttls is not None,
            enable_SMTPUTF8=True,
            loop=loop,
        )

    async def listen() -> asyncio.Server:
        return await loop.create_server(speak, "127.0.0.1", port, ssl=tls)

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def silent(greeting: bytes = b"", answer: bytes = b"") -> Iterator[int]:
    """Something that listens and is no mail server: what it says first, and to each line."""
    listening = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()
    open_ones: list[socket.socket] = []

    def serve() -> None:
        while not stopped.is_set():
            try:
                line, _ = listening.accept()
            except OSError:
                return
            open_ones.append(line)
            if greeting:
                line.sendall(greeting)
            if answer:
                threading.Thread(target=talk, args=(line,), daemon=True).start()

    def talk(line: socket.socket) -> None:
        try:
            while line.recv(4096):
                line.sendall(answer)
        except OSError:
            pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        stopped.set()
        listening.close()
        for each in open_ones:
            each.close()
