"""Who may call which route: a table, tried with everybody. A new route has a line in it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, NamedTuple

import aiohttp
import pytest

from tests.closed import check_refusal
from tests.conftest import Invite
from tests.person import Person, Refusal
from tests.rows import changed, contents
from tests.trying_out import Office, Operation, operations
from warmdesk import app

ROLES = """
               nobody stranger viewer member author admin owner root reader metrics backup gone
public         ok     ok       ok     ok     ok     ok    ok    ok   ok     ok      ok     ok
account        401    ok       ok     ok     ok     ok    ok    ok   ok     ok      ok     401
people         401    ok       ok     ok     ok     ok    ok    ok   ok     403     403    401
comers         401    ok       ok     ok     ok     ok    ok    ok   ok     403     403    401
makers         401    ok       ok     ok     ok     ok    ok    ok   403    403     403    401
administrators 401    403      403    403    403    403   403   ok   403    403     403    401
metrics        401    403      403    403    403    403   403   ok   403    ok      403    401
keepers        401    403      403    403    403    403   403   ok   403    403     ok     401

viewer         401    404      ok     ok     ok     ok    ok    ok   ok     403     403    401
member         401    404      403    ok     ok     ok    ok    ok   403    403     403    401
admin          401    404      403    403    403    ok    ok    ok   403    403     403    401
owner          401    404      403    403    403    403   ok    ok   403    403     403    401
author         401    404      403    403    ok     403   403   403  403    403     403    401
author|admin   401    404      403    403    ok     ok    ok    ok   403    403     403    401

inside         401    404      ok     ok     ok     ok    ok    404  ok     403     403    401
watcher        401    404      ok     ok     ok     ok    ok    422  ok     403     403    401
sender         401    404      403    403    ok     403   403   404  403    403     403    401
own            401    404      404    404    ok     404   404   404  404    403     403    401
session        401    404      404    404    ok     404   404   404  404    404     404    401

loggers        401    ok       ok     ok     ok     ok    ok    ok   403    403     403    401
own_time       401    404      404    404    ok     404   404   ok   403    403     403    401
watched_time   401    404      404    404    ok     ok    ok    ok   404    403     403    401
"""
"""What who gets that asks; ``ok`` is the success of the route.

nobody    without credentials
stranger  in no project and no conversation
viewer, member, author, admin, owner
          with this role in the project, and all in the conversation; the author is a member whose
          the things are
root      a global admin, in neither
reader    a global viewer who is an owner of the project
metrics, backup
          service accounts that are owners of the project
gone      an owner of the project whose account was deactivated

The lines: public, whoever has an account, people, people who come in by a link, people who make
projects, global admins, metrics;
whoever has this role in the project or a higher one, whose the thing is, or that and admins;
whoever is in the project or conversation, the same for what members alone may be, who wrote the
message, whose the thing is where nobody else learns that it exists, and the same for sessions;
whoever may log time, who logged it or administers all, and who may see it.
"""

TABLE = """
public         GET    /health
public         GET    /ready
public         GET    /version
metrics        GET    /metrics

public         POST   /auth/register
public         POST   /auth/login
public         POST   /auth/refresh
public         POST   /auth/logout
public         POST   /auth/forgot-password
public         POST   /auth/reset-password
account        GET    /auth/sessions
session        DELETE /auth/sessions/{session_id}
account        GET    /auth/api-keys
account        GET    /users/me/api-keys
account        POST   /auth/api-keys
account        POST   /users/me/api-keys
session        DELETE /auth/api-keys/{key_id}
session        DELETE /users/me/api-keys/{key_id}
account        GET    /auth/mfa/setup
account        POST   /auth/mfa/enable
account        POST   /auth/mfa/disable
public         POST   /auth/mfa/verify
people         POST   /auth/ws-ticket
people         GET    /ws/user
viewer         GET    /ws/{slug}

