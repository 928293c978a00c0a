"""What people write: of every size up to the limits, in many alphabets."""

from __future__ import annotations

import random

TITLE, ITEM, MESSAGE, DESCRIPTION = 500, 1000, 20_000, 100_000
"""The longest that the server takes, in characters."""
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz     ",
    "\"'\\/<&\b\f\n\r\t\x01\x1f\x7f",
    "\u00e4\u4e2d\u2028\U0001f600 a",
    "".join(map(chr, range(1, 128))),
)


def text(chance: random.Random, most: int, begin: str = "") -> str:
    """`begin`, and so much more that it has from one character to `most`: short ones mostly, and
    long ones often enough.
    """
    length = round(most ** chance.random())
    letters = chance.choices(chance.choice(ALPHABETS), k=max(0, length - len(begin) - 2))
    return f"{begin} {''.join(letters)}." if letters else begin or "."
