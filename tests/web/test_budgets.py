"""What the first board costs: the bytes that are sent for it, gzipped as they come, and requests.

The board has ten columns of fifty cards. All is counted that a browser which was never here asks
for, from the page to the quiet requests that come after the cards: files, words, answers, sockets.
The bounds are what the page is meant to stay below, and all of them hold.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from playwright.async_api import Request, WebSocket, expect

from tests.conftest import Board
from tests.person import Person
from tests.web.conftest import Visit

KB = 1000
SCRIPT = 70 * KB
STYLE = 15 * KB
WHOLE = 180 * KB
REQUESTS = 35

COLUMNS = 10
CARDS = 50
SHOWN = 30
"""So many cards of each stand in the page: what fills this screen twice."""


async def furnish(board: Board, olga: Person, connection: Any) -> None:
    """Ten columns of fifty cards, as people have them."""
    for number in range(COLUMNS - 4):
        await olga.post(f"{board.path}/columns", {"name": f"Column {number}"})
    await connection.execute(
        "insert into cards (project_id, column_id, title, description, position, card_number)"
        " select $1, id, 'Card ' || n || ' of the column ' || name, 'Some words', 1000 * n,"
        " 1000 * id + n from columns, generate_series(1, $2) as n where project_id = $1",
        board.id,
        CARDS,
    )


async def test_the_first_board_stays_below_its_budgets(
    board: Board, olga: Person, connection: Any, visit: Visit
) -> None:
    await furnish(board, olga, connection)
    # An answer of the API, of which nothing is kept: what is counted begins after it.
    visitor = await visit("alice", "/api/v1/system/settings", service_workers="block")
    visitor.allowed.append("Service Worker registration blocked")
    page = visitor.page
    asked: list[Request] = []
    sockets: list[WebSocket] = []

    def note(one: Request) -> None:
        asked.append(one)

    def note_socket(one: WebSocket) -> None:
        sockets.append(one)

    page.on("request", note)
    page.on("websocket", note_socket)

    async with page.expect_response("**/conversations?*") as last:
        await page.goto(f"{visitor.url}/p/demo")
    await last.value
    await expect(page.locator("section.column")).to_have_count(COLUMNS)
    await expect(page.locator(".tile")).to_have_count(COLUMNS * SHOWN)
    await page.wait_for_load_state("networkidle")
    sent: Counter[str] = Counter()
    for each in asked:
        await each.response()
        sent[each.resource_type] += (await each.sizes())["responseBodySize"]
    worker = 1  # the service worker, which a browser asks for beside the page

    assert sent["script"] <= SCRIPT
    assert sent["stylesheet"] <= STYLE
    assert sent.total() <= WHOLE
    assert len(asked) + len(sockets) + worker <= REQUESTS
    # What is not asked for is not counted: these were.
    assert len(sockets) == 2
    assert sent["script"] > SCRIPT / 2
    assert sent["stylesheet"] > STYLE / 2
    assert sent["fetch"] > 10 * KB
