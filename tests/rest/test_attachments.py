"""Files on cards: what comes in, what goes out again, and to whom."""

from __future__ import annotations

import asyncio
import os
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from tests.conftest import Board, Door, until
from tests.disk import small_disk
from tests.person import Person
from tests.uploads import AS_FORM, BOUNDARY, PNG, fetch, form, upload
from warmdesk import files as storing
from warmdesk.config import ConfigError, Settings, load
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.disk import Disk
from warmdesk.errors import NotFound, Unavailable
from warmdesk.files import Files, Upload
from warmdesk.http.downloads import disposition
from warmdesk.http.forms import plain_name
from warmdesk.jobs.files import FileKeeper
from warmdesk.jobs.retention import Retention
from warmdesk.media import media_type

TEXT = b"It is ajar.\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.fixture
async def path(board: Board) -> str:
    return f"{board.path}/cards/{(await board.card())['id']}/attachments"


def kept(settings: Settings) -> list[Path]:
    """All files below the store's directory."""
    return sorted(each for each in Path(settings.file_store).rglob("*") if each.is_file())


# On a card


async def test_a_file_is_seen_live_listed_and_fetched(
    path: str, board: Board, alice: Person, bob: Person, settings: Settings
) -> None:
    async with bob.socket("demo") as socket:
        made = await upload(alice, path, ("door.txt", TEXT))
        card_id = made["owner_id"]
        assert made == {
            "id": made["id"],
            "owner_type": "card",
            "owner_id": card_id,
            "filename": "door.txt",
            "mime_type": "text/plain",
            "size_bytes": len(TEXT),
            "uploader_id": alice.id,
            "created_at": made["created_at"],
            "url": f"/api/v1/attachments/{made['id']}",
        }
        told = await socket.next()
        while "seq" not in told:
            told = await socket.next()
        assert (told["type"], told["payload"]) == (
            "board.attachment_added",
            made | {"card_id": card_id},
        )
        counted = (await socket.next("board.card_updated"))["payload"]
        assert (counted["changes"], counted["attachment_count"]) == (["attachment_count"], 1)
    assert await bob.get(path) == [made]
    card = await bob.get(path.removesuffix("/attachments"))
    assert (card["attachments"], card["attachment_count"]) == ([made], 1)
    history = await bob.get(path.replace("/attachments", "/history"))
    assert history[0]["event_type"] == "attachment_added"
    for url in (made["url"], f"{path}/{made['id']}"):
        found = await fetch(bob, url)
        assert (found.status, found.body) == (200, TEXT)
        assert found.headers["ETag"] == f'"{sha256(TEXT).hexdigest()}"'
    (file,) = kept(settings)
    assert file.read_bytes() == TEXT
    assert "door" not in str(file.relative_to(settings.file_store))
    assert file.stat().st_mode & 0o777 == 0o600


async def test_several_are_put_on_in_one_change(path: str, alice: Person, bob: Person) -> None:
    sent = [(f"{number}.txt", TEXT + bytes([48 + number])) for number in range(3)]
    made = await upload(alice, path, *sent)
    assert [each["filename"] for each in made["attachments"]] == ["0.txt", "1.txt", "2.txt"]
    assert made["id"] == made["attachments"][0]["id"]
    assert await bob.get(path) == made["attachments"][::-1]
    assert (await bob.get(path.removesuffix("/attachments")))["attachment_count"] == 3
    place = f"{path}?limit=1"
    for each in made["attachments"][::-1]:
        answer = await bob.request("GET", place)
        assert answer.body == [each]
        place = answer.headers.get("Link", "")[1:].partition(">")[0].partition("/api/v1")[2]
    assert place == ""
    many = [("x", b"x")] * 11
    refused = await upload(alice, path, *many, status=400)
    assert refused["fields"] == {"file": "too_long"}


