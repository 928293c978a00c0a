"""The files of the web application, as they lie there: floors, languages, what is of others, and
what may never stand in them.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from warmdesk.rest.outgoing import TYPES
from warmdesk.rest.web import PAGE, site
from warmdesk.schemas.outgoing import ALL

HOME = Path(__file__).parents[2] / "warmdesk" / "web"
OWN = sorted(HOME.glob("*.js"))
LANGUAGES = ("en", "nl", "de", "fr", "es")
LINES = 300
IMPORT = re.compile(
    r'\bfrom "(\./[^"]+)"|\bimport\(\s*"(\./[^"]+)"\s*\)|^import "(\./[^"]+)"', re.M
)
USED = re.compile(r'\bt\(\s*"([\w.]+)"')
BUILT = re.compile(r"\bt\(\s*`([\w.]+)\$\{")
PLACE = re.compile(r"\{(\w+)\}")

FLOORS: tuple[tuple[str, ...], ...] = (
    ("vendor",),
    (
        "view",
        "words",
        "address",
        "places",
        "release",
        "sheets",
        "trusted",
        "register_worker",
        "appearance",
        "icons",
    ),
    ("identity",),
    ("api",),
    ("stores",),
    ("parts",),
    ("pages",),
    ("app",),
)
"""From below; a file imports from its own floor and from those below."""
STORES = re.compile(r"feed|intents|outbox|drafts|notify|\w*_store|\w*_rules|store_\w+|board_\w+")
PARTS = re.compile(
    r"ui\w*|format|markdown\w*|frame|talk\w*|message_list|keys|announce|project|project_frame|door"
    r"|factor|me_parts"
)


def floor_of(name: str) -> int:
    """The floor of a file, by its name."""
    stem = name.removesuffix(".js")
    if stem.startswith("vendor/"):
        return 0
    for number, floor in enumerate(FLOORS):
        if stem in floor:
            return number
    if STORES.fullmatch(stem):
        return 4
    return 5 if PARTS.fullmatch(stem) else 6


def imports(path: Path, *, lazy: bool = True) -> list[str]:
    found = []
    for static, called, bare in IMPORT.findall(path.read_text()):
        if static or bare or lazy:
            found.append((static or called or bare).removeprefix("./"))
    return found


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_what_a_file_imports_is_there_and_not_above(path: Path) -> None:
    for name in imports(path):
        assert (HOME / name).is_file(), name
    for name in imports(path, lazy=False):
        assert floor_of(name) <= floor_of(path.name), name


def test_no_file_imports_itself_by_others() -> None:
    graph = {path.name: imports(path, lazy=False) for path in OWN}

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, (*way, name)
        for each in graph.get(name, ()):
            if each not in done:
                walk(each, (*way, name))
        done.add(name)

    done: set[str] = set()
    for name in graph:
        walk(name, ())


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_files_are_short_and_say_what_they_are(path: Path) -> None:
    text = path.read_text()

    assert text.count("\n") <= LINES
    assert text.startswith("/*")


FORBIDDEN = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "eval(",
    "new Function",
    "DOMParser",
    "localStorage.token",
    '.setAttribute("style"',
)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_nothing_makes_code_or_elements_of_text(path: Path) -> None:
    text = path.read_text()

    assert [each for each in FORBIDDEN if each in text] == []


@pytest.mark.parametrize("path", sorted(HOME.glob("*.css")), ids=lambda path: path.name)
def test_styles_ask_nobody_and_overrule_nothing(path: Path) -> None:
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)

    assert "!important" not in text
    assert "@import" not in text
    assert "http" not in text


CLASS = re.compile(r"\.([a-z]+-[a-z-]+)")
WORD = re.compile(r"[a-z]+-[a-z-]+")
WEARS = re.compile(r'^wears\("([\w.]+)"\);', re.M)
LATER = re.compile(r'import\("\./(\w+\.js)"\)')


def test_what_is_fetched_wears_the_sheets_of_its_classes() -> None:
    sheets: dict[str, set[str]] = {}
    for path in HOME.glob("*.css"):
        for name in CLASS.findall(re.sub(r"\{[^{}]*\}", "{}", path.read_text())):
            sheets.setdefault(name, set()).add(path.name)
    texts = {path.name: path.read_text() for path in OWN}
    entries = {"app.js", *(each for text in texts.values() for each in LATER.findall(text))}

    assert len(entries) > 20
    for entry in entries:
        files = [entry]
        for each in files:
            new = imports(HOME / each, lazy=False)
            files += [one for one in new if one in texts and one not in files]
        worn = {"base.css", *(each for one in files for each in WEARS.findall(texts[one]))}
        for one in files:
            for name in set(WORD.findall(texts[one])) & set(sheets):
                assert sheets[name] & worn, (entry, one, name)


def test_what_is_fetched_for_a_page_is_shown_with_its_sheets() -> None:
    for path in OWN:
        for line in path.read_text().splitlines():
            if LATER.search(line) and "=>" not in line.split("import(")[0]:
                assert "dressed(" in line or path.name in ("app.js", "markdown.js"), line


# Others' files


def test_every_file_of_others_is_theirs_byte_for_byte() -> None:
    vendor = HOME / "vendor"
    listed = {}
    for line in (vendor / "VENDOR.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, package, version, path, licence, digest = line.split()
            assert all((package, version, path, licence))
            listed[name] = digest

    assert {path.name for path in vendor.glob("*.js")} == set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest, name
        licence = (vendor / f"LICENSE-{name.removesuffix('.js')}.txt").read_text()
        assert re.search("MIT License|Apache License|Permission is hereby granted", licence), name


# Languages


def words(code: str) -> dict[str, str | dict[str, str]]:
    found: dict[str, str | dict[str, str]] = json.loads(
        (HOME / "lang" / f"{code}.json").read_text()
    )
    return found


def places(entry: str | dict[str, str]) -> set[str]:
    texts = entry.values() if isinstance(entry, dict) else [entry]
    return {name for text in texts for name in PLACE.findall(text)}


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_language_is_sorted_and_has_one_entry_a_line(code: str) -> None:
    lines = (HOME / "lang" / f"{code}.json").read_text().splitlines()
    keys = list(words(code))

    assert keys == sorted(keys)
    assert len(lines) == len(keys) + 2


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_language_lacks_a_word_or_a_place_in_it(code: str) -> None:
    english, here = words("en"), words(code)

    assert set(here) == set(english)
    for key, entry in here.items():
        assert isinstance(entry, dict) == isinstance(english[key], dict), key
        assert places(entry) == places(english[key]), key
        texts = entry.values() if isinstance(entry, dict) else [entry]
        assert all(text.strip() == text and text for text in texts), key


@pytest.mark.parametrize(
    ("code", "others"),
    [
        ("de", r"\b(du|dein\w*|dir|dich|euch|schreibe)\b"),
        ("es", r"\b(usted\w*|le invita|elija|introduzca|pida|vuelva)\b"),
    ],
)
def test_a_language_calls_the_reader_by_one_word(code: str, others: str) -> None:
    said = {key: json.dumps(entry, ensure_ascii=False) for key, entry in words(code).items()}

    assert [key for key, text in said.items() if re.search(others, text, re.IGNORECASE)] == []


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_role_has_one_name(code: str) -> None:
    said = words(code)
    for role in ("viewer", "member", "admin", "owner"):
        names = {str(said[f"{part}.role_{role}"]).lower() for part in ("door", "project_settings")}
        assert len(names) == 1
    assert str(said["admin.role_viewer"]).lower() == str(said["door.role_viewer"]).lower()


def test_every_word_that_is_said_is_there() -> None:
    known = set(words("en"))
    for path in OWN:
        text = path.read_text()
        assert set(USED.findall(text)) <= known, path.name
        for start in BUILT.findall(text):
            assert any(key.startswith(start) for key in known), (path.name, start)


def test_no_word_is_there_for_nothing() -> None:
    everything = "\n".join(path.read_text() for path in OWN)
    starts = tuple(BUILT.findall(everything))
    unused = [
        key for key in words("en") if f'"{key}"' not in everything and not key.startswith(starts)
    ]

    assert unused == []


# Addresses


def test_the_server_knows_the_addresses_of_the_page() -> None:
    table = (HOME / "app.js").read_text().partition("export const PAGES = [")[2].partition("];")[0]

    assert len(PAGE.findall(table)) == len(re.findall("import", table))
    for path, name in site().pages.items():
        assert path.startswith("/")
        assert (HOME / name).is_file(), name


# What the server declares, too


def test_a_webhook_can_ask_for_every_event_there_is() -> None:
    text = (HOME / "project_settings_outgoing.js").read_text()
    listed = re.search(r"const EVENTS = \[(.*?)\];", text, re.S)
    assert listed is not None

    assert sorted(re.findall(r'"([\w.]+)"', listed[1])) == sorted({*TYPES} - {ALL})
