"""Files: what people upload, in a directory, or in an object store that `file_store` names by URL.

A file comes in piece by piece under a temporary name below the directory, and gets its own, a
random one, when it is whole and known: what breaks off leaves nothing. No name is made of anything
that a client sent. Files are written before their rows and deleted after them; what a crash leaves
in between has no row, and `warmdesk.jobs.files` takes it away a day later.

Nothing but this module knows where files are. An object store is given its credentials by its own
variables of the environment (``AWS_ACCESS_KEY_ID`` …).
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from warmdesk import disk
from warmdesk.config import Settings
from warmdesk.errors import Unavailable, WarmDeskError
from warmdesk.media import HEAD, media_type

PIECE = 64 << 10
"""Bytes that are written at once, and as many of an upload are in memory."""
READ = 256 << 10
"""Bytes that are read at once."""
INCOMING = "incoming"
PREVIEW = "-small"
"""Behind a file's name, where its preview is."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
FULL_SECONDS = 60
CLIENT: Any = {"connect_timeout": "5s", "timeout": "30s"}
RETRY: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
"""How long an object store is waited for; by itself it would be minutes."""
HASTY_CLIENT: Any = {"connect_timeout": "2s", "timeout": "4s"}
HASTY_RETRY: Any = {"max_retries": 0, "retry_timeout": timedelta(seconds=4)}
UNKNOWN = "unknown_outcome"

log = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")


def _no_room() -> WarmDeskError:
    words = "the server's disk has no room for files now, try again later"
    return Unavailable(words, retry_after=FULL_SECONDS, code="disk")


