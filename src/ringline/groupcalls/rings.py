"""Every groupcall that lasts: making them, and doing what they ask of the switchboard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol
from uuid import UUID, uuid4, uuid5

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.calls.ari_leg import AriLeg
from ringline.calls.call import ZERO, Call
from ringline.calls.caller import Anonymity
from ringline.calls.connection import GroupHooks
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

PART = "groupcalls"
"""Under this name a successor finds what was kept."""

Prepare = Callable[[], FlowRecord]
"""Makes a fresh copy of the flow that runs on the call that is answered."""


class Awaited:
    """Stands for a connection that is still to go on with its groupcall, and keeps for it what happens meanwhile."""

    def __init__(self) -> None:
        self._ready: tuple[Call, AriLeg] | None = None

    def call_ready(self, call: Call, leg: AriLeg) -> None:
        self._ready = (call, leg)

    def call_ringing(self, call: Call) -> None:
        """Whoever takes the groupcall over rings on its own."""

    def call_early(self, call: Call) -> None:
        pass

    def call_ended(self, call: Call) -> None:
        if self._ready is not None and self._ready[0] is call:
            self._ready = None

    def tell(self, hooks: GroupHooks) -> None:
        """Tell it the answer that came."""
        if self._ready is not None and not self._ready[0].ending:
            hooks.call_ready(*self._ready)


class Attaches(CallHooks, Protocol):
    """The flows that run on calls (``flows.service.FlowService``)."""

    def attach(self, activeflow: Any, call: Call) -> None: ...

    def detach(self, call: Call) -> None: ...


class Behind(Protocol):
    """Writes groupcalls to their table soon (``storage.behind.WriteBehind``)."""

    def touch(self, record: Groupcall) -> None: ...


class Keeper(Protocol):
    """Keeps what a successor of this controller needs (``calls.live_state.LiveState``)."""

    def keep(self, part: str, key: str, value: dict[str, Any]) -> None: ...

    def drop(self, part: str, key: str) -> None: ...


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
        keeper: Keeper | None = None,
    ) -> None:
        self._keeper = keeper
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
        ring = Ring(self, groupcall, list(plans), outer=outer or self._flows, next_id=derived)
        self._bind(ring, prepare, start, master)
        ring.prepare()
        return ring

    def for_call(
        self, caller: Call, party: Party, hooks: GroupHooks, *, early_media: bool, anonymous: Anonymity
    ) -> Ring:
        """The phones of one destination that a call is to be connected with (``calls.connection.Groups``)."""
        return self.make(
            caller.customer_id,
            party.orders,
            groupcall_id=uuid4(),
            source=party.source,
            destinations=[order.destination for order in party.orders],
            ring_method=party.ring_method,
            anonymous=anonymous,
            outer=hooks,
            master=caller,
            start=Start.WITH_MEDIA if early_media else Start.ON_ANSWER,
        )

    def take(self, group_id: UUID, hooks: GroupHooks) -> Ring | None:
        """Go on with a groupcall of a former controller; ``None`` where it is over."""
        ring = self._live.get(group_id)
        if ring is None or not isinstance(ring.outer, Awaited):
            return None
        awaited, ring.outer = ring.outer, hooks
        for within in ring.rings:
            within.outer = hooks
        awaited.tell(hooks)
        return ring

    def revive(
        self,
        ring: Ring,
        within: Sequence[Ring],
        *,
        prepare: Prepare | None,
        start: Start,
        master: Call | None,
    ) -> None:
        """A groupcall of a former controller, with those within it that last, rings on."""
        self._bind(ring, prepare, start, master)
        for one in (ring, *within):
            self._live[one.groupcall.id] = one
        for one in within:
            ring.rings[one] = None
        for one in (ring, *within):
            for call_id in one.groupcall.call_ids:
                line = self._switchboard.claim(call_id, one) or self._switchboard.line(call_id)
                if line is not None:
                    line.belongs_to(one)
                    one.legs[line.call] = None

    def _bind(self, ring: Ring, prepare: Prepare | None, start: Start, master: Call | None) -> None:
        self._making[ring] = (prepare, start, master)
        if master is not None:
            self._masters.setdefault(master.id, []).append(ring)

    async def store(self, connection: AsyncConnection, ring: Ring) -> None:
        """Insert the rows of a groupcall and of those within it; those of its calls are the caller's to insert."""
        await store.insert(connection, [record.row() for record in ring.records()])

    def begin(self, ring: Ring) -> None:
        """Place the calls: their rows are stored, or will be."""
        ring.begin()

    def begun(self, ring: Ring) -> None:
        self._live[ring.groupcall.id] = ring
        self._store(ring.groupcall)

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
        return Ring(self, groupcall, list(party.orders), outer=ring.outer, parent=ring, next_id=derived)

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
        self._store(groupcall)

    def advance(self, groupcall: Groupcall, status: Status) -> bool:
        if not groupcall.advance(status, self._clock.now()):
            return False
        self._store(groupcall)
        return True

    def _store(self, groupcall: Groupcall) -> None:
        self._behind.touch(groupcall)
        if self._keeper is None:
            return
        if groupcall.ended:
            self._keeper.drop(PART, str(groupcall.id))
        else:
            self._keeper.keep(PART, str(groupcall.id), groupcall.row())

    def over(self, ring: Ring) -> None:
        self._forget(ring)
        over = getattr(ring.outer, "group_over", None)
        if over is not None and ring.parent is None:
            over(ring.groupcall.id)

    def _call_ended(self, call: Call) -> None:
        """What a call made rings no more once it has ended; who was answered ends as all chained calls do."""
        for ring in list(self._masters.get(call.id, ())):
            ring.abandon()
        if call.groupcall_id != ZERO and (own := self._live.get(call.groupcall_id)) is not None:
            own.gone(call)


def derived(groupcall_id: UUID, index: int) -> UUID:
    """The id of a leg, or of a groupcall within: the same whoever asks, so that none is placed twice."""
    return uuid5(groupcall_id, str(index))
