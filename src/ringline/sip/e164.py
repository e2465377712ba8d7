"""Telephone numbers: E.164 (ITU-T), and the internal range +899 that no carrier knows.

``phonenumbers`` cannot parse +899 at all (country code 899 is unassigned), so that range is matched first.
"""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers

from ringline.errors import InvalidArgument

VIRTUAL_PREFIX = "+899"
_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_SEPARATORS = re.compile(r"[-.()]")
"""What RFC 3966 lets stand between digits."""
_VIRTUAL = re.compile(r"\+899[0-9]{9}", re.ASCII)


def is_e164(number: str) -> bool:
    """Whether the text has the form of an E.164 number: ``+``, country code, 7 to 15 digits in all."""
    return _E164.fullmatch(number) is not None


def is_virtual(number: str) -> bool:
    """Whether the number is of our internal range: ``+899`` and nine digits."""
    return _VIRTUAL.fullmatch(number) is not None


@lru_cache(maxsize=4096)
def country(number: str) -> str:
    """ISO 3166 alpha-2 code of an E.164 number's country, ``""`` where it has none (virtual, international)."""
    if number.startswith(VIRTUAL_PREFIX):
        return ""
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return ""
    region = phonenumbers.region_code_for_number(parsed)
    return region if region and region != "001" else ""


@lru_cache(maxsize=4096)
def home_country(number: str) -> str:
    """As ``country``; for a number of no country's own plan the main country of its calling code (``+1``: ``US``)."""
    if found := country(number):
        return found
    try:
        code = phonenumbers.parse(number, None).country_code
    except phonenumbers.NumberParseException:
        return ""
    region = phonenumbers.region_code_for_country_code(code or 0)
    return "" if region in ("001", "ZZ") else region


def is_country(code: str) -> bool:
    """Whether the text is the ISO 3166 alpha-2 code of a country that has telephone numbers, in capital letters."""
    return code in phonenumbers.SUPPORTED_REGIONS


def is_national(number: str, dialled: str) -> bool:
    """Whether ``dialled`` is the E.164 number without its country, with or without the trunk prefix of there."""
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return False
    national = phonenumbers.national_significant_number(parsed)
    if dialled == national:
        return True
    region = country(number)
    trunk = phonenumbers.ndd_prefix_for_region(region, True) if region else None
    return bool(trunk) and dialled == f"{trunk}{national}"


def from_network(text: str) -> str:
    """A caller's number as carriers write it (``0049...``, ``+49-30-...``) in E.164, where that is certain.

    A number without ``+`` or ``00`` may be of any country: it is left alone.
    """
    plain = _SEPARATORS.sub("", text)
    if plain.startswith("00"):
        plain = f"+{plain[2:]}"
    return plain if is_e164(plain) else text


def guess(text: str, region: str = "US") -> str | None:
    """What a national or punctuated spelling most likely means in E.164, ``None`` where it cannot be told."""
    if len(text) > 64:
        return None
    try:
        parsed = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def check(text: str, field: str, *, region: str = "US") -> str:
    """Return an E.164 number as it is, or raise ``InvalidArgument`` that names the field and the corrected form.

    The server does not normalise on its own: which country a local number belongs to is the caller's to say
    (seed page ``call-tutorial.txt``, Troubleshooting).
    """
    if is_virtual(text):
        return text
    if text.startswith(VIRTUAL_PREFIX):
        raise InvalidArgument(
            f"{field}: {text[:40]!r} is not a virtual number; those are +899 followed by exactly nine digits"
        )
    if is_e164(text) and _plausible(text):
        return text
    hint = guess(text, region)
    shown = text if len(text) <= 40 else text[:40] + "…"
    message = (
        f"{field}: {shown!r} is not an E.164 number ('+', country code and number, no spaces or dashes,"
        " for example +15551234567)"
    )
    if hint is not None and hint != text:
        message += f"; did you mean {hint}?"
    raise InvalidArgument(message, details=[{"field": field, "message": message, "suggestion": hint or ""}])


@lru_cache(maxsize=4096)
def _plausible(number: str) -> bool:
    """Whether a country exists for the number and its length can be; unassigned exchanges (555) stay allowed."""
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(number, None))
    except phonenumbers.NumberParseException:
        return False
