"""The logs have no traceback, no error that is not expected, and no secret."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.checkers.cry import Checker

NEVER = ("Traceback (most recent call last)", "Task exception was never retrieved",
         "Task was destroyed but it is pending", "Exception ignored", "was never awaited",
         "ResourceWarning")  # fmt: skip
AT = r"\d{4}-\d\d-\d\dT[\d:.]+Z"
TEXT = re.compile(rf"{AT} (\w+) ([a-z_]+(?:\.[a-z_]+)+)?")
TOKEN = re.compile(r"eyJ[\w-]{5,}\.eyJ[\w-]{5,}")
GRAVE = ("error", "critical")
SHOWN = 300


@dataclass
class File:
    """How far a log was read."""

    path: Path
    offset: int = 0
    excused: bool = False
    rest: bytes = b""


class Logs(Checker):
    """Log files that may still grow, as text or as JSON. `expected` are regular expressions of
    records (in the text form) that a fault explains, with the traceback below them; `counts` says
    how often each event word was logged.
    """

    def __init__(
        self,
        paths: Iterable[Path | str],
        secrets: Iterable[str] = (),
        *,
        expected: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.files: dict[Path, File] = {}
        self.expected = [re.compile(each) for each in expected]
        self.counts: Counter[str] = Counter()
        self._secrets: list[str] = []
        self._new: list[str] = []
        for path in paths:
            self.add(path)
        for text in secrets:
            self.secret(text)

    def add(self, path: Path | str) -> None:
        """One more file. It need not be there yet."""
        self.files.setdefault(Path(path), File(Path(path)))

    def secret(self, text: str) -> None:
        """This may stand in no log: a token, a password, a key. Looked for in what was written
        before, too.
        """
        assert len(text) >= 8, "so short a text stands anywhere"
        if TOKEN.match(text):
            return  # looked for by its form: a long run has thousands
        if text not in self._secrets and text not in self._new:
            self._new.append(text)

    def check(self) -> None:
        """Read what came since the last time."""
        for file in self.files.values():
            if not file.path.exists():
                continue
            if self._new and file.offset:
                with file.path.open("rb") as opened:
                    self._seek(
                        file.path, opened.read(file.offset).decode(errors="replace"), self._new
                    )
            self._read(file)
        self._secrets += self._new
        self._new = []

    def finish(self) -> None:
        """The servers are down: a last line without its end is one, too."""
        self.check()
        for file in self.files.values():
            if file.rest:
                self._lines(file, file.rest.decode(errors="replace"))
                file.rest = b""

    def _read(self, file: File) -> None:
        with file.path.open("rb") as opened:
            opened.seek(file.offset)
            came = opened.read()
        file.offset += len(came)
        whole, line_feed, file.rest = (file.rest + came).rpartition(b"\n")
        if line_feed:
            self._lines(file, whole.decode(errors="replace"))

    def _lines(self, file: File, text: str) -> None:
        self._seek(file.path, text, [*self._secrets, *self._new])
        for written in text.split("\n"):
            line = plain(written)
            if found := TEXT.match(line):
                level, word = found[1].lower(), found[2]
                if word:
                    self.counts[word] += 1
                file.excused = any(each.search(line) for each in self.expected)
                if level in GRAVE and not file.excused:
                    self.cry(f"{file.path.name}: {self._shown(line)}")
                    continue
            if any(word in line for word in NEVER) and not (file.excused and NEVER[0] in line):
                self.cry(f"{file.path.name}: {self._shown(line)}")

    def _shown(self, line: str) -> str:
        """A line without what may not be told."""
        line = TOKEN.sub("…", line)
        for secret in (*self._secrets, *self._new):
            line = line.replace(secret, "…")
        return line[:SHOWN]

    def _seek(self, path: Path, text: str, secrets: list[str]) -> None:
        """Cry for what may not be told, without telling it."""
        if token := TOKEN.search(text):
            self.cry(f"{path.name}: a token stands in {hidden(text, token.start(), token.end())}")
        for secret in secrets:
            at = text.find(secret)
            if at >= 0:
                self.cry(f"{path.name}: a secret stands in {hidden(text, at, at + len(secret))}")


def plain(line: str) -> str:
    """A line as the text form has it; what is no record stays as it is."""
    if not line.startswith("{"):
        return line
    try:
        said = orjson.loads(line)
        start = f"{said.pop('time')} {said.pop('level')}"
    except (orjson.JSONDecodeError, KeyError):
        return line
    said.pop("logger", None)
    named = [said.pop(key) for key in ("event", "message") if key in said]
    trace = said.pop("trace", "")
    return " ".join([start, *named, *(f"{key}={value}" for key, value in said.items()), trace])


def hidden(text: str, start: int, end: int) -> str:
    """The line around a secret, without it."""
    begin, stop = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    return repr(
        text[max(begin, start - 100) : start] + "…" + text[end : stop if stop >= 0 else None][:100]
    )
