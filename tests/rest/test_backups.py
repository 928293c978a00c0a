"""Backups over REST: made, listed, fetched, sent, deleted, put back; and by whom."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.conftest import Board, Invite, serving
from tests.person import PASSWORD, Person
from tests.uploads import AS_FORM, PNG, form
from warmdesk.backups import restoring
from warmdesk.backups.archive import Reading
from warmdesk.config import Settings
from warmdesk.db.queries import sql
from warmdesk.http.downloads import disposition

ROOT, OLGA, ALICE, BOB, EVE = 1, 2, 3, 4, 5
ABSENT = "warmdesk_backup_20300131_120000_9f0a3c1d.tar.gz"
LOCK = "select pg_advisory_lock(x'77645442'::integer)"


@pytest.fixture
def directory(settings: Settings) -> Path:
    return Path(settings.backup_dir)


async def fetched(person: Person, name: str) -> bytes:
    await person.token()
    place = f"{person.client.url}/admin/backups/{name}"
    async with person.client.session.get(place, headers=person.client.credentials) as answer:
        assert answer.status == 200
        assert name in answer.headers["Content-Disposition"]
        return await answer.read()


async def test_a_backup_is_made_listed_fetched_and_deleted(
    board: Board, root: Person, directory: Path
) -> None:
    await board.card("one")
    answer = await root.request("POST", "/admin/backup", {})
    made = answer.body
    assert answer.status == 201, made
    name = made["filename"]
    assert answer.headers["Location"] == f"/api/v1/admin/backups/{name}"
    path = directory / name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (made["id"], made["size_bytes"]) == (name, path.stat().st_size)
    assert made["include_uploads"] is True
    assert Reading(path).check().tables["cards"].rows == 1
    (kept,) = await root.get("/admin/backups")
    assert (kept["filename"], kept["size_bytes"]) == (name, made["size_bytes"])
    assert kept["created_at"][:19] == made["created_at"][:19]
    assert await fetched(root, name) == path.read_bytes()
    await root.delete(f"/admin/backups/{name}", status=204)
    assert not path.exists()
    await root.delete(f"/admin/backups/{name}", status=404)
    lines = await root.get("/admin/audit")
    assert [line["action"] for line in lines[:2]] == ["backup.deleted", "backup.made"]
    assert lines[1]["after"] == {"filename": name}


async def test_one_that_is_deleted_while_it_is_sent_is_sent_whole(
    root: Person, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = (await root.post("/admin/backup", {}))["filename"]
    whole = (directory / name).read_bytes()

    def deleted(name: str, *, inline: bool) -> str:
        (directory / name).unlink()
        return disposition(name, inline=inline)

    monkeypatch.setattr("warmdesk.rest.backups.disposition", deleted)
    assert await fetched(root, name) == whole
    await root.get(f"/admin/backups/{name}", status=404)


@pytest.mark.parametrize(
    "name",
    [
        ABSENT,
        "..%2F..%2Fetc%2Fpasswd",
        "%2e%2e",
        "warmdesk_backup_20300131_120000_9f0a3c1d.tar.gz.part",
        "link",
    ],
)
async def test_what_is_no_backup_is_not_found(root: Person, directory: Path, name: str) -> None:
    directory.mkdir()
    (directory / f"{ABSENT}.part").write_bytes(b"x")
    if name == "link":
        name = "warmdesk_backup_20300131_120000_00000000.tar.gz"
        (directory / name).symlink_to("/etc/passwd")
    assert await root.get("/admin/backups") == []
    await root.get(f"/admin/backups/{name}", status=404)
    await root.delete(f"/admin/backups/{name}", status=404)


async def test_only_so_many_are_kept(root: Person, directory: Path) -> None:
    await root.put("/admin/system-settings", {"backup_keep": 2})
    names = [(await root.post("/admin/backup", {}))["filename"] for _ in range(2)]
    directory.joinpath("other.txt").write_text("not ours")
    never = directory / "warmdesk_backup_20309999_120000_9f0a3c1d.tar.gz"
    never.write_bytes(b"of no day")
    (directory / ABSENT).write_bytes(b"older by its name? no, newer: of 2030")
    names.append((await root.post("/admin/backup", {}))["filename"])
    left = {each["filename"] for each in await root.get("/admin/backups")}
    assert names[-1] in left, "the one that was just made stays"
    assert len(left) <= 3
    assert names[0] not in left
    assert directory.joinpath("other.txt").exists()
    assert never.exists()


async def test_one_without_files_makes_no_room_among_those_with_them(
    root: Person, directory: Path
) -> None:
    """Nor does a safety copy, nor one without files that was uploaded."""
    await root.put("/admin/system-settings", {"backup_keep": 2})
    whole = (await root.post("/admin/backup", {"include_uploads": True}))["filename"]
    without = [
        (await root.post("/admin/backup", {"include_uploads": False}))["filename"] for _ in "123"
    ]
    assert {path.name for path in directory.iterdir()} == {whole, *without[1:]}
    assert all("_nofiles." in name for name in without)
    assert "_nofiles" not in whole
    for name in (whole, without[2]):
        sent = form((name, await fetched(root, name)))
        again = (await root.post("/admin/backups", sent, headers=AS_FORM))["filename"]
        assert ("_nofiles" in again) == ("_nofiles" in name)
    done = await root.post("/admin/restore", {"filename": whole}, status=200)
    assert "_nofiles." in done["safety_backup"]


async def test_who_may(board: Board, root: Person, olga: Person, person: Invite, url: str) -> None:
    account = {"username": "keeper", "email": "keeper@example.org", "password": PASSWORD}
    await root.post("/users", account | {"global_role": "backup"})
    keeper = person("keeper")
    await keeper.post("/backup", {})
    key = await keeper.post("/users/me/api-keys", {"name": "nightly", "scopes": ["backup"]})
    script = Person(url, "", api_key=key["key"])
    name = (await script.post("/admin/backup", {}))["filename"]
    for one in (keeper, script, olga):
        for method, path in (
            ("GET", "/admin/backups"),
            ("GET", f"/admin/backups/{name}"),
            ("DELETE", f"/admin/backups/{name}"),
        ):
            assert (await one.request(method, path)).status == 403, (one.username, method, path)
        body = {"filename": name}
        assert (await one.request("POST", "/admin/restore", body)).status == 403
    assert (await olga.request("POST", "/admin/backup", {})).status == 403
    mine = await root.post("/users/me/api-keys", {"name": "all"})
    writes = await root.post("/users/me/api-keys", {"name": "writes", "scopes": ["write"]})
    whole, write = (Person(url, "", api_key=each["key"]) for each in (mine, writes))
    # Who has a backup has all hashes: what only reads does not get one.
    own = [
        await root.post("/users/me/api-keys", {"name": each, "scopes": [each]})
        for each in ("read", "backup")
    ]
    reads, nightly = (Person(url, "", api_key=each["key"]) for each in own)
    for one, status in ((write, 403), (reads, 403), (nightly, 200), (whole, 200)):
        assert (await one.request("HEAD", f"/admin/backups/{name}")).status == status
    assert (await reads.request("GET", "/admin/backups")).status == 200
    assert (await write.request("POST", "/admin/backup", {})).status == 403
    assert (await whole.request("POST", "/admin/backup", {})).status == 201
    refused = await whole.request("POST", "/admin/restore", {"filename": name})
    assert (refused.status, refused.body["code"]) == (403, "sign_in_required")
    for each in (script, whole, write, reads, nightly):
        await each.close()


async def test_one_is_made_at_a_time(root: Person, database_url: str, directory: Path) -> None:
    name = (await root.post("/admin/backup", {}))["filename"]
    other = await asyncpg.connect(database_url)
    await other.execute(LOCK)
    (directory / "warmdesk_backup_20200131_120000_9f0a3c1d.tar.gz.part").write_bytes(b"at work")
    for path, body in (("/admin/backup", {}), ("/admin/restore", {"filename": name})):
        answer = await root.request("POST", path, body)
        assert (answer.status, answer.body["code"]) == (409, "busy")
    assert len(list(directory.glob("*.part"))) == 1
    await other.close()
    await root.post("/admin/backup", {})
    assert list(directory.glob("*.part")) == [], "what a dead one left is gone"


async def test_it_goes_on_while_people_write_and_holds_one_moment(
    board: Board, root: Person, alice: Person, directory: Path
) -> None:
    stop = asyncio.Event()
    written: list[Any] = []

    async def write() -> None:
        while not stop.is_set():
            written.append(await board.card(f"card {len(written)}"))

    writers = [asyncio.create_task(write()) for _ in range(4)]
    made = [await root.post("/admin/backup", {}) for _ in range(3)]
    stop.set()
    await asyncio.gather(*writers)
    for each in made:
        manifest = Reading(directory / each["filename"]).check()
        rows = manifest.tables
        # A card is a row, a line of its history, and an event.
        assert rows["cards"].rows == rows["card_history"].rows
    counts = [Reading(directory / m["filename"]).check().tables["cards"].rows for m in made]
    assert counts == sorted(counts)
    assert counts[-1] <= len(written)


async def test_progress_comes_on_the_own_socket(root: Person, board: Board) -> None:
    async with root.socket("user") as wire:
        await wire.next("hello")
        made = await root.post("/admin/backup", {})
        told = await wire.next("backup.progress")
        assert told["payload"]["stage"] == "tables"
        await root.post("/admin/restore", {"filename": made["filename"]}, status=200)
        stages: set[str] = set()
        while not stages >= {"check", "tables", "index"}:
            stages.add((await wire.next("backup.progress"))["payload"]["stage"])


@pytest.mark.foul
async def test_a_restore_brings_back_what_was_and_no_right_that_was_taken(
    settings: Settings,
    board: Board,
    root: Person,
    olga: Person,
    alice: Person,
    bob: Person,
    eve: Person,
    person: Invite,
    url: str,
) -> None:
    card = await board.card("as it was")
    await olga.post(f"{board.path}/members", {"user_id": EVE, "role": "admin"})
    key = await alice.post("/users/me/api-keys", {"name": "mine"})
    gone = await alice.post("/users/me/api-keys", {"name": "another"})
    kept = Person(url, "", api_key=key["key"])
    dead = Person(url, "", api_key=gone["key"])
    await dead.get("/users/me")
    other = person("bob")
    await other.token()
    seq = (await alice.get(board.path))["seq"]
    name = (await root.post("/admin/backup", {}))["filename"]

    await alice.put(f"{board.path}/cards/{card['id']}", {"title": "changed since"})
    later = await board.card("made since")
    await alice.delete(f"/users/me/api-keys/{gone['id']}", status=204)
    await olga.put(f"{board.path}/members/{EVE}", {"role": "viewer"})
    await olga.delete(f"{board.path}/members/{BOB}", status=204)
    await other.post("/auth/logout", {}, status=204)
    before = (await alice.get(board.path))["seq"]

    done = await root.post("/admin/restore", {"filename": name}, status=200)
    assert done["carried_over"]["keys"] == 1
    assert done["carried_over"]["members"] == 2
    assert done["carried_over"]["sessions"] >= 1
    assert done["safety_backup"] != name
    async with serving(settings) as door:
        again = [Person(door.url, each) for each in ("root", "olga", "alice", "bob", "eve")]
        root2, olga2, alice2, bob2, eve2 = again
        shown = await alice2.get(f"{board.path}/cards/{card['id']}")
        assert shown["title"] == "as it was"
        await alice2.get(f"{board.path}/cards/{later['id']}", status=404)
        assert (await alice2.get(board.path))["seq"] > before > seq
        await bob2.get(board.path, status=404)
        assert (await eve2.get(board.path))["my_role"] == "viewer"
        for one, status in ((kept, 200), (dead, 401)):
            theirs = Person(door.url, "", api_key=one.client.api_key or "")
            assert (await theirs.request("GET", "/users/me")).status == status
            await theirs.close()
        newer = await olga2.post(f"{board.path}/columns/{board.backlog}/cards", {"title": "after"})
        assert newer["id"] > later["id"], "no number is given twice"
        actions = [line["action"] for line in await root2.get("/admin/audit")]
        assert actions[0] == "restore.done"
        assert "member.removed" in actions, "what was done since is still on record"

        # And forward again: to what there was before, which is no successor of what there is.
        back = {"filename": done["safety_backup"]}
        await root2.post("/admin/restore", back, status=200)
        for each in again:
            await each.close()
    async with serving(settings) as door:
        alice3, eve3 = Person(door.url, "alice"), Person(door.url, "eve")
        assert (await alice3.get(f"{board.path}/cards/{later['id']}"))["title"] == "made since"
        assert (await eve3.get(board.path))["my_role"] == "viewer"
        mine = Person(door.url, "", api_key=key["key"])
        assert (await mine.request("GET", "/users/me")).status == 200
        for each in (alice3, eve3, mine):
            await each.close()
    await kept.close()
    await dead.close()
    connection = await asyncpg.connect(settings.database_url)
    assert [row["fault"] for row in await sql.server.faults(connection)] == []
    await connection.close()


@pytest.mark.foul
async def test_a_restore_brings_nothing_back_of_who_was_purged(
    settings: Settings, board: Board, root: Person, bob: Person
) -> None:
    await bob.get("/notifications")
    await bob.post("/users/me/calendar", status=200)
    await bob.post("/users/me/api-keys", {"name": "mine"})
    name = (await root.post("/admin/backup", {}))["filename"]
    await root.delete(f"/users/{BOB}")
    await root.delete(f"/users/{BOB}/permanent")
    await root.post("/admin/restore", {"filename": name}, status=200)

    connection = await asyncpg.connect(settings.database_url)
    for table in ("sessions", "api_keys", "login_events", "recovery_codes", "calendars"):
        text = f"select count(*) from {table} where user_id = $1"
        assert await connection.fetchval(text, BOB) == 0, table
    row = await connection.fetchrow("select * from users where id = $1", BOB)
    assert (row["email"], row["totp_secret"]) == (f"deleted:{BOB}@invalid", None)
    assert row["purged_at"] is not None
    assert row["deleted_at"] is not None
    await connection.close()


async def test_files_come_back(
    settings: Settings, board: Board, root: Person, alice: Person
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}/attachments"
    sent = form(("a.png", PNG))
    kept = await alice.post(path, sent, headers=AS_FORM)
    name = (await root.post("/admin/backup", {}))["filename"]
    for each in Path(settings.file_store).rglob("*"):
        if each.is_file():
            each.unlink()
    done = await root.post("/admin/restore", {"filename": name}, status=200)
    assert done["files"] == 1
    async with serving(settings) as door:
        again = Person(door.url, "alice")
        await again.token()
        place = f"{again.client.url}{path}/{kept['id']}"
        async with again.client.session.get(place, headers=again.client.credentials) as answer:
            assert await answer.read() == PNG
        await again.close()


@pytest.mark.foul
async def test_a_file_that_is_deleted_while_its_row_comes_back_is_put_again(
    settings: Settings,
    board: Board,
    root: Person,
    alice: Person,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}/attachments"
    kept = await alice.post(path, form(("a.png", PNG)), headers=AS_FORM)
    name = (await root.post("/admin/backup", {}))["filename"]
    await connection.execute("delete from attachments where id = $1", kept["id"])
    put = restoring._put_files
    stored: list[Path] = []

    async def put_and_lose(*given: Any, **options: Any) -> None:
        await put(*given, **options)
        if not stored:
            stored.extend(e for e in Path(settings.file_store).rglob("*") if e.is_file())
            for each in stored:
                each.unlink()

    monkeypatch.setattr(restoring, "_put_files", put_and_lose)
    await root.post("/admin/restore", {"filename": name}, status=200)
    assert [each.read_bytes() for each in stored] == [PNG]


@pytest.mark.parametrize("left", [0, 7])
async def test_a_file_that_was_cut_is_no_reason_to_have_no_backup(
    settings: Settings, board: Board, root: Person, alice: Person, left: int
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}/attachments"
    await alice.post(path, form(("a.png", PNG)), headers=AS_FORM)
    name = (await root.post("/admin/backup", {}))["filename"]
    (stored,) = (each for each in Path(settings.file_store).rglob("*") if each.is_file())
    stored.write_bytes(PNG[:left])
    assert (await root.post("/admin/backup", {}))["missing_files"] == 1
    await root.post("/admin/restore", {"filename": name}, status=200)
    assert stored.read_bytes() == PNG, "the whole one is back"


async def test_a_broken_one_changes_nothing(
    board: Board, root: Person, directory: Path, connection: Any
) -> None:
    name = (await root.post("/admin/backup", {}))["filename"]
    whole = (directory / name).read_bytes()
    before = await connection.fetchval("select id from install")
    for content in (whole[:-1], whole[: len(whole) // 2], b"", b"no archive", whole + b"x"):
        (directory / name).write_bytes(content)
        answer = await root.request("POST", "/admin/restore", {"filename": name})
        assert (answer.status, answer.body["code"]) == (422, "backup"), answer.body
        assert name in answer.body["error"]
    assert await connection.fetchval("select id from install") == before
    assert len(await root.get("/admin/backups")) == 1, "no safety copy of what was not touched"
    await root.post("/admin/restore", {"filename": ABSENT}, status=404)
    await root.post("/admin/restore", {}, status=400)
    await root.post("/admin/restore", {"filename": name, "mode": "merge"}, status=400)


async def test_one_that_was_kept_elsewhere_is_sent(
    board: Board, root: Person, directory: Path
) -> None:
    name = (await root.post("/admin/backup", {}))["filename"]
    whole = (directory / name).read_bytes()
    await root.delete(f"/admin/backups/{name}", status=204)
    kept = await root.post("/admin/backups", form((name, whole)), headers=AS_FORM)
    assert (directory / kept["filename"]).read_bytes() == whole
    for content in (whole[:-1], b"no archive"):
        await root.post("/admin/backups", form((name, content)), headers=AS_FORM, status=422)
    assert [path.name for path in directory.iterdir()] == [kept["filename"]]
    await root.post("/admin/restore", {"filename": kept["filename"]}, status=200)


async def test_one_that_is_sent_is_for_nobody_else_on_another_disk_too(
    root: Person, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = (await root.post("/admin/backup", {}))["filename"]
    whole = (directory / name).read_bytes()

    def other_disk(*_: Any, **__: Any) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", other_disk)
    kept = await root.post("/admin/backups", form((name, whole)), headers=AS_FORM)
    path = directory / kept["filename"]
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (whole, 0o600)
    assert list(directory.glob("*.part")) == []


@pytest.mark.settings(backup_passphrase="correct horse battery staple")
async def test_one_is_encrypted_where_a_passphrase_is_set(
    board: Board, root: Person, directory: Path
) -> None:
    name = (await root.post("/admin/backup", {}))["filename"]
    assert name.endswith(".tar.gz.age")
    assert b"as it was" not in (directory / name).read_bytes()
    wrong = {"filename": name, "passphrase": "another"}
    answer = await root.request("POST", "/admin/restore", wrong)
    assert (answer.status, answer.body["code"]) == (422, "passphrase")
    done = await root.post("/admin/restore", {"filename": name}, status=200)
    assert done["safety_backup"].endswith(".tar.gz.age")
