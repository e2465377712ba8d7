"""Where customers may call, in memory, and the judgement of one number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ringline.customers import Customer
from ringline.errors import InvalidArgument
from ringline.outbound.store import outbound_configs
from ringline.sip.destination import zone
from ringline.storage import Database, Mirror

EVERYWHERE = "all"
"""An entry that covers every number, premium services and satellites too."""


class DestinationForbidden(InvalidArgument):
    """400: the customer may not call numbers of this country; the message says what would allow it."""

    default_reason = "DESTINATION_NOT_WHITELISTED"


@dataclass(frozen=True, slots=True)
class OutboundConfig:
    """``whitelist`` is ``None`` for the customer's own country; a limit of 0 is the installation's."""

    id: UUID
    customer_id: UUID
    whitelist: tuple[str, ...] | None
    max_calls: int
    calls_per_second: int
    codecs: str = ""


class OutboundDirectory(Mirror[OutboundConfig]):
    """All customers' settings."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, outbound_configs, _config, key=lambda config: config.customer_id)

    def of(self, customer_id: UUID) -> OutboundConfig | None:
        """The settings of a customer, ``None`` where it has the defaults."""
        return self.by_key(customer_id)

    def codecs(self, customer_id: UUID) -> str:
        """Codecs that a customer's calls to SIP addresses offer, with commas between them; empty: all."""
        config = self.of(customer_id)
        return "" if config is None else config.codecs


class Whitelist:
    """Decides which numbers of the telephone network a customer may call. Looks only into memory."""

    def __init__(self, of: Callable[[UUID], OutboundConfig | None], home: Callable[[Customer], str]) -> None:
        """``home``: a customer's own country (``customers.country_of``)."""
        self._of = of
        self._home = home

    def default(self, customer: Customer) -> tuple[str, ...]:
        """What a customer may call that never said: its own country."""
        return (self._home(customer),)

    def entries(self, customer: Customer) -> tuple[str, ...]:
        """What is in force for a customer."""
        config = self._of(customer.id)
        return self.default(customer) if config is None or config.whitelist is None else config.whitelist

    def check(self, customer: Customer, number: str, field: str) -> None:
        """Raises ``DestinationForbidden`` that names ``field`` and what would allow the number."""
        entries = self.entries(customer)
        where = zone(number)
        for entry in entries:
            if entry == EVERYWHERE or entry in where.countries:
                return
            if entry.startswith("+") and number.startswith(entry):
                return
        wanted = where.name or where.prefix
        message = (
            f"{field}: outbound destination country not whitelisted: {number} needs `{wanted}`; add it to"
            f" destination_whitelist by PUT /v1.0/outbound_config (now {_shown(entries)})"
        )
        raise DestinationForbidden(message, details=[{"field": field, "message": message, "missing": wanted}])


def _shown(entries: tuple[str, ...]) -> str:
    return "[" + ", ".join(entries[:20]) + (", ..." if len(entries) > 20 else "") + "]"


def _config(row: Any) -> OutboundConfig:
    listed = row.destination_whitelist
    return OutboundConfig(
        row.id,
        row.customer_id,
        None if listed is None else tuple(listed),
        row.max_calls,
        row.calls_per_second,
        row.codecs,
    )
