"""The interface that every vendor of numbers and texts has."""

from __future__ import annotations

from typing import ClassVar

from ringline.vendors.errors import HookRefused, NotSupported
from ringline.vendors.events import Event, Hook
from ringline.vendors.models import (
    Capability,
    Held,
    Offer,
    Order,
    Port,
    PortProgress,
    Purchase,
    Search,
    Sent,
    Text,
)


class Vendor:
    """A vendor, with nothing in it: each overrides what its ``capabilities`` name.

    Every method raises ``VendorError``; one that spends money is called once for an id, and asked about with its
    ``find_`` counterpart when the answer was uncertain.
    """

    name: ClassVar[str]
    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    hook_answer: ClassVar[tuple[str, str]] = ("application/json", "{}")
    """What its webhooks are answered with (200) when all is well: media type and body."""

    async def close(self) -> None:
        """Free what it holds. Idempotent."""

    async def check(self) -> str:
        """One cheap request that shows that credentials and settings are right; says what was found."""
        return "nothing to check"

    async def search(self, wanted: Search) -> list[Offer]:
        """Numbers that may be bought now, at most ``wanted.limit``."""
        raise self._lacks(Capability.SEARCH)

    async def find(self, number: str) -> Offer | None:
        """This very number, if it may be bought now."""
        raise self._lacks(Capability.SEARCH)

    async def buy(self, purchase: Purchase) -> Order:
        """Buy a number. ``VendorUncertain`` leaves it open; then ``find_order`` tells."""
        raise self._lacks(Capability.BUY)

    async def find_order(self, purchase: Purchase, reference: str) -> Order | None:
        """What became of a purchase, by the vendor's ``reference`` or, where that is ``""``, by our id and number.

        ``None``: the vendor never heard of it, and it is safe to buy.
        """
        raise self._lacks(Capability.BUY)

    async def release(self, held: Held) -> None:
        """Give a number back. One that we do not have there (any more) is no error."""
        raise self._lacks(Capability.RELEASE)

    async def configure(self, held: Held) -> None:
        """Make a number do what ``held`` says. Idempotent."""
        raise self._lacks(Capability.CONFIGURE_VOICE)

    async def send(self, text: Text) -> Sent:
        """Send a text. ``VendorUncertain`` leaves it open; then ``find_text`` tells, where the vendor can."""
        raise self._lacks(Capability.SEND_MESSAGE)

    async def find_text(self, text: Text, reference: str) -> Sent | None:
        """What became of a text; ``None``: the vendor never heard of it.

        Raises ``NotSupported`` where the vendor cannot tell.
        """
        raise self._lacks(Capability.SEND_MESSAGE)

    async def port(self, port: Port) -> PortProgress:
        """Ask for a port. ``VendorUncertain`` leaves it open; then ``find_port`` tells."""
        raise self._lacks(Capability.PORT)

    async def find_port(self, port: Port, reference: str) -> PortProgress | None:
        """How far a port is; ``None``: the vendor never heard of it."""
        raise self._lacks(Capability.PORT)

    async def cancel_port(self, port: Port, reference: str) -> PortProgress:
        """Call a port off. ``VendorRefused`` when it is too late."""
        raise self._lacks(Capability.PORT)

    def read_hook(self, hook: Hook) -> list[Event]:
        """Verify a webhook and translate it; events that mean nothing to us are left out. Raises ``HookRefused``."""
        raise HookRefused(f"{self.name} sends no webhooks")

    async def fetch_media(self, url: str, limit: int) -> tuple[str, bytes]:
        """A picture or the like that came with a text (``Media.url``): its media type and at most ``limit`` bytes.

        For vendors that give it to nobody without credentials. ``VendorRefused``: not theirs, or longer.
        """
        raise self._lacks(Capability.RECEIVE_MESSAGE)

    def _lacks(self, capability: Capability) -> NotSupported:
        return NotSupported(f"{self.name} cannot do this ({capability.value})")
