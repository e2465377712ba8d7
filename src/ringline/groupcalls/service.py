"""What may happen to groupcalls: placing, looking, hanging up, deleting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol
from uuid import UUID, uuid4, uuid5

from sqlalchemy.exc import IntegrityError

from ringline.calls import store as call_store
from ringline.calls.caller import Anonymity
from ringline.calls.destinations import RingMethod
from ringline.calls.journal import Journal
from ringline.calls.ordering import Ordering, Plan, check_size, destinations_of, legs_of
from ringline.errors import NotFound, Unavailable
from ringline.events.outbox import emit_rows
from ringline.groupcalls import store
from ringline.groupcalls.groupcall import AnswerMethod, Groupcall, of_row
from ringline.groupcalls.models import telling
from ringline.groupcalls.ring import Ring
from ringline.groupcalls.rings import Prepare, Rings
from ringline.http import Page, PageQuery, page_of, page_statement, utc_now
from ringline.sip.address import Address
from ringline.storage import Database

Record = Groupcall | dict[str, Any]
"""A groupcall in memory, or the columns of its row."""


class Behind(Protocol):
    """Writes groupcalls to their table soon (``storage.behind.WriteBehind``)."""

    def touch(self, record: Groupcall) -> None: ...

    async def written(self) -> None: ...


class GroupcallService:
    """The API's side of groupcalls. It stores a groupcall and its calls before anything is sent for them."""

    def __init__(
        self,
        database: Database,
        rings: Rings,
        ordering: Ordering,
        journal: Journal,
        behind: Behind,
        ready: Callable[[], bool],
    ) -> None:
        """``ready``: whether calls can be placed now."""
        self._database = database
        self._rings = rings
        self._ordering = ordering
        self._journal = journal
        self._behind = behind
        self._ready = ready

    async def create(
        self,
        customer_id: UUID,
        *,
        source: Address,
        destinations: list[Address],
        ring_method: RingMethod,
        answer_method: AnswerMethod,
        anonymous: Anonymity,
        prepare: Prepare,
        seed: UUID | None = None,
    ) -> Record:
        """Ring the destinations; ``prepare`` makes a fresh copy of the flow for whoever answers.

        ``seed`` is that of an ``Idempotency-Key``: the ids follow from it. Raises ``InvalidArgument`` and
        ``NotFound`` naming the field, ``PermissionDenied`` for an inactive customer, ``LimitReached``,
        ``PaymentRequired``, and ``Unavailable`` while Asterisk or the database cannot be reached.
        """
        customer = self._ordering.customer(customer_id)
        if not self._ready():
            raise Unavailable(
                "No calls can be placed now: the media server is not connected. Try again shortly."
            )
        plans = [
            self._ordering.plan(customer, source, destination, f"destinations[{index}]", anonymous)
            for index, destination in enumerate(destinations)
        ]
        check_size(plans)
        groupcall_id = uuid4() if seed is None else uuid5(seed, "groupcall")
        ring = self._rings.make(
            customer_id,
            plans,
            groupcall_id=groupcall_id,
            source=shown(source, plans),
            destinations=destinations,
            ring_method=ring_method,
            answer_method=answer_method,
            anonymous=anonymous,
            prepare=prepare,
        )
        with (
            self._ordering.limits.reserve(customer_id, sum(map(legs_of, plans))),
            self._ordering.money.reserve(customer_id, destinations_of(plans)),
        ):
            return await self._place(customer_id, ring, seed)

    async def _place(self, customer_id: UUID, ring: Ring, seed: UUID | None) -> Record:
        groupcall_id = ring.groupcall.id
        try:
            async with self._database.begin() as connection:
                await self._rings.store(connection, ring)
                await call_store.insert(connection, [call.row() for call in ring.prepared()])
        except BaseException as error:
            calls = ring.prepared()
            self._rings.discard(ring)
            if isinstance(error, IntegrityError) and seed is not None:
                return await self._placed_before(customer_id, groupcall_id)
            # the rows may be there all the same: a connection can break after the commit and before its answer
            self._journal.disown([call.id for call in calls])
            self._rings.lose(ring)
            raise
        self._journal.announce(ring.prepared())
        self._rings.begin(ring)
        return ring.groupcall

    async def get(self, customer_id: UUID, groupcall_id: UUID) -> Record:
        """A groupcall of the customer, live or from the table. Raises ``NotFound``."""
        ring = self._rings.live(groupcall_id)
        record = None if ring is None else ring.groupcall
        if record is not None and record.customer_id == customer_id and record.tm_delete is None:
            return record
        row = None
        if record is None:
            await self._behind.written()
            async with self._database.connect() as connection:
                row = await store.get(connection, customer_id, groupcall_id)
        if row is None:
            raise NotFound(f"There is no groupcall {groupcall_id}.", reason="GROUPCALL_NOT_FOUND")
        return dict(row._mapping)

    def owns(self, groupcall_id: UUID) -> bool:
        """Whether it lasts, here."""
        return self._rings.live(groupcall_id) is not None

    async def page(
        self, customer_id: UUID, query: PageQuery, filters: dict[str, str], build: Callable[[Any], Any]
    ) -> Page[Any]:
        """A page of the customer's groupcalls, newest first; live ones as they stand now."""
        await self._behind.written()
        statement = page_statement(store.listing(customer_id, filters), store.groupcalls, query)
        async with self._database.connect() as connection:
            rows = (await connection.execute(statement)).all()
        page = page_of(rows, query, lambda row: build(self._fresh(row)))
        # one may have moved on, or have been deleted, since its row was written
        wanted = {**filters, "tm_delete": None}
        kept = [one for one in page.result if all(getattr(one, name) == wanted[name] for name in wanted)]
        return page.model_copy(update={"result": kept})

    async def hang_up(self, customer_id: UUID, groupcall_id: UUID) -> Record:
        """End all calls of a groupcall; on one that is ending or has ended nothing more happens."""
        record = await self.get(customer_id, groupcall_id)
        ring = self._rings.live(groupcall_id)
        if ring is not None:
            ring.hang_up()
        return record

    async def delete(self, customer_id: UUID, groupcall_id: UUID) -> Record:
        """End it where it lasts, and take its record out of sight."""
        record = await self.hang_up(customer_id, groupcall_id)
        now = utc_now()
        if isinstance(record, Groupcall):
            record.tm_delete = record.tm_update = now
            self._behind.touch(record)
            return record
        async with self._database.begin() as connection:
            row = await store.mark_deleted(connection, customer_id, groupcall_id, now)
            await emit_rows(connection, telling().all(of_row(row)))
        return {**record, "tm_delete": now, "tm_update": now}

    def _fresh(self, row: Any) -> Record:
        ring = self._rings.live(row.id)
        return dict(row._mapping) if ring is None else ring.groupcall

    async def _placed_before(self, customer_id: UUID, groupcall_id: UUID) -> Record:
        """The groupcall that an earlier request with the same key has placed."""
        ring = self._rings.live(groupcall_id)
        if ring is not None:
            return ring.groupcall
        async with self._database.connect() as connection:
            row = await store.get(connection, customer_id, groupcall_id, deleted=True)
        if row is None:
            raise NotFound(f"There is no groupcall {groupcall_id}.", reason="GROUPCALL_NOT_FOUND")
        return dict(row._mapping)


def shown(source: Address, plans: Sequence[Plan]) -> Address:
    """The source as the calls show it, where it is the same for all of them."""
    sources = {plan.source for plan in plans}
    return sources.pop() if len(sources) == 1 else source
