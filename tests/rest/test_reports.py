"""Reports of time: whose time who sees, the days of a period, the groups, and every format."""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
import re
import time
from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import openpyxl
import pypdf
import pytest

from tests import pace
from tests.conftest import Board, Wait
from tests.person import Person
from warmdesk.desk import Desk
from warmdesk.report_files import cell, width_of, wrapped, write_pdf
from warmdesk.reports import ROWS, Reading

REPORT = "/reports/time"


async def log(person: Person, minutes: int, day: str, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = await person.post(
        "/time-entries", {"minutes": minutes, "date": day, **more}
    )
    return made


async def file(person: Person, query: str) -> tuple[Any, bytes]:
    """The headers and the bytes of a report as a file."""
    session = person.client.session
    headers = {"Authorization": f"Bearer {await person.token()}"}
    async with session.get(f"{person.url}/api/v1{REPORT}?{query}", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return answer.headers, await answer.read()


@pytest.fixture
async def team(board: Board, alice: Person, olga: Person, eve: Person) -> dict[str, Any]:
    """Time of three people: on cards of demo, in demo, in a project of eve's, and in none."""
    door = await board.card("Fix the door")
    roof = await board.card("Mend the roof", assignee_ids=[alice.id, olga.id])
    hidden = await eve.post("/projects", {"name": "Hidden"})
    await log(alice, 30, "2026-04-01", card_id=door["id"], description="Oiled")
    await log(alice, 45, "2026-04-30", card_id=roof["id"])
    await log(alice, 15, "2026-05-01", project="demo", description="Talk")
    await log(alice, 5, "2026-04-02")
    await log(olga, 60, "2026-04-01", card_id=door["id"])
    await log(olga, 7, "2026-04-03")
    await log(eve, 100, "2026-04-01", project="hidden", description="Secret")
    return {"door": door, "roof": roof, "hidden": hidden}


async def test_a_report_by_projects_and_cards(
    team: dict[str, Any], board: Board, alice: Person, olga: Person
) -> None:
    report = await alice.get(REPORT)
    assert (report["period"], report["period_label"]) == ("all", "All Time")
    assert (report["from"], report["to"], report["total_minutes"]) == (None, None, 95)
    demo, nothing = report["projects"]
    assert [demo[each] for each in ("project_id", "project_name", "slug", "key_prefix")] == [
        board.id,
        "Demo",
        "demo",
        "DEMO",
    ]
    assert (demo["other_minutes"], demo["total_minutes"]) == (15, 90)
    assert [(each["card_ref"], each["time_spent_minutes"]) for each in demo["cards"]] == [
        (team["door"]["key"], 30),
        (team["roof"]["key"], 45),
    ]
    assert demo["cards"][1]["assignees"] == ["Alice", "Olga"]
    assert demo["cards"][1]["title"] == "Mend the roof"
    assert (nothing["project_id"], nothing["cards"], nothing["other_minutes"]) == (None, [], 5)
    assert [(each["user"]["id"], each["total_minutes"]) for each in report["users"]] == [
        (alice.id, 95)
    ]
    assert [(each["label"], each["total_minutes"]) for each in report["groups"]] == [
        ("Demo", 90),
        ("No project", 5),
    ]
    # Who administers a project sees everybody's time in it, and their own.
    report = await olga.get(f"{REPORT}?group_by=user")
    assert report["total_minutes"] == 30 + 45 + 15 + 60 + 7
    assert [
        (each["key"], each["label"], each["total_minutes"], each["entries_count"])
        for each in report["groups"]
    ] == [(str(alice.id), "Alice", 90, 3), (str(olga.id), "Olga", 67, 2)]


async def test_whose_time_who_sees(
    team: dict[str, Any], root: Person, olga: Person, alice: Person, bob: Person, eve: Person
) -> None:
    async def total(person: Person, query: str = "") -> int:
        return int((await person.get(f"{REPORT}{query}"))["total_minutes"])

    assert await total(root) == 262
    assert await total(bob) == 0
    assert await total(bob, "?project=demo") == 0
    assert await total(eve) == 100
    assert await total(alice, "?project=demo") == 90
    assert await total(alice, f"?user_id={alice.id}") == 95
    assert await total(olga, f"?project=demo&user_id={alice.id}") == 90
    assert await total(olga, f"?user_id={alice.id},{olga.id}") == 157
    assert await total(olga, f"?assignees={eve.id}") == 0
    assert await total(root, f"?assignees={eve.id}") == 100
    await alice.get(f"{REPORT}?user_id={olga.id}", status=403)
    await alice.get(f"{REPORT}?project=hidden", status=404)
    await alice.get(f"{REPORT}?project=nothing", status=404)
    # Who left still sees the own time, and not what it is called now.
    await olga.delete(f"/projects/demo/members/{alice.id}")
    await olga.put(f"/projects/demo/cards/{team['door']['id']}", {"title": "Wholly new"})
    await olga.put("/projects/demo", {"name": "Renamed"})
    report = await alice.get(f"{REPORT}?group_by=card")
    assert report["total_minutes"] == 95
    assert report["projects"][0]["project_name"] == "demo"
    assert "Wholly new" not in str(report)
    assert "Renamed" not in str(report)
    for kind in ("csv",):
        _, content = await file(alice, f"format={kind}")
        assert b"new" not in content
    assert await total(olga) == 157


@pytest.mark.parametrize(
    ("query", "label", "since", "until", "minutes"),
    [
        ("period=year&year=2026", "Year 2026", "2026-01-01", "2026-12-31", 95),
        ("year=2025", "Year 2025", "2025-01-01", "2025-12-31", 0),
        ("period=month&year=2026&month=4", "April 2026", "2026-04-01", "2026-04-30", 80),
        ("year=2026&month=12", "December 2026", "2026-12-01", "2026-12-31", 0),
        ("year=2026&month=5", "May 2026", "2026-05-01", "2026-05-31", 15),
        ("period=week&year=2026&week=14", "Week 14 / 2026", "2026-03-30", "2026-04-05", 35),
        ("year=2026&week=1", "Week 1 / 2026", "2025-12-29", "2026-01-04", 0),
        ("year=2020&week=53", "Week 53 / 2020", "2020-12-28", "2021-01-03", 0),
        ("period=day&date=2026-04-30", "2026-04-30", "2026-04-30", "2026-04-30", 45),
        (
            "from=2026-04-01&to=2026-04-15",
            "2026-04-01 – 2026-04-15",
            "2026-04-01",
            "2026-04-15",
            35,
        ),
        ("start_date=2026-04-30", "2026-04-30 –", "2026-04-30", None, 60),
        ("period=custom&end_date=2026-04-30", "– 2026-04-30", None, "2026-04-30", 80),
        ("project=all", "All Time", None, None, 95),
    ],
)
async def test_the_days_of_a_period(
    team: dict[str, Any],
    alice: Person,
    query: str,
    label: str,
    since: str | None,
    until: str | None,
    minutes: int,
) -> None:
    report = await alice.get(f"{REPORT}?{query}")
    assert (report["period_label"], report["from"], report["to"]) == (label, since, until)
    assert report["total_minutes"] == minutes
    assert sum(each["total_minutes"] for each in report["groups"]) == minutes
    assert sum(each["total_minutes"] for each in report["projects"]) == minutes


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("period=decade", {"period": "not_one_of"}),
        ("group_by=mood", {"group_by": "not_one_of"}),
        ("format=doc", {"format": "not_one_of"}),
        ("year=2026&month=13", {"month": "out_of_range"}),
        ("year=2026&month=0", {"month": "out_of_range"}),
        ("year=2025&week=53", {"week": "out_of_range"}),
        ("year=2026&week=0", {"week": "out_of_range"}),
        ("year=9999", {"year": "out_of_range"}),
        ("year=1969", {"year": "out_of_range"}),
        ("from=0001-01-01", {"from": "out_of_range"}),
        ("from=2026-02-30", {"from": "bad_format"}),
        ("period=day&date=2026-02-29", {"date": "bad_format"}),
        ("period=day&date=9999-12-31", {"date": "out_of_range"}),
        ("date=9999-12-31", {"date": "out_of_range"}),
        ("from=2026-04-02&to=2026-04-01", {"to": "out_of_range"}),
        ("from=2016-01-01&to=2026-04-01", {"to": "out_of_range"}),
        ("to=9999-12-31", {"to": "out_of_range"}),
        ("period=custom", {"from": "required"}),
        ("period=month&from=2026-04-01", {"period": "conflicting"}),
        ("from=2026-04-01&start_date=2026-04-02", {"start_date": "conflicting"}),
        ("user_id=me", {"user_id": "bad_format"}),
        ("user_id=3,,4", {"user_id": "bad_format"}),
        ("user_id=3&assignees=4", {"assignees": "conflicting"}),
    ],
)
async def test_what_is_no_report_is_refused(
    board: Board, alice: Person, query: str, fields: dict[str, str]
) -> None:
    assert (await alice.get(f"{REPORT}?{query}", status=400))["fields"] == fields


