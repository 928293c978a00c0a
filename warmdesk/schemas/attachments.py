"""Attachments: files on cards, comments and messages."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import Body, Id, Shape, Timestamp
from warmdesk.schemas.pages import PageQuery

FILES = 10
"""Files of a form, of a comment and of a message."""
MOST_UPLOADS = 50
"""Uploads of a person that nothing has yet."""
AttachmentIds = Annotated[
    list[Id],
    Meta(max_length=FILES, description="Uploads of yours to `/attachments` that nothing has yet"),
]
Owner = Literal["card", "card_comment", "chat_message", "conv_message"]


class ListAttachments(PageQuery):
    """Which files of a card: all."""


class Attachment(Shape):
    """A file. `owner_type` and `owner_id` say what has it, and are null while nothing does;
    `mime_type` is what the file is by its content. Its bytes are at `url`.
    """

    id: int
    owner_type: Owner | None
    owner_id: int | None
    filename: str
    mime_type: str
    size_bytes: int
    uploader_id: int
    created_at: Timestamp
    url: str


class Download(Body):
    """How to fetch a file: as it is, or a picture at most 320 pixels wide and high."""

    size: Literal["320"] | None = None


class LinkedDownload(Download, kw_only=True):
    """The same with the ticket of a link instead of a credential."""

    ticket: Annotated[str, Meta(max_length=100, description="of POST …/link")] = ""


class FileLink(Shape):
    """An address that needs no credential for `expires_in` seconds."""

    url: str
    expires_in: int


class AttachmentAdded(Attachment, kw_only=True):
    """A file, and the card that it is on."""

    card_id: int


class AttachmentRemoved(Shape):
    id: int
    card_id: int


class Uploaded(Attachment, kw_only=True):
    """The file that was sent. Of several this is the first, and `attachments` are all of them."""

    attachments: list[Attachment] | UnsetType = UNSET
