"""Authentication: credentials become an `Actor`: a session's access token, an API key, a ticket for
a socket.

A token's signature is checked once and then remembered; role, activity and the session's life are
read from PostgreSQL and remembered until news comes on the control feed (`Identity.forget`). So a
busy client costs no query and no signature check, and a revocation anywhere acts here within two
seconds, with or without Redis.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from multidict import MultiMapping
from redis.exceptions import RedisError

from warmdesk import clock
from warmdesk.auth.actor import Actor, GlobalRole, Grant
from warmdesk.auth.tokens import (
    AccessTokens,
    Claims,
    digest,
    expired,
    is_secret,
    new_secret,
    not_good,
)
from warmdesk.db.pool import DATABASE_AWAY, Database, spending
from warmdesk.db.queries import sql
from warmdesk.errors import Unauthorized, Unavailable
from warmdesk.redis_calls import NAMES
from warmdesk.tasks import Batcher, SingleFlight

KEPT = 20_000
"""Tokens and keys remembered by one process; the longest unused goes first."""
TICKET_SECONDS = 30
LINK_SECONDS = 60
REDIS_SECONDS = 0.25
KEY_START = "wd_"
KEY_LONGEST = 200
KEY_BYTES = 24
USED_EVERY = 60.0
"""Seconds between two writes of a key's last use."""

T = TypeVar("T")
Session = tuple[str, int]
"""Its id and its user's."""


def new_key() -> str:
    """A new API key: ``wd_`` and 48 hexadecimal digits."""
    return KEY_START + secrets.token_hex(KEY_BYTES)


class Secrets(Protocol):
    """The settings that are needed here."""

    @property
    def jwt_secret(self) -> str: ...

    @property
    def access_token_ttl(self) -> int: ...


class Request(Protocol):
    """The parts of a request that hold credentials, however it was read."""

    @property
    def headers(self) -> MultiMapping[str]: ...

    @property
    def query(self) -> Mapping[str, str]: ...


