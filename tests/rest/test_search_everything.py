"""GET /search finds all that people wrote, at once, for those who may see it, and nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from urllib.parse import quote

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Board, Invite
from tests.person import Person
from warmdesk.db.migrations import migrate
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.jobs.grams import Grams
from warmdesk.realtime.events import ERASING

ROOT, OLGA, ALICE, BOB, EVE = range(1, 6)
KINDS = ["card", "card_comment", "chat_message", "dm_message", "topic", "topic_reply"]
LETTERS = "abcABC xyz%_\\'\"\n\t\x01ée\u0301ÄßİıΣσςДд日本🦊👍🏽ّم-"
Texts = st.text(
    st.sampled_from(LETTERS) | st.characters(codec="utf-8", exclude_characters="\0"),
    min_size=1,
    max_size=60,
)


@pytest.fixture(autouse=True)
def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own job makes no grams meanwhile."""
    monkeypatch.setattr(Grams, "seconds", 3600.0)


async def find(person: Person, q: str, **other: Any) -> list[Any]:
    query = "".join(f"&{name}={value}" for name, value in other.items())
    found: list[Any] = await person.get(f"/search?q={quote(q)}{query}")
    return found


async def kinds(person: Person, q: str) -> list[str]:
    return sorted(each["type"] for each in await find(person, q))


class Written(NamedTuple):
    """One of each kind with the word "zebra" in it, and where it is changed and deleted."""

    board: Board
    card: Any
    paths: dict[str, str]

    def field(self, kind: str) -> str:
        return "title" if kind in ("card", "topic") else "body"


@pytest.fixture
async def written(board: Board, alice: Person) -> Written:
    card = await board.card("A zebra", description="Its stripes")
    other = await board.card("Another")
    cards = f"{board.path}/cards"
    comment = await alice.post(f"{cards}/{other['id']}/comments", {"body": "Zebras comment"})
    said = await alice.post(f"{board.path}/chat/messages", {"body": "A zebra in the chat"})
    group = await alice.post("/conversations", {"user_ids": [EVE]})
    messages = f"/conversations/{group['id']}/messages"
    direct = await alice.post(messages, {"body": "A zebra for you"})
    topic = await alice.post(f"{board.path}/topics", {"title": "Why zebras?", "body": "Well"})
    talk = await alice.post(f"{board.path}/topics", {"title": "Talk", "body": "Hm"})
    replies = f"{board.path}/topics/{talk['id']}/replies"
    reply = await alice.post(replies, {"body": "Because of zebras"})
    return Written(
        board,
        card,
        {
            "card": f"{cards}/{card['id']}",
            "card_comment": f"{cards}/{other['id']}/comments/{comment['id']}",
            "chat_message": f"{board.path}/chat/messages/{said['id']}",
            "dm_message": f"{messages}/{direct['id']}",
            "topic": f"{board.path}/topics/{topic['id']}",
            "topic_reply": f"{replies}/{reply['id']}",
        },
    )


# Who finds what


@pytest.mark.parametrize("indexed", [False, True])
async def test_each_finds_what_they_see_and_nothing_else(
    written: Written,
    desk: Desk,
    alice: Person,
    bob: Person,
    eve: Person,
    root: Person,
    olga: Person,
    indexed: bool,
) -> None:
    if indexed:
        await Grams(desk).turn()
    here = [kind for kind in KINDS if kind != "dm_message"]
    assert await kinds(alice, "zebra") == KINDS
    for person in (olga, bob, root):  # an owner, a viewer, and who is no member of anything
        assert await kinds(person, "zebra") == here
    assert await kinds(eve, "zebra") == ["dm_message"]
    for person in (alice, olga, bob, root, eve):
        assert await find(person, "giraffe") == []


async def test_what_is_found_is_shown_as_everywhere_and_says_where_it_is(
    written: Written, alice: Person
) -> None:
    found = {each["type"]: each for each in await find(alice, "ZEBRA")}
    board, paths = written.board, written.paths
    shown = await alice.get(f"{board.path}/columns/{board.backlog}/cards")
    assert found["card"]["item"] in shown
    assert found["topic"]["item"] in await alice.get(f"{board.path}/topics")
    for kind in ("card_comment", "chat_message", "dm_message", "topic_reply"):
        assert found[kind]["item"] in await alice.get(paths[kind].rpartition("/")[0])
    for kind, each in found.items():
        assert each["project_slug"] == (None if kind == "dm_message" else board.slug)
    assert {kind: (each["card_key"], each["heading"]) for kind, each in found.items()} == {
        "card": (found["card"]["item"]["key"], None),
        "card_comment": ("DEMO-2", "Another"),
        "chat_message": (None, None),
        "dm_message": (None, None),
        "topic": (None, None),
        "topic_reply": (None, "Talk"),
    }
    assert {kind: each["snippet"] for kind, each in found.items()} == {
        "card": "A zebra",
        "card_comment": "Zebras comment",
        "chat_message": "A zebra in the chat",
        "dm_message": "A zebra for you",
        "topic": "Why zebras?",
        "topic_reply": "Because of zebras",
    }
    for each in found.values():
        (mark,) = each["marks"]
        assert each["snippet"][mark["start"] : mark["end"]].lower() == "zebra"


