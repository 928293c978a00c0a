"""Thin handlers, one file per resource of the API. `RESOURCES` is the list of them; they do not
import each other.
"""

from __future__ import annotations

RESOURCES = (
    "health",
    "auth",
    "sessions",
    "users",
    "accounts",
    "administration",
    "avatars",
    "people",
    "projects",
    "members",
    "invitations",
    "columns",
    "labels",
    "cards",
    "comments",
    "checklist",
    "links",
    "attachments",
    "card_lists",
    "chat",
    "topics",
    "conversations",
    "notifications",
    "search",
    "events",
    "sockets",
    "metrics",
)