async def test_the_groups(team: dict[str, Any], olga: Person) -> None:
    async def groups(kind: str) -> list[tuple[str, str, int]]:
        report = await olga.get(f"{REPORT}?group_by={kind}")
        assert report["group_by"] == kind
        return [(each["key"], each["label"], each["total_minutes"]) for each in report["groups"]]

    door, roof = team["door"], team["roof"]
    assert await groups("day") == [
        ("2026-04-01", "2026-04-01", 90),
        ("2026-04-03", "2026-04-03", 7),
        ("2026-04-30", "2026-04-30", 45),
        ("2026-05-01", "2026-05-01", 15),
    ]
    assert await groups("week") == [
        ("2026-W14", "Week 14 / 2026", 97),
        ("2026-W18", "Week 18 / 2026", 60),
    ]
    assert await groups("month") == [
        ("2026-04", "April 2026", 142),
        ("2026-05", "May 2026", 15),
    ]
    assert await groups("card") == [
        (str(door["id"]), f"{door['key']} Fix the door", 90),
        (str(roof["id"]), f"{roof['key']} Mend the roof", 45),
        ("", "No card", 22),
    ]


async def test_weeks_at_the_turn_of_the_year(board: Board, alice: Person) -> None:
    for day in ("2020-12-28", "2021-01-03", "2021-01-04", "2024-12-30"):
        await log(alice, 1, day)
    report = await alice.get(f"{REPORT}?group_by=week")
    assert [(each["key"], each["label"]) for each in report["groups"]] == [
        ("2020-W53", "Week 53 / 2020"),
        ("2021-W01", "Week 1 / 2021"),
        ("2025-W01", "Week 1 / 2025"),
    ]
    assert [each["total_minutes"] for each in report["groups"]] == [2, 1, 1]


