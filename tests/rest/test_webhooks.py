"""Webhooks as their owners manage them, and what the generic one does."""

from __future__ import annotations

from tests.conftest import Board
from tests.person import Person
from tests.posting import hook


async def test_a_line_is_seen_live_and_in_the_chat(board: Board, olga: Person, bob: Person) -> None:
    ci = await hook(olga, name="CI")
    async with bob.socket("demo") as socket:
        answer = await ci.post({"text": "Deployed 🚀", "username": "Robot"})
        event = await socket.next("chat.message")
    message = event["payload"]
    assert answer == {"ok": True, "id": message["id"]}
    assert (event["actor_id"], message["user_id"], message["user"]) == (None, None, None)
    assert (message["is_bot"], message["bot_name"], message["body"]) == (
        True,
        "Robot",
        "Deployed 🚀",
    )
    assert await bob.get(f"{board.path}/chat/messages") == [message]
    await ci.post({"text": "Again"})
    assert (await bob.get(f"{board.path}/chat/messages"))[-1]["bot_name"] == "CI"


async def test_the_token_is_shown_once(board: Board, olga: Person) -> None:
    made = await olga.post(f"{board.path}/webhooks", {"name": " CI ", "secret": "hush hush"})
    token = made.pop("token")
    assert made.pop("url").endswith(f"/api/v1/webhooks/{token}")
    assert (made["name"], made["token_hint"], made["has_secret"]) == ("CI", token[-8:], True)
    assert await olga.get(f"{board.path}/webhooks") == [made]
    assert token not in str(await olga.get(f"{board.path}/webhooks"))
