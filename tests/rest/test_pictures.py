"""Smaller pictures, links that need no credential, and people's own pictures."""

from __future__ import annotations

import asyncio
import random
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import Board
from tests.locks import waiting
from tests.person import Person
from tests.rest.test_conversations import begin, head
from tests.rest.test_members import lost_races
from tests.uploads import PNG, fetch, upload
from warmdesk import pictures
from warmdesk.config import Settings
from warmdesk.desk import Desk
from warmdesk.jobs.files import FileKeeper
from warmdesk.jobs.retention import Retention
from warmdesk.pictures import NoPicture, shrunk


def picture(
    width: int, height: int, kind: str = "JPEG", color: str = "red", **options: Any
) -> bytes:
    made = BytesIO()
    Image.new("RGB", (width, height), color).save(made, kind, **options)
    return made.getvalue()


def opened(content: bytes) -> Image.Image:
    return Image.open(BytesIO(content))


def located() -> bytes:
    """A picture lying on its side, that knows where it was taken."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "SECRET PLACE"
    return picture(640, 480, exif=exif)


@pytest.fixture
async def path(board: Board) -> str:
    return f"{board.path}/cards/{(await board.card())['id']}/attachments"


# Smaller


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "AVIF"])
def test_a_picture_becomes_smaller(kind: str) -> None:
    small = opened(shrunk(picture(1000, 500, kind), 320))
    assert (small.format, small.size) == ("WEBP", (320, 160))
    assert opened(shrunk(picture(40, 20, kind), 320)).size == (40, 20)
    square = opened(shrunk(picture(1000, 500, kind), 128, square=True))
    assert square.size == (128, 128)


def test_it_stands_upright_and_tells_nothing_else() -> None:
    assert b"SECRET PLACE" in located()
    small = shrunk(located(), 320)
    assert opened(small).size == (240, 320)
    assert b"SECRET PLACE" not in small
    assert not opened(small).getexif()


def test_what_shines_through_stays() -> None:
    made = BytesIO()
    Image.new("RGBA", (10, 10), (255, 0, 0, 0)).save(made, "PNG")
    assert opened(shrunk(made.getvalue(), 320)).getpixel((0, 0))[3] == 0  # type: ignore[index]


@pytest.mark.parametrize(
    "content",
    [b"", b"x", PNG[:40], b"<svg/>", picture(10, 10, "BMP"), picture(10, 10, "TIFF")],
)
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(NoPicture):
        shrunk(content, 320)


def test_a_picture_of_too_many_pixels_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_PIXELS", 2_000_000)
    monkeypatch.setattr(pictures, "MOST_DECODED", 500_000)
    shrunk(picture(1400, 1400), 320)  # a JPEG is decoded smaller
    shrunk(picture(700, 700, "PNG"), 320)
    for large in (picture(1500, 1400), picture(800, 700, "PNG")):
        with pytest.raises(NoPicture):
            shrunk(large, 320)


def scanned(scans: int, width: int = 64) -> bytes:
    """A progressive JPEG that goes over its pixels so many times."""
    whole = picture(width, width, progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * (scans - whole.count(b"\xff\xda") + 1) + whole[-2:]


def test_a_picture_of_many_scans_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few bytes would keep a core for minutes."""
    assert opened(shrunk(scanned(32), 32)).size == (32, 32)
    film = random.Random(1).randbytes(4 << 20)
    assert film.count(b"\xff\xda") > 32
    assert opened(shrunk(scanned(32) + film, 32)).size == (32, 32)
    many_segments = picture(64, 64)[:2] + b"\xff\xfe\0\2" * 2000 + picture(64, 64)[2:]
    for many in (scanned(33), scanned(5000), several(scanned(33)), many_segments):
        with pytest.raises(NoPicture):
            shrunk(many, 32)
    monkeypatch.setattr(pictures, "MOST_DECODED", 300 * 300)
    shrunk(scanned(12, 300), 32)
    with pytest.raises(NoPicture):
        shrunk(scanned(12, 301), 32)


