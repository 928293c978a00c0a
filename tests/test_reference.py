"""Every line of the reference, called by somebody who may, is answered with the status it names."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conftest import Wait
from tests.person import Person
from tests.postbox import Postbox, postbox
from tests.test_api import LINES, anonymous
from tests.trying_out import Office, operations

SITE = "https://desk.example.org"
ADDRESS = "eve@example.org"


@pytest.fixture
def box() -> Iterator[Postbox]:
    """A mail server: a forgotten password is set by what it took."""
    with postbox() as made:
        yield made


@pytest.mark.foul
@pytest.mark.settings(base_url=SITE)
async def test_every_line_is_answered_as_it_says(
    root: Person, alice: Person, bob: Person, eve: Person, box: Postbox, eventually: Wait
) -> None:
    """The restore comes last: the server has another database afterwards."""
    office = Office(root, alice, bob)
    documented = {(each.method.upper(), anonymous(each.path)): each for each in operations()}
    await root.put("/admin/system-settings", {"smtp_host": "127.0.0.1", "smtp_port": box.port})
    forgot = {"email": ADDRESS}
    assert (await eve.client.request("POST", "/auth/forgot-password", forgot)).status == 200
    await eventually(lambda: box.letters, limit=10)
    (link,) = box.letters[0].links
    token = parse_qs(urlsplit(link).query)["token"][0]
    slug = (await root.post("/projects", {"name": "To look at"}))["slug"]
    backup = (await root.post("/admin/backup", {}))["filename"]
    bodies = {
        "/auth/forgot-password": forgot,
        "/auth/reset-password": {"token": token, "password": "another horse battery"},
        "/admin/restore": {"filename": backup},
    }
    answers = {}
    for method, path, _ in sorted(LINES, key=lambda line: line[1] == "/admin/restore"):
        if path.startswith("/ws/"):
            async with root.socket("user" if path == "/ws/user" else slug) as wire:
                await wire.next("hello")
            answers[method, path] = 101
            continue
        operation = await office.prepare(documented[method, anonymous(path)].anew())
        assert operation.person is not None
        operation.body = bodies.get(path, operation.body)
        answers[method, path] = (await operation.execute(operation.person)).status
    assert answers == {(method, path): int(status) for method, path, status in LINES}
