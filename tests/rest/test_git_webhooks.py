"""What git hosts tell: lines in the chat, and links of the cards that are named."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from tests.conftest import Board
from tests.hosts.payloads import BASE, HOSTS, SHA, ZERO, Forgejo, Gitea, GitHub, GitLab
from tests.person import Person
from tests.posting import SECRET, Hook, hook, signed

Host = GitHub | GitLab
NAMES = [host.type for host in HOSTS]
NUMBERS = itertools.count(1)
DOOR = f"[alice/door]({BASE})"
GITHUB = GitHub()


async def tell(
    made: Hook, host: Host, told: tuple[str, Any], delivery: str = "", **headers: str
) -> Any:
    """Deliver an event; the answer's body."""
    event, payload = told
    delivery = delivery or f"delivery-{next(NUMBERS)}"
    return await made.post(payload, **{**host.headers(event, delivery), **headers})


async def lines(person: Person) -> list[str]:
    return [each["body"] for each in await person.get("/projects/demo/chat/messages")]


async def links(person: Person, card: Any) -> list[Any]:
    found: list[Any] = await person.get(f"/projects/demo/cards/{card['id']}/links")
    return found


@pytest.fixture(params=HOSTS, ids=NAMES)
def host(request: pytest.FixtureRequest) -> Host:
    found: Host = request.param
    return found


@pytest.fixture
async def made(board: Board, olga: Person, host: Host) -> Hook:
    return await hook(olga, type=host.type)


async def test_a_push_is_told_and_its_commits_are_linked(
    board: Board, made: Hook, host: Host, bob: Person
) -> None:
    card, other = await board.card(), await board.card("Another")
    messages = (
        f"{card['key']}: oil *it*\n\nand {other['key']}",
        "Nothing",
        f"More of {card['key']}",
    )
    async with bob.socket("demo") as socket:
        answer = await tell(made, host, host.push(*messages))
        told = [await socket.next("board.link_created") for _ in range(3)]
        line = (await socket.next("chat.message"))["payload"]
    assert answer == {"ok": True, "posted": True, "linked": 3}
    assert line["body"].split("\n") == [
        f"**alice** pushed 3 commits to **main** ({DOOR})",
        f"- [`0000000`]({BASE}/commit/{1:040x}) {card['key']}: oil \\*it\\*",
        f"- [`0000000`]({BASE}/commit/{2:040x}) Nothing",
        f"- [`0000000`]({BASE}/commit/{3:040x}) More of {card['key']}",
    ]
    newest, oldest = await links(bob, card)
    assert [each["payload"] for each in told if each["payload"]["card_id"] == card["id"]] == [
        oldest,
        newest,
    ]
    facts = {
        name: oldest[name] for name in oldest if name not in ("id", "created_at", "updated_at")
    }
    assert facts == {
        "card_id": card["id"],
        "platform": host.platform,
        "link_type": "commit",
        "title": f"{card['key']}: oil *it*",
        "url": f"{BASE}/commit/{1:040x}",
        "reference": f"{1:040x}",
        "author": "Alice A.",
        "status": "merged",
        "repo_name": "alice/door",
        "created_by_id": None,
    }
    assert len(await links(bob, other)) == 1
    history = await bob.get(f"{board.path}/cards/{card['id']}/history")
    added = [each for each in history if each["event_type"] == "link_added"]
    assert [each["user"] for each in added] == [None, None]


async def test_a_push_without_commits_is_silent(
    board: Board, made: Hook, host: Host, olga: Person
) -> None:
    assert await tell(made, host, host.push()) == {"ok": True, "posted": False, "linked": 0}
    assert await lines(olga) == []


