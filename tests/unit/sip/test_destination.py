"""Where numbers lead, as far as somebody has to pay."""

from __future__ import annotations

import pytest

from ringline.sip.destination import is_emergency, zone


@pytest.mark.parametrize(
    ("number", "covered_by", "not_by"),
    [
        ("+15551234567", {"us", "ca"}, {"jm", "do", "de"}),
        ("+14165551234", {"us", "ca"}, {"jm"}),
        ("+18765551234", {"jm"}, {"us", "ca"}),
        ("+18095551234", {"do"}, {"us"}),
        ("+17875551234", {"pr", "us"}, {"ca"}),
        ("+493012345678", {"de"}, {"us"}),
        ("+447911123456", {"gb"}, {"de"}),
        ("+74951234567", {"ru"}, {"kz"}),
        ("+77012345678", {"kz"}, {"ru"}),
        ("+821012345678", {"kr"}, set()),
    ],
)
def test_countries_cover_their_numbers(number: str, covered_by: set[str], not_by: set[str]) -> None:
    found = zone(number).countries
    assert covered_by <= found
    assert not found & not_by


@pytest.mark.parametrize(
    ("number", "prefix"),
    [
        ("+881612345678", "+881"),
        ("+88213300655", "+882"),
        ("+883510012345", "+883"),
        ("+979123456789", "+979"),
        ("+80812345678", "+808"),
        ("+19005551234", "+1900"),
        ("+449061234567", "+44906"),
    ],
)
def test_no_country_covers_satellites_networks_and_premium_services(number: str, prefix: str) -> None:
    found = zone(number)
    assert (found.countries, found.name, found.prefix) == (frozenset(), "", prefix)


def test_the_country_that_is_said_is_the_numbers_own() -> None:
    assert zone("+15551234567").name == "us"
    assert zone("+14165551234").name == "ca"
    assert zone("+18765551234").name == "jm"
    assert zone("+493012345678").name == "de"


@pytest.mark.parametrize(
    ("dialled", "country", "calls_for_help"),
    [
        ("911", "us", True),
        ("112", "us", True),
        ("112", "de", True),
        ("110", "de", True),
        ("999", "gb", True),
        ("000", "au", True),
        ("999", "us", False),
        ("110", "us", False),
        ("+15551234567", "us", False),
        ("9115551234", "us", False),
        ("*43", "us", False),
        ("", "us", False),
    ],
)
def test_calls_for_help(dialled: str, country: str, calls_for_help: bool) -> None:
    assert is_emergency(dialled, country) is calls_for_help
