"""``<say-as>`` written out as words, for engines that read plain text and so that all read alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

CHARACTERS = frozenset({"characters", "spell-out", "spell", "verbatim"})

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_DATE_ORDERS = {"mdy": "mdy", "dmy": "dmy", "ymd": "ymd", "md": "md", "dm": "dm", "my": "my", "ym": "ym"}


def expand(text: str, kind: str, form: str, language: str) -> str:
    """``text`` as it is to be read aloud when marked ``interpret-as=kind format=form``."""
    text = text.strip()
    if kind in CHARACTERS:
        return spell(text)
    if kind == "digits":
        return _one_by_one(text)
    if kind == "telephone":
        return _telephone(text)
    english = language.lower().startswith("en")
    if kind in {"cardinal", "number"}:
        return re.sub(r"(?<=\d)[, ](?=\d{3}(\D|$))", "", text)
    if kind == "ordinal" and english and text.isdecimal():
        return text + _ordinal_ending(int(text))
    if kind == "date":
        return _date(text, form, english=english)
    return text


def spell(text: str) -> str:
    """Letters and signs one by one. Capitals, because a small ``a`` is read as the article."""
    return ", ".join(character.upper() for character in text if not character.isspace())


def _one_by_one(text: str) -> str:
    return " ".join(re.sub(r"(?<=\d)(?=\d)", " ", text).split())


def _telephone(text: str) -> str:
    groups = re.split(r"[\s().\-/]+", text)
    spoken = [_one_by_one(group.replace("+", "+ ", 1)) for group in groups if group]
    return ", ".join(spoken)


def _ordinal_ending(number: int) -> str:
    if number % 100 in {11, 12, 13}:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def _date(text: str, form: str, *, english: bool) -> str:
    """Dates in digits by ``form`` (``mdy``, ``yyyymmdd``, ...; ISO order when a year comes first)."""
    numbers: Sequence[str] = re.findall(r"\d+", text)
    order = "".join(dict.fromkeys(letter for letter in form if letter in "dmy"))
    if len(numbers) == 1 and len(numbers[0]) == 8:
        year_first = order in {"", "ymd"}
        numbers = re.findall(r"(\d{4})(\d\d)(\d\d)" if year_first else r"(\d\d)(\d\d)(\d{4})", numbers[0])[0]
    if not order and len(numbers) == 3:
        order = "ymd" if len(numbers[0]) == 4 else "mdy"
    if order not in _DATE_ORDERS or len(numbers) != len(order):
        return text
    part = dict(zip(order, numbers, strict=True))
    if "m" not in part or not 1 <= int(part["m"]) <= 12:
        return text
    if not english:
        return " ".join(str(int(number)) for number in numbers)
    spoken = _MONTHS[int(part["m"]) - 1]
    if "d" in part:
        day = int(part["d"])
        spoken += f" {day}{_ordinal_ending(day)}"
    if "y" in part:
        spoken += f", {part['y']}" if "d" in part else f" {part['y']}"
    return spoken
