"""Checklists: the steps of a card."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import Body, Id, Position, Shape, Timestamp

MOST = 200
"""Items a card may have."""

ItemBody = Annotated[
    str, Meta(min_length=1, max_length=1000, pattern=r"\S", examples=["Oil the hinge"])
]


class AddItem(Body):
    """A new item: before the first whose position is greater than this, or at the end."""

    body: ItemBody
    position: Position | None = None


class ChangeItem(Body):
    """Only the keys that are sent are changed; `position` as for a new item."""

    body: ItemBody | UnsetType = UNSET
    is_completed: bool | UnsetType = UNSET
    position: Position | UnsetType = UNSET


class ItemOrder(Body):
    """All items of the card, first to last."""

    item_ids: Annotated[list[Id], Meta(max_length=MOST)]


class ChecklistItem(Shape):
    """A step of a card."""

    id: int
    card_id: int
    body: str
    is_completed: bool
    position: float
    created_at: Timestamp
    updated_at: Timestamp


class ChecklistItemDeleted(Shape):
    id: int
    card_id: int


class ChecklistReordered(Shape):
    """All items of a card in their order; their positions are 1000, 2000 … now."""

    card_id: int
    item_ids: list[int]
