"""``warmdesk`` whose workers look seldom: with ``seldom.py 20 serve`` each compares its rooms with
their feeds every 20 seconds. Until then it knows what the bus tells it.
"""

from __future__ import annotations

import sys

from warmdesk import cli
from warmdesk.realtime import hub

if __name__ == "__main__":
    hub.CHECK_SECONDS = float(sys.argv[1])
    cli.main(sys.argv[2:])
