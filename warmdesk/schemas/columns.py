"""Columns: what a client sends and what the server shows."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import A_COLOR, Body, Id, Position, Shape, Timestamp, Version

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\S", examples=["In Review"])]
ColumnColor = Annotated[
    str, Meta(pattern=r"^(#[0-9a-fA-F]{6})?$(?!\n)", examples=["#6366f1"], extra=A_COLOR)
]
WipLimit = Annotated[int, Meta(ge=1, le=2**31 - 1, examples=[5])]


class Column(Shape):
    """A column, without its cards.

    `wip_limit` is shown, never enforced; `card_count` counts the cards that the board shows.
    """

    id: Id
    project_id: Id
    name: str
    position: Position
    color: str
    wip_limit: int | None
    card_count: int
    created_at: Timestamp
    updated_at: Timestamp
    version: Version


class ColumnDeleted(Shape):
    column_id: Id


class ColumnPlace(Shape):
    """Where a column stands among the others."""

    id: Id
    position: Position


class ColumnsReordered(Shape):
    """All columns of the project, in their new order."""

    columns: list[ColumnPlace]


class NewColumn(Body):
    """A column to be put behind the others."""

    name: Name
    color: ColumnColor | None = None
    wip_limit: WipLimit | None = None


class ColumnChanges(Body):
    """What to change of a column; `null` clears color and limit."""

    name: Name | UnsetType = UNSET
    color: ColumnColor | UnsetType | None = UNSET
    wip_limit: WipLimit | UnsetType | None = UNSET
    version: Version | UnsetType = UNSET


class WantedPlace(Body):
    """A column and the number that orders it."""

    id: Id
    position: Position


class ColumnOrder(Body):
    """The complete new order, by ids."""

    column_ids: Annotated[list[Id], Meta(min_length=1, max_length=100)]


ColumnPlaces = Annotated[list[WantedPlace], Meta(min_length=1, max_length=100)]


class DeleteColumn(msgspec.Struct, kw_only=True):
    """The query of a column's deletion."""

    move_to: Id | UnsetType = UNSET