async def test_a_global_viewer_finds_what_they_are_assigned_to(
    written: Written, bob: Person, eve: Person, connection: Any
) -> None:
    await connection.execute("update users set global_role = 'viewer' where id in ($1, $2)", 4, 5)
    assert await kinds(bob, "zebra") == [kind for kind in KINDS if kind != "dm_message"]
    assert await kinds(eve, "zebra") == ["dm_message"]


@pytest.mark.parametrize("role", ["metrics", "backup"])
async def test_service_accounts_search_nothing(
    written: Written, bob: Person, root: Person, role: str
) -> None:
    await root.put(f"/users/{BOB}", {"global_role": role})
    await bob.get("/search?q=zebra", status=403)


async def test_a_key_of_one_project_searches_nothing(
    written: Written, person: Invite, connection: Any
) -> None:
    await connection.execute(
        "insert into api_keys (user_id, project_id, name, key_hash, key_prefix)"
        " values ($1, $2, 'k', encode(sha256('wd_of-one-project'), 'hex'), 'wd_of')",
        ALICE,
        written.board.id,
    )
    refused = await person(api_key="wd_of-one-project").get("/search?q=zebra", status=403)
    assert refused["code"] == "key_scope"


async def test_who_leaves_finds_nothing_any_more(
    written: Written, alice: Person, eve: Person, bob: Person, olga: Person
) -> None:
    await olga.delete(f"{written.board.path}/members/{BOB}")
    assert await kinds(bob, "zebra") == []
    group = await alice.post("/conversations", {"user_ids": [BOB, EVE], "name": "Zoo"})
    path = f"/conversations/{group['id']}"
    await bob.post(f"{path}/messages", {"body": "A second zebra"})
    (found,) = await find(eve, "second zebra")
    assert found["heading"] == "Zoo"
    await eve.delete(f"{path}/members/{EVE}")
    assert await find(eve, "second zebra") == []


async def test_what_is_read_only_is_found(written: Written, alice: Person, olga: Person) -> None:
    await alice.post(f"{written.paths['card']}/archive", status=200)
    assert "card" in await kinds(alice, "zebra")
    await olga.delete(written.board.path)
    assert await kinds(alice, "zebra") == KINDS


@pytest.mark.foul
async def test_the_same_grams_open_no_other_project(
    board: Board, desk: Desk, olga: Person, bob: Person, connection: Any
) -> None:
    """A card's have room for fifteen bits of its project's id."""
    far = board.id + (1 << 15)
    await connection.execute(f"alter table projects alter column id restart with {far}")
    theirs = await olga.post("/projects", {"name": "Theirs"})
    assert theirs["id"] == far
    path = f"/projects/{theirs['slug']}"
    (column, *_) = await olga.get(f"{path}/columns")
    await olga.post(f"{path}/columns/{column['id']}/cards", {"title": "A secret zebra"})
    await olga.post(f"{path}/topics", {"title": "A secret zebra"})
    for _ in range(2):
        assert await kinds(bob, "secret zebra") == []
        assert await kinds(olga, "secret zebra") == ["card", "topic"]
        await Grams(desk).turn()


# What is deleted, and what changes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("indexed", [False, True])
async def test_what_is_deleted_or_written_anew_is_not_found_at_once(
    written: Written, desk: Desk, alice: Person, connection: Any, kind: str, indexed: bool
) -> None:
    if indexed:
        await Grams(desk).turn()
    path = written.paths[kind]
    await alice.put(path, {written.field(kind): "A gnu"})
    assert kind not in await kinds(alice, "zebra")
    assert await kinds(alice, "gnu") == [kind]
    if indexed:
        await Grams(desk).turn()
    assert await kinds(alice, "gnu") == [kind]
    await alice.delete(path)
    assert await kinds(alice, "gnu") == []
    assert await kinds(alice, "zebra") == [each for each in KINDS if each != kind]
    await faithful(connection)


