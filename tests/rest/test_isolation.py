"""What stands below one thing is not found below another: 404, and nothing is changed or told.

Made from the routes: each whose path names two things or more is asked with every mixture of ids
that do not belong together. A is a project (or a conversation, a user), B another one, and C a
second card, column, topic and so on in A.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from tests.person import Person
from tests.rows import changed, contents
from tests.trying_out import Office, Operation, operations


def names_in(path: str) -> list[str]:
    return re.findall(r"{(\w+)}", path)


PATHS = [names_in(each.path) for each in operations()]
NESTED = [each for each in operations() if len(names_in(each.path)) > 1]
TAGS = sorted({each.tag for each in NESTED})
TO_NOBODY = {
    f"post /projects/{{slug}}/cards/{{card_id}}/{each}/{{user_id}}": 422
    for each in ("assignees", "watchers")
}
"""Where the path names somebody who shall become something, and is no member of the project."""


@functools.cache
def parents(name: str, first: str) -> list[str]:
    """The names that a thing stands below, as the shortest path to it says; all paths that begin
    with the same name are looked at. A label stands below its project, whatever card it hangs on.
    """
    leading = [path for path in PATHS if path[:1] == [first] and name in path]
    shortest = min(leading, key=len)
    return shortest[: shortest.index(name)]


def below(place: str, parent: str, its_place: str) -> bool:
    """Whether what was made at a place stands below this parent that was made at another one."""
    return place == its_place or (parent == "slug" and {place, its_place} == {"A", "C"})


def belong_together(came: dict[str, str]) -> bool:
    """Whether all things of a path stand below each other: the places where they were made."""
    first = next(iter(came))
    return all(
        below(place, parent, came[parent])
        for name, place in came.items()
        for parent in parents(name, first)
    )


def forms(operation: Operation, name: str) -> set[str]:
    """How a path may name a thing: a card by its key and its id."""
    assert name in operation.names, (
        f"nothing is made for {{{name}}} of {operation.path}: give it a sample in tests/samples,"
        " or put it in in tests/trying_out.py"
    )
    return {operation.names[name], str(operation.ids.get(name, operation.names[name]))}


def addresses(places: dict[str, Operation], *, right: bool) -> Iterator[dict[str, str]]:
    """The names of all paths below A that are right, or of those that are not."""
    names = names_in(places["A"].path)
    for came in product("A", *("ABC" for _ in names[1:])):
        if belong_together(dict(zip(names, came, strict=True))) == right:
            said = (forms(places[place], name) for place, name in zip(came, names, strict=True))
            for values in product(*said):
                yield dict(zip(names, values, strict=True))


def wrong_addresses(places: dict[str, Operation]) -> list[dict[str, str]]:
    """Without those that are right all the same: both have the same emoji, for example."""
    right = list(addresses(places, right=True))
    return [each for each in addresses(places, right=False) if each not in right]


async def try_out(route: Operation, here: Office, there: Office, connection: Any) -> list[str]:
    """What is wrong with a route. At the end it must find what belongs together."""
    a = await here.prepare(route.anew())
    c = await here.prepare(route.anew(), inside=a.names.get("slug", ""))
    b = await there.prepare(route.anew())
    wrong = []
    mixtures = wrong_addresses({"A": a, "B": b, "C": c})
    assert mixtures, f"{route.method} {route.path}: A, B and C have the same ids"
    before = await contents(connection)
    expected = {404, TO_NOBODY.get(f"{route.method} {route.path}", 404)}
    for names in mixtures:
        answer = await replace(a, names=names).execute(here.root)
        if answer.status not in expected:
            wrong.append(f"{names}: {answer.status} {answer.body}")
    for table in changed(before, await contents(connection)):
        wrong.append(f"this changed {table}")
    for each in () if wrong else (a, b):
        answer = await each.execute(here.root)
        if answer.status not in each.success:
            wrong.append(f"{each.names}, which belong together: {answer.status} {answer.body}")
    return [f"{route.method} {route.path}: {each}" for each in wrong]


@pytest.mark.parametrize("tag", TAGS)
async def test_what_stands_below_one_is_not_found_below_another(
    tag: str, root: Person, olga: Person, alice: Person, bob: Person, eve: Person, connection: Any
) -> None:
    wrong = []
    for each in NESTED:
        if each.tag == tag:
            owner = root if each.path.startswith("/users/") else olga
            here, there = Office(owner, alice, bob), Office(owner, alice, eve)
            wrong += await try_out(each, here, there, connection)
    assert not wrong, "\n" + "\n".join(wrong)
