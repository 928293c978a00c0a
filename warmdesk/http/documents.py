"""Files that are made once and sent as they are, or gzipped: that is done once, too."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from aiohttp import web

from warmdesk.http.encodings import gzip_tag, not_modified, tags_seen, takes_gzip
from warmdesk.packing import KEPT, packed


@dataclass(slots=True)
class Text:
    """Something ready to be sent."""

    body: bytes
    content_type: str
    tag: str
    policy: str = ""
    cache: str = ""
    packed: bytes | None = None

    async def send(self, request: web.Request) -> web.Response:
        headers = {"ETag": self.tag}
        if self.policy:
            headers["Content-Security-Policy"] = self.policy
        if self.cache:
            headers["Cache-Control"] = self.cache
        seen = tags_seen(request)
        if self.tag in seen or "*" in seen:
            return not_modified(seen.get(self.tag, self.tag), headers)
        if self.content_type.startswith("image/") and not self.content_type.endswith("xml"):
            return web.Response(body=self.body, content_type=self.content_type, headers=headers)
        headers["Vary"] = "Accept-Encoding"
        body = self.body
        if takes_gzip(request):
            if self.packed is None:
                self.packed = await packed(self.body, KEPT)
            if self.packed is not None:
                body = self.packed
                headers |= {"Content-Encoding": "gzip", "ETag": gzip_tag(self.tag)}
        return web.Response(
            body=body, content_type=self.content_type, charset="utf-8", headers=headers
        )


def static_text(body: bytes, content_type: str, policy: str = "", cache: str = "") -> Text:
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return Text(body, content_type, tag, policy, cache)
