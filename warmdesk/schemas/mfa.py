"""Second factors."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from warmdesk.schemas import Body, Shape
from warmdesk.schemas.auth import GivenPassword

Code = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description="the six digits that the authenticator shows, or a recovery code",
        examples=["123456"],
    ),
]


class Setup(Shape):
    """What an authenticator needs: the secret in base 32, and all of it as an address that stands
    in a picture.
    """

    secret: Annotated[str, Meta(examples=["JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"])]
    uri: Annotated[
        str,
        Meta(examples=["otpauth://totp/WarmDesk:alice?secret=JBSWY3DPEHPK3PXP&issuer=WarmDesk"]),
    ]


class EnableMfa(Body):
    """The first code of the authenticator."""

    code: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            description="the six digits that the authenticator shows",
            examples=["123456"],
        ),
    ]


class RecoveryCodes(Shape):
    """Each lets you in once without the authenticator. They are shown here, and never again."""

    recovery_codes: list[str]


class DisableMfa(Body):
    """Your password, and a code."""

    password: GivenPassword
    code: Code
