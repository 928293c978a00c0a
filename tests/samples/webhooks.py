from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.person import Person
from tests.samples import Sample, by_root


async def make(person: Person, names: Mapping[str, Any], text: str) -> int:
    async with by_root(person) as root:
        made = await root.post(f"/projects/{names['slug']}/webhooks", {"name": text})
    return int(made["id"])


SAMPLE = Sample("webhook_id", make, most=100, at="/projects/{slug}/webhooks/{webhook_id}")
