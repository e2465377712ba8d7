"""The routes of billing accounts."""

from __future__ import annotations

from ringline.billing.models import BillingAccountAnswer
from ringline.billing.service import BillingAccountNotFound, BillingService
from ringline.http import Page, PageQuery, Request, Route, page_of


def billing_routes(service: BillingService) -> list[Route]:
    """Read billing accounts."""

    async def page(request: Request[None, PageQuery]) -> Page[BillingAccountAnswer]:
        rows = await service.page(request.customer_id, request.query)
        return page_of(rows, request.query, BillingAccountAnswer.model_validate)

    async def get(request: Request) -> BillingAccountAnswer:
        return BillingAccountAnswer.model_validate(
            await service.get(request.customer_id, request.path["billing_account_id"])
        )

    async def own(request: Request) -> BillingAccountAnswer:
        return BillingAccountAnswer.model_validate(await service.own(request.customer_id))

    return [
        Route(
            method="GET",
            path="/v1.0/billing_accounts",
            aliases=("/v1.0/billing-accounts",),
            handler=page,
            summary="List billing accounts",
            tags=("billing",),
            query=PageQuery,
            response=Page[BillingAccountAnswer],
        ),
        Route(
            method="GET",
            path="/v1.0/billing_accounts/{billing_account_id}",
            aliases=("/v1.0/billing-accounts/{billing_account_id}",),
            handler=get,
            summary="Read a billing account",
            tags=("billing",),
            response=BillingAccountAnswer,
            errors=(BillingAccountNotFound,),
        ),
        Route(
            method="GET",
            path="/v1.0/billing_account",
            handler=own,
            summary="Read the account that is charged",
            tags=("billing",),
            response=BillingAccountAnswer,
            errors=(BillingAccountNotFound,),
        ),
    ]
