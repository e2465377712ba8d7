"""Bridges that several legs share: made when the first joins, destroyed when the last has left.

A leg is in one such bridge at a time and knows nothing of the others in it. It stays until somebody takes it out,
until the bridge is dissolved or lost, or until its call ends; ``Gatherings.join`` waits for that and leaves nothing
behind whichever it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import structlog

from ringline import ari
from ringline.calls.ari_leg import AriLeg
from ringline.calls.bridges import Bridges
from ringline.calls.call import Call
from ringline.calls.leg import Left, LegError, LegGone

log = structlog.get_logger(__name__)

SETTLE_SECONDS = 0.2
"""How long the event of a hang-up may trail the request that failed because of it."""
REMOVALS = 5
REMOVAL_SECONDS = 1.0
"""How often, and how far apart, a leg is taken out again where Asterisk did not answer."""
_EXISTS = 409
_NOT_IN = (400, 404, 409, 422)
"""What Asterisk answers where the bridge is gone, the channel is, or it is in another bridge or in none."""


class Member:
    """One leg in a bridge. ``over`` is set to why it has to leave."""

    __slots__ = ("gathering", "inside", "leg", "over")

    def __init__(self, leg: AriLeg, gathering: Gathering) -> None:
        self.leg = leg
        self.gathering = gathering
        self.inside = False
        self.over: asyncio.Future[Left] = asyncio.get_running_loop().create_future()

    def leave(self, left: Left) -> bool:
        """Have the leg leave; ``False`` where it is leaving already."""
        if self.over.done():
            return False
        self.over.set_result(left)
        return True


class Gathering:
    """One shared bridge. ``made`` is Asterisk's answer to the request that makes it; ``inherited``: another life of
    the controller made it; ``expected``: those whom it left in there have not all joined again."""

    __slots__ = ("expected", "inherited", "made", "members", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[UUID, Member] = {}
        self.made: asyncio.Future[Any] | None = None
        self.inherited = self.expected = False


class Gatherings:
    """All shared bridges, by their names in Asterisk, and the legs in them, by their calls."""

    def __init__(self, client: ari.Client, bridges: Bridges) -> None:
        self._client = client
        self._bridges = bridges
        self._gatherings: dict[str, Gathering] = {}
        self._members: dict[UUID, Member] = {}

    async def join(self, leg: AriLeg, name: str, joined: Callable[[], None] | None = None) -> Left:
        """Put a leg into the bridge ``name`` and return when it is out again.

        An incoming call is answered first. ``joined`` is called once it is in. Putting in a leg that is in
        Asterisk's bridge already, after a restart, is harmless. Raises ``LegGone`` when the call ends and
        ``LegError`` where the leg cannot join or the bridge is lost.
        """
        call_id = leg.call.id
        if not self._client.connected:
            raise LegError("MEDIA_SERVER_AWAY", "the media server is not connected")
        if call_id in self._members:
            raise LegError(
                "ALREADY_IN_BRIDGE", f"the call is in {self._members[call_id].gathering.name} already"
            )
        gathering = self._gathering(name)
        member = Member(leg, gathering)
        gathering.members[call_id] = self._members[call_id] = member
        try:
            if not leg.up:
                leg.answer_soon()
            await self._enter(member)
            if not member.over.done() and joined is not None:
                joined()
            left = await member.over
        finally:
            removal = self._part(member)
        await self._out(member, removal)
        if leg.gone:
            raise LegGone
        if left is Left.LOST:
            raise LegError("BRIDGE_LOST", "the bridge that the call was in was lost")
        return left

    def release(self, call_id: UUID, left: Left = Left.KICKED) -> bool:
        """Take a call out of the bridge it is in; ``False`` where it is in none."""
        member = self._members.get(call_id)
        return member is not None and member.leave(left)

    def dissolve(self, name: str, left: Left = Left.DISSOLVED) -> None:
        """Take everybody out; the bridge goes with the last."""
        gathering = self._gatherings.get(name)
        for member in list(gathering.members.values()) if gathering is not None else ():
            member.leave(left)

    def call_ended(self, call: Call) -> None:
        """The call has its final record: whoever waits for it to leave is told (``Switchboard.watchers``)."""
        self.release(call.id)

    def members(self, name: str) -> list[UUID]:
        """The calls that are in the bridge or on their way into it."""
        gathering = self._gatherings.get(name)
        return [] if gathering is None else list(gathering.members)

    def where(self, call_id: UUID) -> str:
        """The bridge that a call is in, ``""`` for none."""
        member = self._members.get(call_id)
        return "" if member is None else member.gathering.name

    def expect(self, name: str) -> None:
        """The bridge is there from another life of the controller, and those in it will join again: keep it."""
        gathering = self._gathering(name)
        gathering.inherited = gathering.expected = True

    def settle(self, name: str) -> None:
        """Nobody is expected any more: from now on the bridge goes with its last member."""
        gathering = self._gatherings.get(name)
        if gathering is not None:
            gathering.expected = False
            self._end_if_empty(gathering)

    def lost(self, name: str) -> None:
        """Asterisk does not have the bridge any more."""
        self.dissolve(name, Left.LOST)

    # steps

    def _gathering(self, name: str) -> Gathering:
        gathering = self._gatherings.get(name)
        if gathering is None:
            gathering = self._gatherings[name] = Gathering(name)
            self._bridges.own(name, lambda: self.lost(name))
        return gathering

    async def _enter(self, member: Member) -> None:
        """Wait until the leg is in the bridge, or has to leave before that."""
        gathering, leg = member.gathering, member.leg
        made = gathering.made
        if made is None or (made.done() and not _there(made)):
            made = gathering.made = self._client.send(
                "POST",
                f"bridges/{gathering.name}",
                query={"type": "mixing", "name": gathering.name.partition("-")[0]},
                key=gathering.name,
            )
        # those who join at once wait for one answer: requests of different calls may overtake each other
        await asyncio.wait({made, member.over}, return_when=asyncio.FIRST_COMPLETED)
        if member.over.done():
            return
        if not _there(made):
            raise LegError("BRIDGE_FAILED", f"the bridge could not be made: {made.exception()}")
        query = {"channel": leg.call.channel_id, "inhibitConnectedLineUpdates": "true"}
        added = self._client.send(
            "POST", f"bridges/{gathering.name}/addChannel", query=query, key=str(leg.call.id)
        )
        await asyncio.wait({added, member.over}, return_when=asyncio.FIRST_COMPLETED)
        if member.over.done():
            return
        error = added.exception()
        if error is not None:
            await self._explain(leg, error)
        member.inside = True
        self._bridges.joined(gathering.name)

    async def _explain(self, leg: AriLeg, error: BaseException) -> None:
        """Joining also fails because the caller hung up; the event that says so follows at once."""
        if not leg.leaving:
            await asyncio.sleep(SETTLE_SECONDS)
        if leg.gone or leg.leaving or leg.call.ending:
            raise LegGone
        raise LegError("BRIDGE_FAILED", f"the call could not join the others: {error}")

    def _part(self, member: Member) -> asyncio.Future[Any] | None:
        """Take the leg out of the books and ask Asterisk for the same; the one way out of a bridge."""
        leg, gathering = member.leg, member.gathering
        member.leave(Left.KICKED)
        if self._members.get(leg.call.id) is member:
            del self._members[leg.call.id]
            del gathering.members[leg.call.id]
        removal = None
        if not leg.gone:
            # what was pressed was meant for the others, not for a menu that follows
            leg.digits.clear()
            removal = self._remove(member)
        self._end_if_empty(gathering)
        return removal

    def _remove(self, member: Member) -> asyncio.Future[Any]:
        call = member.leg.call
        return self._client.send(
            "POST",
            f"bridges/{member.gathering.name}/removeChannel",
            query={"channel": call.channel_id},
            key=str(call.id),
        )

    async def _out(self, member: Member, removal: asyncio.Future[Any] | None) -> None:
        """Wait until the leg is out: who was shown the door must not go on listening."""
        for _ in range(REMOVALS):
            if removal is None or member.leg.gone:
                return
            await asyncio.wait({removal})
            error = None if removal.cancelled() else removal.exception()
            if error is None or (isinstance(error, ari.AriError) and error.status in _NOT_IN):
                return
            log.warning("member_not_removed", call_id=str(member.leg.call.id), error=str(error))
            await asyncio.sleep(REMOVAL_SECONDS)
            removal = self._remove(member)
        member.leg.hang_up()
        raise LegError("BRIDGE_STUCK", "the call could not be taken out of its bridge and was hung up")

    def _end_if_empty(self, gathering: Gathering) -> None:
        if gathering.members or gathering.expected or self._gatherings.get(gathering.name) is not gathering:
            return
        del self._gatherings[gathering.name]
        if gathering.made is not None or gathering.inherited:
            # the same key as the request that made it, and one that may make it again: in this order
            self._client.tell("DELETE", f"bridges/{gathering.name}", key=gathering.name, ignore=_NOT_IN)
        self._bridges.forget(gathering.name)


def _there(made: asyncio.Future[Any]) -> bool:
    """Whether the bridge is there: made now, or found as another life of the controller left it."""
    if made.cancelled():
        return False
    error = made.exception()
    return error is None or (isinstance(error, ari.AriError) and error.status == _EXISTS)
