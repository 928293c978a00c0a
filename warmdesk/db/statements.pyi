"""Made by `bin/statements` of sql/queries/*.sql: change those, not this."""

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar
from uuid import UUID

from warmdesk.db.queries import Hot, Queries, Query, Statements

class Row(Protocol):
    """A row: a column by its name or place. It iterates over its values."""

    def __getitem__(self, column: str | int, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def get(self, column: str, default: Any = None, /) -> Any: ...
    def keys(self) -> Iterable[str]: ...
    def values(self) -> Iterable[Any]: ...
    def items(self) -> Iterable[tuple[str, Any]]: ...

Rows = Sequence[Row]
P = ParamSpec("P")
R = TypeVar("R")

def query(sketch: Callable[Concatenate[Any, P], R]) -> Query[P, R]: ...
def hot(sketch: Callable[Concatenate[Any, P], R]) -> Hot[P, R]: ...

class AccessQueries(Queries):
    @query
    def require_role(
        self,
        *,
        actor: int | None,
        project_id: int | None,
        need: Any,
        archived: bool | None,
        counting: bool | None,
    ) -> Row: ...
    @query
    def require_global_role(
        self, *, actor: int | None, roles: Sequence[str | None] | None
    ) -> str: ...
    @query
    def projects_of(
        self, *, slugs: Sequence[str | None] | None, users: Sequence[int | None] | None
    ) -> Rows: ...

class AttachmentsQueries(Queries):
    @query
    def page(
        self, *, card: str | None, before: int | None, limit: int | None, project_id: int | None
    ) -> Row: ...
    @hot
    def attach_to_card(
        self,
        *,
        card: str | None,
        stored_names: Sequence[str | None] | None,
        filenames: Sequence[str | None] | None,
        mime_types: Sequence[str | None] | None,
        sizes: Sequence[int | None] | None,
        digests: Sequence[str | None] | None,
        most: int | None,
        most_bytes: int | None,
    ) -> Row: ...
    @hot
    def detach_from_card(self, *, card: str | None, attachment_id: int | None) -> Row: ...
    @query
    def keep_uploads(
        self,
        *,
        actor: int | None,
        project_id: int | None,
        conversation_id: int | None,
        stored_names: Sequence[str | None] | None,
        filenames: Sequence[str | None] | None,
        mime_types: Sequence[str | None] | None,
        sizes: Sequence[int | None] | None,
        digests: Sequence[str | None] | None,
        most: int | None,
        most_bytes: int | None,
    ) -> Row: ...
    @query
    def attach_to_owner(
        self,
        *,
        actor: int | None,
        client: str | None,
        owner_type: str | None,
        owner_id: int | None,
        stored_names: Sequence[str | None] | None,
        filenames: Sequence[str | None] | None,
        mime_types: Sequence[str | None] | None,
        sizes: Sequence[int | None] | None,
        digests: Sequence[str | None] | None,
        most: int | None,
        most_bytes: int | None,
    ) -> Row: ...
    @query
    def detach(
        self, *, actor: int | None, client: str | None, attachment_id: int | None
    ) -> Row: ...
    @query
    def of_card(self, *, card: str | None, project_id: int | None, id: int | None) -> Row: ...
    @query
    def seen(self, *, id: int | None, reader: int | None) -> Row: ...
    @query
    def removed(self, *, limit: int | None) -> Rows: ...
    @query
    def forget_removed(self, *, names: Sequence[str | None] | None) -> str: ...
    @query
    def unknown(self, *, names: Sequence[str | None] | None, spared: float | None) -> Rows: ...

class AuditQueries(Queries):
    @query
    def page(
        self, *, before: int | None, actor_id: int | None, action: str | None, limit: int | None
    ) -> Row: ...
    @query
    def write(
        self,
        *,
        actor_id: int | None,
        ip: Any,
        action: Any,
        target_type: Any,
        target_id: int | None,
        before: str | None,
        after: str | None,
    ) -> str: ...

class AuthQueries(Queries):
    @query
    def session_holders(
        self, *, sessions: Sequence[str | None] | None, users: Sequence[int | None] | None
    ) -> Rows: ...
    @query
    def key_owner(self, *, key_hash: str | None, key_id: int | None) -> Rows: ...
    @query
    def note_key_use(self, *, key_id: Any) -> str: ...
    @query
    def by_login(
        self, *, ip: str | None, recent: datetime.timedelta | None, near: str | None, login: Any
    ) -> Row: ...
    @query
    def note_login(
        self, *, user_id: int | None, actor_id: int | None, event: Any, ip: Any, user_agent: Any
    ) -> str: ...
    @query
    def enter(
        self,
        *,
        days: int | None,
        new_hash: str | None,
        user_id: Any,
        checked_hash: Any,
        proved: bool | None,
    ) -> Rows: ...
    @query
    def open_session(
        self,
        *,
        user_id: Any,
        ttl: datetime.timedelta | None,
        user_agent: Any,
        ip: Any,
        token_hash: Any,
    ) -> Any: ...
    @query
    def sessions_beyond(self, *, user_id: Any, most: int | None) -> Rows: ...
    @query
    def known_token(self, *, token_hash: Any) -> Rows: ...
    @query
    def session_of_token(self, *, token_hash: Any) -> Rows: ...
    @query
    def refresh_state(
        self, *, idle: datetime.timedelta | None, grace: datetime.timedelta | None, token_hash: Any
    ) -> Any: ...
    @query
    def rotate(
        self,
        *,
        token_hash: Any,
        session_id: UUID | str | None,
        next_hash: Any,
        ttl: datetime.timedelta | None,
        ip: Any,
        user_agent: Any,
    ) -> str: ...
    @query
    def end_sessions(
        self, *, user_id: Any, only: UUID | str | None, but: UUID | str | None
    ) -> Rows: ...
    @query
    def list_sessions(
        self,
        *,
        current: UUID | str | None,
        user_id: Any,
        before: UUID | str | None,
        limit: int | None,
    ) -> Row: ...
    @query
    def registration_open(self) -> Any: ...
    @query
    def nobody_yet(self) -> Any: ...
    @query
    def lock_admins(self) -> str: ...
    @query
    def register(
        self,
        *,
        email: Any,
        username: Any,
        password_hash: Any,
        first_name: Any,
        last_name: Any,
        display_name: Any,
        locale: Any,
        timezone: Any,
        date_time_format: Any,
        theme: Any,
        font: Any,
        font_size: Any,
        global_role: Any,
    ) -> Row: ...
    @query
    def password_of(self, *, user_id: Any) -> Any: ...
    @query
    def change_password(self, *, user_id: Any, new_hash: Any, checked_hash: Any) -> Rows: ...

class AvatarsQueries(Queries):
    @query
    def hold(
        self, *, sha256: str | None, user_id: int | None, conversation_id: int | None
    ) -> Rows: ...
    @query
    def keep(self, *, sha256: Any, picture: Any) -> str: ...
    @query
    def shown(self, *, sha256: Any) -> Any: ...

class BackupsQueries(Queries):
    @query
    def lock(self) -> Any: ...
    @query
    def lock_longer(self) -> Any: ...
    @query
    def unlock(self) -> Any: ...
    @query
    def wait_for_transactions(self) -> str: ...
    @query
    def facts(self) -> Row: ...
    @query
    def tables(self) -> Rows: ...
    @query
    def sequences(self) -> Rows: ...
    @query
    def files(self, *, after: str | None) -> Rows: ...
    @query
    def keys(self) -> Rows: ...
    @query
    def things(self) -> Rows: ...
    @query
    def remember(self) -> str: ...
    @query
    def carry_over(self, *, made_at: datetime.datetime | None, actor: int | None) -> Any: ...
    @query
    def carry_letters(self) -> str: ...
    @query
    def returned_files(self, *, after: str | None) -> Rows: ...
    @query
    def begin_again(self, *, origin: UUID | str | None) -> Any: ...
    @query
    def lift_sequence(self, *, last: int | None, name: str | None) -> Any: ...
    @query
    def end_others(self) -> Any: ...
    @query
    def note_restore(self, *, actor_id: int | None, ip: str | None, after: str | None) -> str: ...
    @query
    def is_due(self, *, slot: datetime.datetime | None, files: bool | None) -> Any: ...
    @query
    def under_way(self) -> Any: ...
    @query
    def begin(self) -> str: ...
    @query
    def note(
        self,
        *,
        filename: str | None,
        ok: bool | None,
        full: bool | None,
        about: str | None,
        address: str | None,
        each: bool | None,
    ) -> str: ...
    @query
    def loading(self, *, names: Sequence[str | None] | None) -> Rows: ...
    @query
    def locking(self, *, mode: str | None) -> Any: ...
    @query
    def hold_number(self, *, number: int | None) -> str: ...
    @query
    def scratch(self, *, number: int | None) -> Row: ...
    @query
    def left_over(self) -> Rows: ...

class CalendarsQueries(Queries):
    @query
    def renew(self, *, user_id: int | None, token_hash: str | None) -> str: ...
    @query
    def end(self, *, user_id: int | None) -> str: ...
    @query
    def owner(self, *, token_hash: str | None) -> Any: ...
    @query
    def cards(self, *, user_id: int | None, limit: int | None) -> Rows: ...

class CardsQueries(Queries):
    @hot
    def create(
        self,
        *,
        column_id: int | None,
        fields: str | None,
        index: int | None,
        position: float | None,
        before_id: int | None,
        after_id: int | None,
    ) -> Row: ...
    @hot
    def update(self, *, card: str | None, fields: str | None, shows: str | None) -> Row: ...
    @hot
    def move(
        self,
        *,
        card: str | None,
        column_id: int | None,
        index: int | None,
        position: float | None,
        before_id: int | None,
        after_id: int | None,
    ) -> Row: ...
    @hot
    def archive(self, *, card: str | None, archived: bool | None) -> Row: ...
    @hot
    def copy(self, *, card: str | None) -> Row: ...
    @hot
    def transfer(
        self,
        *,
        card: str | None,
        target_id: int | None,
        column_id: int | None,
        copies: bool | None,
        most_bytes: int | None,
    ) -> Row: ...
    @query
    def went_to(self, *, card: str | None, project_id: int | None) -> Row: ...
    @hot
    def update_many(
        self, *, ids: Sequence[int | None] | None, fields: str | None, bytes: int | None
    ) -> Row: ...
    @query
    def find(self, *, card: str | None, project_id: int | None) -> Row: ...
    @query
    def may_watch(self, *, project_id: int | None, user_id: int | None) -> Any: ...
    @query
    def watch(self, *, id: int | None, user_id: int | None) -> str: ...
    @query
    def unwatch(self, *, id: int | None, user_id: int | None) -> Rows: ...
    @query
    def watchers(self, *, id: int | None) -> Any: ...
    @query
    def lock(self, *, card: str | None, project_id: int | None) -> Row: ...
    @query
    def require_version(
        self, *, version: int | None, conflict_status: int | None, id: int | None
    ) -> str: ...
    @query
    def delete(self, *, id: int | None) -> str: ...
    @query
    def deleted_one(self, *, card: str | None, project_id: int | None) -> Row: ...
    @query
    def lock_column(self, *, project_id: int | None, column_id: int | None) -> str: ...
    @query
    def restore(self, *, column_id: int | None, id: int | None) -> Any: ...
    @query
    def purge(self, *, id: int | None) -> Row: ...
    @query
    def tell(
        self, *, project_id: int | None, card_id: int | None, actor: int | None, event_type: Any
    ) -> str: ...
    @query
    def shape(self, *, id: int | None) -> Any: ...
    @query
    def begun(self, *, id: int | None) -> Any: ...
    @query
    def updated(self, *, changes: Sequence[str | None] | None, id: int | None) -> Any: ...
    @query
    def detail(
        self,
        *,
        reader: int | None,
        parts: Sequence[str | None] | None,
        card: str | None,
        project_id: int | None,
    ) -> Row: ...
    @query
    def in_column(
        self,
        *,
        after_card_id: int | None,
        include_archived: bool | None,
        include_closed: bool | None,
        after_id: int | None,
        after_version: int | None,
        column_id: int | None,
        after_position: float | None,
        limit: int | None,
        bytes: int | None,
        brief: bool | None,
        project_id: int | None,
    ) -> Row: ...
    @query
    def in_project(
        self,
        *,
        after_id: int | None,
        include_archived: bool | None,
        only_archived: bool | None,
        column_id: int | None,
        closed: bool | None,
        due_before: Any,
        assignee: int | None,
        label: str | None,
        limit: int | None,
        project_id: int | None,
        bytes: int | None,
    ) -> Row: ...
    @query
    def sorted(
        self,
        *,
        sort: str | None,
        include_archived: bool | None,
        only_archived: bool | None,
        column_id: int | None,
        closed: bool | None,
        due_before: Any,
        assignee: int | None,
        label: str | None,
        project_id: int | None,
        after_id: int | None,
        first: float | None,
        second: int | None,
        third: float | None,
        limit: int | None,
        bytes: int | None,
    ) -> Row: ...
    @query
    def search(
        self,
        *,
        q: str | None,
        after_id: int | None,
        project_id: int | None,
        search_cards: int | None,
        search_bytes: int | None,
        include_archived: bool | None,
        only_archived: bool | None,
        column_id: int | None,
        closed: bool | None,
        due_before: Any,
        assignee: int | None,
        label: str | None,
        limit: int | None,
        bytes: int | None,
    ) -> Row: ...
    @query
    def make_grams(self, *, most: int | None, bytes: int | None) -> Any: ...
    @query
    def deleted(
        self,
        *,
        project_id: int | None,
        before_id: int | None,
        before_us: int | None,
        limit: int | None,
        bytes: int | None,
    ) -> Row: ...
    @query
    def history(
        self,
        *,
        card: str | None,
        before: int | None,
        after: int | None,
        limit: int | None,
        project_id: int | None,
    ) -> Row: ...
    @query
    def activity(
        self, *, project_id: int | None, before: int | None, limit: int | None, reach: int | None
    ) -> Row: ...

class ChatQueries(Queries):
    @query
    def send(
        self,
        *,
        places: Sequence[int | None] | None,
        actors: Sequence[int | None] | None,
        needs: Sequence[str | None] | None,
        clients: Sequence[str | None] | None,
        keys: Sequence[str | None] | None,
        paths: Sequence[str | None] | None,
        hashes: Sequence[str | None] | None,
        nonces: Sequence[str | None] | None,
        bodies: Sequence[str | None] | None,
        names: Sequence[str | None] | None,
        patience: int | None,
    ) -> Row: ...
    @query
    def send_alone(
        self,
        *,
        place: int | None,
        actor: int | None,
        client: str | None,
        need: str | None,
        body: str | None,
        names: str | None,
        patience: int | None,
    ) -> Row: ...
    @hot
    def send_with_files(
        self,
        *,
        body: str | None,
        nonce: str | None,
        uploads: Sequence[int | None] | None,
        names: str | None,
    ) -> Row: ...
    @query
    def page(
        self,
        *,
        project_id: int | None,
        before: int | None,
        after: int | None,
        limit: int | None,
        around: int | None,
        bytes: int | None,
    ) -> Row: ...
    @query
    def lock(self, *, id: int | None, project_id: int | None) -> Row: ...
    @query
    def require_version(
        self, *, version: int | None, conflict_status: int | None, id: int | None
    ) -> str: ...
    @query
    def edit(self, *, body: Any, id: int | None) -> str: ...
    @query
    def delete(self, *, id: int | None) -> str: ...
    @query
    def read(self, *, project_id: int | None, actor: int | None, message_id: int | None) -> Any: ...
    @query
    def read_mark(self, *, user_id: int | None, project_id: int | None) -> Any: ...
    @query
    def shape(self, *, id: int | None) -> Any: ...

class ChecklistQueries(Queries):
    @query
    def all(self, *, card: str | None, project_id: int | None) -> Any: ...
    @hot
    def create(
        self, *, card: str | None, body: str | None, position: float | None, most: int | None
    ) -> Row: ...
    @hot
    def update(
        self,
        *,
        card: str | None,
        item_id: int | None,
        body: str | None,
        is_completed: bool | None,
        position: float | None,
    ) -> Row: ...
    @hot
    def delete(self, *, card: str | None, item_id: int | None) -> Row: ...
    @hot
    def reorder(self, *, card: str | None, item_ids: Sequence[int | None] | None) -> Row: ...

class ColumnsQueries(Queries):
    @query
    def all(self, *, project_id: Any) -> Any: ...
    @query
    def lock_all(self, *, project_id: Any) -> Rows: ...
    @query
    def lock(self, *, column_id: Any, project_id: Any) -> Rows: ...
    @query
    def require_version(
        self, *, seen: int | None, present: int | None, conflict_status: int | None, column_id: Any
    ) -> str: ...
    @query
    def one(self, *, column_id: Any) -> Any: ...
    @query
    def create(
        self, *, project_id: int | None, name: str | None, color: str | None, wip_limit: int | None
    ) -> Row: ...
    @query
    def update(self, *, name: Any, color: Any, wip_limit: Any, column_id: Any) -> str: ...
    @query
    def place(self, *, ids: Sequence[int | None] | None) -> str: ...
    @query
    def places(self, *, project_id: int | None) -> Any: ...
    @hot
    def delete(self, *, column_id: int | None, target: int | None, most: int | None) -> Row: ...

class CommentsQueries(Queries):
    @query
    def page(
        self,
        *,
        card: str | None,
        before: int | None,
        after: int | None,
        limit: int | None,
        bytes: int | None,
        project_id: int | None,
    ) -> Row: ...
    @hot
    def create(
        self,
        *,
        card: str | None,
        body: str | None,
        minutes: int | None,
        names: str | None,
        uploads: Sequence[int | None] | None,
    ) -> Row: ...
    @query
    def text(self, *, project_id: int | None, id: int | None) -> Row: ...
    @hot
    def update(
        self,
        *,
        card: str | None,
        comment_id: int | None,
        body: str | None,
        minutes: int | None,
        names: str | None,
        names_of: int | None,
    ) -> Row: ...
    @hot
    def delete(self, *, card: str | None, comment_id: int | None) -> Row: ...

class ConversationsQueries(Queries):
    @query
    def enter(self, *, actor: int | None, id: int | None, newcomer: int | None) -> Row: ...
    @query
    def open(
        self,
        *,
        actor: int | None,
        others: Sequence[int | None] | None,
        name: str | None,
        field: str | None,
    ) -> Row: ...
    @query
    def page(
        self,
        *,
        reader: int | None,
        before_id: int | None,
        before_us: int | None,
        limit: int | None,
        bytes: int | None,
    ) -> Row: ...
    @query
    def seen(self, *, id: int | None, reader: int | None) -> Any: ...
    @query
    def shape(self, *, id: int | None) -> Any: ...
    @query
    def members(self, *, id: int | None) -> Rows: ...
    @query
    def name(self, *, name: str | None, id: int | None) -> str: ...
    @query
    def name_of(self, *, id: int | None) -> Any: ...
    @query
    def is_group(self, *, id: int | None, reader: int | None) -> Any: ...
    @query
    def picture(self, *, avatar: str | None, id: int | None) -> Any: ...
    @query
    def add(self, *, id: int | None, user_id: int | None, most: int | None) -> str: ...
    @query
    def participant(self, *, id: int | None, user_id: int | None) -> Any: ...
    @query
    def remove(self, *, id: int | None, user_id: int | None) -> Any: ...
    @query
    def empty(self, *, id: int | None) -> str: ...
    @query
    def read(self, *, id: int | None, actor: int | None, message_id: int | None) -> Any: ...
    @query
    def mute(self, *, muted: bool | None, id: int | None, actor: int | None) -> Any: ...
    @query
    def partners(self, *, user_id: Any, limit: int | None) -> Rows: ...
    @query
    def send(
        self,
        *,
        places: Sequence[int | None] | None,
        actors: Sequence[int | None] | None,
        clients: Sequence[str | None] | None,
        keys: Sequence[str | None] | None,
        paths: Sequence[str | None] | None,
        hashes: Sequence[str | None] | None,
        nonces: Sequence[str | None] | None,
        bodies: Sequence[str | None] | None,
        names: Sequence[str | None] | None,
        patience: int | None,
    ) -> Row: ...
    @query
    def send_alone(
        self,
        *,
        place: int | None,
        actor: int | None,
        client: str | None,
        body: str | None,
        names: str | None,
        patience: int | None,
    ) -> Row: ...
    @query
    def send_with_files(
        self,
        *,
        id: int | None,
        actor: int | None,
        client: str | None,
        body: str | None,
        nonce: str | None,
        names: str | None,
        uploads: Sequence[int | None] | None,
    ) -> Row: ...
    @query
    def messages(
        self,
        *,
        id: int | None,
        before: int | None,
        after: int | None,
        limit: int | None,
        around: int | None,
        bytes: int | None,
        reader: int | None,
    ) -> Row: ...
    @query
    def lock_message(self, *, message_id: int | None, id: int | None) -> Row: ...
    @query
    def require_version(
        self, *, version: int | None, conflict_status: int | None, message_id: int | None
    ) -> str: ...
    @query
    def edit(self, *, body: Any, message_id: int | None) -> str: ...
    @query
    def delete(self, *, message_id: int | None) -> str: ...
    @query
    def message(self, *, message_id: int | None) -> Any: ...
    @query
    def unread(self, *, reader: int | None, channel: str | None, limit: int | None) -> Row: ...

class DoctorQueries(Queries):
    @query
    def standing(self) -> Row: ...
    @query
    def extensions(self) -> Rows: ...
    @query
    def note(self) -> Any: ...
    @query
    def last_failed(self) -> Any: ...
    @query
    def failed_from(self, *, after: int | None, agent: str | None) -> Rows: ...
    @query
    def other_hosts(self) -> Any: ...
    @query
    def newest_files(self, *, limit: int | None) -> Rows: ...

class FeedsQueries(Queries):
    @query
    def record(
        self,
        *,
        channels: Sequence[str | None] | None,
        types: Sequence[str | None] | None,
        payloads: Sequence[str | None] | None,
        entities: Sequence[str | None] | None,
        actor: int | None,
        client: str | None,
    ) -> Any: ...
    @query
    def take(self, *, channels: Sequence[str | None] | None) -> Any: ...
    @query
    def write(
        self,
        *,
        channels: Sequence[str | None] | None,
        seqs: Sequence[int | None] | None,
        types: Sequence[str | None] | None,
        payloads: Sequence[str | None] | None,
        entities: Sequence[str | None] | None,
        actor: int | None,
        client: str | None,
    ) -> Any: ...
    @query
    def heads(self, *, channels: Sequence[str | None] | None) -> Rows: ...
    @query
    def after(self, *, channel: str | None, since: int | None, limit: int | None) -> Row: ...
    @query
    def with_head(self, *, channel: str | None) -> Row: ...
    @query
    def epoch(self) -> Any: ...
    @query
    def renew_epoch(self, *, known: str | None) -> Any: ...
    @query
    def oldest_due(self, *, age: datetime.timedelta | None, batch: Any) -> Rows: ...
    @query
    def trim(self, *, upto: int | None, channel: Any) -> Any: ...
    @query
    def may_trim(self) -> Any: ...

class HealthQueries(Queries):
    @query
    def newest_migration(self) -> Any: ...

class InvitationsQueries(Queries):
    @query
    def is_member(self, *, project_id: int | None, email: str | None) -> Any: ...
    @query
    def create(
        self,
        *,
        email: str | None,
        mail: bool | None,
        inviter_id: int | None,
        most_letters: int | None,
        most_of_all: int | None,
        ttl: datetime.timedelta | None,
        project_id: int | None,
        role: Any,
        salt: UUID | str | None,
        token_hash: Any,
    ) -> Row: ...
    @query
    def lock(self, *, id: int | None, project_id: int | None) -> Row: ...
    @query
    def hold_letters(self, *, email: str | None) -> str: ...
    @query
    def may_write_to(
        self,
        *,
        inviter_id: int | None,
        email: str | None,
        most_letters: int | None,
        most_of_all: int | None,
    ) -> Any: ...
    @query
    def mail_again(self, *, id: int | None) -> str: ...
    @query
    def shape(self, *, id: int | None) -> Any: ...
    @query
    def exceeds(self, *, project_id: int | None, most: int | None) -> Any: ...
    @query
    def page(self, *, before: int | None, project_id: int | None, limit: int | None) -> Row: ...
    @query
    def revoke(self, *, id: int | None, project_id: int | None) -> Row: ...
    @query
    def living(self, *, token_hash: Any) -> Rows: ...
    @query
    def used_by(self, *, token_hash: Any, user_id: int | None) -> Rows: ...
    @query
    def use(self, *, id: int | None, user_id: int | None) -> Row: ...

class KeysQueries(Queries):
    @query
    def page(
        self, *, project_id: int | None, user_id: int | None, before: int | None, limit: int | None
    ) -> Row: ...
    @query
    def hold(self, *, user_id: int | None) -> str: ...
    @query
    def exceed(self, *, project_id: int | None, user_id: int | None, most: int | None) -> Any: ...
    @query
    def create(
        self,
        *,
        user_id: int | None,
        project_id: int | None,
        name: str | None,
        key_hash: str | None,
        key_prefix: str | None,
        scopes: Sequence[str | None] | None,
        days: int | None,
    ) -> Any: ...
    @query
    def revoke(self, *, id: int | None, project_id: int | None, user_id: int | None) -> Row: ...

class LabelsQueries(Queries):
    @query
    def all(self, *, project_id: int | None) -> Any: ...
    @query
    def count(self, *, project_id: int | None) -> Any: ...
    @query
    def is_taken(
        self, *, project_id: int | None, name: str | None, label_id: int | None
    ) -> Any: ...
    @query
    def create(self, *, project_id: int | None, name: str | None, color: str | None) -> Row: ...
    @query
    def lock(self, *, label_id: int | None, project_id: int | None) -> Rows: ...
    @query
    def update(self, *, name: str | None, color: str | None, label_id: int | None) -> Any: ...
    @query
    def one(self, *, label_id: int | None) -> Any: ...
    @query
    def delete(self, *, label_id: int | None) -> str: ...
    @query
    def take_off(self, *, label_id: int | None) -> str: ...

class LinksQueries(Queries):
    @query
    def page(
        self, *, card: str | None, before: int | None, limit: int | None, project_id: int | None
    ) -> Row: ...
    @hot
    def create(
        self,
        *,
        card: str | None,
        platform: str | None,
        link_type: str | None,
        title: str | None,
        url: str | None,
        reference: str | None,
        author: str | None,
        status: str | None,
        repo_name: str | None,
    ) -> Row: ...
    @hot
    def delete(self, *, card: str | None, link_id: int | None) -> Row: ...

class MailQueries(Queries):
    @query
    def queue(self, *, kind: str | None, address: str | None) -> str: ...
    @query
    def warn(self, *, kind: str | None, user_id: int | None, address: str | None) -> str: ...
    @query
    def warned(self, *, address: str | None, user_id: int | None) -> Rows: ...
    @query
    def may_collect(self) -> Any: ...
    @query
    def wanting(
        self,
        *,
        burst: datetime.timedelta | None,
        oldest: datetime.timedelta | None,
        limit: int | None,
    ) -> Rows: ...
    @query
    def collect(
        self,
        *,
        people: Sequence[int | None] | None,
        oldest: datetime.timedelta | None,
        here: Sequence[int | None] | None,
    ) -> Any: ...
    @query
    def forget_wishes(self, *, oldest: datetime.timedelta | None, batch: int | None) -> Any: ...
    @query
    def news(self, *, ids: Sequence[int | None] | None, user_id: int | None) -> Rows: ...
    @query
    def take(self, *, lease: datetime.timedelta | None) -> Rows: ...
    @query
    def backup(self, *, id: int | None) -> Rows: ...
    @query
    def done(
        self, *, id: int | None, takes: int | None, outcome: str | None, reason: str | None
    ) -> str: ...
    @query
    def failed(
        self,
        *,
        counts: bool | None,
        pause: datetime.timedelta | None,
        id: int | None,
        takes: int | None,
    ) -> str: ...
    @query
    def requeue(self, *, limit: int | None) -> str: ...
    @query
    def invitation(self, *, id: int | None) -> Rows: ...
    @query
    def begin_reset(
        self, *, address: str | None, token_hash: str | None, ttl: datetime.timedelta | None
    ) -> Rows: ...
    @query
    def reset_by(self, *, token_hash: str | None) -> Rows: ...
    @query
    def use_reset(self, *, user_id: int | None, token_hash: str | None) -> Rows: ...

class MembersQueries(Queries):
    @query
    def page(
        self,
        *,
        emails: bool | None,
        project_id: int | None,
        after: int | None,
        q: str | None,
        limit: int | None,
    ) -> Row: ...
    @query
    def find_user(
        self, *, user_id: int | None, username: str | None, email: str | None, login: str | None
    ) -> Rows: ...
    @query
    def lock(self, *, project_id: int | None, actor: int | None, target: int | None) -> Row: ...
    @query
    def add(self, *, project_id: Any, user_id: Any, role: Any, actor: Any) -> Rows: ...
    @query
    def exceeds(self, *, user_id: Any, most: int | None) -> Any: ...
    @query
    def other_owner(self, *, project_id: Any, user_id: Any) -> Rows: ...
    @query
    def set_role(self, *, role: Any, project_id: Any, user_id: Any) -> str: ...
    @query
    def remove(self, *, project_id: Any, user_id: Any) -> str: ...
    @query
    def unassign(self, *, project_id: Any, user_id: Any) -> str: ...
    @query
    def unwatch(self, *, project_id: Any, user_id: Any) -> str: ...
    @query
    def ids(self, *, project_id: Any, limit: int | None) -> Rows: ...
    @query
    def one(self, *, project_id: Any, user_id: Any) -> Any: ...
    @query
    def hold(self, *, user_id: int | None, projects: Sequence[int | None] | None) -> Rows: ...
    @query
    def of_user(self, *, user_id: int | None) -> Row: ...

class MetricsQueries(Queries):
    @query
    def projects(self) -> Row: ...
    @query
    def active(self, *, most: int | None) -> Rows: ...
    @query
    def columns(self, *, shown: Sequence[int | None] | None) -> Rows: ...
    @query
    def cards(self, *, shown: Sequence[int | None] | None) -> Rows: ...
    @query
    def users(self) -> Rows: ...
    @query
    def tables(self, *, names: Sequence[str | None] | None) -> Rows: ...

class MfaQueries(Queries):
    @query
    def state(self, *, user_id: int | None) -> Row: ...
    @query
    def enable(
        self,
        *,
        user_id: int | None,
        code_hashes: Sequence[str | None] | None,
        sealed: str | None,
        step: int | None,
    ) -> Any: ...
    @query
    def disable(self, *, user_id: int | None) -> Rows: ...
    @query
    def use_step(self, *, step: int | None, user_id: int | None) -> Rows: ...
    @query
    def use_code(self, *, user_id: int | None, code_hash: str | None) -> Rows: ...
    @query
    def challenge(
        self,
        *,
        new_hash: str | None,
        user_id: int | None,
        checked_hash: Any,
        token_hash: str | None,
        ttl: datetime.timedelta | None,
        counted: str | None,
    ) -> Rows: ...
    @query
    def challenged(self, *, token_hash: str | None) -> Rows: ...
    @query
    def try_out(self, *, token_hash: str | None, user_id: int | None, most: int | None) -> Rows: ...
    @query
    def answered(self, *, token_hash: str | None) -> str: ...
    @query
    def sealed(self, *, after: int | None, limit: int | None) -> Rows: ...
    @query
    def reseal(self, *, sealed: str | None, user_id: int | None, was: str | None) -> str: ...

class NotificationsQueries(Queries):
    @query
    def page(
        self, *, reader: int | None, before: int | None, unread: bool | None, limit: int | None
    ) -> Row: ...
    @query
    def read(self, *, actor: int | None, client: str | None, id: int | None) -> Row: ...
    @query
    def read_all(self, *, actor: int | None, client: str | None) -> Row: ...
    @query
    def delete(self, *, actor: int | None, client: str | None, id: int | None) -> Row: ...
    @query
    def named(
        self,
        *,
        actor: int | None,
        body: str | None,
        project_id: int | None,
        topic_id: int | None,
        reply_id: int | None,
        message_id: int | None,
        names: str | None,
    ) -> Any: ...
    @query
    def named_in_conversation(
        self,
        *,
        actor: int | None,
        body: str | None,
        conversation_id: int | None,
        message_id: int | None,
        names: str | None,
    ) -> Any: ...
    @query
    def joined(self, *, actor: int | None, project_id: int | None, user_id: int | None) -> Any: ...
    @query
    def forget_card(self, *, actor: int | None, project_id: int | None, id: int | None) -> Any: ...
    @query
    def forget_topic(self, *, actor: int | None, project_id: int | None, id: int | None) -> Any: ...
    @query
    def forget_reply(
        self, *, actor: int | None, project_id: int | None, topic_id: int | None, id: int | None
    ) -> Any: ...
    @query
    def forget_chat_message(
        self, *, actor: int | None, project_id: int | None, id: int | None
    ) -> Any: ...
    @query
    def hold_of_message(self, *, id: int | None, conversation_id: int | None) -> Rows: ...
    @query
    def hold_of_person(
        self, *, user_id: int | None, project_id: int | None, conversation_id: int | None
    ) -> Rows: ...
    @query
    def forget_message(
        self, *, actor: int | None, conversation_id: int | None, id: int | None
    ) -> Any: ...
    @query
    def forget_project(
        self, *, actor: int | None, project_id: int | None, user_id: int | None
    ) -> Any: ...
    @query
    def forget_conversation(
        self, *, actor: int | None, conversation_id: int | None, user_id: int | None
    ) -> Any: ...
    @query
    def read_these(
        self, *, user_id: int | None, ids: Sequence[int | None] | None, client: str | None
    ) -> Any: ...

class OnceQueries(Queries):
    @query
    def take(self, *, actor: int | None, path: Any, key: Any, body_hash: Any) -> Rows: ...
    @query
    def store(
        self,
        *,
        actor: int | None,
        path: Any,
        key: Any,
        status: int | None,
        answer: Any,
        about: Sequence[str | None] | None,
    ) -> str: ...
    @query
    def use(self, *, actor: int | None) -> Row: ...
    @query
    def is_known(self, *, actor: int | None, path: Any, key: Any) -> Any: ...

class OutgoingQueries(Queries):
    @query
    def all(self, *, project_id: int | None) -> Any: ...
    @query
    def count(self, *, project_id: int | None) -> Any: ...
    @query
    def create(
        self,
        *,
        project_id: int | None,
        name: str | None,
        url: str | None,
        events: Sequence[str | None] | None,
        salt: Any,
        enabled: bool | None,
        actor: int | None,
    ) -> Any: ...
    @query
    def one(self, *, id: int | None, project_id: int | None) -> Any: ...
    @query
    def change(
        self,
        *,
        name: str | None,
        url: str | None,
        events: Sequence[str | None] | None,
        enabled: bool | None,
        id: int | None,
        project_id: int | None,
    ) -> Row: ...
    @query
    def delete(self, *, id: int | None, project_id: int | None) -> Row: ...
    @query
    def forget(self, *, project_id: int | None, id: int | None) -> str: ...
    @query
    def deliveries(self, *, id: int | None, project_id: int | None) -> Any: ...
    @query
    def head(self, *, project_id: int | None) -> Any: ...
    @query
    def replay(self, *, since: int | None, id: int | None, project_id: int | None) -> Row: ...
    @query
    def waiting(self) -> Rows: ...
    @query
    def claim(
        self, *, slow: bool | None, limit: int | None, holder: str | None, seconds: float | None
    ) -> Rows: ...
    @query
    def keep(
        self, *, seconds: float | None, ids: Sequence[int | None] | None, holder: str | None
    ) -> str: ...
    @query
    def release(self, *, id: int | None, holder: str | None) -> Rows: ...
    @query
    def next(self, *, id: int | None, holder: str | None) -> Rows: ...
    @query
    def pass_over(
        self, *, done: int | None, id: int | None, holder: str | None, was: int | None
    ) -> str: ...
    @query
    def note(
        self,
        *,
        done: int | None,
        epoch: str | None,
        attempt: int | None,
        slow: bool | None,
        wait: float | None,
        parked: bool | None,
        id: int | None,
        holder: str | None,
        was: int | None,
        url: str | None,
        seq: int | None,
        tried: int | None,
        status: int | None,
        reason: str | None,
        duration: int | None,
    ) -> Any: ...

class PeopleQueries(Queries):
    @query
    def favorites(self, *, reader: int | None, after: int | None, limit: int | None) -> Row: ...
    @query
    def favor(self, *, favorite: int | None, user_id: int | None) -> Row: ...
    @query
    def disfavor(self, *, user_id: int | None, favorite: int | None) -> str: ...
    @query
    def near(
        self,
        *,
        reader: int | None,
        ids: Sequence[int | None] | None,
        everybody: bool | None,
        limit: int | None,
    ) -> Any: ...
    @query
    def refs(
        self, *, ids: Sequence[int | None] | None, everybody: bool | None, reader: int | None
    ) -> Any: ...

class ProjectsQueries(Queries):
    @query
    def page(
        self,
        *,
        by_activity: bool | None,
        global_role: str | None,
        user_id: int | None,
        mine: bool | None,
        starred_only: bool | None,
        include_archived: bool | None,
        q: str | None,
        after_id: int | None,
        after_us: int | None,
        after_name: str | None,
        limit: int | None,
    ) -> Row: ...
    @query
    def memberships(self, *, users: Sequence[int | None] | None) -> Rows: ...
    @query
    def activity(
        self, *, users: Sequence[int | None] | None, projects: Sequence[int | None] | None
    ) -> Rows: ...
    @query
    def create(
        self, *, actor: int | None, name: Any, description: Any, color: Any, key_prefix: Any
    ) -> Row: ...
    @query
    def update(
        self, *, name: Any, description: Any, color: Any, is_archived: Any, project_id: Any
    ) -> str: ...
    @query
    def one(self, *, project_id: Any) -> Any: ...
    @query
    def seen(self, *, project_id: Any, user_id: Any, role: Any) -> Any: ...
    @query
    def is_archived(self, *, project_id: Any) -> Any: ...
    @query
    def star(self, *, user_id: Any, project_id: Any) -> Rows: ...
    @query
    def unstar(self, *, user_id: Any, project_id: Any) -> Rows: ...
    @query
    def mute(self, *, project_id: int | None, user_id: int | None, muted: bool | None) -> str: ...
    @query
    def board_mark(
        self, *, channel: Any, user_id: int | None, role: str | None, project_id: int | None
    ) -> Row: ...
    @query
    def board(
        self,
        *,
        project_id: int | None,
        most: int | None,
        cards: bool | None,
        members: bool | None,
        most_members: int | None,
        messages: int | None,
        labels: bool | None,
        bytes: int | None,
        brief: bool | None,
        cards_bound: str | None,
        columns: bool | None,
    ) -> Row: ...
    @query
    def counts(self, *, project_id: int | None) -> Row: ...
    @query
    def digest(self, *, project_id: int | None) -> Row: ...

class PurgesQueries(Queries):
    @query
    def project(self, *, project_id: int | None) -> str: ...
    @query
    def forget_project(self, *, actor: int | None, project_id: int | None) -> Any: ...
    @query
    def projects(self) -> Rows: ...
    @query
    def empty_project(self, *, project_id: int | None, most: int | None) -> Any: ...
    @query
    def user(self, *, user_id: int | None, email: str | None) -> str: ...
    @query
    def picture(self, *, address: str | None) -> str: ...
    @query
    def users(self, *, after: datetime.timedelta | None) -> Rows: ...
    @query
    def memberships(self, *, user_id: int | None) -> Rows: ...
    @query
    def own_events(self, *, user_id: int | None, most: int | None) -> Any: ...
    @query
    def own_answers(self, *, user_id: int | None, most: int | None) -> Any: ...
    @query
    def rename_in_events(
        self, *, user_id: int | None, channel: str | None, seq: int | None, most: int | None
    ) -> Rows: ...
    @query
    def rename_in_answers(
        self,
        *,
        user_id: int | None,
        owner: int | None,
        path: str | None,
        key: str | None,
        most: int | None,
    ) -> Rows: ...
    @query
    def scrubbed(self, *, user_id: int | None) -> str: ...
    @query
    def may_purge(self) -> Any: ...

class ReactionsQueries(Queries):
    @query
    def add(
        self, *, owner_type: str | None, id: int | None, actor: int | None, emoji: Any
    ) -> Rows: ...
    @query
    def remove(
        self, *, owner_type: str | None, id: int | None, actor: int | None, emoji: Any
    ) -> Any: ...
    @query
    def of_message(
        self, *, owner_type: str | None, id: int | None, actor: int | None, emoji: Any
    ) -> Row: ...

class RemindersQueries(Queries):
    @query
    def begin(self, *, pause: datetime.timedelta | None) -> Rows: ...
    @query
    def go_on(self) -> str: ...
    @query
    def due(
        self,
        *,
        after_date: Any,
        after_id: int | None,
        until: Any,
        limit: int | None,
        moment: datetime.datetime | None,
    ) -> Row: ...
    @query
    def remind(
        self,
        *,
        project_id: int | None,
        cards: Sequence[int | None] | None,
        moment: datetime.datetime | None,
    ) -> Any: ...

class RepliesQueries(Queries):
    @hot
    def create(self, *, topic_id: int | None, body: str | None, names: str | None) -> Row: ...
    @query
    def page(
        self,
        *,
        before: int | None,
        after: int | None,
        limit: int | None,
        bytes: int | None,
        topic_id: int | None,
        project_id: int | None,
    ) -> Row: ...
    @query
    def lock(self, *, id: int | None, topic_id: int | None) -> Row: ...
    @query
    def require_version(
        self, *, version: int | None, conflict_status: int | None, id: int | None
    ) -> str: ...
    @query
    def write(self, *, body: str | None, id: int | None) -> Rows: ...
    @query
    def delete(self, *, id: int | None) -> str: ...
    @query
    def shape(self, *, id: int | None) -> Any: ...

class ReportsQueries(Queries):
    @query
    def reader(self, *, user_id: int | None) -> Row: ...
    @query
    def begin(self) -> str: ...
    @query
    def room(self) -> Any: ...
    @query
    def within(self, *, milliseconds: int | None) -> Any: ...
    @query
    def cards(
        self,
        *,
        reader: int | None,
        everybody: bool | None,
        managed: Sequence[int | None] | None,
        project_id: int | None,
        people: Sequence[int | None] | None,
        since: Any,
        until: Any,
        seen: Sequence[int | None] | None,
    ) -> Rows: ...
    @query
    def users(
        self,
        *,
        reader: int | None,
        everybody: bool | None,
        managed: Sequence[int | None] | None,
        project_id: int | None,
        people: Sequence[int | None] | None,
        since: Any,
        until: Any,
    ) -> Rows: ...
    @query
    def groups(
        self,
        *,
        group_by: str | None,
        reader: int | None,
        everybody: bool | None,
        managed: Sequence[int | None] | None,
        project_id: int | None,
        people: Sequence[int | None] | None,
        since: Any,
        until: Any,
        seen: Sequence[int | None] | None,
    ) -> Rows: ...
    @query
    def entries(
        self,
        *,
        reader: int | None,
        everybody: bool | None,
        managed: Sequence[int | None] | None,
        project_id: int | None,
        people: Sequence[int | None] | None,
        since: Any,
        until: Any,
        seen: Sequence[int | None] | None,
    ) -> Rows: ...
    @query
    def sheet(
        self,
        *,
        start: Any,
        everybody: bool | None,
        seen: Sequence[int | None] | None,
        user_id: int | None,
        reader: int | None,
    ) -> Row: ...

class RetentionQueries(Queries):
    @query
    def idempotency_keys(self, *, batch: int | None) -> Any: ...
    @query
    def refresh_tokens(self, *, batch: int | None) -> Any: ...
    @query
    def sessions(self, *, batch: int | None) -> Any: ...
    @query
    def api_keys(self, *, batch: int | None) -> Any: ...
    @query
    def login_events(self, *, batch: int | None, most: int | None) -> Any: ...
    @query
    def mails(self, *, batch: int | None) -> Any: ...
    @query
    def password_resets(self, *, batch: int | None) -> Any: ...
    @query
    def mfa_challenges(self, *, batch: int | None) -> Any: ...
    @query
    def reminders(self, *, batch: int | None) -> Any: ...
    @query
    def invitations(self, *, batch: int | None) -> Any: ...
    @query
    def audit(self, *, batch: int | None) -> Any: ...
    @query
    def notifications(self, *, batch: int | None, most: int | None) -> Any: ...
    @query
    def conversation_messages(self, *, batch: int | None) -> Any: ...
    @query
    def conversations(self, *, batch: int | None) -> Any: ...
    @query
    def attachments(self, *, batch: int | None) -> Any: ...
    @query
    def avatars(self, *, batch: int | None) -> Any: ...
    @query
    def webhook_deliveries(self, *, batch: int | None) -> Any: ...
    @query
    def webhooks(self, *, batch: int | None) -> Any: ...

class SearchQueries(Queries):
    @query
    def find(
        self,
        *,
        reader: int | None,
        kinds: Sequence[int | None] | None,
        q: str | None,
        limit: int | None,
    ) -> Rows: ...
    @query
    def make_talk_grams(self, *, most: int | None, bytes: int | None) -> Any: ...

class ServerQueries(Queries):
    @query
    def connection_limit(self) -> Any: ...
    @query
    def parameters(self, *, names: Sequence[str | None] | None) -> Rows: ...
    @query
    def serving(self) -> Rows: ...
    @query
    def faults(self) -> Rows: ...
    @query
    def channel_of(self, *, slug: Any) -> Any: ...
    @query
    def installation(self) -> Any: ...
    @query
    def secret_prints(self) -> Rows: ...
    @query
    def keep_secret_prints(
        self,
        *,
        settings: Sequence[str | None] | None,
        prints: Sequence[str | None] | None,
        again: bool | None,
    ) -> str: ...

class SettingsQueries(Queries):
    @query
    def all(self) -> Rows: ...
    @query
    def hold(self) -> str: ...
    @query
    def write(
        self,
        *,
        cleared: Sequence[str | None] | None,
        keys: Sequence[str | None] | None,
        values: Sequence[str | None] | None,
    ) -> str: ...
    @query
    def reseal(self, *, sealed: str | None, key: str | None, was: str | None) -> str: ...

class SocketsQueries(Queries):
    @query
    def people(self, *, ids: Sequence[int | None] | None) -> Rows: ...
    @query
    def refused(
        self,
        *,
        users: Sequence[int | None] | None,
        sessions: Sequence[str | None] | None,
        keys: Sequence[int | None] | None,
        projects: Sequence[int | None] | None,
    ) -> Rows: ...

class TicketsQueries(Queries):
    @hot
    def update(
        self, *, card: str | None, fields: str | None, comment: str | None, names: str | None
    ) -> Row: ...
    @query
    def column(self, *, project_id: int | None, name: str | None) -> Any: ...
    @query
    def state(
        self,
        *,
        column_name: str | None,
        closed: bool | None,
        card: str | None,
        project_id: int | None,
    ) -> Row: ...

class TimeEntriesQueries(Queries):
    @query
    def page(
        self,
        *,
        reader: int | None,
        user_id: int | None,
        before_date: Any,
        before_id: int | None,
        since: Any,
        until: Any,
        project_id: int | None,
        card: str | None,
        limit: int | None,
    ) -> Row: ...
    @query
    def one(self, *, reader: int | None, id: int | None) -> Row: ...
    @query
    def create(
        self,
        *,
        actor: int | None,
        client: str | None,
        user_id: int | None,
        project_id: int | None,
        slug: str | None,
        card: str | None,
        date: Any,
        minutes: int | None,
        description: str | None,
        start_time: Any,
        end_time: Any,
    ) -> Row: ...
    @query
    def update(
        self, *, actor: int | None, client: str | None, id: int | None, fields: str | None
    ) -> Row: ...
    @query
    def delete(self, *, actor: int | None, client: str | None, id: int | None) -> Row: ...

class TopicsQueries(Queries):
    @hot
    def create(self, *, title: str | None, body: str | None, names: str | None) -> Row: ...
    @query
    def page(
        self,
        *,
        project_id: int | None,
        after_pinned: bool | None,
        after_id: int | None,
        limit: int | None,
    ) -> Row: ...
    @query
    def detail(
        self, *, limit: int | None, bytes: int | None, id: int | None, project_id: int | None
    ) -> Row: ...
    @query
    def lock(self, *, id: int | None, project_id: int | None) -> Row: ...
    @query
    def require_version(
        self, *, version: int | None, conflict_status: int | None, id: int | None
    ) -> str: ...
    @query
    def write(
        self, *, title: str | None, body: str | None, is_pinned: bool | None, id: int | None
    ) -> Rows: ...
    @query
    def delete(self, *, id: int | None) -> str: ...
    @query
    def shape(self, *, id: int | None) -> Any: ...

class UsersQueries(Queries):
    @query
    def me(self, *, user_id: Any) -> Any: ...
    @query
    def account(self, *, user_id: Any) -> Any: ...
    @query
    def list(
        self,
        *,
        before: int | None,
        include_deleted: bool | None,
        role: str | None,
        active: bool | None,
        q: str | None,
        limit: int | None,
    ) -> Row: ...
    @query
    def search(
        self,
        *,
        everybody: bool | None,
        reader: Any,
        q: str | None,
        not_in: int | None,
        limit: int | None,
    ) -> Rows: ...
    @query
    def lock(self, *, user_id: Any) -> Row: ...
    @query
    def change(
        self, *, user_id: Any, new_hash: str | None, fields: str | None, settings: bool | None
    ) -> Row: ...
    @query
    def shown_in(self, *, user_id: Any, limit: int | None) -> Rows: ...
    @query
    def create(
        self,
        *,
        email: Any,
        username: Any,
        password_hash: Any,
        first_name: Any,
        last_name: Any,
        display_name: Any,
        locale: Any,
        timezone: Any,
        date_time_format: Any,
        theme: Any,
        font: Any,
        font_size: Any,
        global_role: Any,
        is_active: Any,
        must_change_password: Any,
    ) -> Row: ...
    @query
    def lock_deleted(self, *, user_id: Any) -> Row: ...
    @query
    def lowered(self, *, email: str | None) -> Any: ...
    @query
    def set_deleted(self, *, user_id: Any, deleted: bool | None) -> Row: ...
    @query
    def login_history(
        self, *, user_id: int | None, before: int | None, limit: int | None
    ) -> Row: ...
    @query
    def standing(self, *, user_id: int | None) -> Row: ...
    @query
    def is_there(self, *, user_id: int | None) -> Any: ...

class WebhooksQueries(Queries):
    @query
    def all(self, *, project_id: int | None) -> Any: ...
    @query
    def count(self, *, project_id: int | None) -> Any: ...
    @query
    def create(
        self,
        *,
        project_id: int | None,
        name: str | None,
        type: str | None,
        token_hash: Any,
        token_hint: str | None,
        secret: str | None,
        actor: int | None,
    ) -> Any: ...
    @query
    def one(self, *, id: int | None, project_id: int | None) -> Any: ...
    @query
    def change(
        self,
        *,
        name: str | None,
        new_secret: bool | None,
        secret: str | None,
        enabled: bool | None,
        id: int | None,
        project_id: int | None,
    ) -> str: ...
    @query
    def renew(
        self, *, token_hash: Any, token_hint: str | None, id: int | None, project_id: int | None
    ) -> Row: ...
    @query
    def delete(self, *, id: int | None, project_id: int | None) -> Row: ...
    @query
    def forget_token(self, *, project_id: int | None, id: int | None) -> str: ...
    @query
    def deliveries(self, *, id: int | None, project_id: int | None) -> Any: ...
    @query
    def of_token(self, *, token_hash: Any) -> Row: ...
    @query
    def failed(self, *, project_id: int | None, webhook_id: int | None, id: int | None) -> Row: ...
    @query
    def delivery(self, *, id: int | None) -> Any: ...
    @query
    def take(
        self,
        *,
        webhook_id: int | None,
        token_hash: Any,
        delivery_id: str | None,
        attempt: str | None,
        event: str | None,
        refusal: int | None,
        reason: str | None,
        line: str | None,
        bot_name: str | None,
        platform: str | None,
        link_type: str | None,
        link_status: str | None,
        repo_name: str | None,
        told_at: datetime.datetime | None,
        titles: Sequence[str | None] | None,
        urls: Sequence[str | None] | None,
        refs: Sequence[str | None] | None,
        authors: Sequence[str | None] | None,
        are_sure: bool | None,
        things: Sequence[int | None] | None,
        prefixes: Sequence[str | None] | None,
        numbers: Sequence[int | None] | None,
        host: str | None,
        is_form: bool | None,
        proofs: Sequence[str | None] | None,
        body: Any,
        told_twice: bool | None,
    ) -> Row: ...

class Sql(Statements):
    access: AccessQueries
    attachments: AttachmentsQueries
    audit: AuditQueries
    auth: AuthQueries
    avatars: AvatarsQueries
    backups: BackupsQueries
    calendars: CalendarsQueries
    cards: CardsQueries
    chat: ChatQueries
    checklist: ChecklistQueries
    columns: ColumnsQueries
    comments: CommentsQueries
    conversations: ConversationsQueries
    doctor: DoctorQueries
    feeds: FeedsQueries
    health: HealthQueries
    invitations: InvitationsQueries
    keys: KeysQueries
    labels: LabelsQueries
    links: LinksQueries
    mail: MailQueries
    members: MembersQueries
    metrics: MetricsQueries
    mfa: MfaQueries
    notifications: NotificationsQueries
    once: OnceQueries
    outgoing: OutgoingQueries
    people: PeopleQueries
    projects: ProjectsQueries
    purges: PurgesQueries
    reactions: ReactionsQueries
    reminders: RemindersQueries
    replies: RepliesQueries
    reports: ReportsQueries
    retention: RetentionQueries
    search: SearchQueries
    server: ServerQueries
    settings: SettingsQueries
    sockets: SocketsQueries
    tickets: TicketsQueries
    time_entries: TimeEntriesQueries
    topics: TopicsQueries
    users: UsersQueries
    webhooks: WebhooksQueries
