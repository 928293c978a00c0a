"""A board that a program keeps by itself: fetched once, and true after each event. It needs the
client beside it and no more, so that a program can take both along.

::

    board = Board(await client.get("/projects/demo?cards_limit=50"))
    async with client.socket("demo", since=board.seq, epoch=board.epoch) as socket:
        async for frame in socket:
            if not board.apply(frame):
                board = Board(await client.get("/projects/demo?cards_limit=50"))
                socket.fetched(board.seq, board.epoch)
            show(board.shown())

Whatever else is fetched of the same board is laid over it at the seq that it is true for: the cards
behind the first of a column (`Board.fill`, `Board.lay_over`) and counts (`Board.count`).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

from warmdesk.client import Answer, Client, digest

Json = dict[str, Any]

KEPT = 1000
"""Events of the board itself that it remembers, so that pages that were read before them can be
laid over."""
PAGE = 500
OWN_VIEW = frozenset(
    (
        "my_role",
        "starred",
        "unread_count",
        "mention_count",
        "last_read_message_id",
        "muted",
        "last_activity_at",
    )
)
APART = frozenset(
    (
        "columns",
        "labels",
        "members",
        "members_more",
        "messages",
        "messages_more",
        "seq",
        "epoch",
        "open_card_count",
        "member_count",
    )
)
BRIEF = (
    "id",
    "card_number",
    "column_id",
    "title",
    "position",
    "priority",
    "due_date",
    "closed",
    "has_description",
    "time_spent_minutes",
    "comment_count",
    "checklist_total",
    "checklist_done",
    "attachment_count",
    "version",
)
DESCRIPTION = ("description", "description_cut")
ARCHIVED = {"project.archived": True, "project.unarchived": False}
CURSOR = re.compile(r"/columns/(\d+)/cards\?(?:.*&)?cursor=([\w-]+)")


class Change(NamedTuple):
    """How an event changes a column's count, and that of the open cards."""

    column_id: int
    cards: int
    open: int


Counted = list[Change] | None
"""None: the event does not tell."""


class Kept(NamedTuple):
    """An event that was applied, and what it changed of the counts."""

    event: Mapping[str, Any]
    counted: Counted


