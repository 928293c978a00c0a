"""May this actor do this here? One policy: strangers do not learn that a thing exists.

Doors ask here first, from a cache tied to the control feed (a revocation forgets the entry within
two seconds); every change asks again inside its transaction, with a lock (``require_role`` in
sql/changes/access.sql), so a cache is never what decides a write.
"""

from __future__ import annotations

from typing import Any

from warmdesk.auth.actor import PEOPLE, Actor, Project, Role, effective_role
from warmdesk.db.queries import sql
from warmdesk.errors import Forbidden, NotFound
from warmdesk.tasks import Shared

ENTRIES = 20_000


class Access:
    """Memberships that this process looked up, by user and slug. `generation` guards a look-up
    against news that came meanwhile.
    """

    def __init__(self) -> None:
        self.entries: dict[tuple[int, str], Project | None] = {}
        self.generation = 0
        self._shared: Shared[Project | None] = Shared()

    def forget(self) -> None:
        """A membership, an account or a project changed somewhere: everything is looked up anew."""
        self.generation += 1
        self.entries.clear()

    async def enter_project(self, database: Any, actor: Actor, slug: str, need: Role) -> Project:
        """The project, if the actor has the role: 404 to strangers, 403 below it, 403 to service
        accounts.

        `database` has `fetch` and is nobody's own: the look-up is shared with others who ask.
        """
        if actor.global_role not in PEOPLE:
            raise Forbidden("a service account cannot do this")
        place = (actor.user_id, slug)
        if place in self.entries:
            project = self.entries[place]
        else:
            project = await self._shared.ask(
                (*place, actor.global_role, self.generation),
                lambda: self._look_up(database, actor, slug),
            )
        if project is None:
            raise NotFound("project not found")
        if actor.key_project_id is not None and actor.key_project_id != project.id:
            raise Forbidden("key is scoped to a specific project")
        if project.role < need:
            raise Forbidden()
        return project

    async def _look_up(self, database: Any, actor: Actor, slug: str) -> Project | None:
        generation = self.generation
        rows = await sql.access.project_of(database, slug=slug, user_id=actor.user_id)
        role = effective_role(actor.global_role, rows[0]["role"]) if rows else None
        project = None
        if role is not None:
            row = rows[0]
            project = Project(row["id"], row["slug"], row["is_archived"], row["key_prefix"], role)
        if generation == self.generation:
            if len(self.entries) >= ENTRIES:
                self.entries.clear()
            self.entries[(actor.user_id, slug)] = project
        return project
