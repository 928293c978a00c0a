"""Pictures made smaller: previews of files, and people's own. What comes out is pixels alone: no
place where it was taken, no name of a camera.

A picture of few bytes may have very many pixels, and a JPEG may go over all of them again and again
(its scans): both are looked at before it is decoded. A process decodes one picture at a time,
outside its loop, in two seconds at worst.
"""

from __future__ import annotations

import asyncio
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
JPEG, SCAN = b"\xff\xd8", b"\xff\xda"
MOST_SCANS = 32
"""Of a JPEG; a progressive one has ten or so."""
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
            scans = whole.count(SCAN) if whole.startswith(JPEG) else 1
            if pixels > most or scans > MOST_SCANS:
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