async def test_a_pull_request_from_its_beginning_to_its_end(
    board: Board, made: Hook, host: Host, bob: Person
) -> None:
    card = await board.card()
    title = f"{card['key']} oil ](https://evil.example) @bob"
    said = rf"{card['key']} oil \]\(https\://evil.example\) " + "@\u200bbob"
    mark = "!" if host.platform == "gitlab" else "#"
    noun = "merge request" if host.platform == "gitlab" else "pull request"
    shown = f"{noun} [{mark}5 {said}]({BASE}/pull/5) in {DOOR}"
    answer = await tell(made, host, host.pull_request("opened", title))
    assert answer == {"ok": True, "posted": True, "linked": 1}
    (link,) = await links(bob, card)
    assert (link["link_type"], link["reference"], link["status"]) == ("pr", "5", "open")
    assert (link["title"], link["url"]) == (title, f"{BASE}/pull/5")
    assert link["author"] == ("alice" if host.platform == "gitlab" else "bob")
    async with bob.socket("demo") as socket:
        closed = {"state": "closed", "updated_at": "2026-04-04T10:00:01Z"}
        await tell(made, host, host.pull_request("closed", title, **closed))
        event = await socket.next("board.link_updated")
        assert (event["payload"]["id"], event["payload"]["status"]) == (link["id"], "closed")
        again = {"updated_at": "2026-04-04T10:00:02Z"}
        await tell(made, host, host.pull_request("reopened", title, **again))
        assert (await socket.next("board.link_updated"))["payload"]["status"] == "open"
        merged = {"state": "closed", "merged": True, "updated_at": "2026-04-04T10:00:03Z"}
        await tell(made, host, host.pull_request("closed", title, **merged))
        assert (await socket.next("board.link_updated"))["payload"]["status"] == "merged"
        await socket.settle()
        seq = socket.events[-1]["seq"]
        # Late ones, and ones that say nothing new.
        late = {"state": "closed", "updated_at": "2026-04-04T10:00:01Z"}
        for told in (
            host.pull_request("labeled", title, **late),
            host.pull_request("labeled", title, updated_at=None),
            host.pull_request("labeled", f"{title} late", **late),
            host.pull_request(
                "labeled", title, **(merged | {"updated_at": "2026-04-05T00:00:00Z"})
            ),
        ):
            assert (await tell(made, host, told))["posted"] is False
        await socket.settle()
        assert [each for each in socket.events if each["seq"] > seq] == []
    assert (await links(bob, card))[0]["status"] == "merged"
    assert await lines(bob) == [
        f"**alice** opened {shown}",
        f"**alice** closed {shown}",
        f"**alice** reopened {shown}",
        f"**alice** merged {shown}",
    ]


async def test_what_was_merged_is_never_open_again(
    board: Board, made: Hook, host: Host, bob: Person
) -> None:
    card = await board.card()
    merged = {"state": "closed", "merged": True, "updated_at": None}
    await tell(made, host, host.pull_request("closed", card["key"], **merged))
    for when in (None, "2030-01-01T00:00:00Z"):
        told = host.pull_request("reopened", f"{card['key']} again", updated_at=when)
        await tell(made, host, told)
        (link,) = await links(bob, card)
        assert link["status"] == "merged"
    assert link["title"] == f"{card['key']} again"


async def test_an_issue_is_told_and_linked(
    board: Board, made: Hook, host: Host, bob: Person
) -> None:
    card = await board.card()
    await tell(made, host, host.issue("opened", "Door", body=f"see {card['key']}"))
    await tell(made, host, host.issue("closed", "Door", body=card["key"], state="closed"))
    (link,) = await links(bob, card)
    assert (link["link_type"], link["reference"], link["status"]) == ("issue", "8", "closed")
    shown = f"issue [#8 Door]({BASE}/issues/8) in {DOOR}"
    assert await lines(bob) == [f"**alice** opened {shown}", f"**alice** closed {shown}"]


async def test_a_delivery_comes_once(board: Board, made: Hook, host: Host, olga: Person) -> None:
    card = await board.card()
    told = host.push(card["key"])
    await tell(made, host, told, "the-one")
    head = (await olga.get(board.path))["seq"]
    again = await asyncio.gather(*(tell(made, host, told, "the-one") for _ in range(5)))
    assert again == [{"ok": True, "duplicate": True}] * 5
    assert (await olga.get(board.path))["seq"] == head
    assert [each["delivery_id"] for each in await made.deliveries()] == ["the-one"]
    # The same under another name: the line again, and no link.
    assert (await tell(made, host, told, "another"))["linked"] == 1
    assert len(await links(olga, card)) == 1
    assert (await olga.get(board.path))["seq"] == head + 1


async def test_cards_of_others_are_not_linked(
    board: Board, made: Hook, host: Host, olga: Person, connection: Any
) -> None:
    other = await olga.post("/projects", {"name": "Other"})
    columns = await olga.get("/projects/other/columns")
    foreign = await olga.post(
        f"/projects/other/columns/{columns[0]['id']}/cards", {"title": "Theirs"}
    )
    gone = await board.card()
    await olga.delete(f"{board.path}/cards/{gone['id']}")
    text = f"{foreign['key']} {gone['key']} DEMO-999 {foreign['id']}"
    assert (await tell(made, host, host.push(text)))["linked"] == 0
    assert await connection.fetchval("select count(*) from card_links") == 0
    head = await connection.fetchval(
        "select seq from feeds where channel = $1", f"project:{other['id']}"
    )
    assert head == (await olga.get("/projects/other"))["seq"]


