"""What was answered with success or ``ack`` is stored, once, in its last form.

Writers tell the ledger what they are about to send and what came of it. What was never answered
may have happened or not, at any time: a request can hang in a server and be carried out late.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.checkers.cry import Checker


class Kind(NamedTuple):
    """Something that is made under a unique text: where it is stored, what tells of it, what events
    call it. `parent`: the kind that it goes with, and its column; `stays`: whether its row is
    there when it is deleted.
    """

    table: str
    name: str
    gone: str
    event: str
    entity: str
    parent: tuple[str, str] = ("", "")
    stays: bool = True


OF_CARD = ("card", "card_id")
KINDS = {
    "card": Kind("cards", "title", "deleted_at is not null", "board.card_created", "card"),
    "message": Kind("chat_messages", "body", "is_deleted", "chat.message", "message"),
    "comment": Kind(
        *("card_comments", "body", "deleted_at is not null", "board.comment_created", "comment"),
        parent=OF_CARD,
    ),
    "item": Kind(
        *("card_checklist_items", "body", "false", "board.checklist_item_created", "item"),
        parent=OF_CARD,
        stays=False,
    ),
    "link": Kind(
        *("card_links", "url", "false", "board.link_created", "link"), parent=OF_CARD, stays=False
    ),
    "topic": Kind("topics", "title", "deleted_at is not null", "topic.created", "topic"),
    "reply": Kind(
        *("topic_replies", "body", "deleted_at is not null", "topic.reply_created", "reply"),
        parent=("topic", "topic_id"),
    ),
    "dm": Kind("conversation_messages", "body", "is_deleted", "dm.message", "message"),
}
TOLD = """
select name, max(times) as times
from (
    select regexp_replace(entity, '^.*/', '') as name, count(*) as times
    from events where type = $1 group by channel, entity
) each_feed
group by name
"""


@dataclass
class ChangeContext:
    """One thing to be made: how many requests went out for it, and what they came to."""

    sent: int = 0
    refused: int = 0
    id: int | None = None


@dataclass
class Value:
    """One field that one writer alone writes: what it certainly was last, and what it may be."""

    last: Any = None
    known: bool = False
    pending: list[Any] = field(default_factory=list)


class Ledger(Checker):
    """All writes of a run.

    acknowledged   answers of success: things made, fields changed, things deleted
    lost           of these, not stored (or their event is not)
    doubled        stored (or told) twice
    """

    def __init__(self) -> None:
        super().__init__()
        self.acknowledged = self.lost = self.doubled = 0
        self._wishes: dict[tuple[str, str], ChangeContext] = {}
        self._values: dict[tuple[str, int, str], Value] = {}
        self._deleted: dict[str, set[int]] = defaultdict(set)
        self._deleting: dict[str, set[int]] = defaultdict(set)
        self._blanked: dict[str, set[int]] = defaultdict(set)

    # What writers say.

    def asked(self, kind: str, name: str) -> None:
        """A request to make this is about to be sent; again before each new try. The name is a
        text that nothing else has: a card's title, a message's body.
        """
        assert kind in KINDS, kind
        self._wishes.setdefault((kind, name), ChangeContext()).sent += 1

    def done(self, kind: str, name: str, id: int) -> None:
        """It was made, said a 2xx or ``ack``."""
        context = self._wishes[kind, name]
        self.acknowledged += 1
        if context.id not in (None, id):
            self.doubled += 1
            self.cry(f"{kind} {name!r} was acknowledged as {context.id} and as {id}")
        context.id = id

    def refused(self, kind: str, name: str) -> None:
        """It was refused for certain, with a 4xx or ``error``."""
        self._wishes[kind, name].refused += 1

    def pending(self, id: int, field: str, value: Any, kind: str = "") -> None:
        """A request that sets this field is about to be sent. Fields have the names of columns;
        without a kind a body is a message's, and all else a card's.
        """
        self._value(id, field, kind).pending.append(value)

    def last(self, id: int, field: str, value: Any, kind: str = "") -> None:
        """It was set, said a 2xx or ``ack``."""
        self.acknowledged += 1
        kept = self._value(id, field, kind)
        kept.last, kept.known = value, True
        if value in kept.pending:
            kept.pending.remove(value)

    def unchanged(self, id: int, field: str, value: Any) -> None:
        """Setting it was refused for certain."""
        self._value(id, field).pending.remove(value)

    def deleting(self, id: int, kind: str = "card") -> None:
        """A request that deletes it is about to be sent."""
        self._deleting[kind].add(id)

    def deleted(self, id: int, kind: str = "card") -> None:
        """It was deleted, said a 2xx or ``ack``."""
        self.acknowledged += 1
        self._deleted[kind].add(id)
        self._blanked[kind].add(id)

    def restored(self, id: int, kind: str = "card") -> None:
        """It was brought back, said a 2xx."""
        self.acknowledged += 1
        self._deleted[kind].discard(id)
        self._deleting[kind].discard(id)

    def may_be_gone(self, id: int, kind: str = "card") -> bool:
        """Whether somebody deletes it, or has."""
        return id in self._may_be_blanked(kind)

    def _value(self, id: int, field: str, kind: str = "") -> Value:
        kind = kind or ("message" if field == "body" else "card")
        return self._values.setdefault((kind, id, field), Value())

    # What is stored.

    async def compare(self, connection: Any) -> None:
        """At the end, when nobody writes: compare all with the tables (asyncpg's connection)."""
        async with connection.transaction(isolation="repeatable_read"):
            trimmed = await connection.fetchval(
                "select coalesce(bool_or(oldest > 1), false) from feeds"
            )
            for name, kind in KINDS.items():
                rows = await connection.fetch(f"select *, {kind.gone} as gone from {kind.table}")
                told = await connection.fetch(TOLD, kind.event)
                self._compare_kind(
                    name,
                    {row["id"]: row for row in rows},
                    Counter({row["name"]: row["times"] for row in told}),
                    trimmed=trimmed,
                )

    def _compare_kind(
        self, kind: str, rows: dict[int, Any], told: Counter[str], *, trimmed: bool
    ) -> None:
        column, called = KINDS[kind].name, KINDS[kind].entity
        parent, of_parent = KINDS[kind].parent
        loose = self._may_be_blanked(kind) | {
            id for id, row in rows.items() if parent and self.may_be_gone(row[of_parent], parent)
        }
        named: dict[str, list[int]] = defaultdict(list)
        for id, row in rows.items():
            named[row[column]].append(id)
        for (each, name), context in self._wishes.items():
            if each != kind:
                continue
            ids = sorted({*named[name], *([context.id] if context.id in rows else [])})
            self._compare_wish(kind, name, context, ids)
            for id in ids:
                times = told[f"{called}:{id}"]
                self._compare_events(kind, id, rows[id], times, loose, trimmed=trimmed)
            if context.id in rows and (kind, context.id, column) not in self._values:
                self._compare_value(kind, context.id, column, Value(name, known=True), rows)
        for (each, id, changed), value in self._values.items():
            if each == kind:
                self._compare_value(kind, id, changed, value, rows)
        for id in self._deleted[kind]:
            if id in rows and not (rows[id]["gone"] and KINDS[kind].stays):
                self._lost(f"{kind} {id} was deleted and is there")

    def _compare_wish(self, kind: str, name: str, context: ChangeContext, ids: list[int]) -> None:
        what = f"{kind} {name!r}"
        if (
            context.id is not None
            and context.id not in ids
            and context.id not in self._blanked[kind]
            and (KINDS[kind].stays or context.id not in self._deleting[kind])
        ):
            self._lost(f"{what} was acknowledged as {context.id} and is not there")
        if context.id is None and ids and context.refused == context.sent:
            self.cry(f"{what} was refused and is there as {ids}")
        if len(ids) > 1:
            self.doubled += len(ids) - 1
            self.cry(f"{what} is there {len(ids)} times, as {ids}", len(ids) - 1)

    def _compare_events(
        self, kind: str, id: int, row: Any, times: int, loose: set[int], *, trimmed: bool
    ) -> None:
        """A row and the event that it was made are kept or lost together. `loose`: what is deleted
        perhaps, by itself or with what it belongs to.
        """
        if id in self._deleted[kind] and times:
            self.cry(f"{kind} {id} was deleted, and the feed tells of it still")
        elif times > 1:
            self.doubled += times - 1
            self.cry(f"{kind} {id} was told of {times} times", times - 1)
        elif not times and not trimmed and not row["gone"] and id not in loose:
            self._lost(f"{kind} {id} is there, and the feed never told of it")
        if row["gone"] and id not in loose:
            self._lost(f"{kind} {id} was never deleted and is gone")

    def _may_be_blanked(self, kind: str) -> set[int]:
        return self._blanked[kind] | self._deleting[kind]

    def _compare_value(
        self, kind: str, id: int, field: str, value: Value, rows: dict[int, Any]
    ) -> None:
        row = rows.get(id)
        if row is None or not value.known:
            return
        stored = row[field]
        if stored != value.last and stored not in value.pending:
            may = f", or perhaps one of {value.pending}" if value.pending else ""
            self._lost(
                f"{field} of {kind} {id} is {stored!r}, acknowledged was {value.last!r}{may}"
            )

    def _lost(self, sentence: str) -> None:
        self.lost += 1
        self.cry(sentence)
