"""What of a board a query asks for."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from warmdesk.boards import CHAT, PARTS, View
from warmdesk.http.pages import bound_to
from warmdesk.http.query import parts_of
from warmdesk.http.routing import BASE
from warmdesk.schemas.cards import CardsQuery
from warmdesk.schemas.projects import ShowProject


def view_of(slug: str, query: ShowProject) -> View:
    """The view of a project's board that a query asks for."""
    list_path = f"{BASE}/projects/{slug}/columns/{{column_id}}/cards"
    return View(
        _parts(query.include),
        query.cards_limit,
        query.cards == "brief",
        bound_to(list_path, CardsQuery(cards=query.cards)).decode(),
    )


def _parts(include: Any) -> frozenset[str]:
    """The parts that were asked for. Cards hang in columns, so they bring them."""
    if include is UNSET:
        return PARTS
    parts = parts_of(include, PARTS | {CHAT})
    return parts | {"columns"} if "cards" in parts else parts
