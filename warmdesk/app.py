"""Builds the application: the wrapped routes of the resources below /api/v1, and the documents."""

from __future__ import annotations

import functools
import importlib
from collections.abc import AsyncIterator

from aiohttp import web

from warmdesk import rest
from warmdesk.desk import Desk
from warmdesk.http.body import BODY_LIMIT
from warmdesk.http.middleware import RESPONSES, Responses, not_found, wrap_handler
from warmdesk.http.protocol import install
from warmdesk.http.request import DESK
from warmdesk.http.route import Route
from warmdesk.http.router import Router
from warmdesk.http.routing import BASE
from warmdesk.jobs.activity import Activity
from warmdesk.jobs.backups import Scheduled
from warmdesk.jobs.files import FileKeeper
from warmdesk.jobs.grams import Grams
from warmdesk.jobs.mail import Collector, Mailer
from warmdesk.jobs.outgoing import Outgoing
from warmdesk.jobs.periodic import Job
from warmdesk.jobs.purges import Purges
from warmdesk.jobs.reminders import Reminders
from warmdesk.jobs.retention import Retention
from warmdesk.openapi.asyncapi import asyncapi
from warmdesk.openapi.document import document
from warmdesk.openapi.pages import Documents
from warmdesk.rest import avatars, health
from warmdesk.rest import web as pages
from warmdesk.rest.metrics import sampling

JOBS: tuple[type[Job], ...] = (
    Retention,
    Grams,
    Scheduled,
    FileKeeper,
    Outgoing,
    Mailer,
    Collector,
    Purges,
    Reminders,
    Activity,
)


def build_app(desk: Desk) -> web.Application:
    """The application of one process. What does not depend on the desk is made once."""
    install()
    # One more than the limit itself: `read_body` counts, and says it in our words. It refuses
    # encoded bodies too, and aiohttp would log a traceback of what it cannot inflate.
    app = web.Application(client_max_size=BODY_LIMIT + 1, handler_args={"auto_decompress": False})
    app[DESK] = desk
    app[RESPONSES] = Responses(desk)
    for tree in paths():
        app.router.register_resource(tree)
    app.on_shutdown.append(_stop_waits)
    app.cleanup_ctx.extend((sampling, health.sampling, working, bounding))
    return app


async def _stop_waits(app: web.Application) -> None:
    app[DESK].waits.stop()


async def working(app: web.Application) -> AsyncIterator[None]:
    """While the application runs: its jobs."""
    jobs = [kind(app[DESK]) for kind in JOBS]
    for job in jobs:
        job.start()
    yield
    for job in jobs:
        await job.stop()


async def bounding(app: web.Application) -> AsyncIterator[None]:
    """While the application runs: connections that hold too much are ended."""
    async for _ in app[RESPONSES].bounds.watching():
        yield


@functools.cache
def resources() -> tuple[Route, ...]:
    """Every operation of the API, in the order of the resources' list."""
    found: list[Route] = []
    for name in rest.RESOURCES:
        module = importlib.import_module(f"warmdesk.rest.{name}")
        declared = (getattr(each, "route", None) for each in vars(module).values())
        for each in declared:
            if isinstance(each, Route):
                found.extend(each.everywhere())
    return tuple(found)


@functools.cache
def paths() -> tuple[Router, Router]:
    """The routes of the API, and of the documents and pages, each with its wrapped handler."""
    api = ((each.method, each.path, each.handler) for each in resources())
    beside = [*documents().routes(), *avatars.addresses(), *pages.addresses()]
    return (
        Router(BASE, api, not_found=not_found, wrap=wrap_handler),
        Router("", beside, not_found=pages.not_found, wrap=wrap_handler),
    )


@functools.cache
def documents() -> Documents:
    """The API's description and the page that shows it."""
    return Documents(document(resources()), asyncapi(resources()))
