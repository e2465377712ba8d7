"""Telephone numbers."""

from __future__ import annotations

import pytest

from ringline.errors import InvalidArgument
from ringline.sip import e164


@pytest.mark.parametrize("number", ["+15551234567", "+821012345678", "+899100000001", "+4930123456"])
def test_accepts(number: str) -> None:
    assert e164.check(number, "source.target") == number


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("(555) 123-4567", "+15551234567"),
        ("15551234567", "+15551234567"),
        ("+1 555 123 4567", "+15551234567"),
        ("+1-555-123-4567", "+15551234567"),
        ("010-1234-5678", ""),
        ("", ""),
        ("alice", ""),
        ("+", ""),
        ("+1", ""),
        ("+155512345678901234", ""),
        ("+15551234567\n", "+15551234567"),
        ("+1５551234567", "+15551234567"),
        ("9" * 10_000, ""),
    ],
)
def test_refuses_and_says_what_would_be_right(text: str, suggestion: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        e164.check(text, "destinations[0].target")
    assert refused.value.message.startswith("destinations[0].target: ")
    assert "E.164" in refused.value.message
    assert len(refused.value.message) < 300
    if suggestion:
        assert suggestion in refused.value.message
    assert refused.value.details[0]["suggestion"] == suggestion


@pytest.mark.parametrize("text", ["+8991", "+8991000000012", "+89910000000a"])
def test_virtual_numbers_have_nine_digits_after_the_prefix(text: str) -> None:
    with pytest.raises(InvalidArgument, match="nine digits"):
        e164.check(text, "destinations[0].target")


def test_country() -> None:
    assert e164.country("+4930123456") == "DE"
    assert e164.country("+12125551234") == "US"
    assert e164.country("+899100000001") == ""
