"""A telephone that talks with two parties, in two calls of its own, joins the two and leaves (RFC 3891, REFER with
``Replaces``).

Each of the parties may run a flow of its own that waits for the end of its conversation, or none: a leg that somebody
called. Where one of them has a flow its connection goes on with the other party; where none has, the two become a
conversation that ends with either of them; where both have, a ``Pair`` tells each flow when the other party has gone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from ringline.calls.call import Call
from ringline.calls.conversation import Conversation, Joint
from ringline.calls.transfer import LEAVE_SECONDS, House

log = structlog.get_logger(__name__)

_GONE = (404, 409, 422)


@dataclass(frozen=True, slots=True)
class Side:
    """One call of the telephone: the conversation, its own call in it, and the party it talks with."""

    home: Joint
    own: Call
    party: Call

    @property
    def has_flow(self) -> bool:
        """Whether the party's flow waits for the end of the conversation."""
        return self.home.owner is self.party


def join(house: House, first: Side, second: Side) -> None:
    """Bring the parties of both together and let the telephone go. Nothing is waited for; never raises."""
    # the bridge that stays is the one of a party with a flow: its connection goes on
    stays, goes = (second, first) if second.has_flow and not first.has_flow else (first, second)
    for side in (stays, goes):
        _let_go(house, side)
        # all on one socket: Asterisk hears of it in this order
        for call in (side.own, side.party) if side is goes else (side.own,):
            uri = f"bridges/{side.home.bridge_id}/removeChannel"
            query = {"channel": call.channel_id}
            house.client.tell("POST", uri, query=query, key=stays.home.key, ignore=_GONE)
    if stays.has_flow and goes.has_flow:
        Pair(house, stays, goes).begin()
    else:
        goes.home.lend(_Lent())
        if stays.has_flow:
            stays.home.lend(_Lent())
            stays.home.adopt(goes.party, [goes.party])
            house.journal.touch(stays.party)
        else:
            stays.home.lend(_Lent())
            Conversation(
                house.client,
                house.switchboard,
                house.bridges,
                house.journal.live,
                stays.home.bridge_id,
                stays.home.key,
                (stays.party, goes.party),
            ).begin([goes.party])
        house.client.tell("DELETE", f"bridges/{goes.home.bridge_id}", key=stays.home.key, ignore=_GONE)
        house.bridges.forget(goes.home.bridge_id)
    for side in (first, second):
        # told of the success the telephone hangs up by itself
        asyncio.get_running_loop().call_later(LEAVE_SECONDS, house.switchboard.hang_up, side.own)


def _let_go(house: House, side: Side) -> None:
    """From now on neither of the two need end with the other, and none waits on hold for the other."""
    if house.holds is not None:
        house.holds.release(side.party)
    owner = side.home.owner
    if owner is not None:
        for call in (side.own, side.party):
            if call.id in owner.chained_call_ids:
                owner.chained_call_ids.remove(call.id)
        house.journal.touch(owner)


class _Lent:
    """Has a conversation that nobody gives back: its telephone leaves (``calls.conversation.Borrower``)."""

    def lost(self) -> None:
        """Whoever goes on in the bridge hears of it."""

    def home_closed(self) -> None:
        """The telephone has hung up, or its flow was stopped: what it left is in use, or gone already."""


class _Half:
    """One side of a pair, as borrower of its conversation."""

    def __init__(self, side: Side, pair: Pair) -> None:
        self.side = side
        self.open = True
        self._pair = pair

    def lost(self) -> None:
        self._pair.end()

    def home_closed(self) -> None:
        """The party's flow was stopped: nobody is left to give the conversation back to."""
        self.open = False
        self._pair.end()


class Pair:
    """Two parties whose flows both wait: each flow goes on when the other party has gone."""

    def __init__(self, house: House, stays: Side, goes: Side) -> None:
        self._house = house
        self._halves = (_Half(stays, self), _Half(goes, self))
        self._bridge_id = stays.home.bridge_id
        self._key = stays.home.key
        self._over = False

    def begin(self) -> None:
        """Bring them together in the bridge of the first."""
        house = self._house
        for half in self._halves:
            half.side.home.lend(half)
        house.switchboard.watchers.append(self._call_ended)
        house.bridges.own(self._bridge_id, self.end)
        request = house.client.send(
            "POST",
            f"bridges/{self._bridge_id}/addChannel",
            query={"channel": self._halves[1].side.party.channel_id},
            key=self._key,
        )
        request.add_done_callback(self._added)

    def _added(self, request: asyncio.Future[object]) -> None:
        if request.cancelled() or self._over:
            return
        if request.exception() is None:
            self._house.bridges.joined(self._bridge_id)
            return
        log.warning("joining_failed", bridge_id=self._bridge_id, error=str(request.exception()))
        self.end()

    def _call_ended(self, call: Call) -> None:
        if any(call is half.side.party for half in self._halves):
            self.end()

    def end(self) -> None:
        """The one exit: whoever is left goes on with its flow."""
        if self._over:
            return
        self._over = True
        house = self._house
        house.switchboard.watchers.remove(self._call_ended)
        for half in self._halves:
            home = half.side.home
            uri = f"bridges/{self._bridge_id}/removeChannel"
            query = {"channel": half.side.party.channel_id}
            house.client.tell("POST", uri, query=query, key=home.key, ignore=_GONE)
            if half.open:
                # a party that hung up stops its flow by itself; its connection removes the bridge either way
                home.finish()
            else:
                house.client.tell("DELETE", f"bridges/{home.bridge_id}", key=home.key, ignore=_GONE)
                house.bridges.forget(home.bridge_id)
