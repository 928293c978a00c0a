"""GitLab.

https://docs.gitlab.com/user/project/integrations/webhook_events/
"""

from __future__ import annotations

from typing import Literal

from warmdesk.hosts import NO_COMMIT, Commit, Host, Item, Kind, Number, Payload, Push, Repo, moment
from warmdesk.schemas.links import LinkStatus

ACTIONS = {"open": "opened", "close": "closed", "reopen": "reopened", "merge": "merged"}


class Project(Payload):
    path_with_namespace: str
    web_url: str = ""

    @property
    def repo(self) -> Repo:
        return Repo(self.path_with_namespace, self.web_url)


class User(Payload):
    id: int | None = None
    name: str | None = None
    username: str | None = None

    @property
    def shown(self) -> str:
        return self.name or self.username or ""


class PushedCommit(Payload):
    id: str
    message: str = ""
    url: str = ""
    author: User | None = None

    @property
    def commit(self) -> Commit:
        return Commit(self.id, self.url, self.message, (self.author or User()).shown)


class Pushed(Payload):
    ref: str
    project: Project
    before: str = ""
    after: str = ""
    user_name: str | None = None
    user_username: str | None = None
    commits: list[PushedCommit] | None = None
    total_commits_count: int = 0


class Attributes(Payload):
    """A merge request or an issue."""

    iid: Number
    title: str
    state: str
    url: str = ""
    action: str = ""
    description: str | None = None
    source_branch: str | None = None
    updated_at: str | None = None
    author_id: int | None = None

    @property
    def status(self) -> LinkStatus:
        return (
            "merged" if self.state == "merged" else "closed" if self.state == "closed" else "open"
        )


class ItemEvent(Payload):
    object_attributes: Attributes
    project: Project
    user: User | None = None


def push(told: Pushed) -> Push:
    return Push(
        repo=told.project.repo,
        pusher=told.user_name or told.user_username or "",
        ref=told.ref,
        commits=[each.commit for each in told.commits or ()],
        count=told.total_commits_count,
        created=told.before.startswith(NO_COMMIT),
        deleted=told.after.startswith(NO_COMMIT),
    )


def merge_request(told: ItemEvent) -> Item:
    return _item(told, "pr")


def issue(told: ItemEvent) -> Item:
    return _item(told, "issue")


def _item(told: ItemEvent, kind: Literal["pr", "issue"]) -> Item:
    it, user = told.object_attributes, told.user or User()
    return Item(
        kind=kind,
        repo=told.project.repo,
        sender=user.shown,
        action=ACTIONS.get(it.action, it.action),
        number=it.iid,
        title=it.title,
        url=it.url,
        status=it.status,
        author=user.shown,
        # Of the author it says no more than the id.
        author_is_sure=it.author_id in (None, user.id),
        body=it.description or "",
        branch=it.source_branch or "",
        mark="!" if kind == "pr" else "#",
        noun="merge request" if kind == "pr" else "",
        told_at=moment(it.updated_at),
    )


HOST = Host(
    events=("X-Gitlab-Event",),
    # What one event of GitLab's makes another send has the same UUID, so the key goes before it.
    deliveries=("Idempotency-Key", "X-Gitlab-Event-UUID"),
    password="X-Gitlab-Token",
    event_field="object_kind",
    kinds={
        "push": Kind(Pushed, push),
        "tag_push": Kind(Pushed, push),
        "merge_request": Kind(ItemEvent, merge_request),
        "issue": Kind(ItemEvent, issue),
        "work_item": Kind(ItemEvent, issue),
    },
)
