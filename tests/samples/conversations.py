from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.person import Person
from tests.samples import Sample


async def make(person: Person, names: Mapping[str, Any], text: str) -> int:
    """A group with alice and bob."""
    made = await person.post("/conversations", {"user_ids": [3, 4], "name": text})
    return int(made["id"])


SAMPLE = Sample("conversation_id", make)
