"""Many who come at one moment: few statements for all of them, and each gets what is their own."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.conftest import Board
from warmdesk.auth.actor import Actor, EnteredProject, GlobalRole, Role
from warmdesk.desk import Desk
from warmdesk.errors import NotFound, Unauthorized

MANY = 200
ROOT, OLGA, ALICE = 1, 2, 3

CROWD = """
    with people as (
        insert into users (email, username, password_hash, display_name)
        select 'p' || n || '@example.org', 'p' || n, 'x', 'Person ' || n
        from generate_series(1, $1) as n
        returning id
    ), members as (
        insert into project_members (project_id, user_id, role)
        select p.id, u.id, case when u.id % 2 = 0 then 'member' else 'viewer' end
        from projects as p, people as u where p.slug = 'demo'
    )
    insert into sessions (user_id, expires_at)
    select id, now() + interval '1 day' from people
    returning user_id, id::text
"""
SESSION = """
    insert into sessions (user_id, expires_at) values ($1, now() + interval '1 day')
    returning id::text
"""


@pytest.fixture
async def crowd(board: Board, connection: Any) -> dict[int, str]:
    """Members and viewers of demo by turns: user and session."""
    return dict(await connection.fetch(CROWD, MANY))


async def enter(desk: Desk, token: str, slug: str = "demo") -> tuple[Actor, EnteredProject]:
    """What a request asks at the door."""
    actor = await desk.identity.by_token(token)
    return actor, await desk.access.enter_project(desk.database, actor, slug, Role.VIEWER)


async def come(
    desk: Desk, user: int, session: str, slug: str = "demo"
) -> tuple[Actor, EnteredProject]:
    return await enter(desk, desk.identity.tokens.issue(user, session), slug)


async def test_the_first_requests_of_many_users_share_their_look_ups(
    desk: Desk, crowd: dict[int, str], queries: list[str]
) -> None:
    tokens = [desk.identity.tokens.issue(*facts) for facts in crowd.items()]

    entered = await asyncio.gather(*(enter(desk, token) for token in tokens))

    for (user, session), (actor, project) in zip(crowd.items(), entered, strict=True):
        assert (actor.user_id, actor.session_id) == (user, session)
        assert project.role == (Role.VIEWER if user % 2 else Role.MEMBER)
    assert len({actor.username for actor, _ in entered}) == MANY
    counted = Counter(queries)
    assert 1 <= counted["auth.session_holders"] <= 3, counted
    assert 1 <= counted["access.projects_of"] <= 5, counted

    queries.clear()
    await asyncio.gather(*(enter(desk, token) for token in tokens))
    assert not {"auth.session_holders", "access.projects_of"} & set(queries)


async def test_each_of_many_gets_the_answer_to_their_own_question(
    desk: Desk, crowd: dict[int, str], connection: Any
) -> None:
    (gone, ended), (away, _), (left, _), (deleted, _), *others = crowd.items()
    await connection.execute("update sessions set revoked_at = now() where user_id = $1", gone)
    await connection.execute("update users set is_active = false where id = $1", away)
    await connection.execute("delete from project_members where user_id = $1", left)
    await connection.execute("update users set deleted_at = now() where id = $1", deleted)
    root = await connection.fetchval(SESSION, ROOT)
    expired = await connection.fetchval(SESSION, OLGA)
    await connection.execute("update sessions set expires_at = now() where id = $1", expired)
    user, session = others[0]

    results = await asyncio.gather(
        *(come(desk, *facts) for facts in crowd.items()),
        come(desk, OLGA, expired),
        come(desk, OLGA, session),
        come(desk, user, ended),
        come(desk, ROOT, root),
        come(desk, ROOT, root, "nowhere"),
        come(desk, user, session, "nowhere"),
        return_exceptions=True,
    )

    members, rest = results[: len(crowd)], results[len(crowd) :]
    kinds = [type(result) for result in members[:4]]
    assert kinds == [Unauthorized, Unauthorized, NotFound, Unauthorized]
    for (number, _), result in zip(others, members[4:], strict=True):
        assert not isinstance(result, BaseException)
        assert result[0].user_id == number
        assert result[1].role == (Role.VIEWER if number % 2 else Role.MEMBER)
    assert [type(result) for result in rest[:3]] == [Unauthorized] * 3
    assert not isinstance(rest[3], BaseException)
    assert (rest[3][0].global_role, rest[3][1].role) == (GlobalRole.ADMIN, Role.OWNER)
    assert [type(result) for result in rest[4:]] == [NotFound] * 2


async def test_a_revocation_while_many_come_holds_for_all_who_ask_after_it(
    desk: Desk, crowd: dict[int, str], connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-ups that are under way have read the past already."""
    (first, session), (gone, revoked), (left, stays), *_ = crowd.items()
    began, go_on = asyncio.Event(), asyncio.Event()
    whole = desk.access._look_up

    async def slow(*args: Any) -> Any:
        found = await whole(*args)
        began.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(desk.access, "_look_up", slow)
    early = asyncio.gather(
        come(desk, first, session), come(desk, gone, revoked), come(desk, left, stays)
    )
    await began.wait()
    await connection.execute("update sessions set revoked_at = now() where user_id = $1", gone)
    await connection.execute("delete from project_members where user_id = $1", left)
    desk.identity.forget()
    desk.access.forget()
    late = asyncio.gather(*(come(desk, *facts) for facts in crowd.items()), return_exceptions=True)
    await asyncio.sleep(0.05)
    go_on.set()

    assert [project.slug for _, project in await early] == ["demo"] * 3
    for results in (
        await late,
        await asyncio.gather(
            *(come(desk, *facts) for facts in crowd.items()), return_exceptions=True
        ),
    ):
        assert [type(result) for result in results[1:3]] == [Unauthorized, NotFound]
        refused = [result for result in results if isinstance(result, BaseException)]
        assert len(refused) == 2


async def test_a_membership_that_was_read_before_the_news_is_not_remembered(
    desk: Desk, board: Board, connection: Any
) -> None:
    alice = Actor(ALICE, "alice", GlobalRole.USER)
    began, go_on = asyncio.Event(), asyncio.Event()

    class Slow:
        async def fetch(self, statement: str, *values: Any) -> Any:
            rows = await desk.database.fetch(statement, *values)
            began.set()
            await go_on.wait()
            return rows

    asking = asyncio.create_task(desk.access.enter_project(Slow(), alice, "demo", Role.VIEWER))
    await began.wait()
    await connection.execute("delete from project_members where user_id = $1", ALICE)
    desk.access.forget()
    go_on.set()
    await asking

    with pytest.raises(NotFound):
        await desk.access.enter_project(desk.database, alice, "demo", Role.VIEWER)


async def test_what_an_administrator_was_told_is_not_told_to_the_user_they_became(
    desk: Desk, board: Board
) -> None:
    """A request may still hold the actor of a moment before."""
    before = Actor(9, "carl", GlobalRole.ADMIN)
    project = await desk.access.enter_project(desk.database, before, "demo", Role.VIEWER)
    assert project.role == Role.OWNER

    with pytest.raises(NotFound):
        await desk.access.enter_project(
            desk.database, Actor(9, "carl", GlobalRole.USER), "demo", Role.VIEWER
        )
