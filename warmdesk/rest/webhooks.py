"""Webhooks of a project, to its owners: made, changed, looked into."""

from __future__ import annotations

from aiohttp import web
from msgspec import UNSET

from warmdesk.auth.actor import Role
from warmdesk.changes import webhooks
from warmdesk.changes.audit import audit
from warmdesk.changes.webhooks import Delivery as Came
from warmdesk.db.queries import sql
from warmdesk.errors import Conflict, Impossible
from warmdesk.http.answers import answer, answer_outcome, encode, no_content
from warmdesk.http.deliveries import effect_of, sealed
from warmdesk.http.request import BODY, CONTEXT, DESK, PROJECT, READS, path_id
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import BASE, route
from warmdesk.realtime.change import Change, Held, Outcome
from warmdesk.realtime.entities import entity
from warmdesk.schemas.webhooks import (
    MAX_WEBHOOKS,
    Delivery,
    MadeWebhook,
    NewWebhook,
    Webhook,
    WebhookChanges,
    WebhookToken,
)

WEBHOOKS = ApiTag(
    "webhooks", "What other programs tell a project: CI, git hosts, alerts. Owners manage them."
)
PATHS = {
    "generic": "webhooks",
    "github": "github-webhook",
    "gitlab": "gitlab-webhook",
    "gitea": "gitea-webhook",
    "forgejo": "gitea-webhook",
}


def _url(request: web.Request, type_: str, token: str) -> str:
    """Where deliveries are posted: by the setting ``base_url``, or as the request came."""
    base = request.app[DESK].settings.base_url.rstrip("/")
    return f"{base or f'{request.scheme}://{request.host}'}{BASE}/{PATHS[type_]}/{token}"


@route("GET", "/projects/{slug}/webhooks", need=Role.OWNER, answer=list[Webhook], tag=WEBHOOKS)
async def list_webhooks(request: web.Request) -> web.Response:
    """List a project's webhooks, the oldest first, with their last delivery."""
    return answer(await sql.webhooks.all(request[READS], project_id=request[PROJECT].id))


@route(
    "POST",
    "/projects/{slug}/webhooks",
    need=Role.OWNER,
    body=NewWebhook,
    answer=MadeWebhook,
    status=201,
    made_at="/projects/{slug}/webhooks/{id}",
    tag=WEBHOOKS,
    example={"name": "CI", "type": "github", "secret": "a long random text"},
    keyed=True,
    secret=True,
)
async def create_webhook(request: web.Request) -> web.Response:
    """Make a webhook. Only this answer has its token and its address."""
    body: NewWebhook = request[BODY]
    project_id, token = request[PROJECT].id, webhooks.new_token()
    sealing = request.app[DESK].system.sealing
    url = _url(request, body.type, token)

    async def work(change: Change) -> Outcome:
        await change.enter(counting=True)
        if await sql.webhooks.count(change.connection, project_id=project_id) >= MAX_WEBHOOKS:
            raise Impossible(
                f"a project has at most {MAX_WEBHOOKS} webhooks", code="too_many_webhooks"
            )
        id_ = await sql.webhooks.create(
            change.connection,
            project_id=project_id,
            name=body.name.strip(),
            type=body.type,
            token_hash=webhooks.hash_of(token),
            token_hint=token[-webhooks.HINT :],
            secret=sealed(sealing, body.secret),
            actor=change.context.actor_id,
        )
        facts = {"project_id": project_id, "name": body.name.strip(), "type": body.type}
        await audit(change, "webhook.created", id_, after=facts)
        shape = await sql.webhooks.one(change.connection, id=id_, project_id=project_id)
        shown = f'{shape[:-1]},"token":"{token}","url":{encode(url).decode()}}}'
        return Outcome(201, shown, entity=entity("webhook", id_))

    return answer_outcome(await request.app[DESK].changes.run(request[CONTEXT], work))


