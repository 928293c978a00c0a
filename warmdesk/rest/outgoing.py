"""Outgoing webhooks, to a project's owners: made, changed, looked into, replayed."""

from __future__ import annotations

import secrets
from typing import Any

from aiohttp import web
from msgspec import UNSET, UnsetType
from yarl import URL

from warmdesk.auth.actor import Role
from warmdesk.changes.audit import audit
from warmdesk.db.queries import sql
from warmdesk.errors import BadRequest, Impossible, field_error
from warmdesk.http.answers import answer, answer_outcome, no_content
from warmdesk.http.request import BODY, CONTEXT, DESK, PROJECT, READS, path_id
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.realtime.change import Change, Held, Outcome
from warmdesk.realtime.channels import EventScope
from warmdesk.realtime.entities import entity
from warmdesk.realtime.events import CATALOGUE
from warmdesk.schemas.outgoing import (
    ALL,
    MAX_OUTGOING,
    MadeOutgoingWebhook,
    NewOutgoingWebhook,
    OutgoingDelivery,
    OutgoingWebhook,
    OutgoingWebhookChanges,
    Replay,
)
from warmdesk.signatures import SALT_BYTES, secret_of, shown_secret
from warmdesk.targets import Resolver

OUTGOING = ApiTag(
    "outgoing webhooks", "A project's events, sent to addresses of yours. Owners manage them."
)
EXAMPLE = {
    "name": "Deploy",
    "url": "https://example.org/hook",
    "events": ["board.card_moved", "board.card_created"],
}
TYPES = [ALL, *sorted(n for n, e in CATALOGUE.items() if e.stored and e.is_for(EventScope.PROJECT))]


@route(
    "GET",
    "/projects/{slug}/outgoing-webhooks",
    need=Role.OWNER,
    answer=list[OutgoingWebhook],
    tag=OUTGOING,
)
async def list_outgoing_webhooks(request: web.Request) -> web.Response:
    """List a project's outgoing webhooks, the oldest first, with how they are."""
    return answer(await sql.outgoing.all(request[READS], project_id=request[PROJECT].id))


@route(
    "POST",
    "/projects/{slug}/outgoing-webhooks",
    need=Role.OWNER,
    body=NewOutgoingWebhook,
    answer=MadeOutgoingWebhook,
    status=201,
    made_at="/projects/{slug}/outgoing-webhooks/{id}",
    tag=OUTGOING,
    example=EXAMPLE,
    keyed=True,
    secret=True,
)
async def create_outgoing_webhook(request: web.Request) -> web.Response:
    """Register an address for a project's events.

    Each is posted as a socket shows it, in the order of their `seq`, signed by the Standard
    Webhooks scheme. Answer 2xx within 10 seconds; else it is tried again for a day, and those after
    it wait. Only this answer has the `secret`.
    """
    body: NewOutgoingWebhook = request[BODY]
    project_id, desk = request[PROJECT].id, request.app[DESK]
    events = [ALL] if body.events is UNSET else _types(body.events)
    await _check(desk.resolving(), body.url)
    salt = secrets.token_bytes(SALT_BYTES)
    secret = shown_secret(secret_of(desk.settings.secret_key, salt))

    async def work(change: Change) -> Outcome:
        connection = change.connection
        await change.enter(counting=True)
        if await sql.outgoing.count(connection, project_id=project_id) >= MAX_OUTGOING:
            raise Impossible(
                f"a project has at most {MAX_OUTGOING} outgoing webhooks",
                code="too_many_outgoing",
            )
        id_ = await sql.outgoing.create(
            connection,
            project_id=project_id,
            name=body.name.strip(),
            url=body.url,
            events=events,
            salt=salt,
            enabled=body.enabled,
            actor=change.context.actor_id,
        )
        facts = {"project_id": project_id, "name": body.name.strip(), "type": "outgoing"}
        await audit(change, "webhook.created", id_, after=facts)
        shape = await sql.outgoing.one(connection, id=id_, project_id=project_id)
        shown = f'{shape[:-1]},"secret":"{secret}"}}'
        return Outcome(201, shown, entity=entity("outgoing_webhook", id_))

    return answer_outcome(await desk.changes.run(request[CONTEXT], work))


