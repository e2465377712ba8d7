"""What the API takes and shows of texts."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field

from ringline.http import PageQuery, RequestModel, ResponseModel, Timestamp
from ringline.sip.address import Address

MAX_DESTINATIONS = 100
MAX_MEDIA = 10

MessageType = Literal["sms", "mms"]
MessageStatus = Literal["sending", "sent", "delivered", "failed"]


def _plus(value: object) -> object:
    """A ``+`` that nobody encoded arrives as a space."""
    return "+" + value[1:] if isinstance(value, str) and value.startswith(" ") else value


def _address(value: object) -> object:
    """A number alone stands for its address."""
    return {"type": "tel", "target": value} if isinstance(value, str) else value


Party = Annotated[Address, BeforeValidator(_address)]
Number = Annotated[str, BeforeValidator(_plus)]


class MessageCreate(RequestModel):
    """A text to send."""

    type: Literal["", "sms", "mms"] = Field(
        "", description="Left out: `mms` with media, else `sms`. An `sms` has no media."
    )
    source: Party = Field(
        default=Address(type="tel"),
        description="One of your active normal numbers: a `tel` address, or just the number in E.164. Without one (or"
        " with one that cannot be used) it is your default outgoing number. A virtual number may text numbers of this"
        " installation.",
    )
    destinations: list[Party] = Field(
        min_length=1,
        max_length=MAX_DESTINATIONS,
        description="Whom to text: `tel` addresses, or just numbers in E.164. Duplicates are sent once.",
    )
    text: str = Field("", description="At most 1600 characters.")
    media: list[str] = Field(
        [],
        max_length=MAX_MEDIA,
        description="Public addresses (http, https) of pictures and the like: with any of them it is an MMS.",
    )


class MessageTarget(ResponseModel):
    """One handset that a text is for."""

    destination: Address
    status: MessageStatus = Field(
        description="`sending`: on its way to the provider; `sent`: the provider has sent it on; `delivered`,"
        " `failed`: what the handset's network said. Not every network says it."
    )
    reason: str = Field(
        description="Why it failed: `opted_out`, `unknown_number`, `customer_not_active`, `number_not_active`,"
        " `not_reachable`, `no_provider`, `refused` (by the provider), `undelivered`, `provider_unavailable`,"
        " `unknown_outcome`; else empty."
    )
    detail: str = Field(description="The same as a sentence, in the provider's words where it said any.")
    parts: int = Field(description="Parts on the radio, each of which is charged.")
    tm_update: Timestamp


class MessageMedia(ResponseModel):
    """A picture or the like."""

    url: str = Field(
        description="Where it is. With a provider that gives it to nobody else (Twilio) fetch what was received by"
        " `GET /v1.0/messages/{message_id}/media/{index}`."
    )
    content_type: str = Field(description="Empty where nobody said it.")


class MessageAnswer(ResponseModel):
    """A text, sent or received."""

    id: UUID
    customer_id: UUID
    type: MessageType
    direction: Literal["inbound", "outbound"]
    status: MessageStatus = Field(
        description="What its targets amount to: `sending` or `sent` while any of them is, `failed` when all have."
    )
    source: Address
    targets: list[MessageTarget]
    text: str
    media: list[MessageMedia]
    activeflow_id: UUID = Field(
        description="The flow that it runs (inbound) or that sent it (outbound); the zero UUID: none."
    )
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


class MessageQuery(PageQuery):
    """Which messages to list."""

    direction: Literal["inbound", "outbound"] | None = Field(None, description="Only those.")
    status: MessageStatus | None = Field(
        None, description="Only those in this state; with `destination`, whose target there is."
    )
    source: Number | None = Field(None, max_length=255, description="Only those from this number, E.164.")
    destination: Number | None = Field(None, max_length=255, description="Only those to this number, E.164.")


class OptoutAnswer(ResponseModel):
    """A handset that has said STOP to a number."""

    id: UUID
    number: str = Field(description="Yours.")
    handset: str
    tm_create: Timestamp = Field(description="When it said STOP.")


class OptoutQuery(PageQuery):
    """Which of them to list."""

    number: Number | None = Field(None, max_length=32, description="Only of this number of yours, E.164.")
    handset: Number | None = Field(None, max_length=255, description="Only of this handset, E.164.")


def view(row: Any, targets: list[Any]) -> MessageAnswer:
    """The answer for a row and those of its targets."""
    return MessageAnswer.model_validate({**row._asdict(), "targets": targets})