def several(first: bytes) -> bytes:
    """The first of two pictures in one file, as a camera with two lenses writes it."""
    made = BytesIO()
    with opened(picture(64, 64)) as one, opened(picture(64, 64)) as other:
        one.save(made, "MPO", save_all=True, append_images=[other])
    whole = made.getvalue()
    table = whole.index(b"\xff\xe2")
    end = table + 2 + int.from_bytes(whole[table + 2 : table + 4], "big")
    both = first[:table] + whole[table:end] + first[table:]
    assert Image.open(BytesIO(both), formats=["JPEG"]).format == "MPO"
    return both


async def test_a_preview_is_made_once_and_goes_with_its_file(
    path: str, alice: Person, bob: Person, settings: Settings, desk: Desk
) -> None:
    made = await upload(alice, path, ("door.jpg", located()))
    first = await fetch(bob, f"{made['url']}?size=320")
    assert (first.status, first.headers["Content-Type"]) == (200, "image/webp")
    assert opened(first.body).size == (240, 320)
    assert first.headers["Content-Disposition"].startswith('inline; filename="door.jpg.webp"')
    assert "sandbox" in first.headers["Content-Security-Policy"]
    kept = [each for each in Path(settings.file_store).rglob("*") if each.is_file()]
    assert len(kept) == 2
    nested = await fetch(bob, f"{path}/{made['id']}?size=320")
    assert nested.body == first.body
    tag = first.headers["ETag"]
    assert tag != (await fetch(bob, made["url"])).headers["ETag"]
    assert (await fetch(bob, f"{made['url']}?size=320", If_None_Match=tag)).status == 304
    assert await FileKeeper(desk).delete_orphans() == 0
    await alice.delete(f"{path}/{made['id']}")
    await FileKeeper(desk).turn()
    assert [each for each in Path(settings.file_store).rglob("*") if each.is_file()] == []


async def test_only_pictures_come_smaller(path: str, alice: Person) -> None:
    text = await upload(alice, path, ("a.txt", b"text"))
    broken = await upload(alice, path, ("a.png", PNG[:40]))
    for made in (text, broken):
        refused = await alice.get(f"/attachments/{made['id']}?size=320", status=400)
        assert refused["fields"] == {"size": "conflicting"}
    refused = await alice.get(f"/attachments/{text['id']}?size=100", status=400)
    assert refused["fields"] == {"size": "not_one_of"}


# Links


async def test_a_link_needs_no_credential_and_ends_with_the_right(
    path: str, board: Board, alice: Person, bob: Person, eve: Person, olga: Person, url: str
) -> None:
    made = await upload(alice, path, ("door.png", PNG))
    await eve.post(f"/attachments/{made['id']}/link", status=404)
    link = await bob.post(f"/attachments/{made['id']}/link", status=200)
    assert link["expires_in"] == 60
    session = bob.client.session

    async def ask(address: str, **headers: str) -> tuple[int, bytes]:
        async with session.get(f"{url}{address}", headers=headers) as answer:
            return answer.status, await answer.read()

    assert await ask(link["url"]) == (200, PNG)
    assert await ask(link["url"], Range="bytes=0-3") == (206, PNG[:4])
    assert (await ask(f"{link['url']}&size=320"))[0] == 200
    other = await upload(alice, path, ("other.png", PNG))
    swapped = link["url"].replace(f"/{made['id']}/", f"/{other['id']}/")
    for wrong in (swapped, link["url"][:-1], f"{link['url']}x", f"{made['url']}/file?ticket=x"):
        assert (await ask(wrong))[0] == 401, wrong
    assert (await ask(f"{made['url']}/file"))[0] == 401
    assert (await ask(made["url"]))[0] == 401
    await olga.delete(f"{board.path}/members/{bob.id}")
    assert (await ask(link["url"]))[0] == 404


async def test_a_link_ends_with_its_minute_and_with_its_session(
    path: str, alice: Person, url: str, desk: Desk
) -> None:
    made = await upload(alice, path, ("door.png", PNG))
    links = [await alice.post(f"/attachments/{made['id']}/link", status=200) for _ in "12"]
    keys = [key async for key in desk.redis.scan_iter(match="*:file-link:*")]
    assert len(keys) == 2
    for key in keys:
        assert 0 < await desk.redis.ttl(key) <= 60
    await desk.redis.delete(keys[0])

    async def ask() -> list[int]:
        statuses = []
        for link in links:
            async with alice.client.session.get(f"{url}{link['url']}") as answer:
                statuses.append(answer.status)
        return sorted(statuses)

    assert await ask() == [200, 401]
    await alice.post("/auth/logout", {"all": True}, status=204)
    assert await ask() == [401, 401]


