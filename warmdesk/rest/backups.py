"""Backups: made, kept, put back."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from warmdesk import clock
from warmdesk.auth.actor import GlobalRole, Grant
from warmdesk.backups.archive import holding
from warmdesk.backups.directory import directory_of, find, listed, new_name
from warmdesk.backups.keeping import keep
from warmdesk.backups.making import turn
from warmdesk.backups.restoring import checked, restore
from warmdesk.changes.audit import audit
from warmdesk.desk import Desk
from warmdesk.disk import need_room
from warmdesk.files import failing
from warmdesk.http.answers import answer, json_text, no_content
from warmdesk.http.downloads import Download, disposition
from warmdesk.http.forms import form_of_files, reading
from warmdesk.http.request import ACTOR, BODY, CONTEXT, DESK
from warmdesk.http.route import ApiTag, Parameter
from warmdesk.http.routing import route
from warmdesk.realtime.change import Change
from warmdesk.realtime.channels import user_channel
from warmdesk.realtime.events import BACKUP_PROGRESS
from warmdesk.schemas.backups import (
    FILENAME,
    KeptBackup,
    MadeBackup,
    NewBackup,
    Restore,
    RestoredBackup,
)

BACKUPS = ApiTag("backups", "The whole installation in one file.")
EVERY_SECONDS = 0.25
"""How often progress is told."""
PIECE = 256 << 10
GZIP, ENCRYPTED = "application/gzip", "application/octet-stream"
PARAMETERS = {
    "filename": Parameter({"type": "string", "maxLength": 100}, FILENAME, "The backup's file name.")
}
MOST_BYTES = 1 << 40
UPLOAD = form_of_files(most=1, most_bytes=MOST_BYTES)


class Told:
    """Progress, to the sockets of who asked for it, a few times a second."""

    def __init__(self, desk: Desk, user_id: int) -> None:
        self._desk, self._channel = desk, user_channel(user_id)
        self._loop = asyncio.get_running_loop()
        self._at, self._stage = 0.0, ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Also called by threads."""
        now = self._loop.time()
        if stage != self._stage or now - self._at >= EVERY_SECONDS:
            self._at, self._stage = now, stage
            told = json_text(stage=stage, done=done, total=total).encode()
            self._loop.call_soon_threadsafe(
                self._desk.bus.signal, self._channel, BACKUP_PROGRESS, told
            )


@route(
    "POST",
    "/admin/backup",
    also_at=("/backup",),
    need=frozenset({GlobalRole.ADMIN, GlobalRole.BACKUP}),
    grants=frozenset({Grant.BACKUP}),
    body=NewBackup,
    answer=MadeBackup,
    status=201,
    made_at="/admin/backups/{filename}",
    tag=BACKUPS,
    errors=(409, 503),
)
async def make_backup(request: web.Request) -> web.Response:
    """Make a backup of all that there is, while people go on.

    It is a snapshot of one moment: the rows of all tables and, with `include_uploads`, the files.
    How far it is comes on your own socket (`backup.progress`). The answer comes when it is whole;
    then the oldest beyond `backup_keep` are deleted, of those with files and of those without. One
    is made at a time: 409 meanwhile.

    It holds the hashes of all passwords and what people wrote to each other: keep it as the
    database. The secrets of the configuration are not in it, and without them what is sealed in it
    cannot be read.
    """
    desk, body = request.app[DESK], request[BODY]
    values = desk.system.values
    wanted = body.include_uploads
    with_files = wanted if isinstance(wanted, bool) else values.backup_include_uploads
    async with turn(desk.settings) as mine:
        told = Told(desk, request[ACTOR].user_id)
        made = await keep(
            mine, desk.settings, values, desk.database, include_files=with_files, progress=told
        )

        async def work(change: Change) -> None:
            await change.enter()
            await audit(change, "backup.made", after={"filename": made.filename})

        await desk.changes.run(request[CONTEXT], work)
    return answer(
        {
            "id": made.filename,
            "filename": made.filename,
            "size_bytes": made.size,
            "sha256": made.sha256,
            "created_at": made.manifest.created_at,
            "include_uploads": made.manifest.includes_files,
            "missing_files": made.manifest.missing_files,
        },
        status=201,
    )


@route("GET", "/admin/backups", need=GlobalRole.ADMIN, answer=list[KeptBackup], tag=BACKUPS)
async def list_backups(request: web.Request) -> web.Response:
    """List the backups that this host keeps, the newest first."""
    kept = await asyncio.to_thread(listed, directory_of(request.app[DESK].settings))
    return answer(
        [
            {
                "filename": each.filename,
                "size_bytes": each.size,
                "created_at": _iso(each.created_at),
            }
            for each in kept
        ]
    )


