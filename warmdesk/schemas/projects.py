"""Projects, their members and stars: what a client sends and what the server shows."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import A_COLOR, Body, Color, Id, Shape, Timestamp
from warmdesk.schemas.cards import BoardCard, CardBrief, Form
from warmdesk.schemas.columns import Column
from warmdesk.schemas.labels import Label
from warmdesk.schemas.members import Member, RoleWord
from warmdesk.schemas.pages import PageQuery
from warmdesk.schemas.users import UserRef

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\S", examples=["My Project"])]
Description = Annotated[str, Meta(max_length=100_000)]
ClearableColor = Annotated[
    str, Meta(pattern=r"^(#[0-9a-fA-F]{6})?$(?!\n)", examples=["#6366f1"], extra=A_COLOR)
]
KeyPrefix = Annotated[
    str,
    Meta(
        pattern=r"^[A-Z][A-Z0-9]{0,9}$(?!\n)",
        examples=["MYPROJ"],
        extra={"otherwise": "must be 1 to 10 capital letters and digits, a letter first"},
    ),
]


class PlainProject(Shape):
    """A project as everybody on it sees it."""

    id: Id
    name: str
    description: str
    slug: str
    color: Color
    key_prefix: str
    is_archived: bool
    archived_at: Timestamp | None
    created_by_id: Id
    created_at: Timestamp
    updated_at: Timestamp
    open_card_count: int
    member_count: int


class Project(PlainProject):
    """A project with the reader's own view of it."""

    my_role: RoleWord
    starred: bool


class BoardColumn(Column):
    """A column with its first cards by position, at most 500, and fewer on a board of more than
    8 MiB; `cards_more` says that it has others, and `cards_next` is the `cursor` with which the
    column's list goes on.
    """

    cards: list[BoardCard] | UnsetType = UNSET
    cards_more: bool | UnsetType = UNSET
    cards_next: str | UnsetType | None = UNSET


class ProjectDetail(Project, kw_only=True):
    """The whole board, true for `seq` of `epoch`.

    A socket opened with the two gets exactly what came after. `members` are the first 500; with
    `members_more` the others are in the list of members.
    """

    created_by: UserRef
    columns: list[BoardColumn] | UnsetType = UNSET
    labels: list[Label] | UnsetType = UNSET
    members: list[Member] | UnsetType = UNSET
    members_more: bool | UnsetType = UNSET
    seq: int
    epoch: str


class BriefColumn(BoardColumn):
    """The same with brief cards."""

    cards: list[CardBrief] | UnsetType = UNSET  # type: ignore[assignment]


class BriefProjectDetail(ProjectDetail, kw_only=True):
    """The whole board with brief cards."""

    columns: list[BriefColumn] | UnsetType = UNSET  # type: ignore[assignment]


class ProjectUpdated(Shape):
    """The project after a change, and the names of the fields that changed."""

    project: PlainProject
    changes: list[str]


class ProjectSlug(Shape):
    slug: str


class Starred(Shape):
    starred: bool


class NewProject(Body):
    """A project to be made; its slug, and its key prefix if none is given, come from the name."""

    name: Name
    description: Description | None = None
    color: ClearableColor | None = None
    key_prefix: KeyPrefix | None = None


class ProjectChanges(Body):
    """What to change of a project.

    `slug` and `key_prefix` stay as they are: another value is refused.
    """

    name: Name | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    color: ClearableColor | UnsetType | None = UNSET
    is_archived: bool | UnsetType = UNSET
    slug: str | UnsetType = UNSET
    key_prefix: str | UnsetType = UNSET


class ListProjects(PageQuery):
    """Which projects: `q` is a part of the name or slug, or the key prefix."""

    cursor_type: ClassVar[Any] = tuple[str, Id]
    """The name in lower case, and the id. The id alone would show a stranger where its name
    stands."""
    include_archived: bool = False
    mine: bool = False
    q: Annotated[str, Meta(max_length=200)] = ""


class ShowProject(Body):
    """The query of a project: which parts to include, separated by commas (all by default), and how
    many cards of each column.
    """

    include: Annotated[str, Meta(examples=["columns,cards"], max_length=100)] | UnsetType = UNSET
    cards_limit: Annotated[
        int, Meta(ge=1, le=500, description="How many cards of each column at most")
    ] = 500
    cards: Form | None = None


class ColumnCount(Shape):
    """How many cards the board shows in a column."""

    id: Id
    card_count: int


class BoardCounts(Shape):
    """How many cards the board shows, true for `seq`: columns in order."""

    columns: list[ColumnCount]
    open_card_count: int
    seq: int


class Digest(Shape):
    """What a board is at a seq: SHA-256 in hex."""

    seq: int
    epoch: str
    digest: str
