"""The things that events are about: ``card:7``, and below it its parts, ``card:7/comment:9``. A
thing is erased with all below it. In SQL the function ``entity`` makes the same names.
"""

from __future__ import annotations

from collections.abc import Container, Iterator


class Entity(str):
    """The name of a thing. Made by `entity` and `child` only."""

    __slots__ = ()

    def child(self, kind: str, id_: int) -> Entity:
        """A part of it: with an id of its own, and erased with it."""
        return Entity(f"{self}/{kind}:{id_}")


def entity(kind: str, id_: int) -> Entity:
    """A thing that is no part of another one that can be erased."""
    return Entity(f"{kind}:{id_}")


def upwards(told_of: str) -> Iterator[str]:
    """A thing, and those that it stands below: whoever erases one of them erases it."""
    while told_of:
        yield told_of
        told_of = told_of.rpartition("/")[0]


def is_erased(told_of: str, erased: Container[str]) -> bool:
    """Whether a thing is one of those that were erased, or stands below one."""
    while told_of not in erased:
        told_of, below, _ = told_of.rpartition("/")
        if not below:
            return False
    return True


def user_of(told_of: str) -> int:
    """The id of the user that it is; 0 for anything else."""
    kind, _, number = told_of.partition(":")
    return int(number) if kind == "user" and number.isdecimal() else 0
