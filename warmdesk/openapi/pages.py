"""Swagger UI and the documents, ready to be sent."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import Any

import orjson
from aiohttp import web
from aiohttp_swagger3 import SwaggerUiSettings
from aiohttp_swagger3.routes import _SWAGGER_UI_INDEX_HTML
from aiohttp_swagger3.swagger import Swagger

from warmdesk.http.documents import static_text
from warmdesk.http.route import Handler

PAGE = "/swagger"
MEDIA = {"js": "text/javascript", "css": "text/css", "png": "image/png"}
DOCUMENTS = (f"{PAGE}/doc.json", "/openapi.json", f"{PAGE}/swagger.json")
TOLD = "/asyncapi.json"

CHANGED = {
    "<title>Swagger UI": "<title>WarmDesk",
    "deepLinking: true": "deepLinking: true, persistAuthorization: true",
}
"""What the page says otherwise: who signed in still is after a reload."""


class Documents:
    """The document and Swagger UI, made once and kept ready to be sent.

    The page's inline script is allowed by its hash, and no other is.
    """

    def __init__(self, made: dict[str, Any], told: dict[str, Any]) -> None:
        """`made` describes the REST API, `told` what sockets, streams and webhooks say. Raises when
        aiohttp-swagger3 finds the first wrong.
        """
        scratch = web.Application()
        settings = SwaggerUiSettings(
            path=PAGE,
            validatorUrl=None,
            displayRequestDuration=True,
            docExpansion="none",
        )
        Swagger(
            scratch,
            validate=False,
            spec=made,
            request_key="data",
            swagger_ui_settings=settings,
            redoc_ui_settings=None,
            rapidoc_ui_settings=None,
        )
        page = scratch[_SWAGGER_UI_INDEX_HTML].strip()
        for theirs, ours in CHANGED.items():
            if theirs not in page:
                raise ValueError(f"aiohttp-swagger3's page has no {theirs} any more")
            page = page.replace(theirs, ours)
        scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
        hashes = " ".join(f"'sha256-{_sha256(each)}'" for each in scripts)
        policy = (
            f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline';"
            " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
            " frame-ancestors 'none'"
        )
        self.json = static_text(orjson.dumps(made), "application/json")
        self.told = static_text(orjson.dumps(told), "application/json")
        self.page = static_text(page.encode(), "text/html", policy)
        self.assets = {
            each.name: static_text(each.read_bytes(), MEDIA[each.name.rpartition(".")[2]])
            for each in files("aiohttp_swagger3").joinpath("swagger_ui").iterdir()
            if each.name.rpartition(".")[2] in MEDIA
        }

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each document."""
        found = dict.fromkeys(DOCUMENTS, self.json.send)
        found |= {TOLD: self.told.send}
        found |= {f"{PAGE}/": self.page.send, f"{PAGE}/index.html": self.page.send}
        for name, asset in self.assets.items():
            found[f"{PAGE}/swagger_ui_static/{name}"] = asset.send
        sent = (("GET", path, send) for path, send in found.items())
        return [("GET", PAGE, _to_page), *sent]


async def _to_page(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound(f"{PAGE}/index.html")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