async def test_its_uploader_or_a_project_admin_takes_it_off(
    path: str, alice: Person, olga: Person, bob: Person, board: Board
) -> None:
    mine = await upload(alice, path, ("a", b"a"))
    others = await upload(olga, path, ("b", b"b"))
    await bob.delete(f"{path}/{mine['id']}", status=403)
    await alice.delete(f"{path}/{others['id']}", status=403)
    elsewhere = f"{board.path}/cards/{(await board.card())['id']}/attachments"
    await olga.delete(f"{elsewhere}/{mine['id']}", status=404)
    async with bob.socket("demo") as socket:
        await olga.delete(f"{path}/{mine['id']}")
        told = await socket.next("board.attachment_removed")
        assert told["payload"] == {"id": mine["id"], "card_id": mine["owner_id"]}
        assert (await socket.next("board.card_updated"))["payload"]["attachment_count"] == 1
    await olga.delete(f"{path}/{mine['id']}", status=404)
    assert (await fetch(olga, mine["url"])).status == 404
    assert [each["id"] for each in await bob.get(path)] == [others["id"]]
    history = await bob.get(path.replace("/attachments", "/history"))
    assert history[0]["event_type"] == "attachment_removed"


async def test_what_a_file_is_called_is_only_a_name(path: str, alice: Person) -> None:
    for sent, wanted in (
        ("../../etc/passwd", "passwd"),
        ("C:\\\\Users\\\\x\\\\y.txt", "y.txt"),
        ("dör \u2192.txt", "dör \u2192.txt"),
        ("..", "file"),
        ("", "file"),
    ):
        made = await upload(alice, path, (sent, TEXT))
        assert made["filename"] == wanted


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (None, "file"),
        ("a\0b\x1b\x7f\u202e\u061ccod\ufeff.exe", "abcod.exe"),
        ("a\u200eb\u200fc\u2066d\u2069.txt", "abcd.txt"),
        ("x" * 255, "x" * 255),
        ("x" * 256, "x" * 255),
        ("x" * 251 + ".txt", "x" * 251 + ".txt"),
        ("x" * 252 + ".txt", "x" * 251 + ".txt"),
        ("x" * 300 + ".tar.gz", "x" * 248 + ".tar.gz"),
        ("x" * 300 + "." + "y" * 19, "x" * 235 + "." + "y" * 19),
        ("x" * 300 + "." + "y" * 20, "x" * 255),
        ("x" * 300 + "." + "y" * 30 + ".pdf", "x" * 251 + ".pdf"),
        ("x." + "y" * 300, "x." + "y" * 253),
        ("a/b\\c\ud800", "c"),
        (" . ", "file"),
    ],
)
def test_a_name_is_made_plain(sent: str | None, wanted: str) -> None:
    assert plain_name(sent) == wanted


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"%PDF-1.7", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        (SVG, "text/plain"),
        (b"<html><script>", "text/plain"),
        (b" %PDF-1.7", "text/plain"),
        ("dör".encode(), "text/plain"),
        (("ö" * 3000).encode()[1:], "application/octet-stream"),
        (("x" + "ö" * 3000).encode()[:4096], "text/plain"),
        (b"\0\1\2", "application/octet-stream"),
        (b"MZ\x90\0", "application/octet-stream"),
    ],
)
def test_a_file_is_what_it_holds(head: bytes, wanted: str) -> None:
    assert media_type(head) == wanted


async def test_strangers_viewers_and_other_projects_get_nothing(
    path: str, board: Board, alice: Person, bob: Person, eve: Person, root: Person
) -> None:
    made = await upload(alice, path, ("a.txt", TEXT))
    for url in (made["url"], f"{path}/{made['id']}"):
        assert (await fetch(eve, url)).status == 404
        assert (await fetch(root, url)).status == 200
    await eve.get(path, status=404)
    await upload(eve, path, ("x", TEXT), status=404)
    await upload(bob, path, ("x", TEXT), status=403)
    other = await eve.post("/projects", {"name": "Other"})
    column = (await eve.get(f"/projects/{other['slug']}/columns"))[0]["id"]
    card = await eve.post(f"/projects/{other['slug']}/columns/{column}/cards", {"title": "A card"})
    there = f"/projects/{other['slug']}/cards/{card['id']}/attachments"
    assert (await fetch(eve, f"{there}/{made['id']}")).status == 404
    await eve.delete(f"{there}/{made['id']}", status=404)
    foreign = f"/projects/{other['slug']}/cards/{made['owner_id']}/attachments"
    await upload(eve, foreign, ("x", TEXT), status=404)
    assert (await fetch(eve, f"{foreign}/{made['id']}")).status == 404
    assert (await fetch(alice, "/api/v1/attachments/999999")).status == 404
    assert len(await alice.get(path)) == 1


