"""Who lost a right hears nothing after.

`Revoked.act` is called when the answer to a revocation came; its `Watch` is fed with all that the
sockets of that user get from then on.
"""

from __future__ import annotations

import time
from typing import Any

from tests.checkers.cry import Checker

WITHIN = 2.0
REMOVED, LOGOUT, DEACTIVATED, DEMOTED = "removed", "logout", "deactivated", "demoted"
UNMADE, PURGED, DELETED = "no administrator", "project purged", "account purged"
ENDS = (REMOVED, LOGOUT, DEACTIVATED, UNMADE, PURGED, DELETED)
# Rights in a project are read in the transaction of each change.
AT_ONCE = (REMOVED, DEMOTED)

Json = dict[str, Any]


class Revoked(Checker):
    """All revocations of a run. `seconds`: from the answer to the last frame or the closing.
    `asked` and `mails`: how many questions and mails there were after it, which are in vain.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.watches: list[Watch] = []
        self.asked = self.mails = 0

    def act(self, kind: str, user_id: int, at: float | None = None, *, sockets: int = 1) -> Watch:
        """The answer to a revocation came `at` (monotonic seconds): one of `ENDS`, or demoted.
        `sockets`: how many this user still has open that it must end. A removal ends those on the
        project, and so does a purge of it; what the user's own socket hears is another matter.
        """
        watch = Watch(self, kind, user_id, time.monotonic() if at is None else at, sockets)
        self.watches.append(watch)
        if not watch.open:
            watch.finish()
        return watch

    def outlived(self, kind: str, user_id: int, what: str, seconds: float) -> None:
        """What needs the right was done for who lost it, so long after the answer."""
        if seconds > WITHIN:
            self.cry(f"user {user_id}, {kind}: {what} {seconds:.1f} s after the answer")

    def finish(self) -> None:
        """The run is over: whatever should have ended has."""
        for watch in self.watches:
            watch.finish()


class Watch:
    """One revocation and the sockets that it concerns."""

    def __init__(self, revoked: Revoked, kind: str, user_id: int, at: float, sockets: int) -> None:
        self.revoked, self.kind, self.user_id, self.at = revoked, kind, user_id, at
        self.open = sockets if kind in ENDS else 0
        self.codes: list[int | None] = []
        self._last = at
        self._late = False
        self._removed_at: int | None = None
        self._finished = False

    def _cry(self, sentence: str) -> None:
        self.revoked.cry(f"user {self.user_id}, {self.kind}: {sentence}")

    def frame(self, frame: Json, *, removed_at: int | None = None) -> None:
        """A frame that one of the sockets got. `removed_at`: the seq of the removal, where the
        caller knows it from others; else it is known when this socket hears of it.
        """
        if self.kind not in ENDS or self._finished:
            return
        now, seq, type = time.monotonic(), frame.get("seq"), frame["type"]
        tells = seq is not None or type.startswith("presence.")
        if not tells:
            return
        self._last = now
        if now - self.at > WITHIN and not self._late:
            self._late = True
            self._cry(f"{type} came {now - self.at:.1f} s after the answer")
        if self.kind != REMOVED or seq is None:
            return
        if removed_at is not None:
            self._removed_at = removed_at
        if self._removed_at is not None and seq > self._removed_at:
            self._cry(f"{type} {seq} came after the removal, which was {self._removed_at}")
        if type == "project.member_removed" and frame["payload"]["user_id"] == self.user_id:
            self._removed_at = seq

    def accepted(self, sent: float) -> None:
        """The server accepted a write that was sent at this moment (monotonic seconds)."""
        bound = 0.0 if self.kind in AT_ONCE else WITHIN
        if sent - self.at > bound:
            self._cry(f"a write was accepted that was sent {sent - self.at:.1f} s after the answer")

    def closed(self, code: int | None) -> None:
        """One of the sockets ended."""
        if self._finished or not self.open:
            return
        self.open -= 1
        self.codes.append(code)
        self._last = now = time.monotonic()
        if now - self.at > WITHIN:
            self._cry(f"a socket was closed with {code} only {now - self.at:.1f} s after")
        if not self.open:
            self.finish()

    def finish(self) -> None:
        """Nothing more is expected. A socket that is open past the bound is broken."""
        if self._finished or self.kind not in ENDS:
            return
        now = time.monotonic()
        if self.open and now - self.at > WITHIN:
            self._cry(f"{self.open} sockets are still open {now - self.at:.1f} s after")
        self._finished = True
        self.revoked.seconds.append(max(0.0, self._last - self.at))
