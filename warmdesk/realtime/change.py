"""A change: one transaction whose last act records its events; they are published after the commit.

Two kinds, one promise: the rows and the events are kept or lost together, and nothing is said of
what was rolled back. `Changes.hot` calls a PL/pgSQL function that locks, writes, takes the seqs of
its events, shapes and records in one round trip (a single statement would see one snapshot, taken
before it waited for any lock). `Changes.run` does the same five steps from Python.

An event shows what is true at its seq: another change of the same rows is committed and has a lower
seq, or gets a higher one. So shapes come after the seqs, whose feeds stay locked until the commit.

Locks have one order, so that changes cannot wait for each other in a circle: docs/architecture.rst
says which.

A project and an account are entered (shared) or held (alone) by locks with a queue, which come
before the rows they stand for: see sql/changes/access.sql. Most changes enter their project; those
of its members, of itself, of its number of columns and of its labels' names hold it.

A change that loses all the same (deadlock, serialization, lock timeout) is tried again, three times
within the change's 4.5 seconds, then 503.

Longer than other modules: all steps of a change, from the first try to the stored answer, keep its
promise together.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar, cast

import asyncpg
import msgspec

from warmdesk.auth.actor import GlobalRole, Role
from warmdesk.auth.shares import Shares
from warmdesk.db.pool import BROKEN, BUDGET, PLAN_IS_OLD, POSTGRESQL, Database
from warmdesk.db.queries import Hot, Query, sql
from warmdesk.errors import (
    Forbidden,
    NotFound,
    Unavailable,
    WarmDeskError,
    refusal,
    stored_refusal,
)
from warmdesk.metrics import COMMIT_UNKNOWN, DB_RETRIES
from warmdesk.realtime.bus import Bus
from warmdesk.realtime.channels import (
    CONTROL,
    EventScope,
    project_channel,
    scope_of,
    user_channel,
)
from warmdesk.realtime.entities import Entity, entity, upwards
from warmdesk.realtime.events import Event
from warmdesk.sealing import Sealing, Unreadable

SECONDS = 4.5
LEAST_SECONDS = 1.0
"""Seconds that the last try of a change with `patience` has at least."""
TRIES = 4
EVENT_BYTES = 1024
"""An event counts as one more of a person's for each so many bytes of it."""
LOST_A_RACE = frozenset({"40P01", "40001", "55P03"})
TOO_SLOW = frozenset({"57014"})
NO_RESOURCES = "53"
READ_ONLY = "25006"
"""A standby: the primary is another one now, and its address does not lead there yet."""
NOT_YOURS = (
    "this was done already; its answer holds a secret, which only the session or API key that asked"
    " first is given again"
)
UNKNOWN = "unknown_outcome"
"""The code of an answer that cannot say whether the change was committed."""
REPLAY_SECONDS = 1.0
"""How often at most an answer that is given again makes this process forget rights."""
OF_RIGHTS = CONTROL + " "
"""How a message begins that tells of rights."""

log = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")


Need = Role | frozenset[GlobalRole] | None
"""What a change asks of its actor: a role in its project, or one of these in the installation."""


