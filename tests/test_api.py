"""The API is what its reference says: every path is there, with its method and its status."""

from __future__ import annotations

import pkgutil
import re
from collections import Counter
from pathlib import Path

import pytest

import warmdesk.rest
from tests.person import Person
from warmdesk import app
from warmdesk.http.routing import BASE

REFERENCE = Path(__file__).with_name("data") / "reference.txt"
LINES = [tuple(line.split()) for line in REFERENCE.read_text().splitlines()]


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
