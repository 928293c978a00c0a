"""What a load balancer answers itself looks like an answer of ours: JSON, an error and a code."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shutil
import signal
from contextlib import suppress

import aiohttp
import pytest

from tests.journeys.conftest import Start
from tests.journeys.running import until
from tests.journeys.test_rolling import CONFIG, FILES, proxied

SOON = {
    "nginx": {"proxy_read_timeout 90s": "proxy_read_timeout 3s"},
    "haproxy": {"timeout server 90s": "timeout server 3s"},
}
"""What makes an answer that does not come late earlier than in 90 seconds."""


async def asked(http: aiohttp.ClientSession, path: str = "/version", *, size: int = 0) -> int:
    """The status of a request with so large a body; an error has the form of all ours."""
    method, body = ("POST", io.BytesIO(bytes(size))) if size else ("GET", None)
    async with http.request(method, f"/api/v1{path}", data=body) as answer:
        if answer.status >= 400:
            assert answer.content_type == "application/json", await answer.text()
            said = await answer.json()
            assert isinstance(said["error"], str)
            assert re.fullmatch("[a-z_]+", said["code"])
            assert (answer.status == 413) == ("Retry-After" not in answer.headers)
        return answer.status


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", FILES)
async def test_errors_of_a_proxy_are_json(start: Start, kind: str) -> None:
    if not shutil.which(kind):
        pytest.skip(f"{kind} is not installed")
    host = await start(workers=1)
    where = host.url.removeprefix("http://")
    async with (
        proxied(kind, [where, where], most=4, changes=SOON[kind]) as url,
        # A connection for each request: one that is kept is one of those that are counted.
        aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(force_close=True)) as http,
    ):
        if kind == "nginx":
            assert await asked(http, "/auth/login", size=27 << 20) == 413
        assert await too_many(http, url) == 429
        await until(lambda: is_back(http), within=20, what="it is back")

        (worker,) = host.workers()
        os.kill(worker, signal.SIGSTOP)
        assert await asked(http) == 504
        os.kill(worker, signal.SIGCONT)
        await until(lambda: is_back(http), within=20, what="it is back")
        await host.stop()
        assert await asked(http) == (502 if kind == "nginx" else 503)
        if kind == "nginx":  # both hosts failed, and get nothing for a while
            assert await asked(http) == 502


async def is_back(http: aiohttp.ClientSession) -> bool:
    with suppress(aiohttp.ClientError):
        return await asked(http) == 200
    return False


async def too_many(http: aiohttp.ClientSession, url: str) -> int:
    """The status of a request beside so many of the same address that do not end."""
    place = url.removeprefix("http://")
    host, port = place.split(":")
    head = f"POST /api/v1/auth/login HTTP/1.1\r\nHost: {place}\r\nContent-Length: 9\r\n\r\n{{"
    found = 0

    async def refused() -> bool:
        """Each time with new ones: a busy machine may have ended the last ones by now."""
        nonlocal found
        writers = []
        try:
            for _ in range(5):
                _, writer = await asyncio.open_connection(host, int(port))
                writers.append(writer)
                writer.write(head.encode())
            found = await asked(http)
            return found != 200
        finally:
            for writer in writers:
                writer.close()

    await until(refused, within=10, what="it is refused")
    return found


def test_each_error_has_an_answer_of_its_own() -> None:
    """Both files, also where the program is not installed."""
    for name, form in (
        ("nginx.conf.example", r"^ +(\d{3}) +'(\{.*\})';$"),
        ("haproxy.cfg.example", r"^ +http-error status (\d{3}) content-type \S+ string '(\{.*\})'"),
    ):
        found = dict(re.findall(form, (CONFIG / name).read_text(), re.MULTILINE))
        assert {"413", "429", "502", "503", "504"} <= found.keys()
        for text in found.values():
            assert json.loads(text).keys() == {"error", "code"}
