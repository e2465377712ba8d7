"""Which country a dialled number leads to, as far as somebody has to pay for it.

Numbers are judged by their calling code and, where several countries share one, by the digits behind it. Whether a
number is assigned does not matter: a carrier charges for where it tries. Source of the tables: ``phonenumbers``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberType, shortnumberinfo

_TERRITORIES = frozenset({"as", "gu", "mp", "pr", "vi"})
"""Of the United States, with area codes of their own: a call there is a domestic one."""
_WORLD = "001"
_PREMIUM_DIGITS = 3
_WORLDWIDE_EMERGENCY = frozenset({"112", "911"})


@dataclass(frozen=True, slots=True)
class Zone:
    """``countries``: ISO 3166 alpha-2 in small letters, each of which alone covers the number; none covers premium
    services and networks of no country (satellites, ``+882``), which are allowed by ``prefix`` only.

    ``name`` is the country that is said to people, ``""`` where there is none.
    """

    countries: frozenset[str]
    name: str
    prefix: str


@lru_cache(maxsize=4096)
def zone(number: str) -> Zone:
    """Where an E.164 number leads."""
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return Zone(frozenset(), "", number[:4])
    code, national = parsed.country_code or 0, phonenumbers.national_significant_number(parsed)
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code, ())
    if not regions or _WORLD in regions:
        return Zone(frozenset(), "", f"+{code}")
    if phonenumbers.number_type(parsed) == PhoneNumberType.PREMIUM_RATE:
        return Zone(frozenset(), "", f"+{code}{national[:_PREMIUM_DIGITS]}")
    countries = _sharing(code, national, regions) if len(regions) > 1 else {regions[0].lower()}
    exact = (phonenumbers.region_code_for_number(parsed) or "").lower()
    main = regions[0].lower()
    name = exact if exact in countries else main if main in countries else min(countries)
    return Zone(frozenset(countries), name, f"+{code}")


def _sharing(code: int, national: str, regions: tuple[str, ...]) -> set[str]:
    """The countries of a shared calling code that these digits may belong to."""
    phone = phonenumbers.PhoneNumber(country_code=code, national_number=int(national or "0"))
    leading = {region: _leading_digits(region) for region in regions}
    own = {region.lower() for region, pattern in leading.items() if pattern and re.match(pattern, national)}
    if not own:
        own = {region.lower() for region, pattern in leading.items() if not pattern} or {regions[0].lower()}
        exact = phonenumbers.region_code_for_number(phone)
        if exact and exact.lower() not in own:
            own.add(exact.lower())
    if own & _TERRITORIES:
        own.add("us")
    return own


def _leading_digits(region: str) -> str:
    metadata = PhoneMetadata.metadata_for_region(region)
    return (metadata.leading_digits or "") if metadata is not None else ""


def is_emergency(dialled: str, country: str) -> bool:
    """Whether somebody who dials this in ``country`` (ISO 3166 alpha-2) calls for help.

    112 and 911 are meant so everywhere: mobile telephones and imported ones dial them.
    """
    digits = dialled.strip()
    if digits in _WORLDWIDE_EMERGENCY:
        return True
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 6:
        return False
    return shortnumberinfo.is_emergency_number(digits, country.upper())
