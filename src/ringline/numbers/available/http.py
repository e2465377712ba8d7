"""The routes of numbers that may be bought: the present one, and the older spelling of the seed page."""

from __future__ import annotations

from ringline.errors import ResourceExhausted
from ringline.http import Request, Route
from ringline.numbers.available import regions
from ringline.numbers.available.models import (
    FEATURES,
    AvailableNumber,
    AvailableNumbers,
    AvailableQuery,
    OlderAvailableNumber,
    OlderAvailableNumbers,
)
from ringline.numbers.available.service import AvailableNumberService
from ringline.vendors.models import Offer

_DESCRIPTION = (
    "Vendors are asked at the same time, and what they have comes in the operator's order, each number once; numbers "
    "of this installation are left out. One that does not answer in time is passed over; 503 when none does. Nothing "
    "is reserved: a number may be gone when it is bought. There are no further pages; ask for more at once, or more "
    "exactly."
)


def available_routes(service: AvailableNumberService) -> list[Route]:
    """Search numbers."""

    async def found(request: Request[None, AvailableQuery]) -> list[Offer]:
        wanted = request.query.search()
        if request.query.virtual:
            return await service.virtual(wanted)
        return await service.normal(request.customer_id, wanted)

    async def search(request: Request[None, AvailableQuery]) -> AvailableNumbers:
        return AvailableNumbers(result=[_row(offer) for offer in await found(request)])

    async def older(request: Request[None, AvailableQuery]) -> OlderAvailableNumbers:
        offers = await found(request)
        return OlderAvailableNumbers(
            result=[_older_row(offer, virtual=request.query.virtual) for offer in offers]
        )

    return [
        Route(
            method="GET",
            path="/v1.0/available_numbers",
            handler=search,
            summary="Search numbers to buy",
            description=_DESCRIPTION,
            tags=("numbers",),
            query=AvailableQuery,
            response=AvailableNumbers,
            errors=(ResourceExhausted,),
            response_example={
                "result": [
                    {
                        "number": "+12182558711",
                        "country": "US",
                        "region": "MN",
                        "postal_code": "",
                        "features": ["emergency", "fax", "voice", "sms", "mms"],
                    }
                ]
            },
        ),
        Route(
            method="GET",
            path="/v1.0/number_availables",
            handler=older,
            summary="Search numbers to buy (older spelling)",
            description="As `GET /v1.0/available_numbers`, with the kind, region and city of each number. "
            + _DESCRIPTION,
            tags=("numbers",),
            query=AvailableQuery,
            response=OlderAvailableNumbers,
            errors=(ResourceExhausted,),
            response_example={
                "result": [
                    {
                        "number": "+15551234567",
                        "country": "US",
                        "type": "local",
                        "region": "California",
                        "city": "San Francisco",
                    }
                ]
            },
        ),
    ]


def _row(offer: Offer) -> AvailableNumber:
    return AvailableNumber(
        number=offer.number,
        country=offer.country,
        region=offer.region,
        postal_code=offer.postal_code,
        features=[feature for feature in FEATURES if feature in offer.features],
    )


def _older_row(offer: Offer, *, virtual: bool) -> OlderAvailableNumber:
    return OlderAvailableNumber(
        number=offer.number,
        country=offer.country,
        type="virtual" if virtual else offer.kind,
        region=regions.name(offer.country, offer.region),
        city=offer.city,
    )
