"""Thin handlers, one file per resource of the API, each with its ``routes``. `RESOURCES` is the
list of them.
"""

from __future__ import annotations

RESOURCES = (
    "health",
    "auth",
    "users",
    "projects",
    "members",
    "columns",
    "cards",
    "chat",
    "events",
    "sockets",
    "metrics",
)
