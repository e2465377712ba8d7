"""What is registered with an extension at this moment."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ringline.customers import CustomerDirectory
from ringline.extensions import RegistrationDirectory


@dataclass(frozen=True, slots=True)
class Contacts:
    """Counts contacts, from memory (``phones.flows.Contacts``)."""

    registrations: RegistrationDirectory
    customers: CustomerDirectory
    sip_domain: str

    def count(self, customer_id: UUID, extension: str) -> int | None:
        """``None`` where there is no such customer."""
        customer = self.customers.by_id(customer_id)
        if customer is None:
            return None
        return self.registrations.count(f"{extension}@{customer.domain_label}.{self.sip_domain}")
