from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.person import Person
from tests.samples import Sample, by_root

BODY = {"url": "https://192.88.100.1/hook", "enabled": False}
"""A public address, which nobody has to look up, and to which nothing is sent."""


async def make(person: Person, names: Mapping[str, Any], text: str) -> int:
    async with by_root(person) as root:
        path = f"/projects/{names['slug']}/outgoing-webhooks"
        made = await root.post(path, {**BODY, "name": text})
    return int(made["id"])


SAMPLE = Sample("outgoing_webhook_id", make, most=18)
