"""What may be done with numbers that a customer has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import Row, Select, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.errors import InvalidArgument, NotFound
from ringline.http import page_statement, utc_now
from ringline.numbers.directory import NumberDirectory
from ringline.numbers.errors import NumberNotFound, NumberStateInvalid
from ringline.numbers.models import NumberChange, NumberFlows, NumberQuery
from ringline.numbers.orders import NumberOrders, store
from ringline.numbers.renewal import NumberRenewals
from ringline.numbers.states import OWNERS_CHOICE, OrderKind, OrderState, Reason, Status, may_follow
from ringline.numbers.tables import numbers
from ringline.storage import Database
from ringline.storage.rows import live, one

log = structlog.get_logger(__name__)

FlowExists = Callable[[UUID, UUID], Awaitable[bool]]
"""``(customer_id, flow_id)`` to whether the customer has this flow."""
HoldFlow = Callable[[AsyncConnection, UUID, UUID], Awaitable[bool]]
"""The same in a transaction, until whose end the flow is not deleted."""

ATTEND_SECONDS: Final = 10.0
"""How long a request waits for a vendor before it answers with what is known."""
_FLOWS = ("call_flow_id", "message_flow_id")
_AT_VENDOR = ("t38_enabled", "emergency_enabled", "emergency_address")


class NumberService:
    """A customer's numbers."""

    def __init__(
        self,
        database: Database,
        directory: NumberDirectory,
        flow_exists: FlowExists,
        orders: NumberOrders,
        renewals: NumberRenewals,
        *,
        hold_flow: HoldFlow | None = None,
    ) -> None:
        self._database = database
        self._directory = directory
        self._flow_exists = flow_exists
        self._hold_flow = hold_flow
        self._orders = orders
        self._renewals = renewals

    async def page(self, customer_id: UUID, query: NumberQuery) -> list[Row[Any]]:
        async with self._database.connect() as connection:
            return list((await connection.execute(listing(customer_id, query))).all())

    async def get(self, customer_id: UUID, number_id: UUID) -> Row[Any]:
        """Raises ``NumberNotFound``, with the reason where the number was taken away."""
        async with self._database.connect() as connection:
            row = await one(connection, numbers, customer_id, number_id)
            if row is None:
                gone = select(numbers).where(numbers.c.customer_id == customer_id, numbers.c.id == number_id)
                row = (await connection.execute(gone)).first()
        return _found(row)

    async def update(self, customer_id: UUID, number_id: UUID, wanted: NumberFlows) -> Row[Any]:
        """Change what ``wanted`` names. Raises ``NumberNotFound``, and ``FLOW_NOT_FOUND`` for a flow."""
        values = wanted.model_dump(include=wanted.model_fields_set)
        await self.check_flows(customer_id, wanted)
        configuration: UUID | None = None
        async with self._database.begin() as connection:
            await self.hold_flows(connection, customer_id, values)
            row = await self._locked(connection, customer_id, number_id)
            if "status" in values:
                values |= await self._status(connection, row, Status(values["status"]))
            if isinstance(wanted, NumberChange):
                check_emergency(row.type, {**row._mapping, **values}, values)
            now = utc_now()
            changed: Row[Any] = (
                await connection.execute(
                    update(numbers)
                    .where(numbers.c.id == row.id, numbers.c.customer_id == customer_id)
                    .values({**values, "tm_update": now})
                    .returning(numbers)
                )
            ).one()
            if any(getattr(changed, name) != getattr(row, name) for name in _AT_VENDOR):
                configuration = await self._configure(connection, changed)
        await self._directory.refresh(number_id)
        if configuration is None:
            return changed
        await self._orders.attend(number_id, ATTEND_SECONDS)
        return await self._configured(customer_id, number_id, configuration)

    async def suspend(self, customer_id: UUID, number_id: UUID) -> Row[Any]:
        """Calls and messages stop at once. Raises ``NumberNotFound``, ``NumberStateInvalid``."""
        return await self.update(customer_id, number_id, NumberChange(status="suspended"))

    async def reactivate(self, customer_id: UUID, number_id: UUID) -> Row[Any]:
        """Let calls and messages in again. Raises also ``NumberUnpaid``."""
        return await self.update(customer_id, number_id, NumberChange(status="active"))

    async def delete(self, customer_id: UUID, number_id: UUID) -> Row[Any]:
        """Give a number back. It is gone at once; its vendor hears of it as soon as it can be reached."""
        now = utc_now()
        async with self._database.begin() as connection:
            row = await self._locked(connection, customer_id, number_id)
            values = {"status": Status.DELETED.value, "status_reason": "", "tm_update": now, "tm_delete": now}
            statement = (
                update(numbers)
                .where(numbers.c.id == row.id, numbers.c.customer_id == customer_id)
                .values(values)
            )
            deleted: Row[Any] = (await connection.execute(statement.returning(numbers))).one()
            await store.drop_configuration(connection, customer_id, row.id, now)
            if row.status == Status.PURCHASE_PENDING:
                # what was bought by now is given back when the vendor says so
                await store.drop_unsent_purchase(connection, customer_id, row.id, now)
            elif row.provider_name and row.type == "normal":
                await store.add(
                    connection,
                    customer_id=customer_id,
                    number_id=row.id,
                    number=row.number,
                    vendor=row.provider_name,
                    kind=OrderKind.RELEASE,
                    number_reference=row.provider_reference_id,
                    now=now,
                )
        await self._directory.refresh(number_id)
        self._orders.wake()
        log.info("number_deleted", customer_id=str(customer_id), number_id=str(number_id), number=row.number)
        return deleted

    async def check_flows(self, customer_id: UUID, wanted: NumberFlows) -> None:
        """Raises ``FLOW_NOT_FOUND`` for a flow that the customer does not have."""
        for field in _FLOWS:
            flow_id = getattr(wanted, field)
            if flow_id is not None and not await self._flow_exists(customer_id, flow_id):
                raise _no_flow(field, flow_id)

    async def hold_flows(
        self, connection: AsyncConnection, customer_id: UUID, values: Mapping[str, Any]
    ) -> None:
        """Judge the flows among a number's new values once more, before its row is touched.

        A flow that is being deleted takes itself off the numbers that name it by then. Raises ``FLOW_NOT_FOUND``.
        """
        if self._hold_flow is None:
            return
        for field in _FLOWS:
            flow_id = values.get(field)
            if flow_id is not None and not await self._hold_flow(connection, customer_id, flow_id):
                raise _no_flow(field, flow_id)

    async def _locked(self, connection: AsyncConnection, customer_id: UUID, number_id: UUID) -> Row[Any]:
        return _found(await store.own_locked_number(connection, customer_id, number_id))

    async def _status(self, connection: AsyncConnection, row: Row[Any], wanted: Status) -> dict[str, Any]:
        present = Status(row.status)
        if wanted is present:
            if wanted is Status.SUSPENDED and row.status_reason == Reason.RENEWAL_UNPAID:
                # the owner wants it so: paying alone does not bring it back
                return {"status_reason": ""}
            return {}
        if present not in OWNERS_CHOICE or not may_follow(present, wanted):
            raise NumberStateInvalid(
                f"`status`: {row.number} is {present.value} and cannot be made {wanted.value}.",
                details=[{"field": "status", "message": f"the number is {present.value}"}],
            )
        values: dict[str, Any] = {"status_reason": ""}
        if wanted is Status.ACTIVE:
            values |= await self._renewals.settle(connection, row)
        return values

    async def _configure(self, connection: AsyncConnection, row: Row[Any]) -> UUID | None:
        # before it is bought there is nothing to configure; then all of it is
        if row.type != "normal" or not row.provider_name or row.status == Status.PURCHASE_PENDING:
            return None
        return await store.want_configured(connection, row, utc_now())

    async def _configured(self, customer_id: UUID, number_id: UUID, order_id: UUID) -> Row[Any]:
        async with self._database.connect() as connection:
            order = await store.by_id(connection, customer_id, order_id)
        row = await self.get(customer_id, number_id)
        if order is not None and order.state == OrderState.FAILED and row.tm_delete is None:
            raise InvalidArgument(
                f"`emergency_address`: it was refused: {order.reason}",
                reason="EMERGENCY_ADDRESS_REFUSED",
                details=[{"field": "emergency_address", "message": order.reason}],
            )
        return row


