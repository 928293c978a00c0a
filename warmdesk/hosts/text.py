"""What the chat is told of a host's event, and which cards it names.

Texts of hosts are anybody's: they are shown as they are and mean nothing. They format nothing, link
nowhere, name nobody and end no line.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from warmdesk.errors import cut
from warmdesk.hosts import Commit, Fork, Item, Push, Ref, Release, Remark, Repo, Told
from warmdesk.schemas.links import LinkStatus, LinkType

LONGEST = 20_000
"""Characters of a chat message."""
LONGEST_TITLE, LONGEST_URL, LONGEST_AUTHOR, LONGEST_REPO = 500, 2000, 200, 300
LONGEST_LINE = 4000
"""Characters of a text that shall be one line which are looked at; it is cut to fewer."""
LONGEST_SEARCHED = 100_000
"""Characters of a text in which cards are looked for."""
LONGEST_NAME = 200
"""Characters of a name in a line."""
QUOTED = 200
SHOWN_COMMITS = 5
MOST_REFERENCES = 20
"""Cards that one text links to."""
MOST_LINKS = 2000
"""Links that one delivery makes, those of the newest commits."""
HIGHEST_NUMBER = 2**31 - 1
SHA = re.compile("[0-9a-fA-F]{7,64}")
ADDRESS = re.compile(r"https?://[^\s/?#@]+(?:[/?#]\S*)?", re.IGNORECASE)
REFERENCE = re.compile(
    r"(?<![A-Za-z0-9_-])([A-Z][A-Z0-9]{0,9})-([0-9]{1,10})(?![A-Za-z0-9_]|-[0-9])"
)
"""The key of a card. It stands alone: there is none in ``CVE-2026-1234`` or ``x-ABC-1``."""

TOLD = ("opened", "closed", "reopened", "merged", "ready_for_review")
"""What the chat hears of a pull request; of an issue, too."""
VERBS = {"ready_for_review": "marked as ready for review"}
NOUNS = {"pr": "pull request", "issue": "issue"}

SPECIAL = re.compile(r"[\\`*_{}\[\]<>()|~&!$]")
SCHEME = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)
BLOCK = re.compile(r"^([0-9]*)([-+.=#])")
"""What would begin a list or a heading or underline one, at the start of a line."""
IN_LINK = re.compile(r"[()<>\\`@\"']")
NAMES_NOBODY = "@\u200b"
"""An ``@`` behind which no name begins: a space without width follows."""
JOINED = "\u200d"
VARIATIONS = re.compile("[\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
TAKEN_BACK = 64
"""Characters at most that a cut goes back, so as not to part what is one sign."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a card to something at a host, and the cards that it names."""

    reference: str
    title: str
    url: str
    author: str
    cards: list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a delivery does: its line in the chat, its links, or why it does nothing."""

    line: str = ""
    bot_name: str = ""
    link_type: LinkType = "link"
    status: LinkStatus = "open"
    repo_name: str = ""
    told_at: datetime | None = None
    author_is_sure: bool = True
    links: list[Link] = field(default_factory=list)
    reason: str = ""
    is_told_twice: bool = False
    """The host tells of the same by an event of another kind: one line is enough."""


def effect(told: Told) -> Effect:
    """What an event of a host does."""
    line = cut_text(_line(told))
    repo = plain(told.repo.name)[:LONGEST_REPO]
    if isinstance(told, Push) and not told.deleted:
        links = list(_commit_links(told))
        return Effect(
            line=line,
            link_type="commit",
            status="merged",
            repo_name=repo,
            links=links,
            is_told_twice=told.created,
        )
    if isinstance(told, Item):
        text, url = (told.title, told.body, told.branch), address(told.url)
        return Effect(
            line=line,
            link_type=told.kind,
            status=told.status,
            repo_name=repo,
            told_at=told.told_at,
            author_is_sure=told.author_is_sure,
            links=_linked(str(told.number), told.title, url, told.author, text) if url else [],
        )
    return Effect(line=line, is_told_twice=isinstance(told, Ref | Push))


def references(text: str) -> list[tuple[str, int]]:
    """The first cards that a text names, each once: prefix and number."""
    found: dict[tuple[str, int], None] = {}
    for match in REFERENCE.finditer(text, 0, LONGEST_SEARCHED):
        if match.end() == LONGEST_SEARCHED < len(text):
            break  # it may go on
        number = int(match[2])
        if 1 <= number <= HIGHEST_NUMBER:
            found[match[1], number] = None
            if len(found) == MOST_REFERENCES:
                break
    return list(found)


def _commit_links(told: Push) -> Iterator[Link]:
    """Of the newest commits, whose links are as many as may be."""
    kept: list[list[Link]] = []
    room = MOST_LINKS
    for commit in reversed(told.commits):
        url = address(commit.url)
        if not SHA.fullmatch(commit.sha) or not url:
            continue
        links = _linked(
            commit.sha.lower(), first_line(commit.message), url, commit.author, (commit.message,)
        )
        room -= sum(len(link.cards) for link in links)
        if room < 0:
            break
        kept.append(links)
    for links in reversed(kept):
        yield from links


def _linked(reference: str, title: str, url: str, author: str, texts: Sequence[str]) -> list[Link]:
    """The link of what has these texts, if they name cards."""
    cards = list(dict.fromkeys(card for text in texts for card in references(text)))
    title = cut(plain(title), LONGEST_TITLE) or reference
    return [Link(reference, title, url, cut(plain(author), LONGEST_AUTHOR), cards)] if cards else []


# Lines


def _line(told: Told) -> str:
    if isinstance(told, Push):
        return _push(told)
    if isinstance(told, Item):
        return _item(told)
    if isinstance(told, Remark):
        return _remark(told)
    if isinstance(told, Ref):
        return _ref(told.sender, told.action, told.kind, told.name, told.repo)
    if isinstance(told, Release):
        return f"{bold(told.sender)} released {link(told.name, told.url)} in {_repo(told.repo)}"
    if isinstance(told, Fork):
        return f"{bold(told.sender)} forked {_repo(told.repo)} to {_repo(told.copy)}"
    raise TypeError(f"nothing is said of {told}")


def _push(told: Push) -> str:
    kind, name = "branch", told.ref.removeprefix("refs/heads/")
    if told.ref.startswith("refs/tags/"):
        kind, name = "tag", told.ref.removeprefix("refs/tags/")
    if told.deleted or (kind == "tag" and told.created):
        action = "deleted" if told.deleted else "created"
        return _ref(told.pusher, action, kind, name, told.repo)
    if kind == "tag":
        return f"{bold(told.pusher)} pushed tag {bold(name)} ({_repo(told.repo)})"
    count = max(told.count, len(told.commits))
    if not count:
        return ""
    many = "" if count == 1 else "s"
    first = f"{bold(told.pusher)} pushed {count} commit{many} to {bold(name)} ({_repo(told.repo)})"
    lines = [first, *map(_commit, told.commits[:SHOWN_COMMITS])]
    if count > len(lines) - 1:
        lines += ["", f"… and {count - len(lines) + 1} more"]
    return "\n".join(lines)


def _ref(who: str, action: str, kind: str, name: str, repo: Repo) -> str:
    """The same words for a push and for the event of its own that some hosts send beside it."""
    kind = escaped(cut(plain(kind), LONGEST_NAME))
    return f"{bold(who)} {action} {kind} {bold(name)} in {_repo(repo)}"


def _commit(commit: Commit) -> str:
    sha = commit.sha[:7] if SHA.fullmatch(commit.sha) else ""
    shown = f"`{sha}`" if sha else "commit"
    url = target(commit.url)
    shown = f"[{shown}]({url})" if url else shown
    return f"- {shown} {escaped(cut(plain(first_line(commit.message)), LONGEST_TITLE))}".rstrip()


def _item(told: Item) -> str:
    if told.action not in TOLD:
        return ""
    verb = VERBS.get(told.action, told.action)
    title = link(told.title, told.url, f"{told.mark}{told.number} ")
    what = f"{told.noun or NOUNS[told.kind]} {title}"
    return f"{bold(told.sender)} {verb} {what} in {_repo(told.repo)}"


def _remark(told: Remark) -> str:
    short = "PR " if told.kind == "pr" else "issue "
    name = link(told.title, told.url, f"{short}#{told.number} ")
    verb = "reviewed" if told.is_review else "commented on"
    line = f"{bold(told.sender)} {verb} {name} in {_repo(told.repo)}"
    quote = line_of(cut(plain(told.text), QUOTED))
    return f"{line}\n> {quote}" if quote else line


def _repo(repo: Repo) -> str:
    return link(repo.name, repo.url)


# Texts


def bold(name: str) -> str:
    """A name in bold. Nobody has none."""
    return f"**{escaped(cut(plain(name), LONGEST_NAME)) or 'somebody'}**"


def link(name: str, url: str, before: str = "") -> str:
    """A name that leads to an address, if that is one. `before` it stand words of ours."""
    shown, found = before + (escaped(cut(plain(name), LONGEST_TITLE)) or "…"), target(url)
    return f"[{shown}]({found})" if found else shown


def first_line(text: str) -> str:
    """The first line of a text that has something in it."""
    return text.strip().partition("\n")[0].strip()


def plain(text: str) -> str:
    """A text in one line, without what cannot be seen: control characters, and what turns the
    direction of what follows.
    """
    text = text[:LONGEST_LINE]
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    shown = (" " if each.isspace() else each for each in text)
    kept = (each for each in shown if each == JOINED or unicodedata.category(each)[0] != "C")
    return " ".join("".join(kept).split())


def escaped(text: str) -> str:
    """A text in one line, as Markdown that shows it as it is."""
    text = SCHEME.sub(r"\\\g<0>", SPECIAL.sub(r"\\\g<0>", text))
    return text.replace("@", NAMES_NOBODY)


def line_of(text: str) -> str:
    """The same for what begins a line."""
    return BLOCK.sub(r"\1\\\2", escaped(text))


def address(url: str) -> str:
    """An address of the web; empty for anything else."""
    url = url.strip()
    fits = len(url) <= LONGEST_URL and url.isprintable() and ADDRESS.fullmatch(url)
    return url if fits else ""


def target(url: str) -> str:
    """An address as Markdown's links have it; empty for what is none."""
    return IN_LINK.sub(lambda found: f"%{ord(found[0]):02X}", address(url))


def cut_text(text: str, longest: int = LONGEST) -> str:
    """A text of at most so many characters. A longer one ends with "…", and no sign is parted."""
    if len(text) <= longest:
        return text
    end = longest - 1
    for _ in range(min(TAKEN_BACK, end)):
        after, before = text[end], text[end - 1]
        if not (
            unicodedata.combining(after) or JOINED in (after, before) or VARIATIONS.match(after)
        ):
            break
        end -= 1
    return f"{text[:end]}…"
