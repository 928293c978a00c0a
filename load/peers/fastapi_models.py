"""The rows and the answers of `fastapi_orm`: the tables and the JSON are WarmDesk's own, so that
both do the same work.
"""

from __future__ import annotations

from datetime import date, datetime

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Column as TableColumn
from sqlalchemy import ForeignKey, Table, func
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    type_annotation_map = {datetime: TIMESTAMP(timezone=True)}  # noqa: RUF012


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str]
    email: Mapped[str]
    display_name: Mapped[str]
    avatar_url: Mapped[str | None]
    global_role: Mapped[str]
    is_active: Mapped[bool]


class Project(Base):
    __tablename__ = "projects"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    name: Mapped[str]
    description: Mapped[str]
    slug: Mapped[str]
    color: Mapped[str]
    key_prefix: Mapped[str]
    is_archived: Mapped[bool]
    archived_at: Mapped[datetime | None]
    created_by_id: Mapped[int] = mapped_column(ForeignKey("users.id"))

    created_by: Mapped[User] = relationship()
    columns: Mapped[list[Column]] = relationship(
        primaryjoin="and_(Column.project_id == Project.id, Column.deleted_at.is_(None))",
        order_by="Column.position, Column.id",
        back_populates="project",
    )
    labels: Mapped[list[Label]] = relationship(
        primaryjoin="and_(Label.project_id == Project.id, Label.deleted_at.is_(None))",
        order_by="Label.id",
    )
    members: Mapped[list[Membership]] = relationship(order_by="Membership.id")

    seq = 0
    members_more = False
    my_role = ""
    starred = False
    epoch = "0"

    @property
    def open_card_count(self) -> int:
        return sum(not card.closed for column in self.columns for card in column.cards)

    @property
    def member_count(self) -> int:
        return len(self.members)


class Membership(Base):
    __tablename__ = "project_members"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    role: Mapped[str]
    invited_by: Mapped[int | None]

    user: Mapped[User] = relationship()


class StarredProject(Base):
    __tablename__ = "starred_projects"

    user_id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(primary_key=True)


class Column(Base):
    __tablename__ = "columns"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    position: Mapped[float]
    color: Mapped[str]
    wip_limit: Mapped[int | None]
    version: Mapped[int]

    project: Mapped[Project] = relationship(back_populates="columns")
    cards: Mapped[list[Card]] = relationship(
        primaryjoin=(
            "and_(Card.column_id == Column.id, Card.deleted_at.is_(None),"
            " Card.archived_at.is_(None))"
        ),
        order_by="Card.position, Card.id",
        back_populates="column",
    )

    cards_more = False

    @property
    def card_count(self) -> int:
        return len(self.cards)


class Label(Base):
    __tablename__ = "labels"

    id: Mapped[int] = mapped_column(primary_key=True)
    deleted_at: Mapped[datetime | None]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    color: Mapped[str]


card_assignees = Table(
    "card_assignees",
    Base.metadata,
    TableColumn("card_id", ForeignKey("cards.id"), primary_key=True),
    TableColumn("user_id", ForeignKey("users.id"), primary_key=True),
)
card_labels = Table(
    "card_labels",
    Base.metadata,
    TableColumn("card_id", ForeignKey("cards.id"), primary_key=True),
    TableColumn("label_id", ForeignKey("labels.id"), primary_key=True),
)


class Tag(Base):
    __tablename__ = "card_tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    card_id: Mapped[int] = mapped_column(ForeignKey("cards.id"))
    name: Mapped[str]