async def test_a_month_stays_what_it_was_when_cards_change(
    team: dict[str, Any], alice: Person, olga: Person
) -> None:
    path = f"/projects/demo/cards/{team['door']['id']}"
    april = f"{REPORT}?year=2026&month=4"
    before = await olga.get(april)
    await alice.put(path, {"title": "Another", "time_spent_minutes": 500})
    await alice.post(f"{path}/comments", {"body": "Today", "time_spent_minutes": 5})
    after = await olga.get(april)
    assert after["total_minutes"] == before["total_minutes"]
    assert after["groups"] == before["groups"]
    await alice.delete(path)
    card = (await olga.get(april))["projects"][0]["cards"][0]
    assert (card["deleted"], card["title"], card["time_spent_minutes"]) == (True, "Another", 90)
    await olga.put("/projects/demo", {"is_archived": True})
    assert (await olga.get(april))["total_minutes"] == before["total_minutes"]
    await olga.put("/projects/demo", {"is_archived": False})
    await olga.delete(f"{path}/permanent")
    purged = await olga.get(april)
    assert purged["total_minutes"] == before["total_minutes"]
    assert purged["projects"][0]["other_minutes"] == 90


@pytest.fixture
async def held(desk: Desk) -> AsyncIterator[Callable[[], None]]:
    """No file of a report is made before the test says so."""
    await desk.report_files._turn.acquire()
    is_held = [True]

    def let_go() -> None:
        if is_held:
            is_held.clear()
            desk.report_files._turn.release()

    yield let_go
    let_go()