@route(
    "PUT",
    "/projects/{slug}/outgoing-webhooks/{outgoing_webhook_id}",
    need=Role.OWNER,
    body=OutgoingWebhookChanges,
    answer=OutgoingWebhook,
    tag=OUTGOING,
    example={"events": ["*"], "enabled": False},
)
async def change_outgoing_webhook(request: web.Request) -> web.Response:
    """Change an outgoing webhook, or turn it on and off.

    What is tried again later is tried at once, when the address changes or it is turned on.
    """
    body: OutgoingWebhookChanges = request[BODY]
    desk, ids = request.app[DESK], _ids(request)
    events = None if body.events is UNSET else _types(body.events)
    if body.url is not UNSET:
        await _check(desk.resolving(), body.url)

    async def work(change: Change) -> Held:
        await change.enter()
        changed = await sql.outgoing.change(
            change.connection,
            **ids,
            name=None if body.name is UNSET else body.name.strip(),
            url=_given(body.url),
            events=events,
            enabled=_given(body.enabled),
        )
        sent = {"name": body.name, "enabled": body.enabled, "events": body.events, "url": body.url}
        facts = {name: value for name, value in sent.items() if value is not UNSET}
        about = {"project_id": ids["project_id"], "type": "outgoing"}
        await audit(change, "webhook.changed", ids["id"], after={**about, **facts})
        return Held(changed["json"])

    return answer(await desk.changes.run(request[CONTEXT], work))


@route(
    "DELETE",
    "/projects/{slug}/outgoing-webhooks/{outgoing_webhook_id}",
    need=Role.OWNER,
    status=204,
    tag=OUTGOING,
)
async def delete_outgoing_webhook(request: web.Request) -> web.Response:
    """Delete an outgoing webhook, with its log; also in an archived project."""
    ids = _ids(request)

    async def work(change: Change) -> None:
        await change.enter(archived=True)
        await sql.outgoing.delete(change.connection, **ids)
        about = {"project_id": ids["project_id"], "type": "outgoing"}
        await audit(change, "webhook.deleted", ids["id"], before=about)
        await sql.outgoing.forget(change.connection, **ids)

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()


@route(
    "GET",
    "/projects/{slug}/outgoing-webhooks/{outgoing_webhook_id}/deliveries",
    need=Role.OWNER,
    answer=list[OutgoingDelivery],
    tag=OUTGOING,
)
async def list_outgoing_deliveries(request: web.Request) -> web.Response:
    """List the last 50 tries of an outgoing webhook, the newest first."""
    row = await sql.outgoing.deliveries(request[READS], **_ids(request))
    return answer(row)


@route(
    "POST",
    "/projects/{slug}/outgoing-webhooks/{outgoing_webhook_id}/replay",
    need=Role.OWNER,
    body=Replay,
    answer=OutgoingWebhook,
    status=202,
    tag=OUTGOING,
)
async def replay_outgoing_webhook(request: web.Request) -> web.Response:
    """Send events again, from the one after `since` on, also if it is parked.

    Each has the `webhook-id` that it had. What is no longer kept is passed over, and the log says
    so.
    """
    ids, since = _ids(request), request[BODY].since

    async def work(change: Change) -> Held:
        connection = change.connection
        await change.enter(archived=True)
        await sql.outgoing.replay(connection, **ids, since=since)
        if since > await sql.outgoing.head(connection, project_id=ids["project_id"]):
            raise field_error("since", "out_of_range", "nothing happened after it", Impossible)
        return Held(await sql.outgoing.one(connection, **ids))

    return answer(await request.app[DESK].changes.run(request[CONTEXT], work), status=202)


def _ids(request: web.Request) -> dict[str, int]:
    return {"id": path_id(request, "outgoing_webhook_id"), "project_id": request[PROJECT].id}


def _given(value: Any | UnsetType) -> Any:
    return None if value is UNSET else value


def _types(events: list[str]) -> list[str]:
    """Each type once; 400 for what is none."""
    if not set(events) <= set(TYPES):
        raise BadRequest(
            "events: types of a project's events, or *",
            fields={"events": "not_one_of"},
            allowed={"events": TYPES},
        )
    return [ALL] if ALL in events else sorted(set(events))


async def _check(resolver: Resolver, text: str) -> None:
    """Refuse an address that is none, or that this server would not connect to now. What a name
    leads to is not told.
    """
    try:
        url = URL(text)
        host, _ = url.raw_host, url.port
    except ValueError:
        host = None
    if not host or url.user is not None or url.password is not None:
        raise field_error("url", "bad_format", "must be an address like https://example.org/hook")
    try:
        await resolver.check(host)
    except (OSError, UnicodeError) as error:
        sentence = "must lead to a public address, or to one that webhook_allow_private names"
        raise field_error("url", "unreachable", sentence, Impossible) from error
