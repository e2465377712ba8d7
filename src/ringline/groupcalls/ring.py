"""One groupcall that lasts: whose phones ring, who was first, and who is told to stop.

Everything happens inside the event that brings it about: the first answer closes the whole groupcall, those within it
and those around it included, before another event is looked at. Whoever answers in the same millisecond finds it
closed and is hung up without having heard a word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from ringline.calls.ari_leg import AriLeg
from ringline.calls.call import Call
from ringline.calls.destinations import RingMethod
from ringline.calls.journal import FlowRecord
from ringline.calls.line import CallHooks
from ringline.calls.ordering import Order, Party, Plan
from ringline.groupcalls.groupcall import Groupcall, Status

UNAVAILABLE = 480
NOT_REGISTERED = "no phone is registered with the extension, or none takes calls now"


@dataclass(frozen=True, slots=True)
class Leg:
    """A call that is ready to be placed."""

    call: Call
    order: Order
    activeflow: FlowRecord | None


class Desk(Protocol):
    """What a ring has done for it (``groupcalls.rings.Rings``)."""

    def begun(self, ring: Ring) -> None: ...

    def leg(self, ring: Ring, order: Order, call_id: UUID) -> Leg: ...

    def within(self, ring: Ring, party: Party, groupcall_id: UUID) -> Ring: ...

    def dial(self, ring: Ring, leg: Leg) -> None: ...

    def elsewhere(self, call: Call) -> None: ...

    def hang_up(self, call: Call) -> None: ...

    def changed(self, groupcall: Groupcall) -> None: ...

    def advance(self, groupcall: Groupcall, status: Status) -> bool: ...

    def touch(self, call: Call) -> None: ...

    def over(self, ring: Ring) -> None: ...


class Ring:
    """The phones of one groupcall (``calls.line.LegHooks`` of each of its legs).

    ``outer`` hears of the legs as if they were placed by it: the flow service, or a connection.
    """

    def __init__(
        self,
        desk: Desk,
        groupcall: Groupcall,
        plans: list[Plan | None],
        *,
        outer: CallHooks,
        parent: Ring | None = None,
        next_id: Callable[[UUID, int], UUID],
    ) -> None:
        self.groupcall = groupcall
        self.outer = outer
        self.parent = parent
        self.closed = False
        """Nobody else is rung, and an answer comes too late."""
        self.legs: dict[Call, None] = {}
        self.rings: dict[Ring, None] = {}
        self._desk = desk
        self._plans = plans
        self._next_id = next_id
        self._wave: list[Leg] = []
        self._begun: list[Ring] = []

    @property
    def id(self) -> UUID:
        return self.groupcall.id

    # beginning

    def prepare(self) -> list[Call]:
        """Make the records of those who ring first, in groupcalls within too; nothing is sent."""
        linear = self.groupcall.ring_method is RingMethod.LINEAR
        count = 1 if linear else len(self._plans) - self.groupcall.dial_index
        for _ in range(count):
            self._prepare_next()
        return self.prepared()

    def prepared(self) -> list[Call]:
        """Calls that are made and not placed yet."""
        return [leg.call for leg in self._wave] + [call for ring in self._begun for call in ring.prepared()]

    def records(self) -> list[Groupcall]:
        """This groupcall and those within it that have begun."""
        return [self.groupcall, *(record for ring in self.rings for record in ring.records())]

    def begin(self) -> None:
        """Place what was prepared."""
        self._desk.begun(self)
        wave, self._wave = self._wave, []
        begun, self._begun = self._begun, []
        for leg in wave:
            self._desk.dial(self, leg)
        for ring in begun:
            ring.begin()

    def _prepare_next(self) -> None:
        index = self.groupcall.dial_index
        plan = self._plans[index]
        self.groupcall.dial_index = index + 1
        if plan is None:
            return  # it could be called when the groupcall was made, and cannot any more
        new_id = self._next_id(self.groupcall.id, index)
        if isinstance(plan, Order):
            self._add(self._desk.leg(self, plan, new_id))
        elif (order := _only(plan)) is not None:
            # an extension whose phones are of one kind is one leg: Kamailio rings all that are registered with it
            self._add(self._desk.leg(self, order, new_id))
        else:
            ring = self._desk.within(self, plan, new_id)
            self.rings[ring] = None
            self.groupcall.groupcall_ids.append(ring.groupcall.id)
            self._begun.append(ring)
            ring.prepare()

    def _add(self, leg: Leg) -> None:
        self.legs[leg.call] = None
        self.groupcall.call_ids.append(leg.call.id)
        self._wave.append(leg)

    # what the switchboard tells of the legs

    def call_ready(self, call: Call, leg: AriLeg) -> None:
        """A phone was answered."""
        if call.id == self.groupcall.answer_call_id:
            # told again to the successor of a controller that died
            self.outer.call_ready(call, leg)
            return
        root = self.root
        if root.closed or root.groupcall.answered:
            self._desk.elsewhere(call)
            return
        self.outer.call_ready(call, leg)
        if call.ending or call.end_cause is not None:
            return  # nobody is there any more to talk with
        self.groupcall.answer_call_id = call.id
        inner = self
        while inner.parent is not None:
            inner.parent.groupcall.answer_groupcall_id = inner.groupcall.id
            inner = inner.parent
        root.withdraw(keep=call)

    def call_ringing(self, call: Call) -> None:
        """A phone rings."""
        ringing = getattr(self.outer, "call_ringing", None)
        if ringing is not None and not self.root.closed:
            ringing(call)

    def call_early(self, call: Call) -> None:
        """A phone is heard before its answer."""
        early = getattr(self.outer, "call_early", None)
        if early is not None and not self.root.closed:
            early(call)

    def call_ended(self, call: Call) -> None:
        """A phone's call has its final record."""
        self.legs.pop(call, None)
        if call.hangup_sip_code == UNAVAILABLE and call.destination.type in (
            "extension",
            "endpoint",
        ):
            call.hangup_detail = call.hangup_detail or NOT_REGISTERED
            self._desk.touch(call)
        self.outer.call_ended(call)
        self.step()

    # steps

    @property
    def root(self) -> Ring:
        """The groupcall that this one is within, or itself."""
        ring = self
        while ring.parent is not None:
            ring = ring.parent
        return ring

    def withdraw(self, keep: Call | None = None) -> None:
        """Stop ringing, for somebody was answered: ``keep``, or a party that is none of ours."""
        self.closed = True
        for call in list(self.legs):
            if call is not keep:
                self._desk.elsewhere(call)
        for ring in list(self.rings):
            ring.withdraw(keep)
        self._desk.changed(self.groupcall)
        self.step()

    def hang_up(self) -> bool:
        """End everything, a conversation too. ``False`` where it is ending already; asking twice is no fault."""
        self.closed = True
        changed = self._desk.advance(self.groupcall, Status.HANGINGUP)
        for call in list(self.legs):
            # those that are being withdrawn keep the reason that they have
            if call.end_cause is None:
                self._desk.hang_up(call)
        for ring in list(self.rings):
            ring.hang_up()
        self.step()
        return changed

    def abandon(self) -> None:
        """Ring nobody any more; whoever was answered is not ours to end."""
        self.closed = True
        for call in list(self.legs):
            if call.id != self.groupcall.answer_call_id and call.end_cause is None:
                self._desk.hang_up(call)
        for ring in list(self.rings):
            ring.abandon()
        self.step()

    def gone(self, call: Call) -> None:
        """The call has ended, and somebody else was told (a transfer has taken it over)."""
        if call in self.legs:
            del self.legs[call]
            self.step()

    def _within_over(self, ring: Ring) -> None:
        self.rings.pop(ring, None)
        self.step()

    def step(self) -> None:
        """Where nobody rings or talks any more: the next one in turn, or the end."""
        if self.legs or self.rings or self.groupcall.ended:
            return
        while not self.root.closed and not self.closed and self.groupcall.dial_index < len(self._plans):
            self._prepare_next()
            self._desk.changed(self.groupcall)
            if self.legs or self.rings:
                self.begin()
                return
        self.closed = True
        self._desk.advance(self.groupcall, Status.HANGUP)
        self._desk.over(self)
        if self.parent is not None:
            self.parent._within_over(self)


def _only(party: Party) -> Order | None:
    """The one leg of a party that need not be a groupcall of its own."""
    if party.destination.type == "agent" or len(party.orders) != 1:
        return None
    (order,) = party.orders
    return order if isinstance(order, Order) else None
