from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.person import Person
from tests.samples import Sample

BODY = {"url": "https://192.88.100.1/hook", "enabled": False}
"""A public address, which nobody has to look up, and to which nothing is sent."""


async def make(person: Person, names: Mapping[str, Any], text: str) -> int:
    path = f"/projects/{names['slug']}/outgoing-webhooks"
    made = await person.post(path, {**BODY, "name": text})
    return int(made["id"])


SAMPLE = Sample(
    "outgoing_webhook_id",
    make,
    deletes="/projects/{slug}/outgoing-webhooks/{outgoing_webhook_id}",
    edits="name",
    most=18,
)
