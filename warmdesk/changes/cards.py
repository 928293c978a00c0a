"""Cards made, written and moved: each one call of a function in ``sql/changes/cards.sql``; and what
other changes tell of a card.

A struct's keys that were sent become the function's fields, of the right type: dates as dates, tags
as they are kept, lists without doubles, and null for what is cleared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from msgspec import UNSET, Struct
from msgspec.json import Decoder, Encoder

from warmdesk.auth.access import Access
from warmdesk.auth.actor import Actor, EnteredProject, Role
from warmdesk.db.queries import sql
from warmdesk.errors import (
    BadRequest,
    Fault,
    Forbidden,
    Impossible,
    NotFound,
    WarmDeskError,
    field_error,
    fields_error,
)
from warmdesk.realtime.change import Change, ChangeContext, Changes, Outcome, Whole
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.entities import Entity, entity
from warmdesk.realtime.events import CARD_UPDATED
from warmdesk.schemas import Body
from warmdesk.schemas.cards import (
    CardFields,
    CardPlacement,
    CardSummary,
    CreateCard,
    MoveCard,
    ReorderCard,
    TransferCard,
    UpdateCard,
    UpdateCards,
    day,
    tag_names,
)

encode = Encoder().encode
BULK_BYTES = 8 << 20
"""Text of all cards that one bulk change shows."""
PLACES = ("position", "index", "before_card_id", "after_card_id")


class _Part(Struct):
    id: int


class _Detail(Struct):
    """What hangs on a card, as a `CardDetail` shows it."""

    id: int
    attachments: list[_Part]
    checklist: list[_Part]
    comments: list[_Part]
    links: list[_Part]


_read = Decoder(_Detail).decode


def _parts(answer: str) -> Iterator[Entity]:
    """What hangs on the card that an answer shows."""
    shown = _read(answer)
    card = entity("card", shown.id)
    for kind, parts in (
        ("attachment", shown.attachments),
        ("comment", shown.comments),
        ("item", shown.checklist),
        ("link", shown.links),
    ):
        for part in parts:
            yield card.child(kind, part.id)


DETAIL = Whole("card", _parts)


async def create(
    changes: Changes, context: ChangeContext, column_id: int, body: CreateCard
) -> Outcome:
    """A new card: 201 and its shape."""
    try:
        return await changes.hot(
            sql.cards.create,
            context,
            "card",
            column_id=column_id,
            fields=fields(body),
            **placement(body),
        )
    except WarmDeskError as error:
        _name_as_sent(error, body)
        raise


async def update(changes: Changes, context: ChangeContext, card: str, body: UpdateCard) -> Outcome:
    """Other values for what was sent: 200 and the card with all that hangs on it."""
    try:
        return await changes.hot(
            sql.cards.update, context, DETAIL, card=card, fields=fields(body), shows="detail"
        )
    except WarmDeskError as error:
        _name_as_sent(error, body)
        raise


async def write_list(
    changes: Changes, context: ChangeContext, card: str, shows: str, **lists: Any
) -> tuple[str, bool]:
    """Another assignee, label or tag, for a route that changes nothing else: `lists` are fields of
    an `UpdateCard`, or ``remove_tag_id``. Gives the JSON that `shows` names (``card``, or one of
    its keys), and whether anything changed.
    """
    written = encode(lists).decode()
    row = await changes.one(sql.cards.update, context, card=card, fields=written, shows=shows)
    return row["answer"], bool(row["messages"])


async def archive(
    changes: Changes, context: ChangeContext, card: str, *, archived: bool
) -> Outcome:
    """Off the board, or back at the end of its column: 200 and its shape."""
    return await changes.hot(sql.cards.archive, context, "card", card=card, archived=archived)


async def move(
    changes: Changes, context: ChangeContext, card: str, body: MoveCard | ReorderCard
) -> Outcome:
    """Move it within a column, the card's own when none is given: 200 and its shape."""
    return await changes.hot(
        sql.cards.move,
        context,
        "card",
        card=card,
        column_id=body.column_id if isinstance(body, MoveCard) else None,
        **placement(body),
    )


async def copy(changes: Changes, context: ChangeContext, card: str) -> Outcome:
    """Another card like it, at the end of its column: 201 and its shape."""
    return await changes.hot(sql.cards.copy, context, "card", card=card)


async def transfer(
    changes: Changes,
    context: ChangeContext,
    card: str,
    target_id: int | None,
    body: TransferCard,
    most_bytes: int,
) -> Outcome:
    """To the end of a column of another project, or a copy of it: 201 and its shape there. Without
    a target the body names none that the actor sees: 422. `most_bytes` of all files there: 413.
    """
    return await changes.hot(
        sql.cards.transfer,
        context,
        "card",
        card=card,
        target_id=target_id,
        column_id=body.column_id,
        copies=body.action == "copy",
        most_bytes=most_bytes,
    )


async def where_it_went(
    access: Access, database: Any, actor: Actor, project_id: int, ref: str
) -> tuple[EnteredProject, str]:
    """The project where a card is now that had this key in another, and its key there; `NotFound`
    to who may not see it there.
    """
    found = await sql.cards.went_to(database, project_id=project_id, card=ref)
    try:
        target = await access.enter_project(database, actor, found["slug"], Role.VIEWER)
    except Forbidden as error:
        raise NotFound("card not found") from error
    return target, found["key"]


