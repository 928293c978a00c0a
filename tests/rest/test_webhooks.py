"""Webhooks as their owners manage them, and the generic one."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

from tests.conftest import Board, Door
from tests.person import Person
from tests.posting import SECRET, Hook, hook, signed
from warmdesk.changes import webhooks
from warmdesk.changes.webhooks import Delivery
from warmdesk.desk import Desk
from warmdesk.errors import WarmDeskError
from warmdesk.hosts.text import Effect
from warmdesk.http.deliveries import SEALED_FOR
from warmdesk.jobs import retention
from warmdesk.jobs.retention import Retention
from warmdesk.metrics import WEBHOOK_DELIVERIES
from warmdesk.metrics.rows import ROWS
from warmdesk.schemas.webhooks import MAX_WEBHOOKS
from warmdesk.sealing import Sealing


async def lines(person: Person) -> list[str]:
    """What stands in the chat."""
    return [each["body"] for each in await person.get("/projects/demo/chat/messages?limit=200")]


async def test_a_line_is_seen_live_and_in_the_chat(board: Board, olga: Person, bob: Person) -> None:
    ci = await hook(olga, name="CI")
    async with bob.socket("demo") as socket:
        answer = await ci.post({"text": "Deployed 🚀", "username": "Robot"})
        event = await socket.next("chat.message")
    message = event["payload"]
    assert answer == {"ok": True, "id": message["id"]}
    assert (event["actor_id"], message["user_id"], message["user"]) == (None, None, None)
    assert (message["is_bot"], message["bot_name"]) == (True, "Robot")
    assert message["body"] == "Deployed 🚀"
    assert await bob.get(f"{board.path}/chat/messages") == [message]
    await ci.post({"text": "Again"})
    assert (await bob.get(f"{board.path}/chat/messages"))[-1]["bot_name"] == "CI"


async def test_nobody_is_notified_by_a_name(board: Board, olga: Person, alice: Person) -> None:
    await (await hook(olga)).post({"text": "@alice @all look"})
    told = (await alice.get("/notifications"))["items"]
    assert "mention" not in {each["kind"] for each in told}
    assert await lines(alice) == ["@alice @all look"]


# Managing


async def test_the_token_and_the_secret_are_shown_once(board: Board, olga: Person) -> None:
    made = await olga.post(f"{board.path}/webhooks", {"name": " CI ", "secret": SECRET})
    token = made.pop("token")
    assert made.pop("url") == f"{olga.url}/api/v1/webhooks/{token}"
    assert (made["name"], made["token_hint"], made["has_secret"]) == ("CI", token[-8:], True)
    assert (made["type"], made["enabled"], made["created_by_id"]) == ("generic", True, olga.id)
    listed = await olga.get(f"{board.path}/webhooks")
    assert listed == [made]
    assert token not in str(listed)
    assert SECRET not in str((made, listed))


@pytest.mark.parametrize(
    ("type", "path"),
    [
        ("generic", "webhooks"),
        ("github", "github-webhook"),
        ("gitlab", "gitlab-webhook"),
        ("gitea", "gitea-webhook"),
        ("forgejo", "gitea-webhook"),
    ],
)
@pytest.mark.settings(base_url="https://desk.example.org/")
async def test_the_address_is_that_of_the_type(
    board: Board, olga: Person, type: str, path: str
) -> None:
    made = (await hook(olga, type=type)).made
    assert made["url"] == f"https://desk.example.org/api/v1/{path}/{made['token']}"


async def test_what_is_wrong_with_a_webhook_is_named(board: Board, olga: Person) -> None:
    path = f"{board.path}/webhooks"
    for body, field in (
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a", "type": "svn"}, "type"),
        ({"name": "a", "secret": "x" * 201}, "secret"),
    ):
        assert field in (await olga.post(path, body, status=400))["fields"]
    assert await olga.get(path) == []


async def test_a_project_has_so_many_webhooks(board: Board, olga: Person, connection: Any) -> None:
    await connection.execute(
        "insert into project_webhooks"
        " (project_id, name, type, token_hash, token_hint, created_by_id)"
        " select $1, 'n', 'generic', sha256(n::text::bytea), 'x', 1 from generate_series(2, $2) n",
        board.id,
        MAX_WEBHOOKS,
    )
    last = await hook(olga)
    refused = await olga.post(f"{board.path}/webhooks", {"name": "one more"}, status=422)
    assert refused["code"] == "too_many_webhooks"
    await olga.delete(last.path)
    await hook(olga)


async def test_a_webhook_is_turned_off_and_on(board: Board, olga: Person) -> None:
    ci = await hook(olga)
    changed = await olga.put(ci.path, {"enabled": False, "name": "Builds"})
    assert (changed["enabled"], changed["name"]) == (False, "Builds")
    refused = await ci.post({"text": "a"}, status=403)
    assert refused["code"] == "webhook_disabled"
    await olga.put(ci.path, {"enabled": True})
    await ci.post({"text": "b"})
    assert await lines(olga) == ["b"]
    assert (await ci.shown())["name"] == "Builds"


async def test_another_token_ends_the_one_before(board: Board, olga: Person) -> None:
    ci = await hook(olga)
    new = await olga.post(f"{ci.path}/regenerate", status=200)
    assert (await ci.post({"text": "a"}, status=401))["code"] == "invalid_token"
    assert new["token_hint"] == new["token"][-8:] == (await ci.shown())["token_hint"]
    again = Hook(olga, ci.path, {**ci.made, **new})
    await again.post({"text": "b"})
    await olga.delete(ci.path)
    await again.post({"text": "c"}, status=401)
    await olga.delete(ci.path, status=404)
    assert await lines(olga) == ["b"]
    assert await olga.get(f"{board.path}/webhooks") == []


async def test_a_key_shows_no_token_that_is_dead(board: Board, olga: Person) -> None:
    path, body = f"{board.path}/webhooks", {"name": "CI"}
    made = (await olga.request("POST", path, body, key="one")).body
    assert (await olga.request("POST", path, body, key="one")).body == made
    await olga.post(f"{path}/{made['id']}/regenerate", status=200)
    again = await olga.request("POST", path, body, key="one")
    assert (again.status, again.body["code"]) == (410, "deleted")


async def test_an_archived_project_takes_nothing_and_lets_go(board: Board, olga: Person) -> None:
    ci = await hook(olga)
    await olga.delete(board.path)
    assert (await ci.post({"text": "a"}, status=404))["error"] == "the project is archived"
    await olga.put(ci.path, {"name": "b"}, status=422)
    await olga.post(f"{board.path}/webhooks", {"name": "b"}, status=422)
    (failed,) = await ci.deliveries()
    assert (failed["status"], failed["reason"]) == (404, "the project is archived")
    await olga.put(board.path, {"is_archived": False})
    again = await olga.post(f"{ci.path}/deliveries/{failed['id']}/redeliver", status=200)
    assert (again["status"], again["posted"]) == (201, True)
    assert await lines(olga) == ["a"]
    await olga.delete(board.path)
    await olga.delete(ci.path)


# The token


@pytest.mark.parametrize(
    "token", ["0" * 64, "0" * 63, "x" * 64, "A" * 64, "0" * 65, "%00", "..", "1"]
)
@pytest.mark.parametrize("path", ["webhooks", "github-webhook", "gitlab-webhook", "gitea-webhook"])
async def test_an_unknown_token_is_refused(
    board: Board, olga: Person, url: str, path: str, token: str
) -> None:
    made = {"id": 0, "type": "generic", "token": token, "url": f"{url}/api/v1/{path}/{token}"}
    answer = await Hook(olga, "", made).request({"text": "a"})
    expected = (404, "not_found") if token in ("..", "%00") else (401, "invalid_token")
    assert (answer.status, answer.body["code"]) == expected


async def test_a_token_is_good_where_its_type_is(board: Board, olga: Person, url: str) -> None:
    types = ("generic", "github", "gitlab", "gitea", "forgejo")
    made = {type: await hook(olga, type=type) for type in types}
    for own in made.values():
        for other in made.values():
            base = other.url.rpartition("/")[0]
            stranger = Hook(olga, own.path, {**own.made, "url": f"{base}/{own.token}"})
            answer = await stranger.request({}, X_GitHub_Event="ping", X_Gitlab_Event="Ping")
            same = base == own.url.rpartition("/")[0]
            assert (answer.status == 401) is not same, (own.url, other.url, answer)


# What comes


async def test_forms_and_plain_text_hold_json(board: Board, olga: Person) -> None:
    ci = await hook(olga)
    form = "application/x-www-form-urlencoded"
    await ci.post(b"payload=%7B%22text%22%3A%22a%22%7D", Content_Type=form)
    await ci.post(b'{"text":"b & c"}', Content_Type=form)
    await ci.post(b'{"text":"d"}', Content_Type="text/plain; charset=utf-8")
    await ci.post(b'\n {"text":"e"}\n', Content_Type="application/json; charset=utf-8")
    assert await lines(olga) == ["a", "b & c", "d", "e"]
    assert "payload" in (await ci.post(b"text=a", Content_Type=form, status=400))["fields"]
    await ci.post(b"\xff=1", Content_Type=form, status=400)
    await ci.post(b"<a/>", Content_Type="application/xml", status=415)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b'"a"', b"5", b"\xff", b'{"text":"\xff"}', b'{"text":NaN}'),
        *(b'{"text":""}', b'{"text":" "}', b'{"text":5}', b'{"text":"\\ud800"}', b"{} {}"),
        *(b"[" * 100_000, b'{"a":' * 100_000, b'{"text":"\\u0000"}'),
    ],
)
async def test_a_bad_body_is_refused_and_remembered(
    board: Board, olga: Person, body: bytes
) -> None:
    ci = await hook(olga)
    refused = await ci.post(body, status=400)
    (told,) = await ci.deliveries()
    assert (told["status"], told["reason"], told["posted"]) == (400, refused["error"], False)
    assert told["can_redeliver"]
    again = await olga.post(f"{ci.path}/deliveries/{told['id']}/redeliver", status=200)
    assert (again["id"], again["status"]) == (told["id"], 400)
    assert await lines(olga) == []


async def test_a_body_has_its_limit_and_is_not_read_beyond_it(board: Board, olga: Person) -> None:
    ci, git = await hook(olga), await hook(olga, type="github")
    largest = b'{"text":"%b"}' % (b"x" * ((1 << 20) - 11))
    await ci.post(largest)
    await ci.post(largest + b" ", status=413)
    assert len((await lines(olga))[0]) == 20_000
    head = (
        f"POST {git.url.partition(olga.url)[2]} HTTP/1.1\r\nHost: x\r\n"
        "Content-Type: application/json\r\nX-GitHub-Event: push\r\n"
    )
    host, port = olga.url.removeprefix("http://").split(":")
    for more in (f"Content-Length: {(25 << 20) + 1}\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write((head + more).encode())
        sent = 0
        while "chunked" in more and sent < 40 << 20:
            writer.write(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
            sent += 1 << 20
            try:
                await asyncio.wait_for(writer.drain(), 2)
            except (TimeoutError, ConnectionError):
                break
            if sent > 25 << 20:
                break
        answer = await asyncio.wait_for(reader.readline(), 20)
        assert answer.startswith(b"HTTP/1.1 413 "), answer
        writer.close()


# Once


async def test_a_delivery_is_taken_once(board: Board, olga: Person, connection: Any) -> None:
    ci = await hook(olga)
    keys = [f"key {n}".replace(" ", "-") for n in range(20)]
    answers = await asyncio.gather(
        *(ci.post({"text": key}, status=None, Idempotency_Key=key) for key in keys)
    )
    assert len({each["id"] for each in answers}) == 20
    head = (await olga.get(board.path))["seq"]
    repeated = [ci.request({"text": "x"}, Idempotency_Key=key) for key in keys * 2]
    for each in await asyncio.gather(*repeated):
        assert (each.status, each.body) == (200, {"ok": True, "duplicate": True})
    assert (await olga.get(board.path))["seq"] == head
    assert sorted(await lines(olga)) == sorted(keys)
    assert await connection.fetchval("select count(*) from webhook_deliveries") == 20
    other = await hook(olga)
    await other.post({"text": "y"}, Idempotency_Key=keys[0])


async def test_of_many_at_once_one_is_taken(board: Board, olga: Person) -> None:
    ci = await hook(olga)
    answers = await asyncio.gather(
        *(ci.request({"text": "a"}, Idempotency_Key="one") for _ in range(12))
    )
    assert sorted(each.status for each in answers) == [200] * 11 + [201]
    assert await lines(olga) == ["a"]


async def test_without_a_key_each_is_another(board: Board, olga: Person) -> None:
    ci = await hook(olga)
    await ci.post({"text": "a"})
    await ci.post({"text": "a"})
    assert await lines(olga) == ["a", "a"]
    assert len(await ci.deliveries()) == 2


async def test_after_seven_days_it_is_another(board: Board, olga: Person, connection: Any) -> None:
    ci = await hook(olga)
    await ci.post({"text": "a"}, Idempotency_Key="one")
    old = "update webhook_deliveries set received_at = now() - interval '7 days 1 second'"
    await connection.execute(old)
    await ci.post({"text": "b"}, Idempotency_Key="one")
    assert await lines(olga) == ["a", "b"]


@pytest.mark.parametrize("key", ["", "x" * 201, "ä", "a b"])
async def test_a_key_is_visible_ascii(board: Board, olga: Person, key: str) -> None:
    ci = await hook(olga)
    answer = await ci.request({"text": "a"}, Idempotency_Key=key)
    assert answer.status == 400
    assert "Idempotency-Key" in answer.body["fields"]


async def test_a_token_that_ended_meanwhile_writes_nothing(
    board: Board, olga: Person, desk: Desk
) -> None:
    """It was good when the delivery began."""
    for ends in ("regenerate", "delete"):
        ci = await hook(olga)
        found = await webhooks.find(desk.changes, ci.token, 0.0)
        if ends == "delete":
            await olga.delete(ci.path)
        else:
            await olga.post(f"{ci.path}/regenerate", status=200)
        delivery = Delivery("generic", "generic", "one", b"{}")
        with pytest.raises(WarmDeskError) as refused:
            await webhooks.take(desk.changes, found, ci.token, delivery, Effect(line="a"))
        assert refused.value.status == 401
    assert await lines(olga) == []


async def test_what_this_very_request_wrote_is_answered_as_it_was(
    board: Board, olga: Person, desk: Desk
) -> None:
    """The connection was lost behind the commit, and it asks again."""
    ci = await hook(olga)
    found = await webhooks.find(desk.changes, ci.token, 0.0)
    delivery, does = Delivery("generic", "generic", "one", b"{}"), Effect(line="a")
    first = await webhooks.take(desk.changes, found, ci.token, delivery, does)
    assert await webhooks.take(desk.changes, found, ci.token, delivery, does) == first
    other = Delivery("generic", "generic", "one", b"{}")
    again = await webhooks.take(desk.changes, found, ci.token, other, does)
    assert (again.status, again.text) == (200, '{"ok":true,"duplicate":true}')
    assert await lines(olga) == ["a"]


# Signed


async def test_with_a_secret_each_delivery_is_signed(board: Board, olga: Person) -> None:
    ci = await hook(olga, secret=SECRET)
    body, signature = signed({"text": "a"})
    await ci.post(body, X_Hub_Signature_256=f"sha256={signature}")
    for headers in (
        {},
        {"X_Hub_Signature_256": ""},
        {"X_Hub_Signature_256": "sha256="},
        {"X_Hub_Signature_256": f"sha256={signature[:-1]}0"},
        {"X_Hub_Signature_256": f"sha1={signature}"},
        {"X_Hub_Signature_256": f"sha256={signed({'text': 'a'}, 'other')[1]}"},
        {"X_Hub_Signature_256": "ä" * 64},
    ):
        refused = await ci.post(body, status=401, **headers)
        assert refused["code"] == "invalid_signature"
    await ci.post(body + b" ", status=401, X_Hub_Signature_256=f"sha256={signature}")
    assert await lines(olga) == ["a"]


async def test_a_secret_comes_and_goes(board: Board, olga: Person) -> None:
    ci = await hook(olga)
    assert (await olga.put(ci.path, {"secret": SECRET}))["has_secret"] is True
    await ci.post({"text": "a"}, status=401)
    assert (await olga.put(ci.path, {"name": "b"}))["has_secret"] is True
    for none in (None, ""):
        await olga.put(ci.path, {"secret": SECRET})
        assert (await olga.put(ci.path, {"secret": none}))["has_secret"] is False
        await ci.post({"text": "b"})


async def test_a_signature_that_was_wrong_is_right_with_the_right_secret(
    board: Board, olga: Person
) -> None:
    """It is asked for again: who knows only the address cannot have an owner post for them."""
    ci = await hook(olga, secret="another")
    body, signature = signed({"text": "a"})
    await ci.post(body, status=401, X_Hub_Signature_256=f"sha256={signature}")
    await ci.post({"text": "forged"}, status=401)
    forged, failed = await ci.deliveries()
    again = await olga.post(f"{ci.path}/deliveries/{failed['id']}/redeliver", status=200)
    assert again["status"] == 401
    await olga.put(ci.path, {"secret": SECRET})
    again = await olga.post(f"{ci.path}/deliveries/{failed['id']}/redeliver", status=200)
    assert (again["status"], again["posted"], again["can_redeliver"]) == (201, True, False)
    again = await olga.post(f"{ci.path}/deliveries/{forged['id']}/redeliver", status=200)
    assert again["status"] == 401
    assert await lines(olga) == ["a"]
    done = await olga.post(f"{ci.path}/deliveries/{failed['id']}/redeliver", status=409)
    assert done["code"] == "delivery_not_failed"


async def test_what_failed_may_come_again_by_its_name(board: Board, olga: Person) -> None:
    ci = await hook(olga)
    await ci.post({"text": ""}, status=400, Idempotency_Key="one")
    await ci.post({"text": "a"}, Idempotency_Key="one")
    await ci.post({"text": ""}, status=400, Idempotency_Key="one")
    (told,) = await ci.deliveries()
    assert (told["status"], told["delivery_id"], told["reason"]) == (201, "one", "")


# What was delivered


async def test_the_last_fifty_are_listed(board: Board, olga: Person, connection: Any) -> None:
    ci = await hook(olga)
    assert await ci.deliveries() == []
    for n in range(55):
        await ci.post({"text": f"{n}"}, Idempotency_Key=f"k{n}")
    await ci.post(b"{", status=400)
    told = await ci.deliveries()
    assert [each["delivery_id"] for each in told[1:]] == [f"k{n}" for n in range(54, 5, -1)]
    assert (told[0]["event"], told[0]["status"], told[0]["linked"]) == ("generic", 400, 0)
    shown = await ci.shown()
    assert (shown["last_delivery_at"], shown["last_status"]) == (told[0]["received_at"], 400)
    assert "Good" not in str(told)


async def test_what_is_too_large_is_not_kept(board: Board, olga: Person) -> None:
    git = await hook(olga, type="github")
    await git.post(b"{" + b" " * (1 << 20), status=400, X_GitHub_Event="push")
    (told,) = await git.deliveries()
    assert told["can_redeliver"] is False
    refused = await olga.post(f"{git.path}/deliveries/{told['id']}/redeliver", status=409)
    assert refused["code"] == "delivery_not_kept"


KEPT = "select count(*) from {}"


async def test_the_newest_fifty_that_failed_are_kept(
    board: Board, olga: Person, connection: Any
) -> None:
    ci, other = await hook(olga), await hook(olga)
    await other.post(b"{", status=400)
    for n in range(53):
        await ci.post(b"{", status=400, Idempotency_Key=f"k{n}")
    assert await connection.fetchval(KEPT.format("webhook_bodies")) == 51
    told = await ci.deliveries()
    assert [each["delivery_id"] for each in told] == [f"k{n}" for n in range(52, 2, -1)]
    assert all(each["can_redeliver"] for each in told)


async def test_deliveries_go_in_time(
    board: Board, olga: Person, desk: Desk, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0.0)
    ci, gone = await hook(olga), await hook(olga)
    await ci.post({"text": "a"})
    await ci.post(b"{", status=400)
    await gone.post({"text": "a"})
    await olga.delete(gone.path)
    old = "update webhook_deliveries set received_at = now() - interval '{}' where status = {}"
    await connection.execute(old.format("7 days 2 minutes", 400))
    await Retention(desk).turn()
    assert await connection.fetchval(KEPT.format("webhook_bodies")) == 0
    assert await connection.fetchval(KEPT.format("webhook_deliveries")) == 2
    assert await connection.fetchval(KEPT.format("project_webhooks")) == 2
    await connection.execute(old.format("8 days", 201))
    await Retention(desk).turn()
    assert await connection.fetchval(KEPT.format("webhook_deliveries")) == 0
    assert await connection.fetchval(KEPT.format("project_webhooks")) == 1


# Limits, metrics, logs


@pytest.mark.settings(rate_limits=True, webhook_deliveries_per_minute=5)
async def test_a_flood_is_refused_before_it_is_read(board: Board, olga: Person) -> None:
    ci, other = await hook(olga), await hook(olga)
    answers = [await ci.request({"text": "a"}) for _ in range(8)]
    assert [each.status for each in answers] == [201] * 5 + [429] * 3
    assert answers[-1].body["code"] == "rate_limited"
    assert answers[-1].headers["RateLimit-Policy"] == '"webhook";q=5;w=60'
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    await other.post({"text": "b"})
    assert len(await ci.deliveries()) == 5


async def test_deliveries_are_counted(board: Board, olga: Person) -> None:
    def count(result: str) -> float:
        return float(ROWS.mine[WEBHOOK_DELIVERIES.at(type="generic", result=result).offset])

    before = {name: count(name) for name in ("taken", "duplicate", "refused")}
    ci = await hook(olga)
    await ci.post({"text": "a"}, Idempotency_Key="one")
    await ci.post({"text": "a"}, status=200, Idempotency_Key="one")
    await ci.post(b"{", status=400)
    assert {name: count(name) - was for name, was in before.items()} == {
        "taken": 1,
        "duplicate": 1,
        "refused": 1,
    }


async def test_no_log_has_a_token_or_a_secret(
    board: Board, olga: Person, url: str, caplog: pytest.LogCaptureFixture, door: Door
) -> None:
    caplog.set_level(logging.DEBUG)
    for type in ("generic", "github", "gitlab", "gitea"):
        made = await hook(olga, type=type, secret=SECRET)
        await made.request(b"{", X_Gitlab_Token="a guess", X_GitHub_Event="push")
        await made.request({"text": "a"}, X_Hub_Signature_256="sha256=0")
        assert made.token not in caplog.text
    assert SECRET not in caplog.text


async def test_events_are_in_order_and_whole(board: Board, olga: Person, bob: Person) -> None:
    """Deliveries at once to several webhooks of one project."""
    hooks = [await hook(olga) for _ in range(4)]
    async with bob.socket("demo") as socket:
        began = time.monotonic()
        await asyncio.gather(*(each.post({"text": f"{n}"}) for n in range(25) for each in hooks))
        told = [await socket.next("chat.message") for _ in range(100)]
    assert time.monotonic() - began < 60
    seqs = [each["seq"] for each in told]
    assert seqs == list(range(seqs[0], seqs[0] + 100))
    ids = [each["payload"]["id"] for each in told]
    assert ids == sorted(ids)


async def test_what_owners_do_with_webhooks_is_written_down(
    board: Board, olga: Person, root: Person
) -> None:
    """Without the secrets."""
    path = f"{board.path}/webhooks"
    made = await olga.post(path, {"name": "Builds", "secret": "s3cret"})
    await olga.put(f"{path}/{made['id']}", {"enabled": False, "secret": "an0ther"})
    await olga.post(f"{path}/{made['id']}/regenerate", status=200)
    await olga.delete(f"{path}/{made['id']}")
    lines = await root.get("/admin/audit?limit=4")
    assert [line["action"] for line in reversed(lines)] == [
        *("webhook.created", "webhook.changed", "webhook.changed", "webhook.deleted"),
    ]
    assert {line["target_id"] for line in lines} == {made["id"]}
    assert {line["actor"]["username"] for line in lines} == {"olga"}
    assert lines[2]["after"] == {"project_id": board.id, "enabled": False, "secret": "…"}
    for secret in ("s3cret", "an0ther", made["token"]):
        assert secret not in str(lines)


async def test_a_secret_is_sealed_in_the_database(
    board: Board, olga: Person, connection: Any
) -> None:
    ci = await hook(olga, secret=SECRET)
    stored = await connection.fetchval("select secret from project_webhooks")
    assert SECRET not in stored
    raw, proof = signed({"text": "Hello"})
    proof = f"sha256={proof}"
    await ci.post(raw, X_Hub_Signature_256=proof)
    other = Sealing("another secret key").seal(SECRET, SEALED_FOR)
    await connection.execute("update project_webhooks set secret = $1", other)
    refused = await ci.post(raw, status=401, X_Hub_Signature_256=proof)
    assert refused["error"].endswith("an owner has to set it again")
    assert (await ci.deliveries())[0]["status"] == 401
    await olga.put(ci.path, {"secret": SECRET})
    await ci.post(raw, X_Hub_Signature_256=proof)
