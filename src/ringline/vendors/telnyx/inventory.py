"""Numbers that Telnyx offers.

Its filters know neither wildcards nor country codes (developers.telnyx.com, "Number Search"): patterns are matched
here.
"""

from __future__ import annotations

import re
from typing import Any, Final, cast

import phonenumbers
import structlog

from ringline.sip import e164
from ringline.vendors.client import VendorClient
from ringline.vendors.errors import VendorRefused, VendorUnknown
from ringline.vendors.models import Feature, Kind, Offer, Search
from ringline.vendors.regions import state
from ringline.vendors.telnyx.api import API, NAME, parts, rows, text

log = structlog.get_logger(__name__)

_FEATURES: Final[tuple[Feature, ...]] = ("voice", "sms", "mms", "fax", "emergency")
_KINDS: Final = frozenset({"local", "toll_free", "mobile", "national"})
_NORTH_AMERICA: Final = frozenset({"US", "CA"})
_PATTERN: Final = re.compile(r"[0-9*]{0,32}", re.ASCII)
_MATCHED_HERE: Final = 250
"""Numbers asked for where a pattern leaves only some of them."""


class Inventory:
    """Searches."""

    def __init__(self, client: VendorClient) -> None:
        self._client = client

    async def search(self, wanted: Search) -> list[Offer]:
        """At most ``wanted.limit`` numbers. A country or region without coverage has none."""
        if not _PATTERN.fullmatch(wanted.contains):
            return []
        pattern = re.compile(wanted.contains.replace("*", "[0-9]"))
        found: list[Offer] = []
        for contains in _fixed(wanted):
            limit = wanted.limit if contains == wanted.contains else max(wanted.limit, _MATCHED_HERE)
            query = [("filter[country_code]", wanted.country), ("filter[limit]", str(limit))]
            if wanted.country in _NORTH_AMERICA:
                query.append(("filter[best_effort]", "false"))
            if wanted.kind:
                query.append(("filter[phone_number_type]", wanted.kind))
            if wanted.features:
                query.append(("filter[features]", ",".join(wanted.features)))
            if code := state(wanted.country, wanted.region):
                query.append(("filter[administrative_area]", code))
            elif wanted.region:
                query.append(("filter[locality]", wanted.region))
            if contains:
                query.append(("filter[phone_number][contains]", contains))
            offers = [_offer(row, wanted.country, wanted.kind) for row in await self._ask(query)]
            found = [offer for offer in offers if offer and pattern.search(offer.number)]
            if found:
                break
        return found[: wanted.limit]

    async def find(self, number: str) -> Offer | None:
        """This very number. Telnyx sells only what it was asked for shortly before."""
        country = e164.home_country(number)
        if not country:
            return None
        digits = _national(number)
        query = [("filter[country_code]", country), ("filter[phone_number][contains]", digits)]
        kind = _kind(number)
        if kind == "toll_free":
            query.append(("filter[phone_number_type]", kind))
        if country in _NORTH_AMERICA:
            query.append(("filter[best_effort]", "false"))
        query.append(("filter[limit]", "20"))
        offers = [_offer(row, country, None) for row in await self._ask(query)]
        return next((offer for offer in offers if offer and offer.number == number), None)

    async def _ask(self, query: list[tuple[str, str]]) -> list[dict[str, Any]]:
        try:
            return rows(await self._client.request("GET", f"{API}/available_phone_numbers", query=query))
        except (VendorRefused, VendorUnknown) as error:
            # our own fields were checked before: it is a place that Telnyx has no numbers of
            log.info("vendor_has_none", vendor=NAME, why=error.message, code=error.code)
            return []


def _fixed(wanted: Search) -> list[str]:
    """What Telnyx is asked for: the longest run of digits, and where that finds nothing, without the country code."""
    runs = sorted(wanted.contains.split("*"), key=len, reverse=True)
    longest = runs[0]
    code = _calling_code(wanted.country)
    if code and wanted.contains.startswith(code) and len(wanted.contains) > len(code):
        national = max(wanted.contains[len(code) :].split("*"), key=len)
        return [longest, national]
    return [longest]


def _offer(row: dict[str, Any], country: str, kind: Kind | None) -> Offer | None:
    number = text(row.get("phone_number"))
    if not e164.is_e164(number) or row.get("best_effort") is True:
        return None
    where = {
        text(entry.get("region_type")): text(entry.get("region_name"))
        for entry in parts(row, "region_information")
    }
    said = text(row.get("phone_number_type"))
    has = {text(entry.get("name")) for entry in parts(row, "features")}
    return Offer(
        number=number,
        country=where.get("country_code") or country,
        kind=kind or (cast(Kind, said) if said in _KINDS else _kind(number)),
        region=where.get("state", ""),
        city=where.get("location") or where.get("city") or where.get("rate_center", ""),
        postal_code=where.get("postal_code", ""),
        features=tuple(feature for feature in _FEATURES if feature in has),
    )


def _kind(number: str) -> Kind:
    try:
        kind = phonenumbers.number_type(phonenumbers.parse(number, None))
    except phonenumbers.NumberParseException:
        return "local"
    if kind == phonenumbers.PhoneNumberType.TOLL_FREE:
        return "toll_free"
    return "mobile" if kind == phonenumbers.PhoneNumberType.MOBILE else "local"


def _national(number: str) -> str:
    return phonenumbers.national_significant_number(phonenumbers.parse(number, None))


def _calling_code(country: str) -> str:
    return str(phonenumbers.country_code_for_region(country) or "")