async def test_a_deleted_card_shows_none_and_shows_them_again(
    path: str, alice: Person, olga: Person
) -> None:
    made = await upload(alice, path, ("a.txt", TEXT))
    card = path.removesuffix("/attachments")
    await alice.delete(card)
    assert (await fetch(alice, made["url"])).status == 404
    await upload(alice, path, ("b", TEXT), status=404)
    await olga.post(f"{card}/restore", status=200)
    assert (await fetch(alice, made["url"])).body == TEXT


async def test_an_archived_project_takes_none(path: str, alice: Person, olga: Person) -> None:
    made = await upload(alice, path, ("a.txt", TEXT))
    await olga.delete("/projects/demo")
    refused = await upload(alice, path, ("b", TEXT), status=422)
    assert refused["code"] == "project_archived"
    await alice.delete(f"{path}/{made['id']}", status=422)
    assert (await fetch(alice, made["url"])).body == TEXT


# What is refused leaves nothing


@pytest.mark.settings(upload_bytes=100_000)
async def test_one_byte_too_many_is_refused_and_leaves_nothing(
    path: str, alice: Person, settings: Settings
) -> None:
    made = await upload(alice, path, ("most", b"x" * 100_000))
    assert made["size_bytes"] == 100_000
    refused = await upload(alice, path, ("a", TEXT), ("more", b"x" * 100_001), status=413)
    assert refused["code"] == "too_large"
    huge = await upload(alice, path, ("huge", b"x" * 1_200_000), status=413)
    assert huge["code"] == "too_large"
    assert len(kept(settings)) == 1
    assert [each["filename"] for each in await alice.get(path)] == ["most"]
    ten = await upload(alice, path, *[("most", b"x" * 100_000)] * 10)
    assert [each["size_bytes"] for each in ten["attachments"]] == [100_000] * 10


