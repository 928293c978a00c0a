"""The web application: one page for all its addresses, and the files that it is made of.

The modules are joined to fewer files (``joined_files.py``). All are served under a name for their
whole content (``/app/<hash>/…``), so that they may be cached for ever and never mix with those of
another release. The table of addresses is that of ``app.js``: from there it is also known which
files and style sheets a page begins with, and the browser is told of all of them at once. While
workers are replaced they serve each other's (``kept_files.py``).
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import threading
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from urllib.parse import quote

import msgspec
from aiohttp import web

from warmdesk import joined_files, kept_files
from warmdesk.errors import NotFound
from warmdesk.http.answers import answer
from warmdesk.http.documents import Text, static_text
from warmdesk.http.middleware import not_found as nothing_here
from warmdesk.http.request import DESK
from warmdesk.http.route import Handler

FOLDER = "app"
START = "app.js"
SHELL = "shell.html"
WORKER = "worker.js"
"""It stands at an address of its own: a service worker is asked for at the same one for ever."""
MEDIA = {
    "js": "text/javascript",
    "css": "text/css",
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "txt": "text/plain",
    "webmanifest": "application/manifest+json",
}
FOR_EVER = "public, max-age=31536000, immutable"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:;"
    " connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types warmdesk"
)
"""Of the page, and of its files: a worker obeys that of its own file."""
PAGE = re.compile(r'^ *\["(/[^"]*)", \(\) => import\("\./([\w.]+)"\)', re.MULTILINE)
"""A line of the table of addresses."""
IMPORT = re.compile(r'^(?:import|export)\b(?:[^;"(=]*\bfrom)? *"\./([\w./]+)"', re.MULTILINE)
BASE = "base.css"
"""The style sheet of all pages; the others are worn with the files that need them."""
WEARS = re.compile(r'^wears\("([\w.]+)"\);$', re.MULTILINE)
"""A line of a module that needs a style sheet."""
MOVED = {
    "/projects/{slug}": "/p/{slug}",
    "/projects/{slug}/chat": "/p/{slug}/chat",
    "/projects/{slug}/topics/{topic}": "/p/{slug}/topics/{topic}",
    "/projects/{slug}/cards/{card}": "/p/{slug}/c/{card}",
    "/conversations/{conversation}": "/messages/{conversation}",
}
"""Addresses in mails that were sent by earlier releases, and where they lead now."""


Files = dict[str, Text]
"""What is served, by its name."""

log = logging.getLogger(__name__)


class Release(msgspec.Struct):
    """Which release of the files is served."""

    files: str


class Site:
    """The files, ready to be sent, and the pages."""

    def __init__(self, folder: Traversable) -> None:
        """Raises ValueError when there is no page at all."""
        joined = joined_files.join(dict(_read(folder, "")), START, [WORKER])
        self.sources = joined.files
        self.homes = joined.homes
        self.hash = kept_files.name_of(self.sources)
        self.files = _files(self.sources)
        self._of_others: dict[str, Files] = {}
        self._reading = threading.Lock()
        self.worker = static_text(self.sources.get(WORKER, b""), MEDIA["js"], POLICY)
        self.pages = dict(PAGE.findall(self._text(START)))
        if not self.pages:
            raise ValueError(f"{START} has no table of addresses")
        self.shells = {name: self._shell(name) for name in {START, *self.pages.values()}}

    def _text(self, name: str) -> str:
        if name not in self.sources:
            raise ValueError(f"the web application has no {name}")
        return self.sources[name].decode()

    def imports(self, name: str) -> list[str]:
        """The files of the program that a file needs, itself first, each once."""
        found = [name] if name in self.sources else []
        for each in found:
            base = each.rpartition("/")[0]
            for one in IMPORT.findall(self._text(each)):
                path = f"{base}/{one}" if base else one
                if path in self.sources and path not in found:
                    found.append(path)
        return found

    def _shell(self, page: str) -> Text:
        """The page for an address whose page is in this file."""
        base = f"/{FOLDER}/{self.hash}"
        needed = list(dict.fromkeys([*self.imports(START)[1:], *self.imports(page)]))
        worn = {each for file in [START, *needed] for each in WEARS.findall(self._text(file))}
        styles = [BASE, *sorted(worn)]
        made = self._text(SHELL)
        for name, lines in {
            "styles": [f'<link rel="stylesheet" href="{base}/{each}">' for each in styles],
            "preloads": [f'<link rel="modulepreload" href="{base}/{each}">' for each in needed],
            "files": [base],
        }.items():
            made = made.replace(f"{{{name}}}", "\n".join(lines))
        return static_text(made.encode(), "text/html", POLICY)

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each page and of the files."""
        found: list[tuple[str, str, Handler]] = []
        for path, name in self.pages.items():
            found.append(("GET", path, functools.partial(self._send_page, name)))
        for old, new in MOVED.items():
            found.append(("GET", old, functools.partial(_moved, new)))
        found.append(("GET", f"/{WORKER}", self.worker.send))
        found.append(("GET", f"/{FOLDER}/current", self._send_release))
        deepest = max(name.count("/") for name in self.files)
        for depth in range(deepest + 1):
            names = "/".join(f"{{name{each}}}" for each in range(depth + 1))
            found.append(("GET", f"/{FOLDER}/{{hash}}/{names}", self._send_file))
        return found

    async def _send_page(self, name: str, request: web.Request) -> web.StreamResponse:
        return await self.shells[name].send(request)

    async def _send_file(self, request: web.Request) -> web.StreamResponse:
        found = request.match_info
        words = [found[f"name{each}"] for each in range(len(found) - 1)]
        kept = self.files if found["hash"] == self.hash else {}
        if not kept and kept_files.NAME.fullmatch(found["hash"]):
            directory = request.app[DESK].settings.data_dir
            kept = await asyncio.to_thread(self._of_another, directory, found["hash"])
        file = kept.get("/".join(words))
        if file is None:
            raise NotFound("there is nothing at this address")
        return await file.send(request)

    def _of_another(self, directory: Path, name: str) -> Files:
        """The files that another program of this host serves under this name, if there are any."""
        with self._reading:  # a page asks for many of them at once
            if name not in self._of_others:
                sources = kept_files.find(directory, name)
                if sources is None:
                    return {}
                while len(self._of_others) >= kept_files.MOST - 1:
                    del self._of_others[next(iter(self._of_others))]
                self._of_others[name] = _files(sources)
            return self._of_others[name]

    async def send_nowhere(self, request: web.Request) -> web.StreamResponse:
        """The page for an address that is none: it says so itself."""
        shell = self.shells[START]
        headers = {"Content-Security-Policy": shell.policy, "Cache-Control": "no-store"}
        return web.Response(
            body=shell.body, status=404, content_type="text/html", charset="utf-8", headers=headers
        )

    async def _send_release(self, request: web.Request) -> web.StreamResponse:
        return answer(Release(self.hash))


