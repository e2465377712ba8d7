"""Whether a customer may reach the telephone network before it is known who it is.

VoIPBIN asks for an ``identity_verification_status`` of ``verified`` for telephone numbers and for calls to the
telephone network (``shared/spec/voipbin-api.md`` section 1); here the operator says whether that holds.
"""

from __future__ import annotations

from ringline.customers.directory import Customer
from ringline.errors import PermissionDenied

VERIFIED = "verified"


class IdentityVerificationRequired(PermissionDenied):
    """403: the administrator of the installation has not said yet that he knows who the customer is."""

    default_reason = "IDENTITY_VERIFICATION_REQUIRED"


class Identity:
    """Judges customers. Looks only into memory."""

    def __init__(self, *, required: bool = False) -> None:
        self._required = required

    def check(self, customer: Customer | None, what: str) -> None:
        """Raises ``IdentityVerificationRequired`` where ``what`` takes a verified customer, and this is none."""
        if not self._required or (customer is not None and customer.identity_verification_status == VERIFIED):
            return
        status = "none" if customer is None else customer.identity_verification_status
        raise IdentityVerificationRequired(
            f"{what} takes a customer whose identity is verified, and yours is `{status}`; ask the administrator of"
            " this installation (`identity_verification_status` of GET /v1.0/customer)."
        )