async def test_no_more_than_a_piece_is_in_memory(
    path: str, alice: Person, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written as it comes: of 25 MiB never more than a piece waits."""
    waiting: list[int] = []
    write = Upload.write

    async def watched(upload: Upload, piece: bytes) -> None:
        await write(upload, piece)
        waiting.append(len(upload._waiting) + len(piece))

    monkeypatch.setattr(Upload, "write", watched)
    most = settings.upload_bytes
    made = await upload(alice, path, ("large", bytes(most)))
    assert (made["size_bytes"], made["mime_type"]) == (most, "application/octet-stream")
    assert max(waiting) <= 2 * storing.PIECE
    await upload(alice, path, ("larger", bytes(most + 1)), status=413)
    assert [each.stat().st_size for each in kept(settings)] == [most]


@pytest.mark.parametrize(
    ("sent", "fields"),
    [
        (form(("empty", b"")), {"file": "blank"}),
        (form(("a", TEXT), ("empty", b"")), {"file": "blank"}),
        (form(), {"file": "required"}),
        (form(("a", TEXT), part="picture"), {"file": "required"}),
    ],
)
async def test_a_form_without_a_file_is_refused(
    path: str, alice: Person, settings: Settings, sent: bytes, fields: dict[str, str]
) -> None:
    refused = await alice.post(path, sent, headers=AS_FORM, status=400)
    assert refused["fields"] == fields
    assert (kept(settings), await alice.get(path)) == ([], [])


async def test_only_a_form_is_taken(path: str, alice: Person) -> None:
    await alice.post(path, {"file": "x"}, status=415)
    cut = form(("a", TEXT))[:-10]
    await alice.post(path, cut, headers=AS_FORM, status=400)
    await alice.post(path, None, status=400)


async def test_an_upload_that_breaks_off_leaves_nothing(
    path: str, alice: Person, settings: Settings
) -> None:
    token = await alice.token()
    host, _, port = alice.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    begun = form(("door", b"x" * 500_000))[:300_000]
    head = (
        f"POST /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: 500000\r\n\r\n"
    )
    writer.write(head.encode() + begun)
    await writer.drain()
    incoming = Path(settings.file_store) / storing.INCOMING
    await until(lambda: incoming.is_dir() and list(incoming.iterdir()))
    writer.transport.abort()
    await until(lambda: not list(incoming.iterdir()))
    assert (kept(settings), await alice.get(path)) == ([], [])


@pytest.mark.settings(files_per_card=2, project_file_bytes=1 << 20)
async def test_a_card_and_a_project_have_their_limits(
    path: str, board: Board, alice: Person, settings: Settings
) -> None:
    await upload(alice, path, ("a", TEXT))
    refused = await upload(alice, path, ("b", TEXT), ("c", TEXT), status=413)
    assert refused["code"] == "too_many_files"
    await upload(alice, path, ("b", TEXT))
    assert (await upload(alice, path, ("c", TEXT), status=413))["code"] == "too_many_files"
    other = f"{board.path}/cards/{(await board.card())['id']}/attachments"
    room = (1 << 20) - 2 * len(TEXT)
    refused = await upload(alice, other, ("d", b"x" * (room + 1)), status=413)
    assert refused["code"] == "quota_exceeded"
    last = await upload(alice, other, ("d", b"x" * room))
    assert (await upload(alice, other, ("e", b"x"), status=413))["code"] == "quota_exceeded"
    assert len(kept(settings)) == 3
    await alice.delete(f"{other}/{last['id']}")
    await upload(alice, other, ("e", b"x"))


@pytest.mark.settings(project_file_bytes=1 << 20)
async def test_who_comes_at_once_shares_what_there_is(board: Board, alice: Person) -> None:
    cards = [await board.card() for _ in range(4)]
    paths = [f"{board.path}/cards/{card['id']}/attachments" for card in cards]
    sent = form(("half", b"x" * 400_000))
    found = await asyncio.gather(
        *(alice.request("POST", each, sent, headers=AS_FORM) for each in paths)
    )
    assert sorted(each.status for each in found) == [201, 201, 413, 413]


async def test_a_full_disk_is_told_and_leaves_nothing(
    board: Board, alice: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warmdesk.disk.measure_disk", lambda directory: None)
    with small_disk(1 << 20) as disk:
        files = Files(Settings(file_store=str(disk / "files")))
        async with files.receiving() as uploads:
            large = files.begin(uploads)
            with pytest.raises(Unavailable) as told:
                await large.write(bytes(2 << 20))
            assert (told.value.code, "room" in told.value.message) == ("disk", True)
        assert [each for each in (disk / "files").rglob("*") if each.is_file()] == []
        async with files.receiving() as uploads:
            small = files.begin(uploads)
            await small.write(TEXT)
            async with files.keeping(uploads):
                pass
        assert (disk / "files" / storing.place(small.name)).read_bytes() == TEXT


async def test_a_low_disk_takes_no_files(
    path: str, alice: Person, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warmdesk.disk.measure_disk", lambda directory: Disk(1 << 20, 1 << 40))
    refused = await upload(alice, path, ("a", TEXT), status=503)
    assert refused["code"] == "disk"
    assert kept(settings) == []
    monkeypatch.undo()
    await upload(alice, path, ("a", TEXT))


async def test_a_change_that_is_refused_keeps_no_file(
    path: str, board: Board, alice: Person, settings: Settings, desk: Desk
) -> None:
    """The card goes while the file comes."""
    begun = asyncio.Event()
    go_on = asyncio.Event()
    keeping = desk.files._keep

    async def held(upload: Upload) -> None:
        await keeping(upload)
        begun.set()
        await go_on.wait()

    desk.files._keep = held  # type: ignore[method-assign]
    late = asyncio.create_task(alice.request("POST", path, form(("a", TEXT)), headers=AS_FORM))
    await begun.wait()
    assert len(kept(settings)) == 1
    await alice.delete(path.removesuffix("/attachments"))
    go_on.set()
    assert (await late).status == 404
    assert kept(settings) == []


async def test_an_object_store_keeps_what_came_in_here(tmp_path: Path) -> None:
    files = Files(Settings(file_store="s3://bucket/files", data_dir=tmp_path))
    files._store = MemoryStore()
    async with files.receiving() as uploads:
        file = files.begin(uploads)
        await file.write(TEXT)
        with pytest.raises(NotFound):
            async with files.keeping(uploads):
                raise NotFound
    assert [names async for names in files.old(-60)] == []
    async with files.receiving() as uploads:
        file = files.begin(uploads)
        await file.write(TEXT)
        async with files.keeping(uploads):
            pass
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []
    pieces = await files.read(file.name, 3, 7)
    assert b"".join([piece async for piece in pieces]) == TEXT[3:7]
    assert [names async for names in files.old(-60)] == [[file.name]]
    await files.delete([file.name, "0" * 32])
    assert [names async for names in files.old(-60)] == []
    with pytest.raises(FileNotFoundError):
        await files.read(file.name, 0, 1)


async def test_an_object_store_that_is_away_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_REGION", "x"),
        ("AWS_ENDPOINT", "http://127.0.0.1:9"),
        ("AWS_ALLOW_HTTP", "true"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(storing, "RETRY", {"max_retries": 0})
    files = Files(Settings(file_store="s3://bucket/files", data_dir=tmp_path))
    async with files.receiving() as uploads:
        await files.begin(uploads).write(TEXT)
        with pytest.raises(Unavailable):
            async with files.keeping(uploads):
                pass
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []
    assert "files.failed" in caplog.text


# Downloads


async def test_a_part_is_fetched_and_an_old_tag_is_not_gone_on_with(
    path: str, alice: Person
) -> None:
    content = bytes(range(256)) * 4000
    made = await upload(alice, path, ("bytes", content))
    whole = await fetch(alice, made["url"])
    assert (whole.status, whole.body) == (200, content)
    assert whole.headers["Accept-Ranges"] == "bytes"
    tag, size = whole.headers["ETag"], len(content)
    for asked, start, end in (
        ("bytes=0-0", 0, 1),
        ("BYTES=5-5", 5, 6),
        (f"bytes={size - 1}-", size - 1, size),
        ("bytes=100-", 100, size),
        ("bytes=-5", size - 5, size),
        ("bytes=-99999999", 0, size),
        ("bytes=300000-600000", 300_000, 600_001),
        (f"bytes=10-{size + 10}", 10, size),
    ):
        part = await fetch(alice, made["url"], Range=asked)
        assert (part.status, part.body) == (206, content[start:end]), asked
        assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
        assert part.headers["Content-Length"] == str(end - start)
        assert part.headers["ETag"] == tag
    for ignored in ("bytes=0-1,5-6", "bytes=5-1", "lines=0-1", "bytes=", "x"):
        assert (await fetch(alice, made["url"], Range=ignored)).status == 200, ignored
    for behind in (f"bytes={size}-", "bytes=-0", f"bytes={size + 5}-{size + 9}"):
        refused = await fetch(alice, made["url"], Range=behind)
        assert (refused.status, refused.headers["Content-Range"]) == (416, f"bytes */{size}")
    same = await fetch(alice, made["url"], Range="bytes=0-1", If_Range=tag)
    assert same.status == 206
    other = await fetch(alice, made["url"], Range="bytes=0-1", If_Range='"another"')
    assert (other.status, len(other.body)) == (200, size)
    for seen in (tag, "*"):
        known = await fetch(alice, made["url"], If_None_Match=seen)
        assert (known.status, known.body, known.headers["ETag"]) == (304, b"", tag)
    head = await fetch(alice, made["url"], "HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(size))


async def test_nothing_that_could_act_is_shown_by_a_browser(path: str, alice: Person) -> None:
    for name, content, inline, kind in (
        ("a.svg", SVG, False, "text/plain; charset=utf-8"),
        ("a.html", b"<script>alert(1)</script>", False, "text/plain; charset=utf-8"),
        ("a.png", PNG, True, "image/png"),
        ("a.html", b"%PDF-1.4 <script>", True, "application/pdf"),
        ("a.zip", b"PK\x03\x04", False, "application/zip"),
        ("a.png", b"\0\1\2", False, "application/octet-stream"),
    ):
        made = await upload(alice, path, (name, content))
        found = await fetch(alice, made["url"])
        shown = "inline" if inline else "attachment"
        assert found.headers["Content-Disposition"].startswith(f'{shown}; filename="{name}"')
        assert found.headers["Content-Type"] == kind
        assert found.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in found.headers["Content-Security-Policy"]
        assert "default-src 'none'" in found.headers["Content-Security-Policy"]
        assert found.headers["Cache-Control"] == "private, no-cache"


def test_a_name_stands_in_the_header_as_it_is_and_breaks_out_of_nothing() -> None:
    assert disposition("plain.txt", inline=False) == (
        "attachment; filename=\"plain.txt\"; filename*=UTF-8''plain.txt"
    )
    assert disposition('dör "x"\\%41;.txt', inline=True) == (
        "inline; filename=\"d_r _x___41;.txt\"; filename*=UTF-8''d%C3%B6r%20%22x%22%5C%2541%3B.txt"
    )


async def test_a_file_that_is_lost_is_not_there(
    path: str, alice: Person, settings: Settings
) -> None:
    made = await upload(alice, path, ("a", TEXT))
    kept(settings)[0].unlink()
    assert (await fetch(alice, made["url"])).status == 404


async def test_a_reader_who_leaves_is_no_error(
    path: str, alice: Person, caplog: pytest.LogCaptureFixture
) -> None:
    made = await upload(alice, path, ("large", os.urandom(8 << 20)))
    token = await alice.token()
    host, _, port = alice.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1000)
    asked = f"GET {made['url']} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    writer.write(asked.encode())
    assert b"200" in await reader.readline()
    writer.transport.abort()
    assert (await fetch(alice, made["url"])).status == 200
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


# Jobs


async def test_the_file_follows_its_row(
    path: str, alice: Person, olga: Person, settings: Settings, desk: Desk, connection: Any
) -> None:
    made = await upload(alice, path, ("a", TEXT))
    stays = await upload(alice, path, ("b", TEXT))
    await alice.delete(f"{path}/{made['id']}")
    assert len(kept(settings)) == 2
    assert await FileKeeper(desk).turn() == 1
    assert len(kept(settings)) == 1
    assert (await fetch(alice, stays["url"])).body == TEXT
    card = path.removesuffix("/attachments")
    await alice.delete(card)
    assert await FileKeeper(desk).turn() == 0
    await olga.delete(f"{card}/permanent")
    assert await FileKeeper(desk).turn() == 1
    assert kept(settings) == []
    assert await connection.fetchval("select count(*) from removed_files") == 0


async def test_what_a_crash_left_goes_after_a_day(
    path: str, alice: Person, settings: Settings, desk: Desk
) -> None:
    await upload(alice, path, ("a", TEXT))
    (mine,) = kept(settings)
    orphan = Path(settings.file_store) / storing.place("0" * 32)
    orphan.parent.mkdir(exist_ok=True)
    begun = Path(settings.file_store) / storing.INCOMING / "half"
    for each in (orphan, begun):
        each.write_bytes(TEXT)
    assert await FileKeeper(desk).delete_orphans() == 0
    yesterday = time.time() - 86_500
    for each in (mine, orphan, begun):
        os.utime(each, (yesterday, yesterday))
    assert await FileKeeper(desk).delete_orphans() == 2
    assert kept(settings) == [mine]


async def test_two_hosts_share_a_directory(path: str, alice: Person, twin: Door) -> None:
    made = await upload(alice, path, ("a", TEXT))
    there = Person(twin.url, "alice", id=alice.id)
    assert (await fetch(there, made["url"])).body == TEXT
    await there.close()


@pytest.mark.foul
async def test_uploads_that_nothing_takes_go_after_a_day(
    board: Board, desk: Desk, connection: Any
) -> None:
    await connection.execute(
        "insert into attachments (created_at, project_id, uploader_id, filename, stored_name,"
        " mime_type, size_bytes, sha256)"
        " select now() - interval '24 hours' + n * interval '1 minute', 1, 1, 'f', n + 1,"
        " 'text/plain', 1, '' from unnest('{-1, 1}'::integer[]) n"
    )
    await Retention(desk).turn()
    assert await connection.fetchval("select array_agg(stored_name) from attachments") == ["2"]
    assert await connection.fetchval("select array_agg(stored_name) from removed_files") == ["0"]


async def test_the_check_finds_a_count_that_is_wrong(
    path: str, alice: Person, connection: Any
) -> None:
    await upload(alice, path, ("a", TEXT))
    assert await sql.server.faults(connection) == []
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("update cards set attachment_count = 5")
    (fault,) = await sql.server.faults(connection)
    assert "counts 5 files, but has 1" in fault["fault"]
    await transaction.rollback()


def test_a_store_is_a_directory_or_a_bucket() -> None:
    assert (
        load(None, {"WARMDESK_FILE_STORE": "s3://bucket/files"}).file_store == "s3://bucket/files"
    )
    assert Path(load(None, {"WARMDESK_FILE_STORE": "files"}).file_store).is_absolute()
    assert load(None, {}).file_store == ""
    for wrong in ("ftp://bucket", "s3://", "s3:///files"):
        with pytest.raises(ConfigError, match="WARMDESK_FILE_STORE"):
            load(None, {"WARMDESK_FILE_STORE": wrong})
