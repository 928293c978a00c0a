"""Gitea, which names most things as GitHub does.

https://docs.gitea.com/usage/webhooks and modules/structs/hook.go there.
"""

from __future__ import annotations

from warmdesk.hosts import NO_COMMIT, Fork, Host, Kind, Payload, Push, Release, Remark, github
from warmdesk.hosts.github import ItemPayload, PushedCommit, Repository, User


class Pusher(Payload):
    login: str = ""
    username: str = ""


class Pushed(Payload):
    ref: str
    repository: Repository
    before: str = ""
    after: str = ""
    commits: list[PushedCommit] | None = None
    total_commits: int = 0
    pusher: Pusher | None = None
    sender: User | None = None


class Comment(Payload):
    body: str = ""
    html_url: str = ""


class CommentEvent(Payload):
    action: str
    issue: ItemPayload
    comment: Comment
    repository: Repository
    sender: User | None = None
    is_pull: bool = False


class Review(Payload):
    content: str = ""


class ReviewEvent(Payload):
    pull_request: ItemPayload
    repository: Repository
    sender: User | None = None
    review: Review | None = None
    comment: Comment | None = None


class ReleasePayload(Payload):
    tag_name: str
    name: str = ""
    html_url: str = ""


class ReleaseEvent(Payload):
    action: str
    release: ReleasePayload
    repository: Repository
    sender: User | None = None


class ForkEvent(Payload):
    """`forkee` is what was forked, and `repository` what came of it: other than at GitHub."""

    forkee: Repository
    repository: Repository
    sender: User | None = None


def push(told: Pushed) -> Push:
    pusher = told.pusher or Pusher()
    return Push(
        repo=told.repository.repo,
        pusher=pusher.login or pusher.username or github.login(told.sender),
        ref=told.ref,
        commits=[each.commit for each in told.commits or ()],
        count=told.total_commits,
        created=told.before.startswith(NO_COMMIT),
        deleted=told.after.startswith(NO_COMMIT),
    )


def comment(told: CommentEvent) -> Remark | None:
    if told.action != "created":
        return None
    return Remark(
        kind="pr" if told.is_pull else "issue",
        repo=told.repository.repo,
        sender=github.login(told.sender),
        number=told.issue.number,
        title=told.issue.title,
        url=told.comment.html_url or told.issue.html_url,
        text=told.comment.body,
    )


def review(told: ReviewEvent) -> Remark:
    said = told.review.content if told.review is not None else ""
    return Remark(
        kind="pr",
        repo=told.repository.repo,
        sender=github.login(told.sender),
        number=told.pull_request.number,
        title=told.pull_request.title,
        url=(told.comment and told.comment.html_url) or told.pull_request.html_url,
        text=said or (told.comment.body if told.comment is not None else ""),
        is_review=True,
    )


def release(told: ReleaseEvent) -> Release | None:
    if told.action != "published":
        return None
    it = told.release
    return Release(
        repo=told.repository.repo,
        sender=github.login(told.sender),
        name=it.name or it.tag_name,
        url=it.html_url,
    )


def fork(told: ForkEvent) -> Fork:
    return Fork(repo=told.forkee.repo, sender=github.login(told.sender), copy=told.repository.repo)


REVIEWS = (
    *("pull_request_approved", "pull_request_rejected", "pull_request_comment"),
    *("pull_request_review_approved", "pull_request_review_rejected"),
    "pull_request_review_comment",
)
KINDS = {
    "push": Kind(Pushed, push),
    "pull_request": github.HOST.kinds["pull_request"],
    "issues": github.HOST.kinds["issues"],
    "issue_comment": Kind(CommentEvent, comment),
    **{name: Kind(ReviewEvent, review) for name in REVIEWS},
    "create": github.HOST.kinds["create"],
    "delete": github.HOST.kinds["delete"],
    "release": Kind(ReleaseEvent, release),
    "fork": Kind(ForkEvent, fork),
}
HOST = Host(
    events=("X-Gitea-Event", "X-Gogs-Event", "X-GitHub-Event"),
    deliveries=("X-Gitea-Delivery", "X-Gogs-Delivery", "X-GitHub-Delivery"),
    signatures=("X-Gitea-Signature", "X-Hub-Signature-256"),
    kinds=KINDS,
)
