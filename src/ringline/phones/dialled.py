"""What somebody who dials means: a number of the telephone network, one of our own, or a service code.

Pure: whether there is such an extension or number is for others to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

import phonenumbers

from ringline.sip import e164

_CODE = re.compile(r"\*[0-9*#]{1,15}", re.ASCII)
_SPELLED = re.compile(r"\+?[0-9][0-9().\- ]{0,39}", re.ASCII)
_SEPARATORS = re.compile(r"[().\- ]", re.ASCII)
_INTERNATIONAL = re.compile(r"00[1-9]", re.ASCII)
_SHORTEST_NUMBER = 5
"""Fewer digits than these are an extension that does not exist rather than the beginning of a number."""


class Kind(StrEnum):
    """``NUMBER``: E.164. ``VIRTUAL``: one of our own, +899. ``CODE``: ``*43`` and the like. ``INCOMPLETE``: digits
    are missing. ``UNKNOWN``: nothing that could be called.
    """

    NUMBER = "number"
    VIRTUAL = "virtual"
    CODE = "code"
    INCOMPLETE = "incomplete"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Dialled:
    """``target``: the number in E.164, or the code; empty for what cannot be called."""

    kind: Kind
    target: str = ""


def read(text: str, country: str) -> Dialled:
    """``country`` (ISO 3166 alpha-2) is where the phone is at home: its national formats, its prefix for abroad.

    ``00`` before a country code works everywhere.
    """
    if text.startswith("*"):
        return Dialled(Kind.CODE, text) if _CODE.fullmatch(text) else Dialled(Kind.UNKNOWN)
    if not _SPELLED.fullmatch(text):
        return Dialled(Kind.UNKNOWN)
    digits = _SEPARATORS.sub("", text)
    if _INTERNATIONAL.match(digits):
        digits = "+" + digits[2:]
    if digits.startswith(e164.VIRTUAL_PREFIX):
        return _virtual(digits)
    try:
        parsed = phonenumbers.parse(digits, country.upper())
    except phonenumbers.NumberParseException as error:
        short = error.error_type in (
            phonenumbers.NumberParseException.TOO_SHORT_NSN,
            phonenumbers.NumberParseException.TOO_SHORT_AFTER_IDD,
        )
        return _incomplete(digits) if short else Dialled(Kind.UNKNOWN)
    possible = phonenumbers.is_possible_number_with_reason(parsed)
    if possible == phonenumbers.ValidationResult.IS_POSSIBLE:
        number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
        return Dialled(Kind.NUMBER, number) if e164.is_e164(number) else Dialled(Kind.UNKNOWN)
    if possible in (
        phonenumbers.ValidationResult.TOO_SHORT,
        phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY,
    ):
        return _incomplete(digits)
    return Dialled(Kind.UNKNOWN)


def _virtual(number: str) -> Dialled:
    if e164.is_virtual(number):
        return Dialled(Kind.VIRTUAL, number)
    return Dialled(Kind.INCOMPLETE) if len(number) < len("+899000000000") else Dialled(Kind.UNKNOWN)


def _incomplete(digits: str) -> Dialled:
    long_enough = digits.startswith("+") or len(digits) >= _SHORTEST_NUMBER
    return Dialled(Kind.INCOMPLETE if long_enough else Kind.UNKNOWN)
