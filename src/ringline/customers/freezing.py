"""What somebody is told whose account is frozen."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from ringline.errors import PermissionDenied
from ringline.http.times import iso

GRACE: Final = timedelta(days=30)
"""From the freezing of an account to its deletion."""
BY_CUSTOMER: Final = "customer"
BY_PROJECT: Final = "project"


class Frozen(Protocol):
    """The customer (``directory.Customer``, or its row)."""

    @property
    def id(self) -> UUID: ...

    @property
    def frozen_by(self) -> str: ...

    @property
    def tm_deletion_scheduled(self) -> datetime | None: ...


def account_frozen(customer: Frozen) -> PermissionDenied:
    """403 ``ACCOUNT_FROZEN``: when the account will be deleted, and who recovers it how."""
    effective = customer.tm_deletion_scheduled
    when = "" if effective is None else f" and will be deleted on {iso(effective)}"
    if customer.frozen_by == BY_CUSTOMER:
        recovery = "DELETE /auth/unregister"
        how = f"an admin's {recovery} recovers it until then"
    else:
        recovery = f"POST /v1.0/customers/{customer.id}/recover"
        how = "the administrator of this installation can recover it until then"
    details: dict[str, Any] = {
        "recovery_endpoint": recovery,
        "deletion_effective_at": None if effective is None else iso(effective),
    }
    return PermissionDenied(
        f"The account is frozen{when}; {how}.", reason="ACCOUNT_FROZEN", details=[details]
    )
