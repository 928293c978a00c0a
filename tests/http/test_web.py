"""The web application as a browser gets it: the page, its files, its policy."""

from __future__ import annotations

import gzip
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from tests.conftest import Board, serving
from tests.person import Person
from warmdesk import kept_files
from warmdesk.config import Settings
from warmdesk.rest.web import FOR_EVER, MOVED, Site, leave_files, site

HTML = {"Accept": "text/html,application/xhtml+xml", "Accept-Encoding": "identity"}


@pytest.fixture
async def http(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(url, auto_decompress=False) as made:
        yield made


def filled(path: str) -> str:
    """An address of the page."""
    return re.sub(r"\{\w+\}", "7", path)


@pytest.mark.parametrize("path", sorted(site().pages))
async def test_every_address_brings_the_page(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(filled(path), headers=HTML) as answer:
        text = await answer.text()

    assert answer.status == 200
    assert answer.content_type == "text/html"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert f'src="/app/{site().hash}/app.js"' in text
    assert "{" not in text
    assert f'/{site().pages[path]}"' in text
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "require-trusted-types-for 'script'; trusted-types warmdesk" in policy
    assert "unsafe" not in policy


async def test_all_that_the_page_names_is_there_for_ever(http: aiohttp.ClientSession) -> None:
    async with http.get("/p/demo", headers=HTML) as answer:
        named = re.findall(r'(?:src|href)="([^"]+)"', await answer.text())

    assert len(named) > 10
    for path in named:
        async with http.get(path) as answer:
            assert answer.status == 200, path
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert "require-trusted-types-for" in answer.headers["Content-Security-Policy"]


async def test_a_page_names_all_files_that_it_begins_with(http: aiohttp.ClientSession) -> None:
    async with http.get("/register", headers=HTML) as answer:
        text = await answer.text()

    for name in ("vendor/preact.js", "door.js", "register.js"):
        assert f'<link rel="modulepreload" href="/app/{site().hash}/{name}">' in text
    assert len(re.findall('rel="modulepreload"', text)) == len(
        set(re.findall('rel="modulepreload" href="([^"]+)"', text))
    )


@pytest.mark.parametrize(
    ("path", "sheets"),
    [
        ("/", ["base.css", "pages.css"]),
        ("/p/demo", ["base.css", "board.css"]),
        ("/p/demo/chat", ["base.css", "talk.css"]),
        ("/register", ["base.css", "door.css"]),
    ],
)
async def test_a_page_wears_what_its_files_need(
    http: aiohttp.ClientSession, path: str, sheets: list[str]
) -> None:
    async with http.get(path, headers=HTML) as answer:
        text = await answer.text()

    assert re.findall(r'<link rel="stylesheet" href="/app/\w+/([^"]+)">', text) == sheets


async def test_files_are_gzipped_once(http: aiohttp.ClientSession) -> None:
    path = f"/app/{site().hash}/vendor/preact.js"
    async with http.get(path, headers={"Accept-Encoding": "gzip"}) as answer:
        packed = await answer.read()
    async with http.get(path, headers={"Accept-Encoding": "identity"}) as answer:
        plain = await answer.read()

    assert gzip.decompress(packed) == plain == site().sources["vendor/preact.js"]
    assert len(packed) < len(plain) / 2
    assert answer.headers["Vary"].startswith("Accept-Encoding")


@pytest.mark.parametrize(
    "path",
    [
        "/app/0000000000000000/app.js",
        "/app/{}/nothing.js",
        "/app/{}/../app.js",
        "/app/{}/shell.html",
    ],
)
async def test_other_files_are_not_there(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path.format(site().hash)) as answer:
        assert answer.status == 404
        assert answer.headers["Cache-Control"] == "no-store"


async def test_the_files_of_another_program_of_this_host_are_served(
    settings: Settings, tmp_path: Path
) -> None:
    """While workers are replaced: of the program before, and of the one that comes."""
    async with (
        serving(replace(settings, data_dir=tmp_path)) as door,
        aiohttp.ClientSession(door.url) as http,
    ):

        async def got(path: str) -> tuple[int, str]:
            async with http.get(path) as answer:
                if answer.status == 200:
                    assert answer.headers["Cache-Control"] == FOR_EVER
                    assert "trusted-types" in answer.headers["Content-Security-Policy"]
                return answer.status, answer.content_type

        for number in range(4):
            sources = {"app.js": b"%d;" % number, "a/b.css": b"", "shell.html": b"", "x.woff": b""}
            base = f"/app/{kept_files.name_of(sources)}"
            assert (await got(f"{base}/app.js"))[0] == 404
            kept_files.leave(tmp_path, sources)
            assert await got(f"{base}/app.js") == (200, "text/javascript")
            assert await got(f"{base}/a/b.css") == (200, "text/css")
            for name in ("shell.html", "none.js", "x.woff"):
                assert (await got(f"{base}/{name}"))[0] == 404


def test_of_programs_the_last_three_are_kept(tmp_path: Path) -> None:
    names = []
    for number in range(5):
        sources = {"app.js": b"%d;" % number}
        kept_files.leave(tmp_path, sources)
        kept_files.leave(tmp_path, sources)
        names.append(kept_files.name_of(sources))
        place = tmp_path / "web" / f"{names[-1]}.zip"
        os.utime(place, (time.time() - 1000 + number,) * 2)
        (tmp_path / "web" / f"{number}.part").touch()
        os.utime(tmp_path / "web" / f"{number}.part", (0, 0))
    kept_files.leave(tmp_path, {"app.js": b"2;"})
    (tmp_path / "web" / f"{'0' * 16}.zip").write_bytes(place.read_bytes())
    assert [kept_files.find(tmp_path, each) is not None for each in names] == [
        *(False, False),
        *(True, True, True),
    ]
    assert kept_files.find(tmp_path, "0" * 16) is None  # its content is another
    assert not list(tmp_path.glob("web/*.part"))


def test_files_that_are_damaged_are_none_and_are_left_again(tmp_path: Path) -> None:
    """Cut at any byte, or with any byte another one."""
    sources = {"app.js": b"1;" * 100, "a/b.css": b"a{}"}
    kept_files.leave(tmp_path, sources)
    name = kept_files.name_of(sources)
    place = tmp_path / "web" / f"{name}.zip"
    whole = place.read_bytes()
    broken = [whole[:end] for end in range(len(whole))]
    broken += [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(len(whole))]
    for each in broken:
        place.write_bytes(each)
        assert kept_files.find(tmp_path, name) in (None, sources)
    place.write_bytes(b"")
    kept_files.leave(tmp_path, sources)
    assert kept_files.find(tmp_path, name) == sources


def test_a_disk_that_takes_none_keeps_no_worker_from_serving(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "web").touch()
    leave_files(tmp_path)
    assert "files.not_left" in caplog.text
    assert kept_files.find(tmp_path, site().hash) is None


async def test_the_release_is_told(http: aiohttp.ClientSession) -> None:
    async with http.get("/app/current") as answer:
        assert await answer.json() == {"files": site().hash}
        assert answer.headers["Cache-Control"] == "no-store"


async def test_the_service_worker_may_serve_all_pages(http: aiohttp.ClientSession) -> None:
    async with http.get("/worker.js") as answer:
        assert answer.content_type == "text/javascript"
        assert answer.headers["Cache-Control"] == "private, no-cache"


async def test_the_page_shows_pictures_of_no_other_host(
    http: aiohttp.ClientSession, root: Person
) -> None:
    assert (await root.get("/users/me"))["gravatar_url"]
    async with http.get("/", headers=HTML) as answer:
        assert "img-src 'self' blob:;" in answer.headers["Content-Security-Policy"]


async def test_an_address_that_is_none_is_a_page_for_people_and_json_for_programs(
    http: aiohttp.ClientSession,
) -> None:
    async with http.get("/nowhere/at/all", headers=HTML) as answer:
        assert (answer.status, answer.content_type) == (404, "text/html")
    async with http.get("/nowhere/at/all") as answer:
        assert (answer.status, answer.content_type) == (404, "application/json")
    async with http.get("/api/v1/nowhere", headers=HTML) as answer:
        assert (answer.status, answer.content_type) == (404, "application/json")
    async with http.post("/p/demo", headers=HTML) as answer:
        assert answer.status == 405


@pytest.mark.parametrize(("old", "new"), sorted(MOVED.items()))
async def test_links_of_old_mails_lead_on(http: aiohttp.ClientSession, old: str, new: str) -> None:
    async with http.get(filled(old), allow_redirects=False) as answer:
        assert answer.status == 302
        assert answer.headers["Location"] == filled(new)
    assert filled(new) in {filled(path) for path in site().pages}


async def test_links_that_the_server_makes_lead_to_pages(
    board: Board, alice: Person, olga: Person
) -> None:
    card = await board.card(assignee_ids=[])
    await olga.post(f"{board.path}/cards/{card['key']}/comments", {"body": "@alice look"})
    await olga.post(f"{board.path}/chat/messages", {"body": "@alice look"})
    await olga.post(f"{board.path}/topics", {"title": "News", "body": "@alice look"})
    talk = await olga.post("/conversations", {"user_ids": [alice.id]})
    await olga.post(f"/conversations/{talk['id']}/messages", {"body": "Hello"})
    told = [each["url"] for each in (await alice.get("/notifications"))["items"]]
    told.append((await alice.post(f"{board.path}/ticket", {"title": "One"}))["url"])
    patterns = [re.sub(r"\{\w+\}", "[^/]+", path) for path in site().pages]

    assert len(told) == 6
    for url in told:
        assert any(re.fullmatch(each, url) for each in patterns), url


def test_a_release_is_named_by_all_that_it_is_made_of(tmp_path: Path) -> None:
    def made(**files: str) -> Any:
        for name, text in files.items():
            (tmp_path / name.replace("_", ".")).write_text(text)
        return Site(tmp_path)

    table = 'export const PAGES = [\n  ["/", () => import("./one.js")],\n];\n'
    two = 'import "./x/three.js";\n'
    first = made(app_js=table, one_js='import "./two.js";\n', two_js=two, shell_html="{preloads}")
    assert first.hash == made().hash
    assert first.homes == {"app.js": "app.js", "one.js": "one.js", "two.js": "one.js"}
    assert b"one.js" in first.shells["one.js"].body
    assert made(two_js=two + "1;\n").hash != first.hash


def test_a_release_without_pages_is_none(tmp_path: Path) -> None:
    (tmp_path / "app.js").write_text("")

    with pytest.raises(ValueError, match="no table of addresses"):
        Site(tmp_path)
