"""Git hosts: what they tell of by a webhook, as one kind of object.

A file for each host says only how this host names things: structs of what is read, and a function
that makes one of the objects below of it. `text` writes the chat's lines and finds the cards that
are named, once for all hosts; `generic` reads what every other program posts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from warmdesk.schemas.links import LinkStatus

NO_COMMIT = "0" * 40
"""How the name of a commit begins that is none: before a branch was made, or after it was deleted.
"""


class Repo(NamedTuple):
    """A repository: its name, ``owner/door``, and its page."""

    name: str
    url: str


class Commit(NamedTuple):
    """A commit, with its whole message."""

    sha: str
    url: str
    message: str
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Commits came to a branch, or a branch or tag came or went. `count`: of all commits, where
    the host sends fewer.
    """

    repo: Repo
    pusher: str
    ref: str
    """As git says it: ``refs/heads/main``."""
    commits: Sequence[Commit] = ()
    count: int = 0
    created: bool = False
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something happened to a pull request or an issue. `action`: in the past, "opened"; what is
    not in `text.TOLD` is said nowhere, but its link is refreshed.
    """

    kind: Literal["pr", "issue"]
    repo: Repo
    sender: str
    action: str
    number: int
    title: str
    url: str
    status: LinkStatus
    author: str = ""
    author_is_sure: bool = True
    """Otherwise whoever sent this, who may be somebody else."""
    body: str = ""
    branch: str = ""
    mark: str = "#"
    """What stands before its number."""
    noun: str = ""
    """What the host calls it; else by its `kind`."""
    told_at: datetime | None = None
    """When it was changed, by the host's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Somebody wrote about a pull request or an issue."""

    kind: Literal["pr", "issue"]
    repo: Repo
    sender: str
    number: int
    title: str
    url: str
    text: str
    is_review: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """A branch or a tag was made or deleted."""

    repo: Repo
    sender: str
    action: Literal["created", "deleted"]
    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Something was released."""

    repo: Repo
    sender: str
    name: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """Somebody has a repository of their own now."""

    repo: Repo
    sender: str
    copy: Repo


Told = Push | Item | Remark | Ref | Release | Fork

Read = Callable[[Any], Told | None]


class Kind(NamedTuple):
    """A kind of event: the struct of its payload, and what makes an object of it; None where there
    is nothing to tell.
    """

    payload: type[msgspec.Struct]
    read: Read


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """How a host names things. Each tuple of headers is looked through in its order.

    events      headers that name the event
    deliveries  headers that name the delivery, the same when it comes again
    signatures  headers with the HMAC-SHA256 of the body, in hex
    password    the header that has the secret itself, where the host signs nothing
    event_field the field of the payload that names the event before a header does
    kinds       what is read, by the name of the event; all others are passed over
    """

    events: tuple[str, ...]
    deliveries: tuple[str, ...]
    signatures: tuple[str, ...] = ()
    password: str = ""
    event_field: str = ""
    kinds: Mapping[str, Kind]


class Payload(msgspec.Struct, kw_only=True):
    """What is read of a payload. All else in it is passed over."""


Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""How hosts count pull requests and issues."""


class Anything(Payload):
    """A payload of which nothing is read, but which must be JSON."""


def moment(text: str | None) -> datetime | None:
    """A time as hosts write it; None for what is no time with a zone: ``2026-04-04T10:00:00Z``,
    ``2026-04-04 10:00:00 UTC``.
    """
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text.replace(" UTC", "+00:00"))
    except ValueError:
        return None
    # In another zone the first and the last year may be one that does not exist.
    return found if found.tzinfo is not None and 1 < found.year < 9999 else None
