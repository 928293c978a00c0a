"""GitHub, and what speaks like it.

https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

from typing import Literal

from warmdesk.hosts import Commit, Host, Item, Kind, Number, Payload, Push, Ref, Repo, moment
from warmdesk.schemas.links import LinkStatus


class User(Payload):
    login: str = ""


class Repository(Payload):
    full_name: str
    html_url: str = ""

    @property
    def repo(self) -> Repo:
        return Repo(self.full_name, self.html_url)


class Person(Payload):
    """Whoever pushed, or wrote a commit."""

    name: str | None = None
    username: str | None = None


class PushedCommit(Payload):
    id: str
    message: str = ""
    url: str = ""
    author: Person | None = None

    @property
    def commit(self) -> Commit:
        author = self.author or Person()
        return Commit(self.id, self.url, self.message, author.name or author.username or "")


class Pushed(Payload):
    ref: str
    repository: Repository
    commits: list[PushedCommit] | None = None
    pusher: Person | None = None
    sender: User | None = None
    created: bool = False
    deleted: bool = False


class Branch(Payload):
    ref: str | None = None


class ItemPayload(Payload):
    """A pull request or an issue."""

    number: Number
    title: str
    state: str | None = None
    closed_at: str | None = None
    html_url: str = ""
    body: str | None = None
    user: User | None = None
    updated_at: str | None = None

    @property
    def status(self) -> LinkStatus:
        """Some say no state, and when it was closed all the same."""
        is_closed = self.state == "closed" if self.state else self.closed_at is not None
        return "closed" if is_closed else "open"


class PullRequest(ItemPayload):
    merged: bool | None = False
    head: Branch | None = None

    @property
    def status(self) -> LinkStatus:
        return "merged" if self.merged else super().status


class PullRequestEvent(Payload):
    action: str
    pull_request: PullRequest
    repository: Repository
    sender: User | None = None


class IssueEvent(Payload):
    action: str
    issue: ItemPayload
    repository: Repository
    sender: User | None = None


class RefEvent(Payload):
    ref: str
    ref_type: str
    repository: Repository
    sender: User | None = None


def login(user: User | None) -> str:
    return user.login if user is not None else ""


def push(told: Pushed) -> Push:
    pusher = told.pusher or Person()
    return Push(
        repo=told.repository.repo,
        pusher=pusher.name or pusher.username or login(told.sender),
        ref=told.ref,
        commits=[each.commit for each in told.commits or ()],
        created=told.created,
        deleted=told.deleted,
    )


def pull_request(told: PullRequestEvent) -> Item:
    it = told.pull_request
    merged = told.action == "closed" and it.status == "merged"
    return Item(
        kind="pr",
        repo=told.repository.repo,
        sender=login(told.sender),
        action="merged" if merged else told.action,
        number=it.number,
        title=it.title,
        url=it.html_url,
        status=it.status,
        author=login(it.user),
        body=it.body or "",
        branch=(it.head and it.head.ref) or "",
        told_at=moment(it.updated_at),
    )


def issue(told: IssueEvent) -> Item:
    it = told.issue
    return Item(
        kind="issue",
        repo=told.repository.repo,
        sender=login(told.sender),
        action=told.action,
        number=it.number,
        title=it.title,
        url=it.html_url,
        status=it.status,
        author=login(it.user),
        body=it.body or "",
        told_at=moment(it.updated_at),
    )


def ref(action: Literal["created", "deleted"], told: RefEvent) -> Ref:
    return Ref(
        repo=told.repository.repo,
        sender=login(told.sender),
        action=action,
        kind=told.ref_type,
        name=told.ref,
    )


def created(told: RefEvent) -> Ref:
    return ref("created", told)


def deleted(told: RefEvent) -> Ref:
    return ref("deleted", told)


HOST = Host(
    events=("X-GitHub-Event",),
    deliveries=("X-GitHub-Delivery",),
    signatures=("X-Hub-Signature-256",),
    kinds={
        "push": Kind(Pushed, push),
        "pull_request": Kind(PullRequestEvent, pull_request),
        "issues": Kind(IssueEvent, issue),
        "create": Kind(RefEvent, created),
        "delete": Kind(RefEvent, deleted),
    },
)
