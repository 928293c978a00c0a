"""The file of a backup: a tar under gzip, of pieces whose size is known before they are written.

::

    db/cards/000001.copy          rows of a table as COPY's text, a mebibyte a piece
    db/cards/000002.copy
    files/1f/1f0c…                what people uploaded, under the name that the store has
    manifest.json                 the last: what is in it, with counts and checksums

Text goes from one version of PostgreSQL to another. Any tar reads it. It is written in members of
gzip, one a mebibyte, which two threads pack at once and every gzip reads as one. A manifest at the
end is the sign of a whole file; what is cut, changed, or holds anything else is refused before it
is put to use (`Reading.check`), and no name from it becomes a path.
"""

from __future__ import annotations

import asyncio
import errno
import gzip
import hashlib
import io
import os
import re
import stat
import tarfile
import zlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from warmdesk import disk
from warmdesk.backups import age
from warmdesk.errors import NotFound
from warmdesk.packing import QUICK, pack

PIECE = 1 << 20
BUFFER = 128 << 10
LARGEST_PIECE = 4 << 20
LARGEST_FILE = 1 << 30
LARGEST_MANIFEST = 16 << 20
THREADS = 2
AHEAD = 4
"""Pieces that are packed or wait to be written; beyond them, reading waits."""
BOMB_FROM, BOMB_RATIO = 256 << 20, 200
"""What unpacks to more than this, and to more than so many times its size, is no backup: COPY's
text packs to a third or a tenth."""
MANIFEST = "manifest.json"
FORMAT = 1
NAME = re.compile(
    r"(?P<manifest>manifest\.json)"
    r"|db/(?P<table>[a-z][a-z0-9_]{0,62})/(?P<piece>[0-9]{6,9})\.copy"
    r"|files/(?P<dir>[0-9a-f]{2})/(?P<file>(?P=dir)[0-9a-f]{30})"
)


class Broken(Exception):
    """The archive is no backup, or not as it was written; the message says why."""


class Table(msgspec.Struct):
    """A table of a backup: the columns of its rows, and what there is of them."""

    columns: list[str]
    rows: int = 0
    bytes: int = 0
    pieces: int = 0
    sha256: str = ""


class Manifest(msgspec.Struct, kw_only=True):
    """What is in a backup."""

    format: int
    program: str
    """The version of WarmDesk that wrote it."""
    schema: int
    """The number of the last migration."""
    origin: str
    """The installation that it is of: the same after a restore."""
    installation: str
    created_at: str
    """When the snapshot was taken, ISO 8601 in UTC."""
    postgresql: str
    tables: dict[str, Table]
    sequences: dict[str, int]
    """The last value that each gave."""
    includes_files: bool
    files: int = 0
    file_bytes: int = 0
    missing_files: int = 0
    """Files that rows name and the store did not have, or not whole."""
    sha256: str = ""
    """Over all that comes before the manifest: of each member name, size and content."""


