"""What processes tell each other on the channel `control`, and what a user hears of the own
sessions.
"""

from __future__ import annotations

from warmdesk.schemas import Shape


class SessionEnded(Shape):
    session_id: str
    user_id: int
    deactivated: bool = False


class UserChanged(Shape):
    user_id: int


class KeyEnded(Shape):
    key_id: int


class MemberChanged(Shape):
    user_id: int
    project_id: int


class ProjectChanged(Shape):
    project_id: int


class SettingsChanged(Shape):
    keys: list[str]


class SessionRevoked(Shape):
    session_id: str
