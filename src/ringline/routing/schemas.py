"""What the API shows and takes of providers and routes."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from ringline.http import PageQuery, RequestModel, ResponseModel, Timestamp
from ringline.routing.health import RegistrationStatus, Status
from ringline.routing.models import (
    DEFAULT_CUSTOMER_ID,
    MAX_SOURCES,
    Source,
    Transport,
    target_of,
)
from ringline.sip.codecs import CODECS, codecs_of

Hostname = Annotated[str, Field(max_length=253, description="Host name or IP address, without a port.")]
Port = Annotated[
    int,
    Field(
        ge=0,
        le=65535,
        description="SIP port; 0 asks DNS (RFC 3263). Left out: 5060, with `tls` 5061.",
    ),
]
Addresses = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    Field(
        max_length=MAX_SOURCES,
        description="Where its calls come from: `203.0.113.7`, `203.0.113.0/24`, `203.0.113.7:5060`. Nobody else's "
        "calls are taken. Empty: calls go there and none come.",
    ),
]
Prefix = Annotated[str, Field(max_length=32, description="Written before each dialled number.")]
Postfix = Annotated[str, Field(max_length=32, description="Written behind each dialled number.")]
Headers = Annotated[
    dict[str, str],
    Field(
        max_length=32,
        description="Headers of the INVITE. Headers that SIP and the platform need are refused.",
    ),
]
Codecs = Annotated[
    str,
    Field(
        max_length=255,
        description="The only codecs it is offered, in this order, commas between them, of "
        f"{', '.join(CODECS)}. Empty: all.",
    ),
]
Username = Annotated[str, Field(max_length=64, description="Answers its digest challenges. Empty: none are.")]
Realm = Annotated[
    str,
    Field(
        max_length=128,
        description="The realm of its challenges. With it only HA1 of the password is kept; without it the password "
        "itself must be.",
    ),
]
Password = Annotated[str, Field(max_length=128, description="Never shown again.")]
Registration = Annotated[bool, Field(description="Register there, as carriers want it that know no address.")]
Contact = Annotated[
    str,
    Field(
        max_length=64,
        description="User of the Contact that is registered. Empty: the provider's id. Calls to it are calls to the "
        "number in their To.",
    ),
]
Expires = Annotated[
    int, Field(ge=60, le=86_400, description="How long a registration is asked for, in seconds.")
]
HealthCheck = Annotated[
    bool,
    Field(
        description="Ask by OPTIONS every few seconds whether it is there, and pass it over while it is not. Switch "
        "it off for a provider that answers no OPTIONS at all."
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Detail = Annotated[str, Field(max_length=1024)]


class ProviderAnswer(ResponseModel):
    """A provider. Its password is never shown."""

    id: UUID
    type: Literal["sip"]
    name: str
    detail: str
    hostname: str
    port: int
    transport: Transport
    addresses: list[str]
    tech_prefix: str
    tech_postfix: str
    tech_headers: dict[str, str]
    codecs: str
    username: str
    realm: str
    password_set: bool = Field(description="Whether there is a password, or HA1 of one.")
    registration: bool
    registration_contact: str
    registration_expires: int
    health_check: bool
    status: Status = Field(
        description="`up` and `down` by OPTIONS; `unknown` without a health check, or before the first answer."
    )
    tm_status: Timestamp = Field(description="Since when.")
    status_code: int = Field(
        description="What the last OPTIONS was answered with; any answer counts. 0: none yet."
    )
    latency: int = Field(description="How long that answer took, in milliseconds.")
    failovers: int = Field(description="Calls that went on to the next provider, since the edge started.")
    registration_status: RegistrationStatus
    registration_error: str = Field(description="Why it is not registered: what the registrar answered last.")
    tm_registration_expire: Timestamp = Field(description="Until when it is registered; renewed before.")
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


class ProviderCreate(RequestModel):
    """The provider to make."""

    type: Literal["sip"] = "sip"
    name: Name
    detail: Detail = ""
    hostname: Hostname
    port: Port | None = None
    transport: Transport = "udp"
    addresses: Addresses = Field([])
    tech_prefix: Prefix = ""
    tech_postfix: Postfix = ""
    tech_headers: Headers = Field({})
    codecs: Codecs = ""
    username: Username = ""
    realm: Realm = ""
    password: Password = Field("", repr=False)
    registration: Registration = False
    registration_contact: Contact = ""
    registration_expires: Expires = 3600
    health_check: HealthCheck = True

    def fields(self) -> dict[str, Any]:
        """What was given, by the names of ``models.ProviderFields``. Raises ``InvalidArgument``."""
        values = _fields(self.model_dump(exclude_unset=True))
        if self.port is None:
            values["port"] = 5061 if self.transport == "tls" else 5060
        return values


class ProviderChange(RequestModel):
    """What is to be changed; what is left out stays. An empty `username` takes the credentials away."""

    type: Literal["sip"] = "sip"
    name: Name = ""
    detail: Detail = ""
    hostname: Hostname = ""
    port: Port = 5060
    transport: Transport = "udp"
    addresses: Addresses = Field([])
    tech_prefix: Prefix = ""
    tech_postfix: Postfix = ""
    tech_headers: Headers = Field({})
    codecs: Codecs = ""
    username: Username = ""
    realm: Realm = ""
    password: Password = Field("", repr=False)
    registration: Registration = False
    registration_contact: Contact = ""
    registration_expires: Expires = 3600
    health_check: HealthCheck = True

    def fields(self) -> dict[str, Any]:
        """What was given, by the names of ``models.ProviderFields``. Raises ``InvalidArgument``."""
        return _fields(self.model_dump(exclude_unset=True))


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    values.pop("type", None)
    if "addresses" in values:
        values["sources"] = tuple(Source.parse(text) for text in values.pop("addresses"))
    if "codecs" in values:
        values["codecs"] = codecs_of(values["codecs"])
    return values


class RouteQuery(PageQuery):
    """Which routes."""

    customer_id: UUID | None = Field(None, description="Those of one customer.")
    provider_id: UUID | None = Field(None, description="Those that lead to one provider.")


Target = Annotated[
    str,
    Field(
        max_length=16,
        description="Beginning of the number such as `+82`, a country such as `kr` (its calling code is stored, with "
        "all countries that share it), or `all`. The longest one that fits is tried first.",
    ),
]
Priority = Annotated[int, Field(ge=0, le=1_000_000, description="Lower is tried first.")]


class RouteAnswer(ResponseModel):
    """A route: which provider takes calls to which numbers, for whom."""

    id: UUID
    customer_id: UUID = Field(description=f"`{DEFAULT_CUSTOMER_ID}`: for everybody.")
    name: str
    detail: str
    provider_id: UUID
    priority: int
    target: str
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


class RouteCreate(RequestModel):
    """The route to make."""

    customer_id: UUID = Field(
        DEFAULT_CUSTOMER_ID,
        description="Whose calls; left out, everybody's. A customer's own routes are tried before everybody's.",
    )
    name: str = Field("", max_length=255)
    detail: Detail = ""
    provider_id: UUID
    priority: Priority = 0
    target: Target = "all"

    def fields(self) -> dict[str, Any]:
        """What was given, by the names of ``models.RouteFields``. Raises ``InvalidArgument``."""
        return _targeted(self.model_dump(exclude_unset=True))


class RouteChange(RequestModel):
    """What is to be changed; what is left out stays."""

    name: str = Field("", max_length=255)
    detail: Detail = ""
    provider_id: UUID = DEFAULT_CUSTOMER_ID
    priority: Priority = 0
    target: Target = "all"

    def fields(self) -> dict[str, Any]:
        """What was given, by the names of ``models.RouteFields``. Raises ``InvalidArgument``."""
        return _targeted(self.model_dump(exclude_unset=True))


def _targeted(values: dict[str, Any]) -> dict[str, Any]:
    if "target" in values:
        values["target"] = target_of(values["target"])
    return values
