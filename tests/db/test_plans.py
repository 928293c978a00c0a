"""Every list keeps its plan when tables are full: a page costs what it shows, not what there is.

Two databases hold the same company, after a week and after years: 10,000 and 1,000,000 messages,
events, cards and facts. PostgreSQL says how it answers each query in both, with a plan for the
values and with the plan that a connection keeps after some calls, and how many of its buffers that
took. The first project has half of all messages and events; a tenth of all cards were once in the
third, and are deleted.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta
from typing import Any, NamedTuple

import asyncpg
import pytest

from tests.conftest import Servers
from warmdesk.bounds import TABLES
from warmdesk.db.queries import sql
from warmdesk.realtime.events import CHAT_MESSAGE_DELETED

SMALL, LARGE = 10_000, 1_000_000
QUERIES = {query.name: query for query in sql}
FEW = {
    "api_keys",
    "avatars",
    "backup_state",
    "calendars",
    "columns",
    "favorite_users",
    "feeds",
    "install",
    "invitations",
    "labels",
    "mfa_challenges",
    "outgoing_deliveries",
    "outgoing_webhooks",
    "project_guests",
    "project_members",
    "project_readers",
    "project_webhooks",
    "projects",
    "recovery_codes",
    "refresh_tokens",
    "schema_migrations",
    "secret_prints",
    "sessions",
    "shows_users",
    "starred_projects",
    "system_settings",
    "turns",
    "users",
    "webhook_bodies",
}
"""Tables that do not grow as long as people work: there are 10,000 accounts and 1,000 projects."""
BIG = set(TABLES) - FEW
"""All others: the companies must have many rows of each, and no page reads them from end to end."""
CALLS = 6
"""After five calls PostgreSQL may keep one plan for all values."""
CHANGES = re.compile(r"^\s*(insert|update|delete)\b|\b(insert into|delete from)\b", re.M)
BUFFERS_A_ROW = 30
"""A row's own and those of what hangs on it: each is found by an index of three levels."""
MOST_COST = 10_000
"""In PostgreSQL's own units. To read all cards from the first to the last costs 45,000."""

