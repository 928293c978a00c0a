"""The chat: messages, their history, their reactions."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import Board, Door, Invite, make_board
from tests.person import Person
from warmdesk.schemas.emoji import EMOJI


async def say(person: Person, board: Board, body: str = "Hello", **options: Any) -> Any:
    return await person.post(f"{board.path}/chat/messages", {"body": body}, **options)


async def head(person: Person, board: Board) -> int:
    seq: int = (await person.get(f"{board.path}/events?since=0&limit=1"))["seq"]
    return seq


async def bodies(person: Person, board: Board, query: str = "") -> list[str]:
    return [m["body"] for m in await person.get(f"{board.path}/chat/messages{query}")]


# Sending


async def test_a_message_is_told_as_it_is_answered_and_read(
    alice: Person, bob: Person, board: Board
) -> None:
    async with bob.socket() as wire:
        sent = await alice.post(f"{board.path}/chat/messages", {"body": "**Hi** 🚀", "nonce": "n1"})
        frame = await wire.next("chat.message")
    assert frame["payload"] == sent
    assert frame["actor_id"] == alice.id
    assert sent["user"]["username"] == "alice"
    assert (sent["body"], sent["nonce"], sent["version"]) == ("**Hi** 🚀", "n1", 1)
    assert (sent["is_edited"], sent["is_deleted"], sent["is_bot"]) == (False, False, False)
    assert (sent["attachments"], sent["reactions"]) == ([], [])
    assert await bob.get(f"{board.path}/chat/messages") == [sent]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"body": ""},
        {"body": " \n"},
        {"body": None},
        {"body": 7},
        {"body": "x" * 20_001},
        {"body": "a\0b"},
        {"body": "x", "nonce": ""},
        {"body": "x", "nonce": "n" * 101},
        {"body": "x", "nonce": 5},
    ],
)
async def test_what_is_malformed_is_not_sent(
    alice: Person, board: Board, wrong: dict[str, Any]
) -> None:
    await alice.post(f"{board.path}/chat/messages", wrong, status=400)
    assert await bodies(alice, board) == []


async def test_the_longest_message_goes_through(alice: Person, board: Board) -> None:
    longest = "\u0001\U0001f680" * 10_000
    assert (await say(alice, board, longest))["body"] == longest
    assert await bodies(alice, board) == [longest]


async def test_the_same_nonce_is_the_same_message(
    alice: Person, olga: Person, board: Board
) -> None:
    path = f"{board.path}/chat/messages"
    first = await alice.post(path, {"body": "Once", "nonce": "n"})
    before = await head(alice, board)
    assert await alice.post(path, {"body": "Again", "nonce": "n"}, status=200) == first
    assert await head(alice, board) == before
    other = await olga.post(path, {"body": "Mine", "nonce": "n"})
    assert other["id"] != first["id"]


@pytest.mark.foul
async def test_a_nonce_is_forgotten_after_ten_minutes(
    alice: Person, board: Board, connection: Any
) -> None:
    path = f"{board.path}/chat/messages"
    await alice.post(path, {"body": "Once", "nonce": "n"})
    await connection.execute(
        "update chat_messages set created_at = now() - interval '9 minutes 50 seconds'"
    )
    await alice.post(path, {"body": "Again", "nonce": "n"}, status=200)
    await connection.execute(
        "update chat_messages set created_at = now() - interval '10 minutes 1 second'"
    )
    await alice.post(path, {"body": "Later", "nonce": "n"})
    assert await bodies(alice, board) == ["Once", "Later"]


async def test_fifty_at_once_with_one_nonce_are_one_message(alice: Person, board: Board) -> None:
    path = f"{board.path}/chat/messages"
    answers = await asyncio.gather(
        *(alice.request("POST", path, {"body": "Once", "nonce": "n"}) for _ in range(50))
    )
    assert sorted(answer.status for answer in answers) == [200] * 49 + [201]
    assert len({answer.body["id"] for answer in answers}) == 1
    assert await bodies(alice, board) == ["Once"]


async def test_fifty_at_once_with_one_key_are_one_message_and_one_answer(
    alice: Person, board: Board
) -> None:
    path = f"{board.path}/chat/messages"
    answers = await asyncio.gather(
        *(alice.request("POST", path, {"body": "Once"}, key="k") for _ in range(50))
    )
    assert {answer.status for answer in answers} == {201}
    assert len({str(answer.body) for answer in answers}) == 1
    assert sum("Idempotent-Replay" in answer.headers for answer in answers) == 49
    refused = await alice.post(path, {"body": "Other"}, key="k", status=422)
    assert refused["code"] == "idempotency_key_reused"
    assert await bodies(alice, board) == ["Once"]


@pytest.mark.settings(rate_limits=True)
async def test_one_person_sends_sixty_messages_a_minute(
    alice: Person, olga: Person, board: Board
) -> None:
    for n in range(60):
        await say(alice, board, str(n))
    answer = await alice.request("POST", f"{board.path}/chat/messages", {"body": "61"})
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) >= 1
    await say(olga, board, "mine")


# Reading


async def test_a_page_is_the_newest_and_reads_from_old_to_new(alice: Person, board: Board) -> None:
    ids = [(await say(alice, board, str(n)))["id"] for n in range(1, 8)]
    await alice.delete(f"{board.path}/chat/messages/{ids[3]}")
    assert await bodies(alice, board) == ["1", "2", "3", "5", "6", "7"]
    assert await bodies(alice, board, "?limit=2") == ["6", "7"]
    assert await bodies(alice, board, f"?limit=2&before={ids[5]}") == ["3", "5"]
    assert await bodies(alice, board, f"?limit=2&after={ids[1]}") == ["3", "5"]
    assert await bodies(alice, board, f"?after={ids[0]}&before={ids[4]}") == ["2", "3"]
    assert await bodies(alice, board, f"?after={ids[6]}") == []
    assert await bodies(alice, board, f"?before={ids[0]}") == []
    assert await bodies(alice, board, f"?limit=4&around={ids[2]}") == ["2", "3", "5", "6"]
    assert await bodies(alice, board, f"?limit=3&around={ids[3]}") == ["2", "3", "5"]
    assert await bodies(alice, board, f"?limit=1&around={ids[2]}") == ["3"]
    assert await bodies(alice, board, "?limit=0") == ["7"]
    assert len(await bodies(alice, board, "?limit=9999")) == 6
    for wrong in ("limit=x", "before=0", "after=-1", "around=x", "before=" + "9" * 20):
        await alice.get(f"{board.path}/chat/messages?{wrong}", status=400)


async def test_a_page_has_fifty_messages_unless_it_is_asked_for_more(
    alice: Person, board: Board
) -> None:
    await asyncio.gather(*(say(alice, board, str(n)) for n in range(60)))
    assert len(await bodies(alice, board)) == 50
    assert len(await bodies(alice, board, "?limit=60")) == 60


# Editing


async def test_an_author_edits_a_message(alice: Person, bob: Person, board: Board) -> None:
    message = await say(alice, board)
    path = f"{board.path}/chat/messages/{message['id']}"
    async with bob.socket() as wire:
        edited = await alice.put(path, {"body": "Better"})
        assert (await wire.next("chat.message_updated"))["payload"] == edited
    assert (edited["body"], edited["is_edited"], edited["version"]) == ("Better", True, 2)
    assert await alice.get(f"{board.path}/chat/messages") == [edited]
    before = await head(alice, board)
    assert await alice.put(path, {"body": "Better"}) == edited
    assert await head(alice, board) == before


async def test_nobody_else_edits_a_message(
    alice: Person, bob: Person, olga: Person, root: Person, eve: Person, board: Board
) -> None:
    message = await say(alice, board)
    path = f"{board.path}/chat/messages/{message['id']}"
    for person, status in ((bob, 403), (olga, 403), (root, 403), (eve, 404)):
        await person.put(path, {"body": "Mine"}, status=status)
    await alice.put(path, {"body": ""}, status=400)
    await alice.put(f"{board.path}/chat/messages/999", {"body": "T"}, status=404)
    await alice.put(f"{board.path}/chat/messages/x", {"body": "T"}, status=404)
    assert await bodies(alice, board) == ["Hello"]


async def test_a_demoted_author_edits_and_deletes_no_more(
    alice: Person, olga: Person, board: Board
) -> None:
    message = await say(alice, board)
    path = f"{board.path}/chat/messages/{message['id']}"
    await olga.put(f"{board.path}/members/{alice.id}", {"role": "viewer"})
    await alice.put(path, {"body": "T"}, status=403)
    await alice.delete(path, status=403)
    await olga.delete(f"{board.path}/members/{alice.id}")
    await alice.put(path, {"body": "T"}, status=404)


async def test_a_stale_version_of_a_message_is_refused(alice: Person, board: Board) -> None:
    message = await say(alice, board)
    path = f"{board.path}/chat/messages/{message['id']}"
    await alice.put(path, {"body": "Two"}, if_match=1)
    answer = await alice.request("PUT", path, {"body": "Three"}, if_match=1)
    assert (answer.status, answer.body["code"]) == (412, "version_conflict")
    assert answer.body["current"]["body"] == "Two"
    await alice.put(path, {"body": "Three", "version": 1}, status=409)
    await alice.delete(path, if_match=1, status=412)
    await alice.delete(path, if_match=2)


# Deleting


async def test_a_deleted_message_leaves_the_history_and_the_feed(
    alice: Person, bob: Person, board: Board
) -> None:
    await say(alice, board, "kept")
    message = await say(alice, board, "the secret")
    path = f"{board.path}/chat/messages/{message['id']}"
    await alice.put(path, {"body": "the secret word"})
    await alice.post(f"{path}/reactions", {"emoji": "👍"})
    async with bob.socket() as wire:
        await alice.delete(path)
        assert (await wire.next("chat.message_deleted"))["payload"] == {"id": message["id"]}
    await alice.delete(path, status=404)
    await alice.put(path, {"body": "T"}, status=404)
    await alice.post(f"{path}/reactions", {"emoji": "👍"}, status=404)
    await alice.delete(f"{path}/reactions/{quote('👍')}", status=404)
    assert await bodies(alice, board) == ["kept"]
    replay = await bob.get(f"{board.path}/events?since=0")
    assert "secret" not in str(replay)
    assert [event["type"] for event in replay["events"]].count("gone") == 3


async def test_project_admins_delete_what_others_wrote(
    alice: Person, bob: Person, olga: Person, root: Person, eve: Person, board: Board
) -> None:
    mine, yours = await say(alice, board, "1"), await say(alice, board, "2")
    hers = await say(olga, board, "3")
    path = f"{board.path}/chat/messages"
    await alice.delete(f"{path}/{hers['id']}", status=403)
    await bob.delete(f"{path}/{mine['id']}", status=403)
    await eve.delete(f"{path}/{mine['id']}", status=404)
    await olga.delete(f"{path}/{mine['id']}")
    await root.delete(f"{path}/{yours['id']}")
    await olga.put(f"{board.path}/members/{alice.id}", {"role": "admin"})
    await alice.delete(f"{path}/{hers['id']}")
    assert await bodies(alice, board) == []


async def test_the_message_of_another_project_is_not_there(
    alice: Person, olga: Person, board: Board
) -> None:
    other = await make_board(olga, alice, "Other")
    message = await say(alice, other)
    path = f"{board.path}/chat/messages/{message['id']}"
    await alice.put(path, {"body": "T"}, status=404)
    await olga.delete(path, status=404)
    await alice.post(f"{path}/reactions", {"emoji": "👍"}, status=404)
    assert await bodies(alice, board, f"?around={message['id']}") == []
    assert await bodies(alice, other) == ["Hello"]


# Reactions


async def test_a_reaction_is_added_once_and_taken_away(
    alice: Person, olga: Person, bob: Person, board: Board
) -> None:
    message = await say(alice, board)
    path = f"{board.path}/chat/messages/{message['id']}/reactions"
    async with bob.socket() as wire:
        first = await olga.post(path, {"emoji": "👍"})
        told = await wire.next("chat.reaction_updated")
        assert told["payload"] == {k: v for k, v in first.items() if k != "id"}
    await alice.post(path, {"emoji": "❤️"})
    second = await alice.post(path, {"emoji": "👍"})
    assert second["reactions"] == [
        {"emoji": "👍", "count": 2, "user_ids": [olga.id, alice.id]},
        {"emoji": "❤️", "count": 1, "user_ids": [alice.id]},
    ]
    before = await head(alice, board)
    assert await alice.post(path, {"emoji": "👍"}, status=200) == second
    assert await head(alice, board) == before
    (shown,) = await alice.get(f"{board.path}/chat/messages")
    assert (shown["reactions"], shown["version"]) == (second["reactions"], 1)
    await olga.delete(f"{path}/{quote('👍')}")
    await olga.delete(f"{path}/{quote('👍')}", status=404)
    (shown,) = await alice.get(f"{board.path}/chat/messages")
    assert [reaction["emoji"] for reaction in shown["reactions"]] == ["❤️", "👍"]


@pytest.mark.parametrize(
    "emoji",
    ["👍", "❤️", "❤", "✅", "🤘🏽", "👨‍👩‍👧", "👩🏽‍💻", "🏳️‍🌈", "🇳🇱", "↔", "1️⃣", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "🏿", "©️"],
)
async def test_any_single_emoji_is_a_reaction(alice: Person, board: Board, emoji: str) -> None:
    message = await say(alice, board)
    path = f"{board.path}/chat/messages/{message['id']}/reactions"
    assert (await alice.post(path, {"emoji": emoji}))["reactions"][0]["emoji"] == emoji
    await alice.delete(f"{path}/{quote(emoji)}")


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "a",
        "1",
        ":)",
        "👍👍",
        "👍 ",
        "<b>",
        "é",
        "🇳",
        "👩‍",
        "👍\u200d" * 5 + "👍",
        "→",
        "■",
        "⌀",
        "🇦🇦",
        7,
        None,
    ],
)
async def test_anything_else_is_no_reaction(alice: Person, board: Board, wrong: Any) -> None:
    message = await say(alice, board)
    path = f"{board.path}/chat/messages/{message['id']}/reactions"
    await alice.post(path, {"emoji": wrong}, status=400)


def test_only_characters_that_unicode_calls_emojis_are_some() -> None:
    for text in "⌚✔☎Ⓜ㊗©↔▶◼⬛⭐🀄🅰🈁🌀🗿🛘🟰🥷🫨🫯":
        assert EMOJI.fullmatch(text), text
        assert EMOJI.fullmatch(text + "\ufe0f"), text
    for text in "→⇒■●⌀⌘☐★✓✗❶🀀🅐🌢🏲🖀🞀🠀🩀🫿\u200d\ufe0f\u20e3":
        assert not EMOJI.fullmatch(text), text


def test_only_regions_have_flags() -> None:
    letters = [chr(0x1F1E6 + n) for n in range(26)]
    flags = [a + b for a in letters for b in letters if EMOJI.fullmatch(a + b)]
    assert len(flags) == 249 + 10  # those of ISO 3166-1, AC CP CQ DG EA EU IC TA UN XK
    for flag in ("🇦🇨", "🇨🇵", "🇨🇶", "🇩🇬", "🇪🇦", "🇪🇺", "🇮🇨", "🇹🇦", "🇺🇳", "🇽🇰", "🇦🇩", "🇿🇼", "🇴🇲"):
        assert flag in flags, flag
    for none in ("🇦🇦", "🇽🇽", "🇿🇿", "🇪🇳", "🇺🇰", "🇦🇩🇦🇩"):
        assert not EMOJI.fullmatch(none), none


async def test_a_message_takes_fifty_different_emojis(alice: Person, board: Board) -> None:
    message = await say(alice, board)
    path = f"{board.path}/chat/messages/{message['id']}/reactions"
    for n in range(50):
        await alice.post(path, {"emoji": chr(0x1F600 + n)})
    await alice.post(path, {"emoji": "👍"}, status=422)
    await alice.post(path, {"emoji": chr(0x1F600)}, status=200)


# Who may


async def test_viewers_read_the_chat_and_write_nothing(
    alice: Person, bob: Person, board: Board
) -> None:
    message = await say(alice, board)
    path = f"{board.path}/chat/messages"
    assert await bodies(bob, board) == ["Hello"]
    await bob.post(path, {"body": "T"}, status=403)
    await bob.post(f"{path}/{message['id']}/reactions", {"emoji": "👍"}, status=403)
    await bob.delete(f"{path}/{message['id']}/reactions/{quote('👍')}", status=403)


async def test_strangers_find_no_chat(alice: Person, eve: Person, board: Board) -> None:
    message = await say(alice, board)
    path = f"{board.path}/chat/messages"
    await eve.get(path, status=404)
    await eve.post(path, {"body": "T"}, status=404)
    await eve.post(f"{path}/{message['id']}/reactions", {"emoji": "👍"}, status=404)


async def test_the_chat_of_an_archived_project_is_read_only(
    alice: Person, olga: Person, board: Board
) -> None:
    message = await say(alice, board)
    path = f"{board.path}/chat/messages"
    await olga.put(board.path, {"is_archived": True})
    for call in (
        alice.post(path, {"body": "T"}, status=422),
        alice.put(f"{path}/{message['id']}", {"body": "T"}, status=422),
        alice.delete(f"{path}/{message['id']}", status=422),
        alice.post(f"{path}/{message['id']}/reactions", {"emoji": "👍"}, status=422),
    ):
        assert (await call)["code"] == "project_archived"
    assert await bodies(alice, board) == ["Hello"]


# By socket


async def test_a_socket_sends_edits_and_deletes(alice: Person, bob: Person, board: Board) -> None:
    async with alice.socket() as hers, bob.socket() as his:
        await hers.send("chat.send", {"body": "By socket", "nonce": "n"}, id=1)
        sent = (await his.next("chat.message"))["payload"]
        message_id = (await hers.next("ack"))["payload"]["message_id"]
        assert (message_id, sent["body"]) == (sent["id"], "By socket")
        await hers.send("chat.edit", {"message_id": message_id, "body": "Edited"}, id=2)
        assert (await his.next("chat.message_updated"))["payload"]["body"] == "Edited"
        await hers.send("chat.delete", {"message_id": message_id}, id=3)
        assert (await his.next("chat.message_deleted"))["payload"] == {"id": message_id}
        await his.send("chat.send", {"body": "A viewer"}, id=4)
        assert (await his.next("error"))["payload"]["code"] == "forbidden"


async def test_a_socket_puts_and_takes_reactions_as_rest_does(
    alice: Person, person: Invite, twin: Door, board: Board
) -> None:
    message = await say(alice, board)
    far = person("bob", url=twin.url)
    path = f"{board.path}/chat/messages/{message['id']}/reactions"
    sent = {"message_id": message["id"], "emoji": "👍"}
    async with alice.socket() as hers, far.socket() as his:
        await hers.send("chat.react", sent, id=1)
        assert (await hers.next("ack"))["payload"] == {"id": 1, "message_id": message["id"]}
        told = await his.next("chat.reaction_updated")
        stands = [{"emoji": "👍", "count": 1, "user_ids": [alice.id]}]
        assert told["payload"] == {"message_id": message["id"], "reactions": stands}
        assert told["actor_id"] == alice.id
        (shown,) = await far.get(f"{board.path}/chat/messages")
        assert (shown["reactions"], shown["version"]) == (stands, 1)

        before = await head(alice, board)
        await hers.send("chat.react", sent, id=2)
        assert (await hers.next("ack"))["id"] == 2
        assert (await alice.post(path, {"emoji": "👍"}, status=200))["reactions"] == stands
        assert await head(alice, board) == before, "what is there already is no event"

        await hers.send("chat.react", sent | {"emoji": "❤️"}, id=3)
        await his.next("chat.reaction_updated")
        await hers.send("chat.react", sent | {"remove": True}, id=4)
        left = (await his.next("chat.reaction_updated"))["payload"]["reactions"]
        assert [each["emoji"] for each in left] == ["❤️"]
        await hers.send("chat.react", sent | {"remove": True}, id=5)
        error = await hers.next("error")
        assert (error["id"], error["payload"]["code"]) == (5, "not_found")
        await alice.delete(f"{path}/{quote('❤️')}")


async def test_a_socket_reacts_to_what_is_of_its_project_and_there(
    alice: Person, olga: Person, board: Board
) -> None:
    other = await make_board(olga, alice, "Other")
    foreign, gone = await say(alice, other), await say(alice, board)
    await alice.post(f"{other.path}/chat/messages/{foreign['id']}/reactions", {"emoji": "👍"})
    await alice.delete(f"{board.path}/chat/messages/{gone['id']}")
    before = await head(alice, board), await head(alice, other)
    async with alice.socket() as wire:
        for message in (foreign, gone):
            for remove in (False, True):
                sent = {"message_id": message["id"], "emoji": "👍", "remove": remove}
                await wire.send("chat.react", sent)
                assert (await wire.next("error"))["payload"]["code"] == "not_found"
        await wire.settle()
        assert wire.events == []
    assert (await head(alice, board), await head(alice, other)) == before
    (shown,) = await alice.get(f"{other.path}/chat/messages")
    assert len(shown["reactions"]) == 1


async def test_a_socket_takes_one_emoji_and_names_the_field_of_anything_else(
    alice: Person, board: Board
) -> None:
    message = await say(alice, board)
    async with alice.socket() as wire:
        for wrong, code in (
            ("a", "bad_format"),
            ("👍👍", "bad_format"),
            ("👍 ", "bad_format"),
            ("", "blank"),
            ("👍" * 33, "too_long"),
            (7, "bad_format"),
        ):
            await wire.send("chat.react", {"message_id": message["id"], "emoji": wrong})
            error = (await wire.next("error"))["payload"]
            assert (error["code"], error["fields"]) == ("invalid_payload", {"emoji": code}), wrong
        for number in range(50):
            sent = {"message_id": message["id"], "emoji": chr(0x1F600 + number)}
            await wire.send("chat.react", sent, id=number)
            await wire.next("ack")
        await wire.send("chat.react", {"message_id": message["id"], "emoji": "👍"})
        error = (await wire.next("error"))["payload"]
        assert (error["code"], "fields" in error) == ("too_many_reactions", False)
    (shown,) = await alice.get(f"{board.path}/chat/messages")
    assert len(shown["reactions"]) == 50


async def test_many_at_once_keep_each_person_their_order(
    alice: Person, olga: Person, root: Person, board: Board
) -> None:
    async def talk(person: Person) -> None:
        for n in range(30):
            await say(person, board, f"{person.username} {n}")

    async with alice.socket() as wire:
        await asyncio.gather(*(talk(person) for person in (alice, olga, root)))
        frames = [await wire.next("chat.message") for _ in range(90)]
    seqs = [frame["seq"] for frame in frames]
    assert seqs == list(range(seqs[0], seqs[0] + 90))
    ids = [frame["payload"]["id"] for frame in frames]
    assert ids == sorted(ids)
    for person in (alice, olga, root):
        said = [f["payload"]["body"] for f in frames if f["payload"]["user_id"] == person.id]
        assert said == [f"{person.username} {n}" for n in range(30)]
