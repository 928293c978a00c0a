"""Letters: what is mailed, as text and as a small page, in the reader's language.

Headers are made by the standard library's `email`, which refuses a line break in one; what people
wrote is put on one line before. A page has no picture, no script and nothing from elsewhere.
"""

from __future__ import annotations

import email.policy
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UniqueUnstructuredHeader
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from warmdesk import clock
from warmdesk.config import Settings
from warmdesk.errors import Impossible, cut
from warmdesk.mail.words import Words, later
from warmdesk.schemas.settings import SystemSettings, ascii_host, sender

LONGEST_BODY = 100
"""Characters of what somebody wrote."""
SHOWN = 30
"""Notifications that one mail shows."""
LONGEST_LINE = 200
"""Characters of a subject or a name that people chose."""
PRODUCT = "WarmDesk"
DIED = "died"
"""Why no backup was made where nobody was left to tell of it."""
FAREWELL = "unsubscribe"
"""What the token is sealed for by which somebody says no to mails."""

SENTENCES = {
    "mention": later("{actor} mentioned you in {title}"),
    "assigned": later("{actor} assigned {title} to you"),
    "assigned_moved": later("{actor} moved {title}, which is assigned to you"),
    "assigned_commented": later("{actor} commented on {title}, which is assigned to you"),
    "watched_updated": later("{actor} changed {title}, which you watch"),
    "topic_reply": later("{actor} replied in {title}"),
    "dm": later("{actor} wrote to you"),
    "due": later("{title} is due on {date}"),
    "project_added": later("{actor} added you to {title}"),
}
"""What a notification of each kind says."""
Warned = Literal["email_changed", "password_changed", "mfa_enabled", "mfa_disabled"]
"""What somebody is warned of, whoever did it."""
WARNINGS: dict[Warned, str] = {
    "email_changed": later("Your account has another e-mail address"),
    "password_changed": later("Your account has another password"),
    "mfa_enabled": later("Your account has a second factor"),
    "mfa_disabled": later("Your account has no second factor any more"),
}
DUE = "due"
"""The kind whose body is a date."""
OF_PROJECTS = ("mention", "project_added")
"""Where a title may be the name of a project, which whoever made it brings to anybody."""
INNER_DOT = re.compile(r"(?<=[^\s.。．｡])[.。．｡](?=[^\s.。．｡])")
"""A dot between two labels of a host, as browsers read it."""
LABEL = re.compile(r"(?![\w-])[\x00-\x7f]")
"""Where a label ends."""
NUMBERS = re.compile(r"\d+(?:[.。．｡]\d+){3}")
NO_DOMAINS = frozenset(
    {"css", "csv", "docx", "html", "js", "json", "pdf", "php", "sql", "ts", "txt", "xlsx", "xml"}
)
"""What names of files and programs end with, and no host."""
OTHERWISE = later("There is news about {title}")


