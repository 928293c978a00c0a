"""What the API's page sends when somebody opens an operation, puts ids in and executes it; for
tests over HTTP and in a browser.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from tests.person import Person
from tests.samples import SAMPLES
from tests.samples.outgoing import BODY as NOWHERE
from tests.uploads import AS_FORM, PNG, form
from warmdesk import app
from warmdesk.client import Answer

Node = dict[str, Any]
NUMBERS = itertools.count(1)


@dataclass
class Operation:
    """An operation as the document describes it, and what to send."""

    path: str
    method: str
    words: Node
    parameters: list[Node]
    names: dict[str, str] = field(default_factory=dict)
    """The path's parameters, by name."""
    ids: dict[str, Any] = field(default_factory=dict)
    """What the path stands below and leads to in a project, by the same names, each by its id."""
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    """Beside what the page fills in: of a form, whose file a person has to choose."""
    person: Person | None = None

    def anew(self) -> Operation:
        """The same, with nothing put in."""
        return Operation(self.path, self.method, self.words, self.parameters)

    @property
    def id(self) -> str:
        return str(self.words["operationId"])

    @property
    def tag(self) -> str:
        return str(self.words["tags"][0])

    @property
    def success(self) -> set[int]:
        done = {int(status) for status in self.words["responses"] if status < "3"}
        return done | {WITHOUT_MAIL[self.id]} if self.id in WITHOUT_MAIL else done

    def filled_in(self, kind: str) -> dict[str, Any]:
        """What the page fills in by itself for parameters of this kind."""
        found = {}
        for each in self.parameters:
            value = each.get("example", each["schema"].get("example"))
            value = each["schema"].get("default") if value is None else value
            if each["in"] == kind and value not in (None, ""):
                found[each["name"]] = json.dumps(value) if isinstance(value, bool) else value
        return found

    @property
    def address(self) -> str:
        values = {name: quote(value, safe="") for name, value in self.names.items()}
        query = urlencode(self.filled_in("query"))
        return self.path.format(**values) + (f"?{query}" if query else "")

    async def execute(self, person: Person) -> Answer:
        """The answer that a person gets."""
        return await person.request(
            self.method.upper(), self.address, self.body, headers=self.headers
        )


WITHOUT_MAIL = {
    "upload_backup": 422,
    "restore_backup": 404,
    "enable_mfa": 422,
    "disable_mfa": 409,
    "verify_mfa": 400,
    "show_calendar": 404,
    "reset_password": 400,
    "ask_to_unsubscribe": 404,
    "stop_mails": 404,
    "mail_invitation": 422,
    "mail_server_invitation": 422,
    "send_test_mail": 422,
}
"""How those are refused that need a mail, or send one: tests/mail has a mail server. Or the code of
an authenticator: tests/rest/test_mfa.py has one. Or an address that is told once.
"""


def operations(*, sockets: bool = False) -> Iterator[Operation]:
    """All; the sockets and streams only when they are asked for."""
    described = json.loads(app.documents().json.body)
    shared = described["components"]["parameters"]
    stay = {each.path for each in app.resources() if each.stays}
    for path, item in described["paths"].items():
        for method, words in item.items():
            if sockets or path not in stay:
                given = words["parameters"]
                parameters = [
                    shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each
                    for each in given
                ]
                yield Operation(path, method, words, parameters)