class Board:
    """A project's board, true for `seq` of `epoch`, made of the whole answer of
    ``GET /projects/{slug}``; with `brief` of that with ``cards=brief``, and then all its cards are
    brief. It may begin with few cards of each column (``cards_limit``).

    After each frame it shows what that answer would be at `seq`, of those cards that it has: the
    first ones that were fetched, those that were laid over, and all that events told of. Of a card
    that it knows by an event alone, as of one that came back from the archive, or was moved from
    behind those that it has, ``description`` is absent where there is one to fetch. It writes to
    nothing that it is given, and shares it: what it shows is to be read only.

    The chat and what hangs on cards are no part of it.

    `stale` says why the board cannot be carried on, and is empty as long as it can: then it takes
    in nothing any more, and is to be fetched again.
    """

    def __init__(self, fetched: Mapping[str, Any], *, brief: bool = False) -> None:
        self.seq: int = fetched["seq"]
        self.epoch: str = fetched["epoch"]
        self.brief, self.stale = brief, ""
        self.project = {k: v for k, v in fetched.items() if k not in APART | OWN_VIEW}
        self.labels: dict[int, Json] = {each["id"]: each for each in fetched["labels"]}
        self.members: dict[int, Json] = {each["user_id"]: each for each in fetched["members"]}
        self.members_more: bool = fetched["members_more"]
        self.columns: dict[int, Json] = {}
        self.cards: dict[int, Json] = {}
        for column in fetched["columns"]:
            self.columns[column["id"]] = {k: v for k, v in column.items() if k != "cards"}
            self.cards.update((card["id"], card) for card in column["cards"])
        self._counts: dict[int, int] = {id: each["card_count"] for id, each in self.columns.items()}
        self._open: int = fetched["open_card_count"]
        self._member_count: int = fetched["member_count"]
        self._unsure = False
        self._gone_at = 0  # the last event that is gone, until counts are told that were read after
        self._kept: deque[Kept] = deque()
        self._kept_from = self.seq
        self._read: dict[tuple[int, str], str | None] = {}
        """Pages that were laid over, by where they began: where each went on."""
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    # What happens.

    def apply(self, frame: Mapping[str, Any]) -> bool:
        """Take in a frame of the project's socket, or an event of ``…/events``. What the board has
        seen already, and what does not concern it, changes nothing.

        False if it cannot follow: there is a gap behind `seq`, so ask for what is missing; or it is
        `stale`, because the server says so, because what it shows is proven wrong, or because an
        event cannot be understood.
        """
        type, seq = frame["type"], frame.get("seq")
        if seq is None:
            if type in ("reset", "sync.reset"):
                self.stale = f"the server cannot carry it on: {frame['payload'].get('reason')}"
            elif type == "board.counts":
                if frame["payload"]["seq"] >= self._gone_at:
                    self._gone_at = 0
                self.count(frame["payload"])
            elif type == "pong" and "digest" in frame["payload"]:
                self.check(frame["payload"])
        elif not self.stale and seq == self.seq + 1:
            try:
                counted = self._counted(type, frame["payload"])
                self._carry_out(frame)
            except (LookupError, TypeError, AttributeError) as error:
                self.stale = f"event {seq}, {type}, cannot be understood: {error!r}"
                return False
            self.seq = seq
            self._gone_at = seq if type == "gone" else self._gone_at
            if type in self.RULES or type in ARCHIVED:
                self._keep(Kept(frame, counted))
            self._catch_up()
        return not self.stale and (seq is None or seq <= self.seq)

    def lay_over(self, path: str, page: Answer) -> bool:
        """Take in a page of a column's cards, as a GET of this path gave it: one of `more`, or a
        page's own ``next``. The column goes on behind it then.

        A page that is younger than the board waits for the events that it shows already; on one
        that is older, what was told after it is applied again. So nothing that was deleted or
        changed meanwhile comes back, whenever a page was read and whenever it arrives.

        False if it was not taken and is to be asked for again: it is older than the events that the
        board remembers, or of another epoch, or the board is `stale`. `Refused` if it is a refusal.
        """
        cards, place = page.checked(), page.place
        if self.stale or place is None or place[1] != self.epoch or place[0] < self._kept_from:
            return False
        found, goes_on = CURSOR.search(path), CURSOR.search(page.next or "")
        where = (int(found[1]), found[2]) if found else None
        work = partial(self._lay, place[0], where, cards, goes_on and goes_on[2])
        self._waiting.append((place[0], work))
        self._catch_up()
        return not self.stale

    def count(self, told: Mapping[str, Any]) -> bool:
        """Take in the counts of ``GET …/counts``; `apply` does it with ``board.counts``. What was
        applied after them is counted again. False as in `lay_over`. Where they contradict the cards
        of a board that has all of them, it is `stale`.
        """
        if self.stale or told["seq"] < self._kept_from:
            return False
        self._waiting.append((told["seq"], partial(self._count, told)))
        self._catch_up()
        return not self.stale

    def check(self, told: Mapping[str, Any]) -> bool | None:
        """Whether the board is what the server's digest says (of ``GET …/digest``, or of a pong;
        `apply` looks at those). If not, it is `stale`. None if nothing can be said: the digest is
        of another seq or epoch, or there are cards that the board does not have.
        """
        mine = self.digest
        if mine is None or (told["seq"], told["epoch"]) != (self.seq, self.epoch):
            return None
        is_same: bool = mine == told["digest"]
        if not is_same:
            self.stale = f"at seq {self.seq} it is not the server's board"
        return is_same

    async def fill(self, client: Client) -> bool:
        """Fetch the cards that the columns have still, page after page, and counts if they are
        unsure; go on applying meanwhile. False if something was not taken: try again, unless the
        board is `stale`.
        """
        for first in self.more().values():
            path: str | None = first
            while path:
                page = await client.request("GET", path)
                if page.status == 404:
                    break  # the column was deleted meanwhile: an event says so
                if not self.lay_over(path, page):
                    return False
                path = page.next
        if self.uncounted:
            return self.count(await client.get(f"/projects/{self.project['slug']}/counts"))
        return not self.stale

    # What is shown.

    def more(self) -> dict[int, str]:
        """The columns that have cards behind those that the board has, each with the path of the
        list that goes on there.
        """
        form = "&cards=brief" if self.brief else ""
        path = f"/projects/{self.project['slug']}/columns/{{}}/cards?limit={PAGE}{form}&cursor={{}}"
        return {
            id: path.format(id, column["cards_next"])
            for id, column in self.columns.items()
            if column["cards_more"]
        }

    def shown(self) -> Json:
        """The board as ``GET /projects/{slug}`` shows it, but for what is the reader's own
        (``my_role``, ``starred``, ``unread_count`` …), which no event of a project tells.
        """
        held: dict[int, list[Json]] = {id: [] for id in self.columns}
        for card in self.cards.values():
            # One that stands in no column that is here was moved since, and then its column went.
            held.get(card["column_id"], []).append(card)
        columns = []
        for column in in_order(self.columns.values()):
            cards = held[column["id"]]
            count = self._counts.get(column["id"], 0) if column["cards_more"] else len(cards)
            columns.append(column | {"card_count": count, "cards": in_order(cards)})
        is_whole = not any(column["cards_more"] for column in columns)
        held_open = sum(not card.get("closed") for column in columns for card in column["cards"])
        return self.project | {
            "columns": columns,
            "labels": by_id(self.labels.values()),
            "members": by_id(self.members.values()),
            "members_more": self.members_more,
            "open_card_count": held_open if is_whole else self._open,
            "member_count": self._member_count,
            "seq": self.seq,
            "epoch": self.epoch,
        }

    @property
    def uncounted(self) -> bool:
        """Whether counts may be wrong: a card that is deleted and that the board does not have may
        have been counted or not. A socket is told ``board.counts`` if what was told of it is gone;
        else fetch them. With all cards the board counts by itself, but counts prove that it has
        all.
        """
        return self._unsure

    @property
    def digest(self) -> str | None:
        """What the server's digest of this board must be; None as long as columns have `more`."""
        return None if self.more() else digest(self.shown()["columns"])

    # Putting in order what comes at different times.

    def _keep(self, kept: Kept) -> None:
        self._kept.append(kept)
        while len(self._kept) > KEPT and not self._waiting:
            self._kept_from = self._kept.popleft().event["seq"]

    def _catch_up(self) -> None:
        """Take in what waited for this seq, in the order in which it came."""
        while self._waiting and self._waiting[0][0] <= self.seq and not self.stale:
            self._waiting.popleft()[1]()

    def _after(self, seq: int) -> list[Kept]:
        return [each for each in self._kept if each.event["seq"] > seq]

    def _lay(
        self, seq: int, where: tuple[int, str] | None, cards: list[Json], next: str | None
    ) -> None:
        """Every rule sets what it tells, so that what the board has is the same after it was told
        anew from there on: only the cards of the page are not. Of a text an event tells the
        beginning, or nothing; what was known of the same version stays.
        """
        known = self.cards.copy()
        for card in cards:
            self._card_is(card)
        for kept in self._after(seq):
            self._carry_out(kept.event)
        for id, card in self.cards.items():
            before = known.get(id, card)
            if before is card or before["version"] != card["version"]:
                continue
            if _described(before) > _described(card):
                rest = {k: v for k, v in card.items() if k not in DESCRIPTION}
                self.cards[id] = rest | {k: before[k] for k in DESCRIPTION if k in before}
        if where is not None:
            self._read[where] = next
            self._go_on(where[0])

    def _go_on(self, column_id: int) -> None:
        """Move where a column goes on behind the pages that were read, in whatever order."""
        column = self.columns.get(column_id, {})
        while column.get("cards_more") and (column_id, column["cards_next"]) in self._read:
            next = self._read[column_id, column["cards_next"]]
            column = column | {"cards_more": next is not None, "cards_next": next}
            self.columns[column_id] = column
            self._compare_counts()

    def _count(self, told: Mapping[str, Any]) -> None:
        self._counts = {each["id"]: each["card_count"] for each in told["columns"]}
        self._open, self._unsure = told["open_card_count"], False
        for kept in self._after(told["seq"]):
            self._take(kept.counted)
        self._compare_counts()

    def _take(self, counted: Counted) -> None:
        self._unsure = self._unsure or counted is None
        for change in counted or ():
            id = change.column_id
            self._counts[id] = self._counts.get(id, 0) + change.cards
            self._open += change.open

    def _compare_counts(self) -> None:
        """Cards that are there must be those that are counted: a list that goes on behind a card
        may have passed over some if that was moved while all the others were spaced anew. Who was
        told of cards that are gone may find some counted whose deletion is still to come.
        """
        if self._gone_at or self._unsure:
            return
        for column in self.shown()["columns"]:
            count = self._counts.get(column["id"], 0)
            if not column["cards_more"] and len(column["cards"]) != count:
                self.stale = f"column {column['id']} has not the {count} cards that are counted"

    def _counted(self, type: str, payload: Any) -> Counted:
        """What an event changes of the counts, by what the board was before it."""
        counted: Counted = []
        if type in ("board.card_created", "board.card_restored"):
            if payload["archived_at"] is None:
                counted = [Change(payload["column_id"], 1, not payload["closed"])]
        elif type == "board.card_updated":
            changes, is_on = payload["changes"], payload["archived_at"] is None
            was_on = is_on != ("archived_at" in changes)
            was_closed = payload["closed"] != ("closed" in changes)
            opened = (is_on and not payload["closed"]) - (was_on and not was_closed)
            counted = [Change(payload["column_id"], is_on - was_on, opened)]
        elif type == "board.card_moved":
            if payload["card"]["archived_at"] is None:
                counted = [Change(payload["from_column_id"], -1, 0)]
                counted.append(Change(payload["to_column_id"], 1, 0))
        elif type == "board.card_deleted" and payload["card_id"] in self.cards:
            card = self.cards[payload["card_id"]]
            counted = [Change(card["column_id"], -1, -(not card.get("closed")))]
        elif type == "board.card_deleted" and self.more():
            # It was among those that the board does not have, or in the archive, or came when what
            # was told of it is gone.
            counted = None
        elif type in ("project.member_added", "project.member_removed"):
            self._member_count += 1 if type == "project.member_added" else -1
        self._take(counted)
        return counted

    # What events mean. Each rule sets what it tells, whatever was there.

    def _carry_out(self, event: Mapping[str, Any]) -> None:
        if (rule := self.RULES.get(event["type"])) is not None:
            rule(self, event["payload"])
        elif (is_archived := ARCHIVED.get(event["type"])) is not None:
            at = {"archived_at": event["ts"] if is_archived else None, "updated_at": event["ts"]}
            self.project = self.project | {"is_archived": is_archived} | at

    def _card_is(self, told: Json) -> None:
        """What is archived is on no board. A description that is not told is the one of before."""
        if told.get("archived_at") is not None:
            self.cards.pop(told["id"], None)
            return
        card = {key: value for key, value in told.items() if key != "changes"}
        if self.brief:
            card = card if "label_ids" in card else brief(card)
        elif "description" not in card:
            known = self.cards.get(
                card["id"], {} if card["has_description"] else {"description": ""}
            )
            card |= {k: known[k] for k in DESCRIPTION if k in known}
        self.cards[card["id"]] = card

    def _card_moved(self, payload: Json) -> None:
        self._card_is(payload["card"])

    def _card_deleted(self, payload: Json) -> None:
        """From wherever it is: its last moves may be gone."""
        self.cards.pop(payload["card_id"], None)

    def _cards_reordered(self, payload: Json) -> None:
        for place in payload["cards"]:
            if (card := self.cards.get(place["id"])) is not None:
                self.cards[card["id"]] = card | {"position": place["position"]}

    def _change_cards(self, key: str, changed: Callable[[Any], Any]) -> None:
        """Give what stands under a key of cards another value; brief ones may lack it."""
        for id, card in self.cards.items():
            if key in card and (value := changed(card[key])) != card[key]:
                self.cards[id] = card | {key: value}

    def _column_is(self, column: Json) -> None:
        """All its cards show its name."""
        id = column["id"]
        known = self.columns.get(id, {"cards_more": False, "cards_next": None})
        goes_on = {key: known[key] for key in ("cards_more", "cards_next")}
        self.columns[id] = column | goes_on
        for card in [each for each in self.cards.values() if each["column_id"] == id]:
            if "column_name" in card:
                self.cards[card["id"]] = card | {"column_name": column["name"]}

    def _column_deleted(self, payload: Json) -> None:
        self.columns.pop(payload["column_id"], None)

    def _columns_reordered(self, payload: Json) -> None:
        for place in payload["columns"]:
            if (column := self.columns.get(place["id"])) is not None:
                self.columns[column["id"]] = column | {"position": place["position"]}

    def _label_is(self, label: Json) -> None:
        self.labels[label["id"]] = label
        self._change_cards("labels", partial(replaced, label))

    def _label_deleted(self, payload: Json) -> None:
        id = payload["id"]
        self.labels.pop(id, None)
        self._change_cards("labels", lambda labels: [each for each in labels if each["id"] != id])
        self._change_cards("label_ids", lambda ids: [each for each in ids if each != id])

    def _project_updated(self, payload: Json) -> None:
        told = payload["project"].items()
        self.project = self.project | {key: value for key, value in told if key not in APART}

    def _member_added(self, member: Json) -> None:
        self.members[member["user_id"]] = member

    def _member_updated(self, member: Json) -> None:
        """Whatever shows that user shows the new name and picture, also if they are no member."""
        user = member["user"]
        if member["user_id"] in self.members and "role" in member:
            self.members[member["user_id"]] = member
        if self.project["created_by"]["id"] == user["id"]:
            self.project = self.project | {"created_by": user}
        self._change_cards("assignees", partial(replaced, user))

    def _member_removed(self, payload: Json) -> None:
        """Nor are cards assigned to them any longer."""
        id = payload["user_id"]
        self.members.pop(id, None)
        self._change_cards("assignee_ids", lambda ids: [each for each in ids if each != id])
        for card in list(self.cards.values()):
            people = [each for each in card.get("assignees", ()) if each["id"] != id]
            if len(people) < len(card.get("assignees", ())):
                first = {"assignee_id": people[0]["id"] if people else None}
                self.cards[card["id"]] = card | {"assignees": people} | first

    RULES: ClassVar[Mapping[str, Callable[[Board, Json], None]]] = {
        "board.card_created": _card_is,
        "board.card_updated": _card_is,
        "board.card_moved": _card_moved,
        "board.card_deleted": _card_deleted,
        "board.card_restored": _card_is,
        "board.cards_reordered": _cards_reordered,
        "board.column_created": _column_is,
        "board.column_updated": _column_is,
        "board.column_deleted": _column_deleted,
        "board.columns_reordered": _columns_reordered,
        "board.label_created": _label_is,
        "board.label_updated": _label_is,
        "board.label_deleted": _label_deleted,
        "project.updated": _project_updated,
        "project.member_added": _member_added,
        "project.member_updated": _member_updated,
        "project.member_removed": _member_removed,
        "project.guest_updated": _member_updated,
    }


def _described(card: Json) -> int:
    """How much of its text a card has: nothing, the beginning or all."""
    return ("description" in card) + ("description" in card and "description_cut" not in card)


def brief(card: Mapping[str, Any]) -> Json:
    """A whole card as a brief one: with ids alone, and without keys whose value is nothing."""
    return {key: card[key] for key in BRIEF if card[key] not in (None, False, 0, "", "none")} | {
        "assignee_ids": [each["id"] for each in card["assignees"]],
        "label_ids": [each["id"] for each in card["labels"]],
        "tags": [each["name"] for each in card["tags"]],
    }


def in_order(things: Iterable[Json]) -> list[Json]:
    return sorted(things, key=lambda thing: (thing["position"], thing["id"]))


def by_id(things: Iterable[Json]) -> list[Json]:
    return sorted(things, key=lambda thing: thing["id"])


def replaced(new: Json, things: list[Json]) -> list[Json]:
    """The same, with this one in place of the one that has its id."""
    return [new if each["id"] == new["id"] else each for each in things]
