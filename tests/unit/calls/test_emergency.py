"""Emergency numbers are no destinations: of the API, of flows, of agents."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ringline.calls.destinations import Destinations, check
from ringline.errors import InvalidArgument
from ringline.sip.address import Address


@pytest.mark.parametrize("dialled", ["911", "112", " 911 ", "999", "110"])
def test_they_are_refused_when_stored_and_when_called(dialled: str) -> None:
    address = Address(type="tel", target=dialled)
    customer = cast("Any", SimpleNamespace(id=None, domain_label="test"))
    for refuse in (
        lambda: check(address, "destinations[0]"),
        lambda: Destinations(sip_domain="x.test").resolve(customer, address, "destinations[0]"),
    ):
        with pytest.raises(InvalidArgument) as refused:
            refuse()
        assert refused.value.details[0]["field"] == "destinations[0].target"
        if dialled.strip() in {"911", "112"}:
            assert refused.value.reason == "EMERGENCY_NUMBER_REFUSED"
            assert "calls for help" in refused.value.message


def test_numbers_that_only_look_like_them_are_called() -> None:
    check(Address(type="tel", target="+19115550100"), "destinations[0]")
    check(Address(type="tel", target="+441125550100"), "destinations[0]")
