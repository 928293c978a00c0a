"""The kinds of notifications, and how somebody wants to be told of each."""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec
from msgspec import UNSET, UnsetType

from warmdesk.schemas import Body, Shape

Kind = Literal[
    "mention",
    "assigned",
    "assigned_moved",
    "assigned_commented",
    "watched_updated",
    "topic_reply",
    "dm",
    "due",
    "project_added",
]
Choice = Literal["off", "app", "mail"]

Notify: Any = msgspec.defstruct(
    "Notify",
    [(kind, Choice) for kind in get_args(Kind)],
    bases=(Shape,),
    kw_only=True,
    namespace={
        "__doc__": "For each kind of notification: `off`, told in the application (`app`), or also"
        " by `mail` to who is not there."
    },
)
UpdateNotify: Any = msgspec.defstruct(
    "UpdateNotify",
    [(kind, Choice | UnsetType, UNSET) for kind in get_args(Kind)],
    bases=(Body,),
    kw_only=True,
    namespace={"__doc__": "The kinds that change."},
)
