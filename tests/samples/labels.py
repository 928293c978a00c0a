from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.person import Person
from tests.samples import Sample


async def make(person: Person, names: Mapping[str, Any], text: str) -> int:
    path = f"/projects/{names['slug']}/labels"
    return int((await person.post(path, {"name": text, "color": "#10b981"}))["id"])


SAMPLE = Sample("label_id", make, deletes="/projects/{slug}/labels/{label_id}", edits="name")
