"""The API is what its reference says: every path is there, with its method and its status."""

from __future__ import annotations

import pkgutil
import re
from collections import Counter

import pytest

import warmdesk.rest
from tests.person import Person
from warmdesk import app
from warmdesk.http.routing import BASE

REFERENCE = """
GET    /reports/time                                         200
GET    /reports/timesheet                                    200
POST   /time-entries                                         201
PUT    /time-entries/:id                                     200
DELETE /time-entries/:id                                     204
POST   /auth/login                                          200
POST   /auth/forgot-password                                200
POST   /auth/reset-password                                 200
POST   /auth/refresh                                        200
POST   /auth/logout                                         204
POST   /auth/register                                       201
GET    /projects                                            200
POST   /projects                                            201
GET    /projects/:slug                                      200
PUT    /projects/:slug                                      200
DELETE /projects/:slug                                      204
GET    /projects/:slug/columns                              200
POST   /projects/:slug/columns                              201
PUT    /projects/:slug/columns/:id                          200
DELETE /projects/:slug/columns/:id                          204
PATCH  /projects/:slug/columns/reorder                      200
GET    /projects/:slug/columns/:colId/cards                 200
POST   /projects/:slug/columns/:colId/cards                 201
GET    /projects/:slug/cards/:cardId                        200
PUT    /projects/:slug/cards/:cardId                        200
DELETE /projects/:slug/cards/:cardId                        204
PATCH  /projects/:slug/cards/:cardId/move                   200
PATCH  /projects/:slug/cards/:cardId/reorder                200
GET    /projects/:slug/cards/:cardId/comments               200
POST   /projects/:slug/cards/:cardId/comments               201
PUT    /projects/:slug/cards/:cardId/comments/:commentId    200
DELETE /projects/:slug/cards/:cardId/comments/:commentId    204
GET    /projects/:slug/cards/:cardId/checklist              200
POST   /projects/:slug/cards/:cardId/checklist              201
PUT    /projects/:slug/cards/:cardId/checklist/:itemId      200
DELETE /projects/:slug/cards/:cardId/checklist/:itemId      204
POST   /projects/:slug/cards/:cardId/attachments            201
DELETE /projects/:slug/cards/:cardId/attachments/:id        204
GET    /projects/:slug/cards/:cardId/links                  200
POST   /projects/:slug/cards/:cardId/links                  201
POST   /projects/:slug/ticket                               201
PATCH  /projects/:slug/ticket/:ref                          200
GET    /projects/:slug/chat/messages                        200
POST   /projects/:slug/chat/messages                        201
PUT    /projects/:slug/chat/messages/:id                    200
DELETE /projects/:slug/chat/messages/:id                    204
POST   /projects/:slug/chat/messages/:id/reactions          201
GET    /projects/:slug/topics                               200
POST   /projects/:slug/topics                               201
GET    /projects/:slug/topics/:id                           200
PUT    /projects/:slug/topics/:id                           200
DELETE /projects/:slug/topics/:id                           204
POST   /projects/:slug/topics/:id/replies                   201
POST   /webhooks/:token                                     201
POST   /github-webhook/:token                               200
POST   /gitlab-webhook/:token                               200
POST   /gitea-webhook/:token                                200
GET    /conversations                                       200
POST   /conversations                                       201
GET    /conversations/:id/messages                          200
POST   /conversations/:id/messages                          201
GET    /users/me                                            200
PUT    /users/me                                            200
GET    /users                                               200
POST   /users                                               201
PUT    /users/:id                                           200
GET    /admin/system-settings                               200
PUT    /admin/system-settings                               200
GET    /ws/:slug                                            101
GET    /ws/user                                             101
GET    /metrics                                             200
GET    /health                                              200
GET    /ready                                               200
GET    /version                                             200
"""

LINES = [tuple(line.split()) for line in REFERENCE.strip().splitlines()]


def anonymous(path: str) -> str:
    """A path whose parameters have no names."""
    return re.sub(r":\w+|{\w+}", "{}", path)


@pytest.mark.parametrize(("method", "path", "status"), LINES)
def test_the_reference_is_served(method: str, path: str, status: str) -> None:
    served = {(each.method, anonymous(each.path)): each.status for each in app.resources()}

    assert served[method, anonymous(path)] == int(status)


def test_every_module_with_routes_is_a_resource() -> None:
    found = {each.name for each in pkgutil.iter_modules(warmdesk.rest.__path__)}

    assert found == set(warmdesk.rest.RESOURCES)


def test_no_operation_is_declared_twice() -> None:
    counted = Counter((each.method, anonymous(each.path)) for each in app.resources())

    assert counted.most_common(1)[0][1] == 1


def test_every_change_of_somebody_is_counted() -> None:
    assert not [
        each.path for each in app.resources() if each.changes and each.need and not each.rate
    ]


async def test_the_application_serves_what_was_declared(alice: Person, url: str) -> None:
    """No declared path is 404 by its address, and no fixed word is taken for a name."""
    await alice.token()
    for each in app.resources():
        path = re.sub(r"{\w+}", "0", each.path)
        async with alice.client.session.options(f"{url}{BASE}{path}") as response:
            assert response.status == 204, path
            allowed = response.headers["Allow"].split(", ")
            assert each.method in allowed, path
            assert ("HEAD" in allowed) == ("GET" in allowed), path


async def test_every_refusal_has_one_shape(alice: Person, url: str) -> None:
    await alice.token()
    session = alice.client.session
    for method, path, status in (
        ("GET", "/no/such/path", 404),
        ("GET", "/projects/none", 404),
        ("PATCH", "/projects", 405),
        ("POST", "/version", 405),
        ("POST", "/projects", 400),
        ("GET", "/users", 403),
        ("GET", "/ws/demo", 426),
    ):
        headers = alice.client.credentials
        async with session.request(method, f"{url}{BASE}{path}", headers=headers) as response:
            body = await response.json()
            assert response.status == status, (path, body)
            assert isinstance(body["error"], str)
            assert response.content_type == "application/json"
    async with session.get(f"{url}{BASE}/projects") as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
