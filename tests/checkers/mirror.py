"""A client that only follows frames. What it holds must equal what a fresh fetch shows.

`State` is a board by the documented rules: what each event means, what follows from it, and the
counters that no event tells. `Mirror` keeps one in step through a socket of the reference client.
``async with mirror(alice, "demo")`` around a test compares the two at its end.

States share the dicts that came in frames and never write to them: fifty viewers of one board hold
its cards once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests import pace
from tests.checkers.parts import Parts, fetch_parts
from tests.closed import check_frame
from tests.person import Person
from tests.realtime.story import Grown
from warmdesk.client import Client, Refused, Socket
from warmdesk.metrics import DELIVERY_FAILED

LIMIT = 5.0
OWN_VIEW = (
    "my_role",
    "starred",
    "watching",
    "unread_count",
    "mention_count",
    "last_read_message_id",
    "muted",
    "last_activity_at",
    "email",
    "is_active",
)
APART = (
    "columns",
    "labels",
    "members",
    "seq",
    "epoch",
    "open_card_count",
    "member_count",
    "members_more",
)

CARDS = ("cards", "cards_more", "cards_next")
"""What a board's column has beside a column."""

Json = dict[str, Any]


class Some:
    """Equals any text: a time that the event does not carry."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str | Some)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "some text"


SOME = Some()


class Beginning(Some):
    """Equals any longer text that begins like this one."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return other.startswith(self.text) and len(other) > len(self.text)
        return super().__eq__(other)

    __hash__ = None

    def __repr__(self) -> str:
        return f"{self.text[:40]!r}…"