@pytest.mark.settings(rate_limits=True, wait_at_once=0.5)
async def test_who_waits_for_a_file_reads_boards_meanwhile(
    team: dict[str, Any],
    desk: Desk,
    held: Callable[[], None],
    olga: Person,
    alice: Person,
    eventually: Wait,
) -> None:
    await alice.token()
    made = [asyncio.create_task(olga.request("GET", f"{REPORT}?format=csv")) for _ in range(2)]
    await eventually(lambda: desk.report_files._waiting == 1)
    assert (await alice.get("/projects/demo/cards?q=door"))[0]["title"] == "Fix the door"
    assert (await olga.get("/projects/demo/cards?q=door"))[0]["title"] == "Fix the door"
    assert (await olga.get(REPORT))["total_minutes"] == 157
    other = asyncio.create_task(alice.request("GET", f"{REPORT}?format=csv"))
    await eventually(lambda: desk.report_files._waiting == 2)
    done, waits = await asyncio.wait(made, return_when=asyncio.FIRST_COMPLETED)
    assert [(each.result().status, each.result().body["code"]) for each in done] == [
        (429, "too_many_at_once")
    ]
    held()
    assert [(await each).status for each in (*waits, other)] == [200, 200]
    for shares in (desk.exports, desk.heavy_reads, desk.reads):
        assert not shares._at_work


@pytest.mark.parametrize("lost", ["account", "role", "project"])
async def test_who_lost_a_right_gets_no_file_that_shows_it(
    team: dict[str, Any],
    desk: Desk,
    held: Callable[[], None],
    root: Person,
    olga: Person,
    alice: Person,
    eventually: Wait,
    lost: str,
) -> None:
    if lost == "role":
        await root.put(f"/users/{olga.id}", {"global_role": "admin"})
    await olga.token()
    made = asyncio.create_task(olga.request("GET", f"{REPORT}?format=csv"))
    await eventually(lambda: desk.report_files._waiting == 1)
    if lost == "project":
        await root.put(f"/projects/demo/members/{alice.id}", {"role": "owner"})
        await root.put(f"/projects/demo/members/{olga.id}", {"role": "viewer"})
    else:
        change = {"is_active": False} if lost == "account" else {"global_role": "user"}
        await root.put(f"/users/{olga.id}", change)
    held()
    answer = await made
    assert answer.status == (401 if lost == "account" else 403), answer.body


async def test_a_report_that_takes_too_long_says_so_and_nobody_else_notices(
    team: dict[str, Any], desk: Desk, olga: Person, connection: Any
) -> None:
    """Also one that is read some rows at a time."""
    name = "report_line(time_entries, text, text, text, text[], text)"
    was = await connection.fetchval(f"select pg_get_functiondef('{name}'::regprocedure)")
    slow = was.replace("select row_to_json", "select pg_sleep(2); select row_to_json")
    assert slow != was
    await connection.execute(slow)
    try:
        refused = await olga.get(f"{REPORT}?format=csv", status=503)
    finally:
        await connection.execute(was)
    assert refused["code"] == "read_too_long"
    assert desk.database.silence.since <= 0
    await file(olga, "format=csv")


def test_a_document_of_long_titles_takes_seconds() -> None:
    """However its words are long or short, and in whatever script."""
    titles = ("w" * 500, "i w " * 125, "\u5c71" * 500, "\u5c71 i" * 166)
    lines = [b'h{"period_label":"All","generated_at":"","group_by":"card","company_name":null}\n']
    lines += [b'p{"project_name":"P","total_minutes":0}\n']
    for title in titles:
        card = {"card_ref": "P-1", "title": title, "time_spent_minutes": 1}
        lines += [b"c" + msgspec.json.encode(card) + b"\n"] * 250
    began, out = time.process_time(), io.BytesIO()
    write_pdf(io.BytesIO(b"".join(lines)), out)
    took = time.process_time() - began
    assert len(pypdf.PdfReader(out).pages) > 100
    assert took < 6 * pace.stretch(), took
    room = 300.0
    for title in (*titles, "", "w", "a " + "w" * 200 + " b"):
        found = wrapped(title, 9, room)
        assert "".join(found).replace(" ", "") == title.replace(" ", "")
        assert all(width_of(line, 9) <= room + 1e-6 for line in found)
        for line, after in itertools.pairwise(found):
            assert width_of(line + after[0], 9) > room or " " in title


FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "＝1")


async def test_csv(
    team: dict[str, Any], board: Board, olga: Person, alice: Person, connection: Any
) -> None:
    for number, text in enumerate(FORMULAS):
        made = await log(alice, 1, f"2026-06-{number + 1:02}")
        # Texts are trimmed when they come in; rows may be older than that.
        await connection.execute(
            "update time_entries set description = $1, project_id = $2 where id = $3",
            text,
            board.id,
            made["id"],
        )
    headers, content = await file(olga, "format=csv&project=demo")
    assert headers["Content-Type"] == "text/csv; charset=utf-8"
    assert 'filename="time-report-all-time.csv"' in headers["Content-Disposition"]
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert rows[0] == [
        "project",
        "card",
        "title",
        "user",
        "date",
        "minutes",
        "hours",
        "description",
    ]
    door = team["door"]["key"]
    assert rows[1:3] == [
        ["Demo", door, "Fix the door", "Alice", "2026-04-01", "30", "0.50", "Oiled"],
        ["Demo", door, "Fix the door", "Olga", "2026-04-01", "60", "1.00", ""],
    ]
    assert sum(int(row[5]) for row in rows[1:]) == 150 + len(FORMULAS)
    safe = [f"'{text}".replace("\t=", "\t'=") for text in FORMULAS]
    assert [row[7] for row in rows[-len(FORMULAS) :]] == safe
    # Where a spreadsheet separates by something else, a cell begins inside of a text.
    for text, shown in (
        ("x;=3+3", "x;'=3+3"),
        ('x; "=3+3', "x; \"'=3+3"),
        ("x\t@y", "x\t'@y"),
        ("a\n-1", "a\n'-1"),
        ("a=b; c", "a=b; c"),
    ):
        assert cell(text) == shown
    await connection.execute("update time_entries set description = 'x;=3+3'")
    _, content = await file(olga, "format=csv&project=demo")
    for line in content.decode().splitlines():
        assert all(part.strip('"')[:1] not in ("=", "+", "-", "@") for part in line.split(";"))
        assert line.startswith('"')
    assert rows[4] == ["Demo", "", "", "Alice", "2026-05-01", "15", "0.25", "Talk"]


async def test_a_workbook(team: dict[str, Any], board: Board, olga: Person, alice: Person) -> None:
    card = await board.card("=1+1")
    await log(alice, 20, "2026-04-02", card_id=card["id"], description="https://example.org 'x")
    headers, content = await file(olga, "format=xlsx&year=2026&month=4&group_by=user")
    assert 'filename="time-report-april-2026.xlsx"' in headers["Content-Disposition"]
    book = openpyxl.load_workbook(io.BytesIO(content))
    summary, entries = book.worksheets
    cells = [[cell.value for cell in row] for row in summary.iter_rows()]
    assert (cells[0][0], cells[1][0]) == ("Time Report", "April 2026")
    assert cells[4:] == [
        ["User", "Time (min)", "Time (h)", "Entries"],
        ["Alice", 95, 1.58, 3],
        ["Olga", 67, 1.12, 2],
        ["Total", 162, 2.7, None],
    ]
    rows = [[cell.value for cell in row] for row in entries.iter_rows()]
    assert rows[0][:7] == [
        *("Project", "Task", "Ref", "Assignees", "Date", "Time (min)", "Time (h)")
    ]
    made = next(row for row in entries.iter_rows() if row[1].value == "=1+1")
    assert made[1].data_type == "s"
    assert made[8].hyperlink is None
    assert made[4].value.isoformat() == "2026-04-02T00:00:00"
    roof = next(row for row in rows if row[1] == "Mend the roof")
    assert roof[3] == "Alice, Olga"
    assert [row[:7:5] for row in rows if str(row[0]).startswith(("Subtotal", "Total"))] == [
        ["Subtotal Demo", 155],
        ["Subtotal No project", 7],
        ["Total", 162],
    ]


