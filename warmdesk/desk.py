"""The services of a process: its settings, its database and Redis, and the parts of the centre that
use them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from warmdesk.auth.access import Access
from warmdesk.auth.identity import Identity
from warmdesk.auth.limits import Limits
from warmdesk.auth.shares import Pace, Shares
from warmdesk.backups.directory import directory_of
from warmdesk.boards import Boards
from warmdesk.changes.chat import Chat
from warmdesk.changes.conversations import Conversations
from warmdesk.changes.stored_answers import StoredAnswers
from warmdesk.config import Settings
from warmdesk.db.installation import identify
from warmdesk.db.pool import Database
from warmdesk.disk import Disk
from warmdesk.files import Files
from warmdesk.inventory import Inventory
from warmdesk.pictures import Pictures
from warmdesk.realtime.bus import Bus, connect_redis, named_redis
from warmdesk.realtime.change import Changes
from warmdesk.realtime.control import Control
from warmdesk.realtime.counts import Counts
from warmdesk.realtime.events import MEMBER_REMOVED
from warmdesk.realtime.hub import Hub
from warmdesk.realtime.leases import Leases
from warmdesk.realtime.people import People
from warmdesk.realtime.presence import Presence
from warmdesk.realtime.resume import Resume
from warmdesk.realtime.waiting import Waits
from warmdesk.redis_calls import names_of
from warmdesk.reports import ReportFiles
from warmdesk.system import System
from warmdesk.targets import Resolver, Targets
from warmdesk.tasks import Background


@dataclass(slots=True)
class Desk:
    """One process of WarmDesk. Opened by `open_desk`, used by every entry point."""

    settings: Settings
    database: Database
    redis: Any
    bus: Bus
    hub: Hub
    resume: Resume
    people: People
    presence: Presence
    control: Control
    waits: Waits
    changes: Changes
    boards: Boards
    chat: Chat
    conversations: Conversations
    files: Files
    pictures: Pictures
    report_files: ReportFiles
    stored_answers: StoredAnswers
    system: System
    inventory: Inventory
    access: Access
    identity: Identity
    limits: Limits
    reads: Shares
    heavy_reads: Shares
    """Of one person, half of the connections that there are for them: another's is never last in a
    queue of them."""
    exports: Shares
    """Files of reports, one of a person: to make one takes minutes, and nothing of the others."""
    writes: Shares
    pace: Pace
    told: Pace
    """The pace of messages: apart, so that no script of a person's takes the word from them."""
    resolver: Resolver
    """Names that people said where to post to."""
    installation: str
    """The UUID that all names of this process in Redis carry."""
    background: Background = field(default_factory=lambda: Background("desk"))
    """Commands of sockets are carried out here; it ends after the sockets, and before the services
    it uses."""
    disk: Disk | None = None
    """That of the data directory; None when there is none here."""
    history: str = ""
    """The epoch of which it is known that it is this installation's."""
    draining: bool = False
    """This process stops: its answers say that the connection ends."""
    retiring: bool = False
    """It stops because its successor serves the same address, which stays ready."""

    @property
    def most_file_bytes(self) -> int:
        """Bytes of all files of one project or conversation."""
        quota, most = self.system.values.upload_quota_mb, self.settings.project_file_bytes
        return min(quota << 20, most) if quota else most

    def resolving(self) -> Resolver:
        """The resolver of names, which leads where the setting of now allows."""
        allowed = self.system.values.webhook_allow_private
        if self.resolver.targets.listed != allowed:
            self.resolver.targets = Targets(allowed)
        return self.resolver

    def healthy(self) -> str | None:
        """The task of the centre that does not come back, or None. Asks no server."""
        parts = (self.bus, self.hub, self.presence, self.control, self.system)
        return next((part.trouble for part in parts if part.trouble), None)

    async def renamed(self) -> bool:
        """Whether the database became another installation, so that this process's names in Redis
        are no longer those of its successors. Asks only after a change of the epoch. Raises what
        PostgreSQL raises.
        """
        epoch = self.hub.epoch
        if epoch != self.history:
            if await identify(self.database.reserved) != self.installation:
                return True
            self.history = epoch
        return False