@route(
    "GET",
    "/admin/backups/{filename}",
    need=GlobalRole.ADMIN,
    grants=frozenset({Grant.BACKUP}),
    produces=(GZIP, ENCRYPTED),
    tag=BACKUPS,
    parameters=PARAMETERS,
    errors=(404,),
)
async def download_backup(request: web.Request) -> web.StreamResponse:
    """Download a backup.

    It holds the hashes of all passwords: an API key with scopes needs `backup`.
    """
    path = await _find(request)
    with holding(path) as held:
        # What makes room for others may delete it now.
        size = held.size
        pieces = _pieces(held.from_start()) if request.method != "HEAD" else None
    headers = {
        "Content-Type": ENCRYPTED if path.suffix == ".age" else GZIP,
        "Content-Disposition": disposition(path.name, inline=False),
        "Cache-Control": "no-store",
    }
    return Download(pieces, size, headers=headers)


@route(
    "POST",
    "/admin/backups",
    need=GlobalRole.ADMIN,
    session=True,
    accepts=UPLOAD,
    answer=KeptBackup,
    status=201,
    made_at="/admin/backups/{filename}",
    tag=BACKUPS,
    errors=(422, 503),
)
async def upload_backup(request: web.Request) -> web.Response:
    """Upload a backup that was made elsewhere, or earlier: part `file` of a form.

    It is read whole: 422 for one that was cut or changed, or that is of a newer program. To put it
    back is another request.
    """
    desk = request.app[DESK]
    directory = directory_of(desk.settings)
    async with reading(request, UPLOAD, most_bytes=MOST_BYTES) as form:
        upload = form.uploads[0]
        await upload.end()
        encrypted = form.files[0].filename.endswith(".age")
        with holding(upload.path) as held:
            manifest = await checked(held, desk.settings.backup_passphrase)
        now = datetime.fromtimestamp(clock.now(), UTC)
        path = directory / new_name(now, full=manifest.includes_files, encrypted=encrypted)
        with failing():
            await asyncio.to_thread(_move, upload.path, path)
    kept = {"filename": path.name, "size_bytes": upload.size, "created_at": _iso(now)}
    return answer(kept, status=201)


@route(
    "DELETE",
    "/admin/backups/{filename}",
    need=GlobalRole.ADMIN,
    status=204,
    tag=BACKUPS,
    parameters=PARAMETERS,
    errors=(404,),
)
async def delete_backup(request: web.Request) -> web.Response:
    """Delete a backup."""
    path = await _find(request)

    async def work(change: Change) -> None:
        await change.enter()
        await audit(change, "backup.deleted", before={"filename": path.name})

    await request.app[DESK].changes.run(request[CONTEXT], work)
    await asyncio.to_thread(path.unlink, missing_ok=True)
    return no_content()


@route(
    "POST",
    "/admin/restore",
    need=GlobalRole.ADMIN,
    session=True,
    body=Restore,
    answer=RestoredBackup,
    tag=BACKUPS,
    errors=(404, 409, 422, 503),
    example={"filename": FILENAME},
)
async def restore_backup(request: web.Request) -> web.Response:
    """Put a backup in the place of all that there is, or change nothing.

    A copy of what there is is made first (`safety_backup`). Meanwhile what would write, and for a
    part of the time what would read, is answered with 503. Afterwards all sockets are closed with
    1012, and clients fetch all anew. What was revoked since the backup was made stays revoked:
    sessions, keys, memberships, roles, accounts (`carried_over`).

    422 for a file that was cut or changed, is encrypted to another passphrase, or is of a newer
    program.
    """
    desk, body, actor = request.app[DESK], request[BODY], request[ACTOR]
    directory = directory_of(desk.settings)
    path = await asyncio.to_thread(find, directory, body.filename)
    given = body.passphrase
    done = await restore(
        desk.settings,
        path,
        passphrase=given if isinstance(given, str) else desk.settings.backup_passphrase,
        safety=directory,
        actor_id=actor.user_id,
        ip=request[CONTEXT].ip,
        progress=Told(desk, actor.user_id),
    )
    desk.bus.publish_all(done.messages)
    assert done.safety is not None
    tables = done.manifest.tables
    return answer(
        {
            "restored": True,
            "filename": path.name,
            "created_at": done.manifest.created_at,
            "tables": len(tables),
            "rows": sum(table.rows for table in tables.values()),
            "files": done.manifest.files,
            "carried_over": done.carried_over,
            "safety_backup": done.safety.filename,
        }
    )


async def _find(request: web.Request) -> Path:
    directory = directory_of(request.app[DESK].settings)
    return await asyncio.to_thread(find, directory, request.match_info["filename"])


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece


def _move(source: Path, target: Path) -> None:
    """To the directory of the backups, which may be on another disk."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        os.link(source, target)
    except OSError:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as kept, source.open("rb") as file:
                while piece := file.read(PIECE):
                    need_room(part.parent)
                    kept.write(piece)
                kept.flush()
                os.fsync(kept.fileno())
            part.rename(target)
        except FileNotFoundError:
            # Who makes a backup takes away what looks left over.
            raise OSError(errno.EBUSY, "a backup began meanwhile") from None
        finally:
            part.unlink(missing_ok=True)


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
