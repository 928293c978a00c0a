"""A month of a small team, by API. What its reports, time sheets and files say is what the calls
themselves add up to.
"""

from __future__ import annotations

import calendar
import csv
import io
import random
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import openpyxl
import pypdf

from tests.conftest import Board
from tests.person import Person

YEAR, MONTH = 2026, 3
DAYS = [
    date(YEAR, MONTH, 1) + timedelta(days=n) for n in range(calendar.monthrange(YEAR, MONTH)[1])
]
REPORT = f"/reports/time?period=month&year={YEAR}&month={MONTH}"


@dataclass
class Logged:
    """What a call said, as the test remembers it."""

    id: int
    who: str
    day: date
    minutes: int
    card: int | None
    project: str | None
    words: str
    comment: int | None = None


@dataclass
class Book:
    """All that is logged now."""

    entries: dict[int, Logged] = field(default_factory=dict)

    def total(self, *names: str, **wanted: Any) -> Counter[Any]:
        """Minutes by these fields of the entries that are wanted."""
        sums: Counter[Any] = Counter()
        for each in self.entries.values():
            if all(getattr(each, name) == value for name, value in wanted.items()):
                sums[tuple(getattr(each, name) for name in names)] += each.minutes
        return sums


async def work(
    book: Book, people: dict[str, Person], cards: dict[int, tuple[str, str]], seed: int
) -> None:
    """A month: time is logged on cards, in projects and on neither, said by comments, put right,
    moved and deleted.
    """
    dice = random.Random(seed)
    for number in range(160):
        name = dice.choice(list(people))
        person, day = people[name], dice.choice(DAYS)
        minutes, words = dice.randint(1, 90), f"Work {number}"
        deed = dice.choice(["card", "card", "project", "none", "comment", "edit", "move", "delete"])
        mine = [each for each in book.entries.values() if each.who == name]
        if deed in ("card", "project", "none"):
            card = dice.choice(list(cards)) if deed == "card" else None
            slug = cards[card][0] if card else "demo" if deed == "project" else None
            body: dict[str, Any] = {"minutes": minutes, "date": str(day), "description": words}
            body |= {"card_id": card} if card else {"project": slug} if slug else {}
            made = await person.post("/time-entries", body)
            book.entries[made["id"]] = Logged(made["id"], name, day, minutes, card, slug, words)
        elif deed == "comment":
            card = dice.choice(list(cards))
            path = f"/projects/{cards[card][0]}/cards/{card}/comments"
            made = await person.post(path, {"body": words, "time_spent_minutes": minutes})
            entry = made["time_entry_id"]
            await person.put(f"/time-entries/{entry}", {"date": str(day)})
            book.entries[entry] = Logged(
                entry, name, day, minutes, card, cards[card][0], words, made["id"]
            )
        elif not mine:
            continue
        else:
            one = dice.choice(mine)
            if deed == "edit" and one.comment and dice.random() < 0.5:
                path = f"/projects/{one.project}/cards/{one.card}/comments/{one.comment}"
                await person.put(path, {"time_spent_minutes": minutes})
                one.minutes = minutes
            elif deed == "edit":
                await person.put(f"/time-entries/{one.id}", {"minutes": minutes, "date": str(day)})
                one.minutes, one.day = minutes, day
            elif deed == "move" and not one.comment:
                card = dice.choice(list(cards))
                await person.put(f"/time-entries/{one.id}", {"card_id": card})
                one.card, one.project = card, cards[card][0]
            elif deed == "delete":
                await person.delete(f"/time-entries/{one.id}")
                del book.entries[one.id]


async def fetched(person: Person, path: str) -> bytes:
    headers = {"Authorization": f"Bearer {await person.token()}"}
    async with person.client.session.get(f"{person.url}/api/v1{path}", headers=headers) as answer:
        assert answer.status == 200
        return await answer.read()


