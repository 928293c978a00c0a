"""Links of a card: to commits, pull requests and issues, and to anything else. The server never
fetches an address.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from aiohttp import web
from msgspec import UNSET

from warmdesk.auth.actor import Role
from warmdesk.db.queries import sql
from warmdesk.errors import field_error
from warmdesk.http.answers import answer_outcome
from warmdesk.http.pages import answer_page, begins_after
from warmdesk.http.request import BODY, CONTEXT, DESK, PROJECT, QUERY, READS, card_ref, path_id
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.schemas.links import (
    NO_ADDRESS,
    AddLink,
    CardLink,
    LinkType,
    ListLinks,
    Platform,
)

LINKS = ApiTag("links", "What a card is linked to: commits, pull requests, issues, pages.")

HOSTS: dict[str, Platform] = {
    "github": "github",
    "gitlab": "gitlab",
    "gitea": "gitea",
    "forgejo": "forgejo",
    "codeberg": "forgejo",
}
"""Platforms by a label of the host's name: ``gitlab.example.org`` is one."""
SHA = r"[0-9a-fA-F]{7,64}"
FORMS: list[tuple[str, LinkType, Platform | None]] = [
    (rf"/(.+)/-/commit/({SHA})", "commit", "gitlab"),
    (r"/(.+)/-/merge_requests/([0-9]+)", "pr", "gitlab"),
    (r"/(.+)/-/(?:issues|work_items)/([0-9]+)", "issue", "gitlab"),
    (rf"/([^/]+/[^/]+)/pull/[0-9]+/commits/({SHA})", "commit", "github"),
    (r"/([^/]+/[^/]+)/pull/([0-9]+)", "pr", "github"),
    (r"/([^/]+/[^/]+)/pulls/([0-9]+)", "pr", "gitea"),
    (rf"/([^/]+/[^/]+)/commit/({SHA})", "commit", None),
    (r"/([^/]+/[^/]+)/issues/([0-9]+)", "issue", None),
]
"""What paths show: the repository and the reference, and the platform where no other has this form.
"""
A_PART = r"(?:[/.].*)?"
"""What may follow: a part of the same page, or another form of it."""
LOOKED_FOR = [(re.compile(form + A_PART), kind, platform) for form, kind, platform in FORMS]
LONGEST_REPOSITORY, LONGEST_REFERENCE, LONGEST_TITLE = 300, 200, 500


class Reference(NamedTuple):
    """What an address leads to. `name` is short, for people."""

    platform: Platform
    link_type: LinkType
    repo_name: str
    reference: str
    name: str


def referred_to(url: str) -> Reference:
    """What an address leads to, by its form alone; 400 when it is no address."""
    try:
        parts = urlsplit(url)
        path, labels = unquote(parts.path), (parts.hostname or "").split(".")
    except ValueError as error:
        raise field_error("url", "bad_format", NO_ADDRESS) from error
    platform = next((HOSTS[label] for label in labels if label in HOSTS), None)
    for form, link_type, of_form in LOOKED_FOR if path.isprintable() else ():
        found = form.fullmatch(path)
        if found and len(found[1]) <= LONGEST_REPOSITORY and len(found[2]) <= LONGEST_REFERENCE:
            repo, reference = found[1], found[2].lower()
            short = f"@{reference[:7]}" if link_type == "commit" else f"#{reference}"
            return Reference(
                platform or of_form or "other", link_type, repo, reference, f"{repo}{short}"
            )
    digest = sha256(url.encode()).hexdigest()
    return Reference(platform or "other", "link", "", digest, url)


@route(
    "GET",
    "/projects/{slug}/cards/{card_id}/links",
    need=Role.VIEWER,
    query=ListLinks,
    answer=list[CardLink],
    tag=LINKS,
    paged=True,
)
async def list_links(request: web.Request) -> web.Response:
    """List a card's links, the newest first."""
    (before,) = begins_after(request)
    page = await sql.links.page(
        request[READS],
        project_id=request[PROJECT].id,
        card=card_ref(request),
        before=before,
        limit=request[QUERY].limit,
    )
    return answer_page(request, page)


@route(
    "POST",
    "/projects/{slug}/cards/{card_id}/links",
    need=Role.MEMBER,
    body=AddLink,
    answer=CardLink,
    status=201,
    made_at="/projects/{slug}/cards/{card_id}/links/{id}",
    tag=LINKS,
    example={"url": "https://github.com/example/door/pull/42"},
    errors=(409,),
    keyed=True,
)
async def add_link(request: web.Request) -> web.Response:
    """Link a card to an address. 409 when it has the same link already."""
    body: AddLink = request[BODY]
    known = referred_to(body.url)
    title = known.name[:LONGEST_TITLE] if body.title is UNSET else body.title.strip()
    return answer_outcome(
        await request.app[DESK].changes.hot(
            sql.links.create,
            request[CONTEXT],
            "card/link",
            card=card_ref(request),
            platform=known.platform if body.platform is UNSET else body.platform,
            link_type=known.link_type if body.link_type is UNSET else body.link_type,
            title=title or known.name[:LONGEST_TITLE],
            url=body.url,
            reference=known.reference if body.reference is UNSET else body.reference,
            author=body.author,
            status=body.status,
            repo_name=known.repo_name if body.repo_name is UNSET else body.repo_name,
        )
    )


@route(
    "DELETE",
    "/projects/{slug}/cards/{card_id}/links/{link_id}",
    need=Role.MEMBER,
    status=204,
    tag=LINKS,
)
async def delete_link(request: web.Request) -> web.Response:
    """Take a link away."""
    return answer_outcome(
        await request.app[DESK].changes.hot(
            sql.links.delete,
            request[CONTEXT],
            "card/link",
            card=card_ref(request),
            link_id=path_id(request, "link_id"),
        )
    )
