from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.person import Person
from tests.posting import Hook
from tests.samples import Sample, by_root


async def make(person: Person, names: Mapping[str, Any], text: str) -> int:
    """One that failed, and fails again."""
    path = f"/projects/{names['slug']}/webhooks/{names['webhook_id']}"
    async with by_root(person) as root:
        token = await root.post(f"{path}/regenerate", status=200)
        hook = Hook(root, path, {"id": names["webhook_id"], "type": "generic", **token})
        await hook.post(text.encode(), status=400)
        newest = (await hook.deliveries())[0]
    return int(newest["id"])


SAMPLE = Sample(
    "delivery_id",
    make,
    at="/projects/{slug}/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
)
