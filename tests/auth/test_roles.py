"""One policy, asked in several places, must be one: each is asked for every kind of person."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import pytest

from tests.conftest import Board
from warmdesk.auth.access import Access
from warmdesk.auth.actor import Actor, GlobalRole, Role
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import WarmDeskError, refusal
from warmdesk.realtime.change import Change, ChangeContext

MEMBERSHIPS = (None, *Role)
STATES = ("active", "inactive", "deleted")
FINE = 0


class Person(NamedTuple):
    """A kind of person, and how the project is."""

    global_role: GlobalRole
    membership: Role | None
    state: str
    archived: bool


EVERYBODY = [Person(*kind) for kind in product(GlobalRole, MEMBERSHIPS, STATES, (False, True))]


def expected(person: Person, need: Role) -> int:
    """What the contract says: the status of the refusal, or `FINE`. For a change."""
    if person.state != "active":
        return 401
    if person.global_role in (GlobalRole.METRICS, GlobalRole.BACKUP):
        return 403
    role = person.membership
    if person.global_role is GlobalRole.ADMIN:
        role = Role.OWNER
    elif person.global_role is GlobalRole.VIEWER and role is not None:
        role = Role.VIEWER
    if role is None:
        return 404
    if role < need:
        return 403
    return 422 if person.archived else FINE


async def make(connection: Any, board: Board, person: Person, number: int) -> int:
    user_id: int = await connection.fetchval(
        "insert into users (username, email, password_hash, display_name, global_role, is_active,"
        " deleted_at, locale) values ($1, $1 || '@example.com', 'x', $1, $2, $3, $4, 'en')"
        " returning id",
        f"kind-{number}",
        person.global_role.value,
        person.state == "active",
        None if person.state != "deleted" else await connection.fetchval("select now()"),
    )
    if person.membership is not None:
        await connection.execute(
            "insert into project_members (project_id, user_id, role) values ($1, $2, $3)",
            board.id,
            user_id,
            person.membership.word,
        )
    return user_id


async def status(connection: Any, asking: Any) -> int:
    """What is answered, in a savepoint: a refusal ends a transaction."""
    try:
        async with connection.transaction():
            await asking
    except WarmDeskError as error:
        return error.status
    except Exception as error:
        state = getattr(error, "sqlstate", "") or ""
        if not state.startswith("WD"):
            raise
        return refusal(state, "", None).status
    return FINE


@pytest.mark.parametrize("need", list(Role), ids=lambda need: need.word)
async def test_all_places_that_judge_agree(
    desk: Desk, board: Board, connection: Any, need: Role
) -> None:
    """`require_role` and `require_writer` (changes), `why_not` (groups of messages), the door's
    look-up (`Access.enter_project`), and the look that ends sockets (`sockets.refused`).
    """
    transaction = connection.transaction()
    await transaction.start()
    wrong = []
    try:
        for number, person in enumerate(EVERYBODY):
            user_id = await make(connection, board, person, number)
            await connection.execute(
                "update projects set is_archived = $2 where id = $1", board.id, person.archived
            )
            right = expected(person, need)
            found = {
                "require_role": await status(
                    connection,
                    Change(
                        connection, ChangeContext(user_id, project_id=board.id, need=need)
                    ).enter(),
                ),
                "require_writer": await status(
                    connection,
                    connection.fetchval(
                        "select require_writer($1, $2, $3)", user_id, board.id, need.word
                    ),
                ),
                "why_not": WHY[
                    await connection.fetchval(
                        "select why_not(u, p, m.role, $3) from users u"
                        " inner join projects p on p.id = $2"
                        " left join project_members m on m.project_id = p.id and m.user_id = u.id"
                        " where u.id = $1",
                        user_id,
                        board.id,
                        need.word,
                    )
                ],
            }
            wrong += [
                (person, place, said, right) for place, said in found.items() if said != right
            ]
            wrong += await of_readers(connection, board, person, user_id, need)
    finally:
        await transaction.rollback()
    assert wrong == []


WHY = {
    None: FINE,
    "inactive": 401,
    "service": 403,
    "stranger": 404,
    "below": 403,
    "archived": 422,
}


async def of_readers(
    connection: Any, board: Board, person: Person, user_id: int, need: Role
) -> list[Any]:
    """The door does not ask whether an account is active (`Identity` did) or a project archived; a
    socket is for viewers and above.
    """
    wrong: list[Any] = []
    at_door = expected(person._replace(state="active", archived=False), need)
    actor = Actor(user_id, "somebody", person.global_role)
    said = await status(connection, Access().enter_project(connection, actor, board.slug, need))
    if said != at_door:
        wrong.append((person, "enter_project", said, at_door))
    if need is Role.VIEWER:
        rows = await sql.sockets.refused(
            connection, users=[user_id], sessions=[None], keys=[None], projects=[board.id]
        )
        ends = expected(person._replace(archived=False), need) != FINE
        if bool(rows) != ends:
            wrong.append((person, "sockets.refused", rows, ends))
    return wrong


@pytest.mark.parametrize("roles", [{GlobalRole.ADMIN}, {GlobalRole.ADMIN, GlobalRole.USER}])
async def test_a_global_role_is_asked_again_in_the_change(
    desk: Desk, board: Board, connection: Any, roles: set[GlobalRole]
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    try:
        for number, (role, state) in enumerate(product(GlobalRole, STATES)):
            user_id = await make(connection, board, Person(role, None, state, False), number)
            change = Change(connection, ChangeContext(user_id, need=frozenset(roles)))
            right = 401 if state != "active" else FINE if role in roles else 403
            assert await status(connection, change.enter()) == right, (role, state)
    finally:
        await transaction.rollback()