class Office:
    """People and things for operations to be executed on. Each has a project of its own, so that
    none meets what another left.

    author    whose the things are that are somebody's: messages, samples, sessions
    asker     whose the star, the watch and the reaction are that are taken back
    administrator
              who makes what only administrators make
    company   ids of who is in each conversation, beside alice and bob
    """

    def __init__(self, root: Person, alice: Person, bob: Person) -> None:
        self.root, self.alice, self.bob = root, alice, bob
        self.author = self.asker = self.administrator = root
        self.company: list[int] = []

    async def staff(self, slug: str) -> None:
        """Let people into a new project, beside bob."""

    async def prepare(self, operation: Operation, inside: str = "") -> Operation:
        """Put in who executes it, its ids, and those of its body. `inside`: the project that its
        things are made in, instead of a new one.
        """
        number, owner = next(NUMBERS), self.root
        operation.person = owner
        if "password" in operation.id:
            operation.person = self.bob if "_at_" in operation.id else self.alice
        body = operation.words.get("requestBody", {}).get("content", {}).get("application/json", {})
        operation.body = body.get("example")
        in_project = ("{slug}", "{attachment_id}", "{entry_id}", "{token}")
        if any(name in operation.path for name in in_project):
            await self._project(operation, number, inside)
        if "{conversation_id}" in operation.path:
            await self._conversation(operation)
        if "{notification_id}" in operation.path:
            group = await self.bob.post("/conversations", {"user_ids": [3, self.author.id]})
            await self.bob.post(f"/conversations/{group['id']}/messages", {"body": "Hello"})
            newest = (await self.author.get("/notifications?limit=1"))["items"][0]
            operation.names["notification_id"] = str(newest["id"])
        if operation.id == "download_by_link":
            await self._link(operation)
        if operation.id == "wait_for_ticket":
            operation.names["column_name"] = "Backlog"
            operation.parameters = [
                each | {"example": "Backlog"} if each["name"] == "column_name" else each
                for each in operation.parameters
            ]
        if "{session_id}" in operation.path:
            await self._sign_in()
            sessions = await self.author.get("/auth/sessions")
            other = next(each["id"] for each in sessions if not each["current"])
            operation.names["session_id"] = str(other)
        if "{key_id}" in operation.path:
            key = await self.author.post("/auth/api-keys", {"name": "Tried"})
            operation.names["key_id"] = str(key["id"])
        elif "{project_key_id}" in operation.path:
            keys = f"/projects/{operation.names['slug']}/api-keys"
            key = await owner.post(keys, {"name": "Tried"})
            operation.names["project_key_id"] = str(key["id"])
            operation.ids["project_key_id"] = key["id"]
        if operation.path.startswith("/users/{user_id}/api-keys"):
            await self._service_account(operation, number)
        if operation.id in ("delete_user", "restore_user", "purge_user"):
            await self._account(operation, number)
        if operation.path.startswith(("/admin/invitations/{", "/invitations/{")):
            await self._invitation(operation, number)
        if "{filename}" in operation.path:
            made = await self.administrator.post("/admin/backup", {"include_uploads": False})
            operation.names["filename"] = made["filename"]
        if operation.id == "set_projects_of_user":
            made = await owner.post("/projects", {"name": f"Set {number}"})
            operation.body = {"project_ids": [made["id"]]}
        if operation.id == "purge_project":
            await owner.delete(f"/projects/{operation.names['slug']}")
        if "{user_id}" in operation.path and "user_id" not in operation.names:
            operation.names["user_id"] = str(self.bob.id)
        if operation.id in ("register_user", "register", "create_user"):
            new = {"username": f"new{number}", "email": f"new{number}@example.com"}
            operation.body = {**operation.body, **new}
        if operation.body and "refresh_token" in operation.body:
            operation.body = {"refresh_token": (await self._sign_in())["refresh_token"]}
        if "/outgoing-webhooks" in operation.path and "url" in (operation.body or {}):
            operation.body = {**operation.body, **NOWHERE}
        if "multipart/form-data" in operation.words.get("requestBody", {}).get("content", {}):
            place = {}
            if operation.path == "/attachments":
                made = await owner.post("/projects", {"name": f"For {number}"})
                await self.staff(made["slug"])
                place["project"] = made["slug"]
            name = "avatar" if operation.path.endswith("/avatar") else "file"
            operation.body = form(("door.png", PNG), part=name, **place)
            operation.headers = AS_FORM
        return operation

    async def _account(self, operation: Operation, number: int) -> None:
        """An account that nobody needs."""
        name = f"spare{number}"
        new = {"username": name, "email": f"{name}@example.com", "password": "wd 12345678"}
        user_id = (await self.administrator.post("/users", new))["id"]
        if operation.id != "delete_user":
            await self.administrator.delete(f"/users/{user_id}")
        operation.names["user_id"] = str(user_id)

    async def _service_account(self, operation: Operation, number: int) -> None:
        """An account that scrapes the metrics, and a key of it."""
        name = f"metrics{number}"
        new = {"username": name, "email": f"{name}@example.com", "password": "wd 12345678"}
        made = await self.administrator.post("/users", new | {"global_role": "metrics"})
        key = await self.administrator.post(f"/users/{made['id']}/api-keys", {"name": "Tried"})
        operation.names["user_id"] = str(made["id"])
        if "{user_key_id}" in operation.path:
            operation.names["user_key_id"] = str(key["id"])

    async def _invitation(self, operation: Operation, number: int) -> None:
        """A link to a project of alice's, in which nobody else is, or to the installation."""
        asker, path = self.administrator, "/admin"
        if "{token}" in operation.path:
            asker, path = self.alice, f"/projects/for-{number}"
            await asker.post("/projects", {"name": f"For {number}"})
        made = await asker.post(f"{path}/invitations", {})
        names = {"token": made["url"].rpartition("/")[2], "invitation_id": str(made["id"])}
        name = "token" if "{token}" in operation.path else "invitation_id"
        operation.names[name] = names[name]

    async def _link(self, operation: Operation) -> None:
        """The ticket of a link, which somebody copies from an answer."""
        path = f"/attachments/{operation.names['attachment_id']}/link"
        ticket = (await self.root.post(path, status=200))["url"].partition("ticket=")[2]
        operation.parameters = [
            each | {"example": ticket} if each["name"] == "ticket" else each
            for each in operation.parameters
        ]

    async def _sign_in(self) -> Any:
        """Another session of the author."""
        credentials = {"username": self.author.username, "password": self.author.password}
        return (await self.author.request("POST", "/auth/login", credentials)).body

    async def _conversation(self, operation: Operation) -> None:
        """A group with bob and a message; eve is in none."""
        others = [3, self.bob.id, *self.company]
        group = await self.author.post("/conversations", {"user_ids": others})
        path = f"/conversations/{group['id']}/messages"
        message = await self.author.post(path, {"body": "Hello"})
        if "{emoji}" in operation.path:
            await self.asker.post(f"{path}/{message['id']}/reactions", {"emoji": "👍"})
        known = {"conversation_id": group["id"], "message_id": message["id"], "emoji": "👍"}
        for name, value in known.items():
            if f"{{{name}}}" in operation.path:
                operation.names[name] = str(value)
        if operation.body and "message_id" in operation.body:
            operation.body = {"message_id": message["id"]}
        if operation.body and "user_id" in operation.body:
            operation.body = {"user_id": 5}

    async def _webhook(self, operation: Operation, slug: str) -> None:
        """A webhook's token, and the headers that its host sends with each event."""
        host = operation.path.strip("/").partition("-webhook/")
        fields = {"name": "Tried", "type": host[0] if host[1] else "generic"}
        made = await self.root.post(f"/projects/{slug}/webhooks", fields)
        operation.names = {"token": made["token"]}
        if host[1]:
            operation.headers = {f"X-{host[0]}-Event": "ping"}

    async def _project(self, operation: Operation, number: int, inside: str) -> None:
        owner = self.root
        slug = inside or (await owner.post("/projects", {"name": f"Tried {number}"}))["slug"]
        project = f"/projects/{slug}"
        if not inside:
            if operation.id != "add_member":
                await owner.post(f"{project}/members", {"username": self.bob.username})
            await self.staff(slug)
        columns = [each["id"] for each in await owner.get(f"{project}/columns")]
        cards = f"{project}/columns/{columns[0]}/cards"
        card, _ = [await owner.post(cards, {"title": title}) for title in ("One", "Two")]
        message = await self.author.post(f"{project}/chat/messages", {"body": "Hello"})
        if operation.method == "delete" and operation.path.endswith("/star"):
            await self.asker.post(f"{project}/star", status=200)
        if "{emoji}" in operation.path:
            path = f"{project}/chat/messages/{message['id']}/reactions"
            await self.asker.post(path, {"emoji": "👍"})
        deletes = operation.path.endswith(("/restore", "/permanent"))
        if deletes:
            await owner.delete(f"{project}/cards/{card['id']}")
        if "column_id" in operation.path and operation.method == "delete":
            columns = columns[1:]  # one without cards
        if operation.path.endswith("/{card_id}/watch"):
            await self.asker.post(f"{project}/cards/{card['id']}/watch", status=200)
        invitation = None
        if "/{invitation_id}" in operation.path:
            invitation = await owner.post(f"{project}/invitations", {})
        tag = None
        if operation.path.endswith("/{tag}"):
            tag = await owner.post(f"{project}/cards/{card['id']}/tags", {"name": "urgent"})
        operation.names = {
            name: value
            for name, value in {
                "slug": slug,
                "column_id": str(columns[0]),
                "card_id": str(card["id"] if deletes else card["key"]),
                "message_id": str(message["id"]),
                "user_id": str(self.bob.id),
                "emoji": "👍",
                "tag": "urgent",
                "invitation_id": str(invitation and invitation["id"]),
            }.items()
            if f"{{{name}}}" in operation.path
        }
        named = {"slug": slug, "column_id": columns[0], "card_id": card["id"]}
        for sample in SAMPLES:
            if f"{{{sample.name}}}" in operation.path:
                named[sample.name] = await sample.make(self.author, named, "Tried")
                operation.names[sample.name] = str(named[sample.name])
        operation.ids = named if tag is None else {**named, "tag": tag["id"]}
        if "{token}" in operation.path:
            await self._webhook(operation, slug)
        for kind, name in (
            ("assignees", "user_id"),
            ("watchers", "user_id"),
            ("labels", "label_id"),
        ):
            if operation.path.endswith(f"/{{card_id}}/{kind}/{{{name}}}"):
                path = f"{project}/cards/{card['id']}/{kind}/{operation.names[name]}"
                await owner.post(path, status=200)
        if operation.body and "ids" in operation.body:
            operation.body = {**operation.body, "ids": [card["id"]]}
        if operation.body and "message_id" in operation.body:
            operation.body = {"message_id": message["id"]}
        if operation.body and "column_ids" in operation.body:
            operation.body = {"column_ids": columns[::-1]}
        elif operation.body and "item_ids" in operation.body:
            steps = f"{project}/cards/{card['id']}/checklist"
            made = [(await owner.post(steps, {"body": text}))["id"] for text in ("One", "Two")]
            operation.body = {"item_ids": made[::-1]}
        elif operation.body and "target_project_slug" in operation.body:
            there = (await owner.post("/projects", {"name": f"There {number}"}))["slug"]
            await self.staff(there)
            column = (await owner.get(f"/projects/{there}/columns"))[0]["id"]
            names = {"target_project_slug": there, "column_id": column}
            operation.body = {**operation.body, **names}
        elif operation.body and "column_id" in operation.body:
            operation.body = {**operation.body, "column_id": columns[1]}
