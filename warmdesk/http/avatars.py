"""Pictures of people and groups, as forms send them."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from aiohttp import web

from warmdesk.errors import field_error
from warmdesk.http.forms import form_of_files, reading
from warmdesk.http.request import DESK
from warmdesk.pictures import MOST_PIXELS, NoPicture

MOST_BYTES = 5 << 20
PICTURE = form_of_files(name="avatar", most=1, most_bytes=MOST_BYTES)


class Avatar(NamedTuple):
    """A small picture, and the digest of its bytes."""

    sha256: str
    picture: bytes

    @property
    def address(self) -> str:
        """Where it is shown as long as somebody shows it."""
        return f"/avatars/{self.sha256}.webp"


async def read_avatar(request: web.Request) -> Avatar:
    """The picture in the part `avatar` of a form, made anew, small and without anything but its
    pixels. 400 when there is none, 413 when it is too large.
    """
    async with reading(request, PICTURE, name="avatar", most_bytes=MOST_BYTES) as form:
        (sent,) = form.uploads
        await sent.end()
        try:
            picture = await request.app[DESK].pictures.avatar(sent.path)
        except NoPicture as error:
            most = f"of at most {MOST_PIXELS // 1_000_000} million pixels"
            words = f"must be a picture {most}: PNG, JPEG, GIF, WebP or AVIF"
            raise field_error("avatar", "bad_format", words) from error
    return Avatar(sha256(picture).hexdigest(), picture)
