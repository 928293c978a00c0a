"""The files of the web application, as the programs of this host leave them for each other.

While workers are replaced one after another, a page of the new program asks the old one for its
files, and a page that was opened before asks the new one for the rest of its own. So each program
leaves its files below the data directory, under the name of their whole content, before it serves.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import time
import zipfile
import zlib
from pathlib import Path

FOLDER = "web"
MOST = 3
"""So many programs' files are kept, the last that began."""
LEFT_SECONDS = 60.0
"""What is half written for so long was left by a process that is dead."""
DAMAGED = (OSError, EOFError, RuntimeError, ValueError, zlib.error, zipfile.BadZipFile)
"""What reading an archive raises, whatever became of its bytes."""
NAME = re.compile(r"[0-9a-f]{16}")

Sources = dict[str, bytes]
"""The files by their names."""


def name_of(sources: Sources) -> str:
    """The name of their whole content."""
    whole = hashlib.sha256()
    for name, body in sorted(sources.items()):
        whole.update(b"%s %d " % (name.encode(), len(body)) + body)
    return whole.hexdigest()[:16]


def leave(directory: Path, sources: Sources) -> None:
    """Leave these files below the data directory for the other programs. Raises OSError."""
    folder = directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{name_of(sources)}.zip"
    if find(directory, place.stem) is not None:
        os.utime(place)
    else:  # or it is damaged: power was lost, perhaps
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as made:
            for name, body in sources.items():
                made.writestr(name, body)
        part = folder / f"{place.stem}.{os.getpid()}.part"
        try:
            part.write_bytes(packed.getvalue())
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
    _forget(folder)


def _forget(folder: Path) -> None:
    kept = sorted(folder.glob("*.zip"), key=_age)[MOST:]
    for each in (*kept, *(one for one in folder.glob("*.part") if _age(one) > LEFT_SECONDS)):
        each.unlink(missing_ok=True)


def _age(path: Path) -> float:
    """Seconds since it was written; infinite of one that another process has just taken away."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def find(directory: Path, name: str) -> Sources | None:
    """The files that another program left under this name; None where there are none, or not all
    of them.
    """
    if NAME.fullmatch(name) is None:
        return None
    try:
        with zipfile.ZipFile(directory / FOLDER / f"{name}.zip") as read:
            sources = {each: read.read(each) for each in read.namelist()}
    except DAMAGED:
        return None
    return sources if name_of(sources) == name else None
