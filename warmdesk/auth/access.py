"""May this actor do this here? One policy: strangers do not learn that a thing exists.

Handlers ask this cache first, which is tied to the control feed (a revocation removes the entry
within two seconds); every change asks again inside its transaction, with a lock (``require_role``
in sql/changes/access.sql), so a cache never decides a write.
"""

from __future__ import annotations

from typing import Any

from warmdesk.auth.actor import HUMAN_ROLES, Actor, EnteredProject, GlobalRole, Role, effective_role
from warmdesk.db.pool import spending
from warmdesk.db.queries import sql
from warmdesk.errors import Forbidden, KeyScope, NotFound
from warmdesk.tasks import Batcher

ENTRIES = 20_000

Wanted = tuple[int, str, GlobalRole]
"""A user, a slug, the user's global role."""


class Access:
    """Memberships that this process looked up. `generation` guards a look-up against news that came
    meanwhile.
    """

    def __init__(self) -> None:
        self.entries: dict[Wanted, EnteredProject | None] = {}
        self.generation = 0
        self._together: Batcher[Wanted, EnteredProject] = Batcher()

    def forget(self) -> None:
        """A membership, an account or a project changed somewhere: everything is looked up anew."""
        self.generation += 1
        self.entries.clear()

    async def enter_project(
        self, database: Any, actor: Actor, slug: str, need: Role
    ) -> EnteredProject:
        """The project, if the actor has the role: 404 to strangers, 403 below it, 403 to service
        accounts.

        `database` has `fetch` and is no connection of the request: callers share the look-up.
        """
        if actor.global_role not in HUMAN_ROLES:
            raise Forbidden("a service account cannot do this")
        key = (actor.user_id, slug, actor.global_role)
        if key in self.entries:
            project = self.entries[key]
        else:
            async with spending():
                project = await self._together.ask(
                    key, lambda wanted: self._look_up(database, wanted)
                )
        if project is None:
            raise NotFound("project not found")
        if actor.key_project_id is not None and actor.key_project_id != project.id:
            raise KeyScope()
        if project.role < need:
            raise Forbidden()
        return project

    async def _look_up(self, database: Any, wanted: list[Wanted]) -> dict[Wanted, EnteredProject]:
        generation = self.generation
        rows = await sql.access.projects_of(
            database,
            slugs=[slug for _, slug, _ in wanted],
            users=[user_id for user_id, _, _ in wanted],
        )
        found: dict[Wanted, EnteredProject] = {}
        for number, project_id, slug, is_archived, key_prefix, membership in rows:
            key = wanted[number - 1]
            role = effective_role(key[2], membership)
            if role is not None:
                found[key] = EnteredProject(project_id, slug, is_archived, key_prefix, role)
        if generation == self.generation:
            if len(self.entries) + len(wanted) > ENTRIES:
                self.entries.clear()
            for key in wanted:
                self.entries[key] = found.get(key)
        return found
