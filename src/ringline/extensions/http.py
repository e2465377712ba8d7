"""The routes of extensions and of the phones that are registered with them."""

from __future__ import annotations

from typing import Any

from ringline.billing.tiers import LimitReached
from ringline.errors import AlreadyExists
from ringline.extensions.models import (
    ExtensionAnswer,
    ExtensionChange,
    ExtensionCreate,
    ExtensionQuery,
    RegistrationAnswer,
)
from ringline.extensions.service import ExtensionNotFound, ExtensionService, RegistrationNotFound
from ringline.http import Page, Request, Resource, Route, page_of

_EXTENSIONS = Resource(
    "/v1.0/extensions", "extension_id", ExtensionAnswer, ExtensionNotFound, "extensions", writing="admin"
)


def extension_routes(service: ExtensionService) -> list[Route]:
    """Extensions; only admins change them."""

    async def view(row: Any) -> ExtensionAnswer:
        return _answer(row, (await service.registered([row])).get(row.id, 0))

    async def page(request: Request[None, ExtensionQuery]) -> Page[ExtensionAnswer]:
        rows = await service.page(request.customer_id, request.query)
        registered = await service.registered(rows)
        return page_of(rows, request.query, lambda row: _answer(row, registered.get(row.id, 0)))

    async def get(request: Request) -> ExtensionAnswer:
        return await view(await service.get(request.customer_id, request.path["extension_id"]))

    async def create(request: Request[ExtensionCreate]) -> ExtensionAnswer:
        return await view(
            await service.create(request.customer_id, request.body, seed=request.idempotency_seed)
        )

    async def update(request: Request[ExtensionChange]) -> ExtensionAnswer:
        return await view(
            await service.update(request.customer_id, request.path["extension_id"], request.body)
        )

    async def delete(request: Request) -> ExtensionAnswer:
        return await view(await service.delete(request.customer_id, request.path["extension_id"]))

    return [
        _EXTENSIONS.list(page, "List extensions", ExtensionQuery),
        _EXTENSIONS.create(
            create,
            "Make an extension",
            ExtensionCreate,
            description="A phone registers at once with `extension` as user name, `domain_name` as SIP domain "
            "and the "
            "password, of which only a digest is kept. An extension of this name in your realm is 409 "
            "`ALREADY_EXISTS`.",
            body_examples={
                "phone": {"extension": "anna", "password": "correct horse 7", "name": "Anna's desk"}
            },
            errors=(AlreadyExists, LimitReached),
        ),
        _EXTENSIONS.get(get, "Read an extension"),
        _EXTENSIONS.update(
            update,
            "Change an extension",
            ExtensionChange,
            description="Fields that are left out stay as they are. A new `password` is in force when this is "
            "answered: the "
            "old one is refused, and phones that registered with it are registered no more. `extension` cannot "
            "be changed.",
            body_examples={"password": {"password": "another horse 8"}, "limit": {"max_calls": 2}},
        ),
        _EXTENSIONS.delete(
            delete,
            "Delete an extension",
            description="Its phones are registered no more and their calls are refused when this is answered; "
            "calls that "
            "last go on.",
        ),
        *_registration_routes(service),
    ]


def _registration_routes(service: ExtensionService) -> list[Route]:
    async def registrations(request: Request) -> Page[RegistrationAnswer]:
        found = await service.registrations(request.customer_id, request.path["extension_id"])
        return Page[RegistrationAnswer](result=found, next_page_token="")

    async def unregister(request: Request) -> RegistrationAnswer:
        path = request.path
        return await service.unregister(request.customer_id, path["extension_id"], path["registration_id"])

    return [
        _EXTENSIONS.act(
            "GET",
            "registrations",
            registrations,
            "List an extension's registrations",
            description="The phones that are registered now, the oldest first: an extension has a few, so they "
            "come on one "
            "page. A call to the extension rings all of them.",
            response=Page[RegistrationAnswer],
            auth="customer",
        ),
        _EXTENSIONS.act(
            "DELETE",
            "registrations/{registration_id}",
            unregister,
            "End a registration",
            description="The phone is not rung any more until it registers again, which it does on its own sooner or "
            "later; to keep it out change the extension's password.",
            response=RegistrationAnswer,
            errors=(RegistrationNotFound,),
        ),
    ]


def _answer(row: Any, registered: int) -> ExtensionAnswer:
    return ExtensionAnswer.model_validate({**row._mapping, "registered": registered})
