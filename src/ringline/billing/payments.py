"""The webhook of a payment provider: payments that have come, and payments that went back.

Signed by the public standard (Standard Webhooks): headers ``webhook-id``, ``webhook-timestamp`` and
``webhook-signature``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal
from uuid import UUID

import structlog
from pydantic import Field

from ringline.billing.ledger import LARGEST
from ringline.billing.topups import Topups
from ringline.errors import NotFound, PermissionDenied
from ringline.http import RequestModel, ResponseModel

log = structlog.get_logger(__name__)


class PaymentsOff(NotFound):
    """404: this installation takes no payments."""

    default_reason = "PAYMENTS_OFF"


class PaymentUnsigned(PermissionDenied):
    """403: the signature is missing, wrong, or too old."""

    default_reason = "SIGNATURE_INVALID"


class Payment(RequestModel):
    """What the provider says."""

    type: Literal["payment", "payment_returned"] = Field(
        "payment",
        description="`payment`: it has come. `payment_returned`: it has gone back to the payer (refund, chargeback).",
    )
    billing_account_id: UUID
    amount: Annotated[int, Field(gt=0, le=LARGEST, description="In millionths of a US dollar.")]
    transaction_id: Annotated[
        str,
        Field(
            min_length=1,
            max_length=200,
            description="The provider's own: one is posted once, however often it is told.",
        ),
    ]
    detail: str = Field("", max_length=500)


class PaymentAnswer(ResponseModel):
    """What was done."""

    posted: bool = Field(description="`false`: it was known already, and nothing changed.")


class Payments:
    """Takes signed payments. ``secrets`` are base64, with ``whsec_`` before it or not; without any it is off."""

    def __init__(self, topups: Topups, secrets: Sequence[str]) -> None:
        self._topups = topups
        self._secrets = [secret for secret in secrets if secret]

    async def verify(self, content: bytes, headers: Mapping[str, str]) -> None:
        """Raises ``PaymentsOff`` and ``PaymentUnsigned``."""
        if not self._secrets:
            raise PaymentsOff(
                "This installation takes no payments: its administrator sets RINGLINE_PAYMENT_HOOK_SECRET."
            )
        lowered = {name.lower(): value for name, value in headers.items()}
        if not await asyncio.to_thread(_signed, content, lowered, self._secrets):
            log.warning("payment_refused", webhook_id=lowered.get("webhook-id", "")[:100])
            raise PaymentUnsigned(
                "The signature is missing, wrong, or more than five minutes old (Standard Webhooks: headers "
                "webhook-id, webhook-timestamp and webhook-signature)."
            )

    async def take(self, payment: Payment) -> PaymentAnswer:
        """Post it. Raises ``BillingAccountNotFound``, ``AlreadyExists`` where it was told with another amount."""
        post = self._topups.paid if payment.type == "payment" else self._topups.returned
        posted = await post(
            payment.billing_account_id,
            payment.amount,
            payment.transaction_id,
            payment.detail or payment.transaction_id,
        )
        return PaymentAnswer(posted=posted)


def _signed(content: bytes, headers: dict[str, str], secrets: Sequence[str]) -> bool:
    from standardwebhooks.webhooks import Webhook  # noqa: PLC0415 - not needed at the start

    for secret in secrets:
        try:
            Webhook(secret).verify(content, headers, json_parse=False)
        except Exception:  # noqa: BLE001, S112 - whatever is wrong with it: it is not signed by this secret
            continue
        return True
    return False
