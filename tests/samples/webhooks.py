from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.person import Person
from tests.samples import Sample


async def make(person: Person, names: Mapping[str, Any], text: str) -> int:
    """By who may: everybody's things are made by somebody who is no owner, too."""
    root = Person(person.url, "root", id=1)
    try:
        made = await root.post(f"/projects/{names['slug']}/webhooks", {"name": text})
    finally:
        await root.close()
    return int(made["id"])


SAMPLE = Sample("webhook_id", make, most=100, at="/projects/{slug}/webhooks/{webhook_id}")
