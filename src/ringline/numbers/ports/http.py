"""The routes of ports."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ringline.errors import InvalidArgument
from ringline.http import Page, QueryModel, Request, Resource, Route, page_of
from ringline.numbers.ports.documents import MAX_BYTES, TYPES, Document, document, of_form
from ringline.numbers.ports.errors import (
    NumberPresent,
    PortIncomplete,
    PortingUnavailable,
    PortNotFound,
    PortStateInvalid,
    TooManyPorts,
)
from ringline.numbers.ports.models import PortAnswer, PortChange, PortCreate, PortQuery
from ringline.numbers.ports.service import PortService

_PORTS = Resource("/v1.0/number_ports", "port_id", PortAnswer, PortNotFound, "number_ports", writing="admin")
_FORM = "multipart/form-data"
_JSON_BYTES = 6 * 1024**2
"""Of a port with its files in Base64: what takes longer to read would hold everybody up."""
_OWNER = {
    "name": "Example Inc.",
    "street": "548 Market St",
    "city": "San Francisco",
    "region": "CA",
    "postal_code": "94104",
    "country": "US",
}
_EXAMPLE = {
    "numbers": ["+14155550100", "+14155550101"],
    "carrier": "Old Telephone Company",
    "account_number": "4711",
    "pin": "1234",
    "owner": _OWNER,
    "authorised_person": "Anna Example",
    "email": "anna@example.com",
}


class DocumentQuery(QueryModel):
    """Which file an upload that is no form is."""

    kind: Literal["letter", "bill"] = Field(
        "letter", description="What the file is; forms name their fields so."
    )
    name: str = Field("", max_length=255, description="Its name.")


def port_routes(service: PortService) -> list[Route]:
    """Bring numbers from other carriers; only admins do."""

    async def page(request: Request[None, PortQuery]) -> Page[PortAnswer]:
        rows = await service.page(request.customer_id, request.query)
        shown = {one.id: one for one in await service.shown(rows)}
        return page_of(rows, request.query, lambda row: shown[row.id])

    async def get(request: Request) -> PortAnswer:
        return await _one(service, await service.get(request.customer_id, request.path["port_id"]))

    async def create(request: Request[PortCreate]) -> PortAnswer:
        row = await service.create(request.customer_id, request.body, seed=request.idempotency_seed)
        return await _one(service, row)

    async def update(request: Request[PortChange]) -> PortAnswer:
        row = await service.update(request.customer_id, request.path["port_id"], request.body)
        return await _one(service, row)

    async def upload(request: Request[None, DocumentQuery]) -> PortAnswer:
        row = await service.add(request.customer_id, request.path["port_id"], _files(request))
        return await _one(service, row)

    async def submit(request: Request) -> PortAnswer:
        return await _one(service, await service.submit(request.customer_id, request.path["port_id"]))

    async def cancel(request: Request) -> PortAnswer:
        return await _one(service, await service.cancel(request.customer_id, request.path["port_id"]))

    return [
        _PORTS.list(page, "List ports", PortQuery),
        _PORTS.create(
            create,
            "Bring numbers from another carrier",
            PortCreate,
            description="With a `letter` (of authorisation) it is submitted at once; without one it is a draft, to "
            "which `.../documents` adds files and which `.../submit` submits. A number that somebody here has or "
            "ports already is 409 `NUMBER_NOT_AVAILABLE`. When a number arrives it is one of your active numbers.",
            errors=(NumberPresent, PortingUnavailable, TooManyPorts),
            max_body_bytes=_JSON_BYTES,
            body_examples={
                "a draft": _EXAMPLE,
                "with its letter": {
                    **_EXAMPLE,
                    "letter": {"name": "letter.pdf", "content": "JVBERi0xLjQKLi4uCiUlRU9GCg=="},
                },
            },
        ),
        _PORTS.get(get, "Read a port"),
        _PORTS.update(
            update,
            "Mend a port",
            PortChange,
            description="While it is `draft` or `exception`. Fields that are left out stay as they are. Then "
            "submit it.",
            errors=(PortStateInvalid, NumberPresent, PortingUnavailable),
            body_examples={"another PIN": {"pin": "4321"}},
        ),
        _PORTS.act(
            "POST",
            "documents",
            upload,
            "Add the letter of authorisation, or a bill",
            description=f"Whole PDF, PNG or JPEG files of at most {MAX_BYTES // 1024**2} MB: as a form with the "
            "fields `letter` and `bill`, or one file as the body, with `kind` and `name` in the query. A file takes "
            "the place of the former one of its kind. Files go to the provider and are shown to nobody.",
            query=DocumentQuery,
            accepts=(_FORM, *TYPES),
            max_body_bytes=2 * MAX_BYTES + 64 * 1024,
            body_seconds=120.0,
            errors=(PortStateInvalid,),
        ),
        _PORTS.act(
            "POST",
            "submit",
            submit,
            "Submit a port",
            description="A draft, or one that came back as `exception` and was mended. 409 `NUMBER_PORT_INCOMPLETE` "
            "names what is missing.",
            errors=(PortStateInvalid, PortIncomplete, NumberPresent),
        ),
        _PORTS.delete(
            cancel,
            "Cancel a port",
            description="One that is under way is called off at the provider: `cancel_requested` until that is done; "
            "where it is too late, `reason` says so and the port goes on. A draft, and a port that has ended, is "
            "taken off the list.",
        ),
    ]


async def _one(service: PortService, row: object) -> PortAnswer:
    (shown,) = await service.shown([row])  # type: ignore[list-item]  # a row
    return shown


def _files(request: Request[None, DocumentQuery]) -> list[Document]:
    content_type = request.headers.get("Content-Type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == _FORM:
        return of_form(content_type, request.content)
    if media_type in TYPES:
        query = request.query
        return [document(query.kind, query.name, request.content)]
    raise InvalidArgument(
        f"The Content-Type must be {_FORM}, {', '.join(TYPES[:-1])} or {TYPES[-1]}.", reason="INVALID_FORM"
    )
