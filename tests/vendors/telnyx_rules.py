"""What Telnyx's API v2 accepts, field by field, as its public documentation says. Part of the strict local Telnyx."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

E164 = re.compile(r"\+[1-9]\d{6,14}")
IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9_:-]{1,255}")
FEATURES = {"sms", "mms", "voice", "fax", "emergency", "hd_voice", "international_sms", "local_calling"}
TYPES = {"local", "toll_free", "mobile", "national", "shared_cost"}


@dataclass
class Seen:
    """A request as it came."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: Any


class Refusal(Exception):
    """An answer other than 2xx."""

    def __init__(self, status: int, code: str, title: str, detail: str, pointer: str = "") -> None:
        super().__init__(detail)
        self.status = status
        error: dict[str, Any] = {"code": code, "title": title, "detail": detail}
        error["meta"] = {"url": f"https://developers.telnyx.com/docs/overview/errors/{code}"}
        if pointer:
            error["source"] = {"pointer": pointer}
        self.body = {"errors": [error]}


def invalid(detail: str, pointer: str = "") -> Refusal:
    return Refusal(422, "10015", "Bad Request", detail, pointer)


def not_found() -> Refusal:
    return Refusal(404, "10005", "Resource not found", "The requested resource or URL could not be found.")


Check = Callable[[Any, str], None]


def string(pattern: str = "(?s).*", most: int = 2000) -> Check:
    def check(value: Any, pointer: str) -> None:
        if not isinstance(value, str) or len(value) > most or not re.fullmatch(pattern, value):
            raise invalid(f"The value of {pointer} is invalid.", pointer)

    return check


def boolean(value: Any, pointer: str) -> None:
    if not isinstance(value, bool):
        raise invalid(f"{pointer} must be a boolean.", pointer)


def one_of(*values: str) -> Check:
    def check(value: Any, pointer: str) -> None:
        if value not in values:
            raise invalid(f"{pointer} must be one of {', '.join(values)}.", pointer)

    return check


def list_of(item: Check, most: int = 100) -> Check:
    def check(value: Any, pointer: str) -> None:
        if not isinstance(value, list) or not value or len(value) > most:
            raise invalid(f"{pointer} must be a list with 1 to {most} entries.", pointer)
        for index, entry in enumerate(value):
            item(entry, f"{pointer}/{index}")

    return check


def mapping(fields: dict[str, Check], required: tuple[str, ...] = ()) -> Check:
    def check(value: Any, pointer: str) -> None:
        if not isinstance(value, dict):
            raise invalid(f"{pointer or 'The body'} must be an object.", pointer)
        for name in required:
            if name not in value:
                raise Refusal(
                    422, "10004", "Missing required parameter", f"{name} is required.", f"{pointer}/{name}"
                )
        for name, entry in value.items():
            if name not in fields:
                raise invalid(f"{name} is no field of this resource.", f"{pointer}/{name}")
            fields[name](entry, f"{pointer}/{name}")

    return check


