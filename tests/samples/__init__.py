"""How tests make one thing of a resource, and delete it: a file for each, with a `SAMPLE`.

What must be true of every resource is tested with these: its lists come in pages, nothing of what
was deleted is told, ids of nothing are refused. A resource without its sample fails there. (Cards,
messages, columns and people are made by those tests themselves.)
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.person import Person


@asynccontextmanager
async def by_root(person: Person) -> AsyncIterator[Person]:
    """Root at the server of `person`, for what only owners make: everybody's things are made by
    somebody who is no owner, too. The session ends with it, for an account has not many.
    """
    root = Person(person.url, "root", id=1)
    try:
        yield root
        token = root.client.refresh_token
        await root.post("/auth/logout", {"refresh_token": token}, status=204)
    finally:
        await root.close()


@dataclass(frozen=True, slots=True)
class Sample:
    """A thing of a resource.

    name      the parameter that names it in paths: ``poll_id``
    make      makes one whose text is this: told a person who may, and what other parameters of its
              path are (``slug``, ``column_id``, ``card_id``, and the names of samples before it);
              gives its id
    deletes   the path whose DELETE deletes it, and what was told of it
    edits     the field of the PUT on that path which gives it another text, where there is one
    most      how many there may be at once; 0 for any number
    at        the path where it stands, where nothing is told of it when it is deleted
    """

    name: str
    make: Callable[[Person, Mapping[str, Any], str], Awaitable[int]]
    deletes: str | None = None
    edits: str | None = None
    most: int = 0
    at: str = ""

    def path(self, names: Mapping[str, Any], id_: int) -> str:
        """Where one is deleted, and edited."""
        assert self.deletes is not None
        return self.deletes.format(**{**names, self.name: id_})

    async def edit(self, person: Person, names: Mapping[str, Any], id_: int, text: str) -> None:
        """Give one another text, where that can be."""
        if self.edits is not None:
            await person.put(self.path(names, id_), {self.edits: text})

    async def delete(self, person: Person, names: Mapping[str, Any], id_: int) -> None:
        """Delete one."""
        await person.delete(self.path(names, id_))


def _depth(sample: Sample) -> tuple[int, str]:
    return (sample.deletes or sample.at).count("{"), sample.name


SAMPLES: list[Sample] = sorted(
    (
        importlib.import_module(f"{__name__}.{each.name}").SAMPLE
        for each in pkgutil.iter_modules(__path__)
    ),
    key=_depth,
)
"""What others stand below comes before them: a topic before a reply."""


async def make_each(person: Person, names: dict[str, Any], text: str = "Some text") -> None:
    """One of each, and its id among the names, so that paths lead to it and below it."""
    for each in SAMPLES:
        names[each.name] = await each.make(person, names, text)


async def make_below(person: Person, names: Mapping[str, Any], path: str, text: str) -> None:
    """One of each that can be deleted below a path, told of twice."""
    known = dict(names)
    for each in SAMPLES:
        if each.deletes is not None and each.deletes.startswith(f"{path}/"):
            known[each.name] = await each.make(person, known, text)
            await each.edit(person, known, known[each.name], f"{text}, edited")
