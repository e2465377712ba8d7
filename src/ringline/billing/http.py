"""The routes of billing accounts, of the ledger, and of payments."""

from __future__ import annotations

from typing import Final

from ringline.billing.errors import (
    BalanceTooSmall,
    BillingAccountNotFound,
    BillingNotFound,
)
from ringline.billing.models import (
    AccountChange,
    AccountChoice,
    AccountCreate,
    AccountQuery,
    BalanceAdd,
    BalanceSubtract,
    BillingAccountAnswer,
    BillingAnswer,
    BillingQuery,
    PaymentInfo,
    Refund,
)
from ringline.billing.payments import Payment, PaymentAnswer, Payments, PaymentsOff, PaymentUnsigned
from ringline.billing.service import BillingService
from ringline.billing.topups import Topups
from ringline.errors import AlreadyExists, FailedPrecondition, NotFound
from ringline.http import Page, Request, Resource, Route, page_of
from ringline.http.body import validate

MAX_PAYMENT_BYTES: Final = 16_384

_ACCOUNTS = Resource(
    "/v1.0/billing_accounts",
    "billing_account_id",
    BillingAccountAnswer,
    BillingAccountNotFound,
    "billing",
    writing="admin",
)
_BILLINGS = Resource("/v1.0/billings", "billing_id", BillingAnswer, BillingNotFound, "billing")


def billing_routes(service: BillingService) -> list[Route]:
    """Billing accounts and their ledger."""

    async def page(request: Request[None, AccountQuery]) -> Page[BillingAccountAnswer]:
        rows = await service.page(request.principal, request.query)
        return page_of(rows, request.query, BillingAccountAnswer.model_validate)

    async def get(request: Request) -> BillingAccountAnswer:
        return BillingAccountAnswer.model_validate(
            await service.get(request.principal, request.path["billing_account_id"])
        )

    async def own(request: Request) -> BillingAccountAnswer:
        return BillingAccountAnswer.model_validate(await service.own(request.customer_id))

    async def create(request: Request[AccountCreate]) -> BillingAccountAnswer:
        return BillingAccountAnswer.model_validate(
            await service.create(request.body, request.idempotency_seed)
        )

    async def update(request: Request[AccountChange]) -> BillingAccountAnswer:
        account_id = request.path["billing_account_id"]
        return BillingAccountAnswer.model_validate(
            await service.update(request.principal, account_id, request.body)
        )

    async def update_own(request: Request[AccountChange]) -> BillingAccountAnswer:
        mine = await service.own(request.customer_id)
        return BillingAccountAnswer.model_validate(
            await service.update(request.principal, mine.id, request.body)
        )

    async def payment_info(request: Request[PaymentInfo]) -> BillingAccountAnswer:
        wanted = AccountChange(**request.body.model_dump())
        account_id = request.path["billing_account_id"]
        return BillingAccountAnswer.model_validate(
            await service.update(request.principal, account_id, wanted)
        )

    async def choose(request: Request[AccountChoice]) -> BillingAccountAnswer:
        return BillingAccountAnswer.model_validate(
            await service.choose(request.customer_id, request.body.billing_account_id)
        )

    async def entries(request: Request[None, BillingQuery]) -> Page[BillingAnswer]:
        rows = await service.entries(request.principal, request.query)
        return page_of(rows, request.query, BillingAnswer.model_validate)

    async def entry(request: Request) -> BillingAnswer:
        return BillingAnswer.model_validate(
            await service.entry(request.principal, request.path["billing_id"])
        )

    return [
        _ACCOUNTS.list(
            page,
            "List billing accounts",
            AccountQuery,
            aliases=("/v1.0/billing-accounts",),
            description="Your own, newest first; the installation's administrator may ask for everybody's.",
        ),
        _ACCOUNTS.create(
            create,
            "Make a billing account",
            AccountCreate,
            auth="project",
            description="A further account of a customer, with its plan's tokens of the month. It is charged once "
            "the customer chooses it (`PUT /v1.0/customer/billing_account_id`).",
            errors=(NotFound,),
            body_examples={
                "second": {
                    "customer_id": "5e4a0680-804e-11ec-8477-2fea5968d85b",
                    "name": "Marketing",
                    "plan_type": "basic",
                }
            },
        ),
        _ACCOUNTS.get(
            get, "Read a billing account", aliases=("/v1.0/billing-accounts/{billing_account_id}",)
        ),
        _ACCOUNTS.update(
            update,
            "Change a billing account",
            AccountChange,
            aliases=("/v1.0/billing-accounts/{billing_account_id}",),
            description="Fields that are left out stay as they are. `plan_type` is the installation's administrator's"
            " to change (403); tokens of the new plan's month beyond what is left come at once.",
            body_examples={"name": {"name": "Main account", "detail": "Cost centre 42"}},
        ),
        _ACCOUNTS.act(
            "PUT",
            "payment_info",
            payment_info,
            "Say how a billing account is paid",
            body=PaymentInfo,
            body_examples={"card": {"payment_type": "prepaid", "payment_method": "credit card"}},
        ),
        Route(
            method="GET",
            path="/v1.0/billing_account",
            handler=own,
            summary="Read the account that is charged",
            tags=("billing",),
            response=BillingAccountAnswer,
            errors=(BillingAccountNotFound,),
        ),
        Route(
            method="PUT",
            path="/v1.0/billing_account",
            handler=update_own,
            summary="Change the account that is charged",
            description="As `PUT /v1.0/billing_accounts/{billing_account_id}`.",
            tags=("billing",),
            auth="admin",
            body=AccountChange,
            response=BillingAccountAnswer,
            errors=(BillingAccountNotFound,),
            body_examples={"name": {"name": "Main account"}},
        ),
        Route(
            method="PUT",
            path="/v1.0/customer/billing_account_id",
            handler=choose,
            summary="Choose the account that is charged",
            description="One of your own. What goes on is paid by the account that it began with.",
            tags=("billing",),
            auth="admin",
            body=AccountChoice,
            response=BillingAccountAnswer,
            errors=(BillingAccountNotFound,),
            body_examples={"choice": {"billing_account_id": "62918cd8-0cd7-11ee-8571-b738bed3a5c4"}},
        ),
        _BILLINGS.list(
            entries,
            "List what changed the balance",
            BillingQuery,
            description="The ledger, newest first: charges, top-ups, refunds and adjustments. An account's balance"
            " is the sum of its entries; `balance_credit_snapshot` and `balance_token_snapshot` are what it was after"
            " each.",
        ),
        _BILLINGS.get(entry, "Read an entry of the ledger"),
    ]