class State:
    """A board with its chat, true for `seq` of `epoch`."""

    def __init__(self, board: Json, messages: list[Json]) -> None:
        self.seq: int = board["seq"]
        self.epoch: str = board["epoch"]
        self.project = {k: v for k, v in board.items() if k not in APART and k not in OWN_VIEW}
        self.columns: dict[int, Json] = {}
        self.cards: dict[int, Json] = {}
        for column in board["columns"]:
            self.columns[column["id"]] = {k: v for k, v in column.items() if k not in CARDS}
            self.cards.update({card["id"]: card for card in column["cards"]})
        self.labels: dict[int, Json] = {label["id"]: label for label in board["labels"]}
        self.members: dict[int, Json] = {m["user_id"]: m for m in board["members"]}
        self.messages: dict[int, Json] = {message["id"]: message for message in messages}
        self.parts: Parts | None = None
        """What hangs on cards, and topics, where a mirror keeps them too."""
        self.blanks = 0
        self.untold: set[int] = set()
        """Cards whose beginnings are not told any more: each is deleted before following equals
        fetching."""

    def apply(self, frame: Json) -> None:
        """Take the next event in. One without a rule here shows on no board: if it does, the fetch
        at the end of the test shows something else than this.
        """
        assert frame["seq"] == self.seq + 1, f"{frame['seq']} came after {self.seq}"
        self.seq += 1
        if (rule := RULES.get(frame["type"])) is not None:
            rule(self, frame["payload"])
        if self.parts is not None:
            self.parts.apply(frame)

    def shown(self) -> Json:
        """What a fetch would show, with the counters that follow."""
        assert not self.untold, f"cards that were not deleted began untold: {self.untold}"
        by_column: dict[int, list[Json]] = {column_id: [] for column_id in self.columns}
        for card in self.cards.values():
            by_column[card["column_id"]].append(card)
        columns = [
            column
            | {
                "card_count": len(by_column[column["id"]]),
                "cards": sorted(by_column[column["id"]], key=in_order),
            }
            for column in sorted(self.columns.values(), key=in_order)
        ]
        return self.project | {
            "columns": columns,
            "labels": by_id(self.labels.values()),
            "members": by_id(self.members.values()),
            "messages": by_id(self.messages.values()),
            "open_card_count": sum(not card["closed"] for card in self.cards.values()),
            "member_count": len(self.members),
        }

    @property
    def digest(self) -> str:
        """What the server's digest of the board must be."""
        text = ""
        for column in sorted(self.columns.values(), key=in_order):
            here = [c for c in self.cards.values() if c["column_id"] == column["id"]]
            cards = [f"{card['id']}:{card['version']}" for card in sorted(here, key=in_order)]
            text += f"{column['id']}:{column['version']}[{','.join(cards)}]\n"
        return hashlib.sha256(text.encode()).hexdigest()

    # What events mean.

    def card_is(self, card: Json) -> None:
        """What is archived is on no board; it may change there, and come back. A description that
        an event does not tell is the one that was known, or one that nobody told.
        """
        if card["archived_at"] is None:
            if "description" not in card:
                known = self.cards.get(card["id"], {})
                card = card | {"description": known.get("description", SOME)}
            elif card.get("description_cut"):
                card = {k: v for k, v in card.items() if k != "description_cut"}
                assert len(card["description"]) == 2000
                card["description"] = Beginning(card["description"])
            self.cards[card["id"]] = card
        else:
            self.cards.pop(card["id"], None)

    def card_updated(self, payload: Json) -> None:
        was_archived = (payload["archived_at"] is None) == ("archived_at" in payload["changes"])
        if was_archived:
            here = payload["id"] in self.cards
            assert self.blanks or not here, f"an archived card was on the board: {payload}"
        elif payload["id"] not in self.cards:
            self._miss(payload["id"], f"an unknown card was updated: {payload}")
        told = "description" in payload
        assert told == ("description" in payload["changes"]), "only what changed is told at length"
        self.card_is({key: value for key, value in payload.items() if key != "changes"})

    def card_moved(self, payload: Json) -> None:
        card = payload["card"]
        told = (payload["card_id"], payload["key"], payload["to_column_id"], payload["version"])
        assert told == (card["id"], card["key"], card["column_id"], card["version"])
        assert payload["position"] == card["position"]
        assert "description" not in card
        old = self.cards.get(card["id"])
        if card["archived_at"] is not None:
            assert self.blanks or old is None, f"an archived card was on the board: {payload}"
        elif old is None or old["column_id"] != payload["from_column_id"]:
            self._miss(card["id"], f"a card was moved from elsewhere: {payload}")
        self.card_is(card)

    def _miss(self, card_id: int, wrong: str) -> None:
        """Who came back is not told of a card's beginnings if it is deleted since, but may still be
        told live what came between. Anything else is `wrong`.
        """
        assert self.blanks, wrong
        self.untold.add(card_id)

    def card_deleted(self, payload: Json) -> None:
        self.untold.discard(payload["card_id"])
        card = self.cards.pop(payload["card_id"], None)
        if card is not None:
            assert card["key"] == payload["key"]
            # Who came back later was not told of the moves of a card that is deleted since.
            assert self.blanks or card["column_id"] == payload["column_id"]

    def cards_reordered(self, payload: Json) -> None:
        for place in payload["cards"]:
            card = self.cards.get(place["id"])
            if card is None and self.blanks:
                continue  # made and deleted while this mirror was away
            assert card is not None, f"an unknown card has a place: {place}"
            assert self.blanks or card["column_id"] == payload["column_id"]
            self.cards[place["id"]] = card | {"position": place["position"]}

    def column_is(self, column: Json) -> None:
        old = self.columns.get(column["id"])
        self.columns[column["id"]] = column
        if old is not None and old["name"] != column["name"]:
            for card in list(self.cards.values()):
                if card["column_id"] == column["id"]:
                    self.card_is(card | {"column_name": column["name"]})

    def column_deleted(self, payload: Json) -> None:
        if self.columns.pop(payload["column_id"], None) is None:
            assert self.blanks, f"an unknown column is deleted: {payload}"
        for card in self.cards.values():
            if card["column_id"] not in self.columns:
                self._miss(card["id"], f"a column was deleted under {card['key']}")

    def columns_reordered(self, payload: Json) -> None:
        for place in payload["columns"]:
            column = self.columns.get(place["id"])
            if column is None and self.blanks:
                continue  # made and deleted while this mirror was away
            assert column is not None, f"an unknown column has a place: {place}"
            self.columns[place["id"]] = column | {"position": place["position"]}

    def label_is(self, label: Json) -> None:
        """Whatever card has it shows its new name and color."""
        self.labels[label["id"]] = label
        for card in list(self.cards.values()):
            if any(one["id"] == label["id"] for one in card["labels"]):
                labels = [label if one["id"] == label["id"] else one for one in card["labels"]]
                self.card_is(card | {"labels": labels})

    def label_deleted(self, payload: Json) -> None:
        """No card has it any longer."""
        if self.labels.pop(payload["id"], None) is None:
            assert self.blanks, f"an unknown label is deleted: {payload}"
        for card in list(self.cards.values()):
            labels = [one for one in card["labels"] if one["id"] != payload["id"]]
            if len(labels) < len(card["labels"]):
                self.card_is(card | {"labels": labels})

    def message_is(self, message: Json) -> None:
        self.messages[message["id"]] = message

    def message_deleted(self, payload: Json) -> None:
        self.messages.pop(payload["id"], None)

    def reactions_are(self, payload: Json) -> None:
        message = self.messages[payload["message_id"]]
        self.message_is(message | {"reactions": payload["reactions"]})

    def project_updated(self, payload: Json) -> None:
        told = {key: value for key, value in payload["project"].items() if key not in APART}
        self.project = self.project | told

    def project_archived(self, payload: Json) -> None:
        changed = {"is_archived": True, "archived_at": SOME, "updated_at": SOME}
        self.project = self.project | changed

    def project_unarchived(self, payload: Json) -> None:
        changed = {"is_archived": False, "archived_at": None, "updated_at": SOME}
        self.project = self.project | changed

    def member_is(self, member: Json) -> None:
        self.members[member["user_id"]] = member

    def member_updated(self, member: Json) -> None:
        """Whatever shows that user shows the new name and picture."""
        if member["user_id"] in self.members:
            self.member_is(member)
        user = member["user"]
        self.project = replaced(self.project, "created_by", user)
        for other in list(self.members.values()):
            self.member_is(replaced(other, "user", user))
        for message in list(self.messages.values()):
            self.message_is(replaced(message, "user", user))
        for card in list(self.cards.values()):
            if any(one["id"] == user["id"] for one in card["assignees"]):
                people = [user if one["id"] == user["id"] else one for one in card["assignees"]]
                self.card_is(card | {"assignees": people})

    def member_removed(self, payload: Json) -> None:
        """The user is taken from the cards; the next earliest is the first assignee then."""
        self.members.pop(payload["user_id"])
        for card in list(self.cards.values()):
            people = [one for one in card["assignees"] if one["id"] != payload["user_id"]]
            if len(people) < len(card["assignees"]):
                first = people[0]["id"] if people else None
                self.card_is(card | {"assignees": people, "assignee_id": first})

    def counts_are(self, told: Json) -> None:
        """They are of a seq that was reached; of this very one they are those of the board."""
        assert told["seq"] <= self.seq, "counts came before the events that they count"
        if told["seq"] == self.seq:
            board = self.shown()
            counts = [{key: c[key] for key in ("id", "card_count")} for c in board["columns"]]
            assert told["columns"] == counts
            assert told["open_card_count"] == board["open_card_count"]

    def gone(self, payload: Json) -> None:
        """Its text was deleted; the event that deleted it comes later."""
        self.blanks += 1


