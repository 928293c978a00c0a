"""Card references, texts of strangers as Markdown, and the cut of what is too long."""

from __future__ import annotations

import string
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from warmdesk.changes.mentions import named
from warmdesk.hosts import Commit, Fork, Item, Push, Ref, Release, Remark, Repo
from warmdesk.hosts.text import (
    LONGEST,
    LONGEST_SEARCHED,
    MOST_LINKS,
    MOST_REFERENCES,
    address,
    cut_text,
    effect,
    line_of,
    link,
    plain,
    references,
    target,
)

REPO = Repo("alice/door", "https://git.example.org/alice/door")
WORD = string.ascii_letters + string.digits + "_"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("DEMO-7", [("DEMO", 7)]),
        ("Fixes DEMO-7.", [("DEMO", 7)]),
        ("(DEMO-7, X-1)", [("DEMO", 7), ("X", 1)]),
        ("feature/DEMO-7-fix-the-door", [("DEMO", 7)]),
        ("P2P-12", [("P2P", 12)]),
        ("ABCDEFGHIJ-1", [("ABCDEFGHIJ", 1)]),
        ("DEMO-7 and DEMO-7", [("DEMO", 7)]),
        ("é DEMO-7é", [("DEMO", 7)]),
        ("DEMO-7-", [("DEMO", 7)]),
        ("DEMO-2147483647", [("DEMO", 2147483647)]),
        ("DEMO-007", [("DEMO", 7)]),
        ("demo-7", []),
        ("Demo-7", []),
        ("ABCDEFGHIJK-1", []),
        ("2DEMO-7", []),
        ("DEMO-0", []),
        ("DEMO-2147483648", []),
        ("DEMO-99999999999", []),
        ("DEMO-7x", []),
        ("DEMO-7_", []),
        ("_DEMO-7", []),
        ("xDEMO-7", []),
        ("x-DEMO-7", []),
        ("CVE-2026-1234", []),
        ("DEMO_7", []),
        ("DEMO-", []),
        ("DEMO-٧", []),
        ("ДЕМО-7", []),
    ],
)
def test_every_shape_of_a_reference(text: str, found: list[tuple[str, int]]) -> None:
    assert references(text) == found


def by_hand(text: str) -> list[tuple[str, int]]:
    """The same rules, read off letter by letter."""
    found: list[tuple[str, int]] = []
    for start in range(len(text)):
        before = text[start - 1] if start else " "
        if before in WORD + "-" or text[start] not in string.ascii_uppercase:
            continue
        end = start
        while end < len(text) and text[end] in string.ascii_uppercase + string.digits:
            end += 1
        digits = end + 1
        while digits < len(text) and text[digits] in string.digits:
            digits += 1
        number = text[end + 1 : digits]
        after = text[digits : digits + 1]
        goes_on = after == "-" and text[digits + 1 : digits + 2] in (*string.digits,)
        if (
            end - start <= 10
            and text[end : end + 1] == "-"
            and 1 <= len(number) <= 10
            and 1 <= int(number) <= 2**31 - 1
            and (not after or after not in WORD)
            and not goes_on
            and (text[start:end], int(number)) not in found
        ):
            found.append((text[start:end], int(number)))
    return found[:MOST_REFERENCES]


PIECES = st.one_of(
    st.sampled_from(
        ["DEMO-7", "X-1", "A2-30", "CVE-2026-1234", "-", "_", " ", "x", "9", "/", "\n"]
    ),
    st.text(alphabet="AZaz09-_ é", max_size=6),
    st.from_regex(r"[A-Z][A-Z0-9]{0,11}-[0-9]{1,12}", fullmatch=True),
)


@given(st.lists(PIECES, max_size=60).map("".join))
@example("CVE-2026-1234 DEMO-1")
def test_references_are_found_as_by_hand(text: str) -> None:
    assert references(text) == by_hand(text)


