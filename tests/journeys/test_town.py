"""Two hundred people in twenty projects and fifty conversations: nobody is told what they may not
see, nobody misses what they may, and every count is right.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.checkers.broken import breaks
from tests.journeys.conftest import Start
from tests.journeys.town import Size, Town

SMALL = Size(people=20, projects=3, conversations=6, hands=4)


async def test_everybody_hears_what_is_theirs(start: Start, connection: Any) -> None:
    server = await start(workers=2)
    async with Town(server.url, connection, SMALL) as town:
        await town.works(4)
        await town.judges()
    assert len(town.done) == 10
    assert town.private.messages > 5


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_everybody_of_two_hundred_hears_what_is_theirs(
    start: Start, connection: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server = await start(workers=2)
    async with Town(server.url, connection, Size()) as town:
        await town.works(60)
        await town.judges()
    with capsys.disabled():
        print(
            f"\n{town.done.total()} deeds, {town.private.messages} messages,"
            f" {town.private.notifications} notifications, {town.private.frames} frames of one's"
            f" own, {sum(len(visit.seqs) for visit in town.visits)} of {len(town.visits)} visits"
        )
    assert town.private.messages > 100


@pytest.mark.foul
@pytest.mark.long
@pytest.mark.parametrize(
    ("function", "right", "wrong", "words"),
    [
        (
            "send_conversation_messages",
            "inner join conversation_members m on m.conversation_id = conversations_[o.g]",
            "inner join project_members m on m.project_id = 1",
            r"user \d+ is told dm.message \d+ of conversation \d+, in which they are not",
        ),
        (
            "send_conversation_messages",
            "on m.conversation_id = conversations_[o.g];",
            "on m.conversation_id = conversations_[o.g] and m.user_id % 5 > 0;",
            r"message \d+ of conversation \d+ is not told to user \d+",
        ),
        (
            "read_notifications",
            "unread_notifications(user_) as unread",
            "unread_notifications(user_) + 1 as unread",
            r"unread notifications that user \d+ followed is \d+, a recount gives \d+",
        ),
    ],
)
async def test_what_goes_wrong_is_found(
    function: str, right: str, wrong: str, words: str, start: Start, connection: Any
) -> None:
    server = await start(workers=2)
    await breaks(connection, function, right, wrong)
    async with Town(server.url, connection, SMALL) as town:
        await town.works(2)
        with pytest.raises(AssertionError, match=words):
            await town.judges()
