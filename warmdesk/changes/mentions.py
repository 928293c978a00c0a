"""Who a text names: ``@username``.

A name is the longest run of the characters of usernames behind an ``@``, without dots and dashes at
its end, which end a sentence. What stands before the ``@`` must not belong to a word or an address,
and what stands in code (a span between backticks, a fenced block, as CommonMark has them) names
nobody. Whether somebody is called so, and may see the text, SQL finds out: see `note` and
`people_named` in sql/changes/notifications.sql, and whether ``all`` is everybody.
"""

from __future__ import annotations

import re

MOST_NAMES = 100
"""Names of one text that are told; whoever comes after them is not."""

EVERYBODY = "all"
"""The name that a project admin calls all members by."""

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
TICKS = re.compile(r"`+")
NAME = re.compile(r"(?<![A-Za-z0-9_.@/+-])@([A-Za-z0-9._-]{1,60})(?![A-Za-z0-9._-])")


def named(text: str, before: str = "") -> str:
    """The names of a text in lower case, once each, in their order, with spaces between; without
    those that stood in it `before`.
    """
    if "@" not in text:
        return ""
    old = set(_names(before)) if "@" in before else ()
    names = dict.fromkeys(name for name in _names(text) if name not in old)
    return " ".join(list(names)[:MOST_NAMES])


def _names(text: str) -> list[str]:
    found = (match.group(1).rstrip(".-").lower() for match in NAME.finditer(_prose(text)))
    return [name for name in found if name]


def _prose(text: str) -> str:
    """A text without its code."""
    if "`" not in text and "~~~" not in text:
        return text
    kept: list[str] = []
    fence = ""
    for line in text.splitlines():
        match = FENCE.fullmatch(line)
        if fence:
            if match and match[1].startswith(fence) and not match[2].strip():
                fence = ""
        elif match and not (match[1][0] == "`" and "`" in match[2]):
            fence = match[1]
        else:
            kept.append(line)
            continue
        kept.append("")
    return _without_spans("\n".join(kept))


def _without_spans(text: str) -> str:
    """A text without what stands between two runs of as many backticks."""
    runs = list(TICKS.finditer(text))
    # Where each length of run comes next, from the end: so that no text is read twice.
    closing: list[int | None] = [None] * len(runs)
    last: dict[int, int] = {}
    for nth in range(len(runs) - 1, -1, -1):
        length = runs[nth].end() - runs[nth].start()
        closing[nth] = last.get(length)
        last[length] = nth
    kept: list[str] = []
    nth, place = 0, 0
    while nth < len(runs):
        close = closing[nth]
        if close is None:
            nth += 1
            continue
        kept.append(text[place : runs[nth].start()])
        place, nth = runs[close].end(), close + 1
    kept.append(text[place:])
    return " ".join(kept)
