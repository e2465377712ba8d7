"""``/v1.0/customers``."""

from __future__ import annotations

from typing import Any

from ringline.customers.administration.models import (
    CustomerAdminChange,
    CustomerCreate,
    CustomersQuery,
    NewCustomer,
)
from ringline.customers.administration.service import CustomersService
from ringline.customers.entry.leaving import CustomerNotFound, CustomerStateInvalid, Leaving
from ringline.customers.models import CustomerAnswer
from ringline.errors import AlreadyExists
from ringline.http import Page, Request, Resource, Route, page_of

_CUSTOMERS = Resource(
    "/v1.0/customers",
    "customer_id",
    CustomerAnswer,
    CustomerNotFound,
    "customers",
    reading="project",
    writing="project",
)


def administration_routes(service: CustomersService, leaving: Leaving) -> list[Route]:
    """All customers, for the administrator of the installation."""

    async def page(request: Request[None, CustomersQuery]) -> Page[CustomerAnswer]:
        return page_of(await service.page(request.query), request.query, CustomerAnswer.model_validate)

    async def create(request: Request[CustomerCreate]) -> NewCustomer:
        made = await service.create(request.body)
        values: dict[str, Any] = {
            **made.customer._mapping,
            "accesskey": {**made.accesskey._mapping, "token": made.token},
            "agent_id": made.agent.id,
            "username": made.agent.username,
        }
        return NewCustomer.model_validate(values)

    async def get(request: Request) -> CustomerAnswer:
        return CustomerAnswer.model_validate(await service.get(request.path["customer_id"]))

    async def update(request: Request[CustomerAdminChange]) -> CustomerAnswer:
        row = await service.update(request.path["customer_id"], request.body)
        return CustomerAnswer.model_validate(row)

    async def delete(request: Request) -> CustomerAnswer:
        return CustomerAnswer.model_validate(await leaving.delete(request.path["customer_id"]))

    async def freeze(request: Request) -> CustomerAnswer:
        return CustomerAnswer.model_validate(await leaving.freeze(request.path["customer_id"]))

    async def recover(request: Request) -> CustomerAnswer:
        return CustomerAnswer.model_validate(await leaving.recover(request.path["customer_id"]))

    return [
        _CUSTOMERS.list(page, "List customers", CustomersQuery),
        _CUSTOMERS.create(
            create,
            "Make a customer",
            CustomerCreate,
            description="Active at once, with a billing account of the free plan, an outbound configuration that "
            "allows no country yet, an access key, which is shown now only, and an admin whose login is the "
            "address; a link to choose a password is mailed to it, good for 72 hours. An address that is "
            "somebody's login is 409.",
            body_examples={"customer": {"name": "Ada Ltd", "email": "ada@example.com", "country": "us"}},
            errors=(AlreadyExists,),
            idempotent=False,
            response=NewCustomer,
        ),
        _CUSTOMERS.get(get, "Read a customer", description="Also one that was deleted."),
        _CUSTOMERS.update(
            update,
            "Change a customer",
            CustomerAdminChange,
            description="Fields that are left out stay as they are; as `PUT /v1.0/customer`, and what only the "
            "installation's administrator says: `identity_verification_status`, `email_verified`.",
            errors=(AlreadyExists,),
        ),
        _CUSTOMERS.delete(
            delete,
            "Delete a customer",
            description="At once and for good: credentials are refused, calls are ended, and in the background "
            "numbers are given back, everything that it had is deleted, and what is kept of it names nobody any "
            "more. The customer of the installation's administrators cannot be deleted (409).",
            errors=(CustomerStateInvalid,),
        ),
        _CUSTOMERS.act(
            "POST",
            "freeze",
            freeze,
            "Freeze a customer",
            description="Every request is 403 `ACCOUNT_FROZEN` from then on, and calls and texts in both "
            "directions are refused; calls that last go on to their end. In 30 days it is deleted. Only the "
            "installation's administrator recovers it.",
            errors=(CustomerStateInvalid,),
        ),
        _CUSTOMERS.act(
            "POST",
            "recover",
            recover,
            "Recover a frozen customer",
            description="It is as it was before, whoever froze it.",
            errors=(CustomerStateInvalid,),
        ),
    ]
