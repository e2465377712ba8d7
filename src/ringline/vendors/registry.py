"""The vendors of this installation."""

from __future__ import annotations

from collections.abc import Iterator

from ringline.vendors.base import Vendor
from ringline.vendors.models import Capability


class Vendors:
    """The vendors in the operator's order: the first that can do something is asked first."""

    def __init__(self, vendors: list[Vendor]) -> None:
        self._vendors = {vendor.name: vendor for vendor in vendors}

    def __iter__(self) -> Iterator[Vendor]:
        return iter(self._vendors.values())

    def get(self, name: str) -> Vendor | None:
        """The vendor of this name, if it is set up here."""
        return self._vendors.get(name)

    def able(self, capability: Capability) -> list[Vendor]:
        """Those that have a capability."""
        return [vendor for vendor in self if capability in vendor.capabilities]

    async def close(self) -> None:
        """Close all of them."""
        for vendor in self:
            await vendor.close()
