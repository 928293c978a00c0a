"""System settings: what administrators decide for the whole installation while it runs."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import Any

from aiohttp import web
from msgspec import UNSET

from warmdesk.auth.actor import Actor, GlobalRole
from warmdesk.auth.tokens import new_secret
from warmdesk.changes.settings import changed
from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.db.queries import sql
from warmdesk.errors import Forbidden, WarmDeskError, field_error, fields_error
from warmdesk.http.answers import answer
from warmdesk.http.request import ACTOR, BODY, CONTEXT, DESK
from warmdesk.http.route import PUBLIC, ApiTag, Rate
from warmdesk.http.routing import route
from warmdesk.mail.letters import Place, is_on, message, require_mail, trial_letter
from warmdesk.mail.postman import REASONS, NotTaken, Postman
from warmdesk.realtime.change import Change
from warmdesk.schemas.settings import (
    FIELDS,
    PublicSettings,
    ShownSettings,
    SystemSettings,
    TestMail,
    UpdateSettings,
    faults,
    public,
    shown,
)
from warmdesk.schemas.users import Said

SETTINGS = ApiTag("settings", "What administrators decide for the whole installation.")

TRIALS = Rate("test_mail", 20, seconds=600.0)
TRIAL_SECONDS = 15.0
"""How long somebody waits for the test mail."""

log = logging.getLogger(__name__)


@route(
    "GET",
    "/admin/system-settings",
    need=GlobalRole.ADMIN,
    answer=ShownSettings,
    tag=SETTINGS,
)
async def show_settings(request: web.Request) -> web.Response:
    """Show all settings. Of a secret only whether it is set."""
    return answer(shown(request.app[DESK].system.values))


@route(
    "PUT",
    "/admin/system-settings",
    need=GlobalRole.ADMIN,
    body=UpdateSettings,
    answer=ShownSettings,
    tag=SETTINGS,
    example={"registration_enabled": False, "company_name": "Wonderland Ltd"},
)
async def update_settings(request: web.Request) -> web.Response:
    """Change settings: the keys that are sent, and no others, in every process at once.

    Null is the default again. When one value is wrong, or a key unknown, nothing changes. An API
    key cannot change the mail server: who reads the mail can set passwords; nor from where API keys
    may be used, nor to which private addresses webhooks go.
    """
    desk, actor = request.app[DESK], request[ACTOR]
    fields = _sent(request[BODY])
    _refuse_keys(actor, fields)
    system = desk.system

    async def work(change: Change) -> tuple[SystemSettings, list[str]]:
        await change.enter()
        return await changed(change, system, fields)

    values, keys = await desk.changes.run(request[CONTEXT], work)
    if keys:
        log.info("system.changed keys=%s user=%d", ",".join(keys), actor.user_id)
        with suppress(*DATABASE_AWAY):  # the control feed tells it all the same
            await system.load()
    return answer(shown(values))


@route(
    "POST",
    "/admin/system-settings/test-email",
    need=GlobalRole.ADMIN,
    body=TestMail,
    answer=Said,
    tag=SETTINGS,
    example={"to": "alice@example.com"},
    errors=(422, 502),
    rate=TRIALS,
)
async def send_test_mail(request: web.Request) -> web.Response:
    """Send a mail now, to see whether the settings are right; 502 says what is not."""
    desk, actor = request.app[DESK], request[ACTOR]
    values = desk.system.values
    require_mail(desk.settings, values)
    account = json.loads(await sql.users.me(desk.database, user_id=actor.user_id))
    place = Place.of(desk.settings, values)
    letter = trial_letter(place, request[BODY].to, account["locale"])
    try:
        made = message(place, values, letter, f"test-{new_secret()}")
        async with Postman(values, own_host=place.host) as postman, asyncio.timeout(TRIAL_SECONDS):
            await postman.send(made)
    except ValueError:
        raise field_error("to", "bad_format", "is no e-mail address") from None
    except (NotTaken, TimeoutError) as error:
        reason = error.reason if isinstance(error, NotTaken) else "slow"
        log.warning("mail.failed id=%d kind=test reason=%s", 0, reason)
        raise WarmDeskError(
            REASONS[reason], status=502, code="mail_failed", reason=reason
        ) from None
    return answer({"message": "the mail server took the mail"})


@route("GET", "/system/settings", need=PUBLIC, answer=PublicSettings, tag=SETTINGS)
async def show_public_settings(request: web.Request) -> web.Response:
    """Show what clients need to know before somebody signs in."""
    desk = request.app[DESK]
    first = await desk.system.is_nobody_here()
    values = desk.system.values
    return answer(public(values, sends_mail=is_on(desk.settings, values), first_account=first))


def _sent(body: Any) -> dict[str, Any]:
    """The keys that were sent, with their values; 400 when one cannot be."""
    fields = {name: value for name in FIELDS if (value := getattr(body, name)) is not UNSET}
    if found := faults(fields):
        raise fields_error(found)
    return fields


def _refuse_keys(actor: Actor, fields: dict[str, Any]) -> None:
    if actor.session_id is None and any(name.startswith("smtp_") for name in fields):
        raise Forbidden(
            "an API key cannot change the mail server; sign in", code="sign_in_required"
        )
    if actor.session_id is None and "webhook_allow_private" in fields:
        raise Forbidden(
            "an API key cannot change which private addresses are posted to; sign in",
            code="sign_in_required",
        )
    if actor.session_id is None and "api_allowed_ips" in fields:
        raise Forbidden(
            "an API key cannot change from where API keys may be used; sign in",
            code="sign_in_required",
        )
