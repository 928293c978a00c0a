"""Links of a card: to commits, pull requests and issues, and to anything else."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import Body, Shape, Timestamp
from warmdesk.schemas.pages import PageQuery

Platform = Literal["github", "gitlab", "gitea", "forgejo", "other"]
LinkType = Literal["commit", "pr", "issue", "link"]
NO_ADDRESS = "must be an address like https://example.org/page"
LinkStatus = Literal["open", "closed", "merged"]


class ListLinks(PageQuery):
    """Which links of a card: all."""


class AddLink(Body):
    """A link. What is not sent is taken from the address, as far as that is one of a commit, a pull
    request or an issue on a server that is known.
    """

    url: Annotated[
        str,
        Meta(
            max_length=2000,
            pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@]+(?:[/?#]\S*)?$(?!\n)",
            extra={"otherwise": NO_ADDRESS},
            examples=["https://github.com/example/door/pull/42"],
        ),
    ]
    title: Annotated[str, Meta(max_length=500)] | UnsetType = UNSET
    platform: Platform | UnsetType = UNSET
    link_type: LinkType | UnsetType = UNSET
    reference: Annotated[str, Meta(min_length=1, max_length=200)] | UnsetType = UNSET
    status: LinkStatus = "open"
    author: Annotated[str, Meta(max_length=200)] = ""
    repo_name: Annotated[str, Meta(max_length=300)] | UnsetType = UNSET


class CardLink(Shape):
    """A link of a card. `created_by_id` is null where nobody made it by hand."""

    id: int
    card_id: int
    platform: Platform
    link_type: LinkType
    title: str
    url: str
    reference: str
    author: str
    status: LinkStatus
    repo_name: str
    created_by_id: int | None
    created_at: Timestamp
    updated_at: Timestamp


class LinkDeleted(Shape):
    id: int
    card_id: int
