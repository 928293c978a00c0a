"""Print the API's description, an OpenAPI 3.0.3 document.

It is the one that the server has at /swagger/index.html, and needs no database.
"""

from __future__ import annotations

import argparse
import json

from warmdesk.app import resources
from warmdesk.commands.shared import Status
from warmdesk.openapi.document import document

EXAMPLE = "warmdesk openapi > openapi.json"


def run(wanted: argparse.Namespace) -> int:
    print(json.dumps(document(resources()), indent=2, ensure_ascii=False))
    return Status.DONE
