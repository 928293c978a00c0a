"""How a part below tells parts above what happens, without knowing them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")

log = logging.getLogger(__name__)


class Observers(Generic[P]):
    """The callables that are told when one thing happens, in the order in which they were added.

    They are added while a process is put together (`desk.observe`); when the part starts they are
    complete, and `add` raises from then on. None replaces another. One that raises keeps no other
    from being told: the first error is raised after the last call, the others are logged.
    """

    __slots__ = ("_complete", "_each", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._each: tuple[Callable[P, None], ...] = ()
        self._complete = False

    def add(self, observer: Callable[P, None]) -> None:
        """Tell this one, too, after those that are here."""
        if self._complete:
            raise RuntimeError(f"{self.name}: observers are added before the start")
        self._each += (observer,)

    def complete(self) -> Callable[P, None]:
        """Take no more. Gives what tells them all at the least cost, where a call is hot."""
        self._complete = True
        return self._each[0] if len(self._each) == 1 else self

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        failed: Exception | None = None
        for observer in self._each:
            try:
                observer(*args, **kwargs)
            except Exception as error:
                if failed is not None:
                    log.exception("observers.failed of=%s", self.name)
                failed = failed or error
        if failed is not None:
            raise failed
