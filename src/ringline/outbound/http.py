"""The routes of a customer's outbound settings."""

from __future__ import annotations

from ringline.http import Request, Route
from ringline.outbound.models import OutboundConfigAnswer, OutboundConfigChange
from ringline.outbound.service import OutboundService

_PATH = "/v1.0/outbound_config"
_TAGS = ("outbound_config",)


def outbound_routes(service: OutboundService) -> list[Route]:
    """Where the customer's calls may go."""

    async def get(request: Request) -> OutboundConfigAnswer:
        return await service.get(request.customer_id)

    async def update(request: Request[OutboundConfigChange]) -> OutboundConfigAnswer:
        return await service.update(request.principal, request.body)

    return [
        Route(
            method="GET",
            path=_PATH,
            handler=get,
            summary="Read your outbound settings",
            description="Which countries your calls may go to, and your limits as they are in force.",
            tags=_TAGS,
            response=OutboundConfigAnswer,
        ),
        Route(
            method="PUT",
            path=_PATH,
            handler=update,
            summary="Change your outbound settings",
            description="Fields that are left out stay as they are. A call to a country that is not on the list is "
            "refused with 400 (`DESTINATION_NOT_WHITELISTED`), a phone that dials one with 403. The limits may be "
            "set by administrators of the installation only.",
            tags=_TAGS,
            auth="admin",
            body=OutboundConfigChange,
            response=OutboundConfigAnswer,
            body_examples={
                "two countries and a satellite network": {"destination_whitelist": ["us", "de", "+881"]}
            },
        ),
    ]
