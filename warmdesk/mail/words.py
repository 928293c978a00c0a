"""The words of mails in the reader's language.

English stands in the code; beside this module each other language has a ``.po`` file, as its
translators write it. Babel reads it, and Python's gettext looks up in it.
"""

from __future__ import annotations

import functools
import gettext
import importlib.resources
import io
from datetime import date

from babel.dates import format_date
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.units import format_unit

LANGUAGES = ("de", "es", "fr", "nl")
"""Besides English, which everybody else gets."""


class Words:
    """The words of one language."""

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else "en"
        self._known = _translations(self.language)

    def __call__(self, sentence: str, **values: object) -> str:
        """A sentence, with values where it names them."""
        return self._known.gettext(sentence).format(**values)

    def many(self, one: str, several: str, number: int, **values: object) -> str:
        """The sentence for one thing, or for so many."""
        return self._known.ngettext(one, several, number).format(number=number, **values)

    def date(self, text: str) -> str:
        """A day (``2026-04-04``) as people write it."""
        return format_date(date.fromisoformat(text), "long", locale=self.language)

    def size(self, number: int) -> str:
        """So many bytes, as people write it."""
        unit, one = ("megabyte", 1e6) if number >= 1e6 else ("kilobyte", 1e3)
        return format_unit(round(number / one, 1), f"digital-{unit}", "short", locale=self.language)


def later(sentence: str) -> str:
    """Marks a sentence that is translated where it is used."""
    return sentence


@functools.cache
def _translations(language: str) -> gettext.NullTranslations:
    if language not in LANGUAGES:
        return gettext.NullTranslations()
    folder = importlib.resources.files("warmdesk.mail")
    compiled = io.BytesIO()
    with folder.joinpath(f"{language}.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
