"""What the API shows and takes of agents."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from ringline.errors import InvalidArgument
from ringline.http import Permission, RequestModel, ResponseModel, Timestamp
from ringline.sip import e164, target
from ringline.sip.address import Address

RingMethod = Literal["ringall", "linear"]
Status = Literal["", "available", "away", "busy", "offline", "ringing"]
ChosenStatus = Literal["available", "away", "busy", "offline"]

MAX_ADDRESSES = 10
MAX_TAGS = 50
MAX_PERMISSION = 65_535
RINGING_TYPES = ("tel", "sip", "extension", "endpoint")
"""Addresses that a person can be rung at."""


def _check_address(address: Address) -> Address:
    if address.type not in RINGING_TYPES:
        raise ValueError(f"type: {address.type!r} is no telephone; use `tel`, `sip` or `extension`")
    if not address.target:
        raise ValueError("target: is empty; it must be a number in E.164, a SIP address or an extension")
    try:
        if address.type == "tel":
            e164.check(address.target, "target")
        elif address.type == "sip":
            target.parse(address.target)
    except InvalidArgument as error:
        raise ValueError(error.message) from error
    except ValueError as error:
        raise ValueError(f"target: is not a SIP address that can be called: {error}") from error
    return address


def _check_username(text: str) -> str:
    if text != text.strip() or any(not character.isprintable() or character.isspace() for character in text):
        raise ValueError("must have no spaces and no control characters")
    return text


Username = Annotated[
    str,
    Field(min_length=1, max_length=255, description="The name to log in with; unique in the installation."),
    AfterValidator(_check_username),
]
Password = Annotated[str, Field(min_length=8, max_length=1024, description="8 to 1024 characters.")]
Addresses = Annotated[
    list[Annotated[Address, AfterValidator(_check_address)]],
    Field(max_length=MAX_ADDRESSES, description=f"Where the agent is rung, at most {MAX_ADDRESSES}."),
]
TagIds = Annotated[list[UUID], Field(max_length=MAX_TAGS, description="Tags of yours.")]
PermissionBits = Annotated[
    int,
    Field(
        ge=0,
        le=MAX_PERMISSION,
        description="The sum of: 16 agent, 32 admin, 64 manager (240: all of a customer's); more is the operator's."
        " 0: may do nothing.",
    ),
]


class AgentAnswer(ResponseModel):
    """An agent: a person who logs in, and whose addresses ring when a queue or a call asks for it."""

    id: UUID
    customer_id: UUID
    username: str
    name: str
    detail: str
    ring_method: RingMethod
    status: Status = Field(
        description="`ringing` and `busy` come and go with calls; otherwise it is the one that was chosen."
    )
    permission: int
    tag_ids: list[UUID]
    addresses: list[Address]
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


class AgentCreate(RequestModel):
    """The agent to make. It starts as `offline`."""

    username: Username
    password: Password
    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    ring_method: RingMethod = Field(
        "ringall", description="`ringall` rings all addresses at once, `linear` one after another."
    )
    permission: PermissionBits = int(Permission.CUSTOMER_AGENT)
    tag_ids: TagIds = Field([])
    addresses: Addresses = Field([])


class AgentChange(RequestModel):
    """What is to be changed; what is left out stays."""

    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    ring_method: RingMethod = "ringall"


class AddressesChange(RequestModel):
    """All addresses of the agent, in the order in which `linear` rings them."""

    addresses: Addresses


class PasswordChange(RequestModel):
    """The new password."""

    password: Password


class PermissionChange(RequestModel):
    """All permissions of the agent."""

    permission: PermissionBits


class StatusChange(RequestModel):
    """What the agent is doing. A call that it has goes on."""

    status: ChosenStatus


class TagIdsChange(RequestModel):
    """All tags of the agent."""

    tag_ids: TagIds