class ChangeContext(NamedTuple):
    """The actor of a change, and what its entry point knows of the request. The route or the
    command declares `need` and `keyed`.
    """

    actor_id: int | None
    client_id: str | None = None
    key: str | None = None
    path: str = ""
    body_hash: str = ""
    version: int | None = None
    conflict_status: int = 409
    project_id: int | None = None
    """The project that it is in, if in one."""
    need: Need = None
    keyed: bool = False
    """Its answer is kept under a key, if one is sent: the change gives an `Outcome`."""
    conversation_id: int | None = None
    """The conversation that it is in, if in one."""
    ip: str = ""
    """The address that the request came from; empty where there was none."""
    sealed_for: str = ""
    """Where its answer holds a secret: the credential that it is kept for, sealed."""

    @property
    def project(self) -> int:
        """The id of the project that it is in."""
        if self.project_id is None:
            raise TypeError("the route or command leads into no project")
        return self.project_id

    @property
    def conversation(self) -> int:
        """The id of the conversation that it is in."""
        if self.conversation_id is None:
            raise TypeError("the route leads into no conversation")
        return self.conversation_id

    @property
    def channel(self) -> str | None:
        """Where what the actor gets as an answer is told to the actor, too: on the project's
        channel, or else on the actor's own.
        """
        if self.project_id is not None:
            return project_channel(self.project_id)
        return None if self.actor_id is None else user_channel(self.actor_id)

    @property
    def purpose(self) -> str:
        """What the answer under its key is sealed for: nobody opens it as another's."""
        return f"an answer for {self.actor_id}, {self.sealed_for}: {self.key} {self.path}"

    @property
    def role(self) -> str:
        """The role in the project that is asked for, as SQL calls it."""
        if not isinstance(self.need, Role):
            raise TypeError("the route or command asks for no role in a project")
        return self.need.word

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that every hot change takes, by name."""
        return {
            "actor": self.actor_id,
            "client": self.client_id,
            "project_id": self.project,
            "need": self.role,
            "version": self.version,
            "conflict_status": self.conflict_status,
        }


def body_hash(body: bytes) -> str:
    """The hash by which two bodies under one Idempotency-Key differ."""
    return hashlib.sha256(body).hexdigest()


@dataclass(slots=True, eq=False)
class PendingShape:
    """A query of rows that other changes may write meanwhile: it runs last of all, when the seqs of
    the change's events are taken. Its `text`, JSON, is there when the change is done.
    """

    query: Query[..., Any]
    params: dict[str, Any]
    text: str = ""


Parts = Callable[[str], Iterable[Entity]]
"""What finds, in the JSON text of an answer, the things that it shows besides."""


class Outcome(NamedTuple):
    """The answer of a change: its status, its JSON text or the shape that will be it, whether it
    was given before, and the thing that it shows, in the project or told to the actor. `entity` may
    be left away where every time an event tells of that. `parts` is there where it shows others,
    which may be erased and the thing not.
    """

    status: int
    answer: str | PendingShape = ""
    replay: bool = False
    entity: Entity | None = None
    parts: Parts | None = None

    @property
    def text(self) -> str:
        """The JSON text; there when the change is done."""
        return self.answer.text if isinstance(self.answer, PendingShape) else self.answer


class Whole(NamedTuple):
    """The kind of a thing that is shown with its `parts`: see `Outcome`."""

    kind: str
    parts: Parts


@cache
def shown_by(kind: str) -> Callable[[str], Entity]:
    """What finds out which thing of a kind an answer shows. For a part, ``card/comment``, the
    answer has its own ``id`` and the ``card_id`` of what it stands below.
    """
    *above, last = kind.split("/")
    fields = [*(f"{each}_id" for each in above), "id"]
    only_these = msgspec.defstruct("Shown", [(each, int) for each in fields])
    read: Callable[[str], Any] = msgspec.json.Decoder(only_these).decode

    def find(answer: str) -> Entity:
        ids = msgspec.structs.astuple(read(answer))
        first, *below = zip([*above, last], ids, strict=True)
        found = entity(*first)
        for each in below:
            found = found.child(*each)
        return found

    return find


class Held(str):
    """JSON that shows nothing but rows which the change itself keeps as they are."""

    __slots__ = ()


@dataclass(slots=True)
class Change:
    """A change under way in Python: its connection, who wants it, the events it will record."""

    connection: Any
    context: ChangeContext
    emitted: list[tuple[str, str, str | PendingShape, Entity | None]] = field(default_factory=list)
    shapes: list[PendingShape] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    """The bus messages of events that an SQL function has recorded."""
    entered: bool = False
    last: list[tuple[Query[..., Any], dict[str, Any]]] = field(default_factory=list)

    async def enter(
        self, need: Need = None, *, archived: bool = False, counting: bool = False
    ) -> Any:
        """Ask for the role that the route declares, or for a higher one, and keep it until the
        commit: see require_role in sql/changes/access.sql, whose row, the project, this gives.

        `archived`: also in an archived project. `counting`: alone in the project, because members,
        columns, names of labels or the project itself change. Raises what the policy says.
        """
        self.entered = True
        context = self.context
        need = need or context.need
        if isinstance(need, Role) and isinstance(context.need, Role) and need < context.need:
            raise TypeError(f"the route declares {context.need.word}; {need.word} is less")
        if isinstance(need, Role):
            return await sql.access.require_role(
                self.connection,
                actor=context.actor_id,
                project_id=context.project,
                need=need.word,
                archived=archived,
                counting=counting,
            )
        if need is None:
            raise TypeError("the route declares no role that a change could ask for")
        return await sql.access.require_global_role(
            self.connection, actor=context.actor_id, roles=sorted(need)
        )

    def shape(self, query: Query[P, Any], /, *_: P.args, **params: P.kwargs) -> PendingShape:
        """What a query will show, for an event and for the answer."""
        shape = PendingShape(query, params)
        self.shapes.append(shape)
        return shape

    def emit(
        self,
        channel: str,
        event: Event,
        payload: str | PendingShape,
        *,
        entity: Entity | None = None,
    ) -> None:
        """Say that an event happened. Recorded with the commit, in this order.

        Its payload is JSON text of ids and the like; where it shows rows, a `PendingShape`, or
        `Held` when the change locks them all. Text that was read before lacks what
        changed since.
        """
        if not event.stored:
            raise TypeError(f"{event.name} is a signal; only events are recorded")
        if not event.is_for(scope_of(channel)):
            raise TypeError(f"{event.name} is for {event.scope}, not for {channel}")
        if event.erases and entity is None:
            raise TypeError(f"{event.name} erases: say which entity")
        if event.shaped and type(payload) is str:
            raise TypeError(
                f"{event.name} shows rows: give a PendingShape, or Held if you lock them all"
            )
        self.emitted.append((channel, event.name, payload, entity))

    def finish(self, query: Query[P, Any], /, *_: P.args, **params: P.kwargs) -> None:
        """Call a function that writes rows and events of its own when all else is written: what
        concerns people is told on their feeds, which come after those of projects. It gives the bus
        messages of its events.
        """
        self.last.append((query, params))

    async def record(self) -> list[str]:
        """Write all events of the change. Gives what the bus carries."""
        messages = await self._record()
        for query, params in self.last:
            messages = messages + await query(self.connection, **params)
        return messages

    async def _record(self) -> list[str]:
        """Take the seqs, ask the shapes, write what was emitted."""
        columns: dict[str, Any] = {}
        if self.emitted:
            channels, types, payloads, entities = zip(*self.emitted, strict=True)
            columns = {"channels": channels, "types": types, "entities": entities}
        if self.shapes:
            if self.emitted:
                columns["seqs"] = await sql.feeds.take(self.connection, channels=channels)
            for shape in self.shapes:
                shape.text = await shape.query(self.connection, **shape.params)
        if not self.emitted:
            return self.messages
        messages: list[str] = await (sql.feeds.write if self.shapes else sql.feeds.record)(
            self.connection,
            **columns,
            payloads=[each.text if isinstance(each, PendingShape) else each for each in payloads],
            actor=self.context.actor_id,
            client=self.context.client_id,
        )
        return self.messages + messages


class Forgetful(Protocol):
    """A cache of rights that lives only as long as no control event came."""

    def forget(self) -> None: ...


def _crowded(place: str) -> WarmDeskError:
    return Unavailable(f"too many changes of this {place} at once, try again")


class Changes:
    """Makes changes: a database to write to and a bus to publish on.

    A change that recorded an event on `control` makes this process's own caches (`forgetful`)
    forget before its caller has the answer: a client that changed a right never meets the old one
    here. The other processes hear of it by the control feed.

    Changes of one project may have to wait for each other's locks, and each keeps its connection
    meanwhile. So those of one project have at most `at_once` connections, and the others wait
    without: what one project waits for stops nobody elsewhere. So have those of one conversation.
    Messages of chats and of conversations are not counted: they share statements, of which there
    are few.

    `charge` hears how many events a person's change recorded: one that many are told of, or that
    changes many things, costs as many. `sealing` seals answers that are kept and hold a secret.
    """

    def __init__(
        self,
        database: Database,
        bus: Bus,
        *,
        at_once: int | None = None,
        forgetful: Iterable[Forgetful] = (),
        charge: Callable[[int, int], None] = lambda person, events: None,
        sealing: Sealing | None = None,
    ) -> None:
        self.database = database
        self.sealing = sealing
        self.bus = bus
        self.charge = charge
        self.forgetful = tuple(forgetful)
        self._forget_again_at = 0.0
        self.of_project, self.of_conversation = (
            Shares(at_once or 0, on=at_once is not None, refusal=partial(_crowded, place))
            for place in ("project", "conversation")
        )

    async def hot(
        self,
        query: Hot[P, Any],
        context: ChangeContext,
        kind: str | Whole,
        /,
        *_: P.args,
        **params: P.kwargs,
    ) -> Outcome:
        """One function call: it gives ``status, answer, messages``. See sql/changes/. With a key it
        is called in a transaction that keeps its answer, which shows a thing of this `kind`; a part
        of one is named with it, ``card/comment``, and its answer has a ``card_id``. What may be
        erased by itself of what the answer shows is found by a `Whole`.
        """
        return await self.call(query, context, kind, **context.parameters, **params)

    async def call(
        self, query: Query[..., Any], context: ChangeContext, kind: str | Whole, /, **params: Any
    ) -> Outcome:
        """The same for a function outside of projects, which is given `params` and no more."""
        if context.key is None:
            async with self._share(context):
                row = await self.many(query, **params)
            self._charge(context, _things(row["messages"]))
            return Outcome(row["status"], row["answer"])
        parts: Parts | None = None
        if isinstance(kind, Whole):
            kind, parts = kind
        find = shown_by(kind)

        async def work(change: Change) -> Outcome:
            row = await query(change.connection, **params)
            change.entered = True  # the function did
            change.messages += row["messages"]
            return Outcome(row["status"], row["answer"], entity=find(row["answer"]), parts=parts)

        return await self.run(context, work)

    async def one(self, query: Query[..., Any], context: ChangeContext, /, **params: Any) -> Any:
        """One function call for one change, which waits for a share of its project. Gives its row,
        of which ``messages`` is published. ``moved`` says how many events there are, where the bus
        is not given each.
        """
        async with self._share(context):
            row = await self.many(query, **context.parameters, **params)
        self._charge(context, row.get("moved") or _things(row["messages"]))
        return row

    async def many(self, query: Query[..., Any], /, *, tries: int = TRIES, **params: Any) -> Any:
        """One function call for a group of changes, with columns for parameters. Gives its row, of
        which ``messages`` is published.
        """
        values = query.values(params)
        row = await self._try(
            lambda seconds: self.database.ask(query.statement, values, seconds),
            tries=tries,
            seconds=SECONDS,
        )
        if row is None:
            raise NotFound()
        self._committed(row["messages"])
        return row

    async def patient(
        self, query: Query[..., Any], context: ChangeContext, patience: float, /, **params: Any
    ) -> Outcome:
        """One function call for a sender that never repeats, see `run` for `patience`: it gives
        ``status, answer, messages``. What may have been done is tried again too, so it must find
        out whether it was.
        """
        values = query.values(params)

        async def attempt(seconds: float) -> Any:
            return await self._try(
                lambda left: self.database.ask(query.statement, values, left),
                tries=TRIES,
                seconds=seconds,
            )

        row = await self.patiently(context, patience, attempt)
        self._committed(row["messages"])
        return Outcome(row["status"], row["answer"])

    async def run(
        self,
        context: ChangeContext,
        work: Callable[[Change], Awaitable[T]],
        *,
        patience: float = 0.0,
    ) -> T:
        """A transaction in Python; `work` may be called again when it lost a race, so it changes
        nothing but the database. What the route declares is held to: `work` enters with the role,
        and a keyed one gives an `Outcome`, which is kept under the key and given again.

        `patience` is for a sender that never repeats (a webhook): for so many seconds a database
        that is away is waited for, and then 503. What may have been done is tried again too, so
        `work` must find out by a key of the delivery whether it was.
        """

        async def once(seconds: float) -> tuple[T, list[str]]:
            async with self.database.transaction(seconds) as connection:
                change = Change(connection, context)
                if context.key is not None:
                    stored = await _stored_answer(change, self.sealing)
                    if stored is not None:
                        return cast("T", stored), []
                result = await work(change)
                if context.need is not None and not change.entered:
                    raise TypeError("the change did not ask for the role that its route declares")
                messages = await change.record()
                if context.keyed:
                    await _store_answer(change, result, messages, self.sealing)
                return result, messages

        async def attempt(seconds: float) -> tuple[T, list[str]]:
            return await self._try(once, tries=TRIES, seconds=seconds)

        result, messages = await self.patiently(context, patience, attempt)
        if isinstance(result, Outcome) and result.replay:
            self._forget_after_replay()
        self._committed(messages)
        self._charge(context, _things(messages))
        return result

    async def patiently(
        self, context: ChangeContext, patience: float, attempt: Callable[[float], Awaitable[T]]
    ) -> T:
        """What `attempt` gives, which is told how many seconds it has; tried again while the
        database is away, for so many seconds, and then 503.
        """
        if patience and (budget := BUDGET.get()) is not None:
            budget.left += patience
        end = time.monotonic() + patience
        while True:
            left = max(LEAST_SECONDS, end - time.monotonic()) if patience else SECONDS
            try:
                async with self._share(context):
                    return await attempt(min(left, SECONDS))
            except Unavailable:
                if time.monotonic() >= end:
                    raise
            await asyncio.sleep(random.uniform(0.1, 0.3))

    def _committed(self, messages: list[str]) -> None:
        """Publish what a change recorded; where that is about rights, forget them here at once."""
        self.database.disk.works(of=POSTGRESQL)
        for message in messages:
            if message.startswith(OF_RIGHTS):
                self._forget()
                break
        self.bus.publish_all(messages)

    def _charge(self, context: ChangeContext, events: int) -> None:
        if context.actor_id is not None:
            self.charge(context.actor_id, events)

    def _forget_after_replay(self) -> None:
        """Another process may have made the change, and it may have been about rights. Once a
        second: a client that sends a key again and again would empty the caches each time.
        """
        now = time.monotonic()
        if now >= self._forget_again_at:
            self._forget_again_at = now + REPLAY_SECONDS
            self._forget()

    def _forget(self) -> None:
        for each in self.forgetful:
            each.forget()

    @asynccontextmanager
    async def _share(self, context: ChangeContext) -> AsyncIterator[None]:
        shares, place = self.of_project, context.project_id
        if place is None:
            shares, place = self.of_conversation, context.conversation_id
        if place is None:
            yield
            return
        if not shares.take(place):
            await shares.wait(place)
        try:
            yield
        finally:
            shares.give_back(place)

    async def _try(self, once: Callable[[float], Awaitable[T]], *, tries: int, seconds: float) -> T:
        """What `once` gives within so many seconds, which all its tries have together."""
        end = time.monotonic() + seconds
        attempt = 1
        try:
            while True:
                try:
                    return await once(seconds)
                except asyncpg.PostgresError as error:
                    if error.sqlstate not in LOST_A_RACE and not isinstance(error, PLAN_IS_OLD):
                        raise
                    if attempt == tries:
                        raise
                    DB_RETRIES.inc(state=error.sqlstate or "other")
                await asyncio.sleep(random.uniform(0.005, 0.02) * attempt)
                attempt += 1
                seconds = end - time.monotonic()
        except asyncpg.PostgresError as error:
            refused = as_refusal(error)
            if isinstance(refused, Unavailable) and refused.extra.get("code") == UNKNOWN:
                COMMIT_UNKNOWN.inc()
            raise refused from error
        except BROKEN as error:
            if isinstance(error, ValueError):  # a value that PostgreSQL cannot hold was never sent
                raise
            COMMIT_UNKNOWN.inc()
            raise Unavailable("the change could not be finished in time", code=UNKNOWN) from error


async def _stored_answer(change: Change, sealing: Sealing | None) -> Outcome | None:
    """The answer stored under the key, for an actor that still has the role; None when the key was
    free, and is now taken. Also in an archived project: a client whose answer was lost must not
    think that its change failed. One with a secret is for the credential alone that it was made
    for: `Forbidden` to others.
    """
    context = change.context
    rows = await sql.once.take(
        change.connection,
        actor=context.actor_id,
        path=context.path,
        key=context.key,
        body_hash=context.body_hash,
    )
    if not rows:
        return None
    if context.need is not None:
        await change.enter(archived=True)
    status, answer = rows[0]["status"], rows[0]["answer"]
    if status >= 400:  # what it showed is erased
        raise stored_refusal(status, answer)
    if context.sealed_for:
        try:
            answer = _sealing(sealing).open(answer, context.purpose)
        except Unreadable as error:
            raise Forbidden(NOT_YOURS, code="idempotency_key_not_yours") from error
    return Outcome(status, answer, replay=True)


def _sealing(sealing: Sealing | None) -> Sealing:
    if sealing is None:
        raise TypeError("an answer with a secret is kept, and nothing is here to seal it")
    return sealing


async def _store_answer(
    change: Change, result: object, messages: list[str], sealing: Sealing | None
) -> None:
    if not isinstance(result, Outcome):
        raise TypeError("a keyed route's change gives an Outcome, which is kept under the key")
    context = change.context
    if context.key is not None:
        about = _about(context, result, messages)
        if context.project_id is not None and not about:
            # Nobody could erase it with what it shows.
            raise TypeError("an answer without an event says what it shows: Outcome(…, entity=…)")
        answer = result.text
        if context.sealed_for:
            answer = _sealing(sealing).seal(answer, context.purpose)
        await sql.once.store(
            change.connection,
            actor=context.actor_id,
            path=context.path,
            key=context.key,
            status=result.status,
            answer=answer,
            about=about or None,
        )


def _about(context: ChangeContext, result: Outcome, messages: list[str]) -> list[str]:
    """What an answer is about: all that the change's events tell of, and all that it shows, each
    with its channel and with what it stands below. Who erases one of them erases the answer: see
    erase_answers in sql/changes/once.sql. What is erased for somebody else alone, who leaves a
    conversation, stays the actor's: so what stands on others' own channels does not count.
    """
    told = [message.partition("\n")[0].split(" ") for message in messages]
    about = {
        (channel, told_of.rstrip("/"))
        for channel, _, _, told_of, _ in told
        if channel == context.channel or scope_of(channel) is not EventScope.USER
    }
    shown = [] if result.entity is None else [result.entity]
    if result.parts is not None:
        shown += result.parts(result.text)
    about |= {(str(context.channel), each) for each in shown}
    return [f"{channel} {each}" for channel, of in about for each in upwards(of) if each != "-"]


def _things(messages: list[str]) -> int:
    """How many events a change had, as they count: a long one for more."""
    return sum(1 + len(message) // EVENT_BYTES for message in messages)


def as_refusal(error: asyncpg.PostgresError) -> WarmDeskError | asyncpg.PostgresError:
    """A refusal that an SQL function raised; a race lost too often or a server that is away, as a
    503; else the error itself. Without room, memory or connections PostgreSQL refuses a change
    whole; when it ends a connection, the outcome is unknown.
    """
    state = error.sqlstate or ""
    if state.startswith("WD"):
        return refusal(state, str(error.args[0]), error.detail)
    if state in LOST_A_RACE or state in TOO_SLOW:
        return Unavailable("too many changes at once, try again")
    if state[:2] == NO_RESOURCES:
        return Unavailable("the database has no room, try again")
    if state == READ_ONLY:
        return Unavailable("the database takes no changes now, try again")
    if isinstance(error, PLAN_IS_OLD):
        log.warning("change.schema_is_another cause=%s", error)
        return Unavailable("the database was just restored, try again")
    if isinstance(error, asyncpg.PostgresConnectionError) or state[:2] == "57":
        return Unavailable("the database is away, try again", code=UNKNOWN)
    return error
