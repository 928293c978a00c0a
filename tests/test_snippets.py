"""A piece of a text shows where the words stand, and nothing that the text has not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmdesk.snippets import folded, snippet, words_of

LETTERS = "abcABC xyz.<&\"'\n\té́ÄßİıΣσςДд日本ﬁ🦊👍🏽❤️ّم"
Texts = st.text(
    st.sampled_from(LETTERS) | st.characters(codec="utf-8", exclude_characters="\0"), max_size=400
)


def marked(text: str, q: str) -> str:
    """The piece with brackets around its marks."""
    piece, marks = snippet(text, words_of(q))
    for start, end in reversed(marks):
        piece = f"{piece[:start]}[{piece[start:end]}]{piece[end:]}"
    return piece


@pytest.mark.parametrize(
    ("text", "q", "shown"),
    [
        ("The door squeaks", "door", "The [door] squeaks"),
        ("Doors and DOORS", "door", "[Door]s and [DOOR]S"),
        ("The indoor pool", "door", "The in[door] pool"),
        ("The door\n\n squeaks\t", "door squeaks", "The [door] [squeaks]"),
        ("Do not redo it", "do", "[Do] not redo it"),
        ("A plan, a man", "plan a", "[A] [plan], [a] man"),
        ("50% of 500", "50%", "[50%] of 500"),
        ("C++ and C", "c+", "[C+]+ and C"),
        ("a\\b a_b a%b", "a_b", "a\\b [a_b] a%b"),
        ("café CAFE\u0301 cafe", "cafe", "[café] [CAFE\u0301] [cafe]"),
        ("cafe", "CAFÉ", "[cafe]"),
        ("İstanbul, ISTANBUL, ıstanbul", "istanbul", "[İstanbul], [ISTANBUL], [ıstanbul]"),
        ("Straße STRASSE", "strasse", "[Straße] [STRASSE]"),
        ("ΟΔΟΣ οδός", "οδος", "[ΟΔΟΣ] [οδός]"),
        ("the oﬃce", "office", "the [oﬃce]"),
        ("مُحَمَّد", "محمد", "[مُحَمَّد]"),
        ("東京タワー", "タワ", "東京[タワ]ー"),
        ("I ❤️ it 👍🏽", "❤", "I [❤️] it 👍🏽"),
        ("so 👩🏽‍🚒 came", "👩", "so [👩🏽‍🚒] came"),
        ("nothing here", "door", "nothing here"),
        ("<b>door</b> & more", "door", "<b>[door]</b> & more"),
    ],
)
def test_the_words_are_marked(text: str, q: str, shown: str) -> None:
    assert marked(text, q) == shown


def test_of_a_long_text_a_piece_is_shown() -> None:
    shown = marked("word " * 100 + "needle " + "word " * 100, "needle")
    assert "[needle]" in shown
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert len(shown) < 170
    assert marked("word " * 100, "needle") == "word " * 31 + "word …"


def test_a_long_word_is_shown_whole() -> None:
    assert f"[{'x' * 200}]" in marked("word " * 100 + "x" * 200 + " word" * 100, "x" * 200)


def test_no_emoji_is_taken_apart() -> None:
    family = "👩‍👩‍👧‍👦"
    for before in range(100, 170):
        shown = marked("needle " + "x" * before + family + "x" * 100, "needle")
        assert family in shown or not set(family) & set(shown)


@given(text=Texts, q=Texts)
def test_marks_stand_in_the_piece_and_what_is_marked_is_a_word(text: str, q: str) -> None:
    words = words_of(q)
    piece, marks = snippet(text, words)
    plain = " ".join(text.split())
    assert piece.strip("…") in plain + "…"
    assert marks == sorted(marks)
    end = 0
    for start, stop in marks:
        assert end <= start < stop <= len(piece)
        assert any(word in folded(piece[start:stop]) for word in folded(q).split())
        end = stop
