"""Addresses as a tree of their words: a request finds its handler in as many steps as it has words.

aiohttp tries the patterns below ``/api/v1/projects`` one after the other, which costs a request
more than its role check and its body together. aiohttp asks this resource instead; each path stays
an aiohttp resource of its own, so that a route's template is known as usual.

A fixed word goes before a ``{name}`` in the same place. A request that fits no path has a wrapped
handler too, so its answer is like all others.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from aiohttp import web
from aiohttp.web_urldispatcher import AbstractResource, DynamicResource, PlainResource
from yarl import URL

from warmdesk.metrics.kinds import OTHER

LONGEST = 1024
"""Characters in one word of a path."""
UNKEEPABLE = re.compile("[\0\ud800-\udfff]")
"""Characters that PostgreSQL cannot hold in text, so no name has them."""

NONE: set[str] = set()
UNMATCHED = "unmatched"
"""The route that requests without one are counted under."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Wrap = Callable[[Handler, str, str], Handler]
"""Wraps a handler; it is given the method and the path as it was declared."""


async def expect(request: web.Request) -> None:
    """``Expect: 100-continue`` is answered, another expectation passed over."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")


class Node:
    """A word's place in the tree: what may follow it, and what is served here."""

    __slots__ = ("any_word", "names", "routes", "words")

    def __init__(self) -> None:
        self.words: dict[str, Node] = {}
        self.any_word: Node | None = None
        self.names: tuple[str, ...] = ()
        self.routes: dict[str, web.AbstractRoute] = {}


class Router(AbstractResource):
    """All routes below `base`. It may be given to several applications."""

    def __init__(
        self,
        base: str,
        routes: Iterable[tuple[str, str, Handler]],
        *,
        not_found: Handler,
        wrap: Wrap,
    ) -> None:
        """`routes`: method, path below `base` (``{name}`` for a word), handler. GET brings HEAD.

        `not_found` answers what has no route; ``match_info["methods"]`` is there where only the
        method is wrong.
        """
        super().__init__()
        self.base = base
        self._hang = wrap
        self._root = Node()
        self._resources: dict[str, PlainResource | DynamicResource] = {}
        self._nowhere = PlainResource(base).add_route(
            "*", wrap(not_found, OTHER, UNMATCHED), expect_handler=expect
        )
        for method, path, handler in routes:
            self._add(method, path, handler)

    def _add(self, method: str, path: str, handler: Handler) -> None:
        node, names = self._root, []
        for word in path.split("/")[1:]:
            if word.startswith("{"):
                names.append(word[1:-1])
                node.any_word = node = node.any_word or Node()
            else:
                node = node.words.setdefault(word, Node())
        if node.routes and node.names != tuple(names):
            raise ValueError(f"{path} has other names elsewhere: {node.names}")
        node.names = tuple(names)
        whole = self.base + path
        if whole not in self._resources:
            kind = DynamicResource if names else PlainResource
            self._resources[whole] = kind(whole)
        for each in (method, "HEAD") if method == "GET" else (method,):
            node.routes[each] = self._resources[whole].add_route(
                each, self._hang(handler, each, whole), expect_handler=expect
            )

    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo, set[str]]:
        """The route of a request, or that of `not_found`."""
        node, values = self._root, []
        path = request.rel_url.path_safe
        for word in path[len(self.base) + 1 :].split("/"):
            after = node.words.get(word)
            if after is None:
                after = node.any_word
                if after is None or not word or len(word) > LONGEST:
                    return self._no_route(None)
                values.append(word)
            node = after
        route = node.routes.get(request.method)
        if route is None:
            # The target of OPTIONS * has no words, as the path / has none.
            return self._no_route(node if path.startswith("/") else None)
        if not path.isascii() or "%" in path or "\0" in path:
            if UNKEEPABLE.search(path):
                return self._no_route(None)
            values = [each.replace("%2F", "/").replace("%25", "%") for each in values]
        return web.UrlMappingMatchInfo(dict(zip(node.names, values, strict=False)), route), NONE

    def _no_route(self, node: Node | None) -> tuple[web.UrlMappingMatchInfo, set[str]]:
        facts = {}
        if node is not None and node.routes:
            facts["methods"] = ", ".join([*sorted(node.routes), "OPTIONS"])
        return web.UrlMappingMatchInfo(facts, self._nowhere), NONE

    @property
    def canonical(self) -> str:
        return self.base or "/"

    def url_for(self, **kwargs: str) -> URL:
        raise NotImplementedError("ask the path's own resource")

    def add_prefix(self, prefix: str) -> None:
        raise NotImplementedError("the base is given at the start")

    def get_info(self) -> Any:
        return {"prefix": self.base}

    def raw_match(self, path: str) -> bool:
        return False

    def __len__(self) -> int:
        return sum(len(resource) for resource in self._resources.values())

    def __iter__(self) -> Iterator[web.AbstractRoute]:
        for resource in self._resources.values():
            yield from resource