class Card(Base):
    __tablename__ = "cards"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    project_id: Mapped[int]
    column_id: Mapped[int] = mapped_column(ForeignKey("columns.id"))
    title: Mapped[str]
    description: Mapped[str]
    position: Mapped[float]
    priority: Mapped[str]
    start_date: Mapped[date | None]
    due_date: Mapped[date | None]
    closed: Mapped[bool]
    closed_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]
    created_by_id: Mapped[int | None]
    card_number: Mapped[int]
    time_spent_minutes: Mapped[int]
    comment_count: Mapped[int]
    checklist_total: Mapped[int]
    checklist_done: Mapped[int]
    attachment_count: Mapped[int]
    version: Mapped[int]

    column: Mapped[Column] = relationship(back_populates="cards")
    assignees: Mapped[list[User]] = relationship(secondary=card_assignees)
    labels: Mapped[list[Label]] = relationship(secondary=card_labels, order_by="Label.id")
    tags: Mapped[list[Tag]] = relationship(order_by="Tag.id")

    @property
    def key(self) -> str:
        return f"{self.column.project.key_prefix}-{self.card_number}"

    @property
    def column_name(self) -> str:
        return str(self.column.name)

    @property
    def assignee_id(self) -> int | None:
        return self.assignees[0].id if self.assignees else None


class ChatMessage(Base):
    __tablename__ = "chat_messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    project_id: Mapped[int]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    body: Mapped[str]
    is_edited: Mapped[bool] = mapped_column(default=False)
    is_deleted: Mapped[bool] = mapped_column(default=False)
    is_bot: Mapped[bool] = mapped_column(default=False)
    bot_name: Mapped[str | None]
    nonce: Mapped[str | None]
    version: Mapped[int] = mapped_column(default=1)

    user: Mapped[User | None] = relationship()


class Feed(Base):
    __tablename__ = "feeds"

    channel: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int]


class Event(Base):
    __tablename__ = "events"

    channel: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str]
    payload: Mapped[str]
    actor_id: Mapped[int | None]
    entity: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=func.clock_timestamp())


class Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class UserOut(Out):
    id: int
    username: str
    display_name: str
    avatar_url: str | None


class LabelOut(Out):
    id: int
    project_id: int
    name: str
    color: str


class TagOut(Out):
    id: int
    card_id: int
    name: str


class CardOut(Out):
    id: int
    key: str
    card_number: int
    project_id: int
    column_id: int
    column_name: str
    title: str
    description: str
    position: float
    priority: str
    start_date: date | None
    due_date: date | None
    closed: bool
    closed_at: datetime | None
    archived_at: datetime | None
    assignee_id: int | None
    assignees: list[UserOut]
    labels: list[LabelOut]
    tags: list[TagOut]
    time_spent_minutes: int
    comment_count: int
    checklist_total: int
    checklist_done: int
    attachment_count: int
    created_by_id: int | None
    created_at: datetime
    updated_at: datetime
    version: int


class ColumnOut(Out):
    id: int
    project_id: int
    name: str
    position: float
    color: str
    wip_limit: int | None
    card_count: int
    created_at: datetime
    updated_at: datetime
    version: int
    cards_more: bool
    cards: list[CardOut]


class MemberOut(Out):
    id: int
    project_id: int
    user_id: int
    role: str
    invited_by: int | None
    created_at: datetime
    user: UserOut


class BoardOut(Out):
    my_role: str
    starred: bool
    seq: int
    epoch: str
    created_by: UserOut
    labels: list[LabelOut]
    members: list[MemberOut]
    members_more: bool
    id: int
    name: str
    description: str
    slug: str
    color: str
    key_prefix: str
    is_archived: bool
    archived_at: datetime | None
    created_by_id: int
    created_at: datetime
    updated_at: datetime
    open_card_count: int
    member_count: int
    columns: list[ColumnOut]


class MessageIn(BaseModel):
    body: str = Field(min_length=1, max_length=10_000)


class MessageOut(Out):
    id: int
    project_id: int
    user_id: int | None
    user: UserOut | None
    body: str
    is_edited: bool
    is_deleted: bool
    is_bot: bool
    bot_name: str | None
    attachments: list[int] = []
    reactions: list[int] = []
    created_at: datetime
    updated_at: datetime
    version: int
    nonce: str | None