async def test_what_hangs_on_what_was_deleted_is_not_found(
    written: Written, alice: Person, olga: Person
) -> None:
    card, topic = (
        written.paths[kind].rsplit("/", 2)[0] for kind in ("card_comment", "topic_reply")
    )
    await alice.delete(card)
    assert "card_comment" not in await kinds(alice, "zebra")
    await olga.post(f"{card}/restore", status=200)
    assert "card_comment" in await kinds(alice, "zebra")
    await alice.delete(topic)
    assert "topic_reply" not in await kinds(alice, "zebra")


@pytest.mark.foul
async def test_what_a_bot_says_is_not_found(
    board: Board, alice: Person, desk: Desk, connection: Any
) -> None:
    await connection.execute(
        "insert into chat_messages (project_id, body, is_bot, bot_name) values ($1, $2, true, 'b')",
        board.id,
        "A zebra was pushed",
    )
    assert await find(alice, "zebra") == []
    await Grams(desk).turn()
    assert await find(alice, "zebra") == []


async def faithful(connection: Any) -> None:
    """The grams are those of what may be found, and of nothing else."""
    wrong = await connection.fetch(
        """
        with live as (
            select talk_scope(1, project_id) as scope, id, body as text from card_comments
            where deleted_at is null
            union all
            select talk_scope(2, project_id), id, body from chat_messages
            where not is_deleted and not is_bot
            union all
            select talk_scope(3, conversation_id), id, body from conversation_messages
            where not is_deleted
            union all
            select talk_scope(4, project_id), id, title || chr(10) || body from topics
            where deleted_at is null
            union all
            select talk_scope(5, project_id), id, body from topic_replies where deleted_at is null
        )
        select l.scope, l.id, g.scope, g.id
        from live as l full join talk_grams as g on g.scope = l.scope and g.id = l.id
        where
            g.id is null or l.id is null
            or g.grams <> scope_grams(l.scope, spaced(folded(l.text)))
        """
    )
    assert not wrong


# How words are found


@pytest.mark.parametrize(
    ("text", "q", "found"),
    [
        ("The door squeaks", "door", True),
        ("The door squeaks", "DOOR", True),
        ("The door squeaks", "oor squ", True),
        ("The door squeaks", "squeak door", True),
        ("The door squeaks", "door gate", False),
        ("The indoor pool", "door", True),
        ("Do it", "do", True),
        ("Redo it", "do", False),
        ("(do it)", "do", True),
        ("line\ndo it", "do", True),
        ("A plan", "a plan", True),
        ("The plan", "a plan", False),
        ("plan (a)", "a plan", True),
        ("at 100 %", "% at", True),
        ("50% off", "50%", True),
        ("500 off", "50%", False),
        ("a_b", "a_b", True),
        ("axb", "a_b", False),
        ("C:\\temp", ":\\t", True),
        ("C:/temp", ":\\t", False),
        ('it\'s "so"', "it's", True),
        ("'; drop table users; --", "'; drop", True),
        ("café", "cafe", True),
        ("cafe\u0301", "CAFÉ", True),
        ("cafe", "café", True),
        ("İSTANBUL", "istanbul", True),
        ("istanbul", "İSTANBUL", True),
        ("ışık", "ISIK", True),
        ("Straße", "STRASSE", True),
        ("ΟΔΟΣ", "οδός", True),
        ("Привет", "ПРИВЕТ", True),
        ("Ёлка", "елка", True),
        ("مُحَمَّد", "محمد", True),
        ("إسلام", "اسلام", True),
        ("東京タワー", "京タ", True),
        ("東京タワー", "大阪", False),
        ("한국어", "한국", True),
        ("ﬁle", "file", True),
        ("I ❤️ it", "❤", False),
        ("I ❤️ it", "❤️ it", True),
        ("ship it 🚀", "🚀 ship", True),
        ("x" * 20_000 + " needle", "needle", True),
        ("long " * 4_000 + "needle", "needle", True),
    ],
)
@pytest.mark.parametrize("indexed", [False, True])
async def test_words_are_found(
    board: Board, desk: Desk, alice: Person, text: str, q: str, found: bool, indexed: bool
) -> None:
    await alice.post(f"{board.path}/topics", {"title": "Title", "body": text})
    await board.card("Card", description=text)
    if indexed:
        await Grams(desk).turn()
    if len(q) < 2:
        await alice.get(f"/search?q={quote(q)}", status=400)
        return
    shown = await find(alice, q)
    assert sorted(each["type"] for each in shown) == (["card", "topic"] if found else [])
    for each in shown:
        assert each["marks"]


