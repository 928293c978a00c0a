"""``python -m warmdesk``."""

from warmdesk.cli import main

main()
