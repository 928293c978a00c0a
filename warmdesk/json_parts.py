"""JSON put together from texts that are JSON already, without decoding them."""

from __future__ import annotations

from typing import AnyStr


def joined(first: AnyStr, second: AnyStr) -> AnyStr:
    """Two JSON objects as one: the keys of the first, then those of the second; no key may be in
    both. Nothing may stand before or after their braces. What is long comes second: in bytes it is
    copied once. `joined` in SQL does the same.
    """
    if len(first) == len("{}"):
        return second
    if len(second) == len("{}"):
        return first
    if isinstance(first, bytes):
        return b"".join((first[:-1], b",", memoryview(second)[1:]))
    return f"{first[:-1]},{second[1:]}"
