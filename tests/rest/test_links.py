"""Links of a card: known by their addresses, listed, taken away."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Board
from tests.person import Person
from warmdesk.errors import WarmDeskError
from warmdesk.rest.links import referred_to

SHA = "9f2c1ab4d5e6f708192a3b4c5d6e7f8091a2b3c4"
KNOWN = {
    "https://github.com/example/door/pull/42": ("github", "pr", "example/door", "42"),
    "https://github.com/example/door/pull/42/files#diff": ("github", "pr", "example/door", "42"),
    "https://github.com/example/door/pull/42.diff": ("github", "pr", "example/door", "42"),
    f"https://github.com/example/door/pull/42/commits/{SHA}": (
        "github",
        "commit",
        "example/door",
        SHA,
    ),
    f"https://github.com/example/door/commit/{SHA}": ("github", "commit", "example/door", SHA),
    "https://GitHub.com/example/door/issues/7?q=1": ("github", "issue", "example/door", "7"),
    "https://gitlab.com/a/b/c/-/merge_requests/3/diffs": ("gitlab", "pr", "a/b/c", "3"),
    "https://git.example.org/a/b/-/issues/3": ("gitlab", "issue", "a/b", "3"),
    "https://git.example.org/a/b/-/work_items/3": ("gitlab", "issue", "a/b", "3"),
    f"https://gitlab.example.org/a/b/-/commit/{SHA[:8]}": ("gitlab", "commit", "a/b", SHA[:8]),
    "https://codeberg.org/a/b/pulls/5": ("forgejo", "pr", "a/b", "5"),
    "https://git.example.org/a/b/pulls/5/files": ("gitea", "pr", "a/b", "5"),
    f"https://gitea.example.org/a/b/commit/{SHA.upper()}": ("gitea", "commit", "a/b", SHA),
    "https://forgejo.example.org:3000/a/b/issues/5": ("forgejo", "issue", "a/b", "5"),
    "https://git.example.org/a/b/issues/5": ("other", "issue", "a/b", "5"),
    "https://example.org/a%20b/d%C3%B6r/issues/5": ("other", "issue", "a b/dör", "5"),
}


def digest(url: str) -> str:
    return sha256(url.encode()).hexdigest()


@pytest.fixture
async def path(board: Board) -> str:
    return f"{board.path}/cards/{(await board.card())['id']}/links"


@pytest.mark.parametrize(("url", "wanted"), KNOWN.items())
def test_an_address_tells_what_it_leads_to(url: str, wanted: tuple[str, ...]) -> None:
    assert referred_to(url)[:4] == wanted


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/example/door",
        "https://github.com/example/door/pull/x",
        "https://github.com/example/door/commit/xyz",
        "https://example.org/issues/5",
        "https://example.org/a%00/b/issues/5",
        "https://example.org/a/b%0A/issues/5",
        f"https://example.org/a/b/issues/{'5' * 201}",
        f"https://example.org/{'a' * 300}/b/issues/5",
    ],
)
def test_any_other_address_is_a_link(url: str) -> None:
    found = referred_to(url)
    assert (found.link_type, found.repo_name, found.reference) == ("link", "", digest(url))


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60))
def test_whatever_follows_is_an_address_or_refused(rest: str) -> None:
    try:
        found = referred_to(f"https://{rest}").reference
    except WarmDeskError as error:
        found = error.extra["fields"]["url"]
    assert found


async def test_a_link_is_seen_live_and_listed(path: str, alice: Person, bob: Person) -> None:
    url = "https://github.com/example/door/pull/42"
    async with bob.socket("demo") as socket:
        made = await alice.post(path, {"url": url})
        assert (await socket.next("board.link_created"))["payload"] == made
        assert (made["platform"], made["link_type"], made["reference"], made["repo_name"]) == (
            "github",
            "pr",
            "42",
            "example/door",
        )
        assert (made["title"], made["status"], made["created_by_id"]) == (
            "example/door#42",
            "open",
            alice.id,
        )
        again = await alice.post(path, {"url": f"{url}/files"}, status=409)
        assert again["code"] == "already_linked"
        other = await alice.post(path, {"url": "https://example.org/", "title": " A page "})
        assert other["title"] == "A page"
        assert await bob.get(path) == [other, made]
        card = await bob.get(path.removesuffix("/links"))
        assert (card["links"], card["links_more"]) == ([other, made], False)
        await alice.delete(f"{path}/{made['id']}")
        assert (await socket.next("board.link_deleted"))["payload"] == {
            "id": made["id"],
            "card_id": made["card_id"],
        }
    await alice.delete(f"{path}/{made['id']}", status=404)
    assert await bob.get(path) == [other]
    history = await bob.get(path.replace("/links", "/history"))
    assert [each["event_type"] for each in history][:2] == ["link_removed", "link_added"]


async def test_what_is_said_goes_before_what_the_address_says(path: str, alice: Person) -> None:
    said = {
        "url": "https://github.com/example/door/pull/42",
        "title": "Doors",
        "platform": "gitea",
        "link_type": "issue",
        "reference": "A-1",
        "status": "merged",
        "author": "ann",
        "repo_name": "x/y",
    }
    made = await alice.post(path, said)
    assert {name: made[name] for name in said} == said


@pytest.mark.parametrize(
    "address",
    [
        "",
        "x",
        "//example.org",
        "ftp://example.org",
        "javascript:alert(1)",
        "https://",
        "https:///path",
        "https://user:secret@example.org/",
        "https://example.org/a b",
        "https://[::1/",
        f"https://example.org/{'x' * 2000}",
    ],
)
async def test_what_is_no_address_is_refused(path: str, alice: Person, address: str) -> None:
    refused = await alice.post(path, {"url": address}, status=400)
    assert list(refused["fields"]) == ["url"]
    assert "secret" not in refused["error"]
    assert await alice.get(path) == []


@pytest.mark.parametrize(
    ("field", "value"), [("platform", "svn"), ("status", "done"), ("title", "x" * 501)]
)
async def test_what_is_no_link_is_refused(path: str, alice: Person, field: str, value: Any) -> None:
    refused = await alice.post(path, {"url": "https://example.org", field: value}, status=400)
    assert list(refused["fields"]) == [field]


async def test_a_link_is_found_on_its_own_card_alone(
    board: Board, path: str, alice: Person, bob: Person, eve: Person
) -> None:
    made = await alice.post(path, {"url": "https://example.org"})
    other = f"{board.path}/cards/{(await board.card('Another'))['id']}/links"
    await alice.delete(f"{other}/{made['id']}", status=404)
    await bob.delete(f"{path}/{made['id']}", status=403)
    await bob.post(path, {"url": "https://example.org/2"}, status=403)
    await eve.get(path, status=404)
    assert await bob.get(path) == [made]
    await alice.post(other, {"url": "https://example.org"})
