"""The API's description is valid, complete, and true: every example fits its schema."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import msgspec
import pytest
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import validate

from tests.conftest import Board, Invite
from tests.person import Person
from tests.samples import SAMPLES, make_each
from tests.trying_out import Office
from tests.trying_out import operations as operations_to_try
from warmdesk import app
from warmdesk.auth.actor import GlobalRole, Role
from warmdesk.http.route import SIGNED_IN, ApiTag
from warmdesk.http.routing import route
from warmdesk.openapi.document import document
from warmdesk.openapi.schemas import NULL, as_openapi
from warmdesk.realtime.channels import EventScope
from warmdesk.realtime.events import CATALOGUE
from warmdesk.schemas import Body

Node = dict[str, Any]


@pytest.fixture(scope="module")
def described() -> Node:
    """The document as clients get it."""
    made: Node = json.loads(app.documents().json.body)
    return made


def operations(described: Node) -> list[tuple[str, str, Node]]:
    return [
        (path, method, operation)
        for path, item in described["paths"].items()
        for method, operation in item.items()
    ]


def resolved(described: Node, node: Node) -> Node:
    """What a reference points to."""
    while "$ref" in node:
        found: Any = described
        for word in node["$ref"].removeprefix("#/").split("/"):
            found = found[word]
        node = found
    return node


def fits(described: Node, schema: Node, value: Any) -> list[str]:
    whole = {**schema, "components": described["components"]}
    return [error.message for error in OAS30Validator(whole).iter_errors(value)]


def test_it_is_valid(described: Node) -> None:
    validate(described)
    assert described["openapi"] == "3.0.3"
    assert described["info"]["license"]["name"] == "Apache-2.0"
    assert described["info"]["contact"]
    assert described["servers"] == [{"url": "/api/v1", "description": "This server."}]


def test_it_lists_exactly_the_routes(described: Node) -> None:
    listed = {(method.upper(), path) for path, method, _ in operations(described)}
    declared = {(each.method, each.path) for each in app.resources()}
    served = {
        (each.method, each.resource.canonical.removeprefix("/api/v1"))
        for each in app.paths()[0]
        if each.resource is not None and each.method != "HEAD"
    }

    assert listed == declared == served


def test_every_operation_says_what_it_is(described: Node) -> None:
    names = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(set(names)) == len(names)
    tags = {tag["name"]: tag["description"] for tag in described["tags"]}
    for path, method, operation in operations(described):
        place = f"{method} {path}"
        assert re.fullmatch("[a-z]+(_[a-z]+)+", operation["operationId"]), place
        assert operation["summary"][0].isupper(), place
        assert len(operation["summary"]) <= 100, place
        assert not operation["summary"].endswith("."), place
        assert operation["description"], place
        assert len(operation["tags"]) == 1, place
        assert tags[operation["tags"][0]], place


def test_every_summary_is_a_whole_sentence() -> None:
    """The first line of a docstring, which ends where the sentence does."""
    for each in app.resources():
        first, _, rest = (each.handler.__doc__ or "").partition("\n")
        assert first.endswith("."), (each.path, first)
        assert not rest or rest.startswith("\n"), (each.path, rest)


def test_every_parameter_of_a_path_is_described(described: Node) -> None:
    for path, method, operation in operations(described):
        inside = {
            each["name"]
            for each in (resolved(described, each) for each in operation["parameters"])
            if each["in"] == "path"
        }
        assert inside == set(re.findall(r"{(\w+)}", path)), (method, path)


def test_every_parameters_example_fits(described: Node) -> None:
    for path, method, operation in operations(described):
        for each in operation["parameters"]:
            parameter = resolved(described, each)
            if parameter.get("required"):
                wrong = fits(described, parameter["schema"], parameter["example"])
                assert not wrong, (method, path, parameter["name"], wrong)
            else:  # the page would send it
                assert "example" not in parameter, (method, path, parameter["name"])


def test_every_bodys_example_fits(described: Node) -> None:
    for path, method, operation in operations(described):
        content = operation.get("requestBody", {}).get("content", {})
        if (media := content.get("application/json")) is not None:
            wrong = fits(described, media["schema"], media["example"])
            assert not wrong, (method, path, wrong)


def test_every_bodys_example_is_accepted() -> None:
    described = json.loads(app.documents().json.body)
    for each in app.resources():
        if each.body is not None:
            operation = described["paths"][each.path][each.method.lower()]
            example = operation["requestBody"]["content"]["application/json"]["example"]
            msgspec.convert(example, each.body)


def test_a_body_is_required_where_a_field_of_it_is(described: Node) -> None:
    def required(method: str, path: str) -> bool:
        return bool(described["paths"][path][method]["requestBody"]["required"])

    for path in ("/auth/mfa/verify", "/projects", "/projects/{slug}/chat/messages"):
        assert required("post", path), path
    assert required("patch", "/projects/{slug}/columns/reorder")
    assert not required("post", "/auth/logout")
    assert not required("post", "/auth/refresh")
    assert not required("put", "/projects/{slug}")


def test_every_answers_example_fits(described: Node) -> None:
    for path, method, operation in operations(described):
        for status, each in operation["responses"].items():
            response = resolved(described, each)
            media = response.get("content", {}).get("application/json")
            if media:
                wrong = fits(described, media["schema"], media["example"])
                assert not wrong, (method, path, status, wrong)


def test_every_operation_says_how_it_refuses(described: Node) -> None:
    error = "#/components/schemas/Error"
    for each in app.resources():
        place = f"{each.method} {each.path}"
        responses = described["paths"][each.path][each.method.lower()]["responses"]
        wanted = {str(each.status), "400", *map(str, each.also), *map(str, each.errors)}
        if each.need is not None:
            wanted |= {"401", "403", "429"}
        if "{" in each.path:
            wanted.add("404")
        if each.body is not None:
            wanted |= {"413", "415"}
        if each.keyed or (isinstance(each.need, Role) and each.method != "GET"):
            wanted.add("422")
        assert wanted <= set(responses), place
        for status, refusal in responses.items():
            if int(status) >= 400:
                content = resolved(described, refusal)["content"]
                assert content["application/json"]["schema"]["$ref"] == error, place


def test_what_is_there_already_is_answered_alike(described: Node) -> None:
    for path in ("/chat/messages", "/chat/messages/{message_id}/reactions"):
        responses = described["paths"]["/projects/{slug}" + path]["post"]["responses"]
        assert responses["200"]["content"] == responses["201"]["content"], path


def test_credentials_are_described(described: Node) -> None:
    schemes = described["components"]["securitySchemes"]
    assert schemes["BearerAuth"]["scheme"] == "bearer"
    assert schemes["BearerAuth"]["bearerFormat"] == "JWT"
    key = schemes["ApiKeyAuth"]
    assert (key["type"], key["in"], key["name"]) == ("apiKey", "header", "X-API-Key")
    for each in app.resources():
        operation = described["paths"][each.path][each.method.lower()]
        if each.session:
            assert operation["security"] == [{"BearerAuth": []}], each.path
        elif each.need is not None:
            assert "security" not in operation, each.path
        elif not each.stays:
            assert operation["security"] == [], each.path


def test_everything_a_socket_says_is_described(described: Node) -> None:
    of_projects = described["paths"]["/ws/{slug}"]["get"]["description"]
    of_users = described["paths"]["/ws/user"]["get"]["description"]
    for name, kind in CATALOGUE.items():
        everywhere = kind.scope is EventScope.ANY
        row = f"| `{name}` |"
        assert (row in of_projects) == (everywhere or kind.scope is EventScope.PROJECT), name
        assert (row in of_users) == (everywhere or kind.scope is EventScope.USER), name
    assert "`board.card_moved`" not in of_users
    assert "`project.joined`" not in of_projects
    assert "`presence.join`" in of_projects
    for common in ("hello", "pong", "error", "sync.reset", "reconnect"):
        assert f"`{common}`" in of_projects, common
        assert f"`{common}`" in of_users, common


def schemas_of(described: Node) -> dict[str, Node]:
    found: dict[str, Node] = described["components"]["schemas"]
    return found


def test_every_payload_that_a_socket_carries_is_described(described: Node) -> None:
    for path in ("/ws/{slug}", "/ws/user"):
        rows = re.findall(
            r"^\| `[a-z._]+` \| (\w+) \|",
            described["paths"][path]["get"]["description"],
            re.MULTILINE,
        )
        assert {"Hello", "Pong", "Ack", "SyncReset"} <= set(rows)
        for name in rows:
            assert schemas_of(described)[name]["type"] == "object", name


def test_every_event_of_a_feed_has_a_type(described: Node) -> None:
    for path, name, scope in (
        ("/projects/{slug}/events", "ProjectEvents", EventScope.PROJECT),
        ("/users/me/events", "UserEvents", EventScope.USER),
    ):
        answered = described["paths"][path]["get"]["responses"]["200"]["content"]
        schema = answered["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{name}"}
        items = schemas_of(described)[name]["properties"]["events"]["items"]
        assert items["discriminator"]["propertyName"] == "type"
        mapping = items["discriminator"]["mapping"]
        assert [each["$ref"] for each in items["oneOf"]] == list(mapping.values())
        wanted = {
            each.name: each.payload.__name__
            for each in CATALOGUE.values()
            if each.stored and each.scope in (scope, EventScope.ANY)
        }
        assert mapping.keys() == wanted.keys()
        for kind, reference in mapping.items():
            event = resolved(described, {"$ref": reference})
            assert event["properties"]["type"]["enum"] == [kind]
            assert event["properties"]["payload"] == {
                "$ref": f"#/components/schemas/{wanted[kind]}"
            }
            assert {"type", "payload", "seq", "ts", "actor_id"} <= set(event["required"])


def test_every_field_beside_an_event_says_what_it_is(described: Node) -> None:
    schemas = schemas_of(described)
    page, event = schemas["ProjectEvents"], schemas["ChatMessageEvent"]
    told = [(page, name) for name in ("seq", "oldest", "epoch", "reset")]
    told += [(event, name) for name in ("seq", "ts", "actor_id", "client_id")]
    assert [name for node, name in told if not node["properties"][name].get("description")] == []


def test_no_sentence_is_set_as_code(described: Node) -> None:
    """Markdown takes what is indented for it, as the lines of a docstring are."""
    written = {name: each.get("description", "") for name, each in schemas_of(described).items()}
    assert [name for name, text in written.items() if re.search(r"^ ", text, re.M)] == []
    assert "\n\nA socket opened with the two" in written["ProjectDetail"]


def fields_of(described: Node) -> list[tuple[str, str, Node]]:
    return [
        (name, field, each)
        for name, schema in schemas_of(described).items()
        for field, each in schema.get("properties", {}).items()
    ]


DAYS = {"date", "end", "from", "start", "to"}
"""Fields that are days, beside those whose name says so."""


def test_moments_and_dates_have_formats(described: Node) -> None:
    moments, dates = 0, 0
    for name, field, schema in fields_of(described):
        if field.endswith("_at") or field in ("at", "ts", "server_time"):
            assert schema["format"] == "date-time", (name, field)
            moments += 1
        elif (
            field.endswith("_date") or (field in DAYS and schema.get("type") == "string")
        ) and not is_body(described, name):
            assert schema["format"] == "date", (name, field)
            dates += 1
        elif schema.get("type") == "string":
            assert schema.get("format") not in ("date-time", "date"), (name, field)
    assert moments > 20
    assert dates >= 2


def is_body(described: Node, name: str) -> bool:
    """A body takes a time of RFC 3339 as well, of which it keeps the date."""
    return f"#/components/schemas/{name}" in json.dumps(
        [each.get("requestBody") for _, _, each in operations(described)]
    )


def pascal(*names: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", "_".join(re.sub(r"([A-Z])", r"_\1", n) for n in names))
    return "".join(word.capitalize() for word in words)


def made_names(described: Node) -> dict[str, list[str]]:
    """The names that generators give to what has none in the document, and where: closed sets and
    objects inside a field, a parameter, a body or an answer.
    """
    made: dict[str, list[str]] = {}

    def take(place: str, *names: str) -> None:
        for end in ("", "Enum", "Item", "Inner", "InnerEnum"):
            made.setdefault(pascal(*names) + end, []).append(place)

    for name, field, schema in fields_of(described):
        inner = schema.get("items", schema)
        if "enum" in inner or inner.get("type") == "object" or "oneOf" in inner or "anyOf" in inner:
            take(f"{name}.{field}", name, field)
    for _, _, operation in operations(described):
        name = operation["operationId"]
        for end in ("request", "response", "body"):
            made.setdefault(pascal(name, end), []).append(name)
        for status in operation["responses"]:
            made.setdefault(pascal(name, "response", status), []).append(name)
            made.setdefault(pascal(name, status, "response"), []).append(name)
        for each in operation["parameters"]:
            parameter = resolved(described, each)
            if "enum" in parameter["schema"]:
                take(f"{name} {parameter['name']}", name, parameter["name"])
    return made


def collisions(described: Node) -> dict[str, list[str]]:
    """The names that are a component's and a generator's, or made in two places."""
    components = {pascal(name) for name in schemas_of(described)}
    return {
        name: places
        for name, places in made_names(described).items()
        if name in components or len(set(places)) > 1
    }


def test_no_component_has_a_name_that_generators_make(described: Node) -> None:
    assert collisions(described) == {}
    names = [pascal(name) for name in schemas_of(described)]
    assert len(set(names)) == len(names)
    clash = json.loads(json.dumps(described))
    clash["components"]["schemas"]["MemberRole"] = {"type": "object"}
    assert list(collisions(clash)) == ["MemberRole"]


def test_headers_are_named_where_they_work(described: Node) -> None:
    def headers(method: str, path: str) -> set[str]:
        parameters = described["paths"][path][method]["parameters"]
        found = [resolved(described, each) for each in parameters]
        return {each["name"] for each in found if each["in"] == "header"}

    cards = "/projects/{slug}/columns/{column_id}/cards"
    assert headers("post", cards) == {"Idempotency-Key", "X-Client-Id"}
    move = "/projects/{slug}/cards/{card_id}/move"
    assert headers("patch", move) == {"If-Match", "Idempotency-Key", "X-Client-Id"}
    assert headers("get", "/projects/{slug}") == {"If-None-Match"}
    assert headers("get", cards) == set()

    signed = "X-Hub-Signature-256"
    assert headers("post", "/webhooks/{token}") == {"Idempotency-Key", signed}
    github = {"X-GitHub-Event", "X-GitHub-Delivery", signed}
    assert headers("post", "/github-webhook/{token}") == github
    gitlab = {"X-Gitlab-Event", "X-Gitlab-Event-UUID", "X-Gitlab-Token", "Idempotency-Key"}
    assert headers("post", "/gitlab-webhook/{token}") == gitlab
    of_gitea = {f"X-{host}-{what}" for host in ("Gitea", "Gogs") for what in ("Event", "Delivery")}
    of_gitea |= {f"X-Forgejo-{what}" for what in ("Event", "Delivery", "Signature")}
    of_gitea |= {"X-Gitea-Signature"} | github
    assert headers("post", "/gitea-webhook/{token}") == of_gitea

    def answered(path: str) -> set[str]:
        return set(described["paths"][path]["get"]["responses"]["200"].get("headers", ()))

    place = {"Warmdesk-Epoch", "Warmdesk-Seq"}
    assert answered("/projects/{slug}/cards/{card_id}") == {"ETag", *place}
    assert answered(cards) == {"Link", *place}
    assert answered("/users") == {"Link"}
    assert answered("/version") == set()  # the program's: nothing can be changed by it


def test_a_type_becomes_a_schema_of_openapi_3_0() -> None:
    assert as_openapi({"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]}) == {
        "type": "string",
        "maxLength": 3,
        "nullable": True,
    }
    assert as_openapi({"enum": ["a", None]}) == {
        "type": "string",
        "enum": ["a", None],
        "nullable": True,
    }
    a, b = {"$ref": "#/a"}, {"$ref": "#/b"}
    for some in ([a], [a, b], [{"type": "string"}, a]):
        assert as_openapi({"anyOf": [*some, {"type": "null"}]}) == {"anyOf": [*some, NULL]}
    assert as_openapi({"$ref": "#/x", "description": "d"}) == {
        "allOf": [{"$ref": "#/x"}],
        "description": "d",
    }
    assert as_openapi({"type": "integer", "maximum": 2**53 - 1})["format"] == "int64"
    properties = {"properties": {"default": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}
    assert as_openapi(properties)["properties"]["default"]["nullable"] is True


def test_null_fits_exactly_where_a_type_admits_it(described: Node) -> None:
    """As a strict validator sees it, for whom `nullable` beside a reference adds nothing."""
    kinds = [kind for each in app.resources() for kind in (each.body, each.answer) if kind]
    _, parts = msgspec.json.schema_components(kinds, ref_template="#/{name}")
    admitted = 0
    for name, part in parts.items():
        for field, schema in part.get("properties", {}).items():
            others = schema.get("anyOf", [schema])
            wanted = {"type": "null"} in others or None in schema.get("enum", ())
            shown = schemas_of(described)[name]["properties"][field]
            anything = not schema.keys() & {"type", "$ref", "anyOf", "enum", "const"}
            assert anything or (not fits(described, shown, None)) == wanted, (name, field, shown)
            admitted += wanted and "$ref" in str(others)
    assert admitted > 10


class Strange(Body):
    """A body whose field fits none of the usual words."""

    code: Annotated[
        str,
        msgspec.Meta(pattern="^[0-9]{3}-[0-9]{3}$", extra={"otherwise": "must be like 123-456"}),
    ]


@route("POST", "/strange", need=SIGNED_IN, body=Strange, tag=ApiTag("cards", "The cards."))
async def do_strange(request: Any) -> Any:
    """Do something strange."""


def test_a_pattern_that_no_example_fits_is_told_by_name() -> None:
    strange: Any = do_strange
    with pytest.raises(ValueError, match="code needs an example"):
        document([strange.route])


async def test_a_next_page_is_named_exactly_where_one_is_promised(
    described: Node, alice: Person, olga: Person, root: Person, board: Board, person: Invite
) -> None:
    await olga.post("/projects", {"name": "Other"})
    for slug in ("demo", "other"):
        await olga.post(f"/projects/{slug}/star", status=200)
    cards = [await board.card() for _ in range(4)]
    for card in cards[:2]:
        await olga.delete(f"{board.path}/cards/{card['id']}")
    await olga.put(f"{board.path}/cards/{cards[3]['id']}", {"title": "Another"})
    for _ in range(2):
        await alice.post(f"{board.path}/chat/messages", {"body": "Good morning"})
    await person("olga").token()
    names = {"slug": "demo", "column_id": board.backlog, "card_id": cards[3]["id"]}
    names["user_id"] = olga.id
    for _ in range(2):
        await olga.post("/projects/demo/invitations", {})
        await root.post("/admin/invitations", {})
    await make_each(olga, names)
    for sample in SAMPLES:
        await sample.make(olga, names, "Some text")
    for _ in range(2):
        path = f"/conversations/{names['conversation_id']}/messages"
        await olga.post(path, {"body": "Good morning"})
    for path in ("/auth/api-keys", f"{board.path}/api-keys"):
        for _ in range(2):
            await olga.post(path, {"name": "CI"})
    for user_id in (alice.id, root.id):
        await olga.post(f"/favorite-users/{user_id}", status=204)
    needed = {"/search": "q=morning&type=chat_message", "/users/refs": f"ids={olga.id}"}
    for each in app.resources():
        response = described["paths"][each.path][each.method.lower()]["responses"].get("200", {})
        content = response.get("content", {}).get("application/json", {"schema": {}})
        if content["schema"].get("type") == "array" and each.query is not None:
            who = root if each.need is GlobalRole.ADMIN else olga
            path = each.path.format(**names)
            found = await who.request("GET", f"{path}?limit=1&{needed.get(path, '')}")
            assert (found.status, len(found.body)) == (200, 1), path
            assert ("Link" in found.headers) == ("Link" in response.get("headers", {})), path


async def test_all_addresses_give_the_same_bytes(alice: Person, url: str) -> None:
    await alice.token()
    found = []
    for path in ("/swagger/doc.json", "/openapi.json", "/swagger/swagger.json"):
        async with alice.client.session.get(f"{url}{path}") as response:
            assert response.status == 200
            assert response.content_type == "application/json"
            found.append(await response.read())
            tag = response.headers["ETag"]
        for known in (tag, "*"):
            async with alice.client.session.get(
                f"{url}{path}", headers={"If-None-Match": known}
            ) as response:
                assert response.status == 304
    assert len(set(found)) == 1


async def test_answers_fit_what_is_promised(described: Node, alice: Person, board: Board) -> None:
    card = await board.card()
    for path, real in (
        ("/projects", "/projects"),
        ("/projects/{slug}", "/projects/demo"),
        ("/projects/{slug}/columns", "/projects/demo/columns"),
        ("/projects/{slug}/cards/{card_id}", f"/projects/demo/cards/{card['id']}"),
        ("/projects/{slug}/chat/messages", "/projects/demo/chat/messages"),
        ("/projects/{slug}/events", "/projects/demo/events"),
        ("/users/me", "/users/me"),
        ("/ready", "/ready"),
    ):
        response = described["paths"][path]["get"]["responses"]["200"]
        schema = response["content"]["application/json"]["schema"]
        assert not fits(described, schema, await alice.get(real)), path


async def test_every_operation_does_what_its_page_shows(
    root: Person, alice: Person, bob: Person
) -> None:
    """Executed as it opens, with nothing but ids put in."""
    office = Office(root, alice, bob)
    for each in operations_to_try():
        operation = await office.prepare(each)
        assert operation.person is not None
        assert operation.filled_in("header") == {}, operation.id
        answer = await operation.execute(operation.person)
        assert answer.status in operation.success, (operation.id, operation.address, answer.body)
        promised = operation.words["responses"][str(answer.status)].get("headers", {})
        for name in ("ETag", "Location"):
            assert (name in answer.headers) == (name in promised), (operation.id, name)
        if isinstance(answer.body, dict) and {"id", "version"} <= answer.body.keys():
            assert answer.headers["ETag"] == f'"{answer.body["version"]}"', operation.id
        if answer.status == 201:
            assert ("Location" in promised) != (operation.id in NOWHERE), operation.id
        if "Location" in promised:
            address = answer.headers["Location"].removeprefix("/api/v1")
            there = await operation.person.request("GET", address)
            assert there.status in (200, 405), (operation.id, address)


NOWHERE = {
    *("register_user", "create_ticket", "add_reaction", "add_conversation_reaction"),
    "post_message",
}
"""Made, and without an address of their own."""
