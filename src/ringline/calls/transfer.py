"""One party of a conversation hands the other one over to somebody else.

Three parties: the *transferer*, its *partner*, and the *target*, of which several may ring. There is one
bridge all the time, that of the conversation: parties are taken out of it and put in. Whoever remains in the end is
settled in one place, ``_settle``: two talk with each other, one goes on with its flow or is hung up. Like a
connection it acts inside the switchboard's events and waits for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog

from ringline import ari
from ringline.calls.ari_leg import AriLeg
from ringline.calls.bridges import Bridges
from ringline.calls.call import Call
from ringline.calls.control import Controls
from ringline.calls.conversation import Conversation, Joint
from ringline.calls.journal import Journal
from ringline.calls.ordering import Order, Ordering
from ringline.calls.phone_hold import PhoneHolds
from ringline.calls.ringback import Ringback
from ringline.calls.switchboard import Switchboard

log = structlog.get_logger(__name__)

SETTLE_SECONDS = 0.2
"""How long the event of a hang-up may trail the request that failed because of it."""
LEAVE_SECONDS = 1.0
"""How long a telephone that was told of its transfer's success has to hang up by itself."""
_GONE = (404, 409, 422)


class TransferType(StrEnum):
    """``blind``: the transferer leaves at once. ``attended``: it talks with the target first."""

    BLIND = "blind"
    ATTENDED = "attended"


class TransferStatus(StrEnum):
    """Where a transfer stands; the last three are final."""

    DIALING = "dialing"
    CONSULTING = "consulting"
    COMPLETED = "completed"
    CANCELED = "canceled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class House:
    """What transfers work with."""

    client: ari.Client
    switchboard: Switchboard
    journal: Journal
    ordering: Ordering
    bridges: Bridges
    controls: Controls
    holds: PhoneHolds | None = None


Changed = Callable[[TransferStatus, str, Call | None], None]
"""Told of each change: the status, a sentence where it alone does not say what happened, the target that answered."""


