from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.person import Person
from tests.samples import Sample


async def make(person: Person, names: Mapping[str, Any], text: str) -> int:
    path = f"/projects/{names['slug']}/cards/{names['card_id']}/comments"
    made = await person.post(path, {"body": text})
    return int(made["id"])


SAMPLE = Sample(
    "comment_id",
    make,
    deletes="/projects/{slug}/cards/{card_id}/comments/{comment_id}",
    edits="body",
)
