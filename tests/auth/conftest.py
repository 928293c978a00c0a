"""What the tests of credentials and rights count."""

from __future__ import annotations

from typing import Any

import pytest

from warmdesk.db.queries import Query


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the queries that were asked."""
    names: list[str] = []
    whole = Query.__call__

    async def counted(query: Any, connection: Any, /, **params: Any) -> Any:
        names.append(query.name)
        return await whole(query, connection, **params)

    monkeypatch.setattr(Query, "__call__", counted)
    return names