@given(text=Texts, asked=st.data(), indexed=st.booleans())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.foul
async def test_what_a_text_holds_finds_it(
    board: Board, connection: Any, text: str, asked: st.DataObject, indexed: bool
) -> None:
    """Every part of three bytes and more of its words does, whatever its letters."""
    start = asked.draw(st.integers(0, len(text)))
    part = text[start : asked.draw(st.integers(start, len(text)))]
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(
            "insert into chat_messages (project_id, user_id, body) values ($1, 3, $2)",
            board.id,
            text,
        )
        if indexed:
            await sql.search.make_talk_grams(connection, most=10, bytes=1 << 20)
        # A letter may be put together with the one before it: what is asked is folded with it.
        words = await connection.fetchval(
            "select array(select w from regexp_split_to_table(folded($1), '\\s+') as w"
            " where octet_length(w) > 2 and strpos(folded($2), w) > 0)",
            part,
            text,
        )
        found = await sql.search.find(
            connection, q=" ".join(words), kinds=[2], reader=ALICE, limit=20
        )
        assert len(found) == bool(words)
    finally:
        await transaction.rollback()


async def test_a_key_finds_its_card_before_all_others(
    board: Board, alice: Person, eve: Person, olga: Person
) -> None:
    first = await board.card("A card")
    await board.card("Like DEMO-1", description="DEMO-1 DEMO-1")
    for q in ("DEMO-1", "demo-1", " demo-1 "):
        found = [each["item"]["id"] for each in await find(alice, q)]
        assert found[0] == first["id"]
        assert len(found) == 2
    assert await find(eve, "DEMO-1") == []
    await alice.delete(f"{board.path}/cards/{first['id']}")
    assert len(await find(alice, "demo-1")) == 1
    other = await eve.post("/projects", {"name": "Demo"})
    assert other["key_prefix"] != "DEMO"


async def test_a_card_that_has_its_own_key_in_its_text_is_found_once(
    board: Board, alice: Person
) -> None:
    card = await board.card("DEMO-1 itself")
    assert [each["item"]["id"] for each in await find(alice, "demo-1")] == [card["id"]]


async def test_the_best_comes_first(board: Board, alice: Person) -> None:
    worst = await board.card("Indoor pool")
    body = await board.card("A pool", description="Its door")
    old = await board.card("Fix a door")
    new = await board.card("Paint a door")
    found = [each["item"]["id"] for each in await find(alice, "door")]
    assert found[:2] == [new["id"], old["id"]]
    assert set(found) == {each["id"] for each in (worst, body, old, new)}
    assert found.index(body["id"]) > 1
    assert found.index(worst["id"]) > 1


async def test_of_each_kind_there_are_so_many(board: Board, alice: Person) -> None:
    for n in range(23):
        await alice.post(f"{board.path}/chat/messages", {"body": f"zebra {n}"})
    await alice.post(f"{board.path}/topics", {"title": "zebra"})
    found = await find(alice, "zebra")
    assert [each["type"] for each in found].count("chat_message") == 20
    assert len(found) == 21
    said = [each["item"]["body"] for each in found if each["type"] == "chat_message"]
    assert said == [f"zebra {n}" for n in range(22, 2, -1)]
    assert len(await find(alice, "zebra", limit=3)) == 4
    assert len(await find(alice, "zebra", limit=1000)) == 21
    assert len(await find(alice, "zebra", limit=0)) == 2
    assert [each["type"] for each in await find(alice, "zebra", type="topic")] == ["topic"]
    assert await find(alice, "zebra", type="card") == []


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", {"q": "required"}),
        ("q=", {"q": "too_short"}),
        ("q=a", {"q": "too_short"}),
        ("q=%20a%20", {"q": "too_short"}),
        ("q=%20%20%20", {"q": "too_short"}),
        (f"q={'x' * 201}", {"q": "too_long"}),
        ("q=zebra&type=people", {"type": "not_one_of"}),
        ("q=zebra&limit=many", {"limit": "bad_format"}),
    ],
)
async def test_a_question_that_is_none_is_refused(
    board: Board, alice: Person, query: str, fields: dict[str, str]
) -> None:
    refused = await alice.get(f"/search?{query}", status=400)
    assert refused["fields"] == fields


