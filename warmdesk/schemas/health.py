"""What the server says of itself."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from warmdesk.schemas import Shape

Part = Literal["up", "down"]


class Health(Shape):
    """The process lives, and the tasks of its centre run."""

    status: Literal["ok"]


class Ready(Shape):
    """What this process needs for its work. Without Redis everything works, only slower; a disk
    that is low still has room.
    """

    status: Literal["ready"]
    database: Part
    redis: Part
    disk: Literal["low"] | UnsetType = UNSET
    degraded: bool | UnsetType = UNSET


class Version(Shape):
    """Which program this is."""

    version: str
