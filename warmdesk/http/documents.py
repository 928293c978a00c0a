"""Files that are made once and sent as they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Text:
    """Something ready to be sent."""

    body: bytes
    content_type: str
    tag: str
    policy: str = ""

    async def send(self, request: web.Request) -> web.Response:
        headers = {"ETag": self.tag}
        if self.policy:
            headers["Content-Security-Policy"] = self.policy
        if request.headers.get("If-None-Match") == self.tag:
            return web.Response(status=304, headers=headers)
        if self.content_type.startswith("image/"):
            return web.Response(body=self.body, content_type=self.content_type, headers=headers)
        return web.Response(
            body=self.body, content_type=self.content_type, charset="utf-8", headers=headers
        )


def static_text(body: bytes, content_type: str, policy: str = "") -> Text:
    return Text(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:16]}"', policy)