async def test_a_card_that_came_from_elsewhere_is_found_by_both_keys(
    board: Board, olga: Person, alice: Person
) -> None:
    await olga.post("/projects", {"name": "Other"})
    await olga.post("/projects/other/members", {"username": "alice", "role": "member"})
    columns = await olga.get("/projects/other/columns")
    card = await alice.post(f"/projects/other/columns/{columns[0]['id']}/cards", {"title": "A"})
    target = {"target_project_slug": "demo", "column_id": board.backlog, "action": "move"}
    moved = await alice.post(f"/projects/other/cards/{card['id']}/transfer", target)
    here = await hook(olga, type="github")
    there = await hook(olga, "other", type="github")
    assert (await tell(here, GITHUB, GITHUB.push(card["key"])))["linked"] == 1
    new = (await alice.get(f"{board.path}/cards/{card['id']}"))["key"]
    assert new != card["key"], moved
    assert (await tell(here, GITHUB, GITHUB.push(f"{new} and {card['key']}")))["linked"] == 1
    assert (await tell(there, GITHUB, GITHUB.push(card["key"])))["linked"] == 0
    assert len(await links(alice, card)) == 1
    # And back: there by the key that it has now and by that of here, here by none.
    back = {"target_project_slug": "other", "column_id": columns[0]["id"], "action": "move"}
    await alice.post(f"{board.path}/cards/{card['id']}/transfer", back)
    assert (await tell(here, GITHUB, GITHUB.push(f"{new} {card['key']}")))["linked"] == 0
    for key in (new, card["key"]):
        assert (await tell(there, GITHUB, GITHUB.push(key)))["linked"] == 1


async def test_an_event_that_nobody_waits_for_is_passed_over(
    board: Board, made: Hook, host: Host, olga: Person
) -> None:
    for event in ("ping", "star", "workflow_run", "x"):
        answer = await tell(made, host, (event, {"object_kind": event, "zen": "@all"}))
        assert answer == {"ok": True, "posted": False, "linked": 0, "skipped": True}
    assert await lines(olga) == []
    assert {each["status"] for each in await made.deliveries()} == {200}
    assert all(each["reason"] for each in await made.deliveries())


# Bad input


async def test_an_event_has_a_name(board: Board, olga: Person, host: Host) -> None:
    made = await hook(olga, type=host.type)
    refused = await made.post({}, status=400)
    assert [name.lower() for name in refused["fields"]] == [f"x-{host.type}-event"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (("ref",), "ref"),
        (("repository",), "repository"),
        (("repository", "full_name"), "repository.full_name"),
        (("commits", 0, "id"), "commits"),
    ],
)
async def test_what_is_missing_is_named(
    board: Board, olga: Person, path: tuple[Any, ...], field: str
) -> None:
    made = await hook(olga, type="github")
    for value in (None, 5):
        event, payload = GITHUB.push("a")
        inner: Any = payload
        for step in path[:-1]:
            inner[step] = dict(inner[step]) if isinstance(inner[step], dict) else inner[step]
            inner = inner[step]
        if value is None:
            del inner[path[-1]]
        else:
            inner[path[-1]] = value
        refused = await made.post(payload, status=400, **GITHUB.headers(event))
        assert any(each.startswith(field) for each in refused["fields"]), refused
    assert await lines(olga) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"5", b"\xff", b"[" * 100_000])
async def test_what_is_no_json_object_is_refused(
    board: Board, made: Hook, host: Host, body: bytes
) -> None:
    for event in ("push", "star"):
        await made.post(body, status=400, **host.headers(event))


async def test_null_may_stand_for_what_is_not_there(board: Board, olga: Person) -> None:
    made = await hook(olga, type="github")
    event, payload = GITHUB.push("a")
    payload |= {"pusher": {"name": None}, "sender": None}
    payload["commits"][0]["author"] = {"name": None}
    await made.post(payload, **GITHUB.headers(event))
    assert (await lines(olga))[0].startswith("**somebody** pushed 1 commit to **main**")


