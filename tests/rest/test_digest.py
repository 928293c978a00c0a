"""The digest of a board: the same for everybody who shows what is there, and no one else's."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from tests.conftest import Board
from tests.person import Person
from warmdesk.client import digest


async def test_it_is_made_of_columns_and_cards_in_order(
    board: Board, alice: Person, bob: Person, eve: Person
) -> None:
    first, second = await board.card("1"), await board.card("2")
    third = await board.card("3", column=board.done)
    gone, away = await board.card("4"), await board.card("5")
    await alice.delete(f"{board.path}/cards/{gone['id']}")
    await alice.patch(f"{board.path}/cards/{away['id']}/move", {"column_id": board.done})
    await alice.patch(f"{board.path}/cards/{second['id']}/reorder", {"index": 0})
    text = (
        f"{board.backlog}:1[{second['id']}:2,{first['id']}:1]\n"
        f"{board.progress}:1[]\n{board.review}:1[]\n"
        f"{board.done}:1[{third['id']}:1,{away['id']}:2]\n"
    )
    shown = await bob.get(board.path)
    assert await bob.get(f"{board.path}/digest") == {
        "seq": shown["seq"],
        "epoch": shown["epoch"],
        "digest": sha256(text.encode()).hexdigest(),
    }
    assert digest(shown["columns"]) == sha256(text.encode()).hexdigest()
    await eve.get(f"{board.path}/digest", status=404)


async def test_a_ping_asks_for_it_and_is_answered_in_its_turn(
    board: Board, alice: Person, bob: Person
) -> None:
    await board.card()
    async with bob.socket("demo") as socket:
        await socket.send("ping", {"digest": True}, id="first")
        await socket.send("ping", id="second")
        await socket.send("ping", {"digest": False}, id="third")
        pongs = [await socket.next("pong") for _ in range(3)]
    assert [each["id"] for each in pongs] == ["first", "second", "third"]
    said = await bob.get(f"{board.path}/digest")
    assert {name: pongs[0]["payload"][name] for name in said} == said
    for each in pongs[1:]:
        assert each["payload"].keys() == {"server_time", "seq"}


async def test_a_ping_has_any_payload_or_none(board: Board, bob: Person) -> None:
    async with bob.socket("demo") as socket:
        for text in ('{"type":"ping"}', '{"type":"ping","payload":null}'):
            await socket.send_text(text)
            await socket.next("pong")
        for number in range(12):
            await socket.send("ping", {"digest": False, "sent": number}, id=number)
            assert (await socket.next("pong"))["id"] == number
        await socket.send_text('{"type":"sync","payload":null}')
        assert (await socket.next("error"))["payload"]["fields"] == {"since": "required"}


async def test_where_there_is_no_board_there_is_no_digest(bob: Person) -> None:
    async with bob.socket("user") as socket:
        await socket.send("ping", {"digest": True}, id=1)
        assert "digest" not in (await socket.next("pong"))["payload"]
        await socket.send("ping", {"digest": "yes"}, id=2)
        refused = (await socket.next("error"))["payload"]
        assert (refused["code"], refused["fields"]) == ("invalid_payload", {"digest": "bad_format"})


async def test_a_doctored_board_is_noticed(board: Board, alice: Person, bob: Person) -> None:
    card = await board.card()
    shown = await bob.get(board.path)
    said = (await bob.get(f"{board.path}/digest"))["digest"]

    def doctored(**changes: Any) -> str:
        cards = [{**each, **changes} for each in shown["columns"][0]["cards"]]
        return digest([{**shown["columns"][0], "cards": cards}, *shown["columns"][1:]])

    assert said == doctored()
    assert said not in (doctored(version=2), doctored(id=card["id"] + 1))
    assert said != digest(reversed(shown["columns"]))
