"""Who is asking: every kind of credential, what is remembered, and when it is forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from tests import pace
from warmdesk import clock
from warmdesk.auth.actor import Actor, GlobalRole, Grant, require_session
from warmdesk.auth.identity import Identity, Recent, Session
from warmdesk.auth.tokens import Claims, digest, new_secret
from warmdesk.config import Settings
from warmdesk.db.pool import BUDGET, Budget, Database
from warmdesk.errors import Forbidden, Unauthorized, Unavailable
from warmdesk.realtime.bus import connect_redis

ALICE = 3
KEY = "wd_" + "a" * 48


@pytest.fixture
async def identity(settings: Settings) -> AsyncIterator[Identity]:
    database = await Database.open(settings.database_url, size=2)
    redis = connect_redis(settings.redis_url)
    yield Identity(settings, database, redis)
    await redis.aclose()
    await database.close()


@pytest.fixture
async def session(connection: Any) -> str:
    """A session of alice."""
    found: str = await connection.fetchval(
        "insert into sessions (user_id, expires_at) values ($1, now() + interval '7 days')"
        " returning id::text",
        ALICE,
    )
    return found


@pytest.fixture
async def key(connection: Any) -> int:
    """A key of alice."""
    found: int = await connection.fetchval(
        "insert into api_keys (user_id, name, key_hash, key_prefix) values ($1, 'ci', $2, $3)"
        " returning id",
        ALICE,
        digest(KEY),
        KEY[:12],
    )
    return found


def asked(path: str = "/", **headers: str) -> Any:
    return make_mocked_request(
        "GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


async def test_a_token_is_its_user_with_the_role_of_today(
    identity: Identity, session: str, connection: Any
) -> None:
    token = identity.tokens.issue(ALICE, session)

    actor = await identity.by_token(token)
    assert (actor.user_id, actor.username, actor.session_id) == (ALICE, "alice", session)
    assert actor.global_role is GlobalRole.USER
    assert actor.expires_at is not None

    await connection.execute("update users set global_role = 'viewer' where id = $1", ALICE)
    identity.forget()
    assert (await identity.by_token(token)).global_role is GlobalRole.VIEWER


async def test_a_warm_token_costs_no_query_and_no_signature(
    identity: Identity, session: str, queries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = identity.tokens.issue(ALICE, session)
    read: list[str] = []
    whole = identity.tokens.read

    def counted(text: str) -> Claims:
        read.append(text)
        return whole(text)

    monkeypatch.setattr(identity.tokens, "read", counted)

    for _ in range(10):
        await identity.who(asked(Authorization=f"Bearer {token}"))
    assert (queries, len(read)) == (["auth.session_holders"], 1)

    identity.forget()
    await identity.who(asked(Authorization=f"Bearer {token}"))
    assert (len(queries), len(read)) == (2, 1)


@pytest.mark.parametrize(
    "undoing",
    [
        "update sessions set revoked_at = now()",
        "update sessions set expires_at = now()",
        "delete from sessions",
        "update users set is_active = false",
        "update users set deleted_at = now()",
    ],
)
async def test_a_token_dies_with_its_session_and_its_user(
    identity: Identity, session: str, connection: Any, undoing: str
) -> None:
    token = identity.tokens.issue(ALICE, session)
    await identity.by_token(token)

    await connection.execute(undoing)
    identity.forget()

    with pytest.raises(Unauthorized):
        await identity.by_token(token)


async def test_a_session_of_somebody_else_is_no_session(identity: Identity, session: str) -> None:
    with pytest.raises(Unauthorized):
        await identity.by_token(identity.tokens.issue(ALICE + 1, session))


async def test_a_remembered_token_dies_at_its_end(
    identity: Identity, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = identity.tokens.issue(ALICE, session)
    await identity.by_token(token)
    later = clock.now() + 901
    monkeypatch.setattr(clock, "now", lambda: later)

    for forgets in (False, True):
        if forgets:
            identity.forget()
        with pytest.raises(Unauthorized) as caught:
            await identity.by_token(token)
        assert caught.value.extra["code"] == "token_expired"


async def test_a_look_up_that_began_before_the_news_is_not_remembered(
    identity: Identity, session: str, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = identity.tokens.issue(ALICE, session)
    began, go_on = asyncio.Event(), asyncio.Event()
    whole = identity._by_session

    async def slow(*args: Any) -> Actor | None:
        found = await whole(*args)
        began.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(identity, "_by_session", slow)
    asking = asyncio.create_task(identity.by_token(token))
    await began.wait()
    await connection.execute("update sessions set revoked_at = now()")
    identity.forget()
    go_on.set()
    await asking

    with pytest.raises(Unauthorized):
        await identity.by_token(token)


async def test_news_ends_what_a_look_up_under_way_found_before(
    identity: Identity, session: str, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks after the news does not get the answer that was on its way before them."""
    token = identity.tokens.issue(ALICE, session)
    began, go_on = asyncio.Event(), asyncio.Event()
    whole = identity._holders

    async def slow(sessions: list[Session]) -> Any:
        found = await whole(sessions)
        began.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(identity, "_holders", slow)
    before = asyncio.create_task(identity.by_token(token))
    await began.wait()
    await connection.execute("update sessions set revoked_at = now()")
    identity.forget()
    after = asyncio.create_task(identity.by_token(token))
    await asyncio.sleep(0.01)
    go_on.set()

    assert (await before).user_id == ALICE
    for asking in (after, identity.by_token(token)):
        with pytest.raises(Unauthorized):
            await asking


