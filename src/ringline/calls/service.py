"""What may happen to calls: placing, looking, hanging up, deleting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID, uuid4, uuid5

import structlog
from sqlalchemy.exc import IntegrityError

from ringline import ari
from ringline.calls import store
from ringline.calls.call import Call
from ringline.calls.caller import Anonymity, Caller, hides, shown_source
from ringline.calls.journal import Journal
from ringline.calls.states import Direction, Status
from ringline.calls.switchboard import CHANNEL_PREFIX, Switchboard
from ringline.customers import Customer, CustomerDirectory
from ringline.errors import InvalidArgument, NotFound, PermissionDenied, Unavailable
from ringline.http import Page, PageQuery, page_of, page_statement, utc_now
from ringline.numbers import NumberDirectory, resolve_source
from ringline.sip import e164
from ringline.sip.address import Address
from ringline.storage import Database

log = structlog.get_logger(__name__)

Record = Call | dict[str, Any]
"""A call in memory, or the columns of its row."""


class PreparedFlow(Protocol):
    """A flow that is to run on a new call (``flows.activeflow.Activeflow``)."""

    id: UUID
    stored: bool

    def row(self) -> dict[str, Any]: ...


class Flows(Protocol):
    """What placing a call needs of the flows that run on it."""

    def attach(self, activeflow: Any, call: Call) -> None: ...

    def detach(self, call: Call) -> None: ...

    def current(self, call_id: UUID) -> dict[str, Any] | None: ...


@dataclass(frozen=True, slots=True)
class Order:
    """One outgoing call to place: who calls whom, how, and what runs on it."""

    source: Address
    destination: Address
    caller: Caller
    activeflow: PreparedFlow


class CallService:
    """The API's side of calls. It stores a call before anything is sent for it."""

    def __init__(
        self,
        database: Database,
        switchboard: Switchboard,
        journal: Journal,
        client: ari.Client,
        flows: Flows,
        customers: CustomerDirectory,
        numbers: NumberDirectory,
        *,
        sip_domain: str,
    ) -> None:
        self._database = database
        self._switchboard = switchboard
        self._journal = journal
        self._client = client
        self._flows = flows
        self._customers = customers
        self._numbers = numbers
        self._sip_domain = sip_domain
        self.draining = False

    async def create(
        self,
        customer_id: UUID,
        *,
        source: Address,
        destinations: list[Address],
        anonymous: Anonymity,
        prepare: Callable[[], PreparedFlow],
        seed: UUID | None = None,
    ) -> list[Record]:
        """Place one call to each destination; ``prepare`` makes a fresh copy of the flow for each.

        ``seed`` is that of an ``Idempotency-Key``: the calls' ids follow from it, so that a repetition finds the
        calls of the first request even where its answer was lost, and places none.

        Raises ``InvalidArgument`` naming the field, ``PermissionDenied`` for an inactive customer, and
        ``Unavailable`` while Asterisk or the database cannot be reached.
        """
        customer = self._active(customer_id)
        if self.draining or not self._client.connected:
            raise Unavailable(
                "No calls can be placed now: the media server is not connected. Try again shortly."
            )
        orders = [
            self._order(customer, source, destination, f"destinations[{index}]", anonymous, prepare)
            for index, destination in enumerate(destinations)
        ]
        ids = [uuid4() if seed is None else uuid5(seed, str(index)) for index in range(len(orders))]
        calls = [
            self._record(customer_id, call_id, order) for call_id, order in zip(ids, orders, strict=True)
        ]
        try:
            # one statement, so no transaction around it: the INVITE waits for this. The flows' rows may come later.
            async with self._database.connect() as connection:
                await store.insert(connection, [call.row() for call in calls])
        except BaseException as error:
            for call in calls:
                self._flows.detach(call)
            if isinstance(error, IntegrityError) and seed is not None:
                return await self._placed_before(customer_id, ids)
            # the rows may be there all the same: a connection can break after the commit and before its answer
            self._journal.disown(ids)
            raise
        for call, order in zip(calls, orders, strict=True):
            self._journal.touch_flow(order.activeflow)
            self._dial(call, order)
        return list[Record](calls)

    async def get(self, customer_id: UUID, call_id: UUID) -> tuple[Record, dict[str, Any] | None]:
        """A call of the customer, live or from the table, and the action it is at. Raises ``NotFound``."""
        live = self._switchboard.live(call_id) or self._journal.pending(call_id)
        if live is not None and live.customer_id == customer_id and live.tm_delete is None:
            return live, None if live.ended else self._flows.current(call_id)
        row = None
        if live is None:
            async with self._database.connect() as connection:
                row = await store.get(connection, customer_id, call_id)
        if row is None:
            raise NotFound(f"There is no call {call_id}.", reason="CALL_NOT_FOUND")
        return dict(row._mapping), None

    async def page(
        self, customer_id: UUID, query: PageQuery, filters: dict[str, str], build: Callable[[Any], Any]
    ) -> Page[Any]:
        """A page of the customer's calls, newest first; live ones as they stand now."""
        statement = page_statement(store.listing(customer_id, filters), store.calls, query)
        async with self._database.connect() as connection:
            rows = (await connection.execute(statement)).all()
        page = page_of(rows, query, lambda row: build(self._fresh(row)))
        # a call may have moved on, or have been deleted, since its row was written
        wanted = {**filters, "tm_delete": None}
        kept = [call for call in page.result if all(getattr(call, name) == wanted[name] for name in wanted)]
        return page.model_copy(update={"result": kept})

    async def hang_up(self, customer_id: UUID, call_id: UUID) -> tuple[Record, dict[str, Any] | None]:
        """End a call; on one that is ending or has ended nothing more happens."""
        record, action = await self.get(customer_id, call_id)
        if isinstance(record, Call):
            self._switchboard.hang_up(record)
        return record, action

    async def delete(self, customer_id: UUID, call_id: UUID) -> Record:
        """Hang the call up if it lasts, and take its record out of sight."""
        record, _ = await self.hang_up(customer_id, call_id)
        now = utc_now()
        if isinstance(record, Call):
            record.tm_delete = record.tm_update = now
            self._journal.touch(record)
            return record
        async with self._database.begin() as connection:
            await store.mark_deleted(connection, call_id, now)
        return {**record, "tm_delete": now, "tm_update": now}

    def _fresh(self, row: Any) -> Record:
        return self._switchboard.live(row.id) or self._journal.pending(row.id) or dict(row._mapping)

    def _active(self, customer_id: UUID) -> Customer:
        customer = self._customers.by_id(customer_id)
        if customer is None or customer.status != "active":
            frozen = customer is not None and customer.status == "frozen"
            raise PermissionDenied(
                "The customer is not active; no calls can be placed.",
                reason="ACCOUNT_FROZEN" if frozen else "PERMISSION_DENIED",
            )
        return customer

    async def _placed_before(self, customer_id: UUID, ids: Sequence[UUID]) -> list[Record]:
        """The calls that an earlier request with the same key has placed."""
        async with self._database.connect() as connection:
            rows = {row.id: row for row in await store.several(connection, customer_id, ids)}
        return [self._fresh(rows[call_id]) for call_id in ids if call_id in rows]

    def _order(
        self,
        customer: Customer,
        source: Address,
        destination: Address,
        field: str,
        anonymous: Anonymity,
        prepare: Callable[[], PreparedFlow],
    ) -> Order:
        if destination.type != "tel":
            raise InvalidArgument(
                f"{field}.type: {destination.type!r} cannot be called by POST /v1.0/calls yet; use `tel` with a"
                " number in E.164"
            )
        number = e164.check(destination.target, f"{field}.target")
        caller_of = self._inside_caller if e164.is_virtual(number) else self._pstn_caller
        shown, caller = caller_of(customer, source, anonymous)
        return Order(shown, destination, caller, prepare())

    def _inside_caller(
        self, customer: Customer, source: Address, anonymous: Anonymity
    ) -> tuple[Address, Caller]:
        """Between numbers of the installation a virtual number may call too; without any it is anonymous."""
        number = self._numbers.owned(customer.id, source.target) if source.type == "tel" else None
        if number is None or number.status != "active":
            number = resolve_source(self._numbers, customer, "").number
        if number is None:
            return source, Caller("", hidden=True)
        shown = shown_source(source, number.number)
        return shown, Caller(number.number, shown.target_name, hidden=hides(anonymous))

    def _pstn_caller(
        self, customer: Customer, source: Address, anonymous: Anonymity
    ) -> tuple[Address, Caller]:
        """No leg leaves for the telephone network without a number that the customer owns."""
        if source.type == "tel" and source.target:
            e164.check(source.target, "source.target")
        given = source.target if source.type == "tel" else ""
        resolved = resolve_source(self._numbers, customer, given)
        if resolved.number is None:
            raise InvalidArgument(resolved.problem, details=list(resolved.details))
        shown = shown_source(source, resolved.number.number)
        return shown, Caller(resolved.number.number, shown.target_name, hidden=hides(anonymous))

    def _record(self, customer_id: UUID, call_id: UUID, order: Order) -> Call:
        call = Call(
            id=call_id,
            customer_id=customer_id,
            direction=Direction.OUTGOING,
            source=order.source,
            destination=order.destination,
            channel_id=f"{CHANNEL_PREFIX}{call_id}",
            status=Status.DIALING,
            anonymous=order.caller.hidden,
            tm_create=utc_now(),
        )
        self._flows.attach(order.activeflow, call)
        return call

    def _dial(self, call: Call, order: Order) -> None:
        self._switchboard.dial(
            call,
            f"PJSIP/kamailio/sip:{call.destination.target}@{self._sip_domain}",
            order.caller.caller_id(),
            order.caller.variables(call.customer_id, call.id),
        )
