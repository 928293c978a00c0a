from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.person import Person
from tests.samples import Sample


async def make(person: Person, names: Mapping[str, Any], text: str) -> int:
    path = f"/projects/{names['slug']}/topics"
    made = await person.post(path, {"title": text, "body": text})
    return int(made["id"])


SAMPLE = Sample("topic_id", make, deletes="/projects/{slug}/topics/{topic_id}", edits="body")
