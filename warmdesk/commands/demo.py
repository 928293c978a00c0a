"""Fill a lively project, for a first look; with --play its people go on working.

A team of seven, their board, chat, topics, conversations and time are made as clients make them.
The address is printed, and once how to sign in. Where the demo is there already, that is said.
On an installation without accounts the demo's owner becomes its administrator.
"""

from __future__ import annotations

import argparse
import secrets
import string
from contextlib import AsyncExitStack
from typing import Any

import uvloop

from warmdesk.client import Refused
from warmdesk.commands.progress import progress
from warmdesk.commands.shared import HERE, Failed, Mistake, Status, answer, aside, reached
from warmdesk.config import Settings
from warmdesk.demo import Story, story, username
from warmdesk.demo.inside import Inside, serving
from warmdesk.demo.making import Project, Team, found, make_people, make_project, people_of, steps
from warmdesk.demo.playing import Player, ProjectGone
from warmdesk.paths import project_page
from warmdesk.schemas.settings import password_fault

EXAMPLE = "warmdesk demo --play --minutes 10"
JSON = True
PASSWORD_LENGTH = 20
LETTERS = string.ascii_letters + string.digits
SPECIAL = "-_!"
"""Only where one is wanted: passwords without are easier to take along."""
LONGEST_MINUTES = 7 * 24 * 60


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--again", action="store_true", help="archive the one that is there, and make it anew"
    )
    parser.add_argument("--play", action="store_true", help="go on until interrupted")
    parser.add_argument("--minutes", type=_minutes, metavar="N", help="with --play: so long")


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0
    if not 0 < minutes <= LONGEST_MINUTES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes, up to a week")
    return minutes


def run(wanted: argparse.Namespace) -> int:
    if wanted.minutes is not None and not wanted.play:
        raise Mistake("--minutes goes with --play; see warmdesk demo --help")
    with reached(wanted) as settings:
        try:
            uvloop.run(_show(wanted, settings))
        except Refused as refused:
            raise Failed(f"the server refused a step: {refused.message}") from None
    return Status.DONE


async def _show(wanted: argparse.Namespace, settings: Settings) -> None:
    told = story()
    async with serving(settings, HERE) as inside:
        there = await found(inside, told)
        if there is not None and wanted.again:
            async with inside.signed_in(there.owner) as owner:
                await owner.delete(f"/projects/{there.slug}")
            there = None
        if there is None:
            there = await _make(wanted, inside, told)
        else:
            _say(wanted, inside.desk.settings, told, there, password=None)
        if wanted.play:
            await _play(wanted, inside, told, there)


async def _make(wanted: argparse.Namespace, inside: Inside, told: Story) -> Project:
    password = _password(inside)
    ids, is_first = await make_people(inside, told, password)
    team = Team(inside, told, ids)
    async with AsyncExitStack() as closing:
        await team.sign_in(closing)
        with progress("Making the demo", steps(told)) as tell:
            slug = await make_project(team, tell)
    made = Project(slug, ids[told["people"][0]["key"]])
    _say(wanted, inside.desk.settings, told, made, password=password, is_admin=is_first)
    return made


def _password(inside: Inside) -> str:
    """A password that nobody guesses and that the system settings take."""
    values = inside.desk.system.values
    length = max(PASSWORD_LENGTH, values.password_min_length)
    letters = LETTERS + SPECIAL * values.password_require_special
    while True:
        made = "".join(secrets.choice(letters) for _ in range(length))
        if password_fault(values, made) is None:
            return made


def _say(
    wanted: argparse.Namespace,
    settings: Settings,
    told: Story,
    there: Project,
    *,
    password: str | None,
    is_admin: bool = False,
) -> None:
    base = settings.base_url.rstrip("/") or _address(settings)
    name, owner = told["project"]["name"], username(told["people"][0])
    lines = [f"The project {name!r} is at {base}{project_page(there.slug)}"]
    lines.append(f"The API, to read and try: {base}/swagger/index.html")
    content: dict[str, Any] = {
        "url": base + project_page(there.slug),
        "slug": there.slug,
        "username": owner,
        "made": password is not None,
    }
    if password is None:
        lines.append(f"It was there already; {owner} owns it. With --again it is made anew.")
    else:
        others = ", ".join(username(each) for each in told["people"][1:])
        lines.append(f"Sign in as {owner} with the password {password}")
        lines.append(f"It is not shown again. {others} have the same.")
        content["password"] = password
        if is_admin:
            lines.append(f"{owner} is the administrator, as the first account is.")
    answer(wanted, "\n".join(lines), content)


def _address(settings: Settings) -> str:
    """Where a person on this machine finds the server when it runs."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host else host
    return f"http{'s' if settings.tls_cert else ''}://{host}:{settings.port}"


async def _play(wanted: argparse.Namespace, inside: Inside, told: Story, there: Project) -> None:
    ids = await people_of(inside, told)
    if len(ids) < len(told["people"]):
        raise Failed("some of the demo's people have no account any more; use --again")
    team = Team(inside, told, ids)
    async with AsyncExitStack() as closing:
        await team.sign_in(closing)
        player = Player(team, there.slug)
        seconds = wanted.minutes and wanted.minutes * 60
        aside("They go on; Ctrl-C ends it." if seconds is None else "They go on.")
        try:
            done = await player.play(seconds, aside)
        except ProjectGone:
            raise Failed("the demo project is not there any more") from None
        aside(f"{done} steps were done.")
