"""System settings: what administrators decide for all hosts while they run. Each is declared once,
in `SystemSettings`: its type, its default and its sentence; the bodies, the document and the table
of docs/operations.rst are made of it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from email.errors import MessageError
from email.headerregistry import HeaderRegistry
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from warmdesk.config import Locale, listed
from warmdesk.errors import Fault
from warmdesk.schemas import Body, Shape
from warmdesk.schemas.users import (
    ONE_LINE,
    PRINTABLE,
    DateTimeFormat,
    Email,
    Font,
    FontSize,
    Theme,
    Timezone,
    is_timezone,
)

LONGEST_LIST = 100_000
COLUMNS, COLUMN_LENGTH = 100, 200
LABELS, LABEL_LENGTH = 500, 100
HOST = r"^([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45})?$(?!\n)"
A_HOST = {"otherwise": "must be the name or the address of a host"}
AN_ADDRESS = {"otherwise": "must begin with https:// or http://, or be a path of this server"}
LOGO = r"^((https?:/)?/[^\s\x00-\x1f\x7f/\\][^\s\x00-\x1f\x7f\\]*)?$(?!\n)"

Said = Annotated[str, Meta(max_length=255, pattern=PRINTABLE, extra=ONE_LINE)]
Logo = Annotated[
    str,
    Meta(max_length=500, pattern=LOGO, examples=["https://example.org/logo.svg"], extra=AN_ADDRESS),
]


class SystemSettings(msgspec.Struct, kw_only=True, frozen=True):
    """The values of all system settings."""

    registration_enabled: Annotated[
        bool, Meta(description="Whether people may make their own accounts.")
    ] = True
    users_can_create_projects: Annotated[
        bool, Meta(description="Whether everybody may create projects, or only administrators.")
    ] = True
    default_locale: Annotated[Locale, Meta(description="The language of new accounts.")] = "en"
    default_timezone: Annotated[Timezone, Meta(description="The time zone of new accounts.")] = (
        "UTC"
    )
    default_date_time_format: Annotated[
        DateTimeFormat, Meta(description="How new accounts see moments.")
    ] = "YYYY-MM-DD HH:mm"
    default_theme: Annotated[Theme, Meta(description="The theme of new accounts.")] = "system"
    default_font: Annotated[Font, Meta(description="The font of new accounts.")] = "system"
    default_font_size: Annotated[FontSize, Meta(description="Its size.")] = "14"
    smtp_host: Annotated[
        str,
        Meta(
            max_length=253,
            pattern=HOST,
            description="The server that takes our mail; without one nothing is mailed.",
            examples=["smtp.example.org"],
            extra=A_HOST,
        ),
    ] = ""
    smtp_port: Annotated[int, Meta(ge=1, le=65535, description="Its port.")] = 587
    smtp_security: Annotated[
        Literal["auto", "tls", "starttls", "none"],
        Meta(
            description="`tls`: TLS from the first byte. `starttls`: no mail without it. `none`:"
            " never encrypted. `auto`: TLS on port 465, else STARTTLS when it is offered, and a"
            " password only over one of them."
        ),
    ] = "auto"
    smtp_username: Annotated[Said, Meta(description="Who signs in there; nobody when empty.")] = ""
    smtp_password: Annotated[
        str,
        Meta(
            max_length=1000,
            pattern=r"^[^\x00\r\n]*$(?!\n)",
            description="The password; it is sealed in the database, and never shown.",
            extra=ONE_LINE | {"secret": True},
        ),
    ] = ""
    smtp_from: Annotated[
        Said,
        Meta(
            description="The sender, as an address or with a name; empty is `warmdesk@` and the"
            " host of base_url.",
            examples=["WarmDesk <desk@example.org>"],
        ),
    ] = ""
    session_timeout_minutes: Annotated[
        int,
        Meta(
            ge=0,
            le=525_600,
            description="After so many minutes without a request a session ends; 0 is the whole"
            " life of a refresh token. What an access token did is not seen, so its life is added.",
        ),
    ] = 0
    password_min_length: Annotated[
        int, Meta(ge=8, le=128, description="Characters that a new password has at least.")
    ] = 8
    password_require_upper: Annotated[
        bool, Meta(description="Whether it needs a capital letter.")
    ] = False
    password_require_lower: Annotated[
        bool, Meta(description="Whether it needs a small letter.")
    ] = False
    password_require_digit: Annotated[bool, Meta(description="Whether it needs a digit.")] = False
    password_require_special: Annotated[
        bool, Meta(description="Whether it needs something that is no letter and no digit.")
    ] = False
    password_change_period_days: Annotated[
        int,
        Meta(
            ge=0,
            le=3660,
            description="After so many days a password must be changed (`must_change_password`);"
            " 0 is never.",
        ),
    ] = 0
    mfa_required: Annotated[
        bool,
        Meta(
            description="Whether clients ask everybody to set up a second factor"
            " (`mfa_setup_required` after a sign-in)."
        ),
    ] = False
    company_name: Annotated[Said, Meta(description="Whose installation it is.")] = ""
    company_logo: Annotated[
        Logo,
        Meta(
            description="Its picture: an address, or a path of this server. The pages of this"
            " server show the latter alone, as they ask no other host."
        ),
    ] = ""
    company_logo_dark: Annotated[
        Logo,
        Meta(description="The same for dark themes, for clients: the pages show `company_logo`."),
    ] = ""
    login_branding_enabled: Annotated[
        bool, Meta(description="Whether clients show both before somebody signs in.")
    ] = False
    default_columns: Annotated[
        str,
        Meta(
            max_length=LONGEST_LIST,
            description="The columns of a new project, one a line; without any there is one,"
            " Backlog.",
        ),
    ] = "Backlog\nIn Progress\nReview\nDone"
    default_labels: Annotated[
        str, Meta(max_length=LONGEST_LIST, description="Its labels, one a line.")
    ] = "Bug\nFeature\nDesign\nContent"
    backup_schedule: Annotated[
        Literal["disabled", "6h", "8h", "12h", "24h"],
        Meta(
            description="How often a backup is made without being asked for: every so many hours,"
            " or never."
        ),
    ] = "disabled"
    backup_start_time: Annotated[
        str,
        Meta(
            pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9])?$(?!\n)",
            description="When the first of a day is made, in UTC; empty is midnight.",
            examples=["02:30"],
            extra={"otherwise": "must be a time of day like 02:30"},
        ),
    ] = ""
    backup_keep: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="How many backups are kept, of those with files and of those without; the"
            " oldest go.",
        ),
    ] = 10
    backup_include_uploads: Annotated[
        bool, Meta(description="Whether backups hold the files, too.")
    ] = True
    backup_email_enabled: Annotated[
        bool,
        Meta(
            description="Whether it is mailed when a backup that was due failed, once, and when one"
            " was made again."
        ),
    ] = False
    backup_email_each: Annotated[
        bool, Meta(description="Whether then each one that is made is mailed, too.")
    ] = True
    backup_email_address: Annotated[
        str,
        Meta(
            max_length=255,
            description="To whom; empty is all administrators.",
            examples=["operators@example.org"],
        ),
    ] = ""
    gravatar_enabled: Annotated[
        bool,
        Meta(
            description="Whether you get the address of the picture that gravatar.com has of you"
            " (`gravatar_url`), for clients: the pages of this server ask no other host."
        ),
    ] = True
    webhook_allow_private: Annotated[
        str,
        Meta(
            max_length=10_000,
            description="Hosts, addresses and networks, separated by commas, to which outgoing"
            " webhooks may lead although they are not public.",
            examples=["build.example.lan, 10.1.2.0/24"],
        ),
    ] = ""
    upload_quota_mb: Annotated[
        int,
        Meta(
            ge=0,
            le=1 << 30,
            description="MiB of all files of one project or conversation; 0 is as much as"
            " project_file_bytes of the configuration allows, which is never exceeded.",
        ),
    ] = 0
    api_allowed_ips: Annotated[
        str,
        Meta(
            max_length=10_000,
            description="Addresses and networks, separated by commas, from which API keys may be"
            " used; empty is everywhere. People who signed in are not asked.",
            examples=["192.0.2.7, 2001:db8::/32"],
        ),
    ] = ""


PUBLIC = (
    "registration_enabled",
    "users_can_create_projects",
    "gravatar_enabled",
    "default_locale",
    "default_timezone",
    "default_date_time_format",
    "default_theme",
    "default_font",
    "default_font_size",
    "session_timeout_minutes",
    "password_min_length",
    "password_require_upper",
    "password_require_lower",
    "password_require_digit",
    "password_require_special",
    "mfa_required",
    "company_name",
    "company_logo",
    "company_logo_dark",
    "login_branding_enabled",
)
"""What everybody may know, also before they sign in."""
FACTS: dict[str, Any] = {
    "sends_mail": Annotated[
        bool, Meta(description="Whether links that set a new password are mailed.")
    ],
    "first_account": Annotated[
        bool, Meta(description="Nobody has an account yet; the next one is the administrator's.")
    ],
}
"""What everybody may know besides, and nobody sets."""


def _is_secret(kind: Any) -> bool:
    metas = getattr(kind, "__metadata__", ())
    return any((meta.extra or {}).get("secret") for meta in metas if isinstance(meta, Meta))


FIELDS = {each.name: each for each in msgspec.structs.fields(SystemSettings)}


def default_of(name: str) -> str:
    """The default of a setting, as people write it."""
    default = FIELDS[name].default
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default).replace("\n", ", ") or "(empty)"


def sentence_of(name: str) -> str:
    """What a setting decides."""
    metas = [each for each in FIELDS[name].type.__metadata__ if isinstance(each, Meta)]
    return next(each.description for each in reversed(metas) if each.description)


SECRET_SETTINGS = frozenset(name for name, each in FIELDS.items() if _is_secret(each.type))

ShownSettings: Any = msgspec.defstruct(
    "ShownSettings",
    [
        (f"{name}_set", bool) if name in SECRET_SETTINGS else (name, each.type)
        for name, each in FIELDS.items()
    ],
    bases=(Shape,),
    kw_only=True,
    namespace={"__doc__": "All settings; of a secret only whether it is set."},
)
PublicSettings: Any = msgspec.defstruct(
    "PublicSettings",
    [*((name, FIELDS[name].type) for name in PUBLIC), *FACTS.items()],
    bases=(Shape,),
    kw_only=True,
    namespace={"__doc__": "What clients need before somebody signs in."},
)
UpdateSettings: Any = msgspec.defstruct(
    "UpdateSettings",
    [
        *((name, each.type | UnsetType | None, UNSET) for name, each in FIELDS.items()),
        *((f"{name}_set", bool | UnsetType, UNSET) for name in sorted(SECRET_SETTINGS)),
    ],
    bases=(Body,),
    kw_only=True,
    forbid_unknown_fields=True,
    namespace={
        "__doc__": "What changes; null is the default again. A key unknown here is 400; what GET"
        " says of secrets (`smtp_password_set`) changes nothing."
    },
)


class TestMail(Body):
    """To whom a mail is sent, to try the settings."""

    __test__ = False

    to: Email


def shown(values: SystemSettings) -> dict[str, Any]:
    """The settings as administrators see them."""
    return {
        f"{name}_set" if name in SECRET_SETTINGS else name: bool(getattr(values, name))
        if name in SECRET_SETTINGS
        else getattr(values, name)
        for name in FIELDS
    }


def public(values: SystemSettings, **facts: bool) -> dict[str, Any]:
    """The settings as everybody sees them, and all `FACTS`."""
    return {name: getattr(values, name) for name in PUBLIC} | facts


def faults(fields: Mapping[str, Any]) -> dict[str, Fault]:
    """What is wrong with values that have the right types, by their names."""
    found = {
        name: check(fields[name])
        for name, check in CHECKS.items()
        if fields.get(name) is not None and fields[name] is not UNSET
    }
    return {name: fault for name, fault in found.items() if fault is not None}


KINDS: dict[str, tuple[Callable[[str], bool], str]] = {
    "password_require_upper": (str.isupper, "a capital letter"),
    "password_require_lower": (str.islower, "a small letter"),
    "password_require_digit": (str.isdigit, "a digit"),
    "password_require_special": (
        lambda letter: not letter.isalnum(),
        "something that is no letter and no digit",
    ),
}
"""What a password may have to have."""


def password_fault(values: SystemSettings, password: str) -> Fault | None:
    """What is wrong with a new password."""
    least = values.password_min_length
    if len(password) < least:
        return Fault("too_short", f"must be at least {least} characters", limits={"min": least})
    missing = [
        what
        for name, (is_one, what) in KINDS.items()
        if getattr(values, name) and not any(map(is_one, password))
    ]
    if missing:
        return Fault("too_simple", f"must have {' and '.join(missing)}")
    return None


def new_account(values: SystemSettings) -> dict[str, str]:
    """How an account begins."""
    return {
        "locale": values.default_locale,
        "timezone": values.default_timezone,
        "date_time_format": values.default_date_time_format,
        "theme": values.default_theme,
        "font": values.default_font,
        "font_size": values.default_font_size,
    }


def _zone(value: str) -> Fault | None:
    return None if is_timezone(value) else Fault("unknown", "not an IANA time zone")


def _sender(value: str) -> Fault | None:
    if not value or sender(value) is not None:
        return None
    return Fault("bad_format", "must be an address, or a name and an address in <>")


def ascii_host(host: str) -> str:
    """The name of a host as mail servers know it. Raises ValueError for one that none can have."""
    try:
        return host.encode("idna").decode()
    except UnicodeError as error:
        raise ValueError("the host is none") from error


def sender(value: str) -> tuple[str, str] | None:
    """The name and the address of a sender; None when it is not exactly one."""
    try:
        header: Any = HeaderRegistry()("from", value)
    except (MessageError, ValueError, IndexError, AttributeError, TypeError):
        return None  # Python's parser stumbles in many ways
    if header.defects or len(header.addresses) != 1:
        return None
    found = header.addresses[0]
    try:
        msgspec.convert(found.addr_spec, Email)
        ascii_host(found.domain)
    except ValueError:  # as is msgspec's
        return None
    return str(found.display_name), str(found.addr_spec)


def _reader(value: str) -> Fault | None:
    if not value:
        return None
    try:
        ascii_host(msgspec.convert(value, Email).rpartition("@")[2])
    except ValueError:  # as is msgspec's
        return Fault("bad_format", "is no e-mail address")
    return None


def _networks(value: str) -> Fault | None:
    for each in listed(value):
        try:
            ipaddress.ip_network(each, strict=False)
        except ValueError:
            return Fault("bad_format", "must be addresses and networks, separated by commas")
    return None


def _targets(value: str) -> Fault | None:
    for each in listed(value):
        try:
            ipaddress.ip_network(each, strict=False)
        except ValueError:
            # What looks like a network and is none would pass for the name of a host.
            if not re.fullmatch(HOST, each) or re.fullmatch(r"[0-9.:]+", each):
                return Fault("bad_format", "must be hosts and networks, separated by commas")
    return None


def _lines(most: int, length: int) -> Callable[[str], Fault | None]:
    def check(value: str) -> Fault | None:
        lines = [line.strip() for line in value.split("\n") if line.strip()]
        if len(lines) > most or any(len(line) > length for line in lines):
            return Fault(
                "too_long",
                f"must be at most {most} lines of at most {length} characters",
                limits={"max": most},
            )
        if re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]", value):
            return Fault("bad_format", "must be lines without control characters")
        return None

    return check


CHECKS: dict[str, Callable[[Any], Fault | None]] = {
    "default_timezone": _zone,
    "smtp_from": _sender,
    "backup_email_address": _reader,
    "default_columns": _lines(COLUMNS, COLUMN_LENGTH),
    "default_labels": _lines(LABELS, LABEL_LENGTH),
    "api_allowed_ips": _networks,
    "webhook_allow_private": _targets,
}
"""What a type alone cannot say."""
