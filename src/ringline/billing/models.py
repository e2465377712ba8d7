"""What the API shows and takes of billing accounts and of the ledger."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from ringline.billing.ledger import LARGEST, TransactionType
from ringline.billing.rates import Kind
from ringline.billing.tiers import PlanType
from ringline.http import Moment, PageQuery, RequestModel, ResponseModel, Timestamp, UuidOrZero

Amount = Annotated[int, Field(ge=0, le=LARGEST)]


class BillingAccountAnswer(ResponseModel):
    """What a customer has left to spend."""

    id: UUID
    customer_id: UUID
    name: str
    detail: str
    plan_type: PlanType | Literal[""]
    balance_credit: int = Field(description="In millionths of a US dollar: the sum of the account's ledger.")
    balance_token: int
    held_credit: int = Field(
        description="Credit that is promised to calls that go on. What can be spent is the balance less that."
    )
    held_token: int = Field(description="Tokens that are promised to calls that go on.")
    payment_type: str
    payment_method: str
    tm_last_topup: Timestamp
    tm_next_topup: Timestamp = Field(description="When the tokens of the next month come.")
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


class AccountQuery(PageQuery):
    """Which billing accounts."""

    all_customers: bool = Field(
        False, description="Those of all customers. For the installation's administrator (403)."
    )
    customer_id: UuidOrZero = Field(
        None,
        description="Those of one customer. Only the installation's administrator finds another's.",
    )


class AccountCreate(RequestModel):
    """A further account."""

    customer_id: UUID
    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    plan_type: PlanType = "free"


class AccountChange(RequestModel):
    """What is to be changed; what is left out stays."""

    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    plan_type: PlanType = Field(
        "free", description="Only the installation's administrator changes it (403 for everybody else)."
    )
    payment_type: Literal["", "prepaid"] = ""
    payment_method: Literal["", "credit card"] = ""


class PaymentInfo(RequestModel):
    """How an account is paid."""

    payment_type: Literal["", "prepaid"]
    payment_method: Literal["", "credit card"]


class AccountChoice(RequestModel):
    """The account that is to be charged."""

    billing_account_id: UUID


class BalanceAdd(RequestModel):
    """What is put on an account."""

    credit: Amount = Field(0, description="In millionths of a US dollar: 5000000 is $5.00.")
    token: Amount = Field(0)
    transaction_type: Literal["top_up", "refund", "adjustment"] = "top_up"
    reference: str = Field(
        "",
        max_length=200,
        description="What this is called elsewhere, such as an invoice or a transfer. The same reference is posted "
        "once, however often it is sent; with other amounts it is 409 `ALREADY_EXISTS`.",
    )
    detail: str = Field("", max_length=500)


class BalanceSubtract(RequestModel):
    """What is taken off an account."""

    credit: Amount = Field(0, description="In millionths of a US dollar.")
    token: Amount = Field(0)
    reference: str = Field("", max_length=200, description="As in `balance_add_force`.")
    detail: str = Field("", max_length=500)


class Refund(RequestModel):
    """What of a charge is given back. Left out, all that has not been given back yet."""

    credit: Amount | None = Field(None, description="In millionths of a US dollar.")
    token: Amount | None = None
    detail: str = Field("", max_length=500)


class BillingAnswer(ResponseModel):
    """An entry of the ledger: a change of a balance. None is ever changed or deleted."""

    id: UUID
    customer_id: UUID
    account_id: UUID
    transaction_type: TransactionType
    status: str
    reference_type: str = Field(
        description="What it was for: `call`, `sms`, `number`, `number_renew`, `monthly_allowance`, "
        "`credit_adjustment` ..."
    )
    reference_id: UuidOrZero
    cost_type: str
    detail: str
    usage_duration: int = Field(description="In seconds; 0 for what is counted in pieces.")
    billable_units: int = Field(description="Minutes begun, parts of a text ...: what the rate is for.")
    rate_token_per_unit: int
    rate_credit_per_unit: int
    amount_token: int = Field(description="Below zero: spent.")
    amount_credit: int = Field(description="In millionths of a US dollar; below zero: spent.")
    balance_token_snapshot: int = Field(description="The balance after this.")
    balance_credit_snapshot: int
    idempotency_key: str
    tm_billing_start: Timestamp
    tm_billing_end: Timestamp
    tm_create: Timestamp


class BillingQuery(AccountQuery):
    """Which entries of the ledger."""

    account_id: UuidOrZero = Field(None, description="Those of one account.")
    reference_type: str = Field("", max_length=64, pattern=r"^[a-z_]*$")
    reference_id: UuidOrZero = Field(None, description="Those of one call, number, message ...")
    transaction_type: Literal["", "usage", "top_up", "adjustment", "refund"] = ""
    cost_type: Kind | Literal[""] = ""
    tm_start: Moment = Field(None, description="Those posted at that time or later (ISO 8601).")
    tm_end: Moment = Field(None, description="Those posted before that time.")
