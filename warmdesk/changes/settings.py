"""The change of system settings, as administrators make it over REST and operators on the host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import orjson

from warmdesk.changes.audit import audit
from warmdesk.db.queries import sql
from warmdesk.realtime.change import Change
from warmdesk.realtime.channels import CONTROL
from warmdesk.realtime.events import CONTROL_SETTINGS
from warmdesk.schemas.settings import SystemSettings


class Keeper(Protocol):
    """What reads and writes the rows of settings: `warmdesk.system.System`."""

    def read(self, rows: Iterable[Any]) -> SystemSettings: ...

    def written(self, key: str, value: Any) -> str: ...


async def changed(
    change: Change, keeper: Keeper, fields: Mapping[str, Any]
) -> tuple[SystemSettings, list[str]]:
    """Write settings whose values were checked; None is the default again. Gives all of them, and
    the keys of those that are others now, which every process hears of by the control feed.
    """
    await sql.settings.hold(change.connection)
    rows = await sql.settings.all(change.connection)
    before = keeper.read(rows)
    cleared = [row["key"] for row in rows if fields.get(row["key"], "") is None]
    written = {
        name: value
        for name, value in fields.items()
        if value is not None and value != getattr(before, name)
    }
    if not written and not cleared:
        return before, []
    await sql.settings.write(
        change.connection,
        keys=list(written),
        values=[keeper.written(key, value) for key, value in written.items()],
        cleared=cleared,
    )
    keys = sorted([*written, *cleared])
    after = keeper.read(await sql.settings.all(change.connection))
    for key in keys:
        values = {key: getattr(before, key)}, {key: getattr(after, key)}
        await audit(change, "setting.changed", before=values[0], after=values[1])
    change.emit(CONTROL, CONTROL_SETTINGS, orjson.dumps({"keys": keys}).decode())
    return after, keys