async def test_addresses_that_are_none_are_no_links(board: Board, olga: Person) -> None:
    card, made = await board.card(), await hook(olga, type="github")
    bad = {"html_url": "javascript:alert(1)"}
    answer = await tell(made, GITHUB, GITHUB.pull_request("opened", card["key"], **bad))
    assert answer == {"ok": True, "posted": True, "linked": 0}
    assert "javascript" not in (await lines(olga))[0]


async def test_long_texts_are_cut(board: Board, olga: Person) -> None:
    card, made = await board.card(), await hook(olga, type="github")
    title = f"{card['key']} " + "ж\u0301" * 5000
    await tell(made, GITHUB, GITHUB.pull_request("opened", title))
    (link,) = await links(olga, card)
    assert len(link["title"]) == 500
    assert len((await lines(olga))[0]) < 2000


async def test_a_push_of_ten_thousand_commits(board: Board, olga: Person, bob: Person) -> None:
    cards = [await board.card(f"{n}") for n in range(3)]
    keys = [each["key"] for each in cards]
    made = await hook(olga, type="github")
    messages = [f"{keys[n % 3]} change {n}\n\n" + "x" * 500 for n in range(10_000)]
    told = GITHUB.push(*messages)
    began = time.monotonic()
    answer = await tell(made, GITHUB, told)
    print(f"{time.monotonic() - began:.2f} s")
    assert answer == {"ok": True, "posted": True, "linked": 2000}
    assert (await lines(bob))[0].endswith("… and 9995 more")
    assert (await links(bob, cards[0]))[0]["reference"] == f"{10_000:040x}"


# Proofs


async def test_github_signs(board: Board, olga: Person) -> None:
    made = await hook(olga, type="github", secret=SECRET)
    body, signature = signed(GITHUB.push("a")[1])
    event = GITHUB.headers("push")
    await made.post(body, **event, X_Hub_Signature_256=f"sha256={signature}")
    for wrong in ("", "sha256=", f"sha256={signed({}, SECRET)[1]}", "sha256=ä"):
        await made.post(body, status=401, **event, X_Hub_Signature_256=wrong)
    await made.post(body, status=401, **event)
    by_token = signed(GITHUB.push("a")[1], made.token)[1]
    await made.post(body, status=401, **event, X_Hub_Signature_256=f"sha256={by_token}")
    assert len(await lines(olga)) == 1


async def test_without_a_secret_a_signature_is_made_with_the_token(
    board: Board, olga: Person
) -> None:
    made = await hook(olga, type="github")
    body, signature = signed(GITHUB.push("a")[1], made.token)
    event = GITHUB.headers("push")
    await made.post(body, **event, X_Hub_Signature_256=f"sha256={signature}")
    await made.post(body, **event)
    await made.post(body, status=401, **event, X_Hub_Signature_256=f"sha256={SHA}")


async def test_gitlab_shows_its_token(board: Board, olga: Person) -> None:
    lab = GitLab()
    made = await hook(olga, type="gitlab", secret=SECRET)
    told = lab.push("a")
    await tell(made, lab, told, X_Gitlab_Token=SECRET)
    event, payload = told
    for wrong in ("", SECRET + "x", made.token, "ä"):
        headers = lab.headers(event, f"w{next(NUMBERS)}")
        await made.post(payload, status=401, **headers, X_Gitlab_Token=wrong)
    plain = await hook(olga, type="gitlab")
    await tell(plain, lab, told)
    await tell(plain, lab, told, X_Gitlab_Token=plain.token)
    await plain.post(payload, status=401, **lab.headers(event, "w"), X_Gitlab_Token="other")
    assert SECRET not in str(await made.deliveries())


@pytest.mark.parametrize("prefix", ["", "sha256="])
@pytest.mark.parametrize(
    "header", ["X_Gitea_Signature", "X_Hub_Signature_256", "X_Forgejo_Signature"]
)
@pytest.mark.parametrize("host", [Gitea(), Forgejo()], ids=["gitea", "forgejo"])
async def test_gitea_and_forgejo_sign_in_both_forms(
    board: Board, olga: Person, host: Gitea, header: str, prefix: str
) -> None:
    if header == "X_Forgejo_Signature" and host.type == "gitea":
        header = "X_Gitea_Signature"
    made = await hook(olga, type=host.type, secret=SECRET)
    event, payload = host.push("a")
    body, signature = signed(payload)
    headers = host.headers(event, f"d{next(NUMBERS)}")
    await made.post(body, **(headers | {header: prefix + signature}))
    wrong = host.headers(event, f"d{next(NUMBERS)}") | {header: prefix + "0" * 64}
    await made.post(body, status=401, **wrong)
    await made.post(body, status=401, **host.headers(event, f"d{next(NUMBERS)}"))


