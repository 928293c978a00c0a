"""What hangs on a card: lists changed in parts, and one by one by paths of their own."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import Board, make_board, undescribed
from tests.person import Person
from tests.told import head, told_since
from warmdesk.schemas.cards import MAX_ASSIGNEES, MAX_TAGS

ALICE, BOB, EVE, OLGA, ROOT = 3, 4, 5, 2, 1


def brief(card: Any) -> tuple[list[int], list[int], list[str]]:
    """Ids of assignees and labels, and the tags' names."""
    return (
        [user["id"] for user in card["assignees"]],
        [label["id"] for label in card["labels"]],
        [tag["name"] for tag in card["tags"]],
    )


async def facts(person: Person, path: str) -> list[tuple[str, str]]:
    """The card's history, the oldest first, without its beginning."""
    found = [(each["event_type"], each["detail"]) for each in await person.get(f"{path}/history")]
    return found[-2::-1]


# In parts


async def test_lists_are_changed_in_parts(board: Board, alice: Person, bob: Person) -> None:
    bug, design = board.labels["Bug"], board.labels["Design"]
    card = await board.card(assignee_ids=[ALICE, OLGA], label_ids=[bug], tags=["one", "two"])
    path = f"{board.path}/cards/{card['id']}"
    async with bob.socket() as socket:
        changed = await alice.put(
            path,
            {
                "add_assignee_ids": [BOB, OLGA, BOB],
                "remove_assignee_ids": [ALICE, EVE],
                "add_label_ids": [design],
                "remove_label_ids": [bug, 999],
                "add_tags": ["#Three", "two"],
                "remove_tags": ["ONE", "never"],
            },
        )
        told = (await socket.next("board.card_updated"))["payload"]
    assert brief(changed) == ([OLGA, BOB], [design], ["two", "three"])
    assert (changed["assignee_id"], changed["version"]) == (OLGA, 2)
    assert told["changes"] == ["assignees", "labels", "tags"]
    assert brief(told) == brief(changed)
    assert sorted(await facts(alice, path)) == [
        ("assigned", "Bob"),
        ("label_added", "Design"),
        ("label_removed", "Bug"),
        ("tag_added", "three"),
        ("tag_removed", "one"),
        ("unassigned", "Alice"),
    ]


async def test_what_is_there_is_not_added_again(board: Board, alice: Person, bob: Person) -> None:
    bug = board.labels["Bug"]
    card = await board.card(assignee_ids=[ALICE], label_ids=[bug], tags=["one"])
    path = f"{board.path}/cards/{card['id']}"
    same: dict[str, Any]
    before = await head(bob, board)
    for same in (
        {"add_assignee_ids": [ALICE], "add_label_ids": [bug], "add_tags": ["One"]},
        {"remove_assignee_ids": [BOB], "remove_label_ids": [999], "remove_tags": ["two"]},
        {"add_assignee_ids": [], "remove_label_ids": [], "add_tags": []},
    ):
        assert (await alice.put(path, same))["version"] == 1
    assert await told_since(bob, board, before) == []
    assert await facts(alice, path) == []


@pytest.mark.parametrize(
    ("sent", "fields"),
    [
        ({"assignee_ids": [], "add_assignee_ids": [ALICE]}, ["assignee_ids", "add_assignee_ids"]),
        ({"assignee_id": None, "remove_assignee_ids": []}, ["assignee_id", "remove_assignee_ids"]),
        ({"label_ids": None, "remove_label_ids": [1]}, ["label_ids", "remove_label_ids"]),
        ({"tags": ["a"], "add_tags": ["b"]}, ["tags", "add_tags"]),
        ({"add_tags": ["#A"], "remove_tags": ["a", "b"]}, ["add_tags", "remove_tags"]),
        ({"add_label_ids": [1], "remove_label_ids": [1]}, ["add_label_ids", "remove_label_ids"]),
    ],
)
async def test_a_list_is_sent_whole_or_in_parts(
    board: Board, alice: Person, sent: dict[str, Any], fields: list[str]
) -> None:
    card = await board.card(tags=["kept"])
    refused = await alice.put(f"{board.path}/cards/{card['id']}", sent, status=422)
    assert refused["fields"] == dict.fromkeys(fields, "conflicting")
    shown = await alice.get(f"{board.path}/cards/{card['id']}")
    assert (brief(shown), shown["version"]) == (([], [], ["kept"]), 1)