def listing(customer_id: UUID, query: NumberQuery) -> Select[Any]:
    """The page of a customer's numbers that a query asks for."""
    statement = live(numbers, customer_id)
    if query.status == Status.DELETED.value:
        statement = select(numbers).where(
            numbers.c.customer_id == customer_id, numbers.c.tm_delete.is_not(None)
        )
    for name in ("status", "type", "number"):
        if (wanted := getattr(query, name)) is not None:
            statement = statement.where(numbers.c[name] == wanted)
    return page_statement(statement, numbers, query)


def check_emergency(number_type: str, present: Any, given: Any) -> None:
    """Raises ``InvalidArgument`` for emergency calls without an address, or from a virtual number.

    ``present`` is how the number would be, ``given`` what the request names.
    """
    field = message = ""
    if given.get("emergency_enabled") and number_type == "virtual":
        field, message = (
            "emergency_enabled",
            "the telephone network does not know virtual numbers; leave it false",
        )
    elif present["emergency_enabled"] and present["emergency_address"] is None:
        field = "emergency_address"
        message = "is needed with emergency_enabled: name, street, city, postal_code, country"
    if field:
        raise InvalidArgument(f"`{field}`: {message}.", details=[{"field": field, "message": message}])


async def forget_flow(connection: AsyncConnection, customer_id: UUID, flow_id: UUID) -> None:
    """Numbers that name a flow which is being deleted name none (``flows.definitions.Forget``)."""
    for column in (numbers.c.call_flow_id, numbers.c.message_flow_id):
        statement = update(numbers).where(
            numbers.c.customer_id == customer_id, column == flow_id, numbers.c.tm_delete.is_(None)
        )
        await connection.execute(statement.values({column.name: None, "tm_update": utc_now()}))


def _no_flow(field: str, flow_id: UUID) -> NotFound:
    message = f"there is no flow {flow_id}; GET /v1.0/flows lists yours"
    return NotFound(
        f"`{field}`: {message}.",
        reason="FLOW_NOT_FOUND",
        details=[{"field": field, "message": message}],
    )


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise NumberNotFound("There is no such number; GET /v1.0/numbers lists yours.")
    if row.tm_delete is not None:
        why = f": {row.status_reason}" if row.status_reason else ""
        raise NumberNotFound(
            f"The number {row.number} is yours no more{why}.",
            details=[{"status": row.status, "status_reason": row.status_reason}],
        )
    return row
