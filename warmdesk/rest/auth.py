"""Signing in and out: registration, login, refresh, sessions, tickets for sockets.

A session is a family of refresh tokens. Each is good once and gives the next; one that comes back
later than two tabs can race was stolen, by its first or its second user, and ends the family.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import re
from datetime import timedelta
from typing import Any

import msgspec
from aiohttp import web

from warmdesk.auth import passwords
from warmdesk.auth.actor import Actor
from warmdesk.auth.addresses import Origin, neighbourhood, network
from warmdesk.auth.tokens import digest, is_secret, new_secret, not_good
from warmdesk.changes import accounts, factors, invitations
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import BadRequest, Forbidden, NotFound, Unauthorized, cut, field_error
from warmdesk.http.answers import answer, no_content
from warmdesk.http.middleware import own_origin
from warmdesk.http.request import BODY, CONTEXT, DESK, client_origin
from warmdesk.http.route import PUBLIC, ApiTag
from warmdesk.http.routing import BASE, route
from warmdesk.log import quoted
from warmdesk.metrics import AUTH_FAILURES
from warmdesk.realtime.change import Change
from warmdesk.schemas.auth import (
    Login,
    Logout,
    Refresh,
    Register,
    Registered,
    SignedIn,
    Tokens,
    VerifyMfa,
)
from warmdesk.schemas.settings import new_account
from warmdesk.schemas.users import LONGEST_USERNAME, is_timezone

AUTH = ApiTag("auth", "Signing in and out, sessions, API keys.")

LOGGED_NAME = 64
NO_NAME = re.compile(r"[^\w.@+-]")
LOGIN_SECONDS = 15 * 60
REGISTER_SECONDS = 60 * 60
INVITED_TRIES = 20
REFRESH_SECONDS = 60 * 60
REFRESHES_OF_SESSION = 120
REFRESHES_OF_USER = 600
"""Each leaves a row until it expires, because a used token that comes back tells of a theft: within
the seven days of a token an account has at most 101,000."""
CHALLENGE_TTL = timedelta(minutes=5)
CODES_OF_CHALLENGE = 5
CODES_OF_USER = 20
CODES_OF_DAY = 100
"""Tries of a second factor in a quarter of an hour, and in a day. Three codes of a million are good
at a time: who guesses 100 times a day finds one in nine years, and 1,920 times in half a year.
"""
DAY_SECONDS = 24 * 60 * 60
COOKIE = "warmdesk_refresh"
COOKIE_PATH = f"{BASE}/auth"
"""It is sent to nothing else, and nothing else reads it."""
NO_REGISTRATION = "registration is disabled"
BAD_REFRESH_TOKEN = "the refresh token is not valid"
GRACE = timedelta(seconds=30)
"""How long a used refresh token still gives a new one, so that two tabs may race."""

log = logging.getLogger(__name__)


@route(
    "POST",
    "/auth/register",
    need=PUBLIC,
    body=Register,
    answer=Registered,
    secret=True,
    status=201,
    tag=AUTH,
    example={
        "email": "alice@example.com",
        "username": "alice",
        "password": "correct horse battery",
        "first_name": "Alice",
    },
    errors=(403, 404, 409, 422, 429),
)
async def register_user(request: web.Request) -> web.Response:
    """Register and be signed in.

    The first user of an installation is its administrator. Who has an `invitation` may register
    also while registration is disabled: into its project, or with its role. With one that is good
    a try does not count among those of the address. Without a `locale` and a `timezone` the account
    has those of the settings.
    """
    desk, body = request.app[DESK], request[BODY]
    _check_cookie(request)
    came = client_origin(request)
    invitation = body.invitation
    if invitation is None:
        await _count_registration(desk, came)
        if not await sql.auth.registration_open(desk.database):
            raise Forbidden(NO_REGISTRATION, code="registration_disabled")
    else:
        try:
            await invitations.find(desk.database, invitation)
        except NotFound:
            await _count_registration(desk, came)
            raise
        # Whoever has one could try out which names are taken.
        await desk.limits.take(
            "register.invitation",
            digest(invitation),
            limit=INVITED_TRIES,
            seconds=REGISTER_SECONDS,
        )
    if body.timezone is not None and not is_timezone(body.timezone):
        raise field_error("timezone", "unknown", "not an IANA time zone")
    desk.system.check_password(body.password)
    password_hash = await passwords.hash_password(body.password, _turn(desk, came))
    chosen = {"locale": body.locale, "timezone": body.timezone}
    beginning = new_account(desk.system.values) | {k: v for k, v in chosen.items() if v is not None}

    async def work(change: Change) -> tuple[int, str, str, str]:
        if await sql.auth.nobody_yet(change.connection):
            await sql.auth.lock_admins(change.connection)
        found = None
        if invitation is not None:
            found = await invitations.find(change.connection, invitation)
        elif not await sql.auth.registration_open(change.connection):
            raise Forbidden(NO_REGISTRATION, code="registration_disabled")
        offered = found["role"] if found is not None and found["project_id"] is None else "user"
        with accounts.unique_names():
            row = await sql.auth.register(
                change.connection,
                email=body.email,
                username=body.username,
                password_hash=password_hash,
                first_name=body.first_name or "",
                last_name=body.last_name or "",
                display_name=body.display_name or "",
                **beginning,
                global_role=offered,
            )
        accounts.act_as(change, row["id"])
        if found is not None:
            await invitations.use(change, found, row["id"], is_new=True)
        session_id, refresh_token = await _open_session(desk, change, row["id"], came)
        me = await sql.users.me(change.connection, user_id=row["id"])
        return row["id"], me, session_id, refresh_token

    user_id, me, session_id, refresh_token = await desk.changes.run(request[CONTEXT], work)
    return _tokens(request, user_id, (me, session_id, refresh_token), status=201, id=user_id)


async def _count_registration(desk: Desk, came: Origin) -> None:
    await desk.limits.take_near(
        "register",
        came.ip,
        limit=desk.settings.registrations_per_address,
        seconds=REGISTER_SECONDS,
    )


@route(
    "POST",
    "/auth/login",
    need=PUBLIC,
    body=Login,
    answer=SignedIn,
    secret=True,
    tag=AUTH,
    example={"username": "alice", "password": "correct horse battery"},
    errors=(401, 403, 429),
)
async def log_in(request: web.Request) -> web.Response:
    """Sign in with a username or an e-mail address and a password.

    `username`, `login` and `email` mean the same: each may be either. Where the account has a
    second factor, the answer is `mfa_required` and an `mfa_token` for POST /auth/mfa/verify.
    """
    body = request[BODY]
    _check_cookie(request)
    name = body.username or body.login or body.email
    if not name:
        raise field_error("username", "required", "required")
    if not body.password:
        raise field_error("password", "required", "required")
    came = client_origin(request)
    try:
        return await _sign_in(request, name, body.password, came)
    except (Unauthorized, Forbidden) as error:
        # Not TooMany: what the limits refuse costs no line of the log either.
        log.info(
            "auth.refused client=%s name=%s status=%d", came.ip, logged_name(name), error.status
        )
        raise


async def _sign_in(request: web.Request, name: str, password: str, came: Origin) -> web.Response:
    desk = request.app[DESK]
    # Before anything is looked for: a flood that is over its limit costs no query.
    by_place = desk.settings.logins_per_address
    await desk.limits.take_near("login", came.ip, limit=by_place, seconds=LOGIN_SECONDS)
    account = await _account(desk, name, came)
    pair = await _count_login(desk, name, came, known=account["known"])

    opened = await _enter(request, account, password, came, pair)
    if opened is None:
        # The hash was another one when the session was to be opened: the same person signed in
        # elsewhere and had it renewed, or the password was changed. Only asking again can tell.
        account = await _account(desk, name, came)
        opened = await _enter(request, account, password, came, pair)
    if opened is None:
        raise not_good("password", "invalid credentials", "invalid_credentials")
    if isinstance(opened, str):
        return answer({"mfa_required": True, "mfa_token": opened})
    await desk.limits.clear("login", pair)
    return _tokens(request, account["id"], opened)


def logged_name(typed: str) -> str:
    """A name that was typed, as the log may have it. What is longer than a username and no address
    of mail may be a key or a token in the wrong field.
    """
    if is_secret(typed) or (len(typed) > LONGEST_USERNAME and "@" not in typed):
        return quoted("…")
    return quoted(cut(NO_NAME.sub("?", typed), LOGGED_NAME))


async def _account(desk: Desk, name: str, came: Origin) -> Any:
    """The account of a name; its id is None when there is none."""
    async with desk.database.connection() as connection:
        return await sql.auth.by_login(
            connection,
            login=name,
            ip=came.ip,
            near=neighbourhood(came.ip),
            recent=timedelta(days=desk.settings.known_address_days),
        )


async def _enter(
    request: web.Request, account: Any, password: str, came: Origin, counted: str
) -> tuple[str, str, str] | str | None:
    """Check the password and open a session: the account's JSON, the session, its refresh token. Or
    ask for the second factor: the token of that.

    None when the account's hash became another one meanwhile. `Unauthorized`, `Forbidden`.
    """
    desk = request.app[DESK]
    user_id, stored_hash = account["id"], account["password_hash"]
    turn = _turn(desk, came, known=account["known"])
    right = await passwords.check_password(password, stored_hash, turn)
    if not right or not account["is_active"]:
        async with desk.database.connection() as connection:
            await sql.auth.note_login(
                connection,
                user_id=user_id,
                actor_id=None,
                event="login_failed",
                ip=came.ip,
                user_agent=came.user_agent,
            )
        if right:
            AUTH_FAILURES.inc(reason="deactivated")
            raise Forbidden("account deactivated", code="account_deactivated")
        raise not_good("password", "invalid credentials", "invalid_credentials")

    outdated = passwords.is_outdated(stored_hash)
    renewed = await passwords.hash_password(password, turn) if outdated else None

    async def ask(change: Change) -> str | None:
        token = new_secret()
        if not await sql.mfa.challenge(
            change.connection,
            user_id=user_id,
            checked_hash=stored_hash,
            new_hash=renewed,
            token_hash=digest(token),
            ttl=CHALLENGE_TTL,
            counted=counted,
        ):
            return None
        await accounts.note_login(change, "mfa_challenge", came, user_id=user_id)
        return token

    if account["totp_enabled"]:
        return await desk.changes.run(request[CONTEXT], ask)

    async def work(change: Change) -> tuple[str, str, str] | None:
        # The password may have been changed while it was checked; then that session must not be.
        rows = await sql.auth.enter(
            change.connection,
            user_id=user_id,
            checked_hash=stored_hash,
            new_hash=renewed,
            proved=False,
            days=desk.system.values.password_change_period_days,
        )
        if not rows:
            return None
        accounts.act_as(change, user_id)
        return rows[0]["me"], *await _open_session(desk, change, user_id, came)

    return await desk.changes.run(request[CONTEXT], work)


async def _count_login(desk: Desk, name: str, came: Origin, *, known: bool) -> str:
    """Count an attempt by name and address, and by name; gives the first's key.

    Names are counted as they were typed, and never the account: a count that its username and its
    address share would tell that they belong together, and one that only accounts have, which names
    exist. The name's own count is spared to addresses from which somebody signed in to the account
    lately: so a guesser elsewhere cannot lock out its owner.
    """
    typed = hashlib.sha256(name.casefold().encode("utf-8", "surrogatepass")).hexdigest()
    pair = f"{typed}:{neighbourhood(came.ip)}"
    most, by_name = desk.settings.logins_per_name_and_address, desk.settings.logins_per_name
    await desk.limits.take("login", pair, limit=most, seconds=LOGIN_SECONDS)
    if not known:
        await desk.limits.take("login.name", typed, limit=by_name, seconds=LOGIN_SECONDS)
    return pair


@route(
    "POST",
    "/auth/mfa/verify",
    need=PUBLIC,
    body=VerifyMfa,
    answer=Tokens,
    secret=True,
    tag=AUTH,
    example={"mfa_token": "q3Yx…", "code": "123456"},
    errors=(403, 422, 429),
)
async def verify_mfa(request: web.Request) -> web.Response:
    """Sign in with the second factor, after the password.

    A code is taken once. After five wrong ones, or five minutes, 400 `mfa_session_expired`: sign in
    with the password again. A wrong code is 422 `invalid_code`.
    """
    desk, body = request.app[DESK], request[BODY]
    _check_cookie(request)
    came = client_origin(request)
    by_place = desk.settings.logins_per_address
    await desk.limits.take_near("mfa", came.ip, limit=by_place, seconds=LOGIN_SECONDS)
    token_hash = digest(body.mfa_token)
    rows: Any = ()
    if is_secret(body.mfa_token):
        rows = await sql.mfa.challenged(desk.database, token_hash=token_hash)
    if not rows:
        raise _mfa_expired()
    user_id = rows[0]["user_id"]
    # Who gets so far knows the password, so these counts tell nothing. With another password they
    # begin anew: who guesses does not know that one, and keeps its owner out no longer.
    guessed = f"{user_id}:{rows[0]['password_digest']}"
    await desk.limits.take("mfa.user", guessed, limit=CODES_OF_USER, seconds=LOGIN_SECONDS)
    await desk.limits.take("mfa.day", guessed, limit=CODES_OF_DAY, seconds=DAY_SECONDS)

    async def work(change: Change) -> tuple[str, tuple[str, str, str] | None] | None:
        connection = change.connection
        await sql.keys.hold(connection, user_id=user_id)
        tried = await sql.mfa.try_out(
            connection, token_hash=token_hash, user_id=user_id, most=CODES_OF_CHALLENGE
        )
        if not tried:
            return None
        if not await factors.is_proved(change, desk.system.sealing, user_id, body.code):
            await accounts.note_login(change, "mfa_failed", came, user_id=user_id)
            return tried[0]["counted"], None
        entered = await sql.auth.enter(
            connection,
            user_id=user_id,
            checked_hash=tried[0]["password_hash"],
            new_hash=None,
            proved=True,
            days=desk.system.values.password_change_period_days,
        )
        await sql.mfa.answered(connection, token_hash=token_hash)
        accounts.act_as(change, user_id)
        await accounts.note_login(change, "mfa_ok", came, user_id=user_id)
        opened = await _open_session(desk, change, user_id, came)
        return tried[0]["counted"], (entered[0]["me"], *opened)

    tried = await desk.changes.run(request[CONTEXT], work)
    if tried is None:
        raise _mfa_expired()
    counted, opened = tried
    if opened is None:
        AUTH_FAILURES.inc(reason="mfa")
        log.info("auth.refused client=%s user=%d status=%d", came.ip, user_id, 422)
        raise factors.wrong_code()
    await desk.limits.clear("login", counted)
    await desk.limits.clear("mfa.user", guessed)
    return _tokens(request, user_id, opened)


def _mfa_expired() -> BadRequest:
    AUTH_FAILURES.inc(reason="mfa")
    return BadRequest("sign in with the password again", code="mfa_session_expired")


def _turn(desk: Desk, came: Origin, *, known: bool = False) -> passwords.Turn:
    if not desk.limits.on:
        return passwords.ANYBODY
    return passwords.Turn(neighbourhood(came.ip), network(came.ip), known)


async def _open_session(desk: Desk, change: Change, user_id: int, came: Origin) -> tuple[str, str]:
    ttl = timedelta(seconds=desk.settings.refresh_token_ttl)
    return await accounts.open_session(change, user_id, came, ttl=ttl)


def _tokens(
    request: web.Request,
    user_id: int,
    opened: tuple[str, str, str],
    *,
    status: int = 200,
    **more: Any,
) -> web.Response:
    """The answer with a session's tokens, for whom asked for it so, the refresh token in a cookie.
    `opened`: the account's JSON, the session, its refresh token.
    """
    desk, in_cookie = request.app[DESK], request[BODY].cookie
    me, session_id, refresh_token = opened
    account = msgspec.json.decode(me)
    content: dict[str, Any] = {
        **more,
        "access_token": desk.identity.tokens.issue(user_id, session_id),
        "refresh_token": refresh_token,
        "token_type": "Bearer",
        "expires_in": desk.settings.access_token_ttl,
        "refresh_expires_in": desk.settings.refresh_token_ttl,
        "must_change_password": account["must_change_password"],
        "mfa_setup_required": desk.system.values.mfa_required and not account["totp_enabled"],
        "user": msgspec.Raw(me.encode()),
    }
    if in_cookie:
        del content["refresh_token"]
    response = answer(content, status=status)
    if in_cookie:
        response.set_cookie(
            COOKIE, refresh_token, max_age=desk.settings.refresh_token_ttl, **_cookie(desk)
        )
    return response


def _check_cookie(request: web.Request) -> None:
    """403 for a page that is not our own and wants the session in a cookie: it would sign people in
    as somebody else. A program, which says nothing of a page, may have one.
    """
    says = "Origin" in request.headers or "Sec-Fetch-Site" in request.headers
    if request[BODY].cookie and says and not own_origin(request, request.app[DESK].settings):
        raise Forbidden("another site may not begin a session", code="origin_not_allowed")


def _cookie(desk: Desk) -> dict[str, Any]:
    secure = bool(desk.settings.tls_cert) or desk.settings.base_url.startswith("https://")
    return {"path": COOKIE_PATH, "httponly": True, "samesite": "Strict", "secure": secure}


def _no_cookie(desk: Desk) -> str:
    """The header that makes a browser forget the cookie."""
    response = web.Response()
    response.del_cookie(COOKIE, **_cookie(desk))
    return response.cookies[COOKIE].OutputString()


def _of_cookie(request: web.Request) -> str | None:
    """The refresh token of a browser. 403 for a page that is not our own."""
    token = request.cookies.get(COOKIE)
    if token is not None and not own_origin(request, request.app[DESK].settings):
        raise Forbidden("another site may not use the session", code="origin_not_allowed")
    return token


@route(
    "POST",
    "/auth/refresh",
    need=PUBLIC,
    body=Refresh,
    answer=Tokens,
    secret=True,
    tag=AUTH,
    example={"refresh_token": "Zx3u…"},
    errors=(401, 403, 429),
)
async def refresh_tokens(request: web.Request) -> web.Response:
    """Exchange a refresh token for a new access token and the next refresh token; with who you are.

    A refresh token is good once. Used again within 30 seconds it gives another one of the same
    session, so that two tabs may race; later, it ends the session.

    Without one in the body that of the browser's cookie is read, and the next one becomes the
    cookie. `cookie` says that there may be none: then the answer is 204.
    """
    desk, body = request.app[DESK], request[BODY]
    if body.refresh_token is not None:
        _check_cookie(request)
        return await _refresh(request, body.refresh_token)
    token = _of_cookie(request)
    if token is None:
        if body.cookie:
            return no_content()
        raise field_error("refresh_token", "required", "required")
    try:
        body.cookie = True
        return await _refresh(request, token)
    except Unauthorized as error:
        # The browser need not ask with it again.
        error.headers = {**(error.headers or {}), "Set-Cookie": _no_cookie(desk)}
        raise


async def _refresh(request: web.Request, token: str) -> web.Response:
    desk = request.app[DESK]
    living = await _living(desk, token)
    if living is None:
        raise not_good("refresh_token", BAD_REFRESH_TOKEN)
    for name, key, limit in (
        ("refresh", living[1], REFRESHES_OF_SESSION),
        ("refresh.user", living[0], REFRESHES_OF_USER),
    ):
        await desk.limits.take(name, key, limit=limit, seconds=REFRESH_SECONDS)
    used, following = digest(token), new_secret()
    came = client_origin(request)
    minutes, idle = desk.system.values.session_timeout_minutes, None
    if minutes:
        # What an access token did is not seen here.
        idle = timedelta(minutes=minutes, seconds=desk.settings.access_token_ttl)

    async def work(change: Change) -> tuple[int, str, str] | None:
        rows = await sql.auth.session_of_token(change.connection, token_hash=used)
        if not rows:
            return None
        session_id, user_id = rows[0]["id"], rows[0]["user_id"]
        state = await sql.auth.refresh_state(
            change.connection, token_hash=used, grace=GRACE, idle=idle
        )
        if state == "reused":
            await accounts.end_sessions(change, user_id, only=session_id)
            await accounts.note_login(change, "refresh_reused", came, user_id=user_id)
        if state != "fresh":
            return None
        await sql.auth.rotate(
            change.connection,
            token_hash=used,
            next_hash=digest(following),
            session_id=session_id,
            ttl=timedelta(seconds=desk.settings.refresh_token_ttl),
            ip=came.ip,
            user_agent=came.user_agent,
        )
        return user_id, session_id, await sql.users.me(change.connection, user_id=user_id)

    renewed = await desk.changes.run(request[CONTEXT], work)
    if renewed is None:
        raise not_good("refresh_token", BAD_REFRESH_TOKEN)
    user_id, session_id, me = renewed
    return _tokens(request, user_id, (me, session_id, following))


@route(
    "POST",
    "/auth/logout",
    need=PUBLIC,
    body=Logout,
    status=204,
    tag=AUTH,
    example={"refresh_token": "Zx3u…"},
    errors=(403,),
)
async def log_out(request: web.Request) -> web.Response:
    """End the session of a refresh token.

    Without one, the session of the access token, and that of the browser's cookie, which is
    forgotten; with `all`, every session of its user. Says nothing of whether there was one: always
    204.
    """
    desk, body = request.app[DESK], request[BODY]
    came = client_origin(request)
    done, token = no_content(), body.refresh_token
    bearer = await _bearer(request)
    held = (bearer.user_id, bearer.session_id) if bearer else None
    ends = [held] if token is None or body.all else []
    if token is None:
        token = _of_cookie(request)
        if token is not None:
            done.headers["Set-Cookie"] = _no_cookie(desk)
    elif held is not None and body.all:
        token = None
    if token is not None:
        ends.append(await _living(desk, token))
    # Anybody may ask for this, as often as they like: for nothing, nothing is changed. The cookie
    # may be of another session, which nobody could end any more when it is forgotten.
    sessions = list(dict.fromkeys(each for each in ends if each is not None))
    for user_id, session_id in sessions:
        only = None if body.all and user_id == sessions[0][0] else session_id
        await desk.changes.run(
            request[CONTEXT], functools.partial(_end, user_id=user_id, only=only, came=came)
        )
    return done


async def _end(change: Change, *, user_id: int, only: str | None, came: Origin) -> None:
    accounts.act_as(change, user_id)
    if await accounts.end_sessions(change, user_id, only=only):
        await accounts.note_login(change, "logout", came, user_id=user_id)


async def _living(desk: Desk, refresh_token: str) -> tuple[int, str] | None:
    """The user and the session of a refresh token whose session has not ended. One look and no
    transaction; a text that cannot be one of ours is not even looked up.
    """
    if not is_secret(refresh_token):
        return None
    async with desk.database.connection() as connection:
        rows = await sql.auth.known_token(connection, token_hash=digest(refresh_token))
    return (rows[0]["user_id"], rows[0]["id"]) if rows else None


async def _bearer(request: web.Request) -> Actor | None:
    """The actor of the request's access token; None, if it is not good."""
    if "Authorization" not in request.headers:
        return None
    try:
        actor = await request.app[DESK].identity.who(request)
    except Unauthorized:
        return None
    return actor if actor.session_id is not None else None
