"""JSON goes out gzipped to who asks for it: measured on the wire, true under its ETag, never where
it holds a secret, and never at the loop's cost.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import threading
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Board
from tests.person import PASSWORD, Person
from tests.test_boards import demo, fat
from warmdesk import app, packing
from warmdesk.boards import Boards
from warmdesk.desk import Desk
from warmdesk.http.encodings import _takes_gzip

LONG = "A door that does not close. " * 100


async def bytes_of(url: str, path: str, headers: Mapping[str, str], method: str = "GET") -> Any:
    """What comes on the wire: status, headers and body as it was sent."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *rest = head.decode().split("\r\n")
    found = dict(line.split(": ", 1) for line in rest)
    return int(status.split()[1]), found, body


async def asked(
    person: Person, path: str, *, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    await person.token()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer: tuple[int, dict[str, str], bytes] = await bytes_of(
        person.url, f"/api/v1{path}", person.client.credentials | sent, method
    )
    return answer


@pytest.mark.parametrize("path", ["/projects/demo", "/projects/demo/columns/1/cards"])
async def test_it_is_a_fraction_on_the_wire(
    board: Board, alice: Person, connection: Any, path: str
) -> None:
    await fat(connection, board, 300, LONG)
    path = path.replace("/1/", f"/{board.backlog}/")
    status, headers, plain = await asked(alice, path)
    assert (status, headers.get("Content-Encoding")) == (200, None)
    assert int(headers["Content-Length"]) == len(plain)
    status, headers, packed = await asked(alice, path, Accept_Encoding="gzip, deflate, br")
    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert headers["Vary"] == "Accept-Encoding, Origin"
    assert int(headers["Content-Length"]) == len(packed)
    assert len(packed) < len(plain) / 5
    assert gzip.decompress(packed) == plain
    one_stream = zlib.decompressobj(31)
    assert one_stream.decompress(packed) == plain
    assert (one_stream.eof, one_stream.unused_data) == (True, b"")


async def test_the_document_is_gzipped(url: str) -> None:
    for path, least in (("/openapi.json", 4), ("/swagger/swagger_ui_static/swagger-ui.css", 3)):
        _, before, plain = await bytes_of(url, path, {})
        status, headers, packed = await bytes_of(url, path, {"Accept-Encoding": "gzip"})
        assert (status, headers["Content-Encoding"]) == (200, "gzip")
        assert headers["Vary"] == before["Vary"] == "Accept-Encoding, Origin"
        assert len(packed) < len(plain) / least
        assert gzip.decompress(packed) == plain
        assert headers["ETag"] != before["ETag"]
        for tag in (headers["ETag"], before["ETag"], f"W/{before['ETag']}"):
            sent = {"If-None-Match": f'"other", {tag}', "Accept-Encoding": "gzip"}
            status, again, body = await bytes_of(url, path, sent)
            assert (status, body, again["ETag"]) == (304, b"", tag.removeprefix("W/"))


async def test_what_is_small_or_not_asked_for_goes_as_it_is(
    board: Board, alice: Person, url: str
) -> None:
    _, headers, body = await asked(alice, "/users/me", Accept_Encoding="gzip")
    assert len(body) < packing.ENOUGH
    assert "Content-Encoding" not in headers
    await board.card(description=LONG)
    path = f"{board.path}/cards/DEMO-1"
    for refusal in ("identity", "gzip;q=0", "gzip;q=0.0, *", "br", "gzip;q=x", "*;q=0", ""):
        _, headers, body = await asked(alice, path, Accept_Encoding=refusal)
        assert "Content-Encoding" not in headers, refusal
        assert headers["Vary"] == "Accept-Encoding, Origin"
        json.loads(body)


@pytest.mark.parametrize(
    ("header", "taken"),
    {
        "gzip": True,
        "GZip": True,
        "x-gzip": True,
        "*": True,
        "deflate, gzip;q=1.0, *;q=0.5": True,
        "gzip ; q=0.001": True,
        "br;q=1, gzip;q=0.2": True,
        "identity;q=0": False,
        "identity;q=0.5, gzip;q=0.4": False,
        "identity, gzip;q=0.9": False,
        "gzip;q=0.5, *;q=0.8": False,
        "identity;q=0, *": True,
        "gzip;q=0": False,
        "*;q=0": False,
        "gzip;q=0, *;q=1": False,
        "gzip;q=2": False,
        "gzipped": False,
        "": False,
        "gzip," * 1000: False,
    }.items(),
)
def test_quality_values_count(header: str, taken: bool) -> None:
    assert _takes_gzip(header) is taken


@given(st.text(max_size=60))
def test_no_header_is_too_strange(header: str) -> None:
    assert _takes_gzip(header) in (True, False)


@given(st.binary(max_size=5000), st.binary(max_size=100))
def test_a_beginning_and_its_end_are_one_gzip(first: bytes, rest: bytes) -> None:
    packed = packing.ended(packing.begin(first), rest)
    one_stream = zlib.decompressobj(31)
    assert one_stream.decompress(packed) == first + rest
    assert (one_stream.eof, one_stream.unused_data) == (True, b"")


async def test_a_boards_tags_work_in_both_encodings(
    board: Board, alice: Person, olga: Person
) -> None:
    await board.card(description=LONG)
    _, headers, _ = await asked(alice, board.path)
    _, zipped, _ = await asked(alice, board.path, Accept_Encoding="gzip")
    _, others, _ = await asked(olga, board.path, Accept_Encoding="gzip")
    tags = [headers["ETag"], zipped["ETag"], others["ETag"]]
    assert len(set(tags)) == 3
    assert not any(tag.startswith("W/") for tag in tags)
    for encoding in ("gzip", "identity"):
        for tag in tags[:2]:
            status, again, body = await asked(
                alice, board.path, Accept_Encoding=encoding, If_None_Match=f"W/{tag}"
            )
            assert (status, body, again["ETag"]) == (304, b"", tag)
            assert again["Vary"] == "Accept-Encoding, Origin"
            assert "Content-Encoding" not in again
        status, _, _ = await asked(
            alice, board.path, Accept_Encoding=encoding, If_None_Match=tags[2]
        )
        assert status == 200
    await board.card()
    status, _, _ = await asked(alice, board.path, Accept_Encoding="gzip", If_None_Match=tags[1])
    assert status == 200


async def test_a_version_that_came_gzipped_is_good_for_if_match(
    board: Board, alice: Person
) -> None:
    card = await board.card(description=LONG)
    path = f"{board.path}/cards/{card['id']}"
    _, headers, _ = await asked(alice, path, Accept_Encoding="gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert headers["ETag"] not in ('"1"', 'W/"1"')
    answer = await alice.request("PUT", path, {"title": "A"}, headers={"If-Match": headers["ETag"]})
    assert answer.status == 200
    answer = await alice.request("PUT", path, {"title": "B"}, headers={"If-Match": headers["ETag"]})
    assert answer.status == 412


async def test_a_board_is_gzipped_once_for_all_who_read_it(
    desk: Desk, board: Board, alice: Person, bob: Person, olga: Person, monkeypatch: Any
) -> None:
    await board.card(description=LONG)
    made: list[str] = []
    plain = packing.begin

    def counted(text: Any) -> Any:
        made.append(threading.current_thread().name)
        return plain(text)

    monkeypatch.setattr("warmdesk.boards.begin", counted)
    boards = desk.boards
    shown = await asyncio.gather(
        *(asked(who, board.path, Accept_Encoding="gzip") for who in (alice, bob, olga) * 10)
    )
    assert len(made) == 1
    assert made[0].startswith("packing"), "it holds the loop"
    roles = {json.loads(gzip.decompress(body))["my_role"] for _, _, body in shown}
    assert roles == {"member", "viewer", "owner"}
    assert boards.weight == sum(each.weight for each in boards._cache.values())
    (kept,) = boards._cache.values()
    assert kept.packed is not None
    assert boards.weight == len(kept.content) + len(kept.packed.blocks)
    await board.card()
    await asked(alice, board.path, Accept_Encoding="gzip")
    assert len(made) == 2
    (kept,) = boards._cache.values()
    assert boards.weight == kept.weight


async def test_gzipped_boards_weigh_no_more_than_the_limit(desk: Desk, board: Board) -> None:
    await board.card(description=LONG)
    first = await Boards(desk.database).read(demo(board), 0)
    assert first.content is not None
    boards = Boards(desk.database, limit=len(first.content) + 10)
    found = await boards.read(demo(board), 0, gzip=True)
    assert found.gzipped
    assert found.content is not None
    assert gzip.decompress(found.content) == first.content
    assert boards.weight <= boards.limit


async def test_what_cannot_wait_for_a_thread_goes_as_it_is(
    desk: Desk, board: Board, alice: Person, connection: Any, monkeypatch: Any
) -> None:
    await fat(connection, board, 20, LONG)
    monkeypatch.setattr(packing, "WAITING", 0)
    for path in (board.path, f"{board.path}/columns/{board.backlog}/cards"):
        _, headers, body = await asked(alice, path, Accept_Encoding="gzip")
        assert "Content-Encoding" not in headers
        json.loads(body)


async def test_what_takes_long_to_pack_goes_as_it_is(
    desk: Desk, board: Board, alice: Person, connection: Any, monkeypatch: Any
) -> None:
    """As where all threads are at work: nobody gets a 503 for it. The next gets it gzipped."""
    await fat(connection, board, 20, LONG)
    may_end = threading.Event()
    tried: list[str] = []

    def slow(work: Any) -> Any:
        def wait(*values: Any) -> Any:
            tried.append(work.__name__)
            may_end.wait(60)
            return work(*values)

        return wait

    monkeypatch.setattr("warmdesk.boards.begin", slow(packing.begin))
    monkeypatch.setattr(packing, "pack", slow(packing.pack))
    try:
        for path in (board.path, f"{board.path}/columns/{board.backlog}/cards"):
            status, headers, body = await asked(alice, path, Accept_Encoding="gzip")
            assert (status, headers.get("Content-Encoding")) == (200, None)
            json.loads(body)
    finally:
        may_end.set()
    while packing.apart()._under_way:
        await asyncio.sleep(0.01)
    assert tried == ["begin", "pack"], "each is tried once"
    _, headers, _ = await asked(alice, board.path, Accept_Encoding="gzip")
    assert headers["Content-Encoding"] == "gzip"


SECRET = re.compile("token|ticket|secret|^url$|^key$")
NO_SECRETS = {
    "CardSummary": {"key"},
    "CardDetail": {"key"},
    "CardLink": {"url"},
    "OutgoingWebhook": {"url"},
    "ShownCard": {"key"},
    "FiledTicket": {"key", "url"},
    "ChangedTicket": {"key", "url"},
    "Uploaded": {"url"},
    "Webhook": {"token_hint"},
}
"""Fields of answers that are called like secrets and are none: a card's key, a page's address."""


def test_whose_answer_holds_a_secret_says_so() -> None:
    described = json.loads(app.documents().json.body)
    declared = set()
    for each in app.resources():
        if each.secret:
            declared.add(each.path)
        if each.answer is None:
            continue
        name = getattr(each.answer, "__name__", "")
        fields = described["components"]["schemas"].get(name, {}).get("properties", {})
        held = {
            field
            for field, schema in fields.items()
            if SECRET.search(field) and schema.get("type") == "string" and "enum" not in schema
        } - NO_SECRETS.get(name, set())
        assert bool(held) == each.secret, (each.path, held)
    assert declared == {
        "/admin/invitations",
        "/projects/{slug}/invitations",
        "/auth/register",
        "/auth/login",
        "/auth/refresh",
        "/auth/ws-ticket",
        "/auth/mfa/setup",
        "/auth/mfa/verify",
        "/auth/api-keys",
        "/users/me/api-keys",
        "/users/me/calendar",
        "/projects/{slug}/api-keys",
        "/users/{user_id}/api-keys",
        "/attachments/{attachment_id}/link",
        "/projects/{slug}/webhooks",
        "/projects/{slug}/webhooks/{webhook_id}/regenerate",
        "/projects/{slug}/outgoing-webhooks",
    }


async def test_an_answer_with_a_secret_is_never_gzipped(
    url: str, root: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it is: a user with a long address for a picture makes it so."""
    await root.put("/users/me", {"avatar_url": f"/{'a' * 490}"})
    monkeypatch.setattr("warmdesk.http.answers.ENOUGH", 100)
    monkeypatch.setattr("warmdesk.packing.ENOUGH", 100)
    session = root.client.session
    async with session.get(f"{url}/api/v1/users/me", headers=root.client.credentials) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
    body = {"username": "root", "password": PASSWORD}
    async with session.post(f"{url}/api/v1/auth/login", json=body) as answer:
        assert answer.request_info.headers["Accept-Encoding"] == "gzip"
        assert answer.status == 200
        assert "Content-Encoding" not in answer.headers
        refresh = (await answer.json())["refresh_token"]
    for path, sent in (("/auth/refresh", {"refresh_token": refresh}), ("/auth/ws-ticket", {})):
        async with session.post(
            f"{url}/api/v1{path}", json=sent, headers=root.client.credentials
        ) as answer:
            assert answer.ok
            assert "Content-Encoding" not in answer.headers


async def test_head_metrics_and_old_clients_behave(
    board: Board, alice: Person, root: Person, url: str
) -> None:
    await board.card(description=LONG)
    path = f"{board.path}/cards/DEMO-1"
    for each in (path, board.path):
        _, shown, body = await asked(alice, each, Accept_Encoding="gzip")
        status, headers, nothing = await asked(alice, each, method="HEAD", Accept_Encoding="gzip")
        assert (status, nothing) == (200, b"")
        for name in ("Content-Encoding", "Content-Length", "ETag", "Vary"):
            assert headers[name] == shown[name], name
        assert int(headers["Content-Length"]) == len(body)
    status, headers, body = await asked(root, "/metrics", Accept_Encoding="gzip")
    assert (status, headers.get("Content-Encoding")) == (200, None)
    assert b"warmdesk_build_info" in body
    status, headers, body = await asked(alice, path, method="OPTIONS", Accept_Encoding="gzip")
    assert (status, body) == (204, b"")


async def test_the_client_asks_for_gzip(board: Board, alice: Person) -> None:
    await board.card(description=LONG)
    answer = await alice.request("GET", board.path)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.body["columns"][0]["cards"][0]["description"] == LONG