account        GET    /users/me
people         GET    /bootstrap
account        GET    /auth/me
account        PUT    /users/me
account        PUT    /auth/me
account        POST   /users/me/avatar
account        DELETE /users/me/avatar
account        PUT    /users/me/password
account        PUT    /auth/me/password
people         GET    /users/me/events
people         GET    /users/me/events/stream
people         GET    /users/search
people         GET    /users/refs
people         GET    /online-users
people         GET    /favorite-users
people         POST   /favorite-users/{user_id}
people         DELETE /favorite-users/{user_id}
people         GET    /search
administrators GET    /users
administrators POST   /users
administrators GET    /users/{user_id}
administrators PUT    /users/{user_id}
public         GET    /system/settings
public         GET    /mail/unsubscribe
public         POST   /mail/unsubscribe
administrators GET    /admin/system-settings
administrators PUT    /admin/system-settings
administrators POST   /admin/system-settings/test-email
administrators DELETE /users/{user_id}
administrators POST   /users/{user_id}/restore
administrators DELETE /users/{user_id}/permanent
administrators GET    /users/{user_id}/login-history
administrators GET    /users/{user_id}/projects
administrators PUT    /users/{user_id}/projects
administrators POST   /users/{user_id}/mfa/disable
administrators GET    /users/{user_id}/api-keys
administrators POST   /users/{user_id}/api-keys
administrators DELETE /users/{user_id}/api-keys/{user_key_id}

administrators GET    /admin/audit
administrators GET    /admin/projects
keepers        POST   /admin/backup
keepers        POST   /backup
administrators GET    /admin/backups
administrators POST   /admin/backups
administrators GET    /admin/backups/{filename}
administrators DELETE /admin/backups/{filename}
administrators POST   /admin/restore
administrators PUT    /admin/projects/{slug}
administrators DELETE /admin/projects/{slug}
administrators GET    /admin/invitations
administrators POST   /admin/invitations
administrators DELETE /admin/invitations/{invitation_id}
administrators POST   /admin/invitations/{invitation_id}/mail
public         GET    /invitations/{token}
comers         POST   /invitations/{token}/accept

people         GET    /projects
people         GET    /starred-projects
makers         POST   /projects
viewer         GET    /projects/{slug}
owner          PUT    /projects/{slug}
owner          DELETE /projects/{slug}
viewer         GET    /projects/{slug}/activity
viewer         GET    /projects/{slug}/counts
viewer         GET    /projects/{slug}/digest
viewer         GET    /projects/{slug}/events
viewer         GET    /projects/{slug}/events/stream
viewer         GET    /projects/{slug}/presence
viewer         PUT    /projects/{slug}/mute
viewer         POST   /projects/{slug}/star
viewer         DELETE /projects/{slug}/star

viewer         GET    /projects/{slug}/members
admin          POST   /projects/{slug}/members
admin          POST   /projects/{slug}/members {"role": "viewer"}
owner          POST   /projects/{slug}/members {"role": "admin"}
owner          POST   /projects/{slug}/members {"role": "owner"}
owner          PUT    /projects/{slug}/members/{user_id}
owner          PUT    /projects/{slug}/members/{user_id}/role
owner          DELETE /projects/{slug}/members/{user_id}
inside         DELETE /projects/{slug}/members/{user_id} oneself

owner          GET    /projects/{slug}/api-keys
owner          POST   /projects/{slug}/api-keys
owner          DELETE /projects/{slug}/api-keys/{project_key_id}
admin          GET    /projects/{slug}/invitations
admin          POST   /projects/{slug}/invitations
owner          POST   /projects/{slug}/invitations {"role": "owner"}
admin          DELETE /projects/{slug}/invitations/{invitation_id}
admin          POST   /projects/{slug}/invitations/{invitation_id}/mail

viewer         GET    /projects/{slug}/columns
admin          POST   /projects/{slug}/columns
admin          PATCH  /projects/{slug}/columns/reorder
admin          PUT    /projects/{slug}/columns/{column_id}
admin          DELETE /projects/{slug}/columns/{column_id}

owner          GET    /projects/{slug}/webhooks
owner          POST   /projects/{slug}/webhooks
owner          PUT    /projects/{slug}/webhooks/{webhook_id}
owner          DELETE /projects/{slug}/webhooks/{webhook_id}
owner          POST   /projects/{slug}/webhooks/{webhook_id}/regenerate
owner          GET    /projects/{slug}/webhooks/{webhook_id}/deliveries
owner          POST   /projects/{slug}/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver
public         POST   /webhooks/{token}
public         POST   /github-webhook/{token}
public         POST   /gitlab-webhook/{token}
public         POST   /gitea-webhook/{token}

viewer         GET    /projects/{slug}/labels
member         POST   /projects/{slug}/labels
member         PUT    /projects/{slug}/labels/{label_id}
member         DELETE /projects/{slug}/labels/{label_id}

