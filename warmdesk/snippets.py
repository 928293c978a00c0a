"""Pieces of texts for people who search: what was found, with some words around it.

A piece is plain text, never markup: where the words stand in it is told by numbers. A text is
compared as ``folded`` in sql/migrations/0023_search.sql compares it.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from bisect import bisect_right
from typing import NamedTuple

LENGTH = 160
"""Characters of a piece, about."""
BEFORE = 40
"""Of them, before the first word that was found."""

MARKS = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640"
    "\u064b-\u065f\u0670\ufe0e\ufe0f]"
)
LETTERS = str.maketrans("ıŁłØøĐđ", "illoodd")
SMALL = str.maketrans({"ß": "ss", "ς": "σ"})
JOINED = re.compile("[\u200d\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
"""What belongs to the character before it, beside accents: parts of emojis."""


class Snippet(NamedTuple):
    """A piece of a text; `marks` say where words stand in it: from a character, counted from 0, to
    before another.
    """

    text: str
    marks: list[tuple[int, int]]


@functools.lru_cache(4096)
def folded(text: str) -> str:
    """A text as a search compares it: small letters without accents, each written in one way."""
    plain = MARKS.sub("", unicodedata.normalize("NFKD", text))
    return plain.translate(LETTERS).lower().translate(SMALL)


def words_of(q: str) -> re.Pattern[str]:
    """The words of a search as they are found in folded texts: see search_patterns in
    sql/shapes/search.sql.
    """
    words = sorted(set(folded(q).split()), key=len, reverse=True)
    return re.compile("|".join(map(_pattern, words)) or r"(?!)")


def _pattern(word: str) -> str:
    size = len(word.encode())
    begins = r"(?<!\w)" if size < 3 and re.match(r"\w", word) else ""
    ends = r"(?!\w)" if size < 2 and begins else ""
    return f"{begins}{re.escape(word)}{ends}"


def snippet(text: str, words: re.Pattern[str]) -> Snippet:
    """The piece of a text in which the first of these words stands, with marks on all that stand in
    it; the text's beginning where none does. White space becomes one space; what is left out is
    told by an ellipsis.
    """
    text = " ".join(text.split())
    found = _found(text, words)
    start = max(0, found[0][0] - BEFORE) if found else 0
    end = min(len(text), max(start + LENGTH, found[0][1] if found else 0))
    while _goes_on(text, start):
        start -= 1
    while _goes_on(text, end):
        end += 1
    before, after = "…" if start else "", "…" if end < len(text) else ""
    shift = len(before) - start
    marks = [(a + shift, b + shift) for a, b in found if b <= end]
    return Snippet(f"{before}{text[start:end]}{after}", marks)


def _found(text: str, words: re.Pattern[str]) -> list[tuple[int, int]]:
    """Where words stand in a text, one after the other."""
    parts = list(map(folded, text))
    ends = list(itertools.accumulate(map(len, parts)))
    found: list[tuple[int, int]] = []
    for match in words.finditer("".join(parts)):
        # Of which of the text's letters are the first and the last that match?
        start, end = bisect_right(ends, match.start()), bisect_right(ends, match.end() - 1) + 1
        while _goes_on(text, end):
            end += 1
        if not found or found[-1][1] <= start:
            found.append((start, end))
    return found


def _goes_on(text: str, place: int) -> bool:
    """Whether what stands at this place belongs to the character before it."""
    return 0 < place < len(text) and bool(
        unicodedata.combining(text[place])
        or JOINED.match(text[place])
        or text[place - 1] == "\u200d"
    )
