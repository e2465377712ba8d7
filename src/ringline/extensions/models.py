"""What the API shows and takes of extensions and their registrations."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from ringline.extensions.digest import Password
from ringline.http import PageQuery, RequestModel, ResponseModel, Timestamp

MAX_CALLS = 10_000
# as ``calls.destinations`` reads them
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_LIKE_A_NUMBER = re.compile(r"[0-9]{7,}", re.ASCII)
_SRTP = (
    "Encrypted sound (SDES, RFC 4568; a browser's DTLS-SRTP is encrypted, too). `none`: not taken. `optional`: its "
    "calls as it offers them, calls to it without. `required`: its calls without are refused with 488, and calls to "
    "it offer nothing else."
)
_MAX_CALLS = "How many calls it may have at once; 0: as many as the installation allows."


def check_name(text: str) -> str:
    """An extension's name as it is. Raises ``ValueError``."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            "must be 1 to 64 letters, digits, dots, underscores and hyphens, a letter or digit first, such as "
            "`test11` or "
            "`201` (codes that begin with * are the installation's)"
        )
    if _LIKE_A_NUMBER.fullmatch(text):
        raise ValueError("looks like a telephone number; a name of digits alone has at most 6")
    if _UUID.fullmatch(text):
        raise ValueError("looks like an id; choose a name that people can dial")
    return text


Srtp = Literal["none", "optional", "required"]
MaxCalls = Annotated[int, Field(ge=0, le=MAX_CALLS, description=_MAX_CALLS)]
ExtensionName = Annotated[
    str,
    AfterValidator(check_name),
    Field(
        description="The name that it registers with and is called by: letters, digits, dots, underscores and "
        "hyphens, at "
        "most 64, a letter or digit first. Capital and small letters differ (RFC 3261). Names of 7 and more digits, "
        "ids and emergency numbers are refused: dialling them means something else. Unique in your realm."
    ),
]


class ExtensionAnswer(ResponseModel):
    """A SIP account that phones register with."""

    id: UUID
    customer_id: UUID
    name: str
    detail: str
    extension: str
    domain_name: str = Field(description="Its SIP domain in full; do not build it yourself.")
    username: str = Field(description="The user name of digest authentication: the same as `extension`.")
    srtp: Srtp = Field(description=_SRTP)
    max_calls: int = Field(description=_MAX_CALLS)
    registered: int = Field(description="How many phones are registered with it now.")
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


class ExtensionCreate(RequestModel):
    """The extension to make."""

    extension: ExtensionName
    password: Password
    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    srtp: Srtp = Field("optional", description=_SRTP)
    max_calls: MaxCalls = 0


class ExtensionChange(RequestModel):
    """What is to be changed; what is left out stays."""

    extension: str = Field(
        "",
        max_length=64,
        description="Cannot be changed, its password is bound to it: only its present value is taken.",
    )
    password: Password | None = None
    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    srtp: Srtp = Field("optional", description=_SRTP)
    max_calls: MaxCalls = 0


class ExtensionQuery(PageQuery):
    """Which extensions."""

    extension: str | None = Field(None, description="The one of this name.")


class RegistrationAnswer(ResponseModel):
    """A phone that is registered with an extension (RFC 3261, section 10)."""

    id: UUID
    customer_id: UUID
    extension_id: UUID
    contact: str = Field(description="The SIP URI at which the phone said that it is reached.")
    transport: Literal["udp", "tcp", "tls", "ws", "wss"] = Field(description="How it registered.")
    source_address: str = Field(
        description="Address and port from which it registered, as they were seen here."
    )
    user_agent: str = Field(description="What the phone calls itself.")
    q: float | None = Field(description="The preference that it asked for, 0 to 1; `null`: none.")
    path: str = Field(description="Proxies between it and us (RFC 3327); empty: none.")
    tm_expire: Timestamp = Field(description="When the registration ends unless the phone renews it.")
    tm_update: Timestamp = Field(description="When it was made or last renewed.")
