"""Projects, their members and stars: what a client sends and what the server shows."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import A_COLOR, Body, Color, Id, Shape, Timestamp
from warmdesk.schemas.cards import BoardCard, CardBrief, Form
from warmdesk.schemas.chat import ChatMessage
from warmdesk.schemas.columns import Column
from warmdesk.schemas.labels import Label
from warmdesk.schemas.members import Member, RoleWord
from warmdesk.schemas.pages import NotNegative, PageQuery
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

HERE_SHOWN = 5
"""Those who came last to a project, of all who have it open."""
MOST_CARDS = 500
"""Cards that a column of a board shows at most; the others are read by the column's own list, from
where its `cards_next` says.
"""


class ToldProject(Shape, kw_only=True):
    """A project as an event tells it."""

    id: Id
    name: str
    description: str | UnsetType = UNSET
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


class PlainProject(ToldProject, kw_only=True):
    """A project as everybody on it sees it."""

    description: str


class Project(PlainProject):
    """A project with the reader's own view of it."""

    my_role: RoleWord
    starred: bool
    unread_count: Annotated[
        int,
        Meta(
            description="others' messages, not deleted, among the first 1,000 that follow"
            " `last_read_message_id`; 0 for who is no member and has read nothing"
        ),
    ]
    mention_count: Annotated[
        int, Meta(description="unread notifications that name the reader in this project")
    ]
    last_read_message_id: int | None
    muted: bool
    last_activity_at: Annotated[
        Timestamp, Meta(description="when something happened last that its people were told of")
    ]


class Here(Shape):
    """Who has a project open: how many, and the last five who came."""

    count: int
    users: list[UserRef]


class ProjectActivity(Shape):
    """What happened in a project of the reader's: what is unread there, how many open cards it has,
    who has it open; `here` is null while that is not known.
    """

    slug: str
    unread_count: int
    mention_count: int
    open_card_count: int
    here: Here | None


class ListedProject(Project, kw_only=True):
    """A project in a list; `here` if it was asked for, and null while that is not known."""

    here: Here | UnsetType | None = UNSET


class BoardColumn(Column):
    """A column with its first cards by position, as many as were asked for, and fewer on a board of
    more than 8 MiB; `cards_more` says that it has others, and `cards_next` is the `cursor` with
    which the column's list goes on.
    """

    cards: list[BoardCard] | UnsetType = UNSET
    cards_more: bool | UnsetType = UNSET
    cards_next: str | UnsetType | None = UNSET


class ProjectDetail(Project, kw_only=True):
    """The whole board, true for `seq` of `epoch`.

    A socket opened with the two gets exactly what came after. `members` are the first 500; with
    `members_more` the others are in the list of members. `messages`, if they were asked for, are
    the newest 50 of the chat, oldest first, and fewer where they are long; `messages_more` says
    that there are older ones.
    """

    created_by: UserRef
    columns: list[BoardColumn] | UnsetType = UNSET
    labels: list[Label] | UnsetType = UNSET
    members: list[Member] | UnsetType = UNSET
    members_more: bool | UnsetType = UNSET
    messages: list[ChatMessage] | UnsetType = UNSET
    messages_more: bool | UnsetType = UNSET
    seq: int
    epoch: str


class BriefColumn(BoardColumn):
    """The same with brief cards."""

    cards: list[CardBrief] | UnsetType = UNSET  # type: ignore[assignment]


class BriefProjectDetail(ProjectDetail, kw_only=True):
    """The whole board with brief cards."""

    columns: list[BriefColumn] | UnsetType = UNSET  # type: ignore[assignment]


class ProjectUpdated(Shape):
    """The project after a change, and the names of the fields that changed. On a person's own
    channel it has no `description`.
    """

    project: ToldProject
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
    """Which projects: `q` is a part of the name or slug, or the key prefix.

    With `sort=activity` those come first in which something happened last; with `include=here` each
    says who has it open.
    """

    cursor_type: ClassVar[Any] = tuple[str, NotNegative, Id]
    """The name in lower case or when something happened last, whatever they are sorted by, and the
    id. The id alone would show a stranger where its name stands."""
    include_archived: bool = False
    mine: bool = False
    q: Annotated[str, Meta(max_length=200)] = ""
    sort: Literal["name", "activity"] = "name"
    include: Literal["here"] | None = None


class ListAllProjects(PageQuery):
    """Which projects: `q` is a part of the name or slug, or the key prefix."""

    cursor_type: ClassVar[Any] = tuple[str, NotNegative, Id]
    q: Annotated[str, Meta(max_length=200)] = ""


class ShowProject(Body):
    """The query of a project: which parts to include, separated by commas (by default all but
    `chat`), and how many cards of each column.
    """

    include: Annotated[str, Meta(examples=["columns,cards"], max_length=100)] | UnsetType = UNSET
    cards_limit: Annotated[
        int, Meta(ge=1, le=MOST_CARDS, description="How many cards of each column at most")
    ] = MOST_CARDS
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
