"""Making the demo: the team's accounts, their project, and all that they have written so far."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple

from PIL import Image, ImageDraw

from warmdesk.auth import passwords
from warmdesk.changes import accounts
from warmdesk.changes.audit import audit
from warmdesk.client import Client
from warmdesk.db.queries import sql
from warmdesk.demo import Story, address, username
from warmdesk.demo.inside import Inside
from warmdesk.realtime.change import Change, ChangeContext

BOUNDARY = "warmdesk-demo"
STAGES = ("Backlog", "In Progress", "Review", "Done")

Tell = Callable[[int, str], None]


class Project(NamedTuple):
    """Where the demo is, and whose."""

    slug: str
    owner: int


@dataclass(slots=True)
class Team:
    """The people of the story by their keys: accounts, and clients that act for them."""

    inside: Inside
    story: Story
    ids: dict[str, int] = field(default_factory=dict)
    clients: dict[str, Client] = field(default_factory=dict)

    async def sign_in(self, closing: AsyncExitStack) -> None:
        """Each of them, until `closing`."""
        for key, user_id in self.ids.items():
            client = self.inside.signed_in(user_id)
            self.clients[key] = await closing.enter_async_context(client)


def steps(story: Story) -> int:
    """How many steps making it has."""
    parts = (story[name] for name in ("people", "cards", "topics", "hours"))
    return sum(map(len, parts)) + len(story["chat"]["lines"])


async def found(inside: Inside, story: Story) -> Project | None:
    """The demo that is there already and not archived."""
    owner = await inside.account(address(story["people"][0]))
    if owner is None:
        return None
    async with inside.signed_in(owner) as client:
        async for project in client.items("/projects?mine=true"):
            if project["name"] == story["project"]["name"] and project["my_role"] == "owner":
                return Project(project["slug"], owner)
    return None


async def people_of(inside: Inside, story: Story) -> dict[str, int]:
    """The accounts of the story's people that there are, by their keys."""
    ids = {each["key"]: await inside.account(address(each)) for each in story["people"]}
    return {key: user_id for key, user_id in ids.items() if user_id is not None}


async def make_people(inside: Inside, story: Story, password: str) -> tuple[dict[str, int], bool]:
    """Their accounts, with this password; those that there are get it too, and their sessions end.
    Gives the ids, and whether the first became the installation's administrator.
    """
    password_hash = await passwords.hash_password(password)
    known = await people_of(inside, story)
    is_first = False

    async def work(change: Change) -> dict[str, int]:
        nonlocal is_first
        await sql.auth.lock_admins(change.connection)
        is_first = bool(await sql.auth.nobody_yet(change.connection))
        ids: dict[str, int] = {}
        for person in story["people"]:
            if (user_id := known.get(person["key"])) is not None:
                await _renew(change, user_id, password_hash, inside)
            else:
                user_id = await _create(
                    change, person, password_hash, inside, admin=is_first and not ids
                )
            ids[person["key"]] = user_id
        return ids

    return await inside.desk.changes.run(ChangeContext(None), work), is_first


async def _create(
    change: Change, person: Story, password_hash: str, inside: Inside, *, admin: bool
) -> int:
    first_name, last_name = person["name"]
    row = await accounts.create(
        change,
        inside.desk.system.values,
        inside.origin,
        email=address(person),
        username=username(person),
        password_hash=password_hash,
        first_name=first_name,
        last_name=last_name,
        global_role="admin" if admin else "user",
    )
    user_id: int = row["id"]
    return user_id


async def _renew(change: Change, user_id: int, password_hash: str, inside: Inside) -> None:
    before = await sql.users.lock(change.connection, user_id=user_id)
    await accounts.rewrite(change, before, {}, new_hash=password_hash)
    await accounts.end_sessions(change, user_id)
    await accounts.note_login(change, "password_reset", inside.origin, user_id=user_id)
    await audit(change, "user.password_reset", user_id)


