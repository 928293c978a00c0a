"""Where other programs post: a token in the path says to which webhook."""

from __future__ import annotations

import re
import time

from aiohttp import web

from warmdesk.changes import webhooks
from warmdesk.changes.webhooks import PATIENCE, Webhook
from warmdesk.errors import Forbidden, NotFound, Unauthorized, WarmDeskError
from warmdesk.http.answers import answer_outcome
from warmdesk.http.body import read_body
from warmdesk.http.deliveries import OF_GIT, PLAIN, effect_of, headers_of, received
from warmdesk.http.request import DESK
from warmdesk.http.route import PUBLIC, Accepts, ApiTag, Parameter, Rate
from warmdesk.http.routing import route
from warmdesk.metrics import WEBHOOK_DELIVERIES
from warmdesk.metrics.kinds import OTHER
from warmdesk.realtime.change import Outcome
from warmdesk.schemas.webhooks import Taken

INCOMING = ApiTag("incoming", "Where other programs post: the token is the credential.")
DELIVERIES = Rate("webhook", lambda settings: settings.webhook_deliveries_per_minute)
"""How often a webhook is posted to."""
TOKEN = re.compile("[0-9a-f]{64}")
PARAMETERS = {
    "token": Parameter(
        {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "0" * 64, "The webhook's token."
    )
}


@route(
    "POST",
    "/webhooks/{token}",
    need=PUBLIC,
    accepts=PLAIN,
    answer=Taken,
    status=201,
    also=(200,),
    tag=INCOMING,
    parameters=PARAMETERS,
    headers=headers_of("generic"),
    example={"text": "Deployment to staging succeeded 🚀", "username": "CI"},
    errors=(401, 403, 429),
)
async def post_message(request: web.Request) -> web.Response:
    """Post a line to the project's chat, of any JSON object.

    Its `text` is Markdown; without one `message`, `content`, `body` or `msg`, and what Slack,
    Discord and Mattermost know beside them. Alerts of Alertmanager and Grafana are readable lines.
    Anything else is shown as it came. Nobody is notified by a name in it. An `Idempotency-Key` that
    came within seven days posts nothing.
    """
    return await _receive(request, ("generic",), PLAIN)


@route(
    "POST",
    "/github-webhook/{token}",
    need=PUBLIC,
    accepts=OF_GIT,
    answer=Taken,
    tag=INCOMING,
    parameters=PARAMETERS,
    headers=headers_of("github"),
    example={"zen": "Design for failure."},
    errors=(401, 403, 429),
)
async def receive_from_github(request: web.Request) -> web.Response:
    """Take an event of GitHub: pushes, pull requests and issues link the cards that they name."""
    return await _receive(request, ("github",), OF_GIT)


@route(
    "POST",
    "/gitlab-webhook/{token}",
    need=PUBLIC,
    accepts=OF_GIT,
    answer=Taken,
    tag=INCOMING,
    parameters=PARAMETERS,
    headers=headers_of("gitlab"),
    example={"object_kind": "pipeline"},
    errors=(401, 403, 429),
)
async def receive_from_gitlab(request: web.Request) -> web.Response:
    """Take an event of GitLab: pushes, merge requests and issues link the cards that they name."""
    return await _receive(request, ("gitlab",), OF_GIT)


@route(
    "POST",
    "/gitea-webhook/{token}",
    need=PUBLIC,
    accepts=OF_GIT,
    answer=Taken,
    tag=INCOMING,
    parameters=PARAMETERS,
    headers=headers_of("gitea", "forgejo"),
    example={"action": "created"},
    errors=(401, 403, 429),
)
async def receive_from_gitea(request: web.Request) -> web.Response:
    """Take an event of Gitea or Forgejo.

    Pushes, pull requests and issues link the cards that they name.
    """
    return await _receive(request, ("gitea", "forgejo"), OF_GIT)


async def _receive(request: web.Request, types: tuple[str, ...], accepts: Accepts) -> web.Response:
    type_ = types[0]
    try:
        webhook, left = await _webhook(request, types)
        type_ = webhook.type
        outcome = await _take(request, webhook, accepts, left)
    except WarmDeskError as error:
        WEBHOOK_DELIVERIES.inc(type=type_, result=_refused(error.status))
        raise
    result = "duplicate" if '"duplicate"' in outcome.text else "taken"
    WEBHOOK_DELIVERIES.inc(type=type_, result="skipped" if '"skipped"' in outcome.text else result)
    return answer_outcome(outcome)


def _refused(status: int) -> str:
    return {429: "limited", 503: "unavailable"}.get(status, "refused" if status < 500 else OTHER)


async def _webhook(request: web.Request, types: tuple[str, ...]) -> tuple[Webhook, float]:
    """The webhook of the path, and how many seconds PostgreSQL is waited for from now on."""
    desk, token = request.app[DESK], request.match_info["token"]
    if not TOKEN.fullmatch(token):
        raise Unauthorized("invalid token", code="invalid_token")
    began = time.monotonic()
    webhook = await webhooks.find(desk.changes, token, PATIENCE)
    if webhook.type not in types:
        raise Unauthorized("invalid token", code="invalid_token")
    await DELIVERIES.take(desk, webhook.id)
    return webhook, began + PATIENCE - time.monotonic()


async def _take(request: web.Request, webhook: Webhook, accepts: Accepts, left: float) -> Outcome:
    changes, token = request.app[DESK].changes, request.match_info["token"]
    body = await read_body(
        request, limit=accepts.most(request.app[DESK].settings), types=accepts.types
    )
    delivery = received(webhook.type, request.headers, request.content_type, body)
    delivery.ends_at = time.monotonic() + left
    sealing = request.app[DESK].system.sealing
    does = await effect_of(delivery, sealing, webhook.secret, token)
    if not isinstance(does, WarmDeskError):
        if webhook.is_archived:
            does = NotFound("the project is archived")
        elif not webhook.is_enabled:
            does = Forbidden("the webhook is disabled", code="webhook_disabled")
    return await webhooks.take(changes, webhook, token, delivery, does)
