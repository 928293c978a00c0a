"""What a file is, by what it holds. What its sender calls it counts for nothing: a page or a
picture with scripts, shown by a browser as coming from here, could act as its reader.
"""

from __future__ import annotations

import re
from typing import Final

HEAD: Final = 4096
"""So many bytes of a file are looked at."""
OTHER = "application/octet-stream"
TEXT = "text/plain"
PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
"""Pictures of pixels: no script runs in them."""
INLINE = PICTURES | {"application/pdf"}
"""What a browser may show instead of saving it."""

SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (rb"\x89PNG\r\n\x1a\n", "image/png"),
    (rb"\xff\xd8\xff", "image/jpeg"),
    (rb"GIF8[79]a", "image/gif"),
    (rb"RIFF.{4}WEBP", "image/webp"),
    (rb".{4}ftypavi[fs]", "image/avif"),
    (rb".{4}ftyp(?:hei[cx]|mif1)", "image/heic"),
    (rb"BM.{4}\0\0\0\0", "image/bmp"),
    (rb"(?:II\*\0|MM\0\*)", "image/tiff"),
    (rb"%PDF-", "application/pdf"),
    (rb"PK(?:\x03\x04|\x05\x06)", "application/zip"),
    (rb"\x1f\x8b\x08", "application/gzip"),
    (rb"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (rb"\xfd7zXZ\0", "application/x-xz"),
    (rb"\x28\xb5\x2f\xfd", "application/zstd"),
    (rb".{4}ftypqt  ", "video/quicktime"),
    (rb".{4}ftypM4A ", "audio/mp4"),
    (rb".{4}ftyp", "video/mp4"),
    (rb"\x1aE\xdf\xa3.{0,60}webm", "video/webm"),
    (rb"\x1aE\xdf\xa3", "video/x-matroska"),
    (rb"(?:ID3|\xff[\xfb\xf3\xf2])", "audio/mpeg"),
    (rb"OggS", "audio/ogg"),
    (rb"RIFF.{4}WAVE", "audio/wav"),
    (rb"fLaC", "audio/flac"),
)
"""How files of a type begin, the closer ones first."""
BEGINS = [(re.compile(begin, re.DOTALL), kind) for begin, kind in SIGNATURES]
NOT_TEXT = re.compile(rb"[\0-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


def media_type(head: bytes) -> str:
    """The type of a file that begins with `head`, its first `HEAD` bytes or all of it. Whatever is
    made of letters is plain text, pages and scripts too.
    """
    for begin, kind in BEGINS:
        if begin.match(head):
            return kind
    return TEXT if _is_text(head) else OTHER


def _is_text(head: bytes) -> bool:
    if NOT_TEXT.search(head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The last letter may be cut.
        return len(head) >= HEAD and error.start > len(head) - 4
    return True