async def test_accents_alone_find_nothing(written: Written, alice: Person) -> None:
    assert await find(alice, "\u0301\u0302") == []


async def test_a_piece_is_the_text_as_it_was_written(board: Board, alice: Person) -> None:
    text = '<script>alert("zebra")</script> & <b>'
    await alice.post(f"{board.path}/chat/messages", {"body": text})
    long = "<i>word</i> " * 400 + "a zebra &amp; more " + "<i>word</i> " * 400
    await board.card("A card", description=long)
    by_kind = {each["type"]: each for each in await find(alice, "zebra")}
    assert by_kind["chat_message"]["snippet"] == text
    piece = by_kind["card"]["snippet"]
    assert piece.strip("…") in long
    assert "zebra &amp; more" in piece
    assert len(piece) < 170
    assert by_kind["card"]["item"]["description_cut"] is True


# What it costs


async def many_cards(connection: Any, board: Board) -> None:
    """50,000 cards with some text each, and their grams, as the job would make them."""
    await connection.execute("set session_replication_role = replica")
    await connection.execute(
        "insert into cards (project_id, column_id, title, description, position, card_number)"
        " select $1, $2, 'Card ' || n || ' of many', 'common words ' || md5(n::text), n, n + 100"
        " from generate_series(1, 50000) as n",
        board.id,
        board.backlog,
    )
    await connection.execute("set session_replication_role = origin")
    await connection.execute(
        "insert into card_grams (card_id, project_id, grams, folded)"
        " select c.id, c.project_id, grams_of_card(c), true from cards as c"
    )
    await connection.execute("vacuum (analyze) cards, card_grams")


async def plan(connection: Any, q: str) -> dict[str, Any]:
    """How PostgreSQL looks a search up: what it reads, and by what."""
    query = next(each for each in sql if each.name == "search.find")
    values = query.values({"q": q, "reader": ALICE, "limit": 20, "kinds": list(range(6))})
    await connection.fetch(query.statement, *values)  # what PostgreSQL reads once a session
    async with connection.transaction():
        before = await counted(connection)
        said = await connection.fetchval(
            f"explain (analyze, buffers, format json) {query.statement}", *values
        )
        after = await counted(connection)
    top = json.loads(said)[0]["Plan"]
    return {
        "buffers": top["Shared Hit Blocks"] + top["Shared Read Blocks"],
        "found": top["Actual Rows"],
        **{name: after[name] - before[name] for name in after},
    }


async def counted(connection: Any) -> dict[str, int]:
    row = await connection.fetchrow(
        "select pg_stat_get_xact_numscans('cards'::regclass) as cards,"
        " pg_stat_get_xact_numscans('card_grams'::regclass) as grams,"
        " pg_stat_get_xact_numscans('card_grams_find'::regclass) as index"
    )
    return dict(row)


@pytest.mark.foul
@pytest.mark.timeout(180)
async def test_50_000_cards_are_searched_by_the_index(
    board: Board, alice: Person, connection: Any
) -> None:
    await many_cards(connection, board)
    card = await board.card("A needle", description="in the hay")
    # All pages of cards are some 1,300; a card costs a few, by its index.
    for q, found, buffers in (
        ("needle", 1, 300),
        ("card 31415 many", 3, 600),  # two have the number in other text
        (card["key"], 1, 600),
        ("nowhere to be found", 0, 300),
        ("ne", 1, 6_000),
        ("common", 20, 16_000),
    ):
        cost = await plan(connection, q)
        assert cost["found"] == found, q
        assert cost["cards"] == 0, f"{q}: all cards were read"
        assert cost["grams"] == 0, f"{q}: all grams were read"
        assert cost["index"] > 0, q
        assert cost["buffers"] < buffers, q


@pytest.mark.parametrize("is_indexed", [False, True])
async def test_what_has_very_many_grams_is_found_all_the_same(
    board: Board, desk: Desk, alice: Person, is_indexed: bool
) -> None:
    text = "".join(chr(0x4E00 + n) for n in range(19_000)) + " needle"
    await alice.post(f"{board.path}/topics", {"title": "Title", "body": text})
    await board.card("Card", description=text)
    if is_indexed:
        await Grams(desk).turn()
    assert await kinds(alice, "needle") == ["card", "topic"]


