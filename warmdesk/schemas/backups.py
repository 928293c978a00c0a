"""Backups as the API shows them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import Body, Shape, Timestamp

FILENAME = "warmdesk_backup_20300131_120000_9f0a3c1d.tar.gz"
Filename = Annotated[str, Meta(description="its file's name", max_length=100, examples=[FILENAME])]


class NewBackup(Body):
    """What a backup is to have."""

    include_uploads: Annotated[
        bool | UnsetType,
        Meta(description="the files too; absent: as the setting `backup_include_uploads` says"),
    ] = UNSET


class KeptBackup(Shape):
    """A backup that is kept."""

    filename: Filename
    size_bytes: int
    created_at: Timestamp


class MadeBackup(Shape):
    """A backup that was made."""

    id: Annotated[str, Meta(description="the same as `filename`")]
    filename: Filename
    size_bytes: int
    sha256: Annotated[str, Meta(description="of the file, in hexadecimal")]
    created_at: Annotated[Timestamp, Meta(description="the moment whose state it holds")]
    include_uploads: bool
    missing_files: Annotated[
        int, Meta(description="files that are named somewhere, and that the store does not have")
    ]


class Restore(Body):
    """Which backup is to be put back."""

    filename: Filename
    mode: Annotated[Literal["replace"], Meta(description="all that there is makes room for it")] = (
        "replace"
    )
    passphrase: (
        Annotated[
            str,
            Meta(
                max_length=1000,
                description="of an encrypted one; absent: the setting `backup_passphrase`",
                extra={"secret": True},
            ),
        ]
        | UnsetType
    ) = UNSET


class CarriedOver(Shape):
    """How many rights were taken since the backup was made, and stay so."""

    sessions: int
    keys: int
    members: int
    users: int


class RestoredBackup(Shape):
    """What a restore did."""

    restored: Annotated[bool, Meta(description="always true")]
    filename: Filename
    created_at: Annotated[Timestamp, Meta(description="the moment whose state is back")]
    tables: int
    rows: int
    files: int
    carried_over: CarriedOver
    safety_backup: Annotated[
        str, Meta(description="the backup of what there was before; `filename` of another restore")
    ]
