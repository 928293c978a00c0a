"""The names that events are sent to. In Redis each begins with `warmdesk.redis_calls.names_of`."""

from __future__ import annotations

from enum import StrEnum

CONTROL = "control"


class EventScope(StrEnum):
    """The audience of an event: the kind of the channel that it goes to, with which its name
    begins.
    """

    PROJECT = "project"
    USER = "user"
    CONVERSATION = "conversation"
    CONTROL = CONTROL
    ANY = "any"
    """Every socket, whatever it follows."""


def project_channel(project_id: int) -> str:
    """Everybody who has the project open."""
    return f"project:{project_id}"


def user_channel(user_id: int) -> str:
    """Every socket of one user."""
    return f"user:{user_id}"


def scope_of(channel: str) -> EventScope:
    """The kind of a channel. ValueError if there is no such kind."""
    return EventScope(channel.partition(":")[0])


def project_of(channel: str) -> int | None:
    """The project of a project's channel; None for any other."""
    kind, _, number = channel.partition(":")
    return int(number) if kind == "project" else None
