"""Plans, and how much of everything each of them allows: one check for whatever is limited by number.

Source: VoIPBIN's plan tiers (``shared/spec/voipbin-api.md`` section 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing.tables import billing_accounts
from ringline.errors import ResourceExhausted

PlanType = Literal["free", "basic", "professional", "unlimited"]
PLANS: Final[tuple[PlanType, ...]] = get_args(PlanType)
FREE: Final = "free"
UNLIMITED: Final = "unlimited"

MONTHLY_TOKENS: Final[dict[str, int]] = {"free": 1_000, "basic": 10_000, "professional": 100_000}
"""Posted at the beginning of each month. An unlimited plan needs none: what costs tokens costs it nothing."""

_LIMITS: Final[dict[str, tuple[int, int, int]]] = {
    "extensions": (5, 50, 500),
    "agents": (5, 50, 500),
    "queues": (2, 10, 100),
    "conferences": (2, 10, 100),
    "trunks": (1, 5, 50),
    "virtual numbers": (5, 50, 500),
    "webhooks": (10, 50, 500),
}
"""At once, in the plans ``free``, ``basic`` and ``professional``."""
_COUNTING: Final = 7_234_032
_customers = sa.table("customers", sa.column("id"), sa.column("billing_account_id"))


class LimitReached(ResourceExhausted):
    """429: the customer's plan allows no more of these at once. Waiting does not help."""

    default_reason = "PLAN_LIMIT_REACHED"
    retryable = False


@dataclass(frozen=True, slots=True)
class Tier:
    """Something of which a plan allows so many at once.

    ``noun`` is its name in the table of limits, ``table`` where it is, ``more`` what counts of it besides not being
    deleted. ``remedy`` is what makes room.
    """

    noun: str
    table: sa.Table
    remedy: str
    field: str = ""
    error: type[LimitReached] = LimitReached
    more: tuple[sa.ColumnElement[bool], ...] = ()


def limit(plan: str, noun: str) -> int | None:
    """How many a plan allows; nothing where there is no end. A plan that is none allows what the free one does."""
    if plan == UNLIMITED:
        return None
    return _LIMITS[noun][PLANS.index(plan) if plan in PLANS else 0]


async def check(connection: AsyncConnection, customer_id: UUID, tier: Tier) -> None:
    """Raise the tier's ``LimitReached`` where the customer's plan allows no further one.

    To be called in the transaction that makes it, before it is made: until the commit the customer's other requests
    for the same wait, so that two at once do not both find room for one.
    """
    plan = await plan_of(connection, customer_id)
    most = limit(plan, tier.noun)
    if most is None:
        return
    await connection.execute(
        sa.select(sa.func.pg_advisory_xact_lock(_COUNTING, sa.func.hashtext(f"{tier.noun} {customer_id}")))
    )
    count = sa.select(sa.func.count()).where(
        tier.table.c.customer_id == customer_id, tier.table.c.tm_delete.is_(None), *tier.more
    )
    held: int = (await connection.execute(count)).scalar_one()
    if held >= most:
        message = f"the plan `{plan}` allows {most} {tier.noun}, and you have {held}"
        where = f"`{tier.field}`: {message}" if tier.field else message[0].upper() + message[1:]
        raise tier.error(
            f"{where}. {tier.remedy} or change to a larger plan.",
            details=[
                *([{"field": tier.field, "message": message}] if tier.field else []),
                {"limit": most, "held": held, "resource": tier.noun, "plan_type": plan},
            ],
        )


async def plan_of(connection: AsyncConnection, customer_id: UUID) -> str:
    """The plan of the account that the customer is charged to. Who has none is charged nothing, and not limited."""
    account = sa.and_(
        _customers.c.billing_account_id == billing_accounts.c.id, billing_accounts.c.tm_delete.is_(None)
    )
    statement = (
        sa.select(_customers.c.billing_account_id, billing_accounts.c.plan_type)
        .select_from(_customers.outerjoin(billing_accounts, account))
        .where(_customers.c.id == customer_id)
    )
    found = (await connection.execute(statement)).first()
    if found is None or found.billing_account_id is None:
        return UNLIMITED
    return found.plan_type if found.plan_type in PLANS else FREE
