"""Which vendors an installation has."""

from __future__ import annotations

from typing import Any

import pytest

from ringline.numbers.available.taken import TakenNumbers
from ringline.settings import Settings
from ringline.vendors.setup import named, vendors_of


def settings(**values: Any) -> Settings:
    return Settings.model_validate(values)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({}, ["sandbox"]),
        ({"telnyx_api_key": "KEY"}, ["telnyx", "sandbox"]),
        ({"twilio_account_sid": "AC1"}, ["sandbox"]),  # without its token it is not set up
        ({"twilio_account_sid": "AC1", "twilio_auth_token": "t"}, ["twilio", "sandbox"]),
        (
            {"telnyx_api_key": "KEY", "twilio_account_sid": "AC1", "twilio_auth_token": "t"},
            ["telnyx", "twilio", "sandbox"],
        ),
        ({"telnyx_api_key": "KEY", "number_vendors": "twilio,telnyx"}, ["twilio", "telnyx"]),
        ({"number_vendors": "sandbox,sandbox"}, ["sandbox"]),
    ],
)
def test_whom_to_ask(values: dict[str, Any], wanted: list[str]) -> None:
    assert named(settings(**values)) == wanted


async def test_virtual_numbers_are_always_there() -> None:
    vendors = vendors_of(settings(number_vendors="sandbox"), TakenNumbers())
    assert [vendor.name for vendor in vendors] == ["sandbox", "virtual"]
    await vendors.close()
