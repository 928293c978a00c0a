"""The system settings as this process knows them: in memory, so that they cost a request nothing.

They are read when the process starts, and again when the control feed says that some changed, which
every process hears within two seconds, with or without Redis. A setting that nobody changed is as
the configuration says, where that has one of the same name (the mail server, the language of new
accounts), else as it is declared.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import msgspec

from warmdesk.auth.actor import Actor
from warmdesk.auth.addresses import networks, parsed
from warmdesk.auth.totp import sealed_for
from warmdesk.config import ConfigError, Settings, variable
from warmdesk.db.pool import DATABASE_AWAY, Database
from warmdesk.db.queries import sql
from warmdesk.errors import Forbidden, fields_error
from warmdesk.schemas.settings import (
    FIELDS,
    SECRET_SETTINGS,
    SystemSettings,
    faults,
    password_fault,
)
from warmdesk.sealing import Sealing, Unreadable
from warmdesk.tasks import Tasks

EVERY_SECONDS = 60.0
"""They are read so often though nothing is heard."""
AGAIN_SECONDS = 0.5
RESEALED = 500
"""Secrets of second factors that are read at once."""

log = logging.getLogger(__name__)


def first_values(settings: Settings) -> dict[str, Any]:
    """The values that the configuration gives, until somebody sets others. Raises `ConfigError`
    for one that cannot be.
    """
    given = {
        name: value for name in FIELDS if (value := getattr(settings, name, None)) not in (None, "")
    }
    for name, value in given.items():
        try:
            msgspec.convert(value, FIELDS[name].type)
        except msgspec.ValidationError:
            raise ConfigError(f"{variable(name)} cannot be that") from None
    for name, fault in faults(given).items():
        raise ConfigError(f"{variable(name)} {fault.sentence}")
    return given


class Stored:
    """The settings as the table has them, and as this program says them."""

    def __init__(self, settings: Settings) -> None:
        self.sealing = Sealing(settings.secret_key, settings.previous_secret_key)
        self.first = first_values(settings)
        self.values = SystemSettings(**self.first)

    def read(self, rows: Iterable[Any]) -> SystemSettings:
        """The settings that rows of the table say. One that cannot be read is as it was before."""
        found = dict(self.first)
        for row in rows:
            key = row["key"]
            if key in FIELDS:
                try:
                    found[key] = self._read(key, row["value"])
                except (Unreadable, msgspec.ValidationError) as error:
                    found[key] = getattr(self.values, key)
                    log.error("system.unreadable key=%s cause=%s", key, type(error).__name__)
        return SystemSettings(**found)

    def written(self, key: str, value: Any) -> str:
        """A value as the table keeps it."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if key in SECRET_SETTINGS and value:
            return self.sealing.seal(str(value), _purpose(key))
        return str(value)

    def _read(self, key: str, text: str) -> Any:
        if key in SECRET_SETTINGS and text:
            text = self.sealing.open(text, _purpose(key))
        return msgspec.convert(text, FIELDS[key].type, strict=False)


class System(Stored):
    """The settings of now, and the task that keeps them so."""

    def __init__(self, settings: Settings, database: Database) -> None:
        super().__init__(settings)
        self.database = database
        self.rotates = bool(settings.previous_secret_key)
        self.on_addresses: set[Callable[[], None]] = set()
        """Called when API keys may be used from other addresses than before."""
        self._nobody_here = True
        self._doubted = asyncio.Event()
        self._loading = asyncio.Lock()
        self._tasks = Tasks()

    async def start(self) -> None:
        await self.load()
        await self.is_nobody_here()
        if self.rotates:
            await self._reseal_factors()
        self._tasks.start("system", self._follow)

    async def stop(self) -> None:
        await self._tasks.stop()

    @property
    def trouble(self) -> str | None:
        return self._tasks.trouble()

    def doubt(self) -> None:
        """Some may have changed: read them, soon."""
        self._doubted.set()

    async def load(self) -> None:
        """Read all settings. Raises what PostgreSQL raises."""
        async with self._loading:
            rows = await sql.settings.all(self.database.reserved)
            before, self.values = self.values, self.read(rows)
            if self.values.api_allowed_ips != before.api_allowed_ips:
                for tell in self.on_addresses:
                    tell()
            await self._reseal(rows)

    async def is_nobody_here(self) -> bool:
        """Whether nobody has an account yet. Once somebody has one this asks no more; while
        PostgreSQL is away it says no.
        """
        if self._nobody_here:
            try:
                self._nobody_here = bool(await sql.auth.nobody_yet(self.database))
            except DATABASE_AWAY:
                return False
        return self._nobody_here

    async def _reseal(self, rows: Iterable[Any]) -> None:
        """Seal what an older key sealed with the one of now."""
        for row in rows:
            key, was = row["key"], row["value"]
            with suppress(Unreadable):
                if key in SECRET_SETTINGS and was and self.sealing.is_old(was):
                    sealed = self.written(key, self._read(key, was))
                    await sql.settings.reseal(
                        self.database.reserved, key=key, was=was, sealed=sealed
                    )
                    log.info("system.resealed key=%s", key)

    async def _reseal_factors(self) -> None:
        """The same for the secrets of second factors, which are many."""
        after, number = 0, 0
        while rows := await sql.mfa.sealed(self.database.reserved, after=after, limit=RESEALED):
            for row in rows:
                after, was = row["id"], row["totp_secret"]
                with suppress(Unreadable):
                    if self.sealing.is_old(was):
                        name = sealed_for(after)
                        sealed = self.sealing.seal(self.sealing.open(was, name), name)
                        await sql.mfa.reseal(
                            self.database.reserved, user_id=after, was=was, sealed=sealed
                        )
                        number += 1
        if number:
            log.info("system.resealed key=second_factors number=%d", number)

    async def _follow(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._doubted.wait()
            self._doubted.clear()
            try:
                await self.load()
            except DATABASE_AWAY as error:
                self.database.outage.doubt("the system settings", error)
                self._doubted.set()
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                self._tasks.recovered("system")

    def allows(self, address: str) -> bool:
        """Whether API keys may be used from there."""
        wanted = networks(self.values.api_allowed_ips)
        if not wanted:
            return True
        found = parsed(address)
        return found is not None and any(found in network for network in wanted)

    def check_key(self, actor: Actor, address: str) -> None:
        """403 for an API key that is used from an address from where none may be."""
        if actor.key_id is not None and not self.allows(address):
            raise Forbidden("address not allowed", code="address_not_allowed")

    def check_password(self, password: str, field: str = "password") -> None:
        """400 for a new password that the settings do not allow."""
        if (fault := password_fault(self.values, password)) is not None:
            raise fields_error({field: fault})


def _purpose(key: str) -> str:
    return f"setting {key}"
