from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from tests.person import Person
from tests.samples import Sample

NUMBERS = itertools.count(1)
"""No two labels of a project have the same name."""


async def make(person: Person, names: Mapping[str, Any], text: str) -> int:
    path = f"/projects/{names['slug']}/labels"
    body = {"name": f"{text} {next(NUMBERS)}", "color": "#10b981"}
    return int((await person.post(path, body))["id"])


SAMPLE = Sample(
    "label_id", make, deletes="/projects/{slug}/labels/{label_id}", edits="name", most=490
)
