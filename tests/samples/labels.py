from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from tests.person import Person
from tests.samples import Sample

NUMBERS = itertools.count(1)


async def make(person: Person, names: Mapping[str, Any], text: str) -> int:
    path = f"/projects/{names['slug']}/labels"
    made = await person.post(path, {"name": f"{text} {next(NUMBERS)}", "color": "#10b981"})
    return int(made["id"])


SAMPLE = Sample("label_id", make, deletes="/projects/{slug}/labels/{label_id}", edits="name")
