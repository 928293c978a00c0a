"""Labels: the coloured words a project hangs on its cards."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import Body, Color, Id, Shape

Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\S", examples=["Bug"])]


class NewLabel(Body):
    """A label to be made. No other one of the project has its name, in any case of letters."""

    name: Name
    color: Color


class LabelChanges(Body):
    """What to change of a label; the cards that have it show it changed."""

    name: Name | UnsetType = UNSET
    color: Color | UnsetType = UNSET


class Label(Shape):
    """A label of a project."""

    id: Id
    project_id: Id
    name: str
    color: Color


class LabelDeleted(Shape):
    """Which label is no more. No card has it any longer: nothing else tells of that."""

    id: Id
