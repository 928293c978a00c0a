from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.person import Person
from tests.postbox import Postbox, postbox


@pytest.fixture
def box() -> Iterator[Postbox]:
    """A mail server."""
    with postbox() as made:
        yield made


@pytest.fixture
async def mailing(box: Postbox, root: Person) -> Postbox:
    """A mail server that the settings name."""
    await root.put("/admin/system-settings", {"smtp_host": "127.0.0.1", "smtp_port": box.port})
    return box
