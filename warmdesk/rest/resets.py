"""Forgotten passwords: asked for by address, set anew by the token that is mailed there.

Nothing tells whether an address has an account: the request writes the same row for each, and only
who sends the mail looks for an account (`warmdesk.jobs.mail`). The token is made then too, so that
it stands in the mail and nowhere else; the database keeps its digest.
"""

from __future__ import annotations

from aiohttp import web

from warmdesk.auth import passwords
from warmdesk.auth.addresses import Origin, neighbourhood, network
from warmdesk.auth.tokens import digest, is_secret
from warmdesk.changes import accounts
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import BadRequest, field_error
from warmdesk.http.answers import answer
from warmdesk.http.request import BODY, CONTEXT, DESK, client_origin
from warmdesk.http.route import PUBLIC, ApiTag
from warmdesk.http.routing import route
from warmdesk.http.warnings import warn
from warmdesk.mail.letters import is_on
from warmdesk.realtime.change import Change
from warmdesk.schemas.auth import ForgotPassword, ResetPassword
from warmdesk.schemas.users import Said

PASSWORDS = ApiTag("passwords", "Forgotten passwords.")

SECONDS = 30 * 60


@route(
    "POST",
    "/auth/forgot-password",
    need=PUBLIC,
    body=ForgotPassword,
    answer=Said,
    tag=PASSWORDS,
    example={"email": "alice@example.com"},
    errors=(429,),
)
async def forgot_password(request: web.Request) -> web.Response:
    """Have a link mailed that sets a new password.

    The answer is the same whether or not somebody has the address, and where nothing is mailed. An
    account gets one such mail a minute, however often it is asked for.
    """
    desk, address = request.app[DESK], request[BODY].email
    await _count(desk, "forgot", client_origin(request))
    if is_on(desk.settings, desk.system.values):
        await sql.mail.queue(desk.database, kind="password", address=address)
    return answer(
        {"message": "if somebody has this address, a link to set a new password is mailed there"}
    )


@route(
    "POST",
    "/auth/reset-password",
    need=PUBLIC,
    body=ResetPassword,
    answer=Said,
    tag=PASSWORDS,
    example={"token": "q3Yx…", "password": "correct horse battery"},
    errors=(429,),
)
async def reset_password(request: web.Request) -> web.Response:
    """Set a new password by the token of a mail. All sessions of the account end.

    A token is good once, for an hour. Another password makes all tokens of the account void, by
    whatever way it was set; so does another address.
    `new_password` is another name of `password`.
    """
    desk, body = request.app[DESK], request[BODY]
    came = client_origin(request)
    password = body.password or body.new_password
    if body.new_password not in (None, password):
        raise field_error("new_password", "conflicting", "is another one than password")
    if password is None:
        raise field_error("password", "required", "required")
    desk.system.check_password(password, "password" if body.password else "new_password")
    await _count(desk, "reset", came)
    if not is_secret(body.token):
        raise _not_good()
    token_hash = digest(body.token)
    rows = await sql.mail.reset_by(desk.database, token_hash=token_hash)
    if not rows:
        raise _not_good()
    user_id = rows[0]["user_id"]
    new_hash = await passwords.hash_password(password, _turn(desk, came))

    async def work(change: Change) -> None:
        accounts.act_as(change, user_id)
        before = await sql.users.lock(change.connection, user_id=user_id)
        if not await sql.mail.use_reset(change.connection, user_id=user_id, token_hash=token_hash):
            raise _not_good()
        fields = {"must_change_password": False}
        await accounts.rewrite(change, before, fields, new_hash=new_hash)
        await accounts.end_sessions(change, user_id)
        await accounts.note_login(change, "password_reset", came, user_id=user_id)
        await warn(desk, change, before, "password_changed")

    await desk.changes.run(request[CONTEXT], work)
    return answer({"message": "the password was changed"})


async def _count(desk: Desk, name: str, came: Origin) -> None:
    await desk.limits.take_near(
        name, came.ip, limit=desk.settings.resets_per_address, seconds=SECONDS
    )


def _turn(desk: Desk, came: Origin) -> passwords.Turn:
    if not desk.limits.on:
        return passwords.ANYBODY
    return passwords.Turn(neighbourhood(came.ip), network(came.ip))


def _not_good() -> BadRequest:
    return BadRequest("invalid or expired token", code="invalid_token")
