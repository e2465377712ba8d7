"""What the API shows of billing accounts."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from ringline.http import ResponseModel, Timestamp

PlanType = Literal["free", "basic", "professional", "unlimited"]


class BillingAccountAnswer(ResponseModel):
    """What a customer has left to spend."""

    id: UUID
    customer_id: UUID
    name: str
    detail: str
    plan_type: PlanType
    balance_credit: int = Field(description="In millionths of a US dollar.")
    balance_token: int
    payment_type: str
    payment_method: str
    tm_last_topup: Timestamp
    tm_next_topup: Timestamp
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp
