"""The demo project: a team's board and talk, for a first look.

``story.toml`` is what the team writes; ``making.py`` does it and ``playing.py`` goes on with it, by
the API, as clients do, in a server of their own process (``inside.py``): so events, history and
notifications are what they are for everybody.
"""

from __future__ import annotations

import importlib.resources
import tomllib
from typing import Any

DOMAIN = "demo.example"
"""Where the mail of the team goes, which is nowhere (RFC 2606); and how its accounts are known."""

Story = dict[str, Any]


def story() -> Story:
    """All that the team is and writes."""
    text = importlib.resources.files("warmdesk.demo").joinpath("story.toml").read_text("utf-8")
    return tomllib.loads(text)


def username(person: Story) -> str:
    """The account of one of the story's people."""
    plain = str.maketrans("áéíóúñ", "aeioun")
    return ".".join(person["name"]).lower().translate(plain)


def address(person: Story) -> str:
    return f"{username(person)}@{DOMAIN}"
