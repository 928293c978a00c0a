"""Who was in what when, and what was said there: kept by PostgreSQL itself, beside the product.

`begin` puts triggers under the tables from which the product decides whom it tells. Each notes its
row under a number of its own, in the transaction that writes the row. What is written in one
conversation, or about one project's members, is written under that conversation's or project's
lock; so the numbers say what came first, also where the rows say it no longer.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

SCRIPT = """
create schema checked;
create table checked.journal (
    id bigint generated always as identity primary key,
    change text not null default pg_current_xact_id()::text,
    name text not null,
    done text not null,
    noted jsonb not null
);
create function checked.short(r jsonb) returns jsonb language sql immutable as $$
select case when r ? 'body' then r || jsonb_build_object('body', left(r ->> 'body', 200)) else r end
$$;
create function checked.note() returns trigger language plpgsql as $$
begin
    insert into checked.journal (name, done, noted) values (
        tg_table_name, lower(tg_op),
        checked.short(to_jsonb(case when tg_op = 'DELETE' then old else new end))
    );
    return null;
end
$$;
"""
TABLES = {
    "project_members": "insert or delete",
    "conversation_members": "insert or delete",
    "notifications": "insert or update of read_at or delete",
    "conversation_messages": "insert or update of is_deleted",
    "chat_messages": "insert",
    "card_comments": "insert",
    "topics": "insert",
    "topic_replies": "insert",
}
PROJECT, CONVERSATION = "project", "conversation"

Json = dict[str, Any]


class Row(NamedTuple):
    """One row as it was written: `at` is its number, `change` the transaction's, `done` what was
    done to it. Of a long text `row` has the first 200 characters.
    """

    at: int
    change: str
    name: str
    done: str
    row: Json


async def begin(connection: Any) -> None:
    """Keep a journal from now on. The rows that are there come first, as if nobody ever left.
    `connection` is asyncpg's.
    """
    async with connection.transaction():
        names = ", ".join(TABLES)
        await connection.execute(f"{SCRIPT}; lock table {names} in share row exclusive mode")
        for name, done in TABLES.items():
            await connection.execute(
                "insert into checked.journal (name, done, noted)"
                f" select '{name}', 'insert', checked.short(to_jsonb(t)) from {name} t;"
                f"create trigger checked_note after {done} on {name}"
                " for each row execute function checked.note()"
            )


async def read(connection: Any) -> Journal:
    """All that was noted so far."""
    journal = Journal()
    rows = await connection.fetch("select * from checked.journal order by id")
    for row in rows:
        journal.take(
            Row(row["id"], row["change"], row["name"], row["done"], orjson.loads(row["noted"]))
        )
    for user in await connection.fetch(
        "select id, lower(username) as name, global_role from users"
    ):
        journal.people[user["name"]] = user["id"]
        if user["global_role"] == "admin":
            journal.admins.add(user["id"])
    return journal


@dataclass
class Journal:
    """The rows in their order, and who was in what.

    spans    of a kind (project or conversation), an id and a user: [from, to] in numbers of the
             journal, the last one open where somebody is in it still
    """

    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    spans: dict[tuple[str, int, int], list[list[float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    joins: dict[tuple[str, int], list[tuple[int, str, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """When who came into it, and in which transaction."""
    leaves: dict[tuple[str, int], list[tuple[int, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    people: dict[str, int] = field(default_factory=dict)
    admins: set[int] = field(default_factory=set)

    def take(self, row: Row) -> None:
        self.rows[row.name].append(row)
        kind, _, what = row.name.partition("_")
        if what != "members":
            return
        place, user_id = (kind, row.row[f"{kind}_id"]), row.row["user_id"]
        spans = self.spans[*place, user_id]
        if row.done == "insert":
            spans.append([row.at, float("inf")])
            self.joins[place].append((row.at, row.change, user_id))
        else:
            spans[-1][1] = row.at
            self.leaves[place].append((row.at, user_id))

    def sees(self, kind: str, id: int, user_id: int, at: float) -> bool:
        """Whether somebody may see this at that moment. An administrator sees each project, and no
        conversation of others.
        """
        if kind == PROJECT and user_id in self.admins:
            return True
        return any(start < at < end for start, end in self.spans.get((kind, id, user_id), ()))

    def stays(self, kind: str, id: int, user_id: int, at: float) -> bool:
        """Whether they may, and could ever since."""
        if kind == PROJECT and user_id in self.admins:
            return True
        spans = self.spans.get((kind, id, user_id), ())
        return any(start < at and end == float("inf") for start, end in spans)

    def since(self, kind: str, id: int, user_id: int) -> float:
        """When somebody who is in it came the last time."""
        return self.spans[kind, id, user_id][-1][0]

    def within(self, kind: str, id: int, at: float) -> set[int]:
        """Who was in it at that moment."""
        return {
            user
            for user in {user for _, _, user in self.joins[kind, id]}
            if any(start < at < end for start, end in self.spans[kind, id, user])
        }