def _read(folder: Traversable, start: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for each in folder.iterdir():
        if each.is_dir():
            found += _read(each, f"{start}{each.name}/")
        elif each.name == SHELL or each.name.rpartition(".")[2] in MEDIA:
            found.append((start + each.name, each.read_bytes()))
    return found


def _files(sources: kept_files.Sources) -> Files:
    """What is sent under a name that has the hash."""
    return {
        name: static_text(body, media, POLICY, FOR_EVER)
        for name, body in sources.items()
        if name not in (SHELL, WORKER) and (media := MEDIA.get(name.rpartition(".")[2]))
    }


async def _moved(to: str, request: web.Request) -> web.StreamResponse:
    words = {name: quote(word, safe="") for name, word in request.match_info.items()}
    raise web.HTTPFound(to.format(**words))


@functools.cache
def site() -> Site:
    """The web application of this release."""
    return Site(files("warmdesk").joinpath("web"))


def leave_files(directory: Path) -> None:
    """Leave the files for workers of other programs on this host, before any page names them."""
    try:
        kept_files.leave(directory, site().sources)
    except OSError as error:
        log.warning("files.not_left directory=%s cause=%s", directory, error.strerror)


async def not_found(request: web.Request) -> web.StreamResponse:
    """The answer where no handler is: to a browser the page, to a program what the API says."""
    asks_page = "text/html" in request.headers.get("Accept", "")
    if asks_page and request.method == "GET" and "methods" not in request.match_info:
        return await site().send_nowhere(request)
    return await nothing_here(request)


def addresses() -> list[tuple[str, str, Handler]]:
    """What is served beside the API: method, path and handler."""
    return site().routes()