async def test_projects_of_one_name_have_a_sum_each(alice: Person) -> None:
    for minutes in (10, 20):
        made = await alice.post("/projects", {"name": "Twin"})
        await log(alice, minutes, "2026-04-01", project=made["slug"])
        await log(alice, 1, "2026-04-02", project=made["slug"])
    _, content = await file(alice, "format=xlsx")
    _, entries = openpyxl.load_workbook(io.BytesIO(content)).worksheets
    rows = [[cell.value for cell in row] for row in entries.iter_rows()]
    assert [row[:7:5] for row in rows if str(row[0]).startswith(("Subtotal", "Total"))] == [
        ["Subtotal Twin", 11],
        ["Subtotal Twin", 21],
        ["Total", 32],
    ]


async def test_a_document(
    team: dict[str, Any], board: Board, olga: Person, alice: Person, connection: Any
) -> None:
    await connection.execute(
        "insert into system_settings (key, value) values ('company_name', 'Ελληνικά & Söhne')"
    )
    names = ("Жанна д’Арк", "Ñandú Łódź", "Ἀθῆναι", "山田太郎 と 花子", "홍길동", "Ա Գ")
    for name in names:
        card = await board.card(name)
        await log(alice, 60, "2026-04-02", card_id=card["id"])
    long = await board.card("Long " + "w" * 495)
    await log(alice, 60, "2026-04-02", card_id=long["id"])
    headers, content = await file(olga, "format=pdf&year=2026&month=4")
    assert headers["Content-Type"] == "application/pdf"
    read = pypdf.PdfReader(io.BytesIO(content))
    text = "\n".join(page.extract_text() for page in read.pages)
    for word in ("Ελληνικά & Söhne", "Time Report", "April 2026", "Page 1 of 1", "Mend the roof"):
        assert word in text, text
    joined = re.sub(r"\s", "", text)
    for name in names:
        assert re.sub(r"\s", "", name) in joined, (name, text)
    assert "9:15" in text
    assert "w" * 495 in joined


@pytest.mark.foul
async def test_a_document_breaks_into_pages(board: Board, alice: Person, connection: Any) -> None:
    await connection.execute(
        "insert into cards (project_id, column_id, title, position, card_number)"
        " select $1, $2, 'Card ' || n, n, 1000 + n from generate_series(1, 300) n",
        board.id,
        board.backlog,
    )
    await connection.execute(
        "insert into time_entries (user_id, project_id, card_id, date, minutes)"
        " select $1, project_id, id, '2026-04-01', 4 from cards where card_number > 1000",
        alice.id,
    )
    _, content = await file(alice, "format=pdf")
    read = pypdf.PdfReader(io.BytesIO(content))
    pages = len(read.pages)
    assert pages > 3
    for number, page in enumerate(read.pages, 1):
        assert f"Page {number} of {pages}" in page.extract_text()
    text = "\n".join(page.extract_text() for page in read.pages)
    assert all(f"Card {number}\n" in text + "\n" for number in range(1, 301))


@pytest.mark.foul
async def test_a_document_that_is_too_long_is_refused(
    board: Board, alice: Person, connection: Any
) -> None:
    await connection.execute(
        "insert into cards (project_id, column_id, title, position, card_number)"
        " select $1, $2, 'Card ' || n, n, 1000 + n from generate_series(1, 20001) n",
        board.id,
        board.backlog,
    )
    await connection.execute(
        "insert into time_entries (user_id, project_id, card_id, date, minutes)"
        " select $1, project_id, id, '2026-04-01', 4 from cards where card_number > 1000",
        alice.id,
    )
    refused = await alice.get(f"{REPORT}?format=pdf", status=422)
    assert refused["code"] == "report_too_long"
    # As JSON it is larger than what is kept in memory, and comes all the same.
    report = await alice.get(REPORT)
    assert len(report["projects"][0]["cards"]) == 20_001
    assert report["total_minutes"] == 80_004