def topup_routes(topups: Topups, payments: Payments) -> list[Route]:
    """What puts money on accounts and takes it off them."""

    async def add(request: Request[BalanceAdd]) -> BillingAccountAnswer:
        account_id = request.path["billing_account_id"]
        return BillingAccountAnswer.model_validate(
            await topups.add(account_id, request.body, request.idempotency_seed)
        )

    async def subtract(request: Request[BalanceSubtract]) -> BillingAccountAnswer:
        account_id = request.path["billing_account_id"]
        return BillingAccountAnswer.model_validate(
            await topups.subtract(account_id, request.body, request.idempotency_seed)
        )

    async def refund(request: Request[Refund]) -> BillingAccountAnswer:
        return BillingAccountAnswer.model_validate(
            await topups.refund(request.path["billing_id"], request.body, request.idempotency_seed)
        )

    async def payment(request: Request) -> PaymentAnswer:
        await payments.verify(request.content, request.headers)
        return await payments.take(validate(request.content, Payment))

    return [
        _ACCOUNTS.act(
            "POST",
            "balance_add_force",
            add,
            "Put money or tokens on an account",
            auth="project",
            idempotent=True,
            body=BalanceAdd,
            description="For the installation's administrator. Answers the account as it is then. With a `reference`"
            " the same top-up sent twice is posted once, for ever; an `Idempotency-Key` does so for a day.",
            errors=(AlreadyExists,),
            body_examples={
                "transfer": {"credit": 5_000_000, "reference": "INV-2026-0042", "detail": "Bank transfer"}
            },
        ),
        _ACCOUNTS.act(
            "POST",
            "balance_subtract_force",
            subtract,
            "Take money or tokens off an account",
            auth="project",
            idempotent=True,
            body=BalanceSubtract,
            description="For the installation's administrator: at most what no call that goes on is promised (409).",
            errors=(AlreadyExists, BalanceTooSmall),
            body_examples={"mistake": {"credit": 1_000_000, "detail": "Credited twice by mistake"}},
        ),
        _BILLINGS.act(
            "POST",
            "refund",
            refund,
            "Refund a charge",
            auth="project",
            idempotent=True,
            body=Refund,
            body_optional=True,
            response=BillingAccountAnswer,
            description="Gives a charge back, wholly (an empty body) or in part, never more than it was (409)."
            " For the installation's administrator. Answers the account as it is then.",
            errors=(FailedPrecondition, BalanceTooSmall, BillingAccountNotFound),
            body_examples={"half a dollar": {"credit": 500_000, "detail": "Bad line"}},
        ),
        Route(
            method="POST",
            path="/hooks/payments",
            handler=payment,
            summary="Take a payment",
            description="For a payment provider, or a program between it and this, who signs by Standard Webhooks"
            " with the secret RINGLINE_PAYMENT_HOOK_SECRET (404 while there is none). The body is a `Payment`: `type`"
            " (`payment` or `payment_returned`), `billing_account_id`, `amount` in millionths of a US dollar,"
            " `transaction_id`, `detail`. One `transaction_id` is posted once.",
            tags=("hooks",),
            auth="none",
            accepts=("application/json",),
            max_body_bytes=MAX_PAYMENT_BYTES,
            response=PaymentAnswer,
            errors=(PaymentsOff, PaymentUnsigned, BillingAccountNotFound, AlreadyExists),
        ),
    ]