@pytest.mark.parametrize(
    ("sent", "status", "fields"),
    [
        ({"add_assignee_ids": [EVE]}, 422, {"add_assignee_ids": "not_a_member"}),
        ({"add_label_ids": [999]}, 422, {"add_label_ids": "unknown"}),
        ({"add_tags": [" "]}, 400, {"add_tags": "blank"}),
        ({"remove_tags": ["x" * 105]}, 400, {"remove_tags": "too_long"}),
        ({"add_label_ids": None}, 400, {"add_label_ids": "required"}),
        ({"add_assignee_ids": list(range(1, 102))}, 400, {"add_assignee_ids": "too_long"}),
        ({"was": None}, 400, {"was": "required"}),
    ],
)
async def test_a_part_that_cannot_be_is_named(
    board: Board, alice: Person, sent: dict[str, Any], status: int, fields: dict[str, str]
) -> None:
    card = await board.card()
    body = {"title": "Not written"} | sent
    refused = await alice.put(f"{board.path}/cards/{card['id']}", body, status=status)
    assert refused["fields"] == fields
    assert (await alice.get(f"{board.path}/cards/{card['id']}"))["version"] == 1


async def test_a_member_who_is_not_active_is_told_apart(
    board: Board, alice: Person, root: Person
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    await root.put(f"/users/{BOB}", {"is_active": False})
    members = await alice.get(f"{board.path}/members")
    assert {each["user_id"]: each["is_active"] for each in members} == {
        OLGA: True,
        ALICE: True,
        BOB: False,
    }
    for body, field in (
        ({"assignee_ids": [BOB]}, "assignee_ids"),
        ({"add_assignee_ids": [BOB]}, "add_assignee_ids"),
    ):
        assert (await alice.put(path, body, status=422))["fields"] == {field: "not_active"}
    ticket = {"title": "T", "assignees": ["bob"]}
    refused = await alice.post(f"{board.path}/ticket", ticket, status=422)
    assert refused["fields"] == {"assignees": "not_active"}


async def test_a_list_gets_no_longer_by_parts(board: Board, alice: Person) -> None:
    card = await board.card(tags=[f"tag {n}" for n in range(MAX_TAGS - 1)])
    path = f"{board.path}/cards/{card['id']}"
    refused = await alice.put(path, {"add_tags": ["a", "b"]}, status=422)
    assert (refused["code"], list(refused["fields"])) == ("too_many_tags", ["add_tags"])
    await alice.put(path, {"add_tags": ["a"]})
    refused = await alice.post(f"{path}/tags", {"name": "b"}, status=422)
    assert (refused["code"], list(refused["fields"])) == ("too_many_tags", ["name"])
    await alice.post(f"{path}/tags", {"name": "A"}, status=200)
    await alice.put(path, {"add_tags": ["b"], "remove_tags": ["a"]})


@pytest.mark.foul
async def test_assignees_get_no_more_by_parts(board: Board, alice: Person, connection: Any) -> None:
    await connection.execute(
        "with made as (insert into users (email, username, password_hash, display_name)"
        " select 'u' || n, 'u' || n, 'x', 'U' from generate_series(1, $2::integer) as n"
        " returning id),"
        " there as (insert into project_members (project_id, user_id) select $1, id from made)"
        " select 1",
        board.id,
        MAX_ASSIGNEES,
    )
    ids = [
        row["id"] for row in await connection.fetch("select id from users where display_name = 'U'")
    ]
    card = await board.card(assignee_ids=ids)
    path = f"{board.path}/cards/{card['id']}"
    for refused in (
        await alice.put(path, {"add_assignee_ids": [ALICE]}, status=422),
        await alice.post(f"{path}/assignees/{ALICE}", status=422),
    ):
        assert refused["code"] == "too_many_assignees"
    changed = await alice.put(path, {"add_assignee_ids": [ALICE], "remove_assignee_ids": ids[:1]})
    assert len(changed["assignees"]) == MAX_ASSIGNEES


# What the client saw


async def test_a_field_that_is_something_else_is_not_overwritten(
    board: Board, alice: Person, olga: Person
) -> None:
    card = await board.card("Old", description="Text")
    path = f"{board.path}/cards/{card['id']}"
    await olga.put(path, {"title": "Hers", "priority": "high"})

    mine = {"title": "Mine", "was": {"title": "Old"}}
    refused = await alice.put(path, mine, status=409)
    assert refused["code"] == "version_conflict"
    assert (refused["current"]["title"], refused["current"]["description"]) == ("Hers", "Text")
    other = {"description": "Mine", "was": {"description": "Other"}}
    assert (await alice.put(path, other, status=409))["current"]["version"] == 2
    both = {"title": "Mine", "was": {"title": "Hers", "description": "Other"}}
    await alice.put(path, both, status=409)
    assert (await alice.get(path))["version"] == 2

    changed = await alice.put(path, {"description": "Mine", "was": {"description": "Text"}})
    assert (changed["title"], changed["description"]) == ("Hers", "Mine")
    changed = await alice.put(path, {"title": "Mine", "was": {"title": "Hers"}})
    assert (changed["title"], changed["version"]) == ("Mine", 4)
    assert (await alice.put(path, {"priority": "low", "was": {}}))["version"] == 5
    cleared = await alice.put(path, {"description": None, "was": {"description": "Mine"}})
    assert cleared["description"] == ""
    await alice.put(path, {"description": "New", "was": {"description": ""}})


# Assignees


async def test_a_card_is_assigned_by_a_path_of_its_own(
    board: Board, alice: Person, bob: Person
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    before = await head(bob, board)
    async with bob.socket() as socket:
        only = await alice.put(f"{path}/assignee", {"user_id": ALICE})
        told = [await socket.next("board.card_updated")]
        both = await alice.post(f"{path}/assignees/{BOB}", status=200)
        told.append(await socket.next("board.card_updated"))
        again = await alice.post(f"{path}/assignees/{BOB}", status=200)
        await alice.delete(f"{path}/assignees/{ALICE}")
        told.append(await socket.next("board.card_updated"))
        nobody = await alice.put(f"{path}/assignee", {"user_id": None})
        told.append(await socket.next("board.card_updated"))
    assert len(await told_since(bob, board, before)) == 4
    assert [user["id"] for user in only] == [ALICE]
    assert [user["id"] for user in both] == [ALICE, BOB]
    assert only[0].keys() == {"id", "username", "display_name", "avatar_url"}
    assert (again, nobody) == (both, [])
    assert [each["payload"]["changes"] for each in told] == [["assignees"]] * 4
    assert [each["payload"]["assignee_id"] for each in told] == [ALICE, ALICE, BOB, None]
    assert await facts(alice, path) == [
        ("assigned", "Alice"),
        ("assigned", "Bob"),
        ("unassigned", "Alice"),
        ("unassigned", "Bob"),
    ]
    await alice.delete(f"{path}/assignees/{ALICE}", status=404)
    assert (await alice.get(path))["version"] == 5


async def test_only_who_is_on_the_project_is_assigned(board: Board, alice: Person) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    for refused in (
        await alice.post(f"{path}/assignees/{EVE}", status=422),
        await alice.post(f"{path}/assignees/999", status=422),
        await alice.put(f"{path}/assignee", {"user_id": EVE}, status=422),
    ):
        assert refused["fields"] == {"user_id": "not_a_member"}
        assert refused["error"].startswith("user_id: ")
    for body in ({}, {"user_id": "me"}, {"user_id": 0}):
        await alice.put(f"{path}/assignee", body, status=400)
    admin = await alice.post(f"{path}/assignees/{ROOT}", status=200)
    assert [user["id"] for user in admin] == [ROOT]


# Labels


async def test_a_label_is_hung_on_a_card_and_taken_off(
    board: Board, alice: Person, bob: Person
) -> None:
    bug = board.labels["Bug"]
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    before = await head(bob, board)
    async with bob.socket() as socket:
        shown = await alice.post(f"{path}/labels/{bug}", status=200)
        told = (await socket.next("board.card_updated"))["payload"]
        assert told == undescribed(shown) | {"changes": ["labels"]}
        assert await alice.post(f"{path}/labels/{bug}", status=200) == shown
        await alice.delete(f"{path}/labels/{bug}")
        assert (await socket.next("board.card_updated"))["payload"]["labels"] == []
        await alice.delete(f"{path}/labels/{bug}", status=404)
    assert len(await told_since(bob, board, before)) == 2
    assert [label["name"] for label in shown["labels"]] == ["Bug"]
    assert await facts(alice, path) == [("label_added", "Bug"), ("label_removed", "Bug")]


async def test_a_label_of_elsewhere_is_hung_nowhere(
    board: Board, alice: Person, olga: Person
) -> None:
    other = await make_board(olga, alice, "Other")
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}/labels"
    await alice.post(f"{path}/{other.labels['Bug']}", status=404)
    await alice.post(f"{path}/999", status=404)
    await alice.delete(f"{path}/{other.labels['Bug']}", status=404)
    assert (await alice.get(f"{board.path}/cards/{card['id']}"))["version"] == 1


# Tags


async def test_a_tag_is_put_on_a_card_and_taken_off(
    board: Board, alice: Person, bob: Person
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    async with bob.socket() as socket:
        made = await alice.request("POST", f"{path}/tags", {"name": " #Two Words"})
        told = (await socket.next("board.card_updated"))["payload"]
    assert made.status == 201
    assert made.body == {"id": made.body["id"], "card_id": card["id"], "name": "two words"}
    assert made.headers["Location"] == f"/api/v1{path}/tags/{made.body['id']}"
    assert (told["changes"], told["tags"]) == (["tags"], [made.body])
    assert await alice.post(f"{path}/tags", {"name": "two words"}, status=200) == made.body
    await alice.delete(f"{path}/tags/{made.body['id']}")
    await alice.delete(f"{path}/tags/{made.body['id']}", status=404)
    assert (await alice.get(path))["tags"] == []
    assert await facts(alice, path) == [("tag_added", "two words"), ("tag_removed", "two words")]


@pytest.mark.parametrize("name", ["two words", "a/b", "50%", "日本", "2026", "#hash"])
async def test_a_tag_is_called_by_its_name(board: Board, alice: Person, name: str) -> None:
    card = await board.card(tags=["kept"])
    path = f"{board.path}/cards/{card['id']}"
    await alice.post(f"{path}/tags", {"name": name})
    await alice.delete(f"{path}/tags/{quote(name, safe='')}")
    assert [tag["name"] for tag in (await alice.get(path))["tags"]] == ["kept"]


async def test_a_number_is_a_tags_id_before_it_is_a_name(board: Board, alice: Person) -> None:
    card = await board.card(tags=["first"])
    path = f"{board.path}/cards/{card['id']}"
    number = card["tags"][0]["id"]
    await alice.post(f"{path}/tags", {"name": str(number)})
    await alice.delete(f"{path}/tags/{number}")
    assert [tag["name"] for tag in (await alice.get(path))["tags"]] == [str(number)]
    await alice.delete(f"{path}/tags/{number}")
    assert (await alice.get(path))["tags"] == []


async def test_a_tag_of_another_card_stays(board: Board, alice: Person) -> None:
    one, other = await board.card(tags=["one"]), await board.card(tags=["other"])
    path = f"{board.path}/cards/{one['id']}/tags"
    for called in (other["tags"][0]["id"], "other", "%20", "x" * 200, "9" * 18):
        await alice.delete(f"{path}/{called}", status=404)
    assert brief(await alice.get(f"{board.path}/cards/{other['id']}"))[2] == ["other"]


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": " "}, {"name": "#"}, {"name": "x" * 101}, {"name": 7}]
)
async def test_a_tag_has_a_name(board: Board, alice: Person, body: Any) -> None:
    card = await board.card()
    refused = await alice.post(f"{board.path}/cards/{card['id']}/tags", body, status=400)
    assert list(refused["fields"]) == ["name"]


# Watchers


async def test_a_card_is_watched_by_members_and_no_event_tells_of_it(
    board: Board, alice: Person, bob: Person, olga: Person
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    before = await head(bob, board)
    first = await alice.post(f"{path}/watchers/{OLGA}", status=200)
    both = await bob.post(f"{path}/watch", status=200)
    again = await bob.post(f"{path}/watch", status=200)
    shown = await bob.get(path)
    hers = await alice.get(path)
    await alice.delete(f"{path}/watchers/{OLGA}")
    await bob.delete(f"{path}/watch")
    assert await told_since(bob, board, before) == []
    assert [user["id"] for user in first] == [OLGA]
    assert [user["id"] for user in both] == [OLGA, BOB]
    assert again == shown["watchers"] == both
    assert (shown["watching"], hers["watching"]) == (True, False)
    after = await bob.get(path)
    assert (after["watchers"], after["watching"], after["version"]) == ([], False, 1)
    await alice.delete(f"{path}/watchers/{OLGA}", status=404)
    await bob.delete(f"{path}/watch", status=404)


async def test_only_members_watch(
    board: Board, alice: Person, bob: Person, root: Person, eve: Person
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    for user_id in (EVE, ROOT, 999):
        refused = await alice.post(f"{path}/watchers/{user_id}", status=422)
        assert refused["fields"] == {"user_id": "not_a_member"}
    await root.post(f"{path}/watch", status=422)
    await eve.post(f"{path}/watch", status=404)
    await bob.post(f"{path}/watchers/{BOB}", status=403)
    assert (await alice.get(path))["watchers"] == []


async def test_who_leaves_watches_no_longer(
    board: Board, alice: Person, bob: Person, olga: Person
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    await bob.post(f"{path}/watch", status=200)
    await olga.delete(f"{board.path}/members/{BOB}")
    assert (await alice.get(path))["watchers"] == []


# All of them

PATHS = [
    ("PUT", "/assignee", {"user_id": ALICE}),
    ("POST", f"/assignees/{OLGA}", None),
    ("DELETE", f"/assignees/{ALICE}", None),
    ("POST", "/labels/{design}", None),
    ("DELETE", "/labels/{bug}", None),
    ("POST", "/tags", {"name": "new"}),
    ("DELETE", "/tags/old", None),
    ("POST", f"/watchers/{OLGA}", None),
    ("DELETE", f"/watchers/{ALICE}", None),
    ("POST", "/watch", None),
    ("DELETE", "/watch", None),
]


@pytest.fixture
async def hung(board: Board, alice: Person) -> Any:
    """A card of which each path has something to change."""
    card = await board.card(assignee_ids=[ALICE], label_ids=[board.labels["Bug"]], tags=["old"])
    await alice.post(f"{board.path}/cards/{card['id']}/watch", status=200)
    return await alice.get(f"{board.path}/cards/{card['id']}")


def named(board: Board, path: str) -> str:
    return path.format(bug=board.labels["Bug"], design=board.labels["Design"])


@pytest.mark.parametrize(("method", "path", "body"), PATHS)
async def test_the_paths_are_for_members_and_for_this_project_alone(
    board: Board,
    alice: Person,
    bob: Person,
    olga: Person,
    eve: Person,
    hung: Any,
    method: str,
    path: str,
    body: Any,
) -> None:
    other = await make_board(olga, alice, "Other")
    below = f"/cards/{hung['id']}{named(board, path)}"
    by_key = f"/cards/{hung['key']}{named(board, path)}"
    if not path.endswith("/watch"):
        assert (await bob.request(method, board.path + below, body)).status == 403
    assert (await eve.request(method, board.path + below, body)).status == 404
    assert (await alice.request(method, other.path + below, body)).status == 404
    assert (await alice.request(method, other.path + by_key, body)).status == 404
    assert await alice.get(f"{board.path}/cards/{hung['id']}") == hung
    assert (await alice.request(method, board.path + by_key, body)).status < 300
    await alice.delete(f"{board.path}/cards/{hung['id']}")
    assert (await alice.request(method, board.path + below, body)).status == 404


@pytest.mark.parametrize(("method", "path", "body"), PATHS)
async def test_an_archived_project_keeps_what_hangs_on_its_cards(
    board: Board, alice: Person, olga: Person, hung: Any, method: str, path: str, body: Any
) -> None:
    await olga.delete(board.path)
    below = f"{board.path}/cards/{hung['id']}{named(board, path)}"
    refused = await alice.request(method, below, body)
    assert (refused.status, refused.body["code"]) == (422, "project_archived")
    assert await alice.get(f"{board.path}/cards/{hung['id']}") == hung


@pytest.mark.parametrize(("method", "path", "body"), PATHS[:7])
async def test_an_old_version_changes_nothing(
    board: Board, alice: Person, hung: Any, method: str, path: str, body: Any
) -> None:
    below = f"{board.path}/cards/{hung['id']}{named(board, path)}"
    await alice.put(f"{board.path}/cards/{hung['id']}", {"title": "Another"})
    old = await alice.request(method, below, body, headers={"If-Match": '"1"'})
    assert (old.status, old.body["current"]["version"]) == (412, 2)
    new = await alice.request(method, below, body, headers={"If-Match": '"2"'})
    assert new.status < 300