async def make_project(team: Team, tell: Tell) -> str:
    """The project with all that is in it; gives its slug."""
    story, clients = team.story, team.clients
    owner = clients["nora"]
    for person in story["people"]:
        tell(1, "people")
        # Nobody reads what is sent there.
        await clients[person["key"]].put("/users/me", {"email_notifications": False})
    project = await owner.post("/projects", story["project"])
    place = f"/projects/{project['slug']}"
    for person in story["people"][1:]:
        member = {"user_id": team.ids[person["key"]], "role": person["role"]}
        await owner.post(f"{place}/members", member)
    columns = await _columns(owner, place, story)
    labels = await _labels(owner, place, story)
    cards = {}
    for card in story["cards"]:
        tell(1, "cards")
        cards[card["title"]] = await _card(team, place, card, columns, labels)
    await _chat(team, place, tell)
    for topic in story["topics"]:
        tell(1, "topics")
        await _topic(team, place, topic)
    for entry in story["hours"]:
        tell(1, "time")
        worked = {
            "minutes": entry["minutes"],
            "date": _day(entry["day"]),
            "description": entry["text"],
        }
        on = {"card_id": cards[entry["card"]]} if "card" in entry else {"project": project["slug"]}
        await clients[entry["who"]].post("/time-entries", worked | on)
    await _conversations(team)
    await owner.post(f"{place}/star")
    slug: str = project["slug"]
    return slug


def _day(days: int) -> str:
    """A day, counted from today."""
    return (date.today() + timedelta(days=days)).isoformat()  # noqa: DTZ011  the team's own day


async def _columns(owner: Client, place: str, story: Story) -> dict[str, int]:
    """The story's columns instead of the usual ones, which an administrator may have changed."""
    usual = await owner.get(f"{place}/columns")
    wanted = story["columns"]
    if [each["name"] for each in usual] == [each["name"] for each in wanted]:
        paths = [f"{place}/columns/{each['id']}" for each in usual]
        made = [await owner.put(*each) for each in zip(paths, wanted, strict=True)]
    else:
        made = [await owner.post(f"{place}/columns", column) for column in wanted]
        for each in usual:  # after that: a project keeps one at least
            await owner.delete(f"{place}/columns/{each['id']}")
    return {each["name"]: each["id"] for each in made}


async def _labels(owner: Client, place: str, story: Story) -> dict[str, int]:
    """The story's labels instead of the usual ones."""
    usual = {each["name"]: each for each in await owner.get(f"{place}/labels")}
    wanted = {each["name"] for each in story["labels"]}
    for name in usual.keys() - wanted:
        await owner.delete(f"{place}/labels/{usual[name]['id']}")
    ids = {}
    for label in story["labels"]:
        if label["name"] in usual:
            path = f"{place}/labels/{usual[label['name']]['id']}"
            made = await owner.put(path, label)
        else:
            made = await owner.post(f"{place}/labels", label)
        ids[label["name"]] = made["id"]
    return ids


async def _card(
    team: Team, place: str, card: Story, columns: dict[str, int], labels: dict[str, int]
) -> int:
    """A card, written by one, done by others, and moved to where it is: so it has a history."""
    clients = team.clients
    author = clients[card["by"]]
    fields = {
        "title": card["title"],
        "description": card.get("text", ""),
        "priority": card.get("priority", "none"),
        "label_ids": [labels[name] for name in card.get("labels", [])],
        "assignee_ids": [team.ids[key] for key in card["who"]],
    }
    if "due" in card:
        fields["due_date"] = _day(card["due"])
    made = await author.post(f"{place}/columns/{columns['Backlog']}/cards", fields)
    path = f"{place}/cards/{made['id']}"
    for text, is_done in card.get("steps", []):
        item = await author.post(f"{path}/checklist", {"body": text})
        if is_done:
            worker = clients[card["who"][0]] if card["who"] else author
            await worker.put(f"{path}/checklist/{item['id']}", {"is_completed": True})
    for stage in STAGES[1 : STAGES.index(card["column"]) + 1]:
        await clients[card["who"][0]].patch(f"{path}/move", {"column_id": columns[stage]})
    if "file" in card:
        await _attach(clients[card["who"][0]], path, card["file"])
    for key, text, minutes in card.get("talk", []):
        said = {"body": _naming(team, text)}
        if minutes:
            said["time_spent_minutes"] = minutes
        await clients[key].post(f"{path}/comments", said)
    card_id: int = made["id"]
    return card_id


