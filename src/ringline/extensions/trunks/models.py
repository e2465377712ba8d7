"""What the API shows and takes of trunks."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from ringline.extensions.digest import Password
from ringline.extensions.models import MaxCalls, Srtp
from ringline.extensions.realm import TrunkDomain
from ringline.http import RequestModel, ResponseModel, Timestamp

AuthType = Literal["basic", "ip"]

MAX_ADDRESSES = 50
_USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", re.ASCII)


def _check_username(text: str) -> str:
    if text and not _USERNAME.fullmatch(text):
        raise ValueError(
            "must be 1 to 64 letters, digits, dots, underscores, hyphens and plus signs, a letter or digit first"
        )
    return text


def _check_address(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise ValueError(
            f"{text[:40]!r} is not an IPv4 address such as 198.51.100.7"
            + ("; networks are not taken, name each address" if "/" in text else "")
        ) from None


def _check_once(found: list[str]) -> list[str]:
    for index, value in enumerate(found):
        if value in found[:index]:
            raise ValueError(f"{value!r} is there twice")
    return found


AuthTypes = Annotated[
    list[AuthType],
    AfterValidator(_check_once),
    Field(
        min_length=1,
        max_length=2,
        description="How the telephone system proves itself; with both, either will do. `basic`: digest "
        "authentication with "
        "`username` and `password`. `ip`: it sends from one of `allowed_ips`, to the trunk's realm.",
    ),
]
Username = Annotated[
    str,
    AfterValidator(_check_username),
    Field(description="For `basic`. Letters, digits and `._+-`, at most 64."),
]
AllowedIps = Annotated[
    list[Annotated[str, AfterValidator(_check_address)]],
    AfterValidator(_check_once),
    Field(
        max_length=MAX_ADDRESSES,
        description=f"For `ip`: its public IPv4 addresses, at most {MAX_ADDRESSES}. Over UDP an address can be "
        f"forged; "
        "`basic` cannot.",
    ),
]
_SRTP = (
    "Encrypted sound (SDES, RFC 4568) of its calls: `none`, `optional` (as it offers it), `required`. What does not "
    "fit is refused with 488."
)


class TrunkAnswer(ResponseModel):
    """A telephone system that sends calls through us."""

    id: UUID
    customer_id: UUID
    name: str
    detail: str
    domain_name: str
    realm: str = Field(description="Its SIP domain in full: what it sends to, and the realm of its digest.")
    auth_types: list[AuthType]
    username: str
    allowed_ips: list[str]
    srtp: Srtp = Field(description=_SRTP)
    max_calls: int = Field(
        description="How many calls it may have at once; 0: as many as the installation allows."
    )
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


class TrunkCreate(RequestModel):
    """The trunk to make."""

    domain_name: TrunkDomain
    auth_types: AuthTypes
    username: Username = ""
    password: Password | None = None
    allowed_ips: AllowedIps = Field([])
    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    srtp: Srtp = Field("optional", description=_SRTP)
    max_calls: MaxCalls = 0


class TrunkChange(RequestModel):
    """What is to be changed; what is left out stays."""

    domain_name: TrunkDomain = ""
    auth_types: AuthTypes = Field([])
    username: Username = ""
    password: Password | None = None
    allowed_ips: AllowedIps = Field([])
    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    srtp: Srtp = Field("optional", description=_SRTP)
    max_calls: MaxCalls = 0