def test_a_text_links_to_twenty_cards_and_is_not_read_for_ever() -> None:
    assert references(" ".join(f"DEMO-{n}" for n in range(1, 100)))[-1] == ("DEMO", 20)
    far = " " * (LONGEST_SEARCHED - 6)
    assert references(f"{far}DEMO-7") == [("DEMO", 7)]
    assert references(f"{far}DEMO-78") == []


# What is too long


SIGNS = st.text(
    alphabet=st.sampled_from("a\u0301e\u200d\U0001f468\U0001f469\U0001f3fd\ufe0fб\n"), max_size=80
)


@given(SIGNS, st.integers(2, 70))
def test_a_cut_is_no_longer_and_parts_no_sign(text: str, longest: int) -> None:
    cut = cut_text(text, longest)
    assert len(cut) <= longest
    if len(text) <= longest:
        assert cut == text
        return
    assert cut[-1] == "…"
    assert text.startswith(cut[:-1])
    rest = text[len(cut) - 1 :]
    whole = unicodedata.combining(rest[0]) == 0 and rest[0] not in "\u200d\ufe0f\U0001f3fd"
    assert (whole and not cut[:-1].endswith("\u200d")) or len(cut) == 1


@pytest.mark.parametrize("length", [LONGEST - 1, LONGEST, LONGEST + 1, 3 * LONGEST])
def test_a_line_has_twenty_thousand_characters(length: int) -> None:
    cut = cut_text("ж" * length)
    assert len(cut) == min(length, LONGEST)
    assert cut.endswith("…") == (length > LONGEST)


# Texts of strangers


@given(st.text(max_size=200))
@example("@alice ![x](https://e.example) `code` **b** <img> www.e.example https://e.example # 1.")
@example("1. a")
@example("- a")
@example("a\n\n# b\u202e")
def test_what_a_stranger_writes_means_nothing(text: str) -> None:
    shown = line_of(plain(text))
    assert named(shown) == ""
    assert "\n" not in shown
    # Without what is escaped nothing is left that Markdown would read.
    rest = ""
    letters = iter(shown)
    for letter in letters:
        if letter == "\\":
            assert next(letters) in string.punctuation
            rest += "¤"
        else:
            rest += letter
    assert not set(rest) & set("\\`*_{}[]<>()|~&!$")
    assert "://" not in rest
    assert "www." not in rest.lower()
    assert rest.lstrip(string.digits)[:1] not in ("-", "+", ".", "=", "#")


@given(st.text(max_size=300))
def test_a_line_of_a_stranger_can_be_seen(text: str) -> None:
    for letter in plain(text):
        assert letter == "\u200d" or unicodedata.category(letter)[0] != "C"


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "javascript:alert(1)",
            "data:text/html,x",
            "//e.example",
            "https://",
            "ftp://e.example",
        ),
        *("https://bank.example@e.example/", "https://e.example/ x", "https://e.example/\nx"),
        "https://e.example/" + "x" * 2000,
    ],
)
def test_only_addresses_of_the_web_are_links(url: str) -> None:
    assert address(url) == ""
    assert link("a title", url) == "a title"


def test_an_address_does_not_end_its_link() -> None:
    url = "https://e.example/a_(b)?x=`y`&z=@bob"
    assert address(url) == url
    assert target(url) == "https://e.example/a_%28b%29?x=%60y%60&z=%40bob"
    assert link("a](https://e.example)", url).count("](") == 1


# Lines


def commits(count: int, message: str = "Fix the door") -> list[Commit]:
    return [
        Commit(f"{n:040x}", f"{REPO.url}/commit/{n:040x}", f"{message} {n}\n\nat last", "Alice")
        for n in range(1, count + 1)
    ]


