"""What a result of the search and a notification lead to: the thing itself, however far back."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from playwright.async_api import Page, expect

from tests.conftest import Board
from tests.person import Person
from tests.web.conftest import Visit


async def many(person: Person, path: str, count: int) -> list[Any]:
    """That many messages, replies or comments, in the order of their ids."""
    made: list[Any] = []
    for start in range(0, count, 20):
        some = range(start, min(count, start + 20))
        made += await asyncio.gather(*(person.post(path, {"body": f"line {n}"}) for n in some))
    return sorted(made, key=lambda each: each["id"])


async def home(visit: Visit, username: str) -> Page:
    """The first page of somebody, all there: what is typed earlier may be replaced."""
    page = (await visit(username)).page
    await expect(page.locator(".projects-group")).to_be_visible()
    return page


async def follow(page: Page, word: str, made: Any) -> None:
    """Search for the word, follow the first result, and see what was found."""
    await page.locator(".frame-search input").fill(word)
    await page.keyboard.press("Enter")
    found = page.locator(".search-found a", has_text=word).first
    await expect(found).to_be_visible()
    await found.click()
    await shows(page, made)


async def shows(page: Page, made: Any) -> None:
    row = page.locator(f'.talk-row[data-id="{made["id"]}"]')
    await expect(row).to_have_class(re.compile(r"\btarget\b"))
    await expect(row).to_be_in_viewport()


async def test_a_message_of_a_chat_is_shown(visit: Visit, alice: Person, board: Board) -> None:
    path = f"{board.path}/chat/messages"
    first = await alice.post(path, {"body": "the walrus sings"})
    await many(alice, path, 180)
    page = await home(visit, "olga")

    await follow(page, "walrus", first)

    # Again, after the newest were fetched: it is fetched again.
    await page.get_by_role("button", name="To the newest").click()
    await follow(page, "walrus", first)


async def test_another_message_of_the_open_conversation_is_shown(
    visit: Visit, alice: Person, board: Board
) -> None:
    conversation = await alice.post("/conversations", {"user_ids": [2]})
    path = f"/conversations/{conversation['id']}/messages"
    first = await alice.post(path, {"body": "the walrus sings"})
    await many(alice, path, 180)
    last = await alice.post(path, {"body": "the penguin dances"})
    page = await home(visit, "alice")

    await follow(page, "penguin", last)
    await follow(page, "walrus", first)

    # The open conversation heeds its address.
    await page.evaluate(
        "(to) => { const link = document.createElement('a'); link.href = to; link.id = 'to';"
        " link.textContent = 'there'; document.querySelector('main').append(link); }",
        f"/messages/{conversation['id']}?m={last['id']}",
    )
    await page.locator("#to").dispatch_event("click", {"button": 0})
    await shows(page, last)


async def test_a_reply_far_down_is_shown(visit: Visit, alice: Person, board: Board) -> None:
    topic = await alice.post(f"{board.path}/topics", {"title": "The zoo", "body": ""})
    path = f"{board.path}/topics/{topic['id']}/replies"
    await many(alice, path, 320)
    last = await alice.post(path, {"body": "the walrus sings"})
    page = await home(visit, "olga")

    await follow(page, "walrus", last)


async def test_a_comment_far_back_is_shown(visit: Visit, alice: Person, board: Board) -> None:
    card = await board.card("The zoo")
    path = f"{board.path}/cards/{card['id']}/comments"
    first = await alice.post(path, {"body": "the walrus sings"})
    await many(alice, path, 60)
    page = await home(visit, "olga")

    await follow(page, "walrus", first)


async def test_a_notification_leads_to_what_was_said(
    visit: Visit, alice: Person, board: Board
) -> None:
    card = await board.card("The zoo")
    topic = await board.maker.post(f"{board.path}/topics", {"title": "Animals", "body": ""})
    places = (
        f"{board.path}/chat/messages",
        f"{board.path}/topics/{topic['id']}/replies",
        f"{board.path}/cards/{card['id']}/comments",
    )
    visitor = await visit("olga", "/notifications")
    page = visitor.page
    for number, path in enumerate(places):
        made = await alice.post(path, {"body": f"@olga look at {number}"})
        await many(alice, path, 60)
        await page.get_by_role("link", name=re.compile("^Notifications")).first.click()
        told = page.locator(".notifications-one.fresh a", has_text=f"@olga look at {number}")
        await expect(told).to_be_visible()
        await told.click()
        await shows(page, made)
