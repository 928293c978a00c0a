"""Projects: the list, making one, the board, changing, archiving, stars."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.checkers.mirror import OWN_VIEW
from tests.conftest import Board, Invite
from tests.person import Person

LONG = "a very long name " * 11


async def slugs(person: Person, query: str = "") -> list[str]:
    return [project["slug"] for project in await person.get(f"/projects{query}")]


async def test_a_new_project_has_its_owner_columns_and_labels(eve: Person) -> None:
    async with eve.socket("user") as hers:
        made = await eve.post(
            "/projects", {"name": " My Project ", "description": "What for", "color": "#10b981"}
        )
        told = await hers.next("project.created")

    assert told["payload"] == {"slug": "my-project"}
    assert (made["name"], made["slug"], made["key_prefix"]) == ("My Project", "my-project", "MPY")
    assert (made["description"], made["color"]) == ("What for", "#10b981")
    assert (made["my_role"], made["starred"], made["created_by_id"]) == ("owner", False, eve.id)
    assert (made["open_card_count"], made["member_count"], made["is_archived"]) == (0, 1, False)
    board = await eve.get("/projects/my-project")
    columns = [(column["name"], column["position"]) for column in board["columns"]]
    assert columns == [("Backlog", 1000), ("In Progress", 2000), ("Review", 3000), ("Done", 4000)]
    assert [(label["name"], label["color"]) for label in board["labels"]] == [
        ("Bug", "#ef4444"),
        ("Feature", "#3b82f6"),
        ("Design", "#8b5cf6"),
        ("Content", "#10b981"),
    ]
    assert [(m["user_id"], m["role"]) for m in board["members"]] == [(eve.id, "owner")]
    assert board["created_by"] == board["members"][0]["user"]
    assert {key: board[key] for key in made} == made


async def test_a_created_project_is_there_at_once_for_who_asked_before(eve: Person) -> None:
    await eve.get("/projects/my-project", status=404)
    await eve.post("/projects", {"name": "My Project"})
    await eve.get("/projects/my-project")


@pytest.mark.parametrize(
    ("name", "slug", "prefix"),
    [
        ("myproject", "myproject", "MYPROJ"),
        ("My Big Task List", "my-big-task-list", "MBT"),
        ("  --Hello,  World!! ", "hello-world", "HWE"),
        ("3D Printing", "3d-printing", "P3PD"),
        ("A", "a", "AX"),
        ("Ünï", "n", "NX"),
        ("日本", "project", "PX"),
        ("user", "user-2", "USER"),
        (LONG, ("a-very-long-name-" * 6)[:100].rstrip("-"), "AVL"),
    ],
)
async def test_slug_and_key_prefix_come_from_the_name(
    eve: Person, name: str, slug: str, prefix: str
) -> None:
    made = await eve.post("/projects", {"name": name})
    assert (made["slug"], made["key_prefix"]) == (slug, prefix)


async def test_names_that_are_taken_get_a_number(eve: Person, olga: Person, root: Person) -> None:
    made = [await person.post("/projects", {"name": "War"}) for person in (eve, olga, root)]
    assert [project["slug"] for project in made] == ["war", "war-2", "war-3"]
    assert [project["key_prefix"] for project in made] == ["WAR", "WAR2", "WAR3"]
    await eve.delete("/projects/war")
    assert (await eve.post("/projects", {"name": "War"}))["slug"] == "war-4"


async def test_twenty_projects_of_one_name_at_once_are_twenty_projects(
    eve: Person, olga: Person
) -> None:
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(person.post("/projects", {"name": "War Room"}))
            for person in (eve, olga) * 10
        ]
    made = [each.result() for each in asked]
    assert {project["slug"] for project in made} == {"war-room"} | {
        f"war-room-{n}" for n in range(2, 21)
    }
    assert len({project["key_prefix"] for project in made}) == 20
    assert all(re.fullmatch("[A-Z][A-Z0-9]{0,9}", project["key_prefix"]) for project in made)


async def test_a_key_prefix_may_be_chosen_unless_it_is_taken(eve: Person, olga: Person) -> None:
    made = await eve.post("/projects", {"name": "First", "key_prefix": "X1"})
    assert made["key_prefix"] == "X1"
    refused = await olga.post("/projects", {"name": "Second", "key_prefix": "X1"}, status=409)
    assert refused["fields"] == {"key_prefix": "taken"}
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(
                person.request("POST", "/projects", {"name": "Third", "key_prefix": "T"})
            )
            for person in (eve, olga) * 3
        ]
    assert sorted(each.result().status for each in asked) == [201] + [409] * 5
    for wrong in ("", "x", "1A", "ABCDEFGHIJK", "A-B", "Ä"):
        await eve.post("/projects", {"name": "Wrong", "key_prefix": wrong}, status=400)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"name": ""},
        {"name": " \t"},
        {"name": "x" * 201},
        {"name": 7},
        {"name": "Nul\0"},
        {"name": "Right", "color": "blue"},
        {"name": "Right", "description": "x" * 100_001},
        [],
    ],
)
async def test_a_project_that_is_written_wrongly_is_refused(eve: Person, wrong: Any) -> None:
    await eve.post("/projects", wrong, status=400)
    assert await eve.get("/projects") == []


async def test_what_the_server_owns_is_not_taken_from_a_body(eve: Person) -> None:
    made = await eve.post(
        "/projects",
        {"name": "Mine", "id": 99, "slug": "other", "created_by_id": 1, "is_archived": True},
    )
    assert (made["slug"], made["created_by_id"], made["is_archived"]) == ("mine", eve.id, False)


async def test_settings_decide_what_a_project_starts_with(eve: Person, connection: Any) -> None:
    await connection.execute(
        "insert into system_settings values ('default_columns', $1), ('default_labels', $2)",
        "\n Inbox \r\n\n Test & Review\n",
        "\n".join(["One", "one", "Two", *(f"L{n}" for n in range(8))]),
    )
    await eve.post("/projects", {"name": "Mine"})
    board = await eve.get("/projects/mine")
    assert [column["name"] for column in board["columns"]] == ["Inbox", "Test & Review"]
    assert [column["position"] for column in board["columns"]] == [1000, 2000]
    assert [label["name"] for label in board["labels"]] == ["One", "Two"] + [
        f"L{n}" for n in range(8)
    ]
    assert board["labels"][0]["color"] == board["labels"][7]["color"] == "#ef4444"

    await connection.execute("update system_settings set value = ' '")
    await eve.post("/projects", {"name": "Other"})
    board = await eve.get("/projects/other")
    assert [column["name"] for column in board["columns"]] == ["Backlog"]
    assert board["labels"] == []


async def test_only_administrators_create_projects_when_the_setting_says_so(
    eve: Person, root: Person, connection: Any
) -> None:
    await connection.execute(
        "insert into system_settings values ('users_can_create_projects', 'false')"
    )
    await eve.post("/projects", {"name": "Mine"}, status=403)
    await root.post("/projects", {"name": "Mine"})


async def test_viewers_and_service_accounts_create_nothing(
    root: Person, person: Invite, connection: Any
) -> None:
    for role in ("viewer", "metrics", "backup"):
        new = await root.post(
            "/users",
            {
                "email": f"{role}@example.org",
                "username": role,
                "password": "correct horse battery",
                "global_role": role,
            },
        )
        account = person(role, id=new["id"])
        await account.post("/projects", {"name": "Mine"}, status=403)
        if role == "viewer":
            assert await account.get("/projects") == []
        else:
            await account.get("/projects", status=403)
            await account.get("/starred-projects", status=403)
    assert await connection.fetchval("select count(*) from projects") == 0


async def test_everybody_lists_what_they_see_by_name(
    eve: Person, olga: Person, alice: Person, root: Person, board: Board
) -> None:
    for name in ("beta", "Alpha", "Zeta"):
        await eve.post("/projects", {"name": name})
    await board.card("Fix the door")
    closed = await board.card("Done already")
    await alice.put(f"{board.path}/cards/{closed['id']}", {"closed": True})

    assert await slugs(eve) == ["alpha", "beta", "zeta"]
    assert await slugs(alice) == ["demo"]
    assert await slugs(root) == ["alpha", "beta", "demo", "zeta"]
    assert await slugs(root, "?mine=1") == []
    assert await slugs(eve, "?q=ET") == ["beta", "zeta"]
    assert await slugs(eve, "?q=%25") == []
    hers = (await alice.get("/projects"))[0]
    assert (hers["my_role"], hers["open_card_count"], hers["member_count"]) == ("member", 1, 3)
    everything = await root.get("/projects")
    assert {project["my_role"] for project in everything} == {"owner"}


async def test_archived_projects_are_listed_only_when_asked_for(olga: Person, board: Board) -> None:
    await olga.delete(board.path)
    assert await slugs(olga) == []
    assert await slugs(olga, "?include_archived=false") == []
    assert await slugs(olga, "?include_archived=true") == ["demo"]
    await olga.get("/projects?include_archived=perhaps", status=400)


async def test_projects_come_in_pages(eve: Person) -> None:
    for name in ("c", "B", "a", "D", "ä", "b", "b"):
        await eve.post("/projects", {"name": name})
    everything = await eve.get("/projects")
    names = [project["name"] for project in everything]
    assert names == ["a", "B", "b", "b", "c", "D", "ä"]
    assert [project async for project in eve.client.items("/projects?limit=3")] == everything
    assert len(await eve.get("/projects?limit=0")) == 1
    assert "Link" not in (await eve.request("GET", "/projects?limit=100000")).headers
    for wrong in ("limit=two", "cursor=x", "cursor=bnVsbA", "cursor=WyJcdTAwMDAiLDFd"):
        await eve.get(f"/projects?{wrong}", status=400)


async def test_a_page_names_no_secret_of_the_request(eve: Person) -> None:
    for name in ("a", "b"):
        await eve.post("/projects", {"name": name})
    answer = await eve.request("GET", "/projects?limit=1&api_key=wd_secret&q=")
    assert 'rel="next"' in answer.headers["Link"]
    assert "wd_secret" not in answer.headers["Link"]


async def test_a_project_changes_only_where_it_is_told_to(
    olga: Person, bob: Person, board: Board
) -> None:
    async with bob.socket("demo") as his:
        changed = await olga.put(
            board.path, {"name": " New ", "description": "Text", "color": "#10b981"}
        )
        told = await his.next("project.updated")

    assert (changed["name"], changed["slug"], changed["my_role"]) == ("New", "demo", "owner")
    assert told["payload"]["changes"] == ["name", "description", "color"]
    assert told["payload"]["project"] == {
        key: value for key, value in changed.items() if key not in OWN_VIEW
    }
    cleared = await olga.put(board.path, {"description": None, "color": ""})
    assert (cleared["name"], cleared["description"]) == ("New", "")
    assert cleared["color"] == "#6366f1"
    before = await olga.get(board.path)
    await olga.put(board.path, {"name": "New", "slug": "demo", "key_prefix": "DEMO"})
    assert await olga.get(board.path) == before


async def test_slug_and_key_prefix_never_change(olga: Person, board: Board) -> None:
    await olga.put(board.path, {"slug": "other", "name": "New"}, status=422)
    await olga.put(board.path, {"key_prefix": "OTHER"}, status=422)
    assert (await olga.get(board.path))["name"] == "Demo"


async def test_only_owners_change_and_archive(
    olga: Person, alice: Person, bob: Person, eve: Person, root: Person, board: Board
) -> None:
    await olga.put(f"{board.path}/members/{alice.id}", {"role": "admin"})
    for person, status in ((alice, 403), (bob, 403), (eve, 404)):
        await person.put(board.path, {"name": "Mine"}, status=status)
        await person.put(board.path, {"is_archived": True}, status=status)
        await person.delete(board.path, status=status)
    await root.put(board.path, {"name": "Ours"})


async def test_an_archived_project_is_read_only_until_it_comes_back(
    olga: Person, alice: Person, bob: Person, board: Board
) -> None:
    async with bob.socket("demo") as his:
        await olga.delete(board.path)
        assert (await his.next("project.archived"))["payload"] == {"slug": "demo"}
        await olga.delete(board.path)
        await olga.put(board.path, {"is_archived": True})

        shown = await bob.get(board.path)
        assert (shown["is_archived"], shown["archived_at"] is not None) == (True, True)
        refused = await olga.put(board.path, {"name": "No"}, status=422)
        assert refused["code"] == "project_archived"
        await olga.put(board.path, {"name": "No", "is_archived": True}, status=422)
        await alice.post(f"{board.path}/columns/{board.backlog}/cards", {"title": "No"}, status=422)

        back = await olga.put(board.path, {"is_archived": False, "name": "Back"})
        assert (await his.next("project.unarchived"))["payload"] == {"slug": "demo"}
        assert (await his.next("project.updated"))["payload"]["changes"] == ["name"]
        assert his.waiting("project.archived") == []
    assert (back["is_archived"], back["archived_at"], back["name"]) == (False, None, "Back")
    await board.card("Again")


async def test_a_star_is_the_readers_own(
    alice: Person, bob: Person, eve: Person, olga: Person, board: Board
) -> None:
    before = await bob.get(board.path)
    assert await bob.post(f"{board.path}/star", status=200) == {"starred": True}
    assert await bob.post(f"{board.path}/star", status=200) == {"starred": True}

    assert (await bob.get(board.path))["starred"] is True
    assert (await alice.get(board.path))["starred"] is False
    assert [project["slug"] for project in await bob.get("/starred-projects")] == ["demo"]
    assert await alice.get("/starred-projects") == []
    await eve.post(f"{board.path}/star", status=404)
    await eve.delete(f"{board.path}/star", status=404)

    await olga.delete(board.path)
    assert await bob.get("/starred-projects") == []
    archived = await bob.get("/starred-projects?include_archived=true")
    assert [project["starred"] for project in archived] == [True]
    await bob.delete(f"{board.path}/star")
    await bob.delete(f"{board.path}/star")
    assert (await bob.get(board.path))["starred"] is False
    assert before["seq"] + 1 == (await bob.get(board.path))["seq"]


async def test_a_removed_member_sees_no_star(olga: Person, bob: Person, board: Board) -> None:
    await bob.post(f"{board.path}/star", status=200)
    await olga.delete(f"{board.path}/members/{bob.id}")
    assert await bob.get("/starred-projects") == []


async def test_a_project_is_nothing_to_strangers(eve: Person, board: Board) -> None:
    for path in ("", "?include=labels", "/columns", "/members"):
        refused = await eve.get(f"{board.path}{path}", status=404)
        assert refused["error"] == "project not found"
    assert await eve.get("/projects") == []
    await eve.get("/projects/nothing-there", status=404)


async def test_a_board_has_the_parts_that_were_asked_for(alice: Person, board: Board) -> None:
    await board.card("Fix the door")
    whole = await alice.get(board.path)
    parts = {"columns", "labels", "members"}

    for include, present in (
        ("", set()),
        ("labels", {"labels"}),
        ("labels,members", {"labels", "members"}),
        ("columns", {"columns"}),
        ("cards", {"columns"}),
        ("columns, cards,labels,members", parts),
    ):
        shown = await alice.get(f"{board.path}?include={include}")
        assert parts & shown.keys() == present, include
        assert {key: shown[key] for key in shown.keys() - {"columns"}} == {
            key: whole[key] for key in shown.keys() - {"columns"}
        }
    bare = await alice.get(f"{board.path}?include=columns")
    assert "cards" not in bare["columns"][0]
    assert bare["columns"][0]["card_count"] == 1
    assert (await alice.get(f"{board.path}?include=cards"))["columns"] == whole["columns"]
    await alice.get(f"{board.path}?include=cards,everything", status=400)


async def test_an_unchanged_board_is_not_sent_again(
    alice: Person, bob: Person, olga: Person, board: Board
) -> None:
    async def asked(person: Person, tag: str = "") -> tuple[int, str]:
        answer = await person.request("GET", board.path, headers={"If-None-Match": tag})
        return answer.status, answer.headers["ETag"]

    status, tag = await asked(alice)
    assert status == 200
    assert await asked(alice, tag) == (304, tag)
    assert await asked(alice, f'"other", W/{tag}') == (304, tag)
    assert (await asked(bob, tag))[0] == 200, "another role, another board"

    await alice.post(f"{board.path}/star", status=200)
    status, starred = await asked(alice, tag)
    assert (status, starred != tag) == (200, True)
    await board.card("Fix the door")
    status, newer = await asked(alice, starred)
    assert (status, newer != starred) == (200, True)
    await olga.put(f"{board.path}/members/{alice.id}", {"role": "viewer"})
    status, viewer = await asked(alice, newer)
    assert (status, viewer != newer) == (200, True)
    assert (await asked(alice, viewer))[0] == 304
