"""What may happen to calls: placing, looking, hanging up, deleting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar
from uuid import UUID, uuid4, uuid5

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline import ari
from ringline.calls import store, telling
from ringline.calls.call import ZERO, Call
from ringline.calls.caller import Anonymity
from ringline.calls.journal import FlowRecord, Journal
from ringline.calls.line import Start
from ringline.calls.ordering import (
    Order,
    Ordering,
    Party,
    Plan,
    check_size,
    destinations_of,
    legs_of,
    orders_of,
)
from ringline.calls.pacing import Pacing
from ringline.calls.states import HangupReason, Status
from ringline.calls.switchboard import Switchboard
from ringline.calls.waiting import Batch, Recipe, Waiting
from ringline.errors import NotFound, Unavailable
from ringline.events.outbox import emit_rows
from ringline.http import Page, PageQuery, page_of, page_statement, utc_now
from ringline.sip.address import Address
from ringline.storage import Database

log = structlog.get_logger(__name__)

MAX_Q850 = 128
"""Causes from here on are our own."""
Record = Call | dict[str, Any]
"""A call in memory, or the columns of its row."""


class Flows(Protocol):
    """What placing a call needs of the flows that run on it."""

    def attach(self, activeflow: Any, call: Call) -> None: ...

    def detach(self, call: Call) -> None: ...

    def current(self, call_id: UUID) -> dict[str, Any] | None: ...

    def prepare(
        self,
        customer_id: UUID,
        flow_id: UUID,
        actions: list[dict[str, Any]],
        variables: dict[str, str],
        webhook: tuple[str, str],
    ) -> Any: ...


class Placing(Protocol):
    """What is about to be placed for one destination: a call, or a groupcall."""

    @property
    def calls(self) -> list[Call]:
        """The calls that are dialled first."""

    async def store(self, connection: AsyncConnection) -> None:
        """Insert what it has besides its calls."""

    def begin(self, *, behind: bool = False) -> None:
        """Dial. ``behind``: the rows of the calls are not stored yet."""

    def discard(self) -> None:
        """It did not come about."""

    def lose(self) -> None:
        """Whether its rows were stored nobody knows: what is there is to be ended."""


class Groups(Protocol):
    """Who makes groupcalls (``groupcalls.placing.Groups``)."""

    def group(
        self,
        customer_id: UUID,
        party: Party,
        *,
        groupcall_id: UUID,
        anonymous: Anonymity,
        prepare: Callable[[], FlowRecord],
        master: Call | None,
    ) -> Placing: ...


class CallService:
    """The API's side of calls. It stores a call before anything is sent for it."""

    def __init__(
        self,
        database: Database,
        switchboard: Switchboard,
        journal: Journal,
        client: ari.Client,
        flows: Flows,
        ordering: Ordering,
        pacing: Pacing | None = None,
    ) -> None:
        """Without ``pacing`` nothing waits: calls beyond the customer's pace are refused."""
        self._database = database
        self._switchboard = switchboard
        self._journal = journal
        self._client = client
        self._flows = flows
        self._ordering = ordering
        self._pacing = pacing
        if pacing is not None:
            pacing.place = self._begin_waiting
            pacing.resume = self._resume_waiting
        self.draining = False
        self.groups: Groups

    async def create(
        self,
        customer_id: UUID,
        *,
        source: Address,
        destinations: list[Address],
        anonymous: Anonymity,
        prepare: Callable[[], FlowRecord],
        seed: UUID | None = None,
        recipe: Recipe | None = None,
    ) -> list[Record]:
        """Place a call to each destination, several where it is an agent's; each has a fresh copy of the flow.

        ``seed`` is that of an ``Idempotency-Key``: the calls' ids follow from it, so that a repetition finds the
        calls of the first request even where its answer was lost, and places none. ``recipe`` is what ``prepare``
        makes flows of: with it, calls beyond the customer's pace wait.

        Raises ``InvalidArgument`` and ``NotFound`` naming the field, ``PermissionDenied`` for an inactive customer,
        ``LimitReached``, ``PaymentRequired``, and ``Unavailable`` while Asterisk or the database cannot be reached.
        """
        customer = self._ordering.customer(customer_id)
        if not self.ready():
            raise Unavailable(
                "No calls can be placed now: the media server is not connected. Try again shortly."
            )
        plans = [
            self._ordering.plan(customer, source, destination, f"destinations[{index}]", anonymous)
            async for index, destination in unhurried(enumerate(destinations))
        ]
        singles = [plan for plan in plans if isinstance(plan, Order)]
        parties = [plan for plan in plans if not isinstance(plan, Order)]
        if self._pacing is None or recipe is None:
            check_size(plans)
            with (
                self._ordering.limits.reserve(customer_id, sum(map(legs_of, plans))),
                self._ordering.money.reserve(customer_id, destinations_of(plans)),
            ):
                return await self._place(customer_id, plans, prepare, seed, anonymous)
        check_size(parties)
        with (
            self._ordering.limits.reserve(customer_id, sum(map(legs_of, parties))),
            self._pacing.admit(customer_id, len(singles), recipe.size) as now,
            # those that wait are paid when it is their turn; who can pay for none need not wait for that
            self._ordering.money.reserve(customer_id, destinations_of([*parties, *singles[: max(now, 1)]])),
        ):
            if now == len(singles):
                return await self._place(customer_id, plans, prepare, seed, anonymous)
            batch = Batch(
                uuid4() if seed is None else uuid5(seed, "batch"), customer_id, source, anonymous, recipe
            )
            return await self._place(customer_id, plans, prepare, seed, anonymous, batch, now)

    async def _place(
        self,
        customer_id: UUID,
        plans: Sequence[Plan],
        prepare: Callable[[], FlowRecord],
        seed: UUID | None,
        anonymous: Anonymity,
        batch: Batch | None = None,
        at_once: int = 0,
    ) -> list[Record]:
        """``batch``: of the single calls only the first ``at_once`` are placed now, the others wait as part of it."""
        placing = self._make(
            customer_id, plans, prepare, seed=seed, anonymous=anonymous, batch=batch, at_once=at_once
        )
        calls = [call for one in placing for call in one.calls]
        waiting = [one.call for one in placing if isinstance(one, _Later)]
        try:
            await self._store(placing, calls, batch, waiting)
        except BaseException as error:
            for one in placing:
                one.discard()
            ids = [call.id for call in calls]
            if isinstance(error, IntegrityError) and seed is not None:
                return await self._placed_before(customer_id, ids)
            # the rows may be there all the same: a connection can break after the commit and before its answer
            self._journal.disown(ids)
            for one in placing:
                one.lose()
            raise
        if batch is not None and self._pacing is not None:
            self._pacing.add(batch, waiting)
        for one in placing:
            one.begin()
        return list[Record](calls)

    def ready(self) -> bool:
        """Whether calls can be placed now."""
        return not self.draining and self._client.connected

    def _make(
        self,
        customer_id: UUID,
        plans: Sequence[Plan],
        prepare: Callable[[], FlowRecord],
        *,
        anonymous: Anonymity,
        seed: UUID | None = None,
        master: Call | None = None,
        start: Start = Start.ON_ANSWER,
        batch: Batch | None = None,
        at_once: int = 0,
    ) -> list[Placing]:
        """Everything that the plans amount to, ready to be stored and begun; ``master``: what it ends with."""
        made: list[Placing] = []
        for index, plan in enumerate(plans):
            new_id = uuid4() if seed is None else uuid5(seed, str(index))
            if isinstance(plan, Party):
                made.append(
                    self.groups.group(
                        customer_id,
                        plan,
                        groupcall_id=new_id,
                        anonymous=anonymous,
                        prepare=prepare,
                        master=master,
                    )
                )
                continue
            call = self._ordering.record(
                customer_id, plan, master=ZERO if master is None else master.id, call_id=new_id
            )
            if batch is not None and not at_once:
                call.flow_id, call.tm_dialing = batch.recipe.flow_id, None
                made.append(_Later(call))
                continue
            at_once -= 1
            activeflow = prepare()
            self._flows.attach(activeflow, call)
            made.append(_Single(self, call, plan, activeflow, start))
        return made

    async def _store(
        self,
        placing: Sequence[Placing],
        calls: Sequence[Call],
        batch: Batch | None,
        waiting: Sequence[Call],
    ) -> None:
        rows = [call.row() for call in calls]
        groups = [one for one in placing if not isinstance(one, _Single | _Later)]
        if not groups and batch is None:
            # one statement, so no transaction around it: the INVITE waits for this. The flows' rows may come later.
            async with self._database.connect() as connection:
                await store.insert(connection, rows)
        else:
            async with self._database.begin() as connection:
                for group in groups:
                    await group.store(connection)
                await store.insert(connection, rows)
                if batch is not None and self._pacing is not None:
                    await self._pacing.insert(connection, batch, waiting)
        # behind, as all of their way: whoever takes over announces what the rows show
        self._journal.announce(calls)

    def _begin_waiting(self, waiting: Waiting) -> None:
        """Place a call whose turn it is (``Pacing.place``)."""
        call, batch = waiting.call, waiting.batch
        customer = self._ordering.customer(call.customer_id)
        plan = self._ordering.plan(customer, batch.source, call.destination, "destination", batch.anonymous)
        # an extension may have got a second phone meanwhile: the call was promised as one
        order = orders_of(plan)[0]
        activeflow = self._flow_of(waiting)
        call.tm_dialing = utc_now()
        try:
            self._dial(call, order, activeflow, Start.ON_ANSWER, behind=True)
        except BaseException:
            self._flows.detach(call)
            raise

    def _resume_waiting(self, waiting: Waiting) -> None:
        """A controller before had placed the call, and had not come to store what it is to do (``Pacing.resume``)."""
        self._journal.touch_flow(self._flow_of(waiting))

    def _flow_of(self, waiting: Waiting) -> FlowRecord:
        recipe = waiting.batch.recipe
        activeflow: FlowRecord = self._flows.prepare(
            waiting.call.customer_id, recipe.flow_id, recipe.actions, dict(recipe.variables), recipe.webhook
        )
        self._flows.attach(activeflow, waiting.call)
        return activeflow

    def position(self, record: Record) -> int:
        """Where a call stands that waits for its turn (1: it is the next), else 0."""
        if self._pacing is None:
            return 0
        return self._pacing.position(record.id if isinstance(record, Call) else UUID(str(record["id"])))

    def _known(self, call_id: UUID) -> Call | None:
        """The call as it stands now, where its row may be older."""
        waiting = None if self._pacing is None else self._pacing.call(call_id)
        return self._switchboard.live(call_id) or waiting or self._journal.pending(call_id)

    def place_from(
        self,
        parent: Call,
        *,
        source: Address,
        destinations: Sequence[Address],
        anonymous: Anonymity,
        prepare: Callable[[], FlowRecord],
        chained: bool,
        start: Start,
    ) -> list[Call]:
        """Calls that a flow on ``parent`` makes, each with a flow of its own; stored behind, as what changes is.

        ``chained``: they end with ``parent``. A destination that cannot be called is left out as long as another one
        can. Raises ``RinglineError``.
        """
        if self.draining or self._journal.full or not self._client.connected:
            raise Unavailable("No further calls are placed now.")
        plans = self._ordering.plans_from(parent, source, destinations, anonymous)
        check_size(plans)
        master = parent if chained else None
        placing = self._make(
            parent.customer_id, plans, prepare, anonymous=anonymous, master=master, start=start
        )
        calls = [call for one in placing for call in one.calls]
        for one in placing:
            if chained and isinstance(one, _Single):
                parent.chained_call_ids.append(one.call.id)
                self._journal.touch(parent)
            one.begin(behind=True)
        return calls

    async def get(self, customer_id: UUID, call_id: UUID) -> tuple[Record, dict[str, Any] | None]:
        """A call of the customer, live or from the table, and the action it is at. Raises ``NotFound``."""
        live = self._known(call_id)
        if live is not None and live.customer_id == customer_id and live.tm_delete is None:
            return live, None if live.ended else self._flows.current(call_id)
        row = None
        if live is None:
            async with self._database.connect() as connection:
                row = await store.get(connection, customer_id, call_id)
        if row is None:
            raise NotFound(f"There is no call {call_id}.", reason="CALL_NOT_FOUND")
        return dict(row._mapping), None

    async def ending(self, customer_id: UUID, call_id: UUID) -> tuple[HangupReason, int] | None:
        """How a call of the customer ended: the reason and the cause (Q.850, 0 where there is none to be told).

        ``None`` for one that lasts, and for one that does not exist.
        """
        try:
            record, _ = await self.get(customer_id, call_id)
        except NotFound:
            return None
        row = record.row() if isinstance(record, Call) else record
        if row["status"] != Status.HANGUP:
            return None
        cause = int(row["hangup_cause"])
        return HangupReason(row["hangup_reason"]), cause if 0 < cause < MAX_Q850 else 0

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
        if isinstance(record, Call) and not (self._pacing is not None and self._pacing.withdraw(record)):
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
            deleted = await store.mark_deleted(connection, customer_id, call_id, now)
            await emit_rows(connection, telling.of_row(deleted._asdict()))
        return {**record, "tm_delete": now, "tm_update": now}

    def _dial(self, call: Call, order: Order, activeflow: FlowRecord, start: Start, *, behind: bool) -> None:
        if behind:
            self._journal.touch(call)
        self._journal.touch_flow(activeflow)
        self._ordering.dial(call, order, start=start)

    def _detach(self, call: Call) -> None:
        self._flows.detach(call)

    def _fresh(self, row: Any) -> Record:
        return self._known(row.id) or dict(row._mapping)

    async def _placed_before(self, customer_id: UUID, ids: Sequence[UUID]) -> list[Record]:
        """The calls that an earlier request with the same key has placed."""
        async with self._database.connect() as connection:
            rows = {row.id: row for row in await store.several(connection, customer_id, ids)}
        return [self._fresh(rows[call_id]) for call_id in ids if call_id in rows]