@route(
    "PUT",
    "/projects/{slug}/webhooks/{webhook_id}",
    need=Role.OWNER,
    body=WebhookChanges,
    answer=Webhook,
    tag=WEBHOOKS,
    example={"name": "Builds", "enabled": True},
)
async def change_webhook(request: web.Request) -> web.Response:
    """Change a webhook's name or secret, or turn it on and off."""
    body: WebhookChanges = request[BODY]
    project_id, id_ = request[PROJECT].id, path_id(request, "webhook_id")
    sealing = request.app[DESK].system.sealing

    async def work(change: Change) -> str:
        await change.enter()
        await sql.webhooks.change(
            change.connection,
            id=id_,
            project_id=project_id,
            name=None if body.name is UNSET else body.name.strip(),
            new_secret=body.secret is not UNSET,
            secret=None if body.secret is UNSET else sealed(sealing, body.secret),
            enabled=None if body.enabled is UNSET else body.enabled,
        )
        sent = {"name": body.name, "enabled": body.enabled, "secret": body.secret}
        facts = {name: value for name, value in sent.items() if value is not UNSET}
        await audit(change, "webhook.changed", id_, after={"project_id": project_id, **facts})
        return Held(await sql.webhooks.one(change.connection, id=id_, project_id=project_id))

    return answer(await request.app[DESK].changes.run(request[CONTEXT], work))


@route(
    "DELETE",
    "/projects/{slug}/webhooks/{webhook_id}",
    need=Role.OWNER,
    status=204,
    tag=WEBHOOKS,
)
async def delete_webhook(request: web.Request) -> web.Response:
    """Delete a webhook, also in an archived project. Its token is dead at once."""
    ids = {"id": path_id(request, "webhook_id"), "project_id": request[PROJECT].id}

    async def work(change: Change) -> None:
        await change.enter(archived=True)
        await sql.webhooks.delete(change.connection, **ids)
        project = {"project_id": ids["project_id"]}
        await audit(change, "webhook.deleted", ids["id"], before=project)
        await sql.webhooks.forget_token(change.connection, **ids)

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()


@route(
    "POST",
    "/projects/{slug}/webhooks/{webhook_id}/regenerate",
    need=Role.OWNER,
    answer=WebhookToken,
    tag=WEBHOOKS,
    secret=True,
)
async def regenerate_webhook(request: web.Request) -> web.Response:
    """Give a webhook another token. The old one is dead at once."""
    ids = {"id": path_id(request, "webhook_id"), "project_id": request[PROJECT].id}
    token = webhooks.new_token()
    hint = token[-webhooks.HINT :]

    async def work(change: Change) -> str:
        await change.enter()
        webhook = await sql.webhooks.renew(
            change.connection, **ids, token_hash=webhooks.hash_of(token), token_hint=hint
        )
        await sql.webhooks.forget_token(change.connection, **ids)
        facts = {"project_id": ids["project_id"], "token": token}
        await audit(change, "webhook.changed", ids["id"], after=facts)
        return str(webhook["type"])

    type_ = await request.app[DESK].changes.run(request[CONTEXT], work)
    return answer(WebhookToken(token=token, token_hint=hint, url=_url(request, type_, token)))


@route(
    "GET",
    "/projects/{slug}/webhooks/{webhook_id}/deliveries",
    need=Role.OWNER,
    answer=list[Delivery],
    tag=WEBHOOKS,
)
async def list_deliveries(request: web.Request) -> web.Response:
    """List the last fifty deliveries to a webhook, the newest first."""
    return answer(
        await sql.webhooks.deliveries(
            request[READS], id=path_id(request, "webhook_id"), project_id=request[PROJECT].id
        )
    )


@route(
    "POST",
    "/projects/{slug}/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
    need=Role.OWNER,
    answer=Delivery,
    tag=WEBHOOKS,
    errors=(409,),
)
async def deliver_again(request: web.Request) -> web.Response:
    """Have a delivery that failed done again, with what came then.

    The answer says whether it failed again. 409 when it did not fail, or was too large or is too
    old to be kept.
    """
    project_id, webhook_id = request[PROJECT].id, path_id(request, "webhook_id")
    id_, sealing = path_id(request, "delivery_id"), request.app[DESK].system.sealing

    async def work(change: Change) -> str:
        await change.enter()
        row = await sql.webhooks.failed(
            change.connection, project_id=project_id, webhook_id=webhook_id, id=id_
        )
        if row["status"] < 400:
            raise Conflict("the delivery did not fail", code="delivery_not_failed")
        if row["body"] is None:
            raise Conflict("what was delivered is not kept", code="delivery_not_kept")
        came = Came(
            host=row["host"],
            event=row["event"],
            name=row["delivery_id"],
            body=row["body"],
            is_form=row["is_form"],
            proofs=row["proofs"],
        )
        does = await effect_of(came, sealing, row["secret"], None)
        await webhooks.take_again(change, webhook_id, came, does)
        return Held(await sql.webhooks.delivery(change.connection, id=id_))

    return answer(await request.app[DESK].changes.run(request[CONTEXT], work))
