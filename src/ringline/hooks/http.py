"""The routes that vendors call: without a credential, for each of their requests is signed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ringline.errors import ResourceExhausted
from ringline.hooks.intake import HookForbidden, Intake, VendorAbsent
from ringline.http import BytesReply, Request, Route
from ringline.vendors.events import Hook

MAX_BYTES: Final = 256 * 1024

_JSON, _FORM, _XML = "application/json", "application/x-www-form-urlencoded", "text/xml"
_VENDORS: Final[Mapping[str, tuple[str, str]]] = {
    "telnyx": (_JSON, _JSON),
    "twilio": (_FORM, _XML),
    "sandbox": (_JSON, _JSON),
}
"""What their webhooks are, and what these are answered with."""


def hook_routes(intake: Intake, public_url: str) -> list[Route]:
    """One route for each vendor that sends webhooks; ``public_url`` is how the world reaches them."""
    base = public_url.rstrip("/")
    return [_route(intake, base, vendor) for vendor in _VENDORS]


def _route(intake: Intake, base: str, vendor: str) -> Route:
    async def take(request: Request[None, None]) -> BytesReply:
        hook = Hook(
            vendor=vendor,
            method="POST",
            url=base + request.target,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=request.content,
        )
        await intake.take(hook, request.remote)
        content_type, body = intake.answer(vendor)
        return BytesReply(body.encode(), content_type)

    said, answered = _VENDORS[vendor]
    return Route(
        method="POST",
        path=f"/hooks/{vendor}",
        handler=take,
        summary=f"Take a webhook of {vendor}",
        description="For the vendor, who signs it. Answered as soon as what it says is stored; the same one again"
        " changes nothing. With 503 the vendor is to send it again.",
        tags=("hooks",),
        response=bytes,
        produces=(answered,),
        accepts=(said,),
        max_body_bytes=MAX_BYTES,
        errors=(VendorAbsent, HookForbidden, ResourceExhausted),
        auth="none",
    )