async def test_one_wrong_signature_beside_a_right_one_is_wrong(board: Board, olga: Person) -> None:
    made = await hook(olga, type="gitea", secret=SECRET)
    event, payload = Gitea().push("a")
    body, signature = signed(payload)
    both = {"X_Gitea_Signature": signature, "X_Hub_Signature_256": f"sha256={'0' * 64}"}
    await made.post(body, status=401, **(Gitea().headers(event) | both))


# What only some hosts say


async def test_a_deleted_branch_and_a_tag(board: Board, olga: Person) -> None:
    github, gitlab = await hook(olga, type="github"), await hook(olga, type="gitlab")
    lab = GitLab()
    await tell(github, GITHUB, GITHUB.push(deleted=True, after=ZERO))
    await tell(github, GITHUB, GITHUB.push(ref="refs/tags/v1", created=True))
    await tell(gitlab, lab, lab.push(after=ZERO))
    await tell(gitlab, lab, lab.push(object_kind="tag_push", ref="refs/tags/v1", before=ZERO))
    assert (
        await lines(olga)
        == [
            f"**alice** deleted branch **main** in {DOOR}",
            f"**alice** created tag **v1** in {DOOR}",
        ]
        * 2
    )
    await tell(github, GITHUB, GITHUB.push(ref="refs/tags/v1"))
    assert (await lines(olga))[-1] == f"**alice** pushed tag **v1** ({DOOR})"


def of_ref(host: Host, event: str, kind: str, name: str) -> tuple[str, Any]:
    """The event of its own that some hosts send of a branch or a tag."""
    repository, sender = host.push()[1]["repository"], {"login": "alice"}
    return event, {"ref": name, "ref_type": kind, "repository": repository, "sender": sender}


@pytest.mark.parametrize("host", [GITHUB, Gitea(), Forgejo()], ids=["github", "gitea", "forgejo"])
async def test_a_branch_or_a_tag_that_comes_or_goes_is_one_line(
    board: Board, made: Hook, host: Host, olga: Person
) -> None:
    """Hosts tell of it by a push and by an event of its own, at once and in any order."""
    gone = host.push(ref="refs/heads/main", deleted=True, after=ZERO)
    events = (gone, of_ref(host, "delete", "branch", "main"))
    answers = await asyncio.gather(*(tell(made, host, each) for each in events))
    assert sorted(answers, key=lambda each: not each["posted"]) == [
        {"ok": True, "posted": True, "linked": 0},
        {"ok": True, "posted": False, "linked": 0, "skipped": True},
    ]
    await tell(made, host, of_ref(host, "create", "tag", "v1"))
    await tell(made, host, host.push(ref="refs/tags/v1", created=True))
    told = [
        f"**alice** deleted branch **main** in {DOOR}",
        f"**alice** created tag **v1** in {DOOR}",
    ]
    assert await lines(olga) == told
    # Once more, it happened once more.
    await tell(made, host, of_ref(host, "create", "tag", "v1"))
    await tell(await hook(olga, type=host.type), host, gone)
    assert await lines(olga) == [*told, told[1], told[0]]


async def test_what_was_said_long_ago_is_said_again(
    board: Board, olga: Person, connection: Any
) -> None:
    made = await hook(olga, type="github")
    await tell(made, GITHUB, of_ref(GITHUB, "delete", "branch", "main"))
    await connection.execute(
        "update webhook_deliveries set received_at = received_at - interval '2 minutes'"
    )
    await tell(made, GITHUB, GITHUB.push(deleted=True, after=ZERO))
    assert len(await lines(olga)) == 2


async def test_branches_are_made_and_deleted(board: Board, olga: Person) -> None:
    for host in (GITHUB, Gitea()):
        made = await hook(olga, type=host.type)
        for event in ("create", "delete"):
            await tell(made, host, of_ref(host, event, "branch", "a_b"))
    assert (
        await lines(olga)
        == [
            rf"**alice** created branch **a\_b** in {DOOR}",
            rf"**alice** deleted branch **a\_b** in {DOOR}",
        ]
        * 2
    )


