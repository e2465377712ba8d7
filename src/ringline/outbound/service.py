"""Reading and changing what a customer may dial."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog

from ringline.calls.limits import Limits
from ringline.customers import Customer, CustomerDirectory, CustomerService
from ringline.customers.models import CustomerChange
from ringline.errors import NotFound, PermissionDenied
from ringline.http import Principal, utc_now
from ringline.outbound import store
from ringline.outbound.directory import OutboundDirectory, Whitelist
from ringline.outbound.models import OutboundConfigAnswer, OutboundConfigChange
from ringline.storage import Database

log = structlog.get_logger(__name__)

_LIMITS = ("max_calls", "calls_per_second")
_SOURCE = "default_outgoing_source_number_id"


class OutboundService:
    """The outbound settings of the customer that asks: one row each, made when somebody first looks."""

    def __init__(
        self,
        database: Database,
        directory: OutboundDirectory,
        customers: CustomerDirectory,
        service: CustomerService,
        whitelist: Whitelist,
        limits: Limits,
    ) -> None:
        self._database = database
        self._directory = directory
        self._customers = customers
        self._service = service
        self._whitelist = whitelist
        self._limits = limits

    async def get(self, customer_id: UUID) -> OutboundConfigAnswer:
        customer = self._customer(customer_id)
        async with self._database.begin() as connection:
            row = await store.ensure(connection, customer_id, utc_now())
        return self._shown(customer, row)

    async def update(self, principal: Principal, wanted: OutboundConfigChange) -> OutboundConfigAnswer:
        """Change what ``wanted`` names. Raises ``PermissionDenied`` for limits that the customer may not set."""
        values = wanted.model_dump(include=wanted.model_fields_set)
        named = [name for name in _LIMITS if name in values]
        if named and not principal.is_project_admin:
            raise PermissionDenied(
                f"`{named[0]}` is for the administrator of the installation to set (permission project super admin)."
            )
        if _SOURCE in values:
            values.pop(_SOURCE)
            change = CustomerChange.model_construct(
                _fields_set={_SOURCE},
                default_outgoing_source_number_id=wanted.default_outgoing_source_number_id,
            )
            await self._service.update(principal.customer_id, change)
        customer = self._customer(principal.customer_id)
        if "destination_whitelist" in values:
            values["destination_whitelist"] = list(dict.fromkeys(values["destination_whitelist"]))
        now = utc_now()
        async with self._database.begin() as connection:
            await store.ensure(connection, customer.id, now)
            row = await store.change(connection, customer.id, {**values, "tm_update": now})
        await self._directory.refresh(row.id)
        log.info("outbound_config_changed", customer_id=str(customer.id), fields=sorted(values))
        return self._shown(customer, row)

    def _customer(self, customer_id: UUID) -> Customer:
        customer = self._customers.by_id(customer_id)
        if customer is None:
            raise NotFound("This customer does not exist any more.", reason="CUSTOMER_NOT_FOUND")
        return customer

    def _shown(self, customer: Customer, row: Any) -> OutboundConfigAnswer:
        listed = row.destination_whitelist
        caps = self._limits.effective(row.max_calls, row.calls_per_second)
        return OutboundConfigAnswer.model_validate(
            {
                **row._mapping,
                "destination_whitelist": self._whitelist.default(customer) if listed is None else listed,
                _SOURCE: customer.default_outgoing_source_number_id,
                "max_calls": caps.max_calls,
                "calls_per_second": caps.calls_per_second,
            }
        )
