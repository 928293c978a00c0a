"""Pictures made smaller: previews of files, and people's own. What comes out is pixels alone: no
place where it was taken, no name of a camera.

A picture of few bytes may have very many pixels, and a JPEG may go over all of them again and again
(its scans): both are looked at before it is decoded. A process decodes one picture at a time,
outside its loop, in two seconds at worst.
"""

from __future__ import annotations

import asyncio
import re
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

from warmdesk.files import Files

FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP", "AVIF")
MOST_PIXELS = 50_000_000
"""Of a picture that is decoded; a large camera's have as many."""
MOST_DECODED = 16_000_000
"""Pixels in memory, four bytes each and as many again of the decoder. Of a JPEG they are fewer: it
is decoded smaller; but of a progressive one the decoder keeps all."""
JPEG = b"\xff\xd8"
MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""What begins a segment of a JPEG, and nothing else within its scans (ITU-T T.81, B.1.1)."""
SCAN, END = 0xDA, 0xD9
MOST_SCANS = 32
"""Of a JPEG; a progressive one has ten or so."""
MOST_SEGMENTS = 2000
"""Of a JPEG, up to its end: a camera writes a hundred."""
PREVIEW = 320
AVATAR = 128
QUALITY = 80
TYPE = "image/webp"

Image.MAX_IMAGE_PIXELS = None  # ours is asked instead


class NoPicture(Exception):
    """It cannot be decoded, or has too many pixels."""


class Pictures:
    """The previews of pictures, made when they are first asked for and kept beside them."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self._turn = asyncio.Semaphore(1)

    async def preview(self, name: str) -> bytes:
        """The preview of a file, at most `PREVIEW` pixels wide and high. Raises `NoPicture`, and
        `FileNotFoundError` when the file is not there.
        """
        try:
            return await self.files.read_all(name, preview=True)
        except FileNotFoundError:
            pass
        async with self._turn:
            whole = await self.files.read_all(name)
            small = await asyncio.to_thread(shrunk, whole, PREVIEW)
        await self.files.keep_preview(name, small)
        return small

    async def avatar(self, path: Path) -> bytes:
        """A square of `AVATAR` pixels from the middle of a picture. Raises `NoPicture`."""
        async with self._turn:
            whole = await asyncio.to_thread(path.read_bytes)
            return await asyncio.to_thread(shrunk, whole, AVATAR, square=True)


def shrunk(whole: bytes, size: int, *, square: bool = False) -> bytes:
    """A picture as WebP, at most so many pixels wide and high, or a `square` of so many. Of one
    that moves it is the first. Raises `NoPicture`.
    """
    try:
        with Image.open(BytesIO(whole), formats=FORMATS) as picture:
            pixels = picture.width * picture.height
            most = MOST_DECODED if picture.info.get("progressive") else MOST_PIXELS
            if pixels > most or (whole.startswith(JPEG) and _has_many_parts(whole)):
                raise NoPicture
            picture.draft("RGB", (2 * size, 2 * size))
            if picture.width * picture.height > MOST_DECODED:
                raise NoPicture
            upright = ImageOps.exif_transpose(picture)
            plain = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
            if square:
                plain = ImageOps.fit(plain, (size, size))
            else:
                plain.thumbnail((size, size))
            made = BytesIO()
            plain.save(made, "WEBP", quality=QUALITY)
            return made.getvalue()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        raise NoPicture from error


def _has_many_parts(jpeg: bytes) -> bool:
    """Whether a JPEG has more scans or segments up to its end than any that shows something. What
    stands behind the end, as a phone's film of the moment, a decoder does not read.
    """
    scans, place = 0, 2
    for _ in range(MOST_SEGMENTS):
        marker = MARKER.search(jpeg, place)
        if marker is None or jpeg[marker.start() + 1] == END:
            return False
        scans += jpeg[marker.start() + 1] == SCAN
        if scans > MOST_SCANS:
            return True
        place = marker.end() + max(2, int.from_bytes(jpeg[marker.end() : marker.end() + 2], "big"))
    return True
