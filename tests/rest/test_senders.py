"""Programs that people use already, pointed at the generic webhook."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from slack_sdk.webhook import WebhookClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from tests.conftest import Board
from tests.person import Person
from tests.posting import hook


async def last(person: Person) -> tuple[str, str]:
    """The newest line of the chat, and who said it."""
    message = (await person.get("/projects/demo/chat/messages?limit=1"))[0]
    return message["body"], message["bot_name"]


async def notify(address: str, title: str, body: str) -> int | None:
    """apprise's own command, as people call it: its exit status."""
    program = Path(sys.executable).with_name("apprise")
    words = ("--title", title, "--body", body, address.replace("http://", "json://"))
    process = await asyncio.create_subprocess_exec(program, *words, stderr=asyncio.subprocess.PIPE)
    await process.communicate()
    return process.returncode


async def test_apprise(board: Board, olga: Person, bob: Person) -> None:
    ci = await hook(olga, name="Backups")
    assert await notify(ci.url, "Backup", "It is **done** 🚀") == 0
    assert await last(bob) == ("**Backup**\nIt is **done** 🚀", "Backups")
    await olga.put(ci.path, {"enabled": False})
    assert await notify(ci.url, "Backup", "again") == 1


async def test_slack_sdk(board: Board, olga: Person, bob: Person) -> None:
    ci = await hook(olga, name="Slack")
    client = WebhookClient(ci.url)
    answer = await asyncio.to_thread(client.send, text="Build <https://ci.example.org/1|#1>")
    assert answer.status_code == 201
    assert await last(bob) == ("Build [#1](https://ci.example.org/1)", "Slack")
    block = {"type": "section", "text": {"type": "mrkdwn", "text": "It *failed*"}}
    answer = await AsyncWebhookClient(ci.url).send(
        blocks=[block], attachments=[{"text": "Line 3"}], headers={"Idempotency-Key": "one"}
    )
    assert answer.status_code == 201
    assert await last(bob) == ("It *failed*\nLine 3", "Slack")
