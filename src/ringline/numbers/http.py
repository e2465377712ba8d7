"""The routes of numbers."""

from __future__ import annotations

from ringline.errors import NotFound
from ringline.http import Page, Request, Resource, Route, page_of
from ringline.numbers.buying import NumberShop
from ringline.numbers.errors import (
    NumberLimitReached,
    NumberNotAvailable,
    NumberNotFound,
    NumberOwned,
    NumberStateInvalid,
    NumberUnpaid,
    PurchaseRejected,
    VendorsUnavailable,
)
from ringline.numbers.models import (
    NumberAnswer,
    NumberChange,
    NumberCreate,
    NumberFlows,
    NumberQuery,
    NumberRenewal,
)
from ringline.numbers.renewal import NumberRenewals
from ringline.numbers.service import NumberService

_NUMBERS = Resource("/v1.0/numbers", "number_id", NumberAnswer, NumberNotFound, "numbers", writing="admin")
_FLOW_ID = "d157ce07-0360-4cad-9007-c8ab89fccf9c"
_ADDRESS = {
    "name": "Example Inc.",
    "street": "548 Market St",
    "city": "San Francisco",
    "region": "CA",
    "postal_code": "94104",
    "country": "US",
}


def number_routes(service: NumberService, shop: NumberShop, renewals: NumberRenewals) -> list[Route]:
    """Get, list, read, change, suspend, renew and give back numbers."""
    return [*_owned(service), *_bought(service, shop), *_state(service, renewals)]


def _owned(service: NumberService) -> list[Route]:
    async def page(request: Request[None, NumberQuery]) -> Page[NumberAnswer]:
        rows = await service.page(request.customer_id, request.query)
        return page_of(rows, request.query, NumberAnswer.model_validate, style="number")

    async def get(request: Request) -> NumberAnswer:
        return NumberAnswer.model_validate(await service.get(request.customer_id, request.path["number_id"]))

    async def update(request: Request[NumberFlows]) -> NumberAnswer:
        row = await service.update(request.customer_id, request.path["number_id"], request.body)
        return NumberAnswer.model_validate(row)

    return [
        _NUMBERS.list(page, "List numbers", NumberQuery),
        _NUMBERS.get(get, "Read a number"),
        _NUMBERS.update(
            update,
            "Change a number",
            NumberChange,
            description="Fields that are left out stay as they are. A flow that does not exist is 404 "
            "`FLOW_NOT_FOUND`; the zero UUID takes the flow away. An address for emergency calls that the provider "
            "refuses is 400 `EMERGENCY_ADDRESS_REFUSED`.",
            errors=(NumberStateInvalid, NumberUnpaid),
            body_examples={
                "assign a flow": {"call_flow_id": _FLOW_ID, "name": "hotline"},
                "suspend": {"status": "suspended"},
                "emergency calls": {"emergency_enabled": True, "emergency_address": _ADDRESS},
            },
        ),
        _NUMBERS.act(
            "PUT",
            "flow_ids",
            update,
            "Assign flows to a number",
            body=NumberFlows,
            body_examples={"both": {"call_flow_id": _FLOW_ID, "message_flow_id": _FLOW_ID}},
        ),
    ]


def _bought(service: NumberService, shop: NumberShop) -> list[Route]:
    async def create(request: Request[NumberCreate]) -> NumberAnswer:
        row = await shop.create(request.customer_id, request.body, request.idempotency_seed)
        return NumberAnswer.model_validate(row)

    async def delete(request: Request) -> NumberAnswer:
        row = await service.delete(request.customer_id, request.path["number_id"])
        return NumberAnswer.model_validate(row)

    return [
        _NUMBERS.create(
            create,
            "Get a number",
            NumberCreate,
            description="A normal number is bought from a provider and costs money: it is `active` at once or "
            "`purchase-pending` until the provider confirms (GET it until then). If the provider rejects it later, "
            "reading it is 404 and says why; GET /v1.0/numbers?status=deleted lists it. A virtual number (+899) is "
            "free and active at once; how many depends on the plan.",
            errors=(
                NumberOwned,
                NumberNotAvailable,
                PurchaseRejected,
                NumberUnpaid,
                NumberLimitReached,
                VendorsUnavailable,
                NotFound,
            ),
            timeout=60.0,
            body_examples={
                "a normal number": {"number": "+16062067563"},
                "a virtual number": {"number": "+899100000001"},
                "with a flow": {"number": "+16062067563", "call_flow_id": _FLOW_ID, "name": "hotline"},
            },
        ),
        _NUMBERS.delete(
            delete,
            "Give a number back",
            description="Calls and messages stop at once, and the number may be somebody else's soon.",
        ),
    ]


def _state(service: NumberService, renewals: NumberRenewals) -> list[Route]:
    async def suspend(request: Request) -> NumberAnswer:
        row = await service.suspend(request.customer_id, request.path["number_id"])
        return NumberAnswer.model_validate(row)

    async def reactivate(request: Request) -> NumberAnswer:
        row = await service.reactivate(request.customer_id, request.path["number_id"])
        return NumberAnswer.model_validate(row)

    async def renew(request: Request[NumberRenewal]) -> list[NumberAnswer]:
        rows = await renewals.renew(request.principal, request.body)
        return [NumberAnswer.model_validate(row) for row in rows]

    return [
        _NUMBERS.act(
            "POST",
            "suspend",
            suspend,
            "Suspend a number",
            description="Calls and messages to it are not handled until it is reactivated. It stays yours and is "
            "paid for. As PUT with `status` `suspended`.",
            errors=(NumberStateInvalid,),
        ),
        _NUMBERS.act(
            "POST",
            "reactivate",
            reactivate,
            "Reactivate a suspended number",
            description="One that is suspended because its month is not paid is paid now: 402 when the balance does "
            "not cover it.",
            errors=(NumberStateInvalid, NumberUnpaid),
        ),
        Route(
            method="POST",
            path=f"{_NUMBERS.path}/renew",
            handler=renew,
            summary="Pay the next month of numbers",
            description="Numbers are renewed every month by themselves. One whose month the balance does not cover "
            "is `suspended` with the `status_reason` `renewal_unpaid`, and active again as soon as it is paid: by "
            "itself within an hour of a top-up, or by this at once. Answers the numbers that were renewed, at most "
            "500. Asking twice pays once.",
            tags=(_NUMBERS.tag,),
            auth="admin",
            body=NumberRenewal,
            body_optional=True,
            response=list[NumberAnswer],
            errors=(NumberUnpaid,),
            timeout=60.0,
            body_examples={"what is due": {}, "what falls due within a week": {"days": 7}},
        ),
    ]
