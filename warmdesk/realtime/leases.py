"""The leases in Redis by which people are present. One call, which is ``presence.lua``, renews
them, lowers them and looks, for many rooms. `presence` decides what follows from its answer.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import time
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import orjson

from warmdesk.realtime.presence_frames import RoomPresence

LEASE_SECONDS = 8.0
TURN_SECONDS = 2.0
"""How often leases are renewed, all of a process in one turn."""
TURN_LIMIT = 1.0
LEAP_SECONDS = 2.5
"""How far Redis' clock may go apart from this process' own between two turns; and how late a turn
may come. Leases that were renewed in time have more than this left.
"""
AGAIN_SECONDS = 0.5
"""The pause after a turn that failed. Leases run on while Redis is away: a process that takes its
own again too late makes its users leave."""
NEWCOMER_SECONDS = 2.5
"""How long a process that begins waits for others that are late: longer than one of them needs to
find Redis again."""
USERS_A_CALL = 2000
CHANNELS_A_CALL = 50
ONLINE = "online"
"""The channel of all users who have any socket open."""

Request = dict[str, Any]


def doubt_seconds() -> float:
    """The longest that Redis may be silent to a process without a doubt. Whoever lives had renewed
    at most so long before that a turn was late; until the next answer the lease lasts, with a pause
    to spare.
    """
    spare = LEASE_SECONDS - TURN_SECONDS - LEAP_SECONDS - AGAIN_SECONDS
    return max(TURN_SECONDS + AGAIN_SECONDS, spare)


class LeaseAnswer(NamedTuple):
    """The answer of Redis: for each room of the requests; and signs that leases are doubtful.

    leapt   by how many seconds its clock and this process' own went apart since the last call,
            0 while that is little
    moved   it is another Redis than before, or one that was emptied: its leases are not known,
            and versions count anew
    late    this was the first call of this process, and another process is late with its turn:
            it died, or Redis was away until now
    """

    rooms: list[dict[str, Any]]
    leapt: float
    moved: bool
    late: bool


def lease_request(
    channel: str,
    presence: RoomPresence | None,
    present_ids: Collection[int],
    leaving: dict[int, float],
    now: float,
    *,
    look: bool,
) -> Request:
    """The request for one room: renew the leases of `present_ids`, lower those of the users who
    are `leaving` (to the moments given, by this process' clock); and list the room, when `look`.
    """
    return {
        "channel": channel,
        "known": -1 if presence is None or presence.present is None else presence.version,
        "renew": sorted(present_ids),
        "lower": [[user, max(1, round((moment - now) * 1000))] for user, moment in leaving.items()],
        "look": look and presence is not None,
    }


def batches(requests: list[Request]) -> Iterator[list[Request]]:
    """The requests in batches, each so small that other callers can wait for it."""
    batch: list[Request] = []
    size = 0
    for room in requests:
        batch.append(room)
        size += len(room["renew"]) + 10
        if size >= USERS_A_CALL:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _look(channel: str) -> Request:
    """The request of somebody who only looks."""
    return {"channel": channel, "known": -1, "renew": [], "lower": [], "look": True}


def _ids(users: str) -> list[int]:
    return [int(user) for user in users.split(",") if user]


class Leases:
    """The leases as one process (`process`) takes them, below the names of its installation. All
    calls raise what Redis raises, see `REDIS_AWAY`; none takes longer than a second.
    """

    def __init__(self, redis: Any, *, names: str, process: str, leave_delay: float) -> None:
        self.redis = redis
        self.names = names
        self.process = process
        self.leave_delay = leave_delay
        self._script = redis.register_script(
            importlib.resources.files("warmdesk.realtime")
            .joinpath("presence.lua")
            .read_text("utf-8")
        )
        self._run = ""
        self._clock_ahead: float | None = None

    async def call(self, requests: list[Request]) -> LeaseAnswer:
        """One turn for these rooms."""
        answer = await self._run_script(requests, turn=True)
        ahead = answer["clock"] / 1000 - time.monotonic()
        apart = 0.0 if self._clock_ahead is None else ahead - self._clock_ahead
        self._clock_ahead = ahead
        moved = bool(self._run) and answer["run"] != self._run
        self._run = answer["run"]
        leapt = apart if abs(apart) > LEAP_SECONDS else 0.0
        return LeaseAnswer(answer["rooms"], leapt, moved, answer["late"])

    async def end(self) -> None:
        """This process takes no more turns: a successor need not wait for it."""
        async with asyncio.timeout(TURN_LIMIT):
            await self.redis.hdel(f"{self.names}presence:turns", self.process)

    async def _run_script(self, requests: list[Request], *, turn: bool) -> dict[str, Any]:
        request = {
            "names": self.names,
            "process": self.process,
            "lease": round(LEASE_SECONDS * 1000),
            "most": round((max(LEASE_SECONDS, self.leave_delay) + LEAP_SECONDS) * 1000),
            "turn": round(TURN_SECONDS * 1000),
            "late": round((TURN_SECONDS + LEAP_SECONDS) * 1000),
            "takes": turn,
            "first": turn and not self._run,
            "rooms": requests,
        }
        async with asyncio.timeout(TURN_LIMIT):
            answer: dict[str, Any] = orjson.loads(await self._script(args=[orjson.dumps(request)]))
        return answer

    async def users(self, channel: str) -> list[int]:
        """The ids of the users in a channel, most recent first."""
        answer = await self._run_script([_look(channel)], turn=False)
        return _ids(answer["rooms"][0]["users"])[::-1]

    async def newest(self, channels: list[str], most: int) -> list[tuple[int, list[int]]]:
        """How many users are in each of these channels, and the ids of the last `most` who came,
        most recent first.
        """
        found: list[tuple[int, list[int]]] = []
        for start in range(0, len(channels), CHANNELS_A_CALL):
            some = [
                {**_look(channel), "newest": most}
                for channel in channels[start : start + CHANNELS_A_CALL]
            ]
            answer = await self._run_script(some, turn=False)
            found += [(room["count"], _ids(room["users"])) for room in answer["rooms"]]
        return found

    async def online(self, user_ids: list[int]) -> set[int]:
        """Which of these have any socket open, anywhere."""
        counts = await self.redis.hmget(f"{self.names}presence:counts:{ONLINE}", user_ids)
        return {
            user_id for user_id, count in zip(user_ids, counts, strict=True) if count is not None
        }

    async def everybody_online(self) -> set[int]:
        """All who have any socket open, anywhere."""
        return set(map(int, await self.redis.hkeys(f"{self.names}presence:counts:{ONLINE}")))
