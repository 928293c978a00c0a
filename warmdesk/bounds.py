"""The bounds of all stored data: a sentence for each table and each kind of key.

A test walks the schema and Redis and compares, so a new table or key needs a sentence here that
says what keeps it from growing. *People's work* is bounded by nothing but how fast people may work
(the rate limits) and goes only when they take it away: it is what the database is for. Everything
else has a number. With ``rate_limits = "off"`` what they bound is bounded by time alone.
"""

from __future__ import annotations

WORK = "people's work"

TABLES: dict[str, str] = {
    "schema_migrations": "one row a migration",
    "install": "one row",
    "backup_state": "one row",
    "secret_prints": "one row a secret",
    "turns": "one row a job",
    "system_settings": "one row a setting",
    "users": "registrations: 5 an hour and address; closed by a setting",
    "calendars": "one row a user",
    "sessions": "100 living ones a user; ended ones go after a day, expired ones after 30",
    "refresh_tokens": "600 an hour and user, gone when they expire or their session ends",
    "api_keys": "100 a person and 100 a project; revoked and expired ones go after 30 days",
    "audit": "what changes a right, a key or a setting; 400 days",
    "login_events": "1,000 failures and 1,000 others a user, and as many of nobody; 400 days",
    "invitations": "1,000 open ones a project, and of the installation; 37 days",
    "idempotency_keys": "50,000 keys and 256 MiB a user; 24 hours",
    "feeds": "one row a project and user",
    "events": "event_retention_days",
    "outgoing_webhooks": "20 a project",
    "outgoing_deliveries": "the 50 newest of an outgoing webhook",
    "projects": WORK,
    "project_members": "5,000 a user",
    "project_readers": "one row a member, and administrators who read or mute",
    "shows_users": "one row a table",
    "project_webhooks": "100 a project, and those deleted in the last week",
    "webhook_deliveries": "webhook_deliveries_per_minute and webhook; 7 days",
    "webhook_bodies": "1 MiB each, the newest 50 of a webhook",
    "project_guests": "5,000 a user by what others do; the rest is the user's own work",
    "starred_projects": WORK,
    "favorite_users": WORK,
    "columns": "100 a project",
    "labels": "500 a project",
    "cards": WORK,
    "card_grams": "one row a card",
    "card_key_aliases": WORK,
    "reminders": "two a card and assignee; a week after its date",
    "card_assignees": "members of the project, a card",
    "card_watchers": "members of the project, a card",
    "card_labels": "labels of the project, a card",
    "card_tags": WORK,
    "attachments": "files_per_card, project_file_bytes",
    "avatars": "one a user and a group, and those of the last day",
    "removed_files": "files whose row went; they follow within minutes",
    "card_comments": WORK,
    "time_entries": WORK,
    "card_checklist_items": "200 a card",
    "card_links": WORK,
    "card_history": WORK,
    "chat_messages": WORK,
    "message_reactions": WORK,
    "talk_grams": "one row a comment, message, topic and reply",
    "topics": WORK,
    "topic_replies": WORK,
    "conversations": WORK,
    "conversation_guests": "whoever was in a conversation, once; they go with it",
    "conversation_members": "100 a conversation",
    "conversation_messages": WORK,
    "mails": "a day: resets_per_address, and 200 invitations an hour and user; one a user in"
    " five minutes of notifications, and an administrator and backup",
    "mfa_challenges": "100 sign-ins in a quarter of an hour and address; 5 minutes",
    "recovery_codes": "10 a user",
    "password_resets": "one a minute and user; an hour",
    "notifications": "the 1,000 newest of a user; 90 days",
}

DAY_MS = 86_400_000
KEYS: dict[str, tuple[int | None, str]] = {
    "presence:run": (None, "one key"),
    "presence:leases": (DAY_MS, "one a channel with somebody in it in the last day"),
    "presence:counts": (DAY_MS, "the same"),
    "presence:since": (DAY_MS, "the same"),
    "presence:version": (DAY_MS, "the same"),
    "presence:turns": (DAY_MS, "one key; a process that begins takes out those that ended"),
    "limit": (3_600_000, "one a counted key within its window; its length is the limit"),
    "ticket": (30_000, "120 a minute and user"),
    "file-link": (60_000, "600 a minute and user"),
}
"""Kinds of keys in Redis: the milliseconds after which one goes unless it is used, None for one
that stays, and how many there may be. What only passes through, the bus, is no key.
"""


def kind_of(key: str) -> str | None:
    """The kind of a key, whatever prefix an installation gives it; None for none of ours."""
    parts = f"{key}:"
    return next((kind for kind in KEYS if f":{kind}:" in parts), None)
