"""Set everything up and serve until SIGTERM or SIGINT.

On SIGHUP read settings and program anew, and replace the workers one by one.
"""

from __future__ import annotations

import argparse

from warmdesk.commands.shared import OF_SERVE, Status, going_by, settings_of
from warmdesk.config import explained
from warmdesk.reload import inherited, postpone
from warmdesk.server import rehearse
from warmdesk.server import serve as run_server

EXAMPLE = "warmdesk serve --port 9000 --workers 2"


def arguments(parser: argparse.ArgumentParser) -> None:
    sentences = {each.name: each.sentence for each in explained()}
    for name in OF_SERVE:
        parser.add_argument(f"--{name}", help=sentences[name])


def run(wanted: argparse.Namespace) -> int:
    left = inherited()
    if left and left.rehearsal:
        rehearse(settings_of(wanted, log_format=left.log_format), left)
    else:
        postpone()
        kept = left.rehearsed() if left else None
        run_server(going_by(kept) if kept else settings_of(wanted), left)
    return Status.DONE