async def test_its_ticket_stands_in_no_log(
    path: str, alice: Person, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = await upload(alice, path, ("door.png", PNG))
    link = await alice.post(f"/attachments/{made['id']}/link", status=200)
    caplog.set_level("DEBUG")
    async with alice.client.session.get(f"{url}{link['url']}") as answer:
        assert answer.status == 200
    assert link["url"].partition("ticket=")[2] not in caplog.text


# People's own


async def avatar(person: Person, content: bytes, status: int = 200) -> Any:
    return await upload(person, "/users/me/avatar", ("me", content), part="avatar", status=status)


async def test_a_picture_of_oneself_is_shown_everywhere(
    board: Board, alice: Person, bob: Person, url: str
) -> None:
    async with bob.socket("demo") as socket, alice.socket("user") as own:
        me = await avatar(alice, located())
        told = (await socket.next("project.member_updated"))["payload"]
        assert told["user"]["avatar_url"] == me["avatar_url"]
        assert (await own.next("user.updated"))["payload"] == me
    async with bob.client.session.get(f"{url}{me['avatar_url']}") as answer:
        content = await answer.read()
        assert (answer.status, answer.headers["Content-Type"]) == (200, "image/webp")
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        tag = answer.headers["ETag"]
    assert opened(content).size == (128, 128)
    assert b"SECRET PLACE" not in content
    assert me["avatar_url"] == f"/avatars/{sha256(content).hexdigest()}.webp"
    async with bob.client.session.get(
        f"{url}{me['avatar_url']}", headers={"If-None-Match": tag}
    ) as answer:
        assert answer.status == 304
    await alice.delete("/users/me/avatar")
    assert (await alice.get("/users/me"))["avatar_url"] is None
    await alice.delete("/users/me/avatar")


async def test_what_is_no_small_picture_is_refused(alice: Person, settings: Settings) -> None:
    for wrong in (b"<svg/>", b"text", PNG[:40]):
        assert (await avatar(alice, wrong, 400))["fields"] == {"avatar": "bad_format"}
    large = b"\x89PNG" + bytes(5 << 20)
    assert (await avatar(alice, large, 413))["code"] == "too_large"
    two = [("a", PNG), ("b", PNG)]
    refused = await upload(alice, "/users/me/avatar", *two, part="avatar", status=400)
    assert refused["fields"] == {"avatar": "too_long"}
    assert (await alice.get("/users/me"))["avatar_url"] is None
    assert [each for each in Path(settings.file_store).rglob("*") if each.is_file()] == []


async def test_a_picture_that_nobody_shows_goes_after_a_day(
    alice: Person, bob: Person, olga: Person, desk: Desk, connection: Any, url: str
) -> None:
    shared = picture(200, 200, "PNG", "green")
    address = (await avatar(alice, shared))["avatar_url"]
    assert (await avatar(bob, shared))["avatar_url"] == address
    gone = (await avatar(olga, picture(200, 200, "PNG", "blue")))["avatar_url"]
    await avatar(olga, PNG)
    await alice.put("/users/me", {"avatar_url": None})

    async def kept() -> int:
        await Retention(desk).turn()
        return int(await connection.fetchval("select count(*) from avatars"))

    assert await kept() == 3
    await connection.execute("update avatars set left_at = left_at - interval '25 hours'")
    assert await kept() == 2
    statuses = []
    for each in (address, gone):
        async with alice.client.session.get(f"{url}{each}") as answer:
            statuses.append(answer.status)
    assert statuses == [200, 404]
    await bob.delete("/users/me/avatar")
    await avatar(bob, shared)
    await connection.execute("update avatars set left_at = left_at - interval '25 hours'")
    assert await kept() == 2


async def test_only_pictures_of_ours_are_at_the_address(alice: Person, url: str) -> None:
    await alice.token()
    for name in ("x", "x.webp", f"{'0' * 64}.png", f"{'0' * 64}.webp", f"{'A' * 64}.webp"):
        async with alice.client.session.get(f"{url}/avatars/{name}") as answer:
            assert answer.status == 404


async def test_those_who_show_the_same_at_once_meet_in_no_circle(
    board: Board, alice: Person, bob: Person, olga: Person
) -> None:
    for color in ("red", "green", "blue"):
        sent = picture(50, 50, "PNG", color)
        found = await asyncio.gather(*(avatar(each, sent) for each in (alice, bob, olga)))
        assert len({each["avatar_url"] for each in found}) == 1


async def test_who_shows_another_picture_waits_for_nobody_who_does(
    board: Board, alice: Person, bob: Person, connection: Any
) -> None:
    """Two who take each other's picture, and one who also shows none, each in any order."""
    red, blue = (picture(50, 50, "PNG", color) for color in ("red", "blue"))
    before = lost_races()
    for turn in range(8):
        mine, theirs = (red, blue) if turn % 2 else (blue, red)
        await asyncio.gather(
            avatar(alice, mine),
            avatar(bob, theirs),
            alice.request("DELETE", "/users/me/avatar"),
            avatar(alice, theirs),
            avatar(bob, mine),
            bob.request("DELETE", "/users/me/avatar"),
        )
    assert lost_races() == before
    kept = await connection.fetch("select '/avatars/' || sha256 || '.webp' as address from avatars")
    shown = await connection.fetch("select avatar_url as address from users where avatar_url <> ''")
    assert {row["address"] for row in kept} >= {row["address"] for row in shown}


# Groups'


async def dress(person: Person, group: Any, content: bytes, status: int = 200) -> Any:
    path = f"/conversations/{group['id']}/avatar"
    return await upload(person, path, ("us", content), part="avatar", status=status)


async def test_a_group_shows_a_picture_to_all_in_it(
    alice: Person, bob: Person, olga: Person, url: str
) -> None:
    group = await begin(alice, bob.id, olga.id)
    path = f"/conversations/{group['id']}"
    async with olga.socket("user") as socket:
        shown = await dress(bob, group, located())
        event = await socket.next("dm.conversation_updated")
        seen = await alice.get(path)
        assert event["payload"].items() <= seen.items()
        assert event["payload"]["avatar"] == shown["avatar"] == seen["avatar"]
        assert (shown.keys(), event["actor_id"]) == ({"avatar"}, bob.id)
        assert seen["updated_at"] > group["updated_at"]
        before = await head(olga)
        assert await dress(alice, group, located()) == shown
        assert await head(olga) == before, "the same picture is no change"

        async with bob.client.session.get(f"{url}{shown['avatar']}") as answer:
            content = await answer.read()
            assert (answer.status, answer.headers["Content-Type"]) == (200, "image/webp")
        assert opened(content).size == (128, 128)
        assert b"SECRET PLACE" not in content
        assert shown["avatar"] == f"/avatars/{sha256(content).hexdigest()}.webp"

        await olga.delete(f"{path}/avatar")
        assert (await socket.next("dm.conversation_updated"))["payload"]["avatar"] is None
        before = await head(alice)
        await alice.delete(f"{path}/avatar")
        assert await head(alice) == before
    assert (await bob.get(path))["avatar"] is None


async def test_only_groups_have_pictures_and_only_who_is_in_one_gives_it_one(
    alice: Person, bob: Person, olga: Person, eve: Person, root: Person, connection: Any
) -> None:
    pair = await begin(alice, bob.id)
    assert (await dress(alice, pair, PNG, 422))["code"] == "not_a_group"
    refused = await alice.delete(f"/conversations/{pair['id']}/avatar", status=422)
    assert refused["code"] == "not_a_group"
    group = await begin(alice, bob.id, olga.id)
    await dress(alice, group, PNG)
    before = await alice.get(f"/conversations/{group['id']}")
    for other in (eve, root):
        for there in (pair, group, {"id": 10**15}):
            await dress(other, there, PNG, 404)
            await dress(other, there, b"no picture", 404)
            await other.delete(f"/conversations/{there['id']}/avatar", status=404)
    for wrong in (b"<svg/>", b"text", PNG[:40]):
        assert (await dress(alice, group, wrong, 400))["fields"] == {"avatar": "bad_format"}
    assert (await dress(alice, group, b"\x89PNG" + bytes(5 << 20), 413))["code"] == "too_large"
    path = f"/conversations/{group['id']}/avatar"
    refused = await upload(alice, path, ("us", PNG), part="file", status=400)
    assert refused["fields"] == {"avatar": "required"}
    assert await alice.get(f"/conversations/{group['id']}") == before
    assert await connection.fetchval("select count(*) from avatars") == 1


async def test_who_is_removed_while_a_picture_is_read_gives_none(
    alice: Person, bob: Person, olga: Person, connection: Any
) -> None:
    group = await begin(alice, bob.id, olga.id)
    async with connection.transaction():
        await connection.execute("select from conversations for update")
        dressing = asyncio.create_task(dress(bob, group, PNG, 404))
        await waiting(connection)
        await connection.execute("delete from conversation_members where user_id = $1", bob.id)
    await dressing
    assert (await alice.get(f"/conversations/{group['id']}"))["avatar"] is None


async def test_a_picture_goes_when_neither_a_person_nor_a_group_shows_it(
    alice: Person, bob: Person, olga: Person, desk: Desk, connection: Any, url: str
) -> None:
    shared, other = (picture(200, 200, "PNG", color) for color in ("green", "blue"))
    first, second = [await begin(alice, bob.id, olga.id, name=name) for name in "12"]
    address = (await avatar(alice, shared))["avatar_url"]
    assert (await dress(bob, first, shared))["avatar"] == address
    await dress(bob, second, shared)

    async def days_later() -> bool:
        await connection.execute("update avatars set left_at = left_at - interval '25 hours'")
        await Retention(desk).turn()
        async with alice.client.session.get(f"{url}{address}") as answer:
            return answer.status == 200

    await alice.delete("/users/me/avatar")
    assert await days_later(), "two groups show it"
    await dress(olga, first, other)
    assert await days_later(), "one group shows it"
    for each in (alice, bob, olga):
        await each.delete(f"/conversations/{second['id']}/members/{each.id}")
    assert await days_later(), "a day since the group went has not passed"
    assert await connection.fetchval("select count(*) from conversations") == 1
    assert not await days_later()
    assert await connection.fetchval("select count(*) from avatars") == 1

    await avatar(alice, shared)
    await dress(alice, first, shared)
    await alice.delete(f"/conversations/{first['id']}/avatar")
    assert await days_later(), "alice shows it"
    await alice.delete("/users/me/avatar")
    await dress(alice, first, shared)
    assert await days_later(), "the group shows it again"


async def test_a_picture_stays_that_is_shown_in_the_moment_it_would_go(
    alice: Person, desk: Desk, connection: Any, url: str
) -> None:
    address = (await avatar(alice, PNG))["avatar_url"]
    await alice.delete("/users/me/avatar")
    await connection.execute("update avatars set left_at = left_at - interval '25 hours'")
    async with connection.transaction():
        await connection.execute("update avatars set left_at = null")
        await Retention(desk).turn()
    async with alice.client.session.get(f"{url}{address}") as answer:
        assert answer.status == 200


async def test_people_and_groups_that_change_pictures_at_once_wait_in_no_circle(
    alice: Person, bob: Person, olga: Person, connection: Any
) -> None:
    red, blue = (picture(50, 50, "PNG", color) for color in ("red", "blue"))
    first, second = [await begin(alice, bob.id, olga.id, name=name) for name in "12"]
    before = lost_races()
    for turn in range(8):
        mine, theirs = (red, blue) if turn % 2 else (blue, red)
        await asyncio.gather(
            dress(alice, first, mine),
            dress(bob, second, theirs),
            avatar(alice, theirs),
            avatar(bob, mine),
            dress(bob, first, theirs),
            dress(alice, second, mine),
            olga.request("DELETE", f"/conversations/{first['id']}/avatar"),
            alice.request("DELETE", "/users/me/avatar"),
        )
    assert lost_races() == before
    kept = await connection.fetch("select '/avatars/' || sha256 || '.webp' as address from avatars")
    shown = await connection.fetch(
        "select avatar_url as address from users where avatar_url <> ''"
        " union select avatar from conversations where avatar <> ''"
    )
    assert {row["address"] for row in kept} >= {row["address"] for row in shown}