async def test_each_part_of_a_report_has_the_time_that_is_left(connection: Any) -> None:
    query: Any = SimpleNamespace(
        statement="select extract(epoch from current_setting('statement_timeout')::interval)::float"
        f" from generate_series(1, {3 * ROWS})",
        values=lambda _: (),
    )
    found = []
    async with connection.transaction():
        async for rows in Reading(connection, time.monotonic() + 50).rows(query):
            found.append(rows[-1][0])
            await asyncio.sleep(0.01)  # time passes
    assert len(found) == 3
    assert 50.1 > found[0] > found[1] > found[2] > 0


async def test_empty_reports(board: Board, bob: Person) -> None:
    report = await bob.get(REPORT)
    assert (report["projects"], report["users"], report["groups"]) == ([], [], [])
    _, content = await file(bob, "format=csv")
    assert content.count(b"\n") == 1
    _, content = await file(bob, "format=xlsx")
    assert len(openpyxl.load_workbook(io.BytesIO(content)).worksheets) == 1
    _, content = await file(bob, "format=pdf")
    assert "0:00" in pypdf.PdfReader(io.BytesIO(content)).pages[0].extract_text()


SHEET = "/reports/timesheet"


async def test_a_time_sheet(team: dict[str, Any], alice: Person) -> None:
    sheet = await alice.get(f"{SHEET}?week=2026-W14")
    assert (sheet["iso_year"], sheet["iso_week"]) == (2026, 14)
    assert (sheet["start"], sheet["end"]) == ("2026-03-30", "2026-04-05")
    assert sheet["days"] == [str(date(2026, 3, 30) + timedelta(days=n)) for n in range(7)]
    door = team["door"]
    first, second = sheet["rows"]
    assert (first["card"]["key"], first["minutes"], first["total_minutes"]) == (
        door["key"],
        [0, 0, 30, 0, 0, 0, 0],
        30,
    )
    assert [len(each) for each in first["entry_ids"]] == [0, 0, 1, 0, 0, 0, 0]
    assert (second["project"], second["card"], second["description"]) == (None, None, "")
    assert sheet["day_totals"] == [0, 0, 30, 5, 0, 0, 0]
    assert sheet["total_minutes"] == 35
    assert [each["minutes"] for each in sheet["entries"]] == [30, 5]


async def test_rows_of_a_sheet_are_cards_and_else_descriptions(board: Board, alice: Person) -> None:
    card = await board.card()
    for day, more in (
        ("2026-04-06", {"card_id": card["id"], "description": "One"}),
        ("2026-04-06", {"card_id": card["id"], "description": "Two"}),
        ("2026-04-12", {"project": "demo", "description": "Talk"}),
        ("2026-04-08", {"project": "demo", "description": "Talk"}),
        ("2026-04-08", {"project": "demo", "description": "Read"}),
        ("2026-04-08", {"description": "Talk"}),
    ):
        await log(alice, 10, day, **more)
    sheet = await alice.get(f"{SHEET}?date=2026-04-12")
    assert [
        (each["project"] and each["project"]["slug"], each["description"], each["minutes"])
        for each in sheet["rows"]
    ] == [
        ("demo", "", [20, 0, 0, 0, 0, 0, 0]),
        ("demo", "Read", [0, 0, 10, 0, 0, 0, 0]),
        ("demo", "Talk", [0, 0, 10, 0, 0, 0, 10]),
        (None, "Talk", [0, 0, 10, 0, 0, 0, 0]),
    ]


