"""Who is shown present has a socket open, and nobody else.

The truth is what the test itself opened and closed; each viewer's belief follows from what its
socket said.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tests.checkers.cry import Checker

STEADY_SECONDS = 10.0
LIMIT = 10.0

Json = dict[str, Any]


class Presence(Checker):
    """The people of one project, and what its viewers believe.

    false_leaves      leaves heard of somebody who had a socket open for the last 10 s and still has
    excused_leaves    the same while `excused` is set, because a fault explains them
    doubled           joins of who is present in that view, leaves of who is not
    settled           seconds that each `settles` took

    `steady` is what the 10 s are.
    """

    def __init__(self, *, steady: float = STEADY_SECONDS) -> None:
        super().__init__()
        self.steady_seconds = steady
        self.excused = False
        self.false_leaves = self.excused_leaves = self.doubled = 0
        self.settled: list[float] = []
        self.views: dict[str, View] = {}
        self._sockets: dict[int, int] = {}
        self._since: dict[int, float] = {}

    # The truth.

    def opened(self, user_id: int) -> None:
        """A socket of this user said ``hello``."""
        count = self._sockets[user_id] = self._sockets.get(user_id, 0) + 1
        if count == 1:
            self._since[user_id] = time.monotonic()

    def gone(self, user_id: int) -> None:
        """A socket of this user ended, for whatever reason."""
        count = self._sockets.get(user_id, 0)
        assert count, f"user {user_id} had no socket that could end"
        self._sockets[user_id] = count - 1
        if count == 1:
            del self._sockets[user_id], self._since[user_id]

    @property
    def here(self) -> set[int]:
        """Who has a socket open."""
        return set(self._sockets)

    def seconds_here(self, user_id: int) -> float:
        """For how many seconds this user has had a socket open without interruption."""
        since = self._since.get(user_id)
        return time.monotonic() - since if since is not None else 0.0

    # What is believed.

    def view(self, name: str, user_id: int | None = None) -> View:
        """The belief of the viewer called so, who is this user."""
        return self.views.setdefault(name, View(self, name, user_id))

    def left(self, view: View, user_id: int) -> None:
        """A view heard that somebody left."""
        seconds = self.seconds_here(user_id)
        if seconds < self.steady_seconds:
            return
        if self.excused:
            self.excused_leaves += 1
        else:
            self.false_leaves += 1
            self.cry(
                f"{view.name} heard that user {user_id} left, who has been here for {seconds:.0f} s"
            )

    def wrong(self) -> list[str]:
        """A sentence for each view that differs from the truth now."""
        here = self.here
        return [line for view in self.views.values() for line in view.differences(here)]

    async def settles(self, limit: float = LIMIT) -> None:
        """Wait until all views are true and note the seconds; broken when they exceed `limit`."""
        began = time.monotonic()
        while wrong := self.wrong():
            if time.monotonic() - began > limit:
                for line in wrong:
                    self.cry(f"after {limit:.0f} s {line}")
                return
            await asyncio.sleep(0.05)
        self.settled.append(time.monotonic() - began)


class View:
    """What one viewer believes. Between `restart` and the next ``hello`` it listens to nothing."""

    def __init__(self, presence: Presence, name: str, user_id: int | None) -> None:
        self.presence, self.name, self.user_id = presence, name, user_id
        self.listens = False
        self.users: set[int] | None = None
        """Who is present; None until the list came."""
        self.count = 0
        """How many are present, said by the server; a list has at most 200 of them."""

    def restart(self) -> None:
        """Its connection ended: it believes nothing until the next list."""
        self.listens = False
        self.users = None

    def frame(self, frame: Json) -> None:
        """Every frame that came, or at least those of presence, in their order."""
        if "seq" in frame:
            return
        type, payload = frame["type"], frame["payload"]
        if type == "hello":
            self.listens, self.users = True, None
        elif type == "presence.list":
            self._list(payload)
        elif type == "presence.join":
            self._told([payload["user_id"]], [], None)
        elif type == "presence.leave":
            self._told([], [payload["user_id"]], None)
        elif type == "presence.changed":
            joined = [user["id"] for user in payload["joined"]]
            self._told(joined, payload["left"], payload["count"])

    def _list(self, payload: Json) -> None:
        ids = [user["id"] for user in payload["users"]]
        self.listens, self.users, self.count = True, set(ids), payload["count"]
        if len(self.users) < len(ids):
            self.presence.cry(f"{self.name} got a list with somebody twice: {ids}")
        if payload["more"] != (self.count > len(ids)):
            self.presence.cry(f"{self.name} got {len(ids)} of {self.count}, more={payload['more']}")
        if self.user_id is not None and not payload["more"] and self.user_id not in self.users:
            self.presence.cry(f"{self.name} got a list without itself: {ids}")

    def _told(self, joined: list[int], left: list[int], count: int | None) -> None:
        presence = self.presence
        for user_id in left:
            presence.left(self, user_id)
        if self.users is None:
            presence.cry(f"{self.name} heard {joined} join and {left} leave before any list")
            return
        # With a part of the list alone nobody can say who was in it.
        whole = len(self.users) == self.count
        if len(set(joined) | set(left)) < len(joined) + len(left):
            presence.cry(f"{self.name} heard of one twice at once: {joined} joined, {left} left")
        for user_id in joined:
            if user_id in self.users:
                presence.doubled += 1
                presence.cry(f"{self.name} heard user {user_id} join again")
        for user_id in left:
            if user_id not in self.users and whole:
                presence.doubled += 1
                presence.cry(f"{self.name} heard user {user_id} leave, who was not there")
        before = len(self.users)
        self.users = (self.users | set(joined)) - set(left)
        self.count += len(self.users) - before if whole else len(joined) - len(left)
        if count is not None and count != self.count:
            presence.cry(f"{self.name} was told of {count} people and knows of {self.count}")
            self.count = count

    def differences(self, here: set[int]) -> list[str]:
        """How this view differs from who is here."""
        if not self.listens:
            return []
        if self.users is None:
            return [f"{self.name} has no list"]
        if len(self.users) < self.count:
            if self.count != len(here):
                return [f"{self.name} counts {self.count} people, {len(here)} are here"]
            return [f"{self.name} sees ghosts {sorted(self.users - here)}"] * bool(
                self.users - here
            )
        lines = []
        if ghosts := self.users - here:
            lines.append(f"{self.name} sees ghosts {sorted(ghosts)}")
        if unseen := here - self.users:
            lines.append(f"{self.name} does not see {sorted(unseen)}")
        return lines
