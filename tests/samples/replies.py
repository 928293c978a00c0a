from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.person import Person
from tests.samples import Sample


async def make(person: Person, names: Mapping[str, Any], text: str) -> int:
    path = f"/projects/{names['slug']}/topics/{names['topic_id']}/replies"
    return int((await person.post(path, {"body": text}))["id"])


SAMPLE = Sample(
    "reply_id",
    make,
    deletes="/projects/{slug}/topics/{topic_id}/replies/{reply_id}",
    edits="body",
)