owner          GET    /projects/{slug}/outgoing-webhooks
owner          POST   /projects/{slug}/outgoing-webhooks
owner          PUT    /projects/{slug}/outgoing-webhooks/{outgoing_webhook_id}
owner          DELETE /projects/{slug}/outgoing-webhooks/{outgoing_webhook_id}
owner          GET    /projects/{slug}/outgoing-webhooks/{outgoing_webhook_id}/deliveries
owner          POST   /projects/{slug}/outgoing-webhooks/{outgoing_webhook_id}/replay

viewer         GET    /projects/{slug}/columns/{column_id}/cards
member         POST   /projects/{slug}/columns/{column_id}/cards
viewer         GET    /projects/{slug}/cards
member         PATCH  /projects/{slug}/cards
admin          GET    /projects/{slug}/cards/deleted
viewer         GET    /projects/{slug}/cards/{card_id}
member         PUT    /projects/{slug}/cards/{card_id}
member         DELETE /projects/{slug}/cards/{card_id}
member         PATCH  /projects/{slug}/cards/{card_id}/move
member         PATCH  /projects/{slug}/cards/{card_id}/reorder
admin          POST   /projects/{slug}/cards/{card_id}/restore
owner          DELETE /projects/{slug}/cards/{card_id}/permanent
member         POST   /projects/{slug}/cards/{card_id}/copy
member         POST   /projects/{slug}/cards/{card_id}/transfer
member         POST   /projects/{slug}/cards/{card_id}/archive
member         DELETE /projects/{slug}/cards/{card_id}/archive
viewer         GET    /projects/{slug}/cards/{card_id}/history

viewer         GET    /projects/{slug}/ticket
member         POST   /projects/{slug}/ticket
viewer         GET    /projects/{slug}/ticket/{card_id}
member         PATCH  /projects/{slug}/ticket/{card_id}
viewer         GET    /projects/{slug}/ticket/{card_id}/wait

viewer         GET    /projects/{slug}/cards/{card_id}/attachments
member         POST   /projects/{slug}/cards/{card_id}/attachments
viewer         GET    /projects/{slug}/cards/{card_id}/attachments/{attachment_id}
author|admin   DELETE /projects/{slug}/cards/{card_id}/attachments/{attachment_id}
member         POST   /attachments
viewer         GET    /attachments/{attachment_id}
author|admin   DELETE /attachments/{attachment_id}
viewer         POST   /attachments/{attachment_id}/link
public         GET    /attachments/{attachment_id}/file

viewer         GET    /projects/{slug}/cards/{card_id}/comments
member         POST   /projects/{slug}/cards/{card_id}/comments
author         PUT    /projects/{slug}/cards/{card_id}/comments/{comment_id}
author|admin   DELETE /projects/{slug}/cards/{card_id}/comments/{comment_id}
viewer         GET    /projects/{slug}/cards/{card_id}/checklist
member         POST   /projects/{slug}/cards/{card_id}/checklist
member         PATCH  /projects/{slug}/cards/{card_id}/checklist/reorder
member         PUT    /projects/{slug}/cards/{card_id}/checklist/{item_id}
member         DELETE /projects/{slug}/cards/{card_id}/checklist/{item_id}
viewer         GET    /projects/{slug}/cards/{card_id}/links
member         POST   /projects/{slug}/cards/{card_id}/links
member         DELETE /projects/{slug}/cards/{card_id}/links/{link_id}

member         PUT    /projects/{slug}/cards/{card_id}/assignee
member         POST   /projects/{slug}/cards/{card_id}/assignees/{user_id}
member         DELETE /projects/{slug}/cards/{card_id}/assignees/{user_id}
member         POST   /projects/{slug}/cards/{card_id}/labels/{label_id}
member         DELETE /projects/{slug}/cards/{card_id}/labels/{label_id}
member         POST   /projects/{slug}/cards/{card_id}/tags
member         DELETE /projects/{slug}/cards/{card_id}/tags/{tag}
member         POST   /projects/{slug}/cards/{card_id}/watchers/{user_id}
member         DELETE /projects/{slug}/cards/{card_id}/watchers/{user_id}
watcher        POST   /projects/{slug}/cards/{card_id}/watch
inside         DELETE /projects/{slug}/cards/{card_id}/watch

viewer         POST   /projects/{slug}/chat/read
viewer         GET    /projects/{slug}/chat/messages
member         POST   /projects/{slug}/chat/messages
author         PUT    /projects/{slug}/chat/messages/{message_id}
author|admin   DELETE /projects/{slug}/chat/messages/{message_id}
member         POST   /projects/{slug}/chat/messages/{message_id}/reactions
member         DELETE /projects/{slug}/chat/messages/{message_id}/reactions/{emoji}

