"""Builds the application: the resources' routes below /api/v1, their doors, the documents."""

from __future__ import annotations

import functools
import importlib
from collections.abc import AsyncIterator

from aiohttp import web

from warmdesk import rest
from warmdesk.boards import BOARDS, Boards
from warmdesk.changes.chat import CHAT, Chat
from warmdesk.changes.kept import KEPT, KeptAnswers
from warmdesk.desk import Desk
from warmdesk.jobs.grams import Grams
from warmdesk.jobs.retention import Retention
from warmdesk.openapi import Documents, document
from warmdesk.rest import health
from warmdesk.rest.health import SAMPLED, Sampled
from warmdesk.rest.metrics import COUNTED, Counted, sampling
from warmdesk.rest.middleware import DOORMAN, Doorman, behind_door, nowhere
from warmdesk.rest.paths import Paths
from warmdesk.rest.routing import BASE, BODY_LIMIT, DESK, Route
from warmdesk.rest.wire import install


def build_app(desk: Desk) -> web.Application:
    """The application of one process. What does not depend on the desk is made once."""
    install()
    # One more than the limit itself: `read_body` counts, and says it in our words. It refuses
    # encoded bodies too, and aiohttp would log a traceback of what it cannot inflate.
    app = web.Application(client_max_size=BODY_LIMIT + 1, handler_args={"auto_decompress": False})
    app[DESK] = desk
    app[DOORMAN] = Doorman(desk)
    app[BOARDS] = Boards(desk.database, shares=desk.heavy_reads)
    app[COUNTED] = Counted()
    app[SAMPLED] = Sampled()
    app[CHAT] = Chat(desk.changes)
    app[KEPT] = KeptAnswers(desk.database, on=desk.limits.on)
    for tree in paths():
        app.router.register_resource(tree)
    app.cleanup_ctx.extend((sampling, health.sampling, trimming, finding, bounding))
    return app


async def trimming(app: web.Application) -> AsyncIterator[None]:
    """While the application runs: old events go."""
    retention = Retention(app[DESK])
    retention.start()
    yield
    await retention.stop()


async def finding(app: web.Application) -> AsyncIterator[None]:
    """While the application runs: what was written can be looked up."""
    grams = Grams(app[DESK])
    grams.start()
    yield
    await grams.stop()


async def bounding(app: web.Application) -> AsyncIterator[None]:
    """While the application runs: who holds too much of it goes."""
    async for _ in app[DOORMAN].bounds.watching():
        yield


@functools.cache
def resources() -> tuple[Route, ...]:
    """Every operation of the API, in the order of the resources' list."""
    found: list[Route] = []
    for name in rest.RESOURCES:
        module = importlib.import_module(f"warmdesk.rest.{name}")
        found.extend(handler.route for handler in module.routes)
    return tuple(found)


@functools.cache
def paths() -> tuple[Paths, Paths]:
    """The routes of the API and of the documents, each behind its door."""
    api = ((each.method, each.path, each.handler) for each in resources())
    return (
        Paths(BASE, api, nowhere=nowhere, hang=behind_door),
        Paths("", documents().routes(), nowhere=nowhere, hang=behind_door),
    )


@functools.cache
def documents() -> Documents:
    """The API's description and the page that shows it."""
    return Documents(document(resources()))
