"""Progress of what takes long: a bar on a terminal, lines elsewhere. It goes to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from warmdesk.commands.shared import aside
from warmdesk.log import is_json

LINE_SECONDS = 5.0
"""At most so often a line is written where there is no terminal."""

Advance = Callable[[int, str], None]
"""So many steps more are done; and what is under way now."""


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Advance]:
    """Show how far something is, of `total` steps where that is known."""
    if sys.stderr.isatty() and not is_json():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %" if total else ""),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=total)

            def move(steps: int, now: str) -> None:
                bar.update(task, advance=steps, description=f"{title}: {now}" if now else title)

            yield move
        return
    done, said = 0, time.monotonic()

    def write(steps: int, now: str) -> None:
        nonlocal done, said
        done += steps
        if time.monotonic() - said >= LINE_SECONDS:
            said = time.monotonic()
            aside(f"{title}: {done}{f' of {total}' if total else ''}{f', {now}' if now else ''}")

    yield write


@contextmanager
def progressing(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """The same for what tells a word, how far it is, and how far it goes: see
    `warmdesk.backups.making.Progress`.
    """
    if sys.stderr.isatty() and not is_json():
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=None)

            def show(stage: str, done: int, total: int) -> None:
                bar.update(
                    task, description=f"{title}: {stage}", completed=done, total=total or None
                )

            yield show
        return
    told, at = title, time.monotonic()

    def write(stage: str, done: int, total: int) -> None:
        nonlocal told, at
        if stage != told or time.monotonic() - at >= LINE_SECONDS:
            told, at = stage, time.monotonic()
            aside(f"{title}: {stage}{f' {done} of {total}' if total else ''}")

    yield write