async def test_a_month_of_a_team(
    board: Board, root: Person, olga: Person, alice: Person, eve: Person
) -> None:
    await eve.post("/projects", {"name": "Garden"})
    await eve.post("/projects/garden/members", {"username": "alice", "role": "member"})
    await eve.post("/projects/garden/members", {"username": "olga", "role": "member"})
    await olga.post("/projects/demo/members", {"username": "eve", "role": "member"})
    column = (await eve.get("/projects/garden/columns"))[0]["id"]
    cards: dict[int, tuple[str, str]] = {}
    for number in range(4):
        made = await board.card(f"=House {number}")
        cards[made["id"]] = ("demo", made["key"])
        path = f"/projects/garden/columns/{column}/cards"
        made = await eve.post(path, {"title": f"Tree {number}"})
        cards[made["id"]] = ("garden", made["key"])
    people = {"alice": alice, "olga": olga, "eve": eve}
    book = Book()
    await work(book, people, cards, seed=15)
    assert len(book.entries) > 60

    for card, (slug, key) in cards.items():
        shown = await alice.get(f"/projects/{slug}/cards/{key}")
        assert shown["time_spent_minutes"] == book.total(card=card)[()]

    # The administrator's report, of everybody.
    report = await root.get(f"{REPORT}&group_by=day")
    assert report["total_minutes"] == book.total()[()]
    names = {each["user"]["username"]: each["total_minutes"] for each in report["users"]}
    assert names == {who: minutes for (who,), minutes in book.total("who").items()}
    days = {each["key"]: each["total_minutes"] for each in report["groups"]}
    assert days == {str(day): minutes for (day,), minutes in book.total("day").items()}
    projects = {each["slug"]: each for each in report["projects"]}
    assert {slug: each["total_minutes"] for slug, each in projects.items()} == {
        slug: minutes for (slug,), minutes in book.total("project").items()
    }
    told = {
        each["card_id"]: each["time_spent_minutes"]
        for project in projects.values()
        for each in project["cards"]
    }
    assert told == {
        card: minutes for (card,), minutes in book.total("card").items() if card is not None
    }
    # Each sees what they may: all of their own project, and their own time elsewhere.
    for name, slug in (("olga", "demo"), ("eve", "garden"), ("alice", "")):
        expected = sum(
            each.minutes
            for each in book.entries.values()
            if each.who == name or (slug and each.project == slug)
        )
        assert (await people[name].get(REPORT))["total_minutes"] == expected, name

    # Every week of everybody.
    for name, person in people.items():
        seen: Counter[date] = Counter()
        for day in sorted({day - timedelta(days=day.weekday()) for day in DAYS}):
            sheet = await person.get(f"/reports/timesheet?date={day}")
            assert sheet["total_minutes"] == sum(sheet["day_totals"])
            assert sheet["day_totals"] == [
                sum(row["minutes"][n] for row in sheet["rows"]) for n in range(7)
            ]
            for text, minutes in zip(sheet["days"], sheet["day_totals"], strict=True):
                seen[date.fromisoformat(text)] += minutes
            assert {each["id"] for each in sheet["entries"]} == {
                each.id
                for each in book.entries.values()
                if each.who == name and str(each.day) in sheet["days"]
            }
        assert +seen == {day: minutes for (day,), minutes in book.total("day", who=name).items()}

    # The files say the same.
    kept = sorted(
        (each.who.title(), str(each.day), each.minutes, each.words)
        for each in book.entries.values()
    )
    text = (await fetched(root, f"{REPORT}&format=csv")).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert kept == sorted(
        (row["user"], row["date"], int(row["minutes"]), row["description"]) for row in rows
    )
    assert all(row["title"][:2] == "'=" for row in rows if row["title"].endswith("House 1"))
    book_file = openpyxl.load_workbook(
        io.BytesIO(await fetched(root, f"{REPORT}&format=xlsx&group_by=user"))
    )
    summary, entries = book_file.worksheets
    by_user = {row[0].value: row[1].value for row in summary.iter_rows(min_row=6)}
    assert by_user.pop("Total") == book.total()[()]
    assert by_user == {who.title(): minutes for (who,), minutes in book.total("who").items()}
    lines = [[cell.value for cell in row] for row in entries.iter_rows(min_row=2)]
    assert kept == sorted(
        (line[7], line[4].date().isoformat(), line[5], line[8]) for line in lines if line[7]
    )
    sums: dict[str, int] = defaultdict(int)
    for line in lines:
        if not line[7]:
            sums[line[0]] += line[5]
    named = {"demo": "Demo", "garden": "Garden", None: "No project"}
    assert sums == {
        "Total": book.total()[()],
        **{
            f"Subtotal {named[slug]}": minutes for (slug,), minutes in book.total("project").items()
        },
    }
    read = pypdf.PdfReader(io.BytesIO(await fetched(root, f"{REPORT}&format=pdf")))
    printed = "\n".join(page.extract_text() for page in read.pages)
    for card, minutes in told.items():
        assert re.search(rf"{cards[card][1]}\s", printed)
        assert f"{minutes // 60}:{minutes % 60:02}" in printed
    whole = book.total()[()]
    assert f"{whole // 60}:{whole % 60:02}" in printed
    assert "March 2026" in printed