RULES: dict[str, Callable[[State, Json], None]] = {
    "board.card_created": State.card_is,
    "board.card_updated": State.card_updated,
    "board.card_moved": State.card_moved,
    "board.card_deleted": State.card_deleted,
    "board.card_restored": State.card_is,
    "board.cards_reordered": State.cards_reordered,
    "board.column_created": State.column_is,
    "board.column_updated": State.column_is,
    "board.column_deleted": State.column_deleted,
    "board.columns_reordered": State.columns_reordered,
    "board.label_created": State.label_is,
    "board.label_updated": State.label_is,
    "board.label_deleted": State.label_deleted,
    "chat.message": State.message_is,
    "chat.message_updated": State.message_is,
    "chat.message_deleted": State.message_deleted,
    "chat.reaction_updated": State.reactions_are,
    "project.updated": State.project_updated,
    "project.archived": State.project_archived,
    "project.unarchived": State.project_unarchived,
    "project.member_added": State.member_is,
    "project.member_updated": State.member_updated,
    "project.member_removed": State.member_removed,
    "project.guest_updated": State.member_updated,
    "gone": State.gone,
}


def in_order(thing: Json) -> tuple[float, int]:
    return thing["position"], thing["id"]


def by_id(things: Any) -> list[Json]:
    return sorted(things, key=lambda thing: thing["id"])


