"""Files as forms send them, and how tests fetch them again."""

from __future__ import annotations

from io import BytesIO
from typing import Any, NamedTuple

from tests.closed import check_answer, compact
from tests.person import Person

LARGE = 1 << 20
"""Bytes of a body that aiohttp's client would not have at once."""
BOUNDARY = "warmdesk-tests"
AS_FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000"
    "000c4944415478da63f8cfc0000003010100f70341430000000049454e44ae426082"
)
"""A picture of one pixel."""


def form(*files: tuple[str, bytes], part: str = "file", **fields: object) -> bytes:
    """The body of a form with these files, each as its name and what it holds, and other parts."""
    begin = f"--{BOUNDARY}\r\nContent-Disposition: form-data"
    others = (f'{begin}; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items())
    body = "".join(others).encode()
    for filename, content in files:
        head = f'{begin}; name="{part}"; filename="{filename}"\r\nContent-Type: text/html\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


async def upload(person: Person, path: str, *files: tuple[str, bytes], **options: Any) -> Any:
    """Upload files; `status` is the one that is expected, other options are parts of the form."""
    status = options.pop("status", 201)
    sent = form(*files, **options)
    if len(sent) < LARGE:
        return await person.post(path, sent, headers=AS_FORM, status=status)
    await person.token()
    address, headers = person.client.url + path, person.client.credentials | AS_FORM
    async with person.client.session.post(address, data=BytesIO(sent), headers=headers) as answer:
        body = compact(await answer.read())
    check_answer("POST", path, answer.status, body)
    assert answer.status == status, body
    return body


class Fetched(NamedTuple):
    status: int
    headers: Any
    body: bytes


async def fetch(person: Person, url: str, method: str = "GET", **headers: str) -> Fetched:
    """What is at the `url` of a file, byte by byte. Underscores in names stand for hyphens."""
    if person.client.api_key is None:
        await person.token()
    address = person.client.url + url.removeprefix("/api/v1")
    sent = person.client.credentials | {k.replace("_", "-"): v for k, v in headers.items()}
    async with person.client.session.request(method, address, headers=sent) as answer:
        return Fetched(answer.status, answer.headers, await answer.read())