@pytest.mark.parametrize(
    ("query", "week_start", "start", "iso"),
    [
        ("week=2026-W01", "monday", "2025-12-29", (2026, 1)),
        ("year=2026&week=1", "monday", "2025-12-29", (2026, 1)),
        ("week=2020-W53", "monday", "2020-12-28", (2020, 53)),
        ("week=2020W53", "monday", "2020-12-28", (2020, 53)),
        ("week=2025-W52", "monday", "2025-12-22", (2025, 52)),
        ("date=2026-01-01", "monday", "2025-12-29", (2026, 1)),
        ("date=2021-01-03", "monday", "2020-12-28", (2020, 53)),
        ("date=2026-04-05", "monday", "2026-03-30", (2026, 14)),
        ("week=2026-W01", "sunday", "2025-12-28", (None, None)),
        ("week=2020-W53", "sunday", "2020-12-27", (None, None)),
        ("date=2026-04-05", "sunday", "2026-04-05", (None, None)),
        ("date=2026-04-04", "sunday", "2026-03-29", (None, None)),
    ],
)
async def test_the_week_of_a_sheet(
    alice: Person, query: str, week_start: str, start: str, iso: tuple[int | None, int | None]
) -> None:
    await alice.put("/users/me", {"week_start": week_start})
    sheet = await alice.get(f"{SHEET}?{query}")
    assert sheet["start"] == start
    assert (sheet["iso_year"], sheet["iso_week"]) == iso
    assert (sheet["rows"], sheet["day_totals"], sheet["total_minutes"]) == ([], [0] * 7, 0)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("week=2025-W53", {"week": "out_of_range"}),
        ("year=2025&week=53", {"week": "out_of_range"}),
        ("week=2026-W00", {"week": "bad_format"}),
        ("week=2026-W54", {"week": "bad_format"}),
        ("week=0000-W01", {"week": "out_of_range"}),
        ("week=2026-W01&year=2025", {"year": "conflicting"}),
        ("week=2026-W01&date=2026-01-01", {"date": "conflicting"}),
        ("year=2026", {"week": "required"}),
        ("date=2026-02-29", {"date": "bad_format"}),
        ("date=9999-12-31", {"date": "out_of_range"}),
        ("week=9999-W52", {"week": "out_of_range"}),
        ("date=1969-12-31", {"date": "out_of_range"}),
        ("date=0001-01-01", {"date": "out_of_range"}),
        ("format=xlsx", {"format": "not_one_of"}),
    ],
)
async def test_what_is_no_week_is_refused(
    alice: Person, query: str, fields: dict[str, str]
) -> None:
    assert (await alice.get(f"{SHEET}?{query}", status=400))["fields"] == fields
    await alice.put("/users/me", {"week_start": "sunday"})
    assert (await alice.get(f"{SHEET}?{query}", status=400))["fields"] == fields


async def test_who_sees_a_sheet(
    team: dict[str, Any], root: Person, alice: Person, olga: Person
) -> None:
    await olga.get(f"{SHEET}?user_id={alice.id}", status=403)
    await root.get(f"{SHEET}?user_id=1000000", status=404)
    sheet = await root.get(f"{SHEET}?week=2026-W14&user_id={alice.id}")
    assert (sheet["user"]["username"], sheet["total_minutes"]) == ("alice", 35)


async def test_a_sheet_as_csv(team: dict[str, Any], alice: Person) -> None:
    session = alice.client.session
    headers = {"Authorization": f"Bearer {await alice.token()}"}
    place = f"{alice.url}/api/v1{SHEET}?week=2026-W14&format=csv"
    async with session.get(place, headers=headers) as answer:
        assert 'filename="timesheet-2026-03-30.csv"' in answer.headers["Content-Disposition"]
        rows = list(csv.reader(io.StringIO(await answer.text(), newline="")))
    assert rows[1] == [
        *("Demo", team["door"]["key"], "Fix the door", ""),
        *("0", "0", "30", "0", "0", "0", "0", "30", "0.50"),
    ]
    assert rows[-1] == [*("total", "", "", "", "0", "0", "30", "5", "0", "0", "0", "35", "0.58")]


async def test_days_of_daylight_saving_are_days(board: Board, alice: Person) -> None:
    """The clock goes forward on 29 March 2026 and back on 25 October in Amsterdam."""
    await alice.put("/users/me", {"timezone": "Europe/Amsterdam"})
    for day in ("2026-03-29", "2026-10-25"):
        await log(alice, 1440, day)
        report = await alice.get(f"{REPORT}?period=day&date={day}&group_by=day")
        assert [each["key"] for each in report["groups"]] == [day]
        assert report["total_minutes"] == 1440
        sheet = await alice.get(f"{SHEET}?date={day}")
        assert sheet["day_totals"] == [0] * 6 + [1440]
