"""A second factor for one's account: one-time passwords of an authenticator."""

from __future__ import annotations

from aiohttp import web

from warmdesk import clock
from warmdesk.auth import passwords, totp
from warmdesk.auth.actor import ALL_ROLES, Actor, GlobalRole, require_session
from warmdesk.changes import accounts, factors
from warmdesk.changes.audit import audit
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import Conflict, Impossible
from warmdesk.http.answers import answer
from warmdesk.http.request import ACTOR, BODY, CONTEXT, DESK, client_origin, path_id
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.http.warnings import warn
from warmdesk.mail.letters import PRODUCT, one_line
from warmdesk.realtime.change import Change
from warmdesk.schemas.mfa import DisableMfa, EnableMfa, RecoveryCodes, Setup
from warmdesk.schemas.users import Account, Said

MFA = ApiTag("second factor", "One-time passwords of an authenticator, beside the password.")

TRIES, TRY_SECONDS = 10, 15 * 60


@route(
    "GET",
    "/auth/mfa/setup",
    need=ALL_ROLES,
    session=True,
    answer=Setup,
    secret=True,
    errors=(409,),
    tag=MFA,
)
async def set_up_mfa(request: web.Request) -> web.Response:
    """Show the secret that goes into an authenticator.

    It is good in this session, until you enable it with the first code.
    """
    desk, actor = request.app[DESK], request[ACTOR]
    state = await sql.mfa.state(desk.database, user_id=actor.user_id)
    if state["totp_enabled"]:
        raise _is_on()
    secret = _pending(desk, actor, state["totp_changes"])
    issuer = one_line(desk.system.values.company_name) or PRODUCT
    return answer(
        {"secret": secret, "uri": totp.uri(secret, account=state["username"], issuer=issuer)}
    )


@route(
    "POST",
    "/auth/mfa/enable",
    need=ALL_ROLES,
    session=True,
    body=EnableMfa,
    answer=RecoveryCodes,
    errors=(409, 422, 429),
    tag=MFA,
)
async def enable_mfa(request: web.Request) -> web.Response:
    """Turn the second factor on: from now on a sign-in asks for a code.

    The answer has ten recovery codes; keep them. API keys and sessions that are open go on.
    """
    desk, actor, code = request.app[DESK], request[ACTOR], request[BODY].code
    user_id, came = actor.user_id, client_origin(request)
    await desk.limits.take("mfa.enable", user_id, limit=TRIES, seconds=TRY_SECONDS)
    codes = totp.new_codes()

    async def work(change: Change) -> None:
        before = await sql.users.lock(change.connection, user_id=user_id)
        state = await sql.mfa.state(change.connection, user_id=user_id)
        if state["totp_enabled"]:
            raise _is_on()
        secret = _pending(desk, actor, state["totp_changes"])
        step = totp.step_of(secret, code, clock.now())
        if step is None:
            raise factors.wrong_code()
        me = await sql.mfa.enable(
            change.connection,
            user_id=user_id,
            sealed=desk.system.sealing.seal(secret, totp.sealed_for(user_id)),
            step=step,
            code_hashes=[totp.code_digest(each) for each in codes],
        )
        await accounts.note_login(change, "mfa_enabled", came, user_id=user_id)
        await warn(desk, change, before, "mfa_enabled")
        accounts.tell_user(change, user_id, me)

    await desk.changes.run(request[CONTEXT], work)
    return answer({"recovery_codes": codes})


@route(
    "POST",
    "/auth/mfa/disable",
    need=ALL_ROLES,
    session=True,
    body=DisableMfa,
    answer=Said,
    example={"password": "correct horse battery", "code": "123456"},
    errors=(409, 422, 429),
    tag=MFA,
)
async def disable_mfa(request: web.Request) -> web.Response:
    """Turn your second factor off, with your password and a code. Its recovery codes are void."""
    desk, actor, body = request.app[DESK], request[ACTOR], request[BODY]
    user_id, came = actor.user_id, client_origin(request)
    await desk.limits.take("mfa.disable", user_id, limit=TRIES, seconds=TRY_SECONDS)
    stored_hash = await sql.auth.password_of(desk.database, user_id=user_id)
    person = f"user:{user_id}"
    turn = passwords.Turn(person, person, known=True) if desk.limits.on else passwords.ANYBODY
    if not await passwords.check_password(body.password, stored_hash, turn):
        raise Impossible(
            "incorrect password", code="wrong_password", fields={"password": "incorrect"}
        )

    async def work(change: Change) -> None:
        before = await sql.users.lock(change.connection, user_id=user_id)
        if not (await sql.mfa.state(change.connection, user_id=user_id))["totp_enabled"]:
            raise Conflict("there is no second factor", code="mfa_not_enabled")
        if not await factors.is_proved(change, desk.system.sealing, user_id, body.code):
            raise factors.wrong_code()
        await factors.disable(change, user_id)
        await accounts.note_login(change, "mfa_disabled", came, user_id=user_id)
        await warn(desk, change, before, "mfa_disabled")

    await desk.changes.run(request[CONTEXT], work)
    await desk.limits.clear("mfa.disable", user_id)
    return answer({"message": "the second factor is off"})


@route(
    "POST",
    "/users/{user_id}/mfa/disable",
    need=GlobalRole.ADMIN,
    session=True,
    answer=Account,
    errors=(422,),
    tag=MFA,
)
async def disable_mfa_of_user(request: web.Request) -> web.Response:
    """Turn the second factor of somebody off who lost it; where there is none, nothing happens.

    Your own you turn off with your password and a code, by POST /auth/mfa/disable: 422
    `own_account`.
    """
    desk, actor, user_id = request.app[DESK], request[ACTOR], path_id(request, "user_id")
    if user_id == actor.user_id:
        raise Impossible("turn your own off with your password and a code", code="own_account")
    came = client_origin(request)

    async def work(change: Change) -> str:
        # As in update_user: one administrator after the other.
        await sql.auth.lock_admins(change.connection)
        before = await sql.users.lock(change.connection, user_id=user_id)
        await change.enter()
        after = await factors.disable(change, user_id)
        if after is None:
            return str(before["account"])
        await accounts.note_login(
            change, "admin_mfa_disabled", came, user_id=user_id, actor_id=actor.user_id
        )
        await audit(change, "user.mfa_disabled", user_id)
        await warn(desk, change, before, "mfa_disabled")
        return str(after["account"])

    return answer(await desk.changes.run(request[CONTEXT], work))


def _pending(desk: Desk, actor: Actor, changes: int) -> str:
    session_id = require_session(actor)
    return totp.pending_secret(desk.settings.secret_key, actor.user_id, session_id, changes)


def _is_on() -> Conflict:
    return Conflict("the second factor is on already", code="mfa_enabled")
