"""Labels: the coloured words a project hangs on its cards."""

from __future__ import annotations

from warmdesk.schemas import Color, Id, Shape


class Label(Shape):
    """A label of a project."""

    id: Id
    project_id: Id
    name: str
    color: Color