class Writing:
    """An archive that is written, under a name that says so until it is whole.

    Packing and writing happen in threads; at most `AHEAD` pieces are in memory.
    """

    def __init__(self, path: Path, passphrase: str = "") -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self.size = self._unseen = 0
        self._threads = ThreadPoolExecutor(THREADS + 1, "backup")
        self._packing: deque[asyncio.Future[bytes]] = deque()
        self._waiting = bytearray()
        self._sum = hashlib.sha256()
        self._file_sum = hashlib.sha256()
        self._cipher = age.Encrypting(passphrase) if passphrase else None
        self._file: BinaryIO | None = None

    @property
    def sha256(self) -> str:
        """Of the file, when it is whole."""
        return self._file_sum.hexdigest()

    async def begin(self) -> None:
        """Make the file."""
        await self._in_thread(self._open)
        if self._cipher:
            await self._in_thread(self._write, self._cipher.head)

    async def add(self, name: str, content: bytes) -> None:
        """A member."""
        await self._head(name, len(content))
        await self._put(content)
        self._waiting += _filling(len(content))

    async def add_stream(self, name: str, size: int, pieces: AsyncIterator[bytes]) -> None:
        """A member that comes piece by piece. Raises `Broken` when it is not so long as told."""
        await self._head(name, size)
        came = 0
        async for piece in pieces:
            came += len(piece)
            if came > size:
                break
            await self._put(piece)
        if came != size:
            raise Broken(f"{name} has not the {size} bytes that it should have")
        self._waiting += _filling(size)

    async def end(self, manifest: Manifest) -> None:
        """Write the manifest, have all on disk, and give the file its name."""
        manifest.sha256 = self._sum.hexdigest()
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        self._waiting += _header(MANIFEST, len(text)) + text + _filling(len(text))
        self._waiting += bytes(2 * tarfile.BLOCKSIZE)
        await self._pack()
        while self._packing:
            await self._drain()
        if self._cipher:
            await self._in_thread(self._write, self._cipher.end())
        await self._in_thread(self._keep)

    async def close(self) -> None:
        """Let go of the file; what is not whole is gone."""
        for each in self._packing:
            each.cancel()
        await self._in_thread(self._drop)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _head(self, name: str, size: int) -> None:
        if len(self._waiting) >= PIECE:
            await self._pack()
        self._sum.update(b"%s\0%d\0" % (name.encode(), size))
        self._waiting += _header(name, size)

    async def _put(self, content: bytes) -> None:
        await self._in_thread(self._sum.update, content)
        self._waiting += content
        if len(self._waiting) >= PIECE:
            await self._pack()

    async def _pack(self) -> None:
        piece, self._waiting = bytes(self._waiting), bytearray()
        self._packing.append(self._in_thread(pack, piece, QUICK))
        while len(self._packing) >= AHEAD:
            await self._drain()

    async def _drain(self) -> None:
        packed = await self._packing[0]
        self._packing.popleft()
        if self._cipher:
            packed = await self._in_thread(self._cipher.feed, packed)
        await self._in_thread(self._write, packed)

    def _in_thread(self, work: Any, *values: Any) -> Any:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *values)

    def _open(self) -> None:
        self.part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(fd, "wb", buffering=0)

    def _write(self, content: bytes) -> None:
        self._file_sum.update(content)
        self.size += len(content)
        self._unseen += len(content)
        if self._unseen >= disk.LOOK:
            self._unseen = 0
            disk.need_room(self.part.parent)
        rest = memoryview(content)
        while rest:
            rest = rest[cast(BinaryIO, self._file).write(rest) :]

    def _keep(self) -> None:
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        self.part.rename(self.path)
        fd = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _drop(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self.part.unlink(missing_ok=True)


class Held:
    """An archive that is open. It is read several times, and is the same each time: also when its
    name is deleted meanwhile, or becomes another file's.
    """

    def __init__(self, path: Path) -> None:
        # What is no ordinary file must not be waited for.
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise OSError(errno.EINVAL, "it is no ordinary file")
        self.name, self.size = path.name, found.st_size

    def from_start(self) -> BinaryIO:
        """A stream of all of it, which whoever reads it closes."""
        return cast(BinaryIO, io.BufferedReader(_FromStart(os.dup(self._fd)), BUFFER))

    def close(self) -> None:
        """Streams that are open go on; a thread that nobody waits for opens no other file."""
        fd, self._fd = self._fd, -1
        os.close(fd)


class _FromStart(io.RawIOBase):
    """An open file, read at a place of its own."""

    def __init__(self, fd: int) -> None:
        self._fd, self._at = fd, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = os.preadv(self._fd, [buffer], self._at)
        self._at += size
        return size

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


@contextmanager
def holding(path: Path) -> Iterator[Held]:
    """An archive, held; 404 when it is not there or cannot be read."""
    try:
        held = Held(path)
    except FileNotFoundError:
        raise NotFound("there is no such backup") from None
    except OSError as error:
        raise NotFound(f"{path.name} cannot be read: {error.strerror}") from None
    try:
        yield held
    finally:
        held.close()


class Member(msgspec.Struct):
    """What comes next of an archive: a piece of a table, or a file; `pieces` gives its content."""

    table: str
    file: str
    size: int
    pieces: Iterator[bytes]


class Reading:
    """An archive that is read from its beginning to its end. Raises `Broken`, `age.NotWhole` and
    `age.WrongPassphrase`; for threads, not for the loop.
    """

    def __init__(self, archive: Path | Held, passphrase: str = "") -> None:
        self.manifest: Manifest | None = None
        self._archive, self._passphrase = archive, passphrase
        self._sum = hashlib.sha256()

    def check(self, step: Any = None) -> Manifest:
        """Read all of it: the manifest of a file that is whole. `step` is told how many bytes of
        the file were read.
        """
        tables: dict[str, tuple[Table, Any]] = {}
        files = file_bytes = 0
        for member in self.members(step):
            if member.file:
                files += 1
                for piece in member.pieces:
                    file_bytes += len(piece)
                continue
            found, digest = tables.setdefault(member.table, (Table([]), hashlib.sha256()))
            found.pieces += 1
            for piece in member.pieces:
                found.rows += piece.count(b"\n")
                found.bytes += len(piece)
                digest.update(piece)
        manifest = self.manifest
        assert manifest is not None
        for name, told in manifest.tables.items():
            found, digest = tables.pop(name, (Table([]), hashlib.sha256()))
            found.columns, found.sha256 = told.columns, digest.hexdigest()
            if found != told:
                raise Broken(f"the rows of {name} are not those that the manifest tells of")
        if tables:
            raise Broken(f"the manifest does not tell of {min(tables)}")
        if (files, file_bytes) != (manifest.files, manifest.file_bytes):
            raise Broken("the files are not those that the manifest tells of")
        return manifest

    def members(self, step: Any = None) -> Iterator[Member]:
        """The pieces and files in their order; `manifest` is known after the last."""
        with _saying(), self._open() as file:
            start = file.peek(len(age.VERSION))[: len(age.VERSION)]
            source = file
            if age.is_age(start):
                if not self._passphrase:
                    raise Broken("the backup is encrypted; its passphrase is needed")
                source = age.Decrypting(file, self._passphrase)
            unpacked = gzip.GzipFile(fileobj=source, mode="rb")
            archive: Any = _Counted(unpacked, file, step)
            last: dict[str, int] = {}
            files = False
            while (info := _next_header(archive)) is not None:
                if self.manifest is not None:
                    raise Broken("something comes after the manifest")
                found = NAME.fullmatch(info.name)
                if found is None or info.type != tarfile.REGTYPE:
                    raise Broken(f"{info.name[:100]!r} is nothing that a backup holds")
                if found["manifest"]:
                    self._read_manifest(info.size, archive)
                    _pass_over(archive, -info.size % tarfile.BLOCKSIZE)
                    continue
                table, name = found["table"] or "", found["file"] or ""
                if info.size > (LARGEST_PIECE if table else LARGEST_FILE):
                    raise Broken(f"{info.name} is larger than it can be")
                if table:
                    last[table] = last.get(table, 0) + 1
                    if int(found["piece"]) != last[table] or files:
                        raise Broken(f"{info.name} is not the next piece of its table")
                files = not table
                self._sum.update(b"%s\0%d\0" % (info.name.encode(), info.size))
                pieces = self._summed(info.size, archive)
                yield Member(table, name, info.size, pieces)
                for _ in pieces:
                    pass
                _pass_over(archive, -info.size % tarfile.BLOCKSIZE)
            archive.end()
        if self.manifest is None:
            raise Broken("the backup was cut: its manifest is missing")

    def _open(self) -> Any:
        held = self._archive
        return held.from_start() if isinstance(held, Held) else held.open("rb")

    def _summed(self, size: int, content: Any) -> Iterator[bytes]:
        while size:
            with _saying():
                piece = content.read(min(size, PIECE))
            if not piece:
                raise Broken("the backup was cut")
            size -= len(piece)
            self._sum.update(piece)
            yield piece

    def _read_manifest(self, size: int, content: Any) -> None:
        if size > LARGEST_MANIFEST:
            raise Broken("the manifest is larger than it can be")
        try:
            text = content.read(size)
            told = msgspec.json.decode(text)
            if isinstance(told, dict) and told.get("format") not in (None, FORMAT):
                raise Broken("the backup is of a newer WarmDesk, which must restore it")
            manifest = msgspec.convert(told, Manifest)
        except msgspec.MsgspecError:
            raise Broken("the manifest cannot be read") from None
        if manifest.sha256 != self._sum.hexdigest():
            raise Broken("the backup was changed: its checksum is another one")
        self.manifest = manifest


class _Counted:
    """What gzip gives, as long as it is no bomb."""

    def __init__(self, source: Any, file: BinaryIO, step: Any) -> None:
        self._source, self._file, self._step = source, file, step
        self._given = 0

    def read(self, size: int) -> bytes:
        content = cast(bytes, self._source.read(size))
        self._given += len(content)
        at = self._file.tell()
        if self._given > BOMB_FROM and self._given > BOMB_RATIO * at:
            raise Broken("the archive unpacks to far more than a backup does")
        if self._step:
            self._step(at)
        return content

    def end(self) -> None:
        """What is left are the zeros that a tar ends with, and the file's last checksum."""
        while rest := self.read(PIECE):
            if rest.strip(b"\0"):
                raise Broken("something comes after the manifest")


@contextmanager
def _saying() -> Iterator[None]:
    """All that a changed file can do to gzip and tar is one thing to us."""
    try:
        yield
    except (EOFError, tarfile.TarError, zlib.error, gzip.BadGzipFile, UnicodeError) as error:
        raise Broken(f"the backup was cut or changed ({error})"[:200]) from None


def _next_header(archive: _Counted) -> tarfile.TarInfo | None:
    """The next header; None for what ends a tar. Not by tarfile, which remembers all members, and
    reads what is said to be a long name into memory, however long.
    """
    block = _exactly(archive, tarfile.BLOCKSIZE)
    if not block.strip(b"\0"):
        return None
    info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    if info.size < 0:
        raise Broken("the backup was changed")
    return info


def _pass_over(archive: _Counted, size: int) -> None:
    if size:
        _exactly(archive, size)


def _exactly(archive: _Counted, size: int) -> bytes:
    content = archive.read(size)
    if len(content) != size:
        raise Broken("the backup was cut")
    return content


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.USTAR_FORMAT)


def _filling(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