class Recent(Generic[T]):
    """The most recently used entries, at most so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[str, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, key: str) -> T | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def keep(self, key: str, entry: T) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        self._entries.clear()


class Identity:
    """Looks up the actor that holds a credential. `generation` guards a look-up against news that
    came meanwhile.
    """

    def __init__(
        self, settings: Secrets, database: Database, redis: Any, *, names: str = NAMES
    ) -> None:
        self.tokens = AccessTokens(settings.jwt_secret, ttl=settings.access_token_ttl)
        self.database = database
        self.redis = redis
        self.names = names
        self.generation = 0
        self._shared: SingleFlight[Actor | None] = SingleFlight()
        self._together: Batcher[Session, tuple[str, GlobalRole]] = Batcher()
        self._claims: Recent[Claims] = Recent(KEPT)
        self._actors: Recent[Actor] = Recent(KEPT)
        # Apart, or the digest of a key would pass for a token.
        self._owners: Recent[Actor] = Recent(KEPT)
        self._used: Recent[float] = Recent(KEPT)

    def forget(self) -> None:
        """A session, an account or a key changed somewhere: all of them are looked up anew."""
        self.generation += 1
        self._actors.clear()
        self._owners.clear()

    async def who(self, request: Request) -> Actor:
        """The request's actor, or `Unauthorized`. The first credential there decides; a bad one is
        not passed over.

        In this order: ``Authorization: Bearer`` (an access token, or an API key), ``Authorization:
        ApiKey``, ``X-API-Key``, ``?api_key=``.
        """
        scheme, _, credential = request.headers.get("Authorization", "").strip().partition(" ")
        credential = credential.strip()
        if scheme.lower() == "bearer":
            if credential.startswith(KEY_START):
                return await self.by_key(credential)
            return await self.by_token(credential)
        if scheme.lower() == "apikey":
            return await self.by_key(credential)
        key = request.headers.get("X-API-Key")
        if key is None:
            key = request.query.get("api_key")
        if key is None:
            raise Unauthorized()
        return await self.by_key(key)

    async def by_token(self, token: str) -> Actor:
        """The holder of an access token, if its session lives and its account is active; else
        `Unauthorized`.
        """
        actor = self._actors.take(token)
        if actor is not None:
            return _still_good(actor)
        claims = self._claims.take(token)
        if claims is None:
            claims = self.tokens.read(token)
            self._claims.keep(token, claims)
        elif claims.expires_at <= clock.now():
            raise expired()

        async def look_up() -> Actor | None:
            return await self._by_session(claims.session_id, claims.user_id, claims.expires_at)

        refusal = ("session_ended", "the session has ended", "session_ended")
        return await self._remembered(self._actors, token, look_up, refusal)

    async def by_key(self, key: str) -> Actor:
        """The owner of an API key, with the owner's rights; `Unauthorized` when key or account is
        dead.
        """
        if not key.startswith(KEY_START) or len(key) > KEY_LONGEST:
            raise not_good("key", "the API key is not valid")
        hashed = digest(key)

        async def look_up() -> Actor | None:
            async with spending():
                return await self._shared.ask(
                    (hashed, self.generation), lambda: self._by_key(key_hash=hashed, key_id=None)
                )

        actor = self._owners.take(hashed)
        if actor is None:
            refusal = ("key", "the API key is not valid", "invalid_token")
            actor = await self._remembered(self._owners, hashed, look_up, refusal)
        await self._note_use(_still_good(actor))
        return actor

    async def ws_ticket(self, actor: Actor) -> str:
        """A ticket that opens one socket within 30 seconds, so that no token stands in an
        address.
        """
        ticket = new_secret()
        facts = json.dumps([actor.user_id, actor.session_id, actor.key_id, actor.expires_at])
        await self._ask_redis(self.redis.set(self._ticket_key(ticket), facts, ex=TICKET_SECONDS))
        return ticket

    async def file_link(self, actor: Actor, file_id: int) -> str:
        """A ticket for one file, good for `LINK_SECONDS`, as often as it is sent: a browser that
        shows a picture, or fetches it in parts, sends no header of ours.
        """
        ticket = new_secret()
        facts = [actor.user_id, actor.session_id, actor.key_id, actor.expires_at, file_id]
        key = self._ticket_key(ticket, "file-link")
        await self._ask_redis(self.redis.set(key, json.dumps(facts), ex=LINK_SECONDS))
        return ticket

    async def by_file_link(self, ticket: str, file_id: int) -> Actor:
        """The actor that asked for a ticket for this file. Its rights are looked up now."""
        facts = None
        if is_secret(ticket):
            key = self._ticket_key(ticket, "file-link")
            facts = await self._ask_redis(self.redis.get(key))
        if facts is not None:
            *holder, for_file = json.loads(facts)
            if for_file == file_id:
                return await self._holding(holder)
        raise not_good("ticket", "the link is not valid any more")

    async def by_ticket(self, ticket: str) -> Actor:
        """The actor that asked for the ticket, which is used up. Its rights are looked up now, not
        when it asked.
        """
        facts = None
        if is_secret(ticket):
            facts = await self._ask_redis(self.redis.getdel(self._ticket_key(ticket)))
        if facts is None:
            raise not_good("ticket", "the ticket is not valid")
        return await self._holding(json.loads(facts))

    async def _holding(self, facts: list[Any]) -> Actor:
        """The actor of a ticket, as it is now."""
        user_id, session_id, key_id, expires_at = facts
        if session_id is not None:
            actor = await self._by_session(session_id, user_id, expires_at)
        else:
            actor = await self._by_key(key_hash=None, key_id=key_id)
        if actor is None:
            raise not_good("session_ended", "the session has ended", "session_ended")
        return _still_good(actor)

    async def _remembered(
        self,
        known: Recent[Actor],
        credential: str,
        look_up: Callable[[], Awaitable[Actor | None]],
        refusal: tuple[str, str, str],
    ) -> Actor:
        generation = self.generation
        actor = await look_up()
        if actor is None:
            raise not_good(*refusal)
        if generation == self.generation:
            known.keep(credential, actor)
        return actor

    async def _by_session(
        self, session_id: str, user_id: int, expires_at: float | None
    ) -> Actor | None:
        async with spending():
            holder = await self._together.ask((session_id, user_id), self._holders)
        if holder is None:
            return None
        username, global_role = holder
        return Actor(
            user_id=user_id,
            username=username,
            global_role=global_role,
            session_id=session_id,
            expires_at=expires_at,
        )

    async def _holders(self, sessions: list[Session]) -> dict[Session, tuple[str, GlobalRole]]:
        async with self.database.connection() as connection:
            rows = await sql.auth.session_holders(
                connection,
                sessions=[session_id for session_id, _ in sessions],
                users=[user_id for _, user_id in sessions],
            )
        return {
            sessions[number - 1]: (username, GlobalRole(role)) for number, username, role in rows
        }

    async def _by_key(self, *, key_hash: str | None, key_id: int | None) -> Actor | None:
        async with self.database.connection() as connection:
            rows = await sql.auth.key_owner(connection, key_hash=key_hash, key_id=key_id)
        if not rows:
            return None
        row = rows[0]
        return Actor(
            user_id=row["user_id"],
            username=row["username"],
            global_role=GlobalRole(row["global_role"]),
            key_id=row["id"],
            key_project_id=row["project_id"],
            expires_at=row["expires_at"].timestamp() if row["expires_at"] else None,
            grants=_grants(row["scopes"]),
        )

    async def _note_use(self, actor: Actor) -> None:
        key, now = str(actor.key_id), time.monotonic()
        noted = self._used.take(key)
        if noted is not None and now - noted < USED_EVERY:
            return
        self._used.keep(key, now)
        with suppress(*DATABASE_AWAY):
            # It is a note: while the database is away, what needs none of it still works.
            async with self.database.connection() as connection:
                await sql.auth.note_key_use(connection, key_id=actor.key_id)

    def _ticket_key(self, ticket: str, kind: str = "ticket") -> str:
        return f"{self.names}{kind}:{digest(ticket)}"

    async def _ask_redis(self, command: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                return await command
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable("tickets cannot be given now, try again") from error


def _grants(scopes: list[str] | None) -> frozenset[Grant] | None:
    """The scopes of a key; one that only a later program knows is good for nothing here."""
    return None if scopes is None else frozenset(each for each in Grant if each in scopes)


def _still_good(actor: Actor) -> Actor:
    if actor.expires_at is not None and actor.expires_at <= clock.now():
        raise expired()
    return actor
