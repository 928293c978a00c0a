"""What generators make of the document works: a client of theirs signs in, makes a card, and reads
the board and the events as typed objects.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests import pace
from warmdesk import app

SECONDS = 240.0
TOOLS = Path(sys.executable).parent
"""Where this environment's programs are; generators call each other by name."""

pytestmark = pytest.mark.timeout(600)


async def run(*command: str | Path, cwd: Path) -> str:
    """What a program says; fails unless it ends well."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=cwd,
        env=os.environ | {"PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), SECONDS * pace.stretch())
    finally:
        if process.returncode is None:
            process.kill()
    text = said.decode(errors="replace")
    assert process.returncode == 0, text[-4000:]
    return text


@pytest.fixture
def described(tmp_path: Path) -> Path:
    file = tmp_path / "openapi.json"
    file.write_bytes(app.documents().json.body)
    return file


SESSION = """
import sys
from datetime import datetime

from made import AuthenticatedClient, Client
from made import models
from made.api.auth import log_in, register_user
from made.api.cards import create_card
from made.api.events import list_project_events, list_user_events
from made.api.projects import create_project, show_project

url = sys.argv[1] + "/api/v1"
nobody = Client(base_url=url)
password = "correct horse battery"
made = register_user.sync(
    client=nobody,
    body=models.Register(email="zoe@example.org", username="zoe", password=password),
)
assert isinstance(made, models.Registered), made
tokens = log_in.sync(client=nobody, body=models.Login(username="zoe", password=password))
assert isinstance(tokens, models.SignedIn), tokens
client = AuthenticatedClient(base_url=url, token=tokens.access_token)
project = create_project.sync(client=client, body=models.NewProject(name="Made"))
assert isinstance(project, models.Project), project
board = show_project.sync(project.slug, client=client)
assert isinstance(board, models.ProjectDetail), board
assert isinstance(board.members[0], models.Member), board.members
assert board.members[0].role.value == "owner"
card = create_card.sync(
    project.slug, board.columns[0].id, client=client, body=models.CreateCard(title="Fix the door")
)
assert card.title == "Fix the door"
assert isinstance(card.created_at, datetime)
board = show_project.sync(project.slug, client=client)
assert board.columns[0].cards[0].id == card.id
page = list_project_events.sync(project.slug, client=client, since=0, wait=5)
assert isinstance(page, models.ProjectEvents), page
(event,) = page.events
assert isinstance(event, models.BoardCardCreatedEvent), event
assert isinstance(event.payload, models.CardBegun)
assert (event.seq, event.payload.id) == (1, card.id)
assert isinstance(event.ts, datetime)
own = list_user_events.sync(client=client)
assert isinstance(own.events[0], models.ProjectCreatedEvent), own
print("all is well")
"""


async def test_openapi_python_client(described: Path, tmp_path: Path, url: str) -> None:
    program = TOOLS / "openapi-python-client"
    if not program.exists():
        pytest.skip("openapi-python-client is not installed")
    said = await run(
        program,
        *("generate", "--path", described, "--output-path", tmp_path / "made", "--meta", "none"),
        cwd=tmp_path,
    )
    assert "WARNING" not in said, said
    assert "onflicting" not in said, said
    (tmp_path / "session.py").write_text(SESSION)
    assert "all is well" in await run(sys.executable, "session.py", url, cwd=tmp_path)


GENERATOR = (
    "openapi-generator-cli==7.26.0",
    # What its Python needs beside what is here.
    "urllib3==2.8.0",
    "python-dateutil==4.0.0",
    "six==1.17.0",
)

ITS_SESSION = """
import sys
from datetime import datetime

from openapi_client import ApiClient, Configuration, api, models

settings = Configuration(host=sys.argv[1] + "/api/v1")
password = "correct horse battery"
with ApiClient(settings) as client:
    auth = api.AuthApi(client)
    auth.register_user(
        models.Register(email="yan@example.org", username="yan", password=password)
    )
    settings.access_token = auth.log_in(
        models.Login(username="yan", password=password)
    ).access_token
    projects = api.ProjectsApi(client)
    project = projects.create_project(models.NewProject(name="Made"))
    board = projects.show_project(project.slug)
    assert isinstance(board, models.ProjectDetail), board
    assert board.members[0].role == "owner", board
    card = api.CardsApi(client).create_card(
        project.slug, board.columns[0].id, models.CreateCard(title="Fix the door")
    )
    assert isinstance(card.created_at, datetime)
    assert projects.show_project(project.slug).columns[0].cards[0].id == card.id
    page = api.EventsApi(client).list_project_events(project.slug, since=0, wait=5)
    event = page.events[0].actual_instance
    assert isinstance(event, models.BoardCardCreatedEvent), event
    assert (event.seq, event.payload.id) == (1, card.id)
    assert isinstance(event.ts, datetime)
print("all is well")
"""


@pytest.fixture
async def generator(tmp_path: Path) -> Path:
    """Where openapi-generator is: it is far too large to be installed for all who test."""
    if shutil.which("java") is None:
        pytest.skip("there is no Java on this machine")
    place = tmp_path / "generator"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    try:
        await run(*pip, "--no-deps", "--target", place, *GENERATOR, cwd=tmp_path)
    except (AssertionError, TimeoutError) as error:
        pytest.skip(f"openapi-generator cannot be had: {error}"[:500])
    return place


@pytest.mark.parametrize("language", ["python", "typescript-fetch"])
async def test_openapi_generator(
    generator: Path, described: Path, tmp_path: Path, url: str, language: str
) -> None:
    """It has a type for each event; its Python goes through the same session."""
    jar, out = generator / "openapi_generator_cli" / "openapi-generator.jar", tmp_path / "made"
    await run(
        "java", "-jar", jar, "generate", *("-i", described, "-g", language), "-o", out, cwd=tmp_path
    )
    if language == "python":
        session = tmp_path / "session.py"
        session.write_text(
            f"import sys\nsys.path[:0] = {[str(generator), str(out)]}\n{ITS_SESSION}"
        )
        assert "all is well" in await run(sys.executable, session, url, cwd=tmp_path)
    else:
        page = (out / "models" / "ProjectEvents.ts").read_text()
        assert "events: Array<ProjectEventsEventsInner>;" in page
        one = (out / "models" / "ProjectEventsEventsInner.ts").read_text()
        assert "{ type: 'board.card_moved' } & BoardCardMovedEvent" in one
