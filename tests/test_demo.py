"""``warmdesk demo``: a team at work, made and played as clients do it, again and again."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.conftest import changed_settings, check_feeds, serving, until
from tests.journeys.running import SECRETS, Running, command
from tests.person import Person
from warmdesk import demo
from warmdesk.commands.shared import HERE, Status
from warmdesk.config import Settings
from warmdesk.db.queries import sql
from warmdesk.demo import inside, making, playing
from warmdesk.demo.playing import Player

STORY = demo.story()
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def given(empty_database_url: str, redis_url: str, tmp_path: Path) -> dict[str, Any]:
    """Settings of an installation without anybody."""
    secrets = {name.removeprefix("WARMDESK_").lower(): value for name, value in SECRETS.items()}
    place = {"database_url": empty_database_url, "redis_url": redis_url}
    return place | secrets | {"file_store": tmp_path / "files", "data_dir": tmp_path}


@pytest.fixture
def settings(request: pytest.FixtureRequest, given: dict[str, Any]) -> Settings:
    urls = {name: given[name] for name in ("database_url", "redis_url")}
    return changed_settings(request, **urls)


async def check_all(dsn: str) -> None:
    """What was made is as the server makes it."""
    await check_feeds(dsn)
    connection = await asyncpg.connect(dsn)
    assert [row["fault"] for row in await sql.server.faults(connection)] == []
    await connection.close()


async def test_the_demo_is_a_team_at_work(given: dict[str, Any], settings: Settings) -> None:
    status, out, aside = await command("demo", "--json", **given)
    assert status == 0, aside
    made = json.loads(out)
    assert (made["username"], made["slug"]) == ("nora.lindqvist", "riverside-library")
    assert made["url"] == "http://127.0.0.1:8080/p/riverside-library"
    await check_all(given["database_url"])

    async with serving(settings) as door:
        nora = Person(door.url, "nora.lindqvist", password=made["password"])
        helen = Person(door.url, "helen.brooks", password=made["password"])
        assert (await nora.get("/users/me"))["global_role"] == "admin"
        assert (await helen.get("/users/me"))["global_role"] == "user"
        place = "/projects/riverside-library"
        board = await nora.get(f"{place}?include=columns,cards,labels,members")
        assert [each["name"] for each in board["columns"]] == list(making.STAGES)
        assert len(board["members"]) == len(STORY["people"])
        assert board["unread_count"] == len(STORY["chat"]["lines"]) - 1 - STORY["chat"]["read"]
        cards = {each["title"]: each for column in board["columns"] for each in column["cards"]}
        assert cards.keys() == {each["title"] for each in STORY["cards"]}
        for told in STORY["cards"]:
            card = cards[told["title"]]
            assert len(card["assignees"]) == len(told["who"])
            assert card["checklist_total"] == len(told.get("steps", []))
            assert card["comment_count"] == len(told.get("talk", []))
            assert card["attachment_count"] == ("file" in told)
        calendar = cards["Calendar of events, as people read it"]
        history = await nora.get(f"{place}/cards/{calendar['id']}/history")
        assert len([each for each in history if "amara.okafor" in str(each["user"])]) >= 2
        (file,) = await nora.get(f"{place}/cards/{calendar['id']}/attachments")
        assert (file["filename"], file["mime_type"]) == ("calendar.png", "image/png")
        assert cards["Reservations on a phone"]["time_spent_minutes"] == 240 + 45 + 300 + 210
        topics = await nora.get(f"{place}/topics")
        assert {each["title"]: each["reply_count"] for each in topics} == {
            each["title"]: len(each["replies"]) for each in STORY["topics"]
        }
        assert [each["is_pinned"] for each in topics] == [True, False, False]
        messages = await nora.get(f"{place}/chat/messages")
        assert len(messages) == len(STORY["chat"]["lines"])
        assert "@helen.brooks" in str(messages)
        assert {each["name"] for each in await nora.get("/conversations")} == {
            None,
            STORY["group"]["name"],
        }
        kinds = {each["kind"] for each in (await helen.get("/notifications"))["items"]}
        assert {"mention", "project_added"} <= kinds
        await nora.close()
        await helen.close()


async def test_it_is_found_again_and_made_anew(given: dict[str, Any], settings: Settings) -> None:
    first = json.loads((await command("demo", "--json", **given))[1])
    status, out, _ = await command("demo", **given)
    assert status == 0
    assert "It was there already; nora.lindqvist owns it." in out
    assert first["password"] not in out
    assert "password" not in json.loads((await command("demo", "--json", **given))[1])

    base = {"base_url": "https://desk.example.org/"}
    status, out, aside = await command("demo", "--again", **given, **base)
    assert status == 0, aside
    assert "is at https://desk.example.org/p/riverside-library-2\n" in out
    assert "administrator" not in out
    found = re.search(r"^Sign in as nora\.lindqvist with the password (\S{20})$", out, re.MULTILINE)
    assert found is not None
    await check_all(given["database_url"])
    async with serving(settings) as door:
        old = Person(door.url, "nora.lindqvist", password=first["password"])
        refused = await old.client.request(
            "POST", "/auth/login", {"username": old.username, "password": first["password"]}
        )
        assert refused.status == 401
        nora = Person(door.url, "nora.lindqvist", password=found[1])
        assert [each["slug"] for each in await nora.get("/projects")] == ["riverside-library-2"]
        every = await nora.get("/projects?include_archived=true")
        assert len(every) == 2, "the one of before is archived"
        assert len(await nora.get("/conversations")) == 2, "they are no project's"
        await old.close()
        await nora.close()


async def test_it_goes_by_the_settings_of_the_installation(
    given: dict[str, Any], settings: Settings
) -> None:
    for key, value in (
        ("default_columns", "Ideas\nDone"),
        ("default_labels", "Bug\nOther"),
        ("password_min_length", "30"),
        ("password_require_special", "on"),
    ):
        await command("set", key, value, **given)
    status, out, aside = await command("demo", "--json", **given)
    assert status == 0, aside
    made = json.loads(out)
    assert len(made["password"]) == 30
    async with serving(settings) as door:
        nora = Person(door.url, "nora.lindqvist", password=made["password"])
        board = await nora.get("/projects/riverside-library")
        assert [each["name"] for each in board["columns"]] == list(making.STAGES)
        assert {each["name"] for each in board["labels"]} == {
            each["name"] for each in STORY["labels"]
        }
        await nora.close()


async def test_who_has_a_name_of_the_team_keeps_it(given: dict[str, Any]) -> None:
    new = ["create-user", "amara.okafor", "amara@example.org"]
    assert (await command(*new, given="another good password\n", **given))[0] == 0
    status, out, aside = await command("demo", **given)
    assert (status, out, aside.splitlines()[-1]) == (1, "", "warmdesk: the username is taken")


async def test_they_go_on_and_who_looks_sees_it(given: dict[str, Any], settings: Settings) -> None:
    made = json.loads((await command("demo", "--json", **given))[1])
    async with serving(settings) as door:
        nora = Person(door.url, "nora.lindqvist", password=made["password"])
        async with nora.socket(made["slug"]) as socket:
            await socket.next("hello")
            playing_it = asyncio.create_task(
                command("demo", "--play", "--minutes", "0.15", **given)
            )
            status, _, aside = await playing_it
            assert status == 0, aside
            await socket.settle()
            done = re.findall(r"^(\d+) steps were done\.$", aside, re.MULTILINE)
            assert int(done[0]) >= 1
            assert len(socket.events) >= 1
            assert len([each for each in socket.frames if each["type"] == "presence.join"]) >= 5
        await nora.close()
    await check_all(given["database_url"])


async def test_a_long_day_leaves_a_board_that_is_still_one(
    given: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SHORTEST", "LONGEST", "TYPING_SECONDS"):
        monkeypatch.setattr(playing, name, 0.0)
    said: list[str] = []
    async with AsyncExitStack() as closing:
        there = await closing.enter_async_context(inside.serving(settings, HERE))
        ids, _ = await making.make_people(there, STORY, "another good password")
        team = making.Team(there, STORY, ids)
        await team.sign_in(closing)
        slug = await making.make_project(team, lambda steps, now: None)
        player = Player(team, slug, seed=7)
        task = asyncio.create_task(player.play(None, said.append))
        await until(lambda: len(said) >= 150 or task.done(), limit=90)
        assert not task.done() or task.result()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        board = await team.clients["nora"].get(f"/projects/{slug}")
    words = " ".join(said)
    for kind in ("moved", "said", "commented", "did", "put", "added", "archived"):
        assert f" {kind} " in words, kind
    sizes = [len(each["cards"]) for each in board["columns"]]
    assert all(0 <= size <= 20 for size in sizes), sizes
    await check_all(settings.database_url)


async def test_a_project_that_is_archived_meanwhile_ends_it(
    given: dict[str, Any], settings: Settings
) -> None:
    made = json.loads((await command("demo", "--json", **given))[1])
    async with serving(settings) as door:
        nora = Person(door.url, "nora.lindqvist", password=made["password"])
        async with nora.socket(made["slug"]) as socket:
            playing_it = asyncio.create_task(command("demo", "--play", **given))
            await socket.next("presence.join", limit=60)
            await nora.delete(f"/projects/{made['slug']}")
            status, _, aside = await playing_it
        await nora.close()
    assert status == Status.FAILED
    assert aside.splitlines()[-1] == "warmdesk: the demo project is not there any more"


@pytest.mark.parametrize(
    "arguments", [["--minutes", "5"], ["--play", "--minutes", "0"], ["--play", "--minutes", "nan"]]
)
async def test_minutes_that_cannot_be(arguments: list[str], given: dict[str, Any]) -> None:
    status, out, aside = await command("demo", *arguments, **given)
    assert (status, out, aside.count("\n")) == (Status.MISTAKE, "", 1)


@pytest.mark.long
async def test_the_demo_is_there_when_the_server_starts_and_while_it_runs(tmp_path: Path) -> None:
    given: dict[str, Any] = {"data_dir": tmp_path / "data"}
    status, out, aside = await command("demo", "--json", **given)
    assert status == 0, aside
    made = json.loads(out)
    async with Running(directory=given["data_dir"]) as running:
        nora = Person(running.url, "nora.lindqvist", password=made["password"])
        assert (await nora.get(f"/projects/{made['slug']}"))["open_card_count"] > 10
        status, _, aside = await command("demo", "--again", **given)
        assert status == 0, aside
        await nora.close()


def test_the_story_knows_its_people() -> None:
    keys = [each["key"] for each in STORY["people"]]
    assert [STORY["people"][0]["role"], keys[0]] == ["owner", "nora"]
    writers = {each["key"] for each in STORY["people"] if each["role"] != "viewer"}
    assert {demo.username(each) for each in STORY["people"]} >= {"tomas.rivera", "ben.carter"}
    named = {card["by"] for card in STORY["cards"]} | {each["who"] for each in STORY["hours"]}
    for card in STORY["cards"]:
        named |= {*card["who"], *(line[0] for line in card.get("talk", []))}
        assert card["who"] or card["column"] == "Backlog"
        assert card["column"] in making.STAGES
    for talk in (STORY["chat"], STORY["group"], STORY["direct"]):
        named |= {line[0] for line in talk["lines"]}
    assert named <= writers
    titles = {card["title"] for card in STORY["cards"]}
    assert {each["card"] for each in STORY["hours"] if "card" in each} <= titles
    assert {card["file"] for card in STORY["cards"] if "file" in card} == set(making.FILES)
