"""The file of a backup: what was written is read; whatever else it holds, or lacks, is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import tarfile
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.disk import small_disk
from warmdesk import disk
from warmdesk.backups import archive as archive_module
from warmdesk.backups.age import NotWhole
from warmdesk.backups.archive import FORMAT, PIECE, Broken, Manifest, Reading, Table, Writing

FILE = "1f" + "0" * 30


def manifest(**given: Any) -> Manifest:
    usual = Manifest(
        format=FORMAT,
        program="0.1",
        schema=1,
        origin="o",
        installation="i",
        created_at="2030-01-31T12:00:00Z",
        postgresql="17.1",
        tables={},
        sequences={"cards_id_seq": 7},
        includes_files=True,
    )
    return msgspec.structs.replace(usual, **given)


async def write(path: Path, rows: list[bytes], file: bytes, passphrase: str = "") -> Manifest:
    """An archive with a table of these pieces, and a file."""

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(file), 70_000):
            yield file[at : at + 70_000]

    writing = Writing(path, passphrase)
    try:
        await writing.begin()
        for number, piece in enumerate(rows, 1):
            await writing.add(f"db/cards/{number:06}.copy", piece)
        await writing.add_stream(f"files/1f/{FILE}", len(file), pieces())
        text = b"".join(rows)
        table = Table(
            ["id"], text.count(b"\n"), len(text), len(rows), hashlib.sha256(text).hexdigest()
        )
        told = manifest(tables={"cards": table}, files=1, file_bytes=len(file))
        await writing.end(told)
        assert writing.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert writing.size == path.stat().st_size
    finally:
        await writing.close()
    return told


@pytest.mark.parametrize("passphrase", ["", "pass"])
async def test_what_was_written_is_read(tmp_path: Path, passphrase: str) -> None:
    dice = random.Random(7)
    for sizes in ([], [1], [PIECE], [PIECE, PIECE, 17], [PIECE] * 9 + [3]):
        rows = [dice.randbytes(size) for size in sizes]
        file = dice.randbytes(dice.choice([0, 1, 511, 512, 513, 3 * PIECE + 5]))
        path = tmp_path / f"{len(sizes)}.tar.gz"
        told = await write(path, rows, file, passphrase)
        assert Reading(path, passphrase).check() == told
        found: list[bytes] = []
        kept = b""
        for member in Reading(path, passphrase).members():
            content = b"".join(member.pieces)
            assert len(content) == member.size
            if member.table:
                found.append(content)
            else:
                assert member.file == FILE
                kept = content
        assert (found, kept) == (rows, file)
        assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".part")] == []


async def test_any_tar_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    await write(path, [b"1\n2\n"], b"hello")
    with tarfile.open(path) as tar:
        assert tar.getnames() == ["db/cards/000001.copy", f"files/1f/{FILE}", "manifest.json"]


async def test_one_that_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    writing = Writing(tmp_path / "a.tar.gz")
    await writing.begin()
    for number in range(1, 9):
        await writing.add(f"db/cards/{number:06}.copy", random.Random(number).randbytes(PIECE))
    assert (tmp_path / "a.tar.gz.part").stat().st_size > 0
    await writing.close()
    assert list(tmp_path.iterdir()) == []


async def test_the_disk_is_not_filled_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL may be on it."""
    monkeypatch.setattr(disk, "LOW", 8 << 20)
    monkeypatch.setattr(disk, "LOW_SHARE", 0.0)
    monkeypatch.setattr(disk, "LOOK", 1 << 20)
    with small_disk(24 << 20) as place:
        writing = Writing(place / "a.tar.gz")
        await writing.begin()

        async def fill() -> None:
            for number in range(1, 64):
                piece = random.Random(number).randbytes(PIECE)
                await writing.add(f"db/cards/{number:06}.copy", piece)

        with pytest.raises(OSError, match="the disk is low"):
            await fill()
        found = disk.measure_disk(place)
        await writing.close()
        assert found is not None
        assert found.free > 4 << 20
        assert list(place.iterdir()) == []


async def test_one_that_was_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    dice = random.Random(3)
    await write(path, [dice.randbytes(PIECE), dice.randbytes(PIECE), b"1\n"], b"hello")
    whole = path.read_bytes()
    members = [at for at in range(len(whole)) if whole.startswith(b"\x1f\x8b\x08\0", at)]
    assert len(members) >= 3
    ends = {*members, *range(0, 40), *range(len(whole) - 700, len(whole), 13), len(whole) - 1}
    for end in sorted(ends | {dice.randrange(len(whole)) for _ in range(100)}):
        path.write_bytes(whole[:end])
        with pytest.raises(Broken):
            Reading(path).check()


async def test_one_that_was_changed_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    dice = random.Random(5)
    await write(path, [b"1\n2\n3\n"], b"hello")
    text = bytearray(gzip.decompress(path.read_bytes()))
    head = tarfile.BLOCKSIZE
    contents = [*range(head, head + 6), *range(3 * head, 3 * head + 5)]
    for at in contents + [dice.randrange(4 * head, len(text) - 1024) for _ in range(100)]:
        if text[at] == 0:
            continue
        before, text[at] = text[at], text[at] ^ 3
        path.write_bytes(gzip.compress(bytes(text), 1))
        try:
            found = Reading(path).check()
        except Broken:
            pass
        else:
            # White space of the manifest, or a field of a header that nobody reads.
            assert found.tables["cards"].rows == 3
            assert at >= 4 * head
        text[at] = before


