"""Whom a text names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmdesk.changes.mentions import named


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("@bob", "bob"),
        ("Hi @Bob, and @ALICE.", "bob alice"),
        ("@bob @bob @BOB", "bob"),
        ("(@bob) [@alice] *@eve* @olga_", "bob alice eve olga_"),
        ("@dotted.name-x. @dash-", "dotted.name-x dash"),
        ("@...", ""),
        ("mail bob@example.org or a.@bob", ""),
        ("//@bob @@alice x/@eve", ""),
        ("`@bob` and ``a ` @eve`` but @alice", "alice"),
        ("`@bob and @alice", "bob alice"),
        ("```\n@bob\n```\n@alice", "alice"),
        ("```\n@bob\n~~~\n@eve\n````\n@alice", "alice"),
        ("~~~ py\n@bob", ""),
        ("    ```\n@bob", "bob"),
        ("``` a ` b\n@bob", "bob"),
        ("Grüße an @bob…", "bob"),
        ("@bob’s door, @alice؟", "bob alice"),
        ("@" + "x" * 60, "x" * 60),
        ("@" + "x" * 61, ""),
        ("~~\n@bob\n~~~\n@eve", "bob"),
        ("``\n@bob\n", "bob"),
        ("   ~~~\n@bob\n   ~~~\n@alice", "alice"),
        ("~~~\n@bob\n    ~~~\n@eve\n~~~\n@alice", "alice"),
        ("```\n@bob\n``` py\n@eve\n```\t \n@alice", "alice"),
        ("````\n@bob\n```\n@eve\n`````\n@alice", "alice"),
        ("~~~ a ` b\n@bob\n~~~\n@alice", "alice"),
    ],
)
def test_a_text_names_people_where_a_reader_sees_a_name(text: str, names: str) -> None:
    assert named(text) == names


def test_what_stood_in_a_text_before_is_not_named_newly() -> None:
    assert named("@bob @alice", "@bob") == "alice"
    assert named("@bob", "`@bob`") == "bob"


@pytest.mark.parametrize("count", [100, 101])
def test_a_text_names_a_hundred_at_most(count: int) -> None:
    names = [f"name{n}" for n in range(count)]
    assert named(" ".join(f"@{name} @{name}" for name in names)).split() == names[:100]


@settings(max_examples=200)
@given(st.text(alphabet="@`~ab.-_ \n", max_size=400))
def test_any_text_is_read_in_one_pass(text: str) -> None:
    for name in named(text * 50).split():
        assert name == name.strip(".-").lower() or name.startswith((".", "-"))
        assert f"@{name}" in text * 50


@pytest.mark.parametrize("worst", ["`" * 20_000, "`a``" * 5_000, "@a`" * 6_000, "~~~\n" * 5_000])
def test_the_worst_texts_cost_no_time(worst: str) -> None:
    named(f"@{worst}")
