"""Builds the application: the resources' routes below /api/v1, the middleware, the documents."""

from __future__ import annotations

import functools
import importlib

from aiohttp import web

from warmdesk import rest
from warmdesk.boards import BOARDS, Boards
from warmdesk.changes.chat import CHAT, Chat
from warmdesk.desk import Desk
from warmdesk.metrics import POOL_LIMIT
from warmdesk.openapi import Documents, document
from warmdesk.rest.metrics import COUNTED, Counted
from warmdesk.rest.middleware import declare_series, doorkeeper, finisher
from warmdesk.rest.paths import Paths
from warmdesk.rest.routing import BASE, BODY_LIMIT, DESK, Route


def build_app(desk: Desk) -> web.Application:
    """The application of one process. What does not depend on the desk is made once."""
    docs = documents()
    app = web.Application(
        middlewares=[doorkeeper(desk.settings)],
        # One more than the limit itself: `read_body` counts, and says it in our words.
        client_max_size=BODY_LIMIT + 1,
    )
    app[DESK] = desk
    app[BOARDS] = Boards(desk.database)
    app[COUNTED] = Counted()
    app[CHAT] = Chat(desk.changes)
    app.router.register_resource(paths())
    docs.serve(app)
    app.on_response_prepare.append(finisher(desk.settings, docs.policies))
    POOL_LIMIT.set(desk.settings.database_pool)
    return app


@functools.cache
def resources() -> tuple[Route, ...]:
    """Every operation of the API, in the order of the resources' list."""
    found: list[Route] = []
    for name in rest.RESOURCES:
        module = importlib.import_module(f"warmdesk.rest.{name}")
        found.extend(handler.route for handler in module.routes)
    return tuple(found)


@functools.cache
def paths() -> Paths:
    """The routes as a tree, each with its lines in the metrics."""
    tree = Paths(BASE, ((each.method, each.path, each.handler) for each in resources()))
    for route in tree:
        declare_series(route.method, str(route.resource and route.resource.canonical))
    return tree


@functools.cache
def documents() -> Documents:
    """The API's description and the page that shows it."""
    return Documents(document(resources()))