def tarred(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(kept.getvalue(), 1)


def named(name: str, **given: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in given.items():
        setattr(info, field, value)
    return info


FOREIGN = {
    "above": named("../../etc/passwd"),
    "absolute": named("/etc/passwd"),
    "dots": named("db/../manifest.json"),
    "link": named(f"files/1f/{FILE}", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": named(f"files/1f/{FILE}", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "device": named(f"files/1f/{FILE}", type=tarfile.CHRTYPE),
    "pipe": named(f"files/1f/{FILE}", type=tarfile.FIFOTYPE),
    "directory": named("db/cards", type=tarfile.DIRTYPE),
    "another directory": named(f"files/2f/{FILE}"),
    "long": named("db/" + "c" * 200 + "/000001.copy"),
    "quotes": named('db/cards"; drop table users; --/000001.copy'),
    "no first piece": named("db/cards/000002.copy"),
    "sparse": named("db/cards/000001.copy", type=tarfile.GNUTYPE_SPARSE),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_no_backup_holds_is_refused(case: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(tarred((FOREIGN[case], b"")))
    with pytest.raises(Broken):
        Reading(path).check()


def whole(*members: tuple[str, bytes], change: Callable[[Any], None] = lambda told: None) -> bytes:
    """An archive whose checksum is right, whatever its manifest says."""
    digest = hashlib.sha256()
    for name, content in members:
        digest.update(b"%s\0%d\0" % (name.encode(), len(content)))
        digest.update(content)
    told = msgspec.to_builtins(manifest(sha256=digest.hexdigest()))
    change(told)
    text = msgspec.json.encode(told)
    return tarred(
        *((named(name), content) for name, content in (*members, ("manifest.json", text)))
    )


LIES: dict[str, Callable[[Any], None]] = {
    "newer": lambda told: told.update(format=FORMAT + 1),
    "more rows": lambda told: told["tables"]["cards"].update(rows=2),
    "another sum": lambda told: told["tables"]["cards"].update(sha256="0" * 64),
    "no table": lambda told: told["tables"].clear(),
    "another table": lambda told: told["tables"].update(users=told["tables"]["cards"]),
    "a file": lambda told: told.update(files=1),
    "wrong type": lambda told: told.update(schema="1"),
    "no origin": lambda told: told.pop("origin"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_is_refused(lie: str, tmp_path: Path) -> None:
    rows = b"1\n"

    def change(told: Any) -> None:
        told["tables"] = {
            "cards": {
                "columns": ["id"],
                "rows": 1,
                "bytes": 2,
                "pieces": 1,
                "sha256": hashlib.sha256(rows).hexdigest(),
            }
        }
        if lie != "truth":
            LIES[lie](told)

    path = tmp_path / "a.tar.gz"
    member = ("db/cards/000001.copy", rows)
    path.write_bytes(whole(member, change=change))
    with pytest.raises(Broken):
        Reading(path).check()
    lie = "truth"
    path.write_bytes(whole(member, change=change))
    assert Reading(path).check().tables["cards"].rows == 1


def test_what_comes_behind_the_manifest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    good = whole()
    path.write_bytes(good)
    Reading(path).check()
    path.write_bytes(good + gzip.compress(b"x" * PIECE * 3))
    with pytest.raises(Broken):
        Reading(path).check()
    path.write_bytes(good + b"garbage")
    with pytest.raises(Broken):
        Reading(path).check()


def test_a_long_name_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(tarred((named("x", type=tarfile.GNUTYPE_LONGNAME), bytes(32 << 20))))
    tracemalloc.start()
    try:
        with pytest.raises(Broken):
            Reading(path).check()
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_how_many_files_there_are_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    names = [f"1f{number:030x}" for number in range(5000)]
    members = [(f"files/1f/{name}", b"x") for name in names]
    path.write_bytes(whole(*members, change=lambda told: told.update(files=5000, file_bytes=5000)))
    tracemalloc.start()
    try:
        assert Reading(path).check().files == 5000
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_rows_behind_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    rows = b"1\n"
    table = Table(["id"], 1, 2, 1, hashlib.sha256(rows).hexdigest())

    def change(told: Any) -> None:
        told.update(tables={"cards": msgspec.to_builtins(table)}, files=1, file_bytes=1)

    members = [("db/cards/000001.copy", rows), (f"files/1f/{FILE}", b"x")]
    path.write_bytes(whole(*members, change=change))
    Reading(path).check()
    path.write_bytes(whole(*reversed(members), change=change))
    with pytest.raises(Broken):
        Reading(path).check()


def test_a_bomb_is_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "BOMB_FROM", 8 << 20)
    path = tmp_path / "a.tar.gz"
    zeros = bytes(4 << 20)
    members = [(f"db/cards/{number:06}.copy", zeros) for number in range(1, 30)]
    path.write_bytes(whole(*members))
    with pytest.raises(Broken, match="unpacks to far more"):
        Reading(path).check()


async def test_an_encrypted_one_needs_its_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz.age"
    await write(path, [b"1\n"], b"hello", "pass")
    with pytest.raises(Broken, match="encrypted"):
        Reading(path).check()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(NotWhole):
        Reading(path, "pass").check()
