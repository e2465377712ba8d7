"""What is in force for a customer, what is used of it, and the setting of limits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

import structlog

from ringline.billing import tiers
from ringline.calls.limits import Limits
from ringline.calls.pacing import Pacing
from ringline.customers import CustomerDirectory
from ringline.errors import NotFound
from ringline.http import Principal, utc_now
from ringline.limits import store, usage
from ringline.limits.directory import LimitDirectory
from ringline.limits.models import (
    CustomerLimitsAnswer,
    CustomerLimitsChange,
    LimitAnswer,
    LimitsAnswer,
)
from ringline.limits.requests import Requests
from ringline.outbound import OutboundDirectory
from ringline.outbound import store as outbound_store
from ringline.storage import Database

log = structlog.get_logger(__name__)

_OF_CALLS: Final = ("max_calls", "calls_per_second")
_TOO_MANY: Final = "429 RATE_LIMIT_EXCEEDED"


class CustomerNotFound(NotFound):
    """404: no such customer."""

    default_reason = "CUSTOMER_NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Fixed:
    """Limits that are the same for everybody."""

    calls_per_account: int = 0
    messages_per_second: float = 0.0
    recording_seconds: int = 0


class Sockets(Protocol):
    """WebSockets of customers (``events.sockets.Sockets``)."""

    per_customer: int

    def count(self, customer_id: UUID) -> int: ...


async def _known() -> None:
    """Everything is counted in this process."""


class LimitService:
    """Shows limits to customers, and sets them for the administrator of the installation."""

    def __init__(
        self,
        database: Database,
        directory: LimitDirectory,
        requests: Requests,
        calls: Limits,
        pacing: Pacing,
        outbound: OutboundDirectory,
        customers: CustomerDirectory,
        fixed: Fixed,
        *,
        sockets: Sockets | None = None,
        look: Callable[[], Awaitable[None]] = _known,
    ) -> None:
        """``look``: has ``calls`` and ``pacing`` know what is counted by other processes."""
        self._database = database
        self._directory = directory
        self._requests = requests
        self._calls = calls
        self._pacing = pacing
        self._outbound = outbound
        self._customers = customers
        self._fixed = fixed
        self._sockets = sockets
        self._look = look

    async def shown(self, principal: Principal) -> LimitsAnswer:
        """Everything that limits the customer that asks."""
        customer_id = principal.customer_id
        async with self._database.connect() as connection:
            plan = await tiers.plan_of(connection, customer_id)
            held = await usage.counts(connection, customer_id)
        await self._look()
        resources = [
            _count(
                noun.replace(" ", "_"),
                tiers.limit(plan, noun),
                held[noun],
                "429 PLAN_LIMIT_REACHED",
                f"{noun[0].upper()}{noun[1:]} that the plan allows.",
            )
            for noun in usage.NOUNS
        ]
        limits = [
            *self._of_requests(principal),
            *self._of_sockets(customer_id),
            *self._of_calls(customer_id),
            *self._of_everybody(),
        ]
        return LimitsAnswer(customer_id=customer_id, plan_type=plan, result=[*limits, *resources])

    def _of_requests(self, principal: Principal) -> list[LimitAnswer]:
        of_customer, of_credential = self._requests.left(principal)
        customer, credential = (
            self._directory.requests(principal.customer_id),
            self._directory.credential_requests(principal.customer_id),
        )
        return [
            _rate(
                "requests", customer.per_second, customer.burst, of_customer, _TOO_MANY, "Of all credentials."
            ),
            _rate(
                "credential_requests",
                credential.per_second,
                credential.burst,
                of_credential,
                _TOO_MANY,
                "Of each access key and each person; shown is what this one has left.",
            ),
        ]

    def _of_sockets(self, customer_id: UUID) -> list[LimitAnswer]:
        if self._sockets is None:
            return []
        return [
            _count(
                "websockets",
                self._sockets.per_customer,
                self._sockets.count(customer_id),
                "429 RATE_LIMIT_EXCEEDED",
                "WebSockets for events that are open.",
            )
        ]

    def _of_calls(self, customer_id: UUID) -> list[LimitAnswer]:
        caps = self._calls.caps(customer_id)
        present = self._calls.present(customer_id)
        waiting = self._pacing.waiting(customer_id) + self._calls.others.waiting(customer_id)
        return [
            _count(
                "calls_at_once",
                caps.max_calls or None,
                present,
                "calls of POST /v1.0/calls wait; others: 429 LIMIT_REACHED; incoming ones: SIP 503",
                "Calls that last, in both directions.",
            ),
            _rate(
                "calls_per_second",
                caps.calls_per_second,
                caps.calls_per_second,
                None,
                "calls of POST /v1.0/calls wait; others: 429 LIMIT_REACHED",
                "Calls that are placed.",
            ),
            _count(
                "waiting_calls",
                self._pacing.bound(customer_id),
                waiting,
                "429 LIMIT_REACHED",
                "Calls that wait until the two limits before let them be placed.",
            ),
        ]

    def _of_everybody(self) -> list[LimitAnswer]:
        fixed = self._fixed
        return [
            _count(
                "calls_per_account",
                fixed.calls_per_account or None,
                None,
                "SIP 503",
                "Calls at once of an extension or trunk without `max_calls` of its own.",
            ),
            _rate(
                "messages_per_second",
                fixed.messages_per_second,
                None,
                None,
                "texts wait",
                "Texts that leave from each number.",
            ),
            _count(
                "recording_seconds",
                fixed.recording_seconds or None,
                None,
                "the recording ends",
                "The length of a recording.",
            ),
        ]

    async def of_customer(self, customer_id: UUID) -> CustomerLimitsAnswer:
        """What is in force for a customer. Raises ``CustomerNotFound``."""
        if self._customers.by_id(customer_id) is None:
            raise CustomerNotFound("There is no such customer.")
        rate, caps = self._directory.requests(customer_id), self._calls.caps(customer_id)
        return CustomerLimitsAnswer(
            customer_id=customer_id,
            requests_per_second=rate.per_second,
            requests_burst=rate.burst,
            max_calls=caps.max_calls,
            calls_per_second=caps.calls_per_second,
            waiting_calls=self._pacing.bound(customer_id),
        )

    async def change(self, customer_id: UUID, wanted: CustomerLimitsChange) -> CustomerLimitsAnswer:
        """Set what ``wanted`` names; in force at once here, within a second everywhere."""
        if self._customers.by_id(customer_id) is None:
            raise CustomerNotFound("There is no such customer.")
        values = wanted.model_dump(include=wanted.model_fields_set)
        of_calls: dict[str, int] = {name: values.pop(name) for name in _OF_CALLS if name in values}
        now = utc_now()
        async with self._database.begin() as connection:
            row = await store.put(connection, customer_id, now, values) if values else None
            config = None
            if of_calls:
                await outbound_store.ensure(connection, customer_id, now)
                config = await outbound_store.change(connection, customer_id, {**of_calls, "tm_update": now})
        if row is not None:
            await self._directory.refresh(row.id)
        if config is not None:
            await self._outbound.refresh(config.id)
        log.info("limits_changed", customer_id=str(customer_id), fields=sorted(wanted.model_fields_set))
        return await self.of_customer(customer_id)


def _count(name: str, limit: int | None, used: int | None, beyond: str, detail: str) -> LimitAnswer:
    remaining = None if limit is None or used is None else max(0, limit - used)
    return LimitAnswer(
        name=name,
        kind="count",
        limit=limit,
        burst=None,
        used=used,
        remaining=remaining,
        beyond=beyond,
        detail=detail,
    )


def _rate(
    name: str, limit: float, burst: int | None, remaining: int | None, beyond: str, detail: str
) -> LimitAnswer:
    return LimitAnswer(
        name=name,
        kind="rate",
        limit=limit or None,
        burst=(burst or None) if limit else None,
        used=None,
        remaining=remaining if limit else None,
        beyond=beyond,
        detail=detail,
    )
