"""The routes of deliveries."""

from __future__ import annotations

from ringline.errors import FailedPrecondition
from ringline.http import Page, Request, Resource, Route, page_of
from ringline.webhooks.deliveries.models import (
    DeliveryAnswer,
    DeliveryQuery,
    Recovery,
    RecoveryAnswer,
    TestAnswer,
)
from ringline.webhooks.deliveries.service import DeliveryNotFound, DeliveryService
from ringline.webhooks.endpoints.http import WEBHOOKS

_DELIVERIES = Resource(
    "/v1.0/webhook_deliveries",
    "webhook_delivery_id",
    DeliveryAnswer,
    DeliveryNotFound,
    "webhooks",
    writing="admin",
)


def delivery_routes(service: DeliveryService) -> list[Route]:
    """Looking at deliveries, and sending them again."""

    async def page(request: Request[None, DeliveryQuery]) -> Page[DeliveryAnswer]:
        rows = await service.page(request.customer_id, request.query)
        return page_of(rows, request.query, DeliveryAnswer.model_validate)

    async def get(request: Request) -> DeliveryAnswer:
        row = await service.get(request.customer_id, request.path["webhook_delivery_id"])
        return DeliveryAnswer.model_validate(row)

    async def redeliver(request: Request) -> DeliveryAnswer:
        row = await service.redeliver(request.customer_id, request.path["webhook_delivery_id"])
        return DeliveryAnswer.model_validate(row)

    async def recover(request: Request[Recovery]) -> RecoveryAnswer:
        return await service.recover(request.customer_id, request.path["webhook_id"], request.body)

    async def test(request: Request) -> TestAnswer:
        return await service.test(request.customer_id, request.path["webhook_id"])

    return [
        _DELIVERIES.list(
            page,
            "List deliveries of webhooks",
            DeliveryQuery,
            description="Newest first, each with all of its attempts. What has ended is kept for some days"
            " (`docs/webhooks.md`).",
        ),
        _DELIVERIES.get(get, "Read a delivery"),
        _DELIVERIES.act(
            "POST",
            "redeliver",
            redeliver,
            "Send an event again",
            description="Once more to the same endpoint, whatever became of it, with the same `webhook-id` and a new"
            " timestamp and signature. One that still waits for another attempt is tried now. 409 where the endpoint"
            " is disabled or the event no longer stored.",
            errors=(FailedPrecondition,),
        ),
        WEBHOOKS.act(
            "POST",
            "recover",
            recover,
            "Send again what has failed",
            body=Recovery,
            response=RecoveryAnswer,
            description="All failed deliveries of this endpoint since a time wait again, in their order, and are"
            " tried for another day; 100,000 with one request.",
            body_examples={"since Monday": {"since": "2026-03-02T00:00:00Z"}},
            errors=(FailedPrecondition,),
            timeout=60.0,
        ),
        WEBHOOKS.act(
            "POST",
            "test",
            test,
            "Send a test event",
            response=TestAnswer,
            description="An event `webhook_test`, signed as all others, is sent now and once; the answer says what"
            " the endpoint answered within 5 s. It is no delivery and is not listed.",
            errors=(FailedPrecondition,),
        ),
    ]
