"""What the API shows and takes of endpoints."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from ringline.http import PageQuery, RequestModel, ResponseModel, Timestamp

Method = Literal["POST", "GET", "PUT", "DELETE"]
Kind = Literal["endpoint", "customer", "activeflow"]

_EVENTS = "Names of events, `*` for any characters: `call_hangup`, `call_*`, `*_created`. None: all events."
_RESOURCES = "Kinds of resources: `call`, `message`, `number`, ... None: all."
_METHOD = "The body is the same with each; many servers ignore that of a `GET` or `DELETE`."
Pattern = Annotated[str, Field(pattern=r"^[a-z0-9_.*]{1,64}$")]
Word = Annotated[str, Field(pattern=r"^[a-z0-9_.]{1,64}$")]


class WebhookAnswer(ResponseModel):
    """An endpoint: where events are sent, and which."""

    id: UUID
    customer_id: UUID
    type: Kind = Field(
        description="`endpoint`: made here. `customer`: the customer's own `webhook_uri`; its id is the customer's."
        " `activeflow`: made by itself for the `webhook_uri` of a call or flow in execution."
    )
    name: str
    detail: str
    uri: str
    method: Method
    events: list[str] = Field(description=_EVENTS)
    resources: list[str] = Field(description=_RESOURCES)
    enabled: bool
    disabled_reason: str = Field(
        description="Why it is not enabled: `request` (you said so), `gone` (it answered 410), `failing` (days of"
        " nothing but failure), or empty."
    )
    secret_prefix: str = Field(description="The first characters of the secret, to recognise it by.")
    tm_former_secret_expire: Timestamp = Field(
        description="Until when the secret before the last rotation signs as well."
    )
    tm_disabled: Timestamp
    tm_failing: Timestamp = Field(description="Since when nothing has arrived there, though it was tried.")
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


class WebhookSecretAnswer(WebhookAnswer):
    """An endpoint with its secret, which is shown this once."""

    secret: str = Field(description="What its webhooks are signed with (Standard Webhooks). Keep it now.")


class WebhookCreate(RequestModel):
    """The endpoint to make."""

    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    uri: str = Field(
        min_length=1,
        max_length=2048,
        description="http or https, without credentials, to a public address (the operator may allow others).",
    )
    method: Method = Field("POST", description=_METHOD)
    events: list[Pattern] = Field([], max_length=100, description=_EVENTS)
    resources: list[Word] = Field([], max_length=50, description=_RESOURCES)
    enabled: bool = True


class WebhookChange(RequestModel):
    """What is to be changed; what is left out stays."""

    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    uri: str = Field("", min_length=1, max_length=2048)
    method: Method = Field("POST", description=_METHOD)
    events: list[Pattern] = Field([], max_length=100, description=_EVENTS)
    resources: list[Word] = Field([], max_length=50, description=_RESOURCES)
    enabled: bool = Field(
        True,
        description="With `false` nothing more is sent there, and what has not arrived fails. With `true` it begins"
        " with the next event; `POST .../recover` takes up what failed meanwhile.",
    )


class SecretRotation(RequestModel):
    """How to change a secret."""

    overlap: int = Field(
        86_400,
        ge=0,
        le=604_800,
        description="Seconds for which the old secret signs as well (the header then has two signatures); 0 ends"
        " it at once.",
    )


class WebhookQuery(PageQuery):
    """Which endpoints to list."""

    type: Literal["", "endpoint", "customer", "activeflow"] = ""