PEOPLE = """
    insert into users (email, username, password_hash, display_name)
    select 'u' || n || '@example.org', 'user' || n, 'x', 'Person ' || n
    from generate_series(1, $users) as n;
    insert into sessions (id, user_id, expires_at)
    select md5(n::text)::uuid, 1 + n % $users, now() + interval '1 day'
    from generate_series(1, 2 * $users) as n;
    insert into refresh_tokens (token_hash, session_id, expires_at)
    select 'token' || n, md5(n::text)::uuid, now() from generate_series(1, 2 * $users) as n;
    insert into api_keys (user_id, name, key_hash, key_prefix)
    select n, 'key', 'key' || n, 'wd_' from generate_series(1, $users) as n;
    insert into login_events (user_id, event, ip)
    select 1 + n % $users, 'login_ok', '10.0.0.' || n % 250 from generate_series(1, $n / 5) as n;
    insert into audit (actor_id, action, target_type)
    select 1 + n % $users, 'member.' || n % 3, 'project' from generate_series(1, $n / 10) as n;
    insert into idempotency_keys (user_id, path, key, body_hash, status, answer, about)
    select
        1 + n % $users, 'path', 'key' || n, 'x', 201, '{}',
        array['project:' || 1 + n % $projects || ' message:' || n]
    from generate_series(1, $n / 10) as n;
    insert into projects (name, slug, key_prefix, created_by_id)
    select 'Project ' || n, 'project-' || n, 'P' || n, 1 from generate_series(1, $projects) as n;
    insert into invitations (expires_at, project_id, role, inviter_id, salt, token_hash)
    select
        now() + (n % 5 - 2) * interval '1 day', case when n > 100 then 1 + n % $projects end,
        case when n > 100 then 'member' else 'user' end, 1 + n % $users, gen_random_uuid(),
        'invitation' || n
    from generate_series(1, $users) as n;
    insert into project_members (project_id, user_id, role)
    select 1 + n % $projects, 1 + (n / $projects + n % $projects * 50) % $users, 'member'
    from generate_series(0, $projects * 50 - 1) as n;
    insert into project_readers (project_id, user_id)
    select project_id, user_id from project_members;
    insert into api_keys (user_id, project_id, name, key_hash, key_prefix, revoked_at, expires_at)
    select
        1 + n % $users, 1 + n % $projects, 'key', 'of a project' || n, 'wd_',
        case when n % 3 = 0 then now() - interval '1 day' end,
        case when n % 3 = 1 then now() + interval '1 day' end
    from generate_series(1, $users) as n;
    insert into starred_projects (user_id, project_id)
    select n, 1 + n % $projects from generate_series(1, $users) as n;
    insert into columns (project_id, name, position)
    select 1 + n / 4, 'Column', 1000 * (n % 4) from generate_series(0, 4 * $projects - 1) as n;
    insert into labels (project_id, name, color)
    select 1 + n / 4, 'Label ' || n % 4, 'red' from generate_series(0, 4 * $projects - 1) as n;
    insert into outgoing_webhooks
        (project_id, name, url, events, salt, created_by_id, done, epoch, holder)
    select n, 'Hook', 'https://example.org', '{*}', '\\x00', 1, 0, '', 'me'
    from generate_series(1, $projects) as n;
    insert into feeds (channel, seq)
    select 'project:' || n, case when n = 1 then $n / 2 else $n / 2 / $projects end
    from generate_series(1, $projects) as n;
    insert into feeds (channel, seq) select 'user:' || n, 0 from generate_series(1, $users) as n
"""
CARDS = """
    insert into cards (
        project_id, column_id, title, description, position, card_number, created_by_id,
        closed, deleted_at, archived_at, due_date
    )
    select
        1 + n % $projects, 4 * (n % $projects) + 1 + k % 4, 'Card ' || n, repeat('word ', 20), n,
        k + 1, 1, k % 5 = 0,
        case when k % 20 = 1 then now() - n * interval '1 second' end,
        case when k % 20 = 2 then now() end, '2026-04-04'::date + 2 * (k % 50)
    from (select n, n / $projects as k from generate_series(0, $n * 9 / 10 - 1) as n) as q;
    insert into cards (project_id, column_id, title, position, card_number, deleted_at)
    select 3, 9 + n % 4, 'Card ' || n, n, $n + n, now() - n * interval '1 second'
    from generate_series(1, $n / 10) as n;
    insert into card_grams (card_id, project_id, folded, grams)
    select
        id, project_id, true,
        case when project_id <= 2 then grams_of_card(c)
        else text_grams(project_id, lower(title) || chr(10) || lower(description)) end
    from cards as c where project_id <= 3 or id % 5 = 0;
    insert into card_assignees (card_id, user_id)
    select n, 1 + n / $projects % $users from generate_series(1, $n / 2) as n;
    insert into reminders (card_id, user_id, date, kind)
    select card_id, user_id, '2026-04-04'::date - (card_id % 400)::integer, 'day'
    from card_assignees;
    insert into card_labels (card_id, label_id)
    select n, 4 * ((n - 1) % $projects) + 1 + (n - 1) / $projects % 4
    from generate_series(1, $n / 2) as n;
    insert into card_watchers (card_id, user_id)
    select n, 1 + n / $projects % $users from generate_series(1, $n / 4) as n;
    insert into card_tags (card_id, name) select n, 'tag' from generate_series(1, $n / 4) as n;
    insert into card_key_aliases (key_prefix, card_number, card_id)
    select 'P' || 1 + n % $projects, $n + n, 1 + n * 7 % ($n * 9 / 10)
    from generate_series(1, $n / 10) as n;
    insert into card_comments (project_id, card_id, user_id, body, deleted_at)
    select
        1 + (c - 1) % $projects, c, 1 + n % $users, 'comment ' || n,
        case when n % 20 = 1 then now() end
    from (
        select n, case when n % 4 = 0 then 1 else 1 + n % ($n * 9 / 10) end as c
        from generate_series(1, $n) as n
    ) as q;
    insert into time_entries (user_id, project_id, card_id, comment_id, date, minutes)
    select 1 + n % $users, 1 + (n - 1) % $projects, n, n, '2026-04-04'::date - n % 500, 10
    from generate_series(1, $n / 4) as n;
    insert into card_checklist_items (card_id, body, position)
    select 1 + (n - 1) / 20 * 40 % ($n * 9 / 10), 'step ' || n, n
    from generate_series(1, $n / 2) as n;
    insert into card_links (
        card_id, platform, link_type, title, url, reference
    )
    select
        case when n % 4 = 0 then 1 else 1 + n % ($n * 9 / 10) end, 'other', 'link', 'link ' || n,
        'https://example.org', n
    from generate_series(1, $n / 2) as n;
    insert into attachments (
        project_id, card_id, owner_type, owner_id, uploader_id, filename, stored_name, mime_type,
        size_bytes, sha256
    )
    select
        1 + (c - 1) % $projects, c, 'card', c, 1 + n % $users, 'file ' || n, md5(n::text),
        'text/plain', 10, 'x'
    from (
        select n, case when n % 4 = 0 then 1 else 1 + n % ($n * 9 / 10) end as c
        from generate_series(1, $n / 2) as n
    ) as q;
    insert into attachments (
        created_at, project_id, uploader_id, filename, stored_name, mime_type, size_bytes, sha256
    )
    select
        now() - n * interval '1 minute', 1 + n % $projects, 1 + n % $users, 'file ' || n,
        md5('pending ' || n), 'text/plain', 10, 'x'
    from generate_series(1, $n / 10) as n;
    insert into removed_files (stored_name)
    select md5('removed ' || n) from generate_series(1, $n / 10) as n;
    update cards set comment_count = 9, checklist_total = 9, attachment_count = 9 where id = 1;
    insert into card_history (project_id, card_id, user_id, event_type)
    select 1 + (c - 1) % $projects, c, 1 + n % $users, 'update'
    from (
        select n, case when n % 100 = 0 then 1 else 1 + n % ($n * 9 / 10) end as c
        from generate_series(1, $n) as n
    ) as q
"""
TALK = """
    insert into chat_messages (project_id, user_id, body, is_deleted)
    select
        case when n % 2 = 0 then 1 else 1 + n / 2 % $projects end, 1 + n % $users,
        'message ' || n, n % 20 < 2
    from generate_series(1, $n) as n;
    insert into talk_grams (scope, id, grams)
    select talk_scope(2, project_id), id, scope_grams(talk_scope(2, project_id), spaced(body))
    from chat_messages where id % 50 = 0;
    insert into topics (project_id, user_id, title, body, is_pinned, deleted_at)
    select
        case when n % 2 = 0 then 1 else 1 + n / 2 % $projects end, 1 + n % $users, 'topic ' || n,
        repeat('word ', 20), n % 100 < 4, case when n % 20 > 17 then now() end
    from generate_series(1, $n / 10) as n;
    insert into topic_replies (project_id, topic_id, user_id, body, deleted_at)
    select
        case when t % 2 = 0 then 1 else 1 + t / 2 % $projects end, t, 1 + n % $users, 'reply ' || n,
        case when n % 20 < 2 then now() end
    from (
        select n, case when n % 4 = 0 then 1 else 1 + n % ($n / 10) end as t
        from generate_series(1, $n / 2) as n
    ) as q;
    insert into message_reactions (owner_type, owner_id, user_id, emoji)
    select 'chat_message', n * 4, 1 + n % $users, 'x' from generate_series(1, $n / 4) as n;
    insert into conversations (is_group, created_by_id, updated_at, emptied_at)
    select true, 1, now() - n * interval '1 second', case when n % 1000 = 0 then now() end
    from generate_series(1, $n / 10) as n;
    insert into conversation_members (conversation_id, user_id)
    select n, 1 + (n + k * $users / 2) % $users
    from generate_series(1, $n / 10) as n, generate_series(0, 1) as k;
    insert into conversation_members (conversation_id, user_id) values (1, 1);
    insert into conversation_guests (conversation_id, user_id)
    select n, 1 + (n + $users / 4) % $users from generate_series(1, $n / 10) as n;
    insert into conversation_messages (conversation_id, sender_id, body, is_deleted)
    select
        case when n % 2 = 0 then 1 else 1 + n / 2 % ($n / 10) end, 1 + n % $users,
        'message ' || n, n % 20 < 2
    from generate_series(1, $n) as n;
    insert into project_webhooks
        (project_id, name, type, token_hash, token_hint, created_by_id, deleted_at)
    select
        1 + n % $projects, 'hook ' || n, 'github', sha256(n::text::bytea), 'x', 1,
        case when n % 10 = 0 then now() end
    from generate_series(1, $projects * 10) as n;
    insert into webhook_deliveries (webhook_id, delivery_id, attempt, event, received_at, status)
    select
        case when n % 2 = 0 then 1 else 1 + n % ($projects * 10) end, n, n, 'push',
        now() - n * interval '1 minute', case when n % 100 = 0 then 400 else 200 end
    from generate_series(1, $n / 2) as n;
    insert into webhook_bodies (delivery_id, webhook_id, host, is_form, proofs, body)
    select id, webhook_id, 'github', false, '{}', 'x' from webhook_deliveries where status = 400;
    insert into notifications (
        user_id, kind, actor_id, project_id, card_id, comment_id, topic_id, reply_id,
        chat_message_id, conversation_id, conversation_message_id, read_at, wants_mail
    )
    select
        case when n <= 1000 then 1 else 1 + n % $users end, 'mention', 2,
        case when n % 5 <> 4 then 1 end, case when n % 5 < 2 then 1 + n % 100 end,
        case when n % 5 = 1 then 1 + n % 100 end, case when n % 5 = 2 then 1 + n % 100 end,
        case when n % 10 = 2 then 1 + n % 100 end, case when n % 5 = 3 then n end,
        case when n % 5 = 4 then 1 end, case when n % 5 = 4 then n end,
        case when n % 20 <> 0 then now() end, n % 100 = 0
    from generate_series(1, $n / 2) as n;
    insert into mails (kind, user_id, address)
    select 'password', 1 + n % $users, 'u' || n || '@example.org'
    from generate_series(1, $n / 10) as n;
    insert into password_resets (token_hash, user_id, expires_at)
    select md5(n::text), 1 + n % $users, now() + sign(n - $n / 1000) * interval '1 hour'
    from generate_series(1, $n / 10) as n;
    insert into events (channel, seq, type, payload, entity, created_at)
    select 'project:1', n, 'chat.message', repeat('x', 200), 'message:' || n, now()
    from generate_series(1, $n / 2) as n;
    insert into events (channel, seq, type, payload, entity, created_at)
    select 'project:' || p, n, 'chat.message', repeat('x', 200), 'message:' || n, now()
    from generate_series(2, $projects) as p, generate_series(1, $n / 2 / $projects) as n
"""
INDEXES = """
    select c.relname as name, pg_get_indexdef(i.indexrelid) as made
    from pg_index as i
    inner join pg_class as c on c.oid = i.indexrelid
    inner join pg_class as t on t.oid = i.indrelid
    where t.relname = any($1) and not i.indisunique
"""


