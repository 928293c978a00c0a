"""Encodings of answers (RFC 9110, 12.5.3 and 8.8.3): who takes gzip, and the tags of what is.

An answer that is encoded is another representation, so its ETag is another one: the same text with
`-gzip` at its end. Whichever of the two a client got, it may send: `plain_tag` makes them one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from aiohttp import web

END = '-gzip"'
LONGEST_HEADER = 500
QUALITY = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)
TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
NAMES = ("gzip", "x-gzip")
NONE_SEEN: Mapping[str, str] = MappingProxyType({})


def takes_gzip(request: web.BaseRequest) -> bool:
    """Whether the client asks for gzip, and does not like the plain text better."""
    headers = request.headers
    if "Accept-Encoding" not in headers:
        return False
    return _takes_gzip(", ".join(headers.getall("Accept-Encoding"))[: LONGEST_HEADER + 1])


@lru_cache(maxsize=256)
def _takes_gzip(header: str) -> bool:
    if len(header) > LONGEST_HEADER:
        return False
    wanted: dict[str, float] = {}
    for part in header.lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        quality = 1.0
        for each in parameters:
            match = QUALITY.fullmatch(each.replace(" ", ""))
            quality = float(match[1]) if match else 0.0
        wanted[name] = quality
    rest = wanted.get("*", 0.0)
    most = max((wanted[name] for name in NAMES if name in wanted), default=rest)
    return most > 0 and most >= wanted.get("identity", rest)


def gzip_tag(tag: str) -> str:
    """The ETag of the same, gzipped."""
    return tag[:-1] + END


def plain_tag(tag: str) -> str:
    """The ETag of the same as it is, whichever of the two this is."""
    return tag.removesuffix(END) + '"' if tag.endswith(END) else tag


def plain_tags(header: str) -> str:
    """The same for all tags of an If-Match."""
    return header.replace(END, '"')


def tags_seen(request: web.Request) -> Mapping[str, str]:
    """The tags of an If-None-Match, each as it was sent by its plain one: they are compared
    weakly. ``*`` stands for all.
    """
    sent = request.headers.getall("If-None-Match", ())
    if not sent:
        return NONE_SEEN
    header = ", ".join(sent)
    return (_tags_seen if len(header) <= LONGEST_HEADER else _tags_seen.__wrapped__)(header)


@lru_cache(maxsize=1024)
def _tags_seen(sent: str) -> Mapping[str, str]:
    if sent.strip() == "*":
        return {"*": "*"}
    return {plain_tag(tag): tag for tag in TAG.findall(sent)}


def not_modified(tag: str, headers: Mapping[str, str]) -> web.Response:
    """304 under the tag that the client has."""
    return web.Response(status=304, headers={**headers, "ETag": tag, "Vary": "Accept-Encoding"})