def replaced(thing: Json, key: str, user: Json) -> Json:
    """The thing, with this user where it shows the same one."""
    return thing | {key: user} if (thing[key] or {}).get("id") == user["id"] else thing


async def fetch(client: Client, slug: str, *, distrust: bool = True) -> tuple[Json, list[Json]]:
    """Board and chat of one moment: fetched until no event came between.

    A server may keep a board as long as no event says that it changed. Who distrusts the events has
    all read from the lists, and the board must agree with them.
    """
    path = f"/projects/{slug}"
    for _ in range(50):
        board = await client.get(path)
        fresh = await lists(client, board) if distrust else board
        if board["members_more"] and not distrust:
            fresh = fresh | {"members": await all_members(client, path)}
        for column in fresh["columns"]:
            cut = any("description_cut" in card for card in column.get("cards", ()))
            if distrust or cut or column["cards_more"]:
                cards = client.items(f"{path}/columns/{column['id']}/cards?limit=500")
                column["cards"] = [card async for card in cards]
        messages: list[Json] = []
        page: list[Json] = [{}]
        while page:
            before = f"&before={messages[0]['id']}" if messages else ""
            page = await client.get(f"{path}/chat/messages?limit=200{before}")
            messages = page + messages
        again = await client.get(f"{path}?include=labels")
        if (again["seq"], again["epoch"]) == (board["seq"], board["epoch"]):
            lines = differences(shown(board, []), shown(first_cards(fresh, board), []))
            assert not lines, "the board is not what the lists show:\n" + "\n".join(lines[:50])
            return fresh, messages
    raise AssertionError(f"{slug} is never quiet")


async def lists(client: Client, board: Json) -> Json:
    """The board with all that has a list of its own taken from there."""
    path = f"/projects/{board['slug']}"
    rows = [row async for row in client.items("/projects?include_archived=true&limit=500")]
    members = await all_members(client, path)
    row = next(row for row in rows if row["id"] == board["id"])
    return {**board, **row, "columns": await client.get(f"{path}/columns"), "members": members}


async def all_members(client: Client, path: str) -> list[Json]:
    return [
        {key: value for key, value in member.items() if key not in OWN_VIEW}
        async for member in client.items(f"{path}/members?limit=500")
    ]


def first_cards(fresh: Json, board: Json) -> Json:
    """The lists, with only so many cards of a column, and so much of each, and so many members, as
    the board shows.
    """
    seen = {column["id"]: column["cards"] for column in board["columns"]}
    columns = [
        column
        | {
            "cards": [
                as_cut(card, other)
                for card, other in zip(column["cards"], seen.get(column["id"], ()), strict=False)
            ]
        }
        for column in fresh["columns"]
    ]
    members = by_id(fresh["members"])[:500] if board["members_more"] else fresh["members"]
    return fresh | {"columns": columns, "members": members}