@contextmanager
def failing() -> Iterator[None]:
    """503 for what the disk or the object store refuses, and a line in the log."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, BaseError) as error:
        cause = type(error).__name__
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            log.error("files.no_room cause=%s", errno.errorcode[error.errno])
            raise _no_room() from error
        log.error("files.failed cause=%s", cause, exc_info=error)
        raise Unavailable("files cannot be kept or read now, try again") from error


class Upload:
    """A file that comes in. When it is whole (`end`), `size`, `sha256` and `mime_type` say what it
    is. `name`: the one it will be kept under.
    """

    def __init__(self, directory: Path, name: str = "") -> None:
        self.name = name or secrets.token_hex(16)
        self.path = directory / (secrets.token_hex(16) if name else self.name)
        self.size = 0
        self._digest = hashlib.sha256()
        self._head = b""
        self._waiting = bytearray()
        self._unseen = 0
        self._file: Any = None
        self._gone = False
        # A request that is cancelled leaves its thread at work.
        self._turn = threading.Lock()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def mime_type(self) -> str:
        return media_type(self._head)

    async def write(self, piece: bytes) -> None:
        """Take the next piece. Raises 503 when the disk has no room."""
        self.size += len(piece)
        self._waiting += piece
        if len(self._waiting) >= PIECE:
            await self._pass_on()

    async def end(self) -> None:
        """It is whole: it is on disk when this returns."""
        await self._pass_on()
        await _in_thread(self._sync)

    async def discard(self) -> None:
        """Nothing stays of it under its temporary name."""
        await asyncio.to_thread(self._discard)

    async def _pass_on(self) -> None:
        piece, self._waiting = bytes(self._waiting), bytearray()
        if piece:
            await _in_thread(self._put, piece)

    def _put(self, piece: bytes) -> None:
        with self._turn:
            if self._gone:
                return
            if self._file is None:
                self._begin()
            self._unseen += len(piece)
            if self._unseen >= disk.LOOK:
                self._unseen = 0
                disk.need_room(self.path.parent)
            self._digest.update(piece)
            if len(self._head) < HEAD:
                self._head = (self._head + piece)[:HEAD]
            rest = memoryview(piece)
            while rest:
                rest = rest[self._file.write(rest) :]

    def _begin(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        disk.need_room(self.path.parent)
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(fd, "wb", buffering=0)

    def _sync(self) -> None:
        with self._turn:
            if self._file is not None:
                os.fsync(self._file.fileno())

    def _discard(self) -> None:
        with self._turn:
            self._gone = True
            if self._file is not None:
                self._file.close()
                self.path.unlink(missing_ok=True)


class Files:
    """The files of an installation, as one process reaches them. Who is not `patient` asks an
    object store once, for seconds.
    """

    def __init__(self, settings: Settings, *, patient: bool = True) -> None:
        self._ways = (CLIENT, RETRY) if patient else (HASTY_CLIENT, HASTY_RETRY)
        self.url = settings.file_store if "://" in settings.file_store else ""
        here = settings.file_store if settings.file_store and not self.url else ""
        self.directory = Path(here) if here else settings.data_dir / "files"
        self._store: ObjectStore | None = None

    @asynccontextmanager
    async def receiving(self) -> AsyncIterator[list[Upload]]:
        """A list for the uploads of a request, made by `begin`. What of them was not kept in the
        end is gone.
        """
        uploads: list[Upload] = []
        try:
            yield uploads
        finally:
            for each in uploads:
                await each.discard()

    def begin(self, uploads: list[Upload], *, name: str = "") -> Upload:
        """One more upload. It is on disk from its first bytes on. `name`: that of a file which
        comes back.
        """
        upload = Upload(self.directory / INCOMING, name)
        uploads.append(upload)
        return upload

    @asynccontextmanager
    async def keeping(self, uploads: Sequence[Upload]) -> AsyncIterator[None]:
        """Give uploads their own names, for what is done inside. If that is refused they go; where
        nobody can say whether it was done they stay, for the jobs to look after.
        """
        try:
            for each in uploads:
                await each.end()
                await self._keep(each)
            yield
        except WarmDeskError as error:
            if error.code != UNKNOWN:
                with suppress(WarmDeskError):  # the jobs find them
                    await self.delete([each.name for each in uploads])
            raise

    async def _keep(self, upload: Upload) -> None:
        if self.url:
            store = self._opened()
            with failing():
                await obstore.put_async(store, place(upload.name), upload.path)
        else:
            await _in_thread(_move, upload.path, self.directory / place(upload.name))

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes of a file from `start` to before `end`, piece by piece. Raises
        `FileNotFoundError` before the first when there is no such file.
        """
        with failing():
            store = self._opened()
            found = await obstore.get_async(store, place(name), options={"range": (start, end)})

        async def pieces() -> AsyncIterator[bytes]:
            with failing():
                async for piece in found.stream(min_chunk_size=READ):
                    yield bytes(piece)

        return pieces()

    async def size(self, name: str) -> int:
        """How long a file is; 0 when there is none."""
        try:
            with failing():
                found = await obstore.head_async(self._opened(), place(name))
        except FileNotFoundError:
            return 0
        return int(found["size"])

    async def has(self, name: str) -> bool:
        """Whether a file is there, for a command that ends at once: a thread of the store that
        tells a loop of it, as in `size`, may want Python when that is gone, and then the process
        is aborted. Makes no directory.
        """
        return await _in_thread(self._has, name)

    def _has(self, name: str) -> bool:
        if not self.url:
            return (self.directory / place(name)).is_file()
        try:
            obstore.head(self._opened(), place(name))
        except FileNotFoundError:
            return False
        return True

    async def read_all(self, name: str, *, preview: bool = False) -> bytes:
        """A file, or its preview, at once. Raises `FileNotFoundError`."""
        with failing():
            path = place(name) + (PREVIEW if preview else "")
            found = await obstore.get_async(self._opened(), path)
            return bytes(await found.bytes_async())

    async def keep_preview(self, name: str, content: bytes) -> None:
        """Keep a smaller picture beside a file. It goes with the file."""
        with failing():
            await obstore.put_async(self._opened(), place(name) + PREVIEW, content)

    async def delete(self, names: Iterable[str]) -> None:
        """Delete files, if they are there, and their previews."""
        store = self._opened()
        for name in names:
            for path in (place(name), place(name) + PREVIEW):
                try:
                    with failing():
                        await obstore.delete_async(store, path)
                except FileNotFoundError:
                    pass

    async def old(self, seconds: float) -> AsyncIterator[list[str]]:
        """The names of all files that were kept so long ago or earlier, some at a time."""
        with failing():
            end = time.time() - seconds
            async for some in obstore.list(self._opened()):
                names = {
                    each["path"].rpartition("/")[2].removesuffix(PREVIEW)
                    for each in some
                    if each["last_modified"].timestamp() < end
                }
                yield [name for name in names if len(name) == 32]

    async def clear_incoming(self, seconds: float) -> int:
        """Delete uploads that were begun so long ago or earlier, by a process that was killed."""
        return await _in_thread(_clear, self.directory / INCOMING, time.time() - seconds)

    def _opened(self) -> ObjectStore:
        if self._store is None:
            with failing():
                if self.url:
                    client, retry = self._ways
                    self._store = from_url(self.url, client_options=client, retry_config=retry)
                else:
                    self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                    self._store = LocalStore(self.directory)
        return self._store


def place(name: str) -> str:
    """Where a file is in the store: no directory has all of them."""
    return f"{name[:2]}/{name}"


async def _in_thread(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    with failing():
        return await asyncio.to_thread(work, *args, **options)


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    path.replace(target)
    for each in (target.parent, target.parent.parent):
        fd = os.open(each, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _clear(directory: Path, end: float) -> int:
    gone = 0
    try:
        for each in os.scandir(directory):
            if each.stat().st_mtime < end:
                Path(each.path).unlink(missing_ok=True)
                gone += 1
    except FileNotFoundError:
        pass
    return gone
