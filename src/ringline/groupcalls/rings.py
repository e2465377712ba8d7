"""Every groupcall that lasts: making them, and doing what they ask of the switchboard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol
from uuid import UUID, uuid5

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.calls.call import ZERO, Call
from ringline.calls.caller import Anonymity
from ringline.calls.destinations import RingMethod
from ringline.calls.journal import FlowRecord, Journal
from ringline.calls.line import CallHooks, Start
from ringline.calls.ordering import Order, Ordering, Party, Plan
from ringline.calls.switchboard import Switchboard
from ringline.clock import Clock
from ringline.groupcalls import store
from ringline.groupcalls.groupcall import AnswerMethod, Groupcall, Status
from ringline.groupcalls.ring import Leg, Ring
from ringline.sip.address import Address

log = structlog.get_logger(__name__)

Prepare = Callable[[], FlowRecord]
"""Makes a fresh copy of the flow that runs on the call that is answered."""


class Attaches(CallHooks, Protocol):
    """The flows that run on calls (``flows.service.FlowService``)."""

    def attach(self, activeflow: Any, call: Call) -> None: ...

    def detach(self, call: Call) -> None: ...


class Behind(Protocol):
    """Writes groupcalls to their table soon (``storage.behind.WriteBehind``)."""

    def touch(self, record: Groupcall) -> None: ...


class Rings:
    """Groupcalls by id (``groupcalls.ring.Desk``)."""

    def __init__(
        self,
        switchboard: Switchboard,
        ordering: Ordering,
        journal: Journal,
        flows: Attaches,
        behind: Behind,
        clock: Clock,
    ) -> None:
        self._switchboard = switchboard
        self._ordering = ordering
        self._journal = journal
        self._flows = flows
        self._behind = behind
        self._clock = clock
        self._live: dict[UUID, Ring] = {}
        self._making: dict[Ring, tuple[Prepare | None, Start, Call | None]] = {}
        self._masters: dict[UUID, list[Ring]] = {}
        switchboard.watchers.append(self._call_ended)

    def __len__(self) -> int:
        return len(self._live)

    def live(self, groupcall_id: UUID) -> Ring | None:
        """The groupcall while it lasts."""
        return self._live.get(groupcall_id)

    def make(
        self,
        customer_id: UUID,
        plans: Sequence[Plan],
        *,
        groupcall_id: UUID,
        source: Address,
        destinations: Sequence[Address],
        ring_method: RingMethod = RingMethod.DEFAULT,
        answer_method: AnswerMethod = AnswerMethod.DEFAULT,
        anonymous: Anonymity = "auto",
        prepare: Prepare | None = None,
        outer: CallHooks | None = None,
        master: Call | None = None,
        start: Start = Start.ON_ANSWER,
    ) -> Ring:
        """A groupcall with the calls that ring first; nothing is sent and nothing stored yet.

        ``prepare``: the flow of whoever answers. ``outer``: who hears of the legs, the flow service where nobody is
        given. ``master``: the call that the legs end with. ``begin`` is next, or ``discard``.
        """
        groupcall = Groupcall(
            id=groupcall_id,
            customer_id=customer_id,
            source=source,
            destinations=list(destinations),
            tm_create=self._clock.now(),
            master_call_id=ZERO if master is None else master.id,
            ring_method=ring_method,
            answer_method=answer_method,
            anonymous=anonymous,
        )
        ring = Ring(self, groupcall, list(plans), outer=outer or self._flows, next_id=_derived)
        self._making[ring] = (prepare, start, master)
        if master is not None:
            self._masters.setdefault(master.id, []).append(ring)
        ring.prepare()
        return ring

    async def store(self, connection: AsyncConnection, ring: Ring) -> None:
        """Insert the rows of a groupcall and of those within it; those of its calls are the caller's to insert."""
        await store.insert(connection, [record.row() for record in ring.records()])

    def begin(self, ring: Ring) -> None:
        """Place the calls: their rows are stored, or will be."""
        for record in ring.records():
            self._behind.touch(record)
        self._register(ring)
        ring.begin()

    def discard(self, ring: Ring) -> None:
        """The groupcall did not come about."""
        for call in ring.prepared():
            self._flows.detach(call)
        self._forget(ring)

    def lose(self, ring: Ring) -> None:
        """Whether its rows were stored nobody knows: whatever is there gets a final record."""
        for record in ring.records():
            record.advance(Status.HANGUP, self._clock.now())
            record.tm_delete = record.tm_delete or self._clock.now()
            self._behind.touch(record)

    def _register(self, ring: Ring) -> None:
        self._live[ring.groupcall.id] = ring
        for within in ring.rings:
            self._register(within)

    def _forget(self, ring: Ring) -> None:
        self._live.pop(ring.groupcall.id, None)
        _, _, master = self._making.pop(ring, (None, Start.ON_ANSWER, None))
        if master is not None and (siblings := self._masters.get(master.id)) is not None:
            siblings.remove(ring)
            if not siblings:
                del self._masters[master.id]
        for within in ring.rings:
            self._forget(within)

    # what a ring asks for

    def leg(self, ring: Ring, order: Order, call_id: UUID) -> Leg:
        """The record of one leg, with its flow."""
        prepare, _, master = self._making[ring.root]
        groupcall = ring.groupcall
        call = self._ordering.record(
            groupcall.customer_id,
            order,
            master=ZERO if master is None else master.id,
            groupcall=groupcall.id,
            call_id=call_id,
        )
        activeflow = None
        if prepare is not None:
            activeflow = prepare()
            self._flows.attach(activeflow, call)
            groupcall.flow_id = ring.root.groupcall.flow_id = call.flow_id
        return Leg(call, order, activeflow)

    def within(self, ring: Ring, party: Party, groupcall_id: UUID) -> Ring:
        """The groupcall of one destination."""
        groupcall = Groupcall(
            id=groupcall_id,
            customer_id=ring.groupcall.customer_id,
            source=party.source,
            destinations=[order.destination for order in party.orders],
            tm_create=self._clock.now(),
            flow_id=ring.groupcall.flow_id,
            master_call_id=ring.groupcall.master_call_id,
            master_groupcall_id=ring.groupcall.id,
            ring_method=party.ring_method,
            answer_method=ring.groupcall.answer_method,
            anonymous=ring.groupcall.anonymous,
        )
        made = Ring(self, groupcall, list(party.orders), outer=ring.outer, parent=ring, next_id=_derived)
        if ring.groupcall.id in self._live:
            self._live[groupcall.id] = made
            self._behind.touch(groupcall)
        return made

    def dial(self, ring: Ring, leg: Leg) -> None:
        """Place one leg."""
        _, start, master = self._making[ring.root]
        if leg.activeflow is not None:
            self._journal.touch_flow(leg.activeflow)
        self._journal.touch(leg.call)
        if master is not None:
            master.chained_call_ids.append(leg.call.id)
            self._journal.touch(master)
        self._ordering.dial(leg.call, leg.order, hooks=ring, start=start)

    def elsewhere(self, call: Call) -> None:
        self._switchboard.answered_elsewhere(call)

    def hang_up(self, call: Call) -> None:
        self._switchboard.hang_up(call)

    def touch(self, call: Call) -> None:
        self._journal.touch(call)

    def changed(self, groupcall: Groupcall) -> None:
        groupcall.tm_update = self._clock.now()
        self._behind.touch(groupcall)

    def advance(self, groupcall: Groupcall, status: Status) -> bool:
        if not groupcall.advance(status, self._clock.now()):
            return False
        self._behind.touch(groupcall)
        return True

    def over(self, ring: Ring) -> None:
        self._forget(ring)
        over = getattr(ring.outer, "group_over", None)
        if over is not None and ring.parent is None:
            over(ring.groupcall.id)

    def _call_ended(self, call: Call) -> None:
        """What a call made ends with it; nobody further is rung on its behalf."""
        for ring in list(self._masters.get(call.id, ())):
            ring.hang_up()


def _derived(groupcall_id: UUID, index: int) -> UUID:
    """The id of a leg, or of a groupcall within: the same whoever asks, so that none is placed twice."""
    return uuid5(groupcall_id, str(index))