def as_cut(card: Json, other: Json) -> Json:
    """A whole card, cut as the board shows it."""
    if "description_cut" not in other:
        return card
    assert len(card["description"]) > 1000
    return card | {"description": card["description"][:1000], "description_cut": True}


def shown(board: Json, messages: list[Json]) -> Json:
    """A fetch in the form of `State.shown`, with the server's own order and counters."""
    kept = {
        k: v
        for k, v in board.items()
        if k not in OWN_VIEW and k not in ("seq", "epoch", "members_more")
    }
    columns = [{k: v for k, v in c.items() if k not in CARDS[1:]} for c in board["columns"]]
    return kept | {
        "columns": columns,
        "labels": by_id(board["labels"]),
        "members": by_id(board["members"]),
        "messages": messages,
    }


def differences(mirrored: Any, fetched: Any, place: str = "") -> list[str]:
    """Where two JSON values differ, a line for each place."""
    if mirrored == fetched:
        return []
    if isinstance(mirrored, dict) and isinstance(fetched, dict):
        found = [f"{place}.{key}: only followed" for key in mirrored.keys() - fetched.keys()]
        found += [f"{place}.{key}: only fetched" for key in fetched.keys() - mirrored.keys()]
        for key in sorted(mirrored.keys() & fetched.keys()):
            found += differences(mirrored[key], fetched[key], f"{place}.{key}")
        return found
    if isinstance(mirrored, list) and isinstance(fetched, list):
        names = [
            [thing.get("id") for thing in some if isinstance(thing, dict)]
            for some in (mirrored, fetched)
        ]
        if names[0] != names[1] or len(mirrored) != len(fetched):
            return [f"{place}: followed {names[0]}, fetched {names[1]}"]
        return [
            line
            for number, (one, other) in enumerate(zip(mirrored, fetched, strict=True))
            for line in differences(one, other, f"{place}[{number}]")
        ]
    return [f"{place}: followed {mirrored!r}, fetched {fetched!r}"]


