"""What the API shows and takes of ports."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Base64Bytes, Field

from ringline.errors import InvalidArgument
from ringline.http import PageQuery, RequestModel, ResponseModel, Timestamp, UuidOrZero, utc_now
from ringline.numbers.address import EmergencyAddress
from ringline.numbers.ports.documents import KINDS, Document, document

PortStatus = Literal["draft", "submitted", "in-process", "exception", "foc-confirmed", "ported", "cancelled"]
MAX_NUMBERS = 100
_YEAR_DAYS = 366


def _line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not contain control characters or line breaks")
    return text.strip()


def _normal(number: str) -> str:
    from ringline.sip import e164  # noqa: PLC0415 - its tables are large

    if number.startswith(e164.VIRTUAL_PREFIX):
        raise ValueError("is a virtual number: no carrier has it")
    try:
        return e164.check(number, "number")
    except InvalidArgument:
        raise ValueError("must be a number in E.164, such as +15551234567") from None


def _once(numbers: list[str]) -> list[str]:
    if len(set(numbers)) != len(numbers):
        raise ValueError("must not name a number twice")
    return numbers


def _email(text: str) -> str:
    name, at, host = text.partition("@")
    if text and not (at and name and "." in host.strip(".") and "@" not in host and " " not in text):
        raise ValueError("must be an e-mail address")
    return text


def _ahead(day: date) -> date:
    # somewhere it is still yesterday
    if not -1 <= (day - utc_now().date()).days <= _YEAR_DAYS:
        raise ValueError("must be a day within the next year")
    return day


Line = Annotated[str, AfterValidator(_line)]
Numbers = Annotated[
    list[Annotated[str, Field(max_length=16), AfterValidator(_normal)]], AfterValidator(_once)
]
Email = Annotated[str, AfterValidator(_line), AfterValidator(_email)]


class DocumentBody(RequestModel):
    """A file within JSON; what is longer than 2 MB is uploaded to `.../documents`."""

    name: str = Field("", max_length=255)
    content: Base64Bytes = Field(min_length=1, description="PDF, PNG or JPEG, in Base64.")


class PortChange(RequestModel):
    """What is to be changed; what is left out stays."""

    name: Line = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    numbers: Numbers = Field(
        default=[], min_length=1, max_length=MAX_NUMBERS, description="The numbers to bring, E.164."
    )
    carrier: Line = Field("", max_length=100, description="The carrier that has them now.")
    account_number: Line = Field("", max_length=60, description="Your account there.")
    pin: Line = Field(
        "", max_length=30, description="The PIN or password of that account; it is never shown again."
    )
    owner: EmergencyAddress | None = Field(
        None, description="Who the numbers belong to and where, as the old carrier's bill says."
    )
    authorised_person: Line = Field("", max_length=100, description="Who may order the port.")
    email: Email = Field(
        "", max_length=254, description="Theirs. Some providers mail them something to sign."
    )
    wanted_date: Annotated[date, AfterValidator(_ahead)] | None = Field(
        None, description="When it should happen, within a year; the carriers decide."
    )
    provider_name: Literal["", "telnyx", "twilio", "sandbox"] = Field(
        "", description="Who is to have the numbers then; empty: the first provider here that ports numbers."
    )
    call_flow_id: UuidOrZero = Field(None, description="The flow that answers calls from the first one on.")
    message_flow_id: UuidOrZero = None


class PortCreate(PortChange):
    """A port. With a `letter` it is submitted at once, unless `draft` says otherwise."""

    numbers: Numbers = Field(min_length=1, max_length=MAX_NUMBERS, description="The numbers to bring, E.164.")
    letter: DocumentBody | None = Field(None, description="The letter of authorisation, signed.")
    bill: DocumentBody | None = Field(
        None, description="The old carrier's latest bill; some providers want it."
    )
    draft: bool = Field(default=False, description="Do not submit it yet.")

    def documents(self) -> list[Document]:
        """The files in it. Raises ``InvalidArgument``."""
        given = [(kind, getattr(self, kind)) for kind in KINDS]
        return [document(kind, body.name, body.content) for kind, body in given if body is not None]


class PortQuery(PageQuery):
    """Which ports to list."""

    status: PortStatus | None = Field(None, description="Only ports in this state.")


class PortNumber(ResponseModel):
    """A number of a port."""

    number: str = Field(description="E.164.")
    status: Literal["waiting", "ported", "failed"]
    number_id: UuidOrZero = Field(description="The number that it became; the zero UUID before that.")
    reason: str = Field(description="Why it was not ported.")


class PortDocument(ResponseModel):
    """A file that came with a port. It goes to the provider and is shown to nobody."""

    id: UUID
    kind: Literal["letter", "bill"]
    name: str
    content_type: str = Field(description="As it was found to be.")
    size: int = Field(description="Bytes.")
    tm_create: Timestamp


class PortStep(ResponseModel):
    """A state that a port came into."""

    status: PortStatus
    reason: str
    tm: str = Field(description="When, ISO 8601.")


class PortAnswer(ResponseModel):
    """Numbers that are brought in from another carrier."""

    id: UUID
    name: str
    detail: str
    status: PortStatus = Field(
        description="`draft`: not submitted. `submitted`: on its way to the provider or being looked at there. "
        "`in-process`: the old carrier was asked. `foc-confirmed`: it has agreed to a date, `tm_foc`. `exception`: "
        "something must be mended, see `reason`. `ported`, `cancelled`: the end."
    )
    reason: str = Field(description="What is to be mended, or why it ended; empty when all is well.")
    cancel_requested: bool = Field(description="Whether it is being called off.")
    numbers: list[PortNumber]
    carrier: str
    account_number: str
    pin_set: bool = Field(description="Whether there is a PIN.")
    owner: EmergencyAddress | None
    authorised_person: str
    email: str
    wanted_date: date | None
    provider_name: str
    call_flow_id: UuidOrZero
    message_flow_id: UuidOrZero
    documents: list[PortDocument]
    history: list[PortStep] = Field(description="The states that it has been in, the first one first.")
    tm_submit: Timestamp
    tm_foc: Timestamp = Field(description="The date that the old carrier has agreed to.")
    tm_end: Timestamp
    tm_create: Timestamp
    tm_update: Timestamp


def answer(row: Any, numbers: list[Any], documents: list[Any]) -> PortAnswer:
    """A port as the API shows it, of its row and those of its numbers and files."""
    return PortAnswer.model_validate(
        {
            **row._mapping,
            "pin_set": bool(row.pin),
            "owner": row.owner or None,
            "numbers": [PortNumber.model_validate(one) for one in numbers],
            "documents": [PortDocument.model_validate(one) for one in documents],
        }
    )
