"""What every checker has: sentences of what it saw broken."""

from __future__ import annotations

KEPT = 50


class Checker:
    """`broken` has the first sentences, `count` is how many there were. Nothing is raised while
    people work, so that one run tells everything; `whole` raises when all is over.
    """

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.count = 0

    def cry(self, sentence: str, times: int = 1) -> None:
        """Something is broken, so many times."""
        self.count += times
        if len(self.broken) < KEPT:
            self.broken.append(sentence)

    def whole(self) -> None:
        """AssertionError with the sentences if anything is broken."""
        more = [f"… {self.count} in all"] if self.count > len(self.broken) else []
        assert not self.count, "\n".join([f"{type(self).__name__}:", *self.broken, *more])