@pytest.mark.foul
async def test_of_very_many_the_newest_are_found(
    board: Board, desk: Desk, alice: Person, connection: Any
) -> None:
    await connection.execute(
        "insert into chat_messages (project_id, user_id, body)"
        " select $1, $2, 'zebra ' || n from generate_series(1, 1200) n",
        board.id,
        ALICE,
    )
    for _ in range(3):
        await Grams(desk).turn()
    assert await connection.fetchval("select count(*) from talk_grams where grams is null") == 0
    found = [each["item"]["body"] for each in await find(alice, "zebra")]
    assert found == [f"zebra {n}" for n in range(1200, 1180, -1)]


# The job and the upgrade


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.mark.foul
async def test_a_text_that_is_written_while_its_grams_are_made_is_due_again(
    written: Written, desk: Desk, alice: Person, connection: Any, other: Any
) -> None:
    """Whoever is first: the text that is written last is found."""
    edit = "update chat_messages set body = $1"
    async with other.transaction():
        await other.execute(edit, "A gnu")
        await sql.search.make_talk_grams(connection, most=100, bytes=1 << 20)
    await sql.search.make_talk_grams(connection, most=100, bytes=1 << 20)
    assert await kinds(alice, "gnu") == ["chat_message"]
    await connection.execute(edit, "A lion")
    async with other.transaction():
        await sql.search.make_talk_grams(other, most=100, bytes=1 << 20)
        writing = asyncio.ensure_future(connection.execute(edit, "A bear"))
        await asyncio.wait([writing], timeout=0.1)
        assert not writing.done()
    await writing
    assert await kinds(alice, "bear") == ["chat_message"]
    await Grams(desk).turn()
    await faithful(connection)


@pytest.mark.foul
async def test_a_text_goes_with_its_place(
    written: Written, desk: Desk, alice: Person, eve: Person, connection: Any
) -> None:
    """As a card does that is sent to another project, with what hangs on it."""
    await Grams(desk).turn()
    theirs = await eve.post("/projects", {"name": "Theirs"})
    await connection.execute("update card_comments set project_id = $1", theirs["id"])
    await faithful(connection)
    await Grams(desk).turn()
    await faithful(connection)


@pytest.mark.foul
async def test_a_batch_is_small(written: Written, connection: Any) -> None:
    due = "select count(*) from talk_grams where grams is null"
    assert await connection.fetchval(due) == 6
    assert await sql.search.make_talk_grams(connection, most=2, bytes=1 << 20) == 2
    assert await sql.search.make_talk_grams(connection, most=100, bytes=1) == 1
    assert await sql.search.make_talk_grams(connection, most=100, bytes=1 << 20) == 3
    assert await sql.search.make_talk_grams(connection, most=100, bytes=1 << 20) == 0
    await faithful(connection)


@pytest.mark.foul
async def test_an_upgrade_misses_no_text(
    written: Written, desk: Desk, database_url: str, alice: Person, connection: Any, other: Any
) -> None:
    """What was written before, and while the migration runs, by the program before this one."""
    await Grams(desk).turn()
    for name in (
        "folded(text)",
        "spaced(text)",
        "scope_grams(bigint, text)",
        "talk_scope(integer, bigint)",
        "mark_talk_grams()",
        "forget_talk_grams()",
    ):
        await connection.execute(f"drop function {name} cascade")
    await connection.execute("drop table talk_grams")
    await connection.execute("alter table card_grams drop column folded cascade")
    await connection.execute(
        "create index card_grams_due on card_grams (project_id, card_id) where grams is null"
    )
    await connection.execute("delete from schema_migrations where name like '0023%'")
    await connection.execute(
        "insert into chat_messages (project_id, user_id, body)"
        " select $1, 3, 'message ' || n from generate_series(1, 20000) as n",
        written.board.id,
    )
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            said = await other.fetchval(
                "insert into chat_messages (project_id, user_id, body) values ($1, 3, 'a gnu')"
                " returning id",
                written.board.id,
            )
            await other.execute(
                "update chat_messages set is_deleted = true where id = $1", said - 7
            )
            await other.execute("update card_comments set body = 'A zebra, again'")

    writing = asyncio.ensure_future(write())
    assert [name[:4] for name in await migrate(database_url, erasing=ERASING)] == ["0023"]
    stop.set()
    await writing
    await faithful(connection)
    assert set(await kinds(alice, "gnu")) == {"chat_message"}
    await Grams(desk).turn()
    await faithful(connection)
    assert await kinds(alice, "zebra") == KINDS
    wrong = await connection.fetchval(
        "select count(*) from cards as c inner join card_grams as g on g.card_id = c.id"
        " where not g.folded or g.grams is distinct from grams_of_card(c)"
    )
    assert wrong == 0
