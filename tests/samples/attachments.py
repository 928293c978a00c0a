from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.person import Person
from tests.samples import Sample
from tests.uploads import upload


async def make(person: Person, names: Mapping[str, Any], text: str) -> int:
    path = f"/projects/{names['slug']}/cards/{names['card_id']}/attachments"
    return int((await upload(person, path, (f"{text}.txt", text.encode())))["id"])


SAMPLE = Sample(
    "attachment_id",
    make,
    deletes="/projects/{slug}/cards/{card_id}/attachments/{attachment_id}",
    most=100,
)
