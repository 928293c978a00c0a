"""Forms with files (``multipart/form-data``): each file goes to the store's incoming ones as it
comes, and no more of it is in memory than a piece.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from aiohttp import web

from warmdesk.config import Settings
from warmdesk.errors import BadRequest, TooLarge, field_error
from warmdesk.files import Upload
from warmdesk.http.body import Part, parts
from warmdesk.http.request import DESK
from warmdesk.http.route import Accepts
from warmdesk.schemas.attachments import FILES

REST_BYTES = 64 << 10
"""Bytes of a form beside its files."""
FIELD_BYTES = 1000
"""Bytes of a part that is no file."""
LONGEST_NAME = 255
LONGEST_END = 20
"""Characters of a name's end, as ``.tar.gz``, that are kept when it is cut."""
NAMELESS = "file"
INVISIBLE = re.compile(
    "[\0-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""Control characters, spaces of no width, and what turns the direction of what follows: ``cod.exe``
would look like another file."""
BINARY = {"type": "string", "format": "binary"}


class NamedUpload(NamedTuple):
    """A file of a form and its name, which is nothing but a name."""

    filename: str
    upload: Upload


@dataclass
class Form:
    """What a form holds: its other parts by name, and its files in the order they came."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[NamedUpload] = field(default_factory=list)

    @property
    def uploads(self) -> list[Upload]:
        return [each.upload for each in self.files]

    @property
    def columns(self) -> dict[str, list[Any]]:
        """Its files as parameters of a statement."""
        return {
            "stored_names": [each.name for each in self.uploads],
            "filenames": [each.filename for each in self.files],
            "mime_types": [each.mime_type for each in self.uploads],
            "sizes": [each.size for each in self.uploads],
            "digests": [each.sha256 for each in self.uploads],
        }


def form_of_files(
    *others: str, name: str = "file", most: int = FILES, most_bytes: int = 0
) -> Accepts:
    """A body that is a form with a part of this name, as often as `most`, and `others`.
    `most_bytes` of a file: without it the setting ``upload_bytes``.
    """

    def limit(settings: Settings) -> int:
        return most * (most_bytes or settings.upload_bytes) + REST_BYTES

    file: Mapping[str, Any] = {"type": "array", "items": BINARY, "maxItems": most}
    form = {name: file if most > 1 else BINARY, **{each: {"type": "string"} for each in others}}
    return Accepts(("multipart/form-data",), limit, streamed=True, form=form, required=(name,))


@asynccontextmanager
async def reading(
    request: web.Request, accepts: Accepts, *, name: str = "file", most_bytes: int = 0
) -> AsyncIterator[Form]:
    """The form that a request sends, with at least one file, under this name. Other parts are
    left. What of its files is not kept in the end is gone.

    400 without a file, or for one that is empty; 413 for one of more than `most_bytes` (the setting
    ``upload_bytes``); 503 when the disk has no room.
    """
    desk = request.app[DESK]
    most_bytes = most_bytes or desk.settings.upload_bytes
    async with desk.files.receiving() as uploads:
        form = Form()
        async for part in parts(request, accepts):
            if part.name == name:
                most = accepts.form[name].get("maxItems", 1)
                if len(form.files) == most:
                    limits = {name: {"max": most}}
                    raise field_error(name, "too_long", f"at most {most} at once", limits=limits)
                upload = desk.files.begin(uploads)
                async for piece in part.pieces:
                    if upload.size + len(piece) > most_bytes:
                        raise TooLarge(f"a file has at most {most_bytes} bytes")
                    await upload.write(piece)
                if not upload.size:
                    raise field_error(name, "blank", "the file must not be empty")
                form.files.append(NamedUpload(plain_name(part.filename), upload))
            elif part.name in accepts.form:
                form.fields[part.name] = await _text(part)
        if not form.files:
            raise field_error(name, "required", "there must be a file")
        yield form


async def _text(part: Part) -> str:
    raw = b""
    async for piece in part.pieces:
        raw += piece
        if len(raw) > FIELD_BYTES:
            sentence, limits = f"has at most {FIELD_BYTES} bytes", {part.name: {"max": FIELD_BYTES}}
            raise field_error(part.name, "too_long", sentence, limits=limits)
    if b"\0" in raw:
        raise field_error(part.name, "bad_format", "text must not hold NUL characters")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadRequest("the parts of the form are not UTF-8") from error


def plain_name(sent: str | None) -> str:
    """A file's name without the directories, and the characters, that nobody should be shown; cut
    to 255 before its end.
    """
    last = (sent or "").replace("\\", "/").rpartition("/")[2]
    name = INVISIBLE.sub("", last).strip()
    if name.strip(". ") == "":
        return NAMELESS
    if len(name) > LONGEST_NAME:
        path = PurePosixPath(name)
        ends = ("".join(path.suffixes), path.suffix, "")
        end = next(each for each in ends if len(each) <= LONGEST_END)
        name = name[: LONGEST_NAME - len(end)] + end
    return name