async def update_many(changes: Changes, context: ChangeContext, body: UpdateCards) -> str:
    """The same change for many cards, all or none: the JSON of all of them in board order. 400 when
    nothing is to be changed, 422 for a move together with something else.
    """
    sent = {
        name: value
        for name in body.change.__struct_fields__
        if (value := getattr(body.change, name)) is not UNSET
    }
    if not sent:
        raise field_error("change", "required", "say what to change")
    alone = Fault("conflicting", "a move goes together with nothing else")
    twice = Fault("conflicting", "the same one is added and removed")
    faults: dict[str, Fault] = {}
    if "column_id" in sent and len(sent) > 1:
        faults = {f"change.{name}": alone for name in sent}
    elif set(sent.get("add_label_ids", ())) & set(sent.get("remove_label_ids", ())):
        faults = {"change.add_label_ids": twice, "change.remove_label_ids": twice}
    if faults:
        raise fields_error(faults, Impossible)
    if "assignee_ids" in sent:
        sent["assignee_ids"] = _distinct(sent["assignee_ids"])
    try:
        row = await changes.one(
            sql.cards.update_many,
            context,
            ids=_distinct(body.ids),
            fields=encode(sent).decode(),
            bytes=BULK_BYTES,
        )
    except WarmDeskError as error:
        for name in sent:
            rename_field(error, name, f"change.{name}")
        raise
    answer: str = row["answer"]
    return answer


def updated(change: Change, project_id: int, card_id: int, *changes: str) -> None:
    """Emit that these keys of a card changed, for a change in Python of a part of it: a new comment
    changes `comment_count`. The card is shown as it is at the event's seq.

    Counters raise no version; a change of the card's own fields raises it itself. TypeError for a
    key that a `CardSummary` does not have.
    """
    unknown = set(changes).difference(CardSummary.__struct_fields__)
    if unknown or not changes:
        raise TypeError(f"a card does not show {', '.join(sorted(unknown)) or 'nothing'}")
    shape = change.shape(sql.cards.updated, id=card_id, changes=list(changes))
    change.emit(project_channel(project_id), CARD_UPDATED, shape, entity=entity("card", card_id))


def placement(body: CreateCard | CardPlacement) -> dict[str, Any]:
    """Where a card should stand, as parameters of the hot functions; 400 for two places at once."""
    given = [name for name in PLACES if getattr(body, name) is not None]
    if len(given) > 1:
        raise BadRequest(
            f"give only one of {', '.join(PLACES)}", fields=dict.fromkeys(given, "conflicting")
        )
    return {
        "index": body.index,
        "position": body.position,
        "before_id": body.before_card_id,
        "after_id": body.after_card_id,
    }


def _date(field: str) -> Callable[[str], str]:
    return lambda text: day(text, field).isoformat()


def _distinct(ids: list[int]) -> list[int]:
    return list(dict.fromkeys(ids))


LISTS: dict[str, Callable[[Any], Any]] = {
    "assignee_ids": _distinct,
    "label_ids": _distinct,
    "tags": tag_names,
}
PARTS = ("add", "remove")
WRITTEN: dict[str, Callable[[Any], Any]] = {
    "title": str.strip,
    "description": str,
    "priority": str,
    "start_date": _date("start_date"),
    "due_date": _date("due_date"),
    "closed": bool,
    "time_spent_minutes": int,
    "column_id": int,
    **LISTS,
    **{f"{verb}_{name}": each for name, each in LISTS.items() for verb in PARTS},
    **{f"{verb}_tags": partial(tag_names, field=f"{verb}_tags") for verb in PARTS},
}


def written(body: Body) -> dict[str, Any]:
    """The keys that were sent of those that the functions know, as they know them."""
    sent: dict[str, Any] = {}
    for name, of_right_type in WRITTEN.items():
        value = getattr(body, name, UNSET)
        if value is UNSET:
            continue
        if value is None or value == "":
            sent[name] = [] if name in LISTS else None
        else:
            sent[name] = of_right_type(value)
    return sent


def fields(body: CardFields) -> str:
    """The keys that were sent, as JSON. `assignee_id` stands for a list of one. 422 for a list that
    is sent whole and in parts.
    """
    sent = written(body)
    if body.assignee_id is not UNSET and "assignee_ids" not in sent:
        sent["assignee_ids"] = [body.assignee_id] if body.assignee_id is not None else []
    _refuse_contradictions(sent, body)
    if (was := getattr(body, "was", UNSET)) is not UNSET:
        sent["was"] = was
    return encode(sent).decode()


def _refuse_contradictions(sent: dict[str, Any], body: CardFields) -> None:
    faults: dict[str, Fault] = {}
    for name in LISTS:
        parts = [part for verb in PARTS if (part := f"{verb}_{name}") in sent]
        if name in sent and parts:
            whole = "assignee_id" if getattr(body, name) is UNSET else name
            fault = Fault("conflicting", "send the whole list, or what changes of it")
            faults |= dict.fromkeys([whole, *parts], fault)
        elif len(parts) == 2 and set(sent[parts[0]]) & set(sent[parts[1]]):
            fault = Fault("conflicting", "the same one is added and removed")
            faults |= dict.fromkeys(parts, fault)
    if faults:
        raise fields_error(faults, Impossible)


def _name_as_sent(error: WarmDeskError, body: CardFields) -> None:
    """Give a refusal of the list that `assignee_id` stood for the name that was sent."""
    if body.assignee_ids is UNSET:
        rename_field(error, "assignee_ids", "assignee_id")


def rename_field(error: WarmDeskError, name: str, sent: str) -> None:
    """Give a refusal of a field of another name the name that was sent."""
    refused = error.extra.get("fields", {})
    if name in refused:
        error.message = error.message.replace(name, sent, 1)
        error.extra["fields"] = {sent: refused[name]}
