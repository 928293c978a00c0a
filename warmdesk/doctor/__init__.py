"""What ``warmdesk doctor`` looks at, a file for each part, and what it calls a finding.

A check asks the real thing, changes nothing but a line of the login history, and ends within
seconds whatever that does. It gives findings: what is well, and of what is not what to do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from enum import StrEnum
from typing import Any, NamedTuple

SECONDS = 5.0
"""How long anything may take to answer."""


GOODBYE_SECONDS = 1.0


class Verdict(StrEnum):
    """How it stands with one thing."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


class Finding(NamedTuple):
    """One line: what it is about, what was found, and of what is not well what to do."""

    verdict: Verdict
    about: str
    says: str
    do: str = ""

    def __str__(self) -> str:
        advice = f"; {self.do}" if self.do else ""
        return f"{self.verdict:7}  {self.about}: {self.says}{advice}"


class Teller(NamedTuple):
    """Makes the findings about one part."""

    about: str

    def ok(self, says: str) -> Finding:
        return Finding(Verdict.OK, self.about, says)

    def warning(self, says: str, do: str) -> Finding:
        return Finding(Verdict.WARNING, self.about, says, do)

    def wrong(self, says: str, do: str) -> Finding:
        return Finding(Verdict.WRONG, self.about, says, do)


async def leave(connection: Any) -> None:
    """Close a connection to PostgreSQL, also one that does not answer any more."""
    with suppress(TimeoutError, OSError):
        await connection.close(timeout=GOODBYE_SECONDS)


Findings = AsyncIterator[Finding]
Check = Callable[..., Findings]