viewer         GET    /projects/{slug}/topics
member         POST   /projects/{slug}/topics
viewer         GET    /projects/{slug}/topics/{topic_id}
author|admin   PUT    /projects/{slug}/topics/{topic_id}
author|admin   DELETE /projects/{slug}/topics/{topic_id}
viewer         GET    /projects/{slug}/topics/{topic_id}/replies
member         POST   /projects/{slug}/topics/{topic_id}/replies
author|admin   PUT    /projects/{slug}/topics/{topic_id}/replies/{reply_id}
author|admin   DELETE /projects/{slug}/topics/{topic_id}/replies/{reply_id}

people         GET    /conversations
people         POST   /conversations
inside         GET    /conversations/{conversation_id}
inside         PUT    /conversations/{conversation_id}
inside         POST   /conversations/{conversation_id}/avatar
inside         DELETE /conversations/{conversation_id}/avatar
inside         POST   /conversations/{conversation_id}/members
sender         DELETE /conversations/{conversation_id}/members/{user_id}
inside         DELETE /conversations/{conversation_id}/members/{user_id} oneself
inside         POST   /conversations/{conversation_id}/read
inside         PUT    /conversations/{conversation_id}/mute
inside         GET    /conversations/{conversation_id}/messages
inside         POST   /conversations/{conversation_id}/messages
sender         PUT    /conversations/{conversation_id}/messages/{message_id}
sender         PATCH  /conversations/{conversation_id}/messages/{message_id}
sender         DELETE /conversations/{conversation_id}/messages/{message_id}
inside         POST   /conversations/{conversation_id}/messages/{message_id}/reactions
inside         DELETE /conversations/{conversation_id}/messages/{message_id}/reactions/{emoji}

