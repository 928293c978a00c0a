"""Files of reports: CSV, workbooks (XLSX) and documents (PDF), made of lines.

A process of its own makes each (``python -m warmdesk.report_files xlsx``): it may take seconds, and
no thread of a worker holds the interpreter's lock for so long. It reads lines from its standard
input, which is a file, and writes to its standard output; however many lines there are, it holds
few of them, but for a document, which has no more than `MOST_LINES`.

A line is a letter and JSON. ``h`` is the head and comes first; then the groups, ``g``; then for CSV
and workbooks the entries, ``e``, by their projects; for documents the projects, ``p``, each before
its cards, ``c``.

A text is a text: no cell of a file is a formula, a link or a number because of what somebody wrote.
"""

from __future__ import annotations

import csv
import functools
import io
import itertools
import os
import re
import resource
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import IO, Any

import msgspec

CSV = "text/csv"
TYPES = {
    "csv": CSV,
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
}
FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""Beginnings of a text that a spreadsheet takes for a formula (OWASP, CSV Injection)."""
MOST_LINES = 20_000
"""Of a document: four hundred pages."""
INSIDE = re.compile(r"""([;\t\r\n][\s"']*)(?=[-=+@＝＋－＠])""")
"""Where one begins in a text for a spreadsheet that separates cells by something else than commas,
as it is usual where those stand in numbers: for it our quotes hold nothing together.
"""
SHEET_ROWS = 1_000_000
"""Of one sheet; a workbook has no more than 1,048,576."""
CPU_SECONDS = 300
FONT = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"
NO_PROJECT, OTHER_TIME, TITLE = "No project", "Other time", "Time Report"


class Head(msgspec.Struct):
    """What a report is about."""

    period_label: str
    generated_at: str
    group_by: str
    company_name: str | None
    total_minutes: int = 0


class Group(msgspec.Struct):
    key: str
    label: str
    total_minutes: int
    entries_count: int


class Entry(msgspec.Struct):
    project_id: int | None
    project: str | None
    ref: str | None
    title: str | None
    assignees: str | None
    user: str
    date: str
    minutes: int
    description: str


class Project(msgspec.Struct):
    project_name: str | None
    total_minutes: int


class Card(msgspec.Struct):
    """A card's time, or without a reference the rest of a project's."""

    card_ref: str
    title: str
    time_spent_minutes: int


KINDS: dict[int, Any] = {
    ord(letter): msgspec.json.Decoder(kind).decode
    for letter, kind in (("h", Head), ("g", Group), ("e", Entry), ("p", Project), ("c", Card))
}


def lines_of(file: IO[bytes]) -> Iterator[Any]:
    """What the lines say."""
    for line in file:
        yield KINDS[line[0]](line[1:])


def hundredths(minutes: int) -> int:
    """Minutes as hundredths of an hour, half up."""
    return (minutes * 10 + 3) // 6


def hours(minutes: int) -> str:
    """Minutes as hours with two decimals."""
    whole, rest = divmod(hundredths(minutes), 100)
    return f"{whole}.{rest:02}"


def clock(minutes: int) -> str:
    """Minutes as hours and minutes: 26:05."""
    return f"{minutes // 60}:{minutes % 60:02}"


def cell(text: str | None) -> str:
    """A text for CSV, which no spreadsheet takes for a formula, whatever separates cells there."""
    if text is None:
        return ""
    text = INSIDE.sub(r"\1'", text)
    return f"'{text}" if text.startswith(FORMULA) else text


def write_csv(lines: IO[bytes], out: IO[bytes]) -> None:
    """Each entry as a row, RFC 4180; every text in quotes."""
    text = io.TextIOWrapper(out, "utf-8", newline="", write_through=False)
    rows = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    rows.writerow(["project", "card", "title", "user", "date", "minutes", "hours", "description"])
    for each in lines_of(lines):
        if isinstance(each, Entry):
            names = (each.project, each.ref, each.title, each.user)
            rows.writerow(
                [
                    *map(cell, names),
                    each.date,
                    each.minutes,
                    hours(each.minutes),
                    cell(each.description),
                ]
            )
    text.flush()
    text.detach()


class Workbook:
    """A workbook with the groups on one sheet and the entries on others. A row that was written is
    on disk.
    """

    WIDTHS = (24, 40, 12, 24, 12, 10, 10, 24, 60)
    HEADINGS = (
        *("Project", "Task", "Ref", "Assignees", "Date", "Time (min)", "Time (h)", "User"),
        "Description",
    )

    def __init__(self, out: IO[bytes]) -> None:
        import xlsxwriter

        texts = dict.fromkeys(
            ("strings_to_formulas", "strings_to_urls", "strings_to_numbers"), False
        )
        self.book = xlsxwriter.Workbook(out, {"constant_memory": True, **texts})
        self.bold = self.book.add_format({"bold": True})
        self.large = self.book.add_format({"bold": True, "font_size": 14})
        self.day = self.book.add_format({"num_format": "yyyy-mm-dd"})
        self.decimal = self.book.add_format({"num_format": "0.00"})
        self.bold_decimal = self.book.add_format({"num_format": "0.00", "bold": True})
        self.sheets = 0
        self.row = 0
        self.project_id: int | None = None
        self.project = ""
        self.subtotal = self.total = self.entries = 0

    def write(self, lines: IO[bytes]) -> None:
        summary: Any = None
        for each in lines_of(lines):
            if isinstance(each, Head):
                summary = self._begin(each)
                row = 4
            elif isinstance(each, Group):
                row += 1
                summary.write_string(row, 0, each.label)
                summary.write_number(row, 1, each.total_minutes)
                summary.write_number(row, 2, hundredths(each.total_minutes) / 100, self.decimal)
                summary.write_number(row, 3, each.entries_count)
                self.total += each.total_minutes
            elif isinstance(each, Entry):
                if not self.entries:
                    self._sum(summary, row + 1, "Total", self.total, 0)
                self._entry(each)
        if self.entries:
            self._end_project()
            self._sum(self.sheet, self.row, "Total", self.total, 4)
        else:
            self._sum(summary, row + 1, "Total", self.total, 0)
        self.book.close()

    def _begin(self, head: Head) -> Any:
        sheet = self.book.add_worksheet(TITLE)
        sheet.set_column(0, 0, 48)
        sheet.set_column(1, 3, 12)
        sheet.write_string(0, 0, head.company_name or TITLE, self.large)
        sheet.write_string(1, 0, head.period_label)
        sheet.write_string(2, 0, head.generated_at)
        for column, word in enumerate(
            (head.group_by.capitalize(), "Time (min)", "Time (h)", "Entries")
        ):
            sheet.write_string(4, column, word, self.bold)
        return sheet

    def _entry(self, each: Entry) -> None:
        if self.row == 0 or self.row >= SHEET_ROWS:
            self._next_sheet()
        name = each.project or NO_PROJECT
        if self.entries and each.project_id != self.project_id:  # two may have one name
            self._end_project()
        self.project_id, self.project = each.project_id, name
        sheet, row = self.sheet, self.row
        texts = (name, each.title, each.ref, each.assignees)
        for column, text in enumerate(texts):
            if text:
                sheet.write_string(row, column, text)
        one = date.fromisoformat(each.date)
        if one.year > 1900:
            sheet.write_datetime(row, 4, one, self.day)
        else:  # before the calendar of spreadsheets begins
            sheet.write_string(row, 4, each.date)
        sheet.write_number(row, 5, each.minutes)
        sheet.write_number(row, 6, hundredths(each.minutes) / 100, self.decimal)
        sheet.write_string(row, 7, each.user)
        if each.description:
            sheet.write_string(row, 8, each.description)
        self.row += 1
        self.entries += 1
        self.subtotal += each.minutes

    def _next_sheet(self) -> None:
        self.sheets += 1
        self.sheet = self.book.add_worksheet("Entries" + f" {self.sheets}" * (self.sheets > 1))
        for column, width in enumerate(self.WIDTHS):
            self.sheet.set_column(column, column, width)
        self.sheet.freeze_panes(1, 0)
        for column, word in enumerate(self.HEADINGS):
            self.sheet.write_string(0, column, word, self.bold)
        self.row = 1

    def _end_project(self) -> None:
        self._sum(self.sheet, self.row, f"Subtotal {self.project}", self.subtotal, 4)
        self.row += 1
        self.subtotal = 0

    def _sum(self, sheet: Any, row: int, word: str, minutes: int, before: int) -> None:
        sheet.write_string(row, 0, word, self.bold)
        sheet.write_number(row, before + 1, minutes, self.bold)
        sheet.write_number(row, before + 2, hundredths(minutes) / 100, self.bold_decimal)


def write_xlsx(lines: IO[bytes], out: IO[bytes]) -> None:
    """A workbook: the groups, and the entries with sums for each project."""
    Workbook(out).write(lines)


CJK = (("\u3040", "\u30ff"), ("\uac00", "\ud7af"), ("\u2e80", "\u9fff"), ("\uff00", "\uffef"))
CJK_FONTS = ("HeiseiMin-W3", "HYSMyeongJo-Medium", "STSong-Light", "STSong-Light")
"""Fonts that readers of documents bring themselves: no file could hold all those characters."""


class Document:
    """A document: each page has its number; a table breaks between its rows. Without `canvas` it
    only counts the pages.
    """

    WIDTH, HEIGHT = 595.0, 842.0
    LEFT, TOP, BOTTOM = 48.0, 56.0, 56.0
    COLUMNS = (60.0, 70.0)
    """The widths of what stands right: the time as a clock shows it, and as hours."""

    def __init__(self, canvas: Any, pages: int) -> None:
        self.canvas, self.pages = canvas, pages
        self.page = 0
        self.y = 0.0
        self.under = ""

    @property
    def right(self) -> float:
        return self.WIDTH - self.LEFT

    def write(self, lines: IO[bytes]) -> None:
        seen = ""
        for each in lines_of(lines):
            if isinstance(each, Head):
                self._begin(each)
                group_by = each.group_by.capitalize()
                total = each.total_minutes
            elif isinstance(each, Group):
                if seen != "g":
                    self._heading(group_by)
                    seen = "g"
                self._row("", each.label, each.total_minutes)
            elif isinstance(each, Project):
                if seen == "g":
                    self._row("", "Total", total, ruled=True)
                    seen = "p"
                self._heading(each.project_name or NO_PROJECT, each.total_minutes)
            elif isinstance(each, Card):
                self._row(
                    each.card_ref,
                    each.title or ("" if each.card_ref else OTHER_TIME),
                    each.time_spent_minutes,
                )
        if seen != "p":
            self._row("", "Total", total, ruled=True)
        self._end_page()

    def _begin(self, head: Head) -> None:
        self.under = f"{head.period_label} · {head.generated_at}"
        self._begin_page()
        if head.company_name:
            self._text(self.LEFT, head.company_name, 11)
            self._down(22)
        self._text(self.LEFT, TITLE, 18)
        self._down(20)
        self._text(self.LEFT, head.period_label, 11)
        self._down(14)

    def _begin_page(self) -> None:
        self.page += 1
        self.y = self.HEIGHT - self.TOP

    def _end_page(self) -> None:
        if self.canvas is not None:
            self.y = self.BOTTOM - 24
            self._text(self.LEFT, self.under, 8)
            self._text(self.right, f"Page {self.page} of {self.pages}", 8, is_right=True)
            self.canvas.showPage()

    def _down(self, points: float) -> None:
        self.y -= points

    def _room(self, points: float) -> None:
        if self.y - points < self.BOTTOM:
            self._end_page()
            self._begin_page()

    def _heading(self, text: str, minutes: int | None = None) -> None:
        self._room(60)
        self._down(26)
        for number, line in enumerate(wrapped(text, 12, self.right - self.LEFT - 140)):
            self._text(self.LEFT, line, 12)
            if number == 0 and minutes is not None:
                self._times(minutes, 10)
            self._down(15)
        self._rule(9)
        self._down(4)

    def _row(self, ref: str, text: str, minutes: int, *, ruled: bool = False) -> None:
        start = self.LEFT + (80 if ref else 0)
        lines = wrapped(text, 9, self.right - start - sum(self.COLUMNS) - 10) or [""]
        self._room(13.0 * len(lines) + 4)
        if ruled:
            self._rule(9)
            self._down(4)
        for number, line in enumerate(lines):
            if number == 0:
                if ref:
                    self._text(self.LEFT, ref, 9)
                self._times(minutes, 9)
            self._text(start, line, 9)
            self._down(13)

    def _times(self, minutes: int, size: float) -> None:
        self._text(self.right - self.COLUMNS[1], clock(minutes), size, is_right=True)
        self._text(self.right, f"{hours(minutes)} h", size, is_right=True)

    def _rule(self, above: float) -> None:
        if self.canvas is not None:
            self.canvas.setLineWidth(0.4)
            self.canvas.line(self.LEFT, self.y + above, self.right, self.y + above)

    def _text(self, x: float, text: str, size: float, *, is_right: bool = False) -> None:
        if self.canvas is None:
            return
        if is_right:
            x -= width_of(text, size)
        for font, run in runs(text):
            self.canvas.setFont(font, size)
            self.canvas.drawString(x, self.y, run)
            x += width_of(run, size)


@functools.cache
def font_of(char: str) -> str:
    """The font that has a character."""
    for (first, last), name in zip(CJK, CJK_FONTS, strict=True):
        if first <= char <= last:
            return name
    return "Sans"


@functools.cache
def advance(char: str) -> float:
    """How wide a character is, in parts of the font's size; a text is as wide as all of its own."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    return float(stringWidth(char, font_of(char), 1))


def runs(text: str) -> list[tuple[str, str]]:
    """The parts of a text, each with the font that has its characters."""
    return [(font, "".join(chars)) for font, chars in itertools.groupby(text, font_of)]


def width_of(text: str, size: float) -> float:
    """How wide a text is in a document."""
    return sum(map(advance, text)) * size


def wrapped(text: str, size: float, width: float) -> list[str]:
    """A text in lines that are no wider; white space is one space, and what is no character to be
    drawn is left out. It breaks between words, and in words that are too wide.

    Each character is looked at once or twice, however long the text and its words are.
    """
    text = "".join(char if char.isprintable() else " " for char in text)
    lines: list[list[str]] = []
    used, space, room = 0.0, advance(" "), width / size
    for word in text.split():
        wide = sum(map(advance, word))
        if lines and used + space + wide <= room:
            lines[-1].append(word)
            used += space + wide
            continue
        start, used = 0, 0.0
        if wide <= room:
            used = wide
        else:
            for at, char in enumerate(word):
                if used + advance(char) > room and at > start:
                    lines.append([word[start:at]])
                    start, used = at, 0.0
                used += advance(char)
        lines.append([word[start:]])
    return [" ".join(line) for line in lines]


def write_pdf(lines: IO[bytes], out: IO[bytes]) -> None:
    """A document: the groups, and the cards by their projects."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.pdfgen.canvas import Canvas

    pdfmetrics.registerFont(TTFont("Sans", str(FONT)))
    for name in sorted(set(CJK_FONTS)):
        pdfmetrics.registerFont(UnicodeCIDFont(name))
    counted = Document(None, 0)
    counted.write(lines)
    lines.seek(0)
    canvas = Canvas(out, pagesize=(Document.WIDTH, Document.HEIGHT), pageCompression=1)
    canvas.setTitle(TITLE)
    canvas.setCreator("WarmDesk")
    Document(canvas, counted.page).write(lines)
    canvas.save()


WRITERS = {"csv": write_csv, "xlsx": write_xlsx, "pdf": write_pdf}


def main() -> None:
    """Make the file that the arguments name: of standard input, on standard output."""
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    with open(0, "rb", closefd=False) as lines, open(1, "wb", closefd=False) as out:
        WRITERS[sys.argv[1]](lines, out)


if __name__ == "__main__":
    main()
