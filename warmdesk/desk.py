"""What a process holds: its settings, its database and Redis, and the parts of the centre that live on them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from warmdesk.auth.access import Access
from warmdesk.auth.identity import Identity
from warmdesk.auth.limits import Limits
from warmdesk.config import Settings
from warmdesk.db.pool import Database
from warmdesk.realtime.bus import Bus, connect_redis
from warmdesk.realtime.change import Changes
from warmdesk.realtime.control import Control
from warmdesk.realtime.hub import Hub
from warmdesk.realtime.presence import Presence


@dataclass(slots=True)
class Desk:
    """One process of WarmDesk. Opened by `open_desk`, used by every door."""

    settings: Settings
    database: Database
    redis: Any
    bus: Bus
    hub: Hub
    presence: Presence
    control: Control
    changes: Changes
    access: Access
    identity: Identity
    limits: Limits


@asynccontextmanager
async def open_desk(settings: Settings) -> AsyncIterator[Desk]:
    """Connect, start the centre's tasks, and at the end close what is open: sockets with 1001 first."""
    database = await Database.open(settings.database_url, size=settings.database_pool)
    redis = connect_redis(settings.redis_url)
    bus = Bus(redis)
    hub = Hub(database, bus)
    access = Access()
    identity = Identity(settings, database, redis)
    limits = Limits(redis, on=settings.rate_limits)
    presence = Presence(redis, database, hub, bus, leave_delay=settings.presence_leave_delay)
    control = Control(hub, database, presence=presence, forgetful=(access, identity))
    desk = Desk(
        settings=settings,
        database=database,
        redis=redis,
        bus=bus,
        hub=hub,
        presence=presence,
        control=control,
        changes=Changes(database, bus),
        access=access,
        identity=identity,
        limits=limits,
    )
    try:
        await bus.start()
        await hub.start()
        await control.start()
        await presence.start()
        yield desk
    finally:
        await presence.stop()
        await control.stop()
        await hub.stop()
        await bus.stop()
        await redis.aclose()
        await database.close()
