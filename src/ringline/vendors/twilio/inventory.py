"""Numbers that Twilio sells now (AvailablePhoneNumbers)."""

from __future__ import annotations

import re
from typing import Any, Final

from ringline.sip.destination import zone
from ringline.vendors.errors import VendorRefused, VendorUnknown
from ringline.vendors.models import Feature, Kind, Offer, Search
from ringline.vendors.twilio.client import TwilioClient
from ringline.vendors.twilio.codes import NONE_FOUND
from ringline.vendors.twilio.regions import region_code

_RESOURCES: Final[dict[Kind, str]] = {
    "local": "Local",
    "toll_free": "TollFree",
    "mobile": "Mobile",
    "national": "National",
}
_UNASKED: Final[tuple[Kind, ...]] = ("local", "toll_free", "mobile", "national")
_FILTERS: Final[dict[Feature, str]] = {
    "voice": "VoiceEnabled",
    "sms": "SmsEnabled",
    "mms": "MmsEnabled",
    "fax": "FaxEnabled",
}
_FEATURES: Final[tuple[Feature, ...]] = ("voice", "sms", "mms", "fax")
_WITH_REGIONS: Final = frozenset({"US", "CA"})
_WITH_EMERGENCY: Final = frozenset({"US", "CA", "GB"})
"""Where Twilio registers addresses for emergency calls."""
_SHORTEST_PATTERN: Final = 2
_COUNTRY: Final = re.compile("[A-Z]{2}")
_MOST: Final = 1000


async def search(client: TwilioClient, wanted: Search) -> list[Offer]:
    """Numbers of the wanted kind; of each kind in turn where none is wanted."""
    if not _COUNTRY.fullmatch(wanted.country):
        return []
    if "emergency" in wanted.features and wanted.country not in _WITH_EMERGENCY:
        return []
    found: list[Offer] = []
    for kind in (wanted.kind,) if wanted.kind else _UNASKED:
        if len(found) < wanted.limit:
            found += await _of_kind(client, wanted, kind)
    return found[: wanted.limit]


async def find(client: TwilioClient, number: str) -> Offer | None:
    """This very number, wherever it is on sale."""
    country, national, kinds = facts(number)
    wanted = Search(country=country, contains=national, limit=20)
    for kind in kinds:
        for offer in await _of_kind(client, wanted, kind):
            if offer.number == number:
                return offer
    return None


async def _of_kind(client: TwilioClient, wanted: Search, kind: Kind) -> list[Offer]:
    query: dict[str, str | int] = {}
    # Twilio takes wildcards at the ends of a pattern only and no pattern of one character: it is asked for the
    # longest run of digits, and what it finds is looked through here
    run = max(re.split(r"\D+", wanted.contains), key=len)
    if len(run) >= _SHORTEST_PATTERN:
        query["Contains"] = run
    region = region_code(wanted.country, wanted.region) if wanted.country in _WITH_REGIONS else ""
    if region:
        query["InRegion"] = region
    query |= {_FILTERS[feature]: "true" for feature in wanted.features if feature in _FILTERS}
    exact = (not wanted.contains or run == wanted.contains) and bool(region or not wanted.region)
    query["PageSize"] = min(wanted.limit if exact else max(wanted.limit * 10, 100), _MOST)
    url = client.of_account(f"AvailablePhoneNumbers/{wanted.country}/{_RESOURCES[kind]}")
    try:
        body = await client.get(url, query)
    except VendorUnknown:
        return []  # this country has none of this kind
    except VendorRefused as refusal:
        if refusal.code == NONE_FOUND:
            return []
        raise
    rows = body.get("available_phone_numbers")
    offers = (_offer(row, kind, wanted.country) for row in (rows if isinstance(rows, list) else ()))
    return [offer for offer in offers if offer is not None and _fits(offer, wanted, region)]


def _fits(offer: Offer, wanted: Search, region: str) -> bool:
    if not set(wanted.features) <= set(offer.features):
        return False
    if wanted.contains:
        pattern = "".join(r"\d" if sign == "*" else re.escape(sign) for sign in wanted.contains)
        if re.search(pattern, offer.number) is None:
            return False
    if not wanted.region:
        return True
    asked = {wanted.region.casefold(), region.casefold()} - {""}
    return offer.region.casefold() in asked or offer.city.casefold() in asked


def _offer(row: Any, kind: Kind, country: str) -> Offer | None:
    if not isinstance(row, dict) or not isinstance(row.get("phone_number"), str):
        return None
    able = row.get("capabilities")
    able = {str(name).lower() for name, yes in able.items() if yes} if isinstance(able, dict) else set()
    features = tuple(feature for feature in _FEATURES if feature in able)
    place = str(row.get("iso_country") or country)
    if kind == "local" and "voice" in features and place in _WITH_EMERGENCY:
        features = (*features, "emergency")
    return Offer(
        number=row["phone_number"],
        country=place,
        kind=kind,
        region=str(row.get("region") or ""),
        city=str(row.get("locality") or ""),
        postal_code=str(row.get("postal_code") or ""),
        features=features,
    )


def facts(number: str) -> tuple[str, str, tuple[Kind, ...]]:
    """Country, digits without the calling code, and the kinds that the number may be of: none of no country."""
    import phonenumbers  # noqa: PLC0415 - its tables are not for the start
    from phonenumbers import PhoneNumberType  # noqa: PLC0415

    country = zone(number).name.upper()
    if not country:
        return "", "", ()
    parsed = phonenumbers.parse(number, None)
    kinds: dict[int, tuple[Kind, ...]] = {
        PhoneNumberType.TOLL_FREE: ("toll_free",),
        PhoneNumberType.MOBILE: ("mobile", "local"),
        PhoneNumberType.FIXED_LINE: ("local", "national"),
    }
    kind = kinds.get(phonenumbers.number_type(parsed), ("local", "mobile", "national"))
    return country, phonenumbers.national_significant_number(parsed), kind