ID = string(r"[A-Za-z0-9-]{1,64}")
NUMBER = string(E164.pattern)
URL = string(r"https?://\S+")
COUNTRY = string("[A-Z]{2}")
SHORT = string(most=255)
DATE_TIME = string(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

ORDER = mapping(
    {
        "phone_numbers": list_of(
            mapping({"phone_number": NUMBER, "requirement_group_id": ID, "bundle_id": ID}, ("phone_number",))
        ),
        "connection_id": ID,
        "messaging_profile_id": ID,
        "billing_group_id": ID,
        "customer_reference": SHORT,
    },
    ("phone_numbers",),
)
PHONE_NUMBER = mapping(
    {
        "address_id": ID,
        "billing_group_id": ID,
        "connection_id": ID,
        "customer_reference": SHORT,
        "external_pin": SHORT,
        "hd_voice_enabled": boolean,
        "tags": list_of(SHORT),
    }
)
VOICE = mapping(
    {
        "tech_prefix_enabled": boolean,
        "translated_number": SHORT,
        "caller_id_name_enabled": boolean,
        "usage_payment_method": one_of("pay-per-minute", "channel"),
        "inbound_call_screening": one_of("disabled", "reject_calls", "flag_calls"),
        "media_features": mapping(
            {
                "rtp_auto_adjust_enabled": boolean,
                "accept_any_rtp_packets_enabled": boolean,
                "t38_fax_gateway_enabled": boolean,
            }
        ),
    }
)
MESSAGING = mapping(
    {"messaging_profile_id": string("[A-Za-z0-9-]{0,64}"), "messaging_product": SHORT, "tags": list_of(SHORT)}
)
EMERGENCY = mapping(
    {"emergency_enabled": boolean, "emergency_address_id": ID}, ("emergency_enabled", "emergency_address_id")
)
ADDRESS = mapping(
    {
        **dict.fromkeys(("first_name", "last_name", "business_name"), SHORT),
        **dict.fromkeys(("street_address", "extended_address", "locality", "administrative_area"), SHORT),
        **dict.fromkeys(("neighborhood", "borough", "postal_code", "customer_reference"), SHORT),
        "phone_number": NUMBER,
        "country_code": COUNTRY,
        "address_book": boolean,
        "validate_address": boolean,
    },
    ("business_name", "first_name", "last_name", "street_address", "locality", "country_code"),
)
MESSAGE = mapping(
    {
        "from": SHORT,
        "to": SHORT,
        "text": string("(?s).+", 4096),
        "media_urls": list_of(URL, 10),
        "messaging_profile_id": ID,
        "subject": SHORT,
        "type": one_of("SMS", "MMS"),
        "webhook_url": URL,
        "webhook_failover_url": URL,
        "use_profile_webhooks": boolean,
        "auto_detect": boolean,
        "encoding": one_of("auto", "gsm7", "ucs2"),
        "send_at": DATE_TIME,
    },
    ("to",),
)
DOCUMENT = mapping(
    {"file": string(most=20_000_000), "filename": SHORT, "customer_reference": SHORT, "url": URL}
)
PORT = mapping(
    {"phone_numbers": list_of(NUMBER), "customer_reference": SHORT, "customer_group_reference": SHORT},
    ("phone_numbers",),
)
PORT_PATCH = mapping(
    {
        "activation_settings": mapping({"foc_datetime_requested": DATE_TIME}),
        "customer_reference": SHORT,
        "customer_group_reference": SHORT,
        "documents": mapping({"loa": ID, "invoice": ID}),
        "end_user": mapping(
            {
                "admin": mapping(
                    {
                        **dict.fromkeys(("entity_name", "auth_person_name", "account_number"), SHORT),
                        **dict.fromkeys(("pin_passcode", "business_identifier", "tax_identifier"), SHORT),
                        "billing_phone_number": NUMBER,
                    }
                ),
                "location": mapping(
                    {
                        **dict.fromkeys(("street_address", "extended_address", "locality"), SHORT),
                        **dict.fromkeys(("administrative_area", "postal_code"), SHORT),
                        "country_code": COUNTRY,
                    }
                ),
            }
        ),
        "messaging": mapping({"enable_messaging": boolean}),
        "misc": mapping(
            {
                "type": one_of("full", "partial"),
                "remaining_numbers_action": one_of("keep", "disconnect"),
                "new_billing_phone_number": NUMBER,
            }
        ),
        "phone_number_configuration": mapping(
            {
                "connection_id": ID,
                "messaging_profile_id": ID,
                "billing_group_id": ID,
                "emergency_address_id": ID,
            }
        ),
        "requirement_group_id": ID,
        "webhook_url": URL,
    }
)

SEARCH_FILTERS: dict[str, Check] = {
    "country_code": COUNTRY,
    "administrative_area": string("[A-Z]{2}"),
    "locality": SHORT,
    "national_destination_code": string(r"\d+"),
    "rate_center": SHORT,
    "phone_number_type": one_of(*TYPES),
    "limit": string(r"[1-9]\d{0,3}"),
    "best_effort": one_of("true", "false"),
    "quickship": one_of("true", "false"),
    "reservable": one_of("true", "false"),
    "exclude_held_numbers": one_of("true", "false"),
    "phone_number][contains": SHORT,
    "phone_number][starts_with": SHORT,
    "phone_number][ends_with": SHORT,
}


def filters_of(
    seen: Seen, checks: dict[str, Check], *lists: str, extra: tuple[str, ...] = ()
) -> dict[str, str]:
    """The parameters of ``filter[...]``; pages are checked, anything else is refused."""
    found: dict[str, str] = {}
    for name, value in seen.query:
        inner = name[len("filter[") : -1] if name.startswith("filter[") and name.endswith("]") else None
        if inner in lists:
            found[inner] = f"{found[inner]},{value}" if inner in found else value
        elif inner is not None and inner in checks:
            checks[inner](value, name)
            found[inner] = value
        elif (
            name in {"page[size]", "page[number]"}
            and re.fullmatch(r"[1-9]\d{0,2}", value)
            and int(value) <= 250
        ):
            continue
        elif name not in extra:
            raise Refusal(400, "10015", "Bad Request", f"The parameter {name} is unknown or invalid.")
    return found
