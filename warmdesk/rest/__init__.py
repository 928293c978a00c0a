"""Thin handlers, one file per resource of the API. `RESOURCES` is the list of them; they do not
import each other.
"""

from __future__ import annotations

RESOURCES = (
    "health",
    "auth",
    "resets",
    "sessions",
    "keys",
    "users",
    "avatars",
    "people",
    "projects",
    "members",
    "columns",
    "labels",
    "cards",
    "tickets",
    "comments",
    "checklist",
    "links",
    "attachments",
    "card_lists",
    "chat",
    "topics",
    "conversations",
    "time_entries",
    "reports",
    "notifications",
    "search",
    "webhooks",
    "incoming",
    "settings",
    "unsubscribe",
    "events",
    "sockets",
    "outgoing",
    "metrics",
)