def test_a_push_is_a_line_and_five_commits() -> None:
    line = effect(
        Push(repo=REPO, pusher="alice", ref="refs/heads/main", commits=commits(7))
    ).line.split("\n")
    assert line[0] == (
        "**alice** pushed 7 commits to **main** ([alice/door](https://git.example.org/alice/door))"
    )
    assert line[1] == (
        f"- [`0000000`](https://git.example.org/alice/door/commit/{1:040x}) Fix the door 1"
    )
    assert line[6] == "", "else it would go on the last commit's line"
    assert line[-1] == "… and 2 more"


def test_a_push_of_nothing_says_nothing() -> None:
    assert effect(Push(repo=REPO, pusher="alice", ref="refs/heads/main")).line == ""


@pytest.mark.parametrize(
    ("ref", "deleted", "said"),
    [
        ("refs/heads/main", True, "**a** deleted branch **main** in "),
        ("refs/tags/v1", True, "**a** deleted tag **v1** in "),
        ("refs/tags/v1", False, "**a** pushed tag **v1** ("),
    ],
)
def test_branches_and_tags_have_words_of_their_own(ref: str, deleted: bool, said: str) -> None:
    found = effect(Push(repo=REPO, pusher="a", ref=ref, deleted=deleted, commits=commits(1)))
    assert found.line.startswith(said)
    assert bool(found.links) is False


def test_other_events_are_a_line_each() -> None:
    said = [
        effect(each).line
        for each in (
            Ref(repo=REPO, sender="a", action="created", kind="branch", name="b"),
            Release(repo=REPO, sender="a", name="1.0", url="https://e.example/1"),
            Fork(repo=REPO, sender="a", copy=Repo("bob/door", "https://e.example/bob")),
            Remark(
                kind="pr",
                repo=REPO,
                sender="a",
                number=3,
                title="Door",
                url="https://e.example/3",
                text="Good\n\n# news " + "x" * 300,
                is_review=True,
            ),
        )
    ]
    door = "[alice/door](https://git.example.org/alice/door)"
    assert said[:3] == [
        f"**a** created branch **b** in {door}",
        f"**a** released [1.0](https://e.example/1) in {door}",
        f"**a** forked {door} to [bob/door](https://e.example/bob)",
    ]
    first, quote = said[3].split("\n")
    assert first == f"**a** reviewed [PR #3 Door](https://e.example/3) in {door}"
    assert quote.startswith("> Good # news xxx")
    assert quote.endswith("…")
    assert len(quote) <= 210
    strange = Ref(
        repo=REPO, sender="a", action="created", kind="x\n\n# Owned" + "x" * 999, name="b"
    )
    assert "\n" not in effect(strange).line
    assert len(effect(strange).line) < 700


def item(**fields: object) -> Item:
    known = {
        "kind": "pr",
        "repo": REPO,
        "sender": "alice",
        "action": "opened",
        "number": 5,
        "title": "Door",
        "url": f"{REPO.url}/pull/5",
        "status": "open",
    }
    return Item(**(known | fields))  # type: ignore[arg-type]


def test_all_texts_of_a_pull_request_name_cards() -> None:
    found = effect(item(title="DEMO-1", body="see DEMO-2\n", branch="x/DEMO-3-y"))
    (made,) = found.links
    assert made.cards == [("DEMO", 1), ("DEMO", 2), ("DEMO", 3)]
    assert (made.reference, made.title, found.link_type) == ("5", "DEMO-1", "pr")


def test_only_what_people_wait_for_is_said() -> None:
    for action in ("labeled", "synchronize", "edited", "assigned", "review_requested"):
        found = effect(item(action=action, title="DEMO-1"))
        assert (found.line, len(found.links)) == ("", 1)
    assert "marked as ready for review pull request" in effect(item(action="ready_for_review")).line


def test_the_newest_commits_are_linked() -> None:
    pushed = Push(repo=REPO, pusher="a", ref="refs/heads/m", commits=commits(10_000, "DEMO-1"))
    made = effect(pushed).links
    assert len(made) == MOST_LINKS
    assert (made[0].reference, made[-1].reference) == (f"{8001:040x}", f"{10_000:040x}")