class Transfer:
    """A transfer under way (``calls.line.LegHooks`` of the targets, ``calls.conversation.Borrower``)."""

    def __init__(
        self,
        house: House,
        kind: TransferType,
        home: Joint,
        transferer: Call,
        partner: Call,
        changed: Changed,
        *,
        stays: bool = False,
    ) -> None:
        """``stays``: the transferer of a blind transfer waits aside until a target is answered, and gets its partner
        back when none is."""
        self._house = house
        self._kind = kind
        self._stays = stays
        self._home = home
        self._home_open = True
        self._transferer = transferer
        self._partner = partner
        self._changed = changed
        self._inside: set[Call] = {transferer, partner}
        self._targets: dict[Call, None] = {}
        self._target: Call | None = None
        self._music = False
        self._over = False
        self._ringing: dict[Call, Ringback] = {}

    def begin(self, orders: Sequence[Order]) -> None:
        """Take the parties over and ring the targets. Never raises."""
        home, house = self._home, self._house
        home.lend(self)
        house.bridges.own(home.bridge_id, self.lost)
        house.switchboard.watchers.append(self._call_ended)
        if home.owner is not None:
            # from now on neither of the two need end with the other
            for call in (self._transferer, self._partner):
                if call.id in home.owner.chained_call_ids:
                    home.owner.chained_call_ids.remove(call.id)
            house.journal.touch(home.owner)
        if house.holds is not None:
            house.holds.release(self._partner)
        self._take_out(self._partner)
        if self._kind is TransferType.ATTENDED or self._stays:
            self._take_out(self._transferer)
        if self._kind is TransferType.ATTENDED:
            self._music = True
            house.controls.sound_soon(self._partner, "moh", True)
            self._ring(self._transferer)
        else:
            self._ring(self._partner)
        for order in orders:
            call = house.ordering.record(self._partner.customer_id, order, master=self._partner.id)
            self._targets[call] = None
            house.journal.touch(call)
            house.ordering.dial(call, order, hooks=self)
        if self._kind is TransferType.BLIND and not self._stays:
            house.switchboard.hang_up(self._transferer)

    @property
    def over(self) -> bool:
        return self._over

    def cancel(self) -> None:
        """As it was before, as far as that is possible."""
        self._settle(self._left(), TransferStatus.CANCELED, "canceled by a request")

    def complete(self) -> None:
        """The transferer leaves; the rest follows from that."""
        self._house.switchboard.hang_up(self._transferer)

    # what happens to the targets

    def call_ready(self, call: Call, leg: AriLeg) -> None:
        """A target was answered."""
        if self._over or self._target is not None:
            self._house.switchboard.answered_elsewhere(call)
            return
        self._target = call
        for other in list(self._targets):
            if other is not call:
                self._house.switchboard.answered_elsewhere(other)
        if self._kind is TransferType.BLIND or self._transferer.ending:
            self._settle([self._partner, call], TransferStatus.COMPLETED)
            self._leave()
            return
        self._hush()
        self._changed(TransferStatus.CONSULTING, "", call)
        request = self._put_in([self._transferer, call])
        request.add_done_callback(self._consulting)

    def call_ringing(self, call: Call) -> None:
        """The caller hears of it by other means."""

    def call_early(self, call: Call) -> None:
        """Targets are heard from their answer on."""

    def call_ended(self, call: Call) -> None:
        """A target has its final record."""
        self._targets.pop(call, None)
        self._inside.discard(call)
        if self._over:
            return
        if call is self._target:
            self._target = None
            self._settle(self._left(), TransferStatus.CANCELED, "the target hung up")
        elif not self._targets and self._target is None:
            detail = f"nobody answered: {call.hangup_reason}"
            self._settle(self._left(), TransferStatus.FAILED, detail)

    # what happens to the other two

    def _call_ended(self, call: Call) -> None:
        if self._over or (call is not self._transferer and call is not self._partner):
            return
        self._inside.discard(call)
        if call is self._partner:
            left = [one for one in (self._transferer, self._target) if one is not None and not one.ending]
            self._settle(left, TransferStatus.CANCELED, "the party to be transferred hung up")
        elif self._target is not None:
            self._settle([self._partner, self._target], TransferStatus.COMPLETED)
        elif self._kind is TransferType.ATTENDED:
            # the transferer did not wait for the answer: from now on it is as if the transfer were a blind one
            self._hush()
            self._ring(self._partner)

    def lost(self) -> None:
        """The bridge is gone; another one cannot be had in the middle of this."""
        self._settle([], TransferStatus.FAILED, "the bridge between the parties was lost")

    def home_closed(self) -> None:
        """The flow of the conversation's owner was stopped, or its call has ended."""
        self._home_open = False
        owner = self._home.owner
        if not self._over and owner is not None and not owner.ended and owner is not self._transferer:
            self._settle([], TransferStatus.CANCELED, "the flow of the call was stopped")

    def _consulting(self, request: asyncio.Future[Any]) -> None:
        if request.cancelled() or request.exception() is None or self._over:
            return
        self._inside.clear()
        log.warning("consultation_failed", call_id=str(self._transferer.id), error=str(request.exception()))
        # where one of the two has hung up, its event follows at once and settles it
        asyncio.get_running_loop().call_later(
            SETTLE_SECONDS,
            lambda: self._settle(
                self._left(), TransferStatus.FAILED, "the parties could not be brought together"
            ),
        )

    # the end

    def _leave(self) -> None:
        """A transferer that waited is not needed any more; its telephone hangs up, or we do."""
        if self._stays and not self._transferer.ending:
            asyncio.get_running_loop().call_later(
                LEAVE_SECONDS, self._house.switchboard.hang_up, self._transferer
            )

    def _left(self) -> list[Call]:
        """Those who talked before the transfer and are still there."""
        return [call for call in (self._transferer, self._partner) if not call.ending]

    def _settle(self, left: Sequence[Call], status: TransferStatus, detail: str = "") -> None:
        """The one exit: what becomes of those who are left."""
        if self._over:
            return
        self._over = True
        self._house.switchboard.watchers.remove(self._call_ended)
        self._hush()
        for call in list(self._targets):
            if call not in left and call.end_cause is None:
                self._house.switchboard.hang_up(call)
        self._changed(status, detail, self._target if self._target in left else None)
        owner = self._home.owner if self._home_open else None
        if len(left) == 2:
            self._join(left[0], left[1], owner)
        elif len(left) == 1 and left[0] is owner:
            self._home.finish()
        else:
            for one in (self._transferer, self._partner, self._target):
                if one is not None and not one.ending:
                    one.hangup_detail = one.hangup_detail or f"the transfer ended: {detail}"
                    self._house.switchboard.hang_up(one)
            self._tell("DELETE", f"bridges/{self._home.bridge_id}")
            self._house.bridges.forget(self._home.bridge_id)

    def _join(self, one: Call, other: Call, owner: Call | None) -> None:
        missing = [call for call in (one, other) if call not in self._inside]
        if owner is one or owner is other:
            self._home.adopt(other if owner is one else one, missing)
            self._house.journal.touch(owner)
            return
        house = self._house
        Conversation(
            house.client,
            house.switchboard,
            house.bridges,
            house.journal.live,
            self._home.bridge_id,
            self._home.key,
            (one, other),
        ).begin(missing)

    # requests

    def _ring(self, call: Call) -> None:
        line = self._house.switchboard.line(call.id)
        if line is not None:
            ringback = self._ringing[call] = Ringback(self._house.client, line.leg, key=self._home.key)
            ringback.start()

    def _hush(self) -> None:
        """End whatever we let the parties hear."""
        for ringback in self._ringing.values():
            ringback.stop()
        self._ringing.clear()
        if self._music and (self._over or self._transferer.ending) and not self._partner.ending:
            self._music = False
            self._house.controls.sound_soon(self._partner, "moh", False)

    def _take_out(self, call: Call) -> None:
        self._inside.discard(call)
        self._tell("POST", f"bridges/{self._home.bridge_id}/removeChannel", channel=call.channel_id)

    def _put_in(self, calls: Collection[Call]) -> asyncio.Future[Any]:
        self._inside.update(calls)
        return self._house.client.send(
            "POST",
            f"bridges/{self._home.bridge_id}/addChannel",
            query={"channel": ",".join(call.channel_id for call in calls)},
            key=self._home.key,
        )

    def _tell(self, method: str, uri: str, **query: str) -> None:
        self._house.client.tell(method, uri, query=query or None, key=self._home.key, ignore=_GONE)