async def test_a_shared_look_up_is_bound_by_no_request_and_each_request_by_its_own_time(
    identity: Identity, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = identity.tokens.issue(ALICE, session)
    whole = identity._holders

    async def slow(sessions: list[Session]) -> Any:
        async with identity.database.connection() as connection:
            await connection.execute("select pg_sleep(0.5)")
        return await whole(sessions)

    monkeypatch.setattr(identity, "_holders", slow)

    async def request(seconds: float) -> Actor:
        BUDGET.set(budget := Budget(left=seconds))
        try:
            return await identity.by_token(token)
        finally:
            budgets[seconds] = budget

    budgets: dict[float, Budget] = {}
    began = time.monotonic()
    hurried, patient = asyncio.create_task(request(0.2)), asyncio.create_task(request(2.0))
    with pytest.raises(TimeoutError):
        await hurried
    assert time.monotonic() - began < pace.here(0.4)
    assert (await patient).user_id == ALICE
    assert budgets[0.2].left < 0.05
    assert 1.0 < budgets[2.0].left < 1.6


async def test_a_key_that_many_use_is_looked_up_in_time_of_its_own_too(
    identity: Identity, key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = identity._by_key

    async def slow(**facts: Any) -> Any:
        async with identity.database.connection() as connection:
            await connection.execute("select pg_sleep(0.5)")
        return await whole(**facts)

    monkeypatch.setattr(identity, "_by_key", slow)

    async def request(seconds: float) -> Actor:
        BUDGET.set(Budget(left=seconds))
        return await identity.by_key(KEY)

    began = time.monotonic()
    for order in ((0.2, 2.0), (2.0, 0.2)):
        identity.forget()
        asking = {seconds: asyncio.create_task(request(seconds)) for seconds in order}
        with pytest.raises(TimeoutError):
            await asking[0.2]
        assert (await asking[2.0]).user_id == ALICE
    assert time.monotonic() - began < pace.here(3)


async def test_a_key_works_in_every_place(identity: Identity, key: int) -> None:
    for request in (
        asked(Authorization=f"Bearer {KEY}"),
        asked(Authorization=f"bearer  {KEY}"),
        asked(Authorization=f"ApiKey {KEY}"),
        asked(X_API_Key=KEY),
        asked(f"/?api_key={KEY}"),
        asked(Authorization="Basic c29tZTpwcm94eQ==", X_API_Key=KEY),
    ):
        actor = await identity.who(request)
        assert (actor.user_id, actor.key_id, actor.session_id) == (ALICE, key, None)


async def test_the_first_credential_decides(identity: Identity, session: str, key: int) -> None:
    token = identity.tokens.issue(ALICE, session)
    good = await identity.who(asked(Authorization=f"Bearer {token}", X_API_Key="wd_bad"))
    assert good.session_id == session

    for request in (
        asked(Authorization="Bearer bad", X_API_Key=KEY),
        asked(Authorization="Bearer", X_API_Key=KEY),
        asked(Authorization="Bearer wd_bad", X_API_Key=KEY),
        asked(Authorization="ApiKey bad", X_API_Key=KEY),
        asked(f"/?api_key={KEY}", X_API_Key="bad"),
        asked(f"/?api_key={KEY}", X_API_Key=""),
        asked(f"/?api_key={token}"),
        asked(X_API_Key=token),
        asked(),
    ):
        with pytest.raises(Unauthorized):
            await identity.who(request)


@pytest.mark.parametrize(
    "undoing",
    [
        "update api_keys set revoked_at = now()",
        "update api_keys set expires_at = now()",
        "delete from api_keys",
        "update users set is_active = false",
        "update users set deleted_at = now()",
    ],
)
async def test_a_key_dies_when_it_is_revoked_or_its_owner_goes(
    identity: Identity, key: int, connection: Any, undoing: str
) -> None:
    await identity.by_key(KEY)

    await connection.execute(undoing)
    identity.forget()

    with pytest.raises(Unauthorized):
        await identity.by_key(KEY)


async def test_a_key_that_expires_dies_without_news(
    identity: Identity, key: int, connection: Any, eventually: Any
) -> None:
    await connection.execute("update api_keys set expires_at = now() + interval '0.3 s'")
    await identity.by_key(KEY)

    async def dead() -> bool:
        try:
            await identity.by_key(KEY)
        except Unauthorized:
            return True
        return False

    await eventually(dead)


async def test_a_keys_use_is_noted_once_a_minute(
    identity: Identity, key: int, connection: Any, queries: list[str]
) -> None:
    for _ in range(5):
        await identity.by_key(KEY)

    assert queries == ["auth.key_owner", "auth.note_key_use"]
    assert await connection.fetchval("select last_used_at > now() - interval '5 s' from api_keys")


@pytest.mark.parametrize(
    "end",
    [
        "update api_keys set revoked_at = now()",
        "update api_keys set expires_at = now()",
        "update users set is_active = false where id = 3",
        "delete from api_keys",
    ],
)
async def test_every_wrong_key_is_looked_up_alike(
    identity: Identity, key: int, connection: Any, queries: list[str], end: str
) -> None:
    """So none is refused sooner than another: a dead one as one that never was."""
    await connection.execute(end)
    for _ in range(2):
        with pytest.raises(Unauthorized, match="the API key is not valid"):
            await identity.by_key(KEY)
    assert queries == ["auth.key_owner"] * 2


async def test_noting_a_use_waits_for_nobody(identity: Identity, key: int, connection: Any) -> None:
    async with connection.transaction():
        await connection.execute("update api_keys set name = 'other'")
        async with asyncio.timeout(0.5):
            assert (await identity.by_key(KEY)).key_id == key


@pytest.fixture
async def only_project(key: int, connection: Any) -> int:
    """The only project of the key."""
    found: int = await connection.fetchval(
        "with made as (insert into projects (name, slug, key_prefix, created_by_id)"
        " values ('P', 'p', 'P', $1) returning id)"
        " update api_keys set project_id = (select id from made) returning project_id",
        ALICE,
    )
    return found


async def test_a_scoped_key_knows_its_project(identity: Identity, only_project: int) -> None:
    assert (await identity.by_key(KEY)).key_project_id == only_project


async def test_a_key_knows_its_scopes(identity: Identity, key: int, connection: Any) -> None:
    assert (await identity.by_key(KEY)).grants is None
    identity.forget()
    await connection.execute("update api_keys set scopes = array['tickets', 'of a later program']")
    assert (await identity.by_key(KEY)).grants == frozenset({Grant.TICKETS})


async def test_only_access_tokens_are_tokens(identity: Identity, session: str, key: int) -> None:
    ticket = await identity.ws_ticket(Actor(ALICE, "alice", GlobalRole.USER, session_id=session))

    for credential in (ticket, new_secret(), KEY, session, ""):
        with pytest.raises(Unauthorized):
            await identity.by_token(credential)


async def test_a_ticket_opens_once(identity: Identity, session: str) -> None:
    actor = await identity.by_token(identity.tokens.issue(ALICE, session))
    ticket = await identity.ws_ticket(actor)

    results = await asyncio.gather(
        *(identity.by_ticket(ticket) for _ in range(10)), return_exceptions=True
    )

    assert [r for r in results if isinstance(r, Actor)] == [actor]
    assert len([r for r in results if isinstance(r, Unauthorized)]) == 9


async def test_a_ticket_lives_thirty_seconds_and_is_kept_as_a_hash(
    identity: Identity, session: str
) -> None:
    ticket = await identity.ws_ticket(Actor(ALICE, "alice", GlobalRole.USER, session_id=session))

    (kept,) = await identity.redis.keys(f"{identity.names}ticket:*")
    assert ticket.encode() not in kept
    assert 28 <= await identity.redis.ttl(kept) <= 30


async def test_a_ticket_of_a_key_keeps_to_the_keys_project(
    identity: Identity, key: int, only_project: int
) -> None:
    ticket = await identity.ws_ticket(await identity.by_key(KEY))

    actor = await identity.by_ticket(ticket)

    assert (actor.key_id, actor.key_project_id) == (key, only_project)


async def test_a_ticket_does_not_outlive_its_session(
    identity: Identity, session: str, connection: Any
) -> None:
    ticket = await identity.ws_ticket(Actor(ALICE, "alice", GlobalRole.USER, session_id=session))
    await connection.execute("update sessions set revoked_at = now()")

    with pytest.raises(Unauthorized):
        await identity.by_ticket(ticket)


async def test_other_secrets_are_no_tickets(identity: Identity, session: str) -> None:
    for credential in (identity.tokens.issue(ALICE, session), new_secret(), KEY, "", "\ud800"):
        with pytest.raises(Unauthorized):
            await identity.by_ticket(credential)


async def test_without_redis_there_are_no_tickets(
    identity: Identity, session: str, tmp_path: Any
) -> None:
    identity.redis = connect_redis(f"unix://{tmp_path}/nobody.sock")

    with pytest.raises(Unavailable):
        await identity.ws_ticket(Actor(ALICE, "alice", GlobalRole.USER, session_id=session))
    with pytest.raises(Unavailable):
        await identity.by_ticket(new_secret())
    await identity.redis.aclose()


def test_only_who_signed_in_has_a_session() -> None:
    assert require_session(Actor(1, "a", GlobalRole.USER, session_id="s")) == "s"
    with pytest.raises(Forbidden):
        require_session(Actor(1, "a", GlobalRole.ADMIN, key_id=4))


def test_the_longest_unused_is_forgotten_first() -> None:
    recent: Recent[int] = Recent(2)
    recent.keep("a", 1)
    recent.keep("b", 2)
    assert recent.take("a") == 1

    recent.keep("c", 3)

    assert (recent.take("a"), recent.take("b"), recent.take("c")) == (1, None, 3)
    assert len(recent) == 2


async def test_a_keys_digest_is_no_credential(identity: Identity, key: int) -> None:
    """Whoever reads the table of keys has the digests, and the process remembers keys by them."""
    await identity.by_key(KEY)
    asking = make_mocked_request("GET", "/", headers={"Authorization": f"Bearer {digest(KEY)}"})
    with pytest.raises(Unauthorized):
        await identity.who(asking)
    with pytest.raises(Unauthorized):
        await identity.by_token(digest(KEY))