def observe(
    bus: Bus, hub: Hub, resume: Resume, counts: Counts, presence: Presence, control: Control
) -> None:
    """Register the observers of lower parts, in this order; before any of them starts."""
    bus.heard.add(hub.hear)
    bus.on_doubt.add(hub.doubt)
    bus.on_lost.add(presence.freeze)
    bus.on_found.add(presence.found)
    hub.on_hint.add(presence.hinted)
    hub.on_left.add(presence.left)
    hub.on_left.add(counts.left)
    hub.on_left.add(resume.left)
    hub.on_behind.add(resume.behind)
    hub.on_gone.add(counts.owe)
    hub.on_rejoined.add(resume.rejoined)
    hub.on_rejoined.add(presence.rejoined)
    hub.on_rejoined.add(counts.rejoined)
    hub.on_woken.add(presence.woken)
    hub.on_history.add(control.unheard)
    hub.listen(MEMBER_REMOVED, control.end_removed)


@asynccontextmanager
async def open_desk(settings: Settings) -> AsyncIterator[Desk]:
    """Connect, start the centre's tasks, and at the end close what is open: sockets with 1001
    first.
    """
    database = await Database.open(
        settings.database_url, size=settings.database_pool, heavy=settings.database_heavy_pool
    )
    try:
        installation = await identify(database.reserved)
    except BaseException:  # no caller has it to close it
        await database.close()
        raise
    names = names_of(installation)
    redis = connect_redis(settings.redis_url)
    bus = Bus(
        connect_redis(settings.redis_url, listening=True),
        names=names,
        host=named_redis(settings.redis_url),
    )
    system = System(settings, database)
    hub = Hub(database, bus)
    resume = Resume(hub)
    access = Access()
    identity = Identity(settings, database, redis, names=names)
    limits = Limits(redis, on=settings.rate_limits, names=names, outage=bus.outage)
    people = People(database)
    leases = Leases(
        redis, names=names, process=bus.process, leave_delay=settings.presence_leave_delay
    )
    presence = Presence(leases, people, hub, bus)
    forgetful = (access, identity)
    waits = Waits(most=settings.waits_per_person)
    control = Control(
        hub, database, presence=presence, forgetful=forgetful, waits=waits, system=system
    )
    of_person: dict[str, Any] = {"on": settings.rate_limits, "seconds": settings.wait_at_once}
    heavy_reads = Shares(max(1, settings.database_heavy_pool // 2), name="heavy_reads", **of_person)
    at_once = max(1, settings.database_pool // 2) if settings.rate_limits else None
    limit, things = settings.changes_per_minute, settings.cards_per_change
    pace = Pace(limits, limit=limit, things=things)
    told = Pace(limits, limit=limit, things=things, name="told")

    def charge(person: int, events: int) -> None:
        pace.add(person, events)
        told.add(person, events)

    changes = Changes(
        database,
        bus,
        at_once=at_once,
        forgetful=forgetful,
        charge=charge,
        sealing=system.sealing,
    )
    observe(bus, hub, resume, Counts(hub), presence, control)
    system.on_addresses.add(control.addresses_changed)
    files = Files(settings)
    desk = Desk(
        settings=settings,
        database=database,
        redis=redis,
        bus=bus,
        hub=hub,
        resume=resume,
        people=people,
        presence=presence,
        control=control,
        waits=waits,
        changes=changes,
        boards=Boards(database, shares=heavy_reads),
        chat=Chat(changes),
        conversations=Conversations(changes),
        files=files,
        pictures=Pictures(files),
        report_files=ReportFiles(),
        stored_answers=StoredAnswers(database, on=limits.on),
        system=system,
        inventory=Inventory(database, redis, directory_of(settings)),
        access=access,
        identity=identity,
        limits=limits,
        reads=Shares(settings.reads_at_once, name="reads", **of_person),
        heavy_reads=heavy_reads,
        exports=Shares(1, name="exports", **of_person),
        writes=Shares(settings.writes_at_once, name="writes", **of_person),
        pace=pace,
        told=told,
        resolver=Resolver(Targets(settings.webhook_allow_private)),
        installation=installation,
    )
    async with AsyncExitStack() as closing:
        closing.push_async_callback(database.close)
        closing.push_async_callback(redis.aclose)
        closing.push_async_callback(desk.resolver.close)
        # The control feed is followed first: what changes after the settings were read is heard.
        for part in (bus, hub, presence, control, system):
            await part.start()
            closing.push_async_callback(part.stop)
        closing.push_async_callback(desk.background.stop)
        # Sockets go first, so that the leases they leave are lowered and their last frames are
        # written.
        closing.push_async_callback(hub.roster.close_sockets)
        yield desk
