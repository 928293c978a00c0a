"""Who acts now: a user with a session, or an API key with its owner's rights."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from warmdesk.errors import Forbidden, KeyLacksScope


class Role(IntEnum):
    """A role in a project; a higher one may do all that a lower one may."""

    VIEWER = 1
    MEMBER = 2
    ADMIN = 3
    OWNER = 4

    @property
    def word(self) -> str:
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Role:
        return cls[word.upper()]


class GlobalRole(StrEnum):
    """A role in the whole installation."""

    ADMIN = "admin"
    USER = "user"
    VIEWER = "viewer"
    METRICS = "metrics"
    BACKUP = "backup"


class Grant(StrEnum):
    """A scope of an API key: what the key may be used for, beside what its owner may."""

    READ = "read"
    """Every GET and socket."""
    WRITE = "write"
    """All but what is an administrator's; `READ` included."""
    TICKETS = "tickets"
    """The Ticket API."""
    METRICS = "metrics"
    BACKUP = "backup"


TO_READ = frozenset({Grant.READ, Grant.WRITE})
TO_WRITE = frozenset({Grant.WRITE})
NO_SCOPE: frozenset[Grant] = frozenset()
"""What a key may do that has no scopes, and no other."""
HUMAN_ROLES = frozenset({GlobalRole.ADMIN, GlobalRole.USER, GlobalRole.VIEWER})
ALL_ROLES = frozenset(GlobalRole)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. ``session_id`` for a session's token, ``key_id`` for an API key
    (``key_project_id``: the key's only project; ``grants``: its scopes, None when it has none and
    may do all that its owner may).

    ``expires_at`` is the credential's end in seconds since 1970; None when it has none.
    """

    user_id: int
    username: str
    global_role: GlobalRole
    session_id: str | None = None
    key_id: int | None = None
    key_project_id: int | None = None
    expires_at: float | None = None
    grants: frozenset[Grant] | None = None

    @property
    def credential(self) -> str:
        """What they came with, and no other credential of theirs."""
        return f"session {self.session_id}" if self.key_id is None else f"key {self.key_id}"


def require_session(actor: Actor) -> str:
    """The actor's session; `Forbidden` to an API key. For actions that need a sign-in."""
    if actor.session_id is None:
        raise Forbidden("an API key cannot do this; sign in", code="sign_in_required")
    return actor.session_id


def require_grant(actor: Actor, grants: frozenset[Grant]) -> None:
    """Refuse an API key that has scopes, and none of these: `KeyLacksScope`."""
    if actor.grants is not None and not actor.grants & grants:
        raise KeyLacksScope(sorted(grants))


@dataclass(frozen=True, slots=True)
class EnteredProject:
    """A project as a handler sees it after `enter_project`."""

    id: int
    slug: str
    is_archived: bool
    key_prefix: str
    role: Role


def effective_role(global_role: GlobalRole, project_role: str | None) -> Role | None:
    """A user's role in a project; None to strangers. The same rule as effective_role in
    sql/changes/access.sql.
    """
    if global_role is GlobalRole.ADMIN:
        return Role.OWNER
    if project_role is None or global_role not in HUMAN_ROLES:
        return None
    return Role.VIEWER if global_role is GlobalRole.VIEWER else Role.of(project_role)
