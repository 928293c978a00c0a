"""Reads docker/Dockerfile and does what it says, in rooms in the place of images."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from tests.containers.room import PATH, Room

TOP = Path(__file__).parents[2]
FILE = TOP / "docker" / "Dockerfile"
FROM_OUTSIDE = re.compile(r"PIP_\w+|SSL_CERT_\w+|(?i:https?|no)_proxy")
"""How this machine reaches the registry is no part of an image."""


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction and what it is given, in one line."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


def options(rest: str) -> tuple[dict[str, str], str]:
    """The ``--name=value`` in front, and the rest."""
    found = {}
    while match := re.match(r"--([\w-]+)=(\S+)\s+", rest):
        found[match[1]] = match[2]
        rest = rest[match.end() :]
    return found, rest


@dataclass
class Image:
    """What is left when a stage is done."""

    room: Room
    base: str
    environment: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: int = 0
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    health_options: dict[str, str] = field(default_factory=dict)
    volumes: list[str] = field(default_factory=list)
    exposed: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"

    def inside(self, path: str) -> str:
        """A path of the image, absolute."""
        return os.path.normpath(os.path.join(self.directory, path)) + "/" * path.endswith("/")


def build(place: Path) -> Image:
    """Do all steps; the last stage is the image. `AssertionError` where one fails, or is of a kind
    that is not known here.
    """
    arguments: dict[str, str] = {}
    stages: dict[str, Image] = {}
    image: Image | None = None
    for name, given in steps(FILE.read_text()):
        if name == "ARG" and image is None:
            key, _, value = given.partition("=")
            arguments[key] = value
        elif name == "FROM":
            base, _, stage = Template(given).substitute(arguments).partition(" AS ")
            image = Image(Room(place / f"stage-{len(stages)}"), base)
            stages[stage or str(len(stages))] = image
        else:
            assert image is not None, f"{name} before the first FROM"
            step(image, name, given, stages)
    assert image is not None
    return image


def step(image: Image, name: str, given: str, stages: Mapping[str, Image]) -> None:
    known = {"PATH": PATH, **image.environment}
    if name == "RUN":
        outside = {key: value for key, value in os.environ.items() if FROM_OUTSIDE.fullmatch(key)}
        wheels = outside.get("PIP_FIND_LINKS", "")
        image.room.run(
            ["/bin/sh", "-c", given],
            outside | image.environment,
            user=image.user,
            directory=image.directory,
            lent=[wheels] if Path(wheels).is_absolute() and Path(wheels).is_dir() else [],
            online=True,
        )
    elif name == "COPY":
        wanted, rest = options(given)
        *sources, target = rest.split()
        to = image.inside(target)
        for source in sources:
            if "from" in wanted:
                image.room.take(stages[wanted["from"]].room, source, to)
            else:
                into = to.endswith("/") or len(sources) > 1
                image.room.put(TOP / source, to + Path(source).name if into else to)
    elif name == "ENV":
        for each in shlex.split(given):
            key, _, value = each.partition("=")
            image.environment[key] = Template(value).substitute(known)
    elif name == "WORKDIR":
        image.directory = image.inside(given)
        image.room.directory(image.directory)
    elif name == "USER":
        user, _, group = given.partition(":")
        assert user == group, "the room has one number for both"
        image.user = int(user)
    elif name in ("ENTRYPOINT", "CMD"):
        setattr(image, {"ENTRYPOINT": "entrypoint", "CMD": "command"}[name], json.loads(given))
    elif name == "HEALTHCHECK":
        image.health_options, rest = options(given)
        image.health = json.loads(rest.removeprefix("CMD "))
    elif name == "VOLUME":
        image.volumes += given.split()
    elif name == "EXPOSE":
        image.exposed += given.split()
    elif name == "STOPSIGNAL":
        image.stop_signal = given
    else:
        assert name == "LABEL", f"what does {name} do?"