def _naming(team: Team, text: str) -> str:
    """A text that names people as the story does, with their usernames."""
    for person in team.story["people"]:
        text = text.replace(f"@{person['key']} ", f"@{username(person)} ")
    return text


async def _chat(team: Team, place: str, tell: Tell) -> None:
    story, chat = team.story, f"{place}/chat/messages"
    ids = []
    for key, text in story["chat"]["lines"]:
        tell(1, "talk")
        said = await team.clients[key].post(chat, {"body": _naming(team, text)})
        ids.append(said["id"])
    for nth, emoji, keys in story["chat"]["signs"]:
        for key in keys:
            await team.clients[key].post(f"{chat}/{ids[nth]}/reactions", {"emoji": emoji})
    read = {"message_id": ids[story["chat"]["read"]]}
    await team.clients["nora"].post(f"{place}/chat/read", read)


async def _topic(team: Team, place: str, topic: Story) -> None:
    author = team.clients[topic["by"]]
    made = await author.post(f"{place}/topics", {"title": topic["title"], "body": topic["text"]})
    path = f"{place}/topics/{made['id']}"
    if topic.get("pinned"):
        await author.put(path, {"is_pinned": True})
    for key, text in topic["replies"]:
        await team.clients[key].post(f"{path}/replies", {"body": text})


async def _conversations(team: Team) -> None:
    """A group and two people, unless they have talked already: conversations are no project's, and
    stay when a project is made anew.
    """
    for kind in ("group", "direct"):
        talk = team.story[kind]
        first, *others = talk["people"]
        client = team.clients[first]
        wanted: dict[str, Any] = {"user_ids": [team.ids[key] for key in others]}
        if kind == "group":
            wanted["name"] = talk["name"]
            names = [each["name"] async for each in client.items("/conversations")]
            if talk["name"] in names:
                continue
        made = await client.post("/conversations", wanted)
        if made["last_message"] is not None:
            continue
        for key, text in talk["lines"]:
            path = f"/conversations/{made['id']}/messages"
            await team.clients[key].post(path, {"body": text})


async def _attach(client: Client, path: str, name: str) -> None:
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + FILES[name]() + f"\r\n--{BOUNDARY}--\r\n".encode()
    form = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    await client.post(f"{path}/attachments", body, headers=form)


def _hours() -> bytes:
    """The table of opening hours."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("day", "opens", "closes", "children's corner closes"))
    for day in ("Tuesday", "Wednesday", "Friday"):
        writer.writerow((day, "10:00", "18:00", "18:00"))
    writer.writerow(("Thursday", "10:00", "20:00", "18:00"))
    writer.writerow(("Saturday", "10:00", "16:00", "15:00"))
    return text.getvalue().encode()


def _calendar() -> bytes:
    """A drawing of a day of the calendar, as designers make one first."""
    picture = Image.new("RGB", (720, 960), "#f8fafc")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, 720, 110), fill="#0f766e")
    pen.rectangle((40, 42, 360, 70), fill="#ccfbf1")
    for nth, color in enumerate(("#9333ea", "#ca8a04", "#2563eb", "#16a34a", "#64748b")):
        top = 150 + nth * 158
        pen.rounded_rectangle((40, top, 680, top + 132), 18, fill="white", outline="#cbd5e1")
        pen.rounded_rectangle((40, top, 56, top + 132), 6, fill=color)
        pen.rectangle((86, top + 26, 190, top + 48), fill="#334155")
        pen.rectangle((220, top + 26, 600 - 40 * nth, top + 48), fill="#94a3b8")
        pen.rectangle((220, top + 74, 520 + 20 * nth, top + 90), fill="#e2e8f0")
    made = io.BytesIO()
    picture.save(made, "PNG")
    return made.getvalue()


FILES: dict[str, Callable[[], bytes]] = {"opening-hours.csv": _hours, "calendar.png": _calendar}
