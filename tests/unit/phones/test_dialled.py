"""What is dialled, and what it means where the phone is at home."""

from __future__ import annotations

import pytest

from ringline.phones.dialled import Dialled, Kind, read


@pytest.mark.parametrize(
    ("text", "country", "number"),
    [
        ("+15559876543", "us", "+15559876543"),
        ("+1 (555) 987-6543", "us", "+15559876543"),
        ("5559876543", "us", "+15559876543"),
        ("15559876543", "us", "+15559876543"),
        ("555.987.6543", "us", "+15559876543"),
        ("011493012345678", "us", "+493012345678"),
        ("00493012345678", "us", "+493012345678"),
        ("00493012345678", "de", "+493012345678"),
        ("03012345678", "de", "+493012345678"),
        ("0301234567", "DE", "+49301234567"),
        ("+493012345678", "us", "+493012345678"),
        ("01012345678", "kr", "+821012345678"),
        ("0612345678", "it", "+390612345678"),
    ],
)
def test_numbers_of_the_telephone_network(text: str, country: str, number: str) -> None:
    assert read(text, country) == Dialled(Kind.NUMBER, number)


@pytest.mark.parametrize("text", ["+899100000001", "00899100000001"])
def test_numbers_of_our_own(text: str) -> None:
    assert read(text, "us") == Dialled(Kind.VIRTUAL, "+899100000001")


@pytest.mark.parametrize("text", ["*43", "*65", "*99", "*43#", "**1"])
def test_service_codes(text: str) -> None:
    assert read(text, "us") == Dialled(Kind.CODE, text)


@pytest.mark.parametrize(
    ("text", "country"),
    [("+1555", "us"), ("9876543", "us"), ("55598", "us"), ("+89910000", "us"), ("004930", "us")],
)
def test_more_digits_are_missing(text: str, country: str) -> None:
    assert read(text, country) == Dialled(Kind.INCOMPLETE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "*",
        "#31#",
        "bob",
        "test11",
        "12",
        "911",
        "1234",
        "+8991000000012",
        "+1555987654321098765",
        "+0123456789",
        "5559876543x12",
        "5" * 41,
        "٤٣٤٣٤٣٤٣",
        "*" + "1" * 20,
        "${secret}",
        "+999123456789",
    ],
)
def test_what_cannot_be_called(text: str) -> None:
    assert read(text, "us") == Dialled(Kind.UNKNOWN)
