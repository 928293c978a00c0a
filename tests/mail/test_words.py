"""Every sentence of a mail is there in every language, and letters hold what they are given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

import warmdesk.mail
from warmdesk.mail.letters import (
    POLICY,
    Place,
    invitation_letter,
    message,
    news_letter,
    no_address,
    password_letter,
)
from warmdesk.mail.words import LANGUAGES, Words
from warmdesk.schemas.settings import SystemSettings

HERE = Path(warmdesk.mail.__path__[0])
MARKS: dict[str, Any] = {"words": None, "later": None, "many": (1, 2)}
PLACEHOLDER = re.compile(r"\{\w*\}")
PLACE = Place("WarmDesk", "https://desk.example.org")
TAGS = {"html", "head", "meta", "title", "body", "p", "a", "blockquote", "hr", "div", "br"}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def sentences() -> set[Any]:
    """All that the code says: a sentence, or those for one and for several."""
    found = extract_from_dir(HERE, keywords=MARKS, method_map=[("**.py", "python")])
    return {each[2] for each in found}


def translated(language: str) -> Catalog:
    with (HERE / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language)


def test_there_is_a_file_for_each_language_and_no_other() -> None:
    assert {file.stem for file in HERE.glob("*.po")} == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_is_missing_doubtful_or_left_over(language: str) -> None:
    catalog = translated(language)
    assert {each.id for each in catalog if each.id} == sentences()
    assert not catalog.obsolete
    for each in catalog:
        if each.id:
            assert not each.fuzzy, each.id
            assert len(forms(each.string)) == (catalog.num_plurals if each.pluralizable else 1)
            assert all(form.strip() for form in forms(each.string)), each.id


def forms(text: Any) -> list[str]:
    return [text] if isinstance(text, str) else list(text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sentence_names_the_same_values_in_every_language(language: str) -> None:
    for each in translated(language):
        if each.id:
            wanted = {name for text in forms(each.id) for name in PLACEHOLDER.findall(text)}
            for form in forms(each.string):
                assert set(PLACEHOLDER.findall(form)) == wanted, each.id


def test_a_language_that_is_not_there_is_english() -> None:
    assert Words("is").language == "en"
    assert Words("is")("Hello {name},", name="Björk") == "Hello Björk,"
    assert Words("nl").many("{number} new notification", "{number} new notifications", 2) == (
        "2 nieuwe meldingen"
    )


def headers(raw: bytes) -> Iterator[str]:
    head = raw.split(b"\r\n\r\n")[0].decode("ascii")
    for line in head.split("\r\n"):
        if not line.startswith((" ", "\t")):
            yield line.partition(":")[0]


@given(name=TEXT, title=TEXT, body=TEXT, company=TEXT)
def test_no_text_makes_a_header_or_a_tag(name: str, title: str, body: str, company: str) -> None:
    reader = {"email": "alice@example.org", "display_name": name, "locale": "de"}
    news = {
        "kind": "mention",
        "actor": {"display_name": name},
        "title": title,
        "body": body,
        "url": "/x",
    }
    invited = {"inviter": name, "name": name, "project": title, "expires_at": "2026-12-06 11:24"}
    for each in (
        news_letter(PLACE, reader, [news], "https://desk.example.org/u?token=x"),
        news_letter(PLACE, reader, [news] * 3, "https://desk.example.org/u?token=x"),
        password_letter(PLACE, reader | {"username": "alice"}, "a" * 43),
        invitation_letter(PLACE, reader | invited, "a" * 43, "de"),
        invitation_letter(PLACE, reader | invited | {"project": None}, "a" * 43, "de"),
    ):
        made = message(Place(company, PLACE.url), SystemSettings(), each, "mail-1")
        raw = made.as_bytes(policy=POLICY)
        assert not {"Bcc", "Cc", "Reply-To"} & set(headers(raw))
        assert len(list(headers(raw))) == len(set(headers(raw)))
        page = made.get_body(("html",))
        assert page is not None
        tags = set(re.findall(r"<(\w+)", page.get_content()))
        assert tags <= TAGS


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Go https://evil.example/a", "Go https: //evil[.]example/a"),
        ("See www.evil.example/a", "See www[.]evil[.]example/a"),
        ("(WWW.7.co)", "(WWW[.]7[.]co)"),
        ("evil.example", "evil[.]example"),
        ("now:evil.example:8080?x=1.2, go", "now:evil[.]example:8080?x=1[.]2, go"),
        ("bob@evil.example.", "bob@evil[.]example."),
        ("evil。example", "evil[.]example"),
        ("зло.рф", "зло[.]рф"),
        ("उदाहरण.भारत", "उदाहरण[.]भारत"),
        ("xn--e1aybc.xn--p1ai/a", "xn--e1aybc[.]xn--p1ai/a"),
        ("http://192.0.2.7/a", "http: //192[.]0[.]2[.]7/a"),
        ("evil.js.example", "evil[.]js[.]example"),
    ],
)
def test_no_program_finds_a_link_in_a_name(name: str, shown: str) -> None:
    assert no_address(name) == shown


@pytest.mark.parametrize(
    "name",
    [
        "Node.js",
        "v1.2",
        "v1.2.3 (beta)",
        "e.g. Dr. No",
        "J.R.R. Tolkien",
        "And so on...",
        "3.5 h",
        "Wait...what?",
        "ver 2.0rc1",
        "Node.js, again",
    ],
)
def test_an_ordinary_name_stays_as_it_is(name: str) -> None:
    assert no_address(name) == name


@pytest.mark.parametrize(
    "address", ["a@b\r\nBcc: e@x", "no address", "a@" + "x" * 70 + ".org", "@"]
)
def test_an_address_that_is_none_is_no_mail(address: str) -> None:
    reader = {"email": address, "display_name": "A", "locale": "en", "username": "a"}
    with pytest.raises(ValueError):
        message(PLACE, SystemSettings(), password_letter(PLACE, reader, "x"), "mail-1")


def test_a_host_beyond_ascii_is_written_as_dns_has_it() -> None:
    reader = {"email": "zoë@bücher.example", "display_name": "Zoë", "locale": "en", "username": "z"}
    made = message(PLACE, SystemSettings(), password_letter(PLACE, reader, "x"), "mail-1")
    assert made["To"].addresses[0].addr_spec == "zoë@xn--bcher-kva.example"


def test_the_sender_is_the_one_of_the_settings() -> None:
    reader = {"email": "alice@example.org", "display_name": "A", "locale": "en", "username": "a"}
    letter = password_letter(PLACE, reader, "x")
    for given_sender, wanted in (
        ("", "WarmDesk <warmdesk@desk.example.org>"),
        ("desk@example.net", "WarmDesk <desk@example.net>"),
        ("The Desk <desk@example.net>", "The Desk <desk@example.net>"),
    ):
        made = message(PLACE, SystemSettings(smtp_from=given_sender), letter, "mail-1")
        assert made["From"] == wanted