class Case(NamedTuple):
    """A query with typical values, and how many rows its page may look at."""

    query: str
    rows: int
    values: dict[str, Any]
    note: str = ""


def cases(n: int) -> Iterator[Case]:
    """The same questions to a company with `n` messages."""
    page = {"before": None, "after": None, "around": None, "limit": 50, "bytes": 8 << 20}
    yield Case("doctor.newest_files", 20, {"limit": 20}, "newest")
    for project in (1, 2):
        here = {**page, "project_id": project}
        middle = n // 2
        yield Case("chat.page", 51, here, f"newest of {project}")
        yield Case("chat.page", 200, {**here, "limit": 200, "before": middle}, f"older {project}")
        yield Case("chat.page", 200, {**here, "limit": 200, "after": middle}, f"newer {project}")
        yield Case("chat.page", 200, {**here, "limit": 200, "around": middle}, f"around {project}")

    for project in (1, 2):
        topics = {"project_id": project, "after_pinned": None, "after_id": None, "limit": 100}
        yield Case("topics.page", 101, topics, f"first of {project}")
        unpinned = {"after_pinned": False, "after_id": n // 20}
        yield Case("topics.page", 101, {**topics, **unpinned}, f"later of {project}")
    topic = {"project_id": 1, "limit": 100, "bytes": 6 << 20}
    yield Case("topics.detail", 110, {**topic, "id": 1}, "with many replies")
    yield Case("topics.detail", 110, {**topic, "id": 2}, "with few replies")
    replies = {**topic, "topic_id": 1, "before": None, "after": None, "limit": 200}
    yield Case("replies.page", 201, replies, "oldest")
    yield Case("replies.page", 201, {**replies, "after": n // 4}, "after one")
    yield Case("replies.page", 201, {**replies, "before": n // 4}, "before one")

    favorites = {"reader": 1, "after": None, "limit": 100}
    yield Case("people.favorites", 101, favorites, "first")
    yield Case("people.favorites", 101, {**favorites, "after": 7}, "later")
    near: dict[str, Any] = {"ids": list(range(1, 1001)), "reader": 1, "limit": 500}
    yield Case("people.near", 1200, {**near, "everybody": False}, "near")
    yield Case("people.near", 1200, {**near, "everybody": True}, "everybody")
    named: dict[str, Any] = {"ids": list(range(1, 101)), "reader": 1}
    yield Case("people.refs", 1000, {**named, "everybody": False}, "seen")
    yield Case("people.refs", 101, {**named, "everybody": True}, "everybody")

    for q, rows in (("nowhere", 60), ("message 100", 2000), ("me", 2000), ("P1-7", 60)):
        find = {"q": q, "reader": 1, "limit": 20}
        for kind in (0, 2):
            yield Case("search.find", rows, {**find, "kinds": [kind]}, f"{q} of {kind}")
        yield Case("search.find", 2 * rows, {**find, "kinds": list(range(6))}, f"{q} of all")

    channel = {"channel": "project:1", "limit": 200}
    yield Case("feeds.after", 200, {**channel, "since": n // 4}, "far behind")
    yield Case("feeds.after", 5, {**channel, "since": n // 2 - 5}, "five behind")
    yield Case("feeds.heads", 10, {"channels": [f"project:{k}" for k in range(1, 11)]})
    for conversation, reader in ((1, 1), (2, 3)):
        there = {**page, "id": conversation, "reader": reader}
        middle, note = n // 2, f"of {conversation}"
        yield Case("conversations.messages", 51, there, f"newest {note}")
        older = {**there, "limit": 200, "before": middle}
        yield Case("conversations.messages", 200, older, f"older {note}")
        newer = {**there, "limit": 200, "after": middle}
        yield Case("conversations.messages", 200, newer, f"newer {note}")
        around = {**there, "limit": 200, "around": middle}
        yield Case("conversations.messages", 200, around, f"around {note}")
    mine: dict[str, Any] = {
        "reader": 1,
        "before_us": None,
        "before_id": None,
        "limit": 50,
        "bytes": 8 << 20,
    }
    yield Case("conversations.page", 60, mine, "first")
    before = {"before_us": 1_000_000 * int(time.time()), "before_id": 1}
    yield Case("conversations.page", 60, {**mine, **before}, "later")
    unread = {"reader": 1, "channel": "user:1", "limit": 100}
    yield Case("conversations.unread", 60, unread)
    yield Case("conversations.partners", 60, {"user_id": 1, "limit": 30_001})
    bell: dict[str, Any] = {"reader": 1, "before": None, "unread": False, "limit": 100}
    yield Case("notifications.page", 151, bell, "newest")
    yield Case("notifications.page", 151, {**bell, "before": n // 4}, "later")
    yield Case("notifications.page", 151, {**bell, "unread": True}, "unread")
    time_of = {"reader": 1, "user_id": 2, "since": None, "until": None, "project_id": None}
    time_of |= {"card": None, "before_date": None, "before_id": None, "limit": 100}
    yield Case("time_entries.page", 101, time_of, "newest")
    yield Case(
        "time_entries.page",
        101,
        {**time_of, "before_date": date(2026, 1, 1), "before_id": n // 8},
        "later",
    )
    yield Case("time_entries.page", 101, {**time_of, "until": date(2025, 6, 1)}, "of some days")
    yield Case("time_entries.page", 101, {**time_of, "card": "P1-1"}, "of a card")
    told: dict[str, Any] = {"reader": 2, "everybody": False, "managed": [1, 2], "people": None}
    told |= {"project_id": None, "since": date(2026, 1, 1), "until": date(2026, 2, 1)}
    for note, more in (
        ("of a month", {}),
        ("of a project", {"project_id": 1}),
        ("of a person", {"people": [7]}),
    ):
        yield Case("reports.cards", 3000, {**told, **more, "seen": [1]}, note)
        yield Case("reports.users", 3000, {**told, **more}, note)
        yield Case("reports.entries", 3000, {**told, **more, "seen": [1]}, note)
        for group_by in ("project", "card", "week"):
            groups = {**told, **more, "seen": [1], "group_by": group_by}
            yield Case("reports.groups", 3000, groups, f"{note} by {group_by}")
    yield Case("calendars.cards", 300, {"user_id": 7, "limit": 1000})
    due: dict[str, Any] = {"moment": "2026-04-04 09:00Z", "limit": 200, "after_id": 0}
    due |= {"after_date": date(2026, 4, 3), "until": date(2026, 4, 6)}
    yield Case("reminders.due", 200, due, "of these days")
    yield Case("reminders.due", 200, {**due, "after_date": date(2026, 4, 5)}, "further on")
    never = {"after_date": date(2025, 4, 3), "until": date(2025, 4, 6)}
    yield Case("reminders.due", 1, {**due, **never}, "when nothing is due")
    yield Case("retention.reminders", 2000, {"batch": 1000})
    yield Case("retention.notifications", 4000, {"batch": 1000, "most": 1000})
    for table in ("conversation_messages", "conversations"):
        yield Case(f"retention.{table}", 2000, {"batch": 1000})
    yield Case("mail.wanting", 1000, {"burst": "0 s", "oldest": "1 day", "limit": 1000})
    yield Case("mail.requeue", 2000, {"limit": 1000})
    yield Case("mail.forget_wishes", 2000, {"oldest": "0 s", "batch": 1000})
    lines = {"actor_id": None, "action": None, "before": None, "limit": 100}
    yield Case("audit.page", 150, lines, "newest")
    yield Case("audit.page", 250, {**lines, "before": n // 20, "actor_id": 7}, "somebody's, older")
    yield Case("audit.page", 250, {**lines, "action": "member.added"}, "of a kind")
    logins = {"user_id": 7, "before": None, "limit": 100}
    yield Case("users.login_history", 150, logins, "newest")
    yield Case("users.login_history", 150, {**logins, "before": n // 10}, "older")
    for place in (1, None):
        invited = {"project_id": place, "before": None, "limit": 100}
        yield Case("invitations.page", 500, invited, f"to {place}")
        yield Case("invitations.exceeds", 1500, {"project_id": place, "most": 1000}, f"of {place}")
    yield Case("purges.forget_project", 50, {"actor": 1, "project_id": 999_999})
    yield Case("purges.projects", 100, {})
    yield Case("purges.memberships", 100, {"user_id": 7})
    yield Case("purges.users", 100, {"after": "10 seconds"})
    for each in ("own_events", "own_answers"):
        yield Case(f"purges.{each}", 6000, {"user_id": 7, "most": 750})
    batch = {"user_id": 7, "most": 750}
    yield Case("purges.rename_in_events", 6000, {**batch, "channel": "project:2", "seq": 5})
    answers = {"owner": 7, "path": "", "key": ""}
    yield Case("purges.rename_in_answers", 6000, {**batch, **answers})
    yield Case("mfa.sealed", 50, {"after": 0, "limit": 500})
    for table in ("audit", "invitations", "mfa_challenges"):
        yield Case(f"retention.{table}", 2000, {"batch": 1000})
    for table in (
        *("api_keys", "attachments", "avatars", "idempotency_keys", "mails"),
        *("password_resets", "refresh_tokens", "sessions"),
    ):
        yield Case(f"retention.{table}", 2000, {"batch": 1000})
    for table in ("webhook_deliveries", "webhooks"):
        yield Case(f"retention.{table}", 2000, {"batch": 1000})
    yield Case("webhooks.all", 20, {"project_id": 1})
    yield Case("webhooks.count", 20, {"project_id": 1})
    for hook, project in ((1, 2), (7, 8)):
        deliveries = {"id": hook, "project_id": project}
        yield Case("webhooks.deliveries", 60, deliveries, f"of {hook}")
    yield Case("retention.login_events", 2000, {"batch": 1000, "most": 1000})
    yield Case("feeds.oldest_due", 11_000, {"age": "7 days", "batch": 1000})

    card = {"card": "1", "limit": 100, "project_id": 1}
    facts = {**card, "before": None, "after": None}
    yield Case("cards.history", 100, facts, "newest")
    yield Case("cards.history", 100, {**facts, "before": n // 2}, "older")
    yield Case("cards.history", 100, {**facts, "after": n // 2}, "newer")
    for project in (1, 2):
        activity = {"project_id": project, "before": None, "limit": 100, "reach": 5000}
        yield Case("cards.activity", 120, activity, f"newest of {project}")
        yield Case("cards.activity", 120, {**activity, "before": n // 2}, f"older of {project}")
    parts = ["attachments", "checklist", "comments", "history", "links"]
    shown = {"reader": 1, "card": "1", "project_id": 1, "parts": parts}
    yield Case("cards.detail", 250, shown, "by id")
    talk = {**card, "before": None, "after": None, "bytes": 8 << 20}
    yield Case("comments.page", 101, talk, "oldest")
    yield Case("comments.page", 101, {**talk, "after": n // 2}, "after one")
    yield Case("comments.page", 101, {**talk, "before": n // 2}, "before one")
    yield Case("attachments.page", 101, {**card, "before": None}, "newest")
    yield Case("attachments.page", 101, {**card, "before": n // 4}, "older")
    yield Case("attachments.removed", 100, {"limit": 100})
    yield Case("links.page", 101, {**card, "before": None}, "newest")
    yield Case("links.page", 101, {**card, "before": n // 4}, "older")
    by_key = {"reader": 1, "card": "P2-7", "project_id": 2, "parts": parts[:3]}
    yield Case("cards.detail", 10, by_key, "by key")
    moved = {**by_key, "card": f"P2-{n + 1}", "project_id": 1 + 7 % (n // 1000)}
    yield Case("cards.detail", 10, moved, "by a key of before")
    for project in (1, 2, 3):
        column = 4 * project - 3
        shown = {
            "include_archived": False,
            "include_closed": True,
            "after_id": None,
            "after_position": None,
            "after_version": None,
            "after_card_id": None,
            "brief": False,
            "limit": 100,
            "bytes": 8 << 20,
            "column_id": column,
            "project_id": project,
        }
        yield Case("cards.in_column", 225, shown, f"first of {project}")
        after = {"after_id": n // 4, "after_position": float(n // 4), "after_version": 1}
        yield Case("cards.in_column", 225, {**shown, **after}, f"later of {project}")
        behind = {**shown, "after_card_id": n // 4}
        yield Case("cards.in_column", 225, behind, f"behind one of {project}")
        yield Case("cards.in_column", 225, {**shown, "brief": True}, f"brief of {project}")
        every = {
            "project_id": project,
            "after_id": None,
            "include_archived": False,
            "only_archived": False,
            "column_id": None,
            "closed": None,
            "due_before": None,
            "assignee": None,
            "label": None,
            "limit": 100,
            "bytes": 8 << 20,
        }
        for name, value, rows in (
            ("limit", 100, 101),
            ("after_id", n // 4, 101),
            ("include_archived", True, 101),
            ("column_id", column, 225),
            ("assignee", 7, 900),
            ("label", "Label 1", 900),
            ("due_before", "2020-01-01", 900),
        ):
            word = value if isinstance(value, str) else ""
            note = " ".join(f"{name} {word} of {project}".split())
            yield Case("cards.in_project", rows, {**every, name: value}, note)
        search = {**every, "search_bytes": 16 << 20, "search_cards": 2_000}
        for q, rows in ((f"P{project}-8", 20), ("nowhere", 20), ("word word", 900), ("wo", 900)):
            yield Case("cards.search", rows, {**search, "q": q}, f"for {q} in {project}")
        deleted = {"project_id": project, "before_id": None, "before_us": None, "limit": 100}
        deleted["bytes"] = 8 << 20
        yield Case("cards.deleted", 101, deleted, f"last of {project}")
        for sort in ("updated", "created", "position"):
            ordered = {**every, "sort": sort, "first": None, "second": None, "third": None}
            yield Case("cards.sorted", 1100, ordered, f"by {sort} of {project}")
        board = {"project_id": project, "most": 500, "cards": True, "labels": True}
        board |= {"members": True, "columns": True, "bytes": 8 << 20, "most_members": 500}
        asked = {**board, "cards_bound": "of {column_id}", "messages": 0}
        for brief in (False, True):
            note = "brief " * brief + f"of {project}"
            yield Case("projects.board", 900, {**asked, "brief": brief}, note)
        talk = {**asked, "brief": False, "messages": 50}
        yield Case("projects.board", 951, talk, f"of {project} with its talk")
        yield Case("columns.all", 10, {"project_id": project}, f"of {project}")
        yield Case("projects.one", 10, {"project_id": project}, f"{project}")
        members = {"emails": True, "project_id": project, "after": None, "limit": 20, "q": ""}
        yield Case("members.page", 21, members, f"of {project}")
        yield Case("members.page", 21, {**members, "after": 7}, f"later of {project}")
        yield Case("members.ids", 60, {"project_id": project, "limit": 30_001}, f"of {project}")
        yield Case("members.page", 60, {**members, "q": "Person 1"}, f"found in {project}")
        others = {"project_id": project, "user_id": 1}
        yield Case("members.other_owner", 50, others, f"of {project}")
        yield Case("labels.all", 10, {"project_id": project}, f"of {project}")
        yield Case("labels.count", 10, {"project_id": project}, f"of {project}")
        yield Case("outgoing.all", 20, {"project_id": project}, f"of {project}")
        yield Case("outgoing.count", 20, {"project_id": project}, f"of {project}")
        yield Case("outgoing.next", 500, {"id": project, "holder": "me"}, f"of {project}")
    yield Case("cards.watchers", 10, {"id": 7})
    yield Case("columns.one", 225, {"column_id": 1})
    mark = {"channel": "project:1", "project_id": 1, "user_id": 1, "role": "member"}
    yield Case("projects.board_mark", 3, mark)
    projects = {
        "global_role": "user",
        "user_id": 1,
        "mine": False,
        "starred_only": False,
        "include_archived": False,
        "q": "",
        "by_activity": False,
        "after_name": None,
        "after_us": None,
        "after_id": None,
        "limit": 50,
    }
    yield Case("projects.page", 51, projects, "mine")
    later = {"after_name": "project 1", "after_us": 0, "after_id": 1}
    yield Case("projects.page", 51, {**projects, **later}, "mine, later")
    active = {**projects, "by_activity": True}
    yield Case("projects.page", 51, active, "mine, by activity")
    later = {"after_name": "", "after_us": 1_000_000 * int(time.time()), "after_id": 1}
    yield Case("projects.page", 51, {**active, **later}, "mine, later by activity")
    yield Case("projects.page", 51, {**projects, "starred_only": True, "q": "p"}, "starred")
    yield Case("projects.memberships", 200, {"users": [1, 2, 3]})
    pairs = {"users": [1, 2, 1], "projects": [1, 1, 2]}
    yield Case("projects.activity", 20_000, pairs, "of two projects")
    everything = {**projects, "global_role": "admin"}
    yield Case("projects.page", 1000, everything, "an administrator's")

    accounts = {
        "before": None,
        "include_deleted": False,
        "role": None,
        "active": None,
        "q": "",
        "limit": 100,
    }
    yield Case("users.list", 101, accounts, "first")
    yield Case("users.list", 101, {**accounts, "before": 500, "active": True}, "later")
    yield Case("users.shown_in", 10, {"user_id": 1, "limit": 30_001})
    sockets: dict[str, Any] = {
        "users": [7] * 200,
        "projects": [2] * 200,
        "keys": list(range(1, 201)),
    }
    sockets["sessions"] = ["c4ca4238-a0b9-2382-0dcc-509a6f75849b"] * 200
    yield Case("sockets.refused", 200, sockets)
    yield Case("sockets.people", 200, {"ids": list(range(1, 201))})
    sessions = {"user_id": 7, "before": None, "limit": 50, "current": None}
    yield Case("auth.list_sessions", 51, sessions)
    for note, place in (("own", None), ("of a project", 7)):
        keys = {"user_id": 7, "project_id": place}
        yield Case("keys.page", 51, {**keys, "before": None, "limit": 50}, note)
        yield Case("keys.page", 51, {**keys, "before": 60, "limit": 50}, f"{note}, later")
        yield Case("keys.exceed", 51, {**keys, "most": 100}, note)
    came = {"ip": "10.0.0.7", "near": "10.0.0.7", "recent": timedelta(days=30)}
    yield Case("auth.by_login", 3, {**came, "login": "user77"}, "name")
    yield Case("auth.by_login", 3, {**came, "login": "u77@example.org"}, "address")
    yield Case("auth.by_login", 3, {**came, "login": "nobody"}, "nobody")
    yield Case("auth.sessions_beyond", 100, {"user_id": 7, "most": 100})
    login = {"user_id": None, "username": None, "email": None, "login": "user77"}
    yield Case("members.find_user", 3, login)
    doors = {"users": list(range(1, 201)), "slugs": ["project-1"] * 200}
    yield Case("access.projects_of", 200, doors)
    held = {"users": sockets["users"], "sessions": sockets["sessions"]}
    yield Case("auth.session_holders", 200, held)
    yield Case("auth.key_owner", 2, {"key_hash": "key7", "key_id": None}, "by hash")
    yield Case("auth.key_owner", 2, {"key_hash": None, "key_id": 7}, "by id")
    yield Case("auth.session_of_token", 2, {"token_hash": "token77"})
    yield Case("auth.known_token", 2, {"token_hash": "token77"})
    yield Case("once.use", 50, {"actor": 7})
    yield Case("once.is_known", 1, {"actor": 7, "path": "path", "key": "key7"})
    yield Case("metrics.active", 1000, {"most": 500})


@pytest.fixture(scope="module")
async def companies(
    servers: Servers, keeper: Any, empty_template: str
) -> AsyncIterator[dict[int, Any]]:
    """A connection to each database, set as the program sets its own."""
    connections = {}
    for n in (SMALL, LARGE):
        await keeper.execute(f"create database company{n} template {empty_template}")
        connections[n] = await _company(servers.dsn(f"company{n}"), n)
    yield connections
    for n, connection in connections.items():
        await connection.close()
        await keeper.execute(f"drop database company{n} with (force)")


async def _company(dsn: str, n: int) -> Any:
    connect = {"dsn": dsn, "server_settings": {"jit": "off"}}
    connection = await asyncpg.connect(**connect)
    # Indexes are made afterwards: one by one each row would cost a multiple.
    indexes = await connection.fetch(INDEXES, list(BIG))
    for index in indexes:
        await connection.execute(f"drop index {index['name']}")
    values = {
        "$n": str(n),
        "$projects": str(n // 1000),
        "$users": str(min(10_000, n // 10)),
    }
    await _fill(connect, PEOPLE, values)
    await asyncio.gather(_fill(connect, CARDS, values), _fill(connect, TALK, values))
    await asyncio.gather(
        *(_make(connect, [index["made"] for index in indexes][part::2]) for part in (0, 1))
    )
    await connection.execute("vacuum (freeze, analyze)")
    return connection


async def _fill(connect: dict[str, Any], text: str, values: dict[str, str]) -> None:
    """Without the checks of foreign keys: they would cost more than the rows."""
    connection = await asyncpg.connect(**connect)
    for name, value in values.items():
        text = text.replace(name, value)
    await connection.execute("set session_replication_role = replica")
    await connection.execute(text)
    await connection.close()


async def _make(connect: dict[str, Any], statements: list[str]) -> None:
    connection = await asyncpg.connect(**connect)
    await connection.execute("set maintenance_work_mem = '256MB'")
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


class Plan:
    """How PostgreSQL answered: its plan's nodes, and what they did."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.nodes = list(_nodes(plan))
        self.cost = float(plan["Total Cost"])
        self.buffers = int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    @property
    def scanned(self) -> set[str]:
        """Tables that were read from their beginning to their end."""
        return {node["Relation Name"] for node in self.nodes if node["Node Type"] == "Seq Scan"}

    @property
    def sorted(self) -> int:
        """The most rows that one sort was given."""
        sorts = [node for node in self.nodes if node["Node Type"].endswith("Sort")]
        return round(max((_rows(part) for node in sorts for part in node["Plans"]), default=0))

    @property
    def passed_over(self) -> int:
        """The most rows of a table that one node read in vain."""
        return max(map(_removed, self.nodes))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _rows(node: dict[str, Any]) -> float:
    return float(node["Actual Rows"] * node["Actual Loops"])


def _removed(node: dict[str, Any]) -> int:
    removed: float = node.get("Rows Removed by Filter", 0) * node["Actual Loops"]
    return round(removed)


async def explain(connection: Any, case: Case, *, calls: int) -> Plan:
    """Run it so many times, then say how. What it changes is undone."""
    query = QUERIES[case.query]
    values = ", ".join(_literal(case.values[name]) for name in query.names)
    call = f"execute question({values})" if values else "execute question"
    undone = connection.transaction()
    await connection.execute(f"prepare question as {query.statement}")
    await undone.start()
    try:
        for _ in range(calls):
            await connection.execute(call)
        said = await connection.fetchval(f"explain (analyze, buffers, format json) {call}")
    finally:
        await undone.rollback()
        await connection.execute("deallocate question")
    return Plan(json.loads(said)[0]["Plan"])


def _literal(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return f"array[{', '.join(map(_literal, value))}]"
    return f"'{value}'"


@pytest.mark.timeout(240)
async def test_a_page_costs_what_it_shows(companies: dict[int, Any]) -> None:
    """One test for all: the companies are made once, and not again on every core."""
    complaints = [
        f"the large company has few rows of {table}: a page of nothing always costs what it shows"
        for table in sorted(BIG)
        if await companies[LARGE].fetchval(f"select count(*) from {table}") < SMALL
    ]
    pairs = list(zip(cases(SMALL), cases(LARGE), strict=True))
    # What is undone leaves rows behind that others would pass over: it comes last.
    pairs.sort(key=lambda pair: bool(CHANGES.search(QUERIES[pair[0].query].statement)))
    for before, case in pairs:
        for calls in (0, CALLS):
            small = await explain(companies[SMALL], before, calls=calls)
            large = await explain(companies[LARGE], case, calls=calls)
            wrong = _wrong(case, small, large, kept=calls == CALLS)
            complaints += [f"{case.query} {case.note}, after {calls} calls: {w}" for w in wrong]
    assert not complaints, "\n".join(complaints)


def _wrong(case: Case, small: Plan, large: Plan, *, kept: bool) -> Iterator[str]:
    """What is not as it should be, in words."""
    if large.scanned & BIG:
        yield f"reads all of {large.scanned & BIG}"
    if large.sorted > case.rows:
        yield f"sorts {large.sorted} rows for {case.rows}"
    if large.passed_over > 1.3 * small.passed_over + case.rows:
        yield f"passes over {large.passed_over} rows, and {small.passed_over} where there are few"
    if large.buffers > 1.3 * small.buffers + BUFFERS_A_ROW * case.rows:
        yield f"reads {large.buffers} buffers, and {small.buffers} where there are few"
    if kept and large.cost > MOST_COST:
        yield f"is planned to cost {large.cost:.0f}"


async def test_a_deletion_looks_only_at_what_was_told_and_answered_of_it(
    companies: dict[int, Any],
) -> None:
    deleted = {
        "channels": ["project:1"],
        "types": [CHAT_MESSAGE_DELETED.name],
        "entities": ["message:1000"],
        "payloads": ["{}"],
        "actor": 1,
        "client": None,
    }
    case = Case("feeds.record", 3, deleted)
    small, large = [await explain(companies[n], case, calls=CALLS) for n in (SMALL, LARGE)]
    assert large.buffers < 1.3 * small.buffers + 3 * BUFFERS_A_ROW


OTHERS = {
    "as many rows as they change: a column's cards, a member's cards, a label's cards": """
        columns.lock_all columns.places labels.take_off members.unassign members.unwatch""",
    "read a table of some dozens of rows, whole": "settings.all",
    "count or check everything, by intent": """
        projects.counts projects.digest metrics.cards metrics.columns metrics.projects
        metrics.tables metrics.users server.faults""",
    "look at every outgoing webhook: there are at most 20 a project": """
        outgoing.claim outgoing.waiting""",
    "look at every account for a part of its name": "users.search",
}
"""What is neither a list nor finds its rows by a key, by reason."""


def test_every_query_is_a_case_or_has_a_reason() -> None:
    others = [name for names in OTHERS.values() for name in names.split()]
    others += [query.name for query in sql if query.by_key and "limit" not in query.names]
    asked = {case.query for case in cases(LARGE)}

    assert len(others) == len(set(others))
    assert asked | set(others) == QUERIES.keys()
    assert not asked & set(others)
