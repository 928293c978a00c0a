from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.person import Person
from tests.samples import Sample


async def make(person: Person, names: Mapping[str, Any], text: str) -> int:
    made = await person.post(
        "/time-entries", {"minutes": 1, "project": names["slug"], "description": text}
    )
    return int(made["id"])


SAMPLE = Sample("entry_id", make, deletes="/time-entries/{entry_id}", edits="description")
