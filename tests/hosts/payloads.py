"""What hosts send, as their public documents show it: names and values are ours.

https://docs.github.com/en/webhooks/webhook-events-and-payloads
https://docs.gitlab.com/user/project/integrations/webhook_events/
https://docs.gitea.com/usage/webhooks
"""

from __future__ import annotations

from typing import Any, ClassVar

Json = dict[str, Any]

BASE = "https://git.example.org/alice/door"
SHA = "bffeb74224043ba2feb48d137756c8a9331c449a"
ZERO = "0" * 40
REPO = {"full_name": "alice/door", "html_url": BASE, "name": "door", "private": False}
SENDER = {"login": "alice", "id": 1, "username": "alice"}


def commit(message: str, sha: str = SHA) -> Json:
    return {
        "id": sha,
        "message": message,
        "timestamp": "2026-04-04T10:00:00+02:00",
        "url": f"{BASE}/commit/{sha}",
        "author": {"name": "Alice A.", "email": "alice@example.org", "username": "alice"},
        "committer": {"name": "Alice A.", "email": "alice@example.org", "username": "alice"},
        "added": [],
        "removed": [],
        "modified": ["door.py"],
    }


class GitHub:
    """Its payloads; those of Gitea are theirs with a few differences."""

    type, platform = "github", "github"
    pusher: ClassVar[Json] = {"name": "alice", "email": "alice@example.org"}

    def headers(self, event: str, delivery: str = "") -> dict[str, Any]:
        named = {"X_GitHub_Delivery": delivery} if delivery else {}
        return {"X_GitHub_Event": event, **named}

    def push(self, *messages: str, ref: str = "refs/heads/main", **more: Any) -> tuple[str, Json]:
        commits = [commit(text, f"{n:040x}") for n, text in enumerate(messages, start=1)]
        return "push", {
            "ref": ref,
            "before": ZERO,
            "after": SHA,
            "created": False,
            "deleted": False,
            "commits": commits,
            "head_commit": commits[-1] if commits else None,
            "repository": REPO,
            "pusher": self.pusher,
            "sender": SENDER,
            **more,
        }

    def pull_request(self, action: str, title: str, **fields: Any) -> tuple[str, Json]:
        known = {
            "number": 5,
            "title": title,
            "state": "open",
            "html_url": f"{BASE}/pull/5",
            "body": None,
            "user": {"login": "bob", "id": 2},
            "head": {"ref": "patch", "label": "bob:patch", "sha": SHA},
            "merged": False,
            "updated_at": "2026-04-04T10:00:00Z",
        }
        return "pull_request", {
            "action": action,
            "number": 5,
            "pull_request": known | fields,
            "repository": REPO,
            "sender": SENDER,
        }

    def issue(self, action: str, title: str, **fields: Any) -> tuple[str, Json]:
        known = {
            "number": 8,
            "title": title,
            "state": "open",
            "html_url": f"{BASE}/issues/8",
            "body": "",
            "user": {"login": "bob", "id": 2},
            "updated_at": "2026-04-04T10:00:00Z",
        }
        return "issues", {
            "action": action,
            "issue": known | fields,
            "repository": REPO,
            "sender": SENDER,
        }


class Gitea(GitHub):
    """Gitea signs in bare hex, and calls who pushed by a login."""

    type, platform = "gitea", "gitea"
    pusher: ClassVar[Json] = {"id": 1, "login": "alice", "full_name": "", "username": "alice"}

    def headers(self, event: str, delivery: str = "") -> dict[str, Any]:
        """It sends those of Gogs and GitHub too, and empty signatures where there is no secret."""
        names = ("X_Gitea", "X_Gogs", "X_GitHub")
        return {
            **{f"{name}_Event": event for name in names},
            **{f"{name}_Delivery": delivery for name in names if delivery},
            "X_Gitea_Signature": "",
            "X_Hub_Signature_256": "sha256=",
        }


class Forgejo(Gitea):
    """Forgejo says all that Gitea says, under its own name too."""

    type, platform = "forgejo", "forgejo"

    def headers(self, event: str, delivery: str = "") -> dict[str, Any]:
        named = {"X_Forgejo_Delivery": delivery} if delivery else {}
        return super().headers(event, delivery) | {"X_Forgejo_Event": event, **named}


class GitLab:
    """GitLab, where a project has the name and a request an `iid`."""

    type, platform = "gitlab", "gitlab"
    project: ClassVar[Json] = {
        "id": 15,
        "name": "Door",
        "path_with_namespace": "alice/door",
        "web_url": BASE,
        "namespace": "alice",
    }
    user: ClassVar[Json] = {"id": 1, "name": "alice", "username": "alice_a", "email": "[REDACTED]"}
    names: ClassVar[dict[str, str]] = {
        "push": "Push Hook",
        "merge_request": "Merge Request Hook",
        "issue": "Issue Hook",
    }
    actions: ClassVar[dict[str, str]] = {
        "opened": "open",
        "closed": "close",
        "reopened": "reopen",
        "merged": "merge",
    }

    def headers(self, event: str, delivery: str = "") -> dict[str, Any]:
        named = {"Idempotency_Key": delivery} if delivery else {}
        return {
            "X_Gitlab_Event": self.names.get(event, "System Hook"),
            "X_Gitlab_Event_UUID": "13792a34-cac6-4fda-95a8-c58e00a3954e",
            **named,
        }

    def push(self, *messages: str, ref: str = "refs/heads/main", **more: Any) -> tuple[str, Json]:
        commits = [commit(text, f"{n:040x}") for n, text in enumerate(messages, start=1)]
        for each in commits:
            each["author"] = {"name": "Alice A.", "email": "alice@example.org"}
        return "push", {
            "object_kind": "push",
            "event_name": "push",
            "before": SHA,
            "after": SHA,
            "ref": ref,
            "checkout_sha": SHA,
            "user_id": 1,
            "user_name": "alice",
            "user_username": "alice_a",
            "project": self.project,
            "commits": commits,
            "total_commits_count": len(commits),
            **more,
        }

    def pull_request(self, action: str, title: str, **fields: Any) -> tuple[str, Json]:
        state = fields.pop("state", "open")
        if fields.pop("merged", False):
            state, action = "merged", "merged" if action == "closed" else action
        known = {
            "id": 99,
            "iid": 5,
            "title": title,
            "description": fields.pop("body", None),
            "source_branch": fields.pop("head", {"ref": "patch"})["ref"],
            "target_branch": "main",
            "author_id": 1,
            "state": "opened" if state == "open" else state,
            "action": self.actions.get(action, "update"),
            "url": f"{BASE}/pull/5",
            "updated_at": fields.pop("updated_at", "2026-04-04 10:00:00 UTC"),
        }
        return "merge_request", {
            "object_kind": "merge_request",
            "event_type": "merge_request",
            "user": self.user,
            "project": self.project,
            "object_attributes": known | fields,
        }

    def issue(self, action: str, title: str, **fields: Any) -> tuple[str, Json]:
        _, payload = self.pull_request(action, title, **fields)
        attributes = payload["object_attributes"] | {"iid": 8, "url": f"{BASE}/issues/8"}
        payload |= {"object_kind": "issue", "object_attributes": attributes}
        return "issue", payload


HOSTS: list[GitHub | GitLab] = [GitHub(), GitLab(), Gitea(), Forgejo()]
