"""Forgejo: what Gitea says, under its own headers too.

https://forgejo.org/docs/latest/user/webhooks/
"""

from __future__ import annotations

from warmdesk.hosts import Host, gitea

HOST = Host(
    events=("X-Forgejo-Event", *gitea.HOST.events),
    deliveries=("X-Forgejo-Delivery", *gitea.HOST.deliveries),
    signatures=("X-Forgejo-Signature", *gitea.HOST.signatures),
    kinds=gitea.KINDS,
)