async def test_gitlab_tells_of_more_commits_than_it_sends(board: Board, olga: Person) -> None:
    lab = GitLab()
    made = await hook(olga, type="gitlab")
    await tell(made, lab, lab.push(*"abcdefg", total_commits_count=40))
    line = (await lines(olga))[0].split("\n")
    assert line[0].startswith("**alice** pushed 40 commits to **main**")
    assert line[-1] == "… and 35 more"


async def test_gitlab_does_not_say_whose_it_is_when_another_changes_it(
    board: Board, olga: Person
) -> None:
    lab, card = GitLab(), await board.card()
    made = await hook(olga, type="gitlab")
    await tell(made, lab, lab.pull_request("opened", card["key"]))
    event, payload = lab.pull_request("closed", card["key"], state="closed")
    payload["user"] = {"id": 2, "name": "bob"}
    await tell(made, lab, (event, payload))
    (link,) = await links(olga, card)
    assert (link["author"], link["status"]) == ("alice", "closed")


async def test_events_that_one_makes_another_send_are_not_the_same(
    board: Board, olga: Person
) -> None:
    """GitLab gives them one UUID, and keys of their own."""
    lab, made = GitLab(), await hook(olga, type="gitlab")
    for key in ("one", "two"):
        await tell(made, lab, lab.push("a"), key)
    assert len(await lines(olga)) == 2
    headers = lab.headers("push") | {"X_Gitlab_Event_UUID": "u"}
    assert (await made.post(lab.push("a")[1], **headers))["posted"] is True
    assert await made.post(lab.push("a")[1], **headers) == {"ok": True, "duplicate": True}


async def test_gitea_tells_of_comments_reviews_releases_and_forks(
    board: Board, olga: Person
) -> None:
    host, made = Gitea(), await hook(olga, type="gitea")
    repository, sender = host.push()[1]["repository"], {"login": "alice"}
    common = {"repository": repository, "sender": sender}
    issue = host.issue("opened", "Door")[1]["issue"]
    pull = host.pull_request("opened", "Door")[1]["pull_request"]
    comment = {"body": "Look\n> @bob", "html_url": f"{BASE}/issues/8#c1"}
    origin = {"full_name": "bob/door", "html_url": "https://git.example.org/bob/door"}
    release = {"tag_name": "v1", "name": "One", "html_url": f"{BASE}/releases/v1"}
    told: list[tuple[str, Any]] = [
        ("issue_comment", {"action": "created", "issue": issue, "comment": comment}),
        ("issue_comment", {"action": "edited", "issue": issue, "comment": comment}),
        ("pull_request_approved", {"pull_request": pull, "review": {"content": "Good"}}),
        ("pull_request_comment", {"pull_request": pull, "review": {"content": ""}}),
        ("release", {"action": "published", "release": release}),
        ("release", {"action": "updated", "release": release}),
        ("fork", {"forkee": origin}),
        ("wiki", {"action": "created"}),
    ]
    for event, payload in told:
        await tell(made, host, (event, {**common, **payload}))
    assert await lines(olga) == [
        f"**alice** commented on [issue #8 Door]({BASE}/issues/8#c1) in {DOOR}\n"
        "> Look \\> @\u200bbob",
        f"**alice** reviewed [PR #5 Door]({BASE}/pull/5) in {DOOR}\n> Good",
        f"**alice** reviewed [PR #5 Door]({BASE}/pull/5) in {DOOR}",
        f"**alice** released [One]({BASE}/releases/v1) in {DOOR}",
        f"**alice** forked [bob/door](https://git.example.org/bob/door) to {DOOR}",
    ]


async def test_the_platform_is_told_by_the_header(board: Board, olga: Person) -> None:
    card, made = await board.card(), await hook(olga, type="gitea")
    await tell(made, Forgejo(), Forgejo().push(card["key"]))
    assert (await links(olga, card))[0]["platform"] == "forgejo"


async def test_a_form_holds_the_payload(board: Board, olga: Person) -> None:
    """GitHub's own choice, unless its form is changed; what is signed is the form."""
    card, made = await board.card(), await hook(olga, type="github")
    body = urlencode({"payload": orjson.dumps(GITHUB.push(card["key"])[1]).decode()}).encode()
    form: dict[str, Any] = {"Content_Type": "application/x-www-form-urlencoded"}
    answer = await made.post(body, **GITHUB.headers("push"), **form)
    assert answer["linked"] == 1
