"""Which vendors this installation has, by its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ringline.settings import Settings
from ringline.vendors.base import Vendor
from ringline.vendors.registry import Vendors
from ringline.vendors.sandbox import SandboxVendor
from ringline.vendors.virtual import Taken, VirtualVendor


def _sandbox(settings: Settings) -> Vendor:
    return SandboxVendor(settings.carrier_control_url, settings.sandbox_hook_secret.get_secret_value())


def _telnyx(settings: Settings) -> Vendor:
    from ringline.vendors.telnyx import Telnyx  # noqa: PLC0415 - read where it is used: starting is to be quick

    return Telnyx(
        api_key=settings.telnyx_api_key.get_secret_value(),
        public_key=settings.telnyx_public_key,
        connection_id=settings.telnyx_connection_id,
        messaging_profile_id=settings.telnyx_messaging_profile_id,
        hook_url=f"{(settings.public_url or settings.api_url).rstrip('/')}/hooks/telnyx",
        base_url=settings.telnyx_base_url,
    )


def _twilio(settings: Settings) -> Vendor:
    from ringline.vendors.twilio import Twilio  # noqa: PLC0415 - as above

    return Twilio(
        settings.twilio_account_sid,
        settings.twilio_auth_token.get_secret_value(),
        trunk_sid=settings.twilio_trunk_sid,
        hook_url=f"{(settings.public_url or settings.api_url).rstrip('/')}/hooks/twilio",
        base_url=settings.twilio_base_url,
    )


MAKERS: Final[dict[str, Callable[[Settings], Vendor]]] = {
    "telnyx": _telnyx,
    "twilio": _twilio,
    "sandbox": _sandbox,
}
"""How each vendor that may be named is made."""


def named(settings: Settings) -> list[str]:
    """Whom to ask, in order: those that the operator names; else those with credentials, and the sandbox."""
    if settings.number_vendors:
        return list(dict.fromkeys(settings.number_vendors))
    found = []
    if settings.telnyx_api_key.get_secret_value():
        found.append("telnyx")
    if settings.twilio_account_sid and settings.twilio_auth_token.get_secret_value():
        found.append("twilio")
    return [*found, "sandbox"]


def vendors_of(settings: Settings, taken: Taken) -> Vendors:
    """The vendors in use. Virtual numbers are always there; ``taken`` are those that exist."""
    made = [MAKERS[name](settings) for name in named(settings) if name in MAKERS]
    return Vendors([*made, VirtualVendor(taken)])
