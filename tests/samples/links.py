from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from tests.person import Person
from tests.samples import Sample


async def make(person: Person, names: Mapping[str, Any], text: str) -> int:
    path = f"/projects/{names['slug']}/cards/{names['card_id']}/links"
    made = await person.post(path, {"url": f"https://example.org/{uuid.uuid4()}", "title": text})
    return int(made["id"])


SAMPLE = Sample(
    "link_id",
    make,
    deletes="/projects/{slug}/cards/{card_id}/links/{link_id}",
)