people         GET    /time-entries
loggers        POST   /time-entries
watched_time   GET    /time-entries/{entry_id}
own_time       PUT    /time-entries/{entry_id}
own_time       DELETE /time-entries/{entry_id}
people         GET    /reports/time
people         GET    /reports/timesheet
people         POST   /users/me/calendar
people         DELETE /users/me/calendar
public         GET    /users/me/calendar.ics
people         GET    /notifications
people         POST   /notifications/read-all
own            POST   /notifications/{notification_id}/read
own            DELETE /notifications/{notification_id}
"""
"""Who may, by the names above. Where a body or an id makes a difference there is another line: with
these fields in the body, or with the id of who asks.
"""

OWNED = {
    *("author", "author|admin", "inside", "sender", "own", "own_time", "session", "watched_time")
}
"""Where it matters whose a thing is. Everywhere else it is the thing of none of them."""
IN_PROJECT = {
    **{role: role for role in ("viewer", "member", "admin", "owner")},
    "author": "member",
    **dict.fromkeys(("reader", "metrics", "backup", "gone"), "owner"),
}
IN_CONVERSATION = ("viewer", "member", "admin", "owner", "reader")
GLOBALLY = {"reader": "viewer", "metrics": "metrics", "backup": "backup"}


class Line(NamedTuple):
    """Of the table."""

    rule: str
    method: str
    path: str
    more: str = ""

    @property
    def place(self) -> str:
        return f"{self.method} {self.path}"


def rules() -> dict[str, dict[str, str]]:
    """What each kind of person gets, by rule."""
    head, *rows = (line.split() for line in ROLES.splitlines() if line)
    return {rule: dict(zip(head, said, strict=True)) for rule, *said in rows}


RULES = rules()
LINES = [Line(*row.split(None, 3)) for row in TABLE.splitlines() if row]
OPERATIONS = {f"{each.method.upper()} {each.path}": each for each in operations(sockets=True)}
TAGS = sorted({each.tag for each in OPERATIONS.values()})


def test_every_route_has_a_line() -> None:
    routes = {f"{each.method} {each.path}" for each in app.resources()}
    lines = {each.place for each in LINES}
    missing = "say in TABLE above who may call these"
    assert not routes - lines, f"{missing}: {', '.join(sorted(routes - lines))}"
    assert not lines - routes, f"there are no such routes: {', '.join(sorted(lines - routes))}"
    assert len({*LINES}) == len(LINES)


class Nobody(Person):
    """Somebody who shows no credentials."""

    async def token(self) -> str:
        return ""


class Company(Office):
    """An office whose projects have somebody of each kind."""

    def __init__(self, people: dict[str, Person], others: list[Person], db: Any) -> None:
        super().__init__(*others)
        self.people, self.connection = people, db
        self.company = [people[kind].id for kind in IN_CONVERSATION]
        self.administrator = people["root"]

    async def staff(self, slug: str) -> None:
        """Written by hand: service accounts and viewers may have been made owners once."""
        await self.connection.execute(
            "insert into project_members (project_id, user_id, role)"
            " select p.id, m.user_id, m.role from projects p"
            " cross join unnest($2::bigint[], $3::text[]) as m (user_id, role) where p.slug = $1",
            slug,
            [self.people[kind].id for kind in IN_PROJECT],
            list(IN_PROJECT.values()),
        )

    async def ready(self, line: Line, asker: Person) -> Operation:
        """The operation of a line, at things that are there."""
        self.author = self.people["author"] if line.rule in OWNED else self.root
        self.asker = asker
        return await self.prepare(OPERATIONS[line.place].anew())

    async def try_out(self, line: Line) -> list[str]:
        """What is wrong with a line. Who is refused asks first, and finds all as it was. Where one
        who may meets what another of them did, it is asked again at things of its own.
        """
        wrong = []
        expected = RULES[line.rule]
        allowed = [kind for kind in expected if expected[kind] == "ok"]
        operation = await self.ready(line, self.people[allowed[0]])
        before = await contents(self.connection)
        for kind in expected.keys() - {*allowed}:
            status = await ask(self.people[kind], operation, line)
            if str(status) != expected[kind]:
                wrong.append(f"{kind} gets {status} instead of {expected[kind]}")
        for table in changed(before, await contents(self.connection)):
            wrong.append(f"who was refused changed {table}")
        for kind in allowed:
            status = await ask(self.people[kind], operation, line)
            if status not in operation.success:
                operation = await self.ready(line, self.people[kind])
                status = await ask(self.people[kind], operation, line)
            if status not in operation.success:
                wrong.append(f"{kind} gets {status} instead of {operation.success}")
        return wrong


async def ask(person: Person, operation: Operation, line: Line) -> int:
    """The status that a person gets."""
    if operation.path.endswith("/events/stream"):
        return await listen(person, operation.names.get("slug", "user"))
    if operation.path.startswith("/ws/"):
        return await knock(person, operation.names.get("slug", "user"))
    names, body = operation.names, operation.body
    if line.more == "oneself":
        names = {**names, "user_id": str(person.id)}
    elif line.more:
        body = {**body, **json.loads(line.more)}
    passwords = {"current_password": person.password, "new_password": f"{person.password}!"}
    if isinstance(body, dict) and body.keys() == passwords.keys():
        body = passwords
    answer = await replace(operation, names=names, body=body).execute(person)
    if answer.status >= 400:
        check_refusal(answer.body)
        assert "tried" not in str(answer.body).lower(), f"{line.place} names what is there"
    elif body == passwords:
        person.password = passwords["new_password"]
    return answer.status


async def knock(person: Person, place: str) -> int:
    try:
        async with person.socket(place):
            return 101
    except aiohttp.WSServerHandshakeError as refused:
        return refused.status


async def listen(person: Person, place: str) -> int:
    try:
        async with person.stream(place):
            return 200
    except Refusal as refused:
        return refused.status


@pytest.fixture
async def people(root: Person, person: Invite) -> AsyncIterator[dict[str, Person]]:
    """One of each kind, signed in."""
    found: dict[str, Person] = {"root": root, "nobody": Nobody(root.url, "nobody")}
    for kind in RULES["public"].keys() - found.keys():
        new = {"username": kind, "email": f"{kind}@example.org", "password": root.password}
        role = {"global_role": GLOBALLY.get(kind, "user")}
        found[kind] = person(kind, id=(await root.post("/users", {**new, **role}))["id"])
        await found[kind].token()
    await root.put(f"/users/{found['gone'].id}", {"is_active": False})
    yield found
    await found["nobody"].close()


@pytest.fixture
def company(
    people: dict[str, Person], olga: Person, alice: Person, bob: Person, connection: Any
) -> Company:
    return Company(people, [olga, alice, bob], connection)


@pytest.mark.parametrize("tag", TAGS)
async def test_who_may_gets_it_and_nobody_else(company: Company, tag: str) -> None:
    wrong = [
        f"{line.place} {line.more}: {what}"
        for line in LINES
        if line.place in OPERATIONS and OPERATIONS[line.place].tag == tag
        for what in await company.try_out(line)
    ]
    assert not wrong, "\n" + "\n".join(wrong)
