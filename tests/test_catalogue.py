"""The catalogue is the protocol: names have one form, payloads are closed, rules are complete."""

from __future__ import annotations

import re
from typing import Any, get_args

import msgspec
import pytest

from tests.checkers.mirror import RULES
from tests.closed import check, check_event, check_frame, undeclared
from warmdesk.db.migrations import files
from warmdesk.realtime import events
from warmdesk.realtime.channels import (
    CONTROL,
    EventScope,
    project_channel,
    project_of,
    scope_of,
    user_channel,
)
from warmdesk.realtime.events import CATALOGUE, ERASING, Event
from warmdesk.schemas.audit import Action

SEED = {
    "board.card_created",
    "board.card_updated",
    "board.card_moved",
    "board.card_deleted",
    "chat.message",
    "topic.created",
    "presence.join",
    "presence.leave",
}
OWN_VIEW = {"my_role", "starred", "watching", "unread_count", "last_read_message_id", "muted"}


def names(kind: Any, seen: frozenset[Any] = frozenset()) -> set[str]:
    """Every key that a type may show, those of nested types too."""
    if kind in seen:
        return set()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        found = set()
        for field in msgspec.structs.fields(kind):
            found |= {field.encode_name} | names(field.type, seen | {kind})
        return found
    found = set()
    for inner in getattr(kind, "__args__", ()):
        found |= names(inner, seen)
    return found


def test_the_names_of_the_api_page_are_there() -> None:
    assert CATALOGUE.keys() >= SEED


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=lambda kind: kind.name)
def test_an_entry_has_a_name_a_struct_and_a_sentence(kind: Event) -> None:
    assert re.fullmatch(r"[a-z]+(\.[a-z_]+)?", kind.name)
    assert issubclass(kind.payload, msgspec.Struct)
    assert re.fullmatch(r"[A-Z].*\.", kind.sentence)


def test_every_line_of_the_catalogue_has_its_own_name() -> None:
    constants = [value for value in vars(events).values() if isinstance(value, Event)]
    assert len(constants) == len(CATALOGUE)
    assert {kind.name for kind in constants} == CATALOGUE.keys()


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=lambda kind: kind.name)
def test_no_payload_holds_the_view_of_one_reader(kind: Event) -> None:
    """An event goes to everybody on the channel; e-mails and secrets to nobody but their owner."""
    found = names(kind.payload)
    assert not found & {"password", "password_hash", "key_hash", "token_hash", "totp_secret"}
    if kind.scope is not EventScope.USER:
        assert not found & (OWN_VIEW | {"email"})


def test_the_rules_of_the_mirror_are_for_events_of_a_project() -> None:
    shown = (EventScope.PROJECT, EventScope.ANY)
    of_projects = {kind.name for kind in CATALOGUE.values() if kind.stored and kind.scope in shown}
    assert RULES.keys() <= of_projects


def test_sql_spells_events_as_the_catalogue_does() -> None:
    kinds = "|".join({name.partition(".")[0] for name in CATALOGUE if "." in name})
    for folder in ("shapes", "changes", "queries"):
        for name, text in files(folder):
            spelled = set(re.findall(rf"'((?:{kinds})\.[a-z_]+)'", text))
            assert spelled <= CATALOGUE.keys() | {*get_args(Action)}, name
            alone = re.findall(r"\bwrite_event\([^;]*?'([a-z]+\.[a-z_]+)'", text)
            assert not set(alone) & set(ERASING), f"{name}: write_event erases nothing"


def test_a_channel_tells_its_kind() -> None:
    assert scope_of(project_channel(7)) is EventScope.PROJECT
    assert scope_of(user_channel(7)) is EventScope.USER
    assert scope_of(CONTROL) is EventScope.CONTROL
    assert [project_of(each) for each in (project_channel(7), user_channel(7), CONTROL)] == [
        7,
        None,
        None,
    ]


def test_an_event_in_a_feed_of_another_kind_is_a_leak() -> None:
    check_event(project_channel(7), "topic.deleted", '{"id":7}')
    for channel in (user_channel(7), CONTROL):
        with pytest.raises(AssertionError, match=f"is for project, but stands in {channel}"):
            check_event(channel, "topic.deleted", '{"id":7}')
        check_event(channel, "gone", "{}")


def test_signals_have_no_seq_and_events_have_one() -> None:
    pong = {"type": "pong", "payload": {"server_time": "2026-04-04T10:00:00.000000Z", "seq": 3}}
    check_frame(pong)
    with pytest.raises(AssertionError, match="has a seq if it is stored"):
        check_frame(pong | {"seq": 4})


def test_an_undeclared_key_is_a_leak() -> None:
    user = {"id": 1, "username": "alice", "display_name": "Alice", "avatar_url": None}
    check_frame({"type": "presence.join", "payload": user | {"user_id": 1}})
    with pytest.raises(AssertionError, match=r"says more than .*: \.email"):
        check_frame({"type": "presence.join", "payload": user | {"user_id": 1, "email": "a@b"}})
    with pytest.raises(AssertionError, match="not in the catalogue"):
        check_event(project_channel(7), "board.card_painted", "{}")
    with pytest.raises(AssertionError, match="does not fit"):
        check_event(project_channel(7), "board.column_deleted", '{"column_id":"seven"}')


def test_undeclared_keys_are_found_however_deep() -> None:
    given = {"a": [{"b": 1, "secret": 2}], "c": 1000}
    declared = {"a": [{"b": 1}], "c": 1000.0, "optional": None}
    assert undeclared(given, declared) == [".a[0].secret"]


def test_a_shape_with_less_than_it_declares_does_not_fit() -> None:
    with pytest.raises(AssertionError, match="does not fit"):
        check({"id": 1}, CATALOGUE["board.card_created"].payload, "a card")