class LinkHeader(UniqueUnstructuredHeader, BaseHeader):
    """A header that is a link. `email` writes what is longer than a line as encoded words, and
    programs that read such a header know none there (RFC 2047, 5): it stands on one line, as it is.
    """

    max_count: ClassVar[Literal[1]] = 1

    def fold(self, *, policy: email.policy.Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


HEADERS = HeaderRegistry()
HEADERS.map_to_type("list-unsubscribe", LinkHeader)
POLICY = email.policy.SMTP.clone(max_line_length=78, header_factory=HEADERS)


@dataclass(frozen=True, slots=True)
class Part:
    """A paragraph: words, or a link that says them; `quoted`: what somebody wrote."""

    text: str
    url: str = ""
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """What one reader is told. `end` stands small below."""

    words: Words
    to: str
    name: str
    subject: str
    parts: Sequence[Part]
    end: Sequence[Part] = ()
    unsubscribe: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """What letters say of this installation: its name, and how its links begin."""

    name: str
    url: str

    @classmethod
    def of(cls, settings: Settings, values: SystemSettings) -> Place:
        return cls(one_line(values.company_name) or PRODUCT, settings.base_url.rstrip("/"))

    @property
    def host(self) -> str:
        """The host that links lead to, as mail servers know it."""
        try:
            return ascii_host(urlsplit(self.url).hostname or "localhost")
        except ValueError:
            return "localhost"


def is_on(settings: Settings, values: SystemSettings) -> bool:
    """Whether anything is mailed: there is a server for it, and an address for the links."""
    return bool(values.smtp_host and settings.base_url)


def require_mail(settings: Settings, values: SystemSettings) -> None:
    """422 where nothing is mailed."""
    if not is_on(settings, values):
        missing = "smtp_host" if not values.smtp_host else "the configuration's base_url"
        raise Impossible(f"nothing is mailed without {missing}", code="mail_off")


def one_line(text: str) -> str:
    """The text on one line, without control characters, and not long."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return cut(" ".join(plain.split()), LONGEST_LINE)


def no_address(text: str) -> str:
    """A name on one line, in which a program that shows the mail finds no address to follow: whom
    somebody invites gets a mail from us, and only our own link leads anywhere.
    """
    words = one_line(text).replace("://", ": //").split(" ")
    return " ".join(INNER_DOT.sub("[.]", each) if _is_like_a_host(each) else each for each in words)


def _is_like_a_host(word: str) -> bool:
    """Whether a program may take it for a host, and link it without `https`."""
    first, *rest = INNER_DOT.split(word)
    if rest and (first.casefold().endswith("www") or NUMBERS.search(word)):
        return True
    labels = (LABEL.split(each, maxsplit=1)[0] for each in rest)
    return any(
        each[:1].isalpha() and len(each) > 1 and each.casefold() not in NO_DOMAINS
        for each in labels
    )


def password_letter(place: Place, account: Any, token: str) -> Letter:
    """How a forgotten password is set anew."""
    words = Words(account["locale"])
    return Letter(
        words,
        to=account["email"],
        name=account["display_name"],
        subject=words("Set a new password"),
        parts=(
            Part(words("Hello {name},", name=account["display_name"])),
            Part(
                words(
                    "somebody, probably you, asked to set a new password for your account"
                    " {username} at {place}.",
                    username=account["username"],
                    place=place.name,
                )
            ),
            Part(words("Set a new password"), url=f"{place.url}/reset-password?token={token}"),
            Part(
                words(
                    "The link is good once, and for one hour. If it was not you, do nothing: your"
                    " password stays as it is."
                )
            ),
        ),
    )


def warning_letter(place: Place, account: Any, what: Warned) -> Letter:
    """That the way into an account has changed, for whom it belongs to."""
    words = Words(account["locale"])
    return Letter(
        words,
        to=account["email"],
        name=account["display_name"],
        subject=words(WARNINGS[what]),
        parts=(
            Part(words("Hello {name},", name=account["display_name"])),
            Part(
                words(
                    "this was just changed of your account {username} at {place}:",
                    username=account["username"],
                    place=place.name,
                )
            ),
            Part(words(WARNINGS[what]), quoted=True),
            Part(
                words(
                    "If it was you, there is nothing to do. If it was not, tell an administrator at"
                    " once: somebody else may be in your account."
                )
            ),
        ),
    )


def invitation_letter(place: Place, invitation: Any, token: str, locale: str) -> Letter:
    """The link of an invitation, for whom it is; `locale` when the address is nobody's here."""
    words = Words(invitation["locale"] or locale)
    inviter, project = no_address(invitation["inviter"]), invitation["project"]
    name = invitation["name"] or ""
    if project is not None:
        project = no_address(project)
        subject = words("{inviter} invites you to {project}", inviter=inviter, project=project)
        told = words(
            "{inviter} invites you to work on the project {project} at {place}.",
            inviter=inviter,
            project=project,
            place=place.name,
        )
    else:
        subject = words("{inviter} invites you to {place}", inviter=inviter, place=place.name)
        told = words("{inviter} invites you to work at {place}.", inviter=inviter, place=place.name)
    return Letter(
        words,
        to=invitation["email"],
        name=name,
        subject=subject,
        parts=(
            Part(words("Hello {name},", name=name) if name else words("Hello,")),
            Part(told),
            Part(words("Look at the invitation"), url=f"{place.url}/invitations/{token}"),
            Part(
                words(
                    "The link is good once, until {moment} UTC. Whoever has it can use it. If you"
                    " do not know who invites you, do nothing.",
                    moment=invitation["expires_at"],
                )
            ),
        ),
    )


def backup_letter(place: Place, reader: Any, about: Any, locale: str) -> Letter:
    """What became of a backup that was due; `locale` when the address is nobody's here."""
    words = Words(reader["locale"] or locale)
    host = one_line(about["host"])
    if about["ok"]:
        subject = words("A backup of {place} was made", place=place.name)
        if about["again"]:
            subject = words("Backups of {place} are made again", place=place.name)
        parts = [
            Part(
                words(
                    "{filename} of {moment} UTC, {size}, is in the backup directory of {host}.",
                    filename=about["filename"],
                    moment=about["moment"],
                    size=words.size(about["bytes"]),
                    host=host,
                )
            )
        ]
        if about["missing_files"]:
            parts.append(
                Part(
                    words.many(
                        "{number} file is not in it, because it was missing.",
                        "{number} files are not in it, because they were missing.",
                        about["missing_files"],
                    )
                )
            )
    else:
        subject = words("A backup of {place} failed", place=place.name)
        if about["cause"] == DIED:
            # On a host that nobody knows: this one found out.
            parts = [
                Part(
                    words(
                        "A backup that was due was begun at {moment} UTC and was interrupted before"
                        " it was whole.",
                        moment=about["moment"],
                    )
                )
            ]
        else:
            parts = [
                Part(
                    words(
                        "A backup that was due could not be made on {host} at {moment} UTC.",
                        host=host,
                        moment=about["moment"],
                    )
                ),
                Part(
                    words("The disk has no room for it.")
                    if about["cause"] == "disk"
                    else words("The log of that host says why, at backup.failed.")
                ),
            ]
        parts.append(
            Part(
                words(
                    "It is tried again every ten minutes. You get a mail when one was made, and"
                    " none of each try until then."
                )
            )
        )
    name = one_line(reader["name"])
    hello = words("Hello {name},", name=name) if name else words("Hello,")
    return Letter(
        words, to=reader["email"], name=name, subject=subject, parts=(Part(hello), *parts)
    )


def trial_letter(place: Place, to: str, locale: str) -> Letter:
    """A mail that shows that mails arrive."""
    words = Words(locale)
    return Letter(
        words,
        to=to,
        name="",
        subject=words("A test mail from {place}", place=place.name),
        parts=(Part(words("If you can read this, {place} can send mail.", place=place.name)),),
    )


def news_letter(place: Place, reader: Any, news: Sequence[Any], unsubscribe: str) -> Letter:
    """What happened that concerns somebody, the oldest first."""
    words = Words(reader["locale"])
    told = [_told(words, each) for each in news]
    parts = [Part(words("Hello {name},", name=reader["display_name"]))]
    for sentence, each in zip(told[:SHOWN], news, strict=False):
        parts.append(Part(sentence, url=place.url + each["url"]))
        if each["body"] and each["kind"] != DUE:
            parts.append(Part(cut(each["body"], LONGEST_BODY), quoted=True))
    if len(told) > SHOWN:
        more = len(told) - SHOWN
        parts.append(Part(words.many("And {number} more.", "And {number} more.", more)))
    subject = told[0]
    if len(told) > 1:
        subject = words.many("{number} new notification", "{number} new notifications", len(told))
    return Letter(
        words,
        to=reader["email"],
        name=reader["display_name"],
        subject=subject,
        parts=parts,
        end=(
            Part(
                words(
                    "You get this mail because {place} told you of it and you were not there.",
                    place=place.name,
                )
            ),
            Part(words("No such mails any more"), url=unsubscribe),
        ),
        unsubscribe=unsubscribe,
    )


def farewell_page(locale: str, *, asked: bool) -> str:
    """A page about mails that somebody does not want any more: the question, or that it is done."""
    words = Words(locale)
    if asked:
        title = words("No more mails about notifications?")
        button = html.escape(words("Yes, no more mails"))
        body = f'<form method="post"><button>{button}</button></form>'
    else:
        title = words(
            "You get no more mails about notifications. In your profile you can turn them on again."
        )
        body = ""
    return _document(words.language, title, f"<p>{html.escape(title)}</p>{body}")


def _told(words: Words, news: Any) -> str:
    actor = (news["actor"] or {}).get("display_name") or words("Somebody")
    return words(
        SENTENCES.get(news["kind"], OTHERWISE),
        actor=no_address(actor),
        title=(no_address if news["kind"] in OF_PROJECTS else one_line)(news["title"] or ""),
        date=words.date(news["body"]) if news["kind"] == DUE else "",
    )


def message(place: Place, values: SystemSettings, letter: Letter, mail_id: str) -> EmailMessage:
    """The letter as it is sent. The same `mail_id` at each try: who gets two can tell.

    Raises ValueError for an address that is none.
    """
    name, address = sender(values.smtp_from) or ("", f"warmdesk@{place.host}")
    made = EmailMessage(policy=POLICY)
    made["From"] = _address(name or place.name, address)
    made["To"] = _address(letter.name, letter.to)
    made["Subject"] = one_line(letter.subject)
    made["Date"] = format_datetime(datetime.fromtimestamp(clock.now(), UTC))
    made["Message-ID"] = f"<{mail_id}@{ascii_host(address.rpartition('@')[2])}>"
    made["Auto-Submitted"] = "auto-generated"
    if letter.unsubscribe:
        made["List-Unsubscribe"] = f"<{letter.unsubscribe}>"
        made["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    made.set_content(_text(letter), cte="quoted-printable")
    made.add_alternative(_page(letter), subtype="html", cte="quoted-printable")
    made["Content-Language"] = letter.words.language
    return made


def _address(name: str, address: str) -> Address:
    local, _, host = address.rpartition("@")
    if not local or not host:
        raise ValueError("it is no address")
    return Address(one_line(name), username=local, domain=ascii_host(host))


def _text(letter: Letter) -> str:
    blocks = [_as_text(part) for part in letter.parts]
    if letter.end:
        blocks.append("-- ")
        blocks += [_as_text(part) for part in letter.end]
    return "\n\n".join(blocks) + "\n"


def _as_text(part: Part) -> str:
    if part.quoted:
        return "\n".join(f"> {line}" for line in part.text.splitlines())
    return f"{part.text}\n{part.url}" if part.url else part.text


def _page(letter: Letter) -> str:
    blocks = "".join(_as_html(part) for part in letter.parts)
    end = "".join(_as_html(part) for part in letter.end)
    small = f'<hr><div style="font-size:small;color:#555">{end}</div>' if end else ""
    return _document(letter.words.language, letter.subject, blocks + small)


def _document(language: str, title: str, content: str) -> str:
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title></head>"
        f'<body style="font-family:sans-serif;max-width:40em">{content}</body></html>\n'
    )


def _as_html(part: Part) -> str:
    text = html.escape(part.text).replace("\n", "<br>")
    if part.url:
        return f'<p><a href="{html.escape(part.url)}">{text}</a></p>'
    return f"<blockquote>{text}</blockquote>" if part.quoted else f"<p>{text}</p>"