class Mirror:
    """A board kept in step by a socket alone. `checked` is called with every frame, and `frames`
    has them all unless they are not to be kept. `quiet`: nothing breaks, so it need not come back.
    `parts`: also what hangs on cards, and topics.
    """

    def __init__(
        self,
        client: Client,
        slug: str,
        *,
        checked: Callable[[Json], None] | None = None,
        keep: bool = True,
        quiet: bool = False,
        parts: bool = False,
    ) -> None:
        self.client, self.slug, self.checked, self.keep = client, slug, checked, keep
        self.quiet, self.parts = quiet, parts
        self.failed = Grown(DELIVERY_FAILED)
        self.frames: list[Json] = []
        self.events = 0
        self.resets = 0
        self.fetched: Json
        """The board that it began with."""
        self.state: State
        self.socket: Socket
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def following(self, **options: Any) -> AsyncIterator[asyncio.Task[None]]:
        """Fetch, and follow from there; gives the task that ends when the socket does."""
        self.state = await self._fetch()
        options = {"since": self.state.seq, "epoch": self.state.epoch, **options}
        async with self.client.socket(self.slug, **options) as self.socket:
            follow = asyncio.create_task(self._follow())
            try:
                yield follow
            finally:
                follow.cancel()
                await asyncio.gather(follow, return_exceptions=True)

    async def _fetch(self) -> State:
        for _ in range(50):
            self.fetched, messages = await fetch(self.client, self.slug, distrust=False)
            state = State(self.fetched, messages)
            if not self.parts:
                return state
            state.parts = await fetch_parts(self.client, self.slug, state.cards)
            now = await self.client.get(f"/projects/{self.slug}?include=labels")
            if (now["seq"], now["epoch"]) == (state.seq, state.epoch):
                return state
        raise AssertionError(f"{self.slug} is never quiet")

    async def _follow(self) -> None:
        async for frame in self.socket:
            if self.keep:
                self.frames.append(frame)
            if frame["type"] == "reset":
                self.resets += 1
                self.state = await self._fetch()
                self.socket.fetched(self.state.seq, self.state.epoch)
            elif self.checked is not None:
                self.checked(frame)
            if "seq" in frame:
                self.state.apply(frame)
                self.events += 1
            elif frame["type"] == "board.counts":
                self.state.counts_are(frame["payload"])
            if self._waiting:
                self._wake()

    def _wake(self) -> None:
        for seq, reached in self._waiting:
            if self.state.seq >= seq and not reached.done():
                reached.set_result(None)

    async def reaches(self, seq: int, *, limit: float = LIMIT) -> None:
        """Wait until the mirror is at this seq; on a busy machine `limit` is so much longer."""
        waiting = (seq, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._wake()
        try:
            await asyncio.wait_for(waiting[1], limit * pace.stretch())
        except TimeoutError:
            raise AssertionError(f"the mirror stands at {self.state.seq}, not at {seq}") from None
        finally:
            self._waiting.remove(waiting)

    def strict(self) -> None:
        """Fail if the client had to heal what the server should have: 1, 2, 3 … on every socket."""
        healed = (self.socket.gaps, self.socket.doubles)
        assert healed == (0, 0), f"the server left {healed[0]} gaps and sent {healed[1]} twice"
        assert not self.failed(), f"{self.failed()} events were failed over, and healed"
        if self.quiet:
            came = (self.socket.connections, self.resets)
            assert came == (1, 0), f"it had to come back or fetch anew: {came}"

    async def compare(self, *, limit: float = LIMIT) -> None:
        """Fail, with every difference on a line, unless following equals fetching."""
        while True:
            board, messages = await fetch(self.client, self.slug)
            told = await self.client.get(f"/projects/{self.slug}/digest")
            await self.reaches(board["seq"], limit=limit)
            if self.state.seq == board["seq"] == told["seq"]:
                parts = None
                if self.parts:
                    parts = await fetch_parts(self.client, self.slug, self.state.cards)
                self.equals(shown(board, messages), parts)
                return self.proves(told)

    def proves(self, told: Json) -> None:
        """Fail unless the server's digest of this seq is that of the mirror."""
        assert self.state.seq == told["seq"]
        assert self.state.digest == told["digest"], "the digest is not that of the board"

    def equals(self, fetched: Json, parts: Parts | None = None) -> None:
        """Fail unless this is what a fetch `shown` says, and its `parts` where it keeps them."""
        lines = differences(self.state.shown(), fetched)
        if self.state.parts is not None and parts is not None:
            lines += differences(self.state.parts.shown(), parts.shown())
        more = [f"… and {len(lines) - 50} more"] if len(lines) > 50 else []
        told = "\n".join(lines[:50] + more)
        assert not lines, f"at seq {self.state.seq} the mirror is not the board:\n{told}"


@asynccontextmanager
async def mirror(
    reader: Person,
    slug: str = "demo",
    *,
    quiet: bool = False,
    kind: type[Mirror] | None = None,
    **options: Any,
) -> AsyncIterator[Mirror]:
    """Follow a board while a test changes it, and compare at the end with a fresh fetch. `kind`:
    what follows, if it is more than a mirror.
    """
    await reader.token()
    followed = (kind or Mirror)(reader.client, slug, checked=check_frame, quiet=quiet)
    async with followed.following(**options) as follow:
        yield followed
        compare = asyncio.create_task(followed.compare())
        await asyncio.wait([follow, compare], return_when=asyncio.FIRST_COMPLETED)
        if compare.done() and isinstance(compare.exception(), Refused):
            await asyncio.wait([follow], timeout=LIMIT)
        if follow.done():
            compare.cancel()
            follow.result()
            raise AssertionError(f"the mirror's socket closed with {followed.socket.code}")
        await compare
        followed.strict()
