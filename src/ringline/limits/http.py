"""The routes of limits."""

from __future__ import annotations

from ringline.http import Request, Route
from ringline.limits.models import CustomerLimitsAnswer, CustomerLimitsChange, LimitsAnswer
from ringline.limits.service import CustomerNotFound, LimitService

_OF_CUSTOMER = "/v1.0/customers/{customer_id}/limits"
_TAGS = ("limits",)


def limit_routes(service: LimitService) -> list[Route]:
    """What limits the customer that asks, and the administrator's word on it."""

    async def shown(request: Request) -> LimitsAnswer:
        return await service.shown(request.principal)

    async def get(request: Request) -> CustomerLimitsAnswer:
        return await service.of_customer(request.path["customer_id"])

    async def update(request: Request[CustomerLimitsChange]) -> CustomerLimitsAnswer:
        return await service.change(request.path["customer_id"], request.body)

    return [
        Route(
            method="GET",
            path="/v1.0/limits",
            handler=shown,
            summary="Read your limits",
            description="All limits that are in force for you, and how much of each is used now: requests, calls,"
            " calls that wait, texts, and how many of each resource your plan allows.",
            tags=_TAGS,
            response=LimitsAnswer,
        ),
        Route(
            method="GET",
            path=_OF_CUSTOMER,
            handler=get,
            summary="Read a customer's limits",
            tags=_TAGS,
            auth="project",
            response=CustomerLimitsAnswer,
            errors=(CustomerNotFound,),
        ),
        Route(
            method="PUT",
            path=_OF_CUSTOMER,
            handler=update,
            summary="Set a customer's limits",
            description="Fields that are left out stay as they are; 0 is the installation's limit. In force in every"
            " process within a second.",
            tags=_TAGS,
            auth="project",
            body=CustomerLimitsChange,
            response=CustomerLimitsAnswer,
            errors=(CustomerNotFound,),
            body_examples={"a large customer": {"max_calls": 5000, "calls_per_second": 200}},
        ),
    ]