class _Single:
    """One call (``Placing``)."""

    def __init__(
        self, service: CallService, call: Call, order: Order, activeflow: FlowRecord, start: Start
    ) -> None:
        self.call = call
        self._service = service
        self._order = order
        self._activeflow = activeflow
        self._start = start

    @property
    def calls(self) -> list[Call]:
        return [self.call]

    async def store(self, connection: AsyncConnection) -> None:
        pass

    def begin(self, *, behind: bool = False) -> None:
        self._service._dial(self.call, self._order, self._activeflow, self._start, behind=behind)

    def discard(self) -> None:
        self._service._detach(self.call)

    def lose(self) -> None:
        pass


class _Later:
    """One call that waits for its turn (``Placing``)."""

    def __init__(self, call: Call) -> None:
        self.call = call

    @property
    def calls(self) -> list[Call]:
        return [self.call]

    async def store(self, connection: AsyncConnection) -> None:
        pass

    def begin(self, *, behind: bool = False) -> None:
        pass

    def discard(self) -> None:
        pass

    def lose(self) -> None:
        pass


T = TypeVar("T")


async def unhurried(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, with room for other work between each fifty: a thousand of anything takes a while."""
    for count, item in enumerate(items, 1):
        yield item
        if count % 50 == 0:
            await asyncio.sleep(0)
