"""The audit: who changed which right, key or setting."""

from __future__ import annotations

from typing import Any, Literal

from warmdesk.schemas import Id, Shape, Timestamp
from warmdesk.schemas.pages import PageQuery
from warmdesk.schemas.users import UserRef

Action = Literal[
    "user.created",
    "user.updated",
    "user.role_changed",
    "user.deactivated",
    "user.activated",
    "user.deleted",
    "user.restored",
    "user.purged",
    "user.password_reset",
    "user.mfa_disabled",
    "session.ended",
    "member.added",
    "member.role_changed",
    "member.removed",
    "project.archived",
    "project.unarchived",
    "project.purged",
    "key.created",
    "key.revoked",
    "setting.changed",
    "invitation.created",
    "invitation.revoked",
    "invitation.accepted",
    "webhook.created",
    "webhook.changed",
    "webhook.deleted",
    "backup.made",
    "backup.deleted",
    "restore.done",
]
"""What is written down. `warmdesk.changes.audit` says what a line is about."""


class AuditLine(Shape):
    """One act: of nobody, where the server's own command line was used.

    `user.updated`: an administrator changed how somebody is called or reached, or whether a new
    password is due; what people change of their own accounts stands in their login history.
    """

    id: int
    at: Timestamp
    actor: UserRef | None
    ip: str
    action: str
    target_type: str
    target_id: int | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class ListAudit(PageQuery):
    """Which lines: of this actor, of this action, older than `before`."""

    actor_id: Id | None = None
    action: Action | None = None
    before: Id | None = None
