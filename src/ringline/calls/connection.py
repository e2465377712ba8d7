"""One call connected with others: all of them ring, the first to answer is bridged with the caller.

A connection is run by the caller's flow and lives exactly as long as that waits. Whatever ends the wait (the end of
the conversation, nobody who answers, a caller who hangs up, a failure, a controller that stops), ``_close`` runs,
without waiting for anything: the one place where legs that are left are ended and where the bridge is destroyed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from ringline import ari
from ringline.calls import metrics
from ringline.calls.ari_leg import AriLeg
from ringline.calls.bridges import Bridges, bridge_name
from ringline.calls.call import Call
from ringline.calls.caller import Anonymity
from ringline.calls.conversation import Borrower, Conversation, Joint
from ringline.calls.journal import Journal
from ringline.calls.leg import Connected, LegError, LegGone, Notes, Wanted
from ringline.calls.line import LegHooks, Start
from ringline.calls.ordering import Order, Ordering, Party, check_size
from ringline.calls.ringback import Ringback
from ringline.calls.states import HangupReason
from ringline.calls.switchboard import Switchboard
from ringline.sip.cause import Cause, relayed

log = structlog.get_logger(__name__)

MAX_CHAINED = 1000
"""Legs that one call may have in its life: a loop around ``connect`` ends here."""
SETTLE_SECONDS = 0.2
"""How long the event of a hang-up may trail the request that failed because of it."""
NOTE = "connection"
"""Under this name an action's notes have what another controller needs to go on."""
_GONE = (404, 409, 422)
"""What Asterisk answers where the bridge or the channel's place in it is gone already."""


class Comfort(Protocol):
    """What the caller hears until somebody answers (``calls.ringback``)."""

    def start(self) -> None: ...

    def stop(self) -> None:
        """Silence, in requests sent before this returns: the caller goes into a bridge next."""

    def open_early(self) -> None: ...


class Group(Protocol):
    """Somebody's phones that ring as one destination (``groupcalls.ring.Ring``)."""

    @property
    def id(self) -> UUID: ...

    def begin(self) -> None:
        """Ring."""

    def withdraw(self, keep: Call | None = None) -> None:
        """Stop ringing, for somebody was answered: ``keep``, where it is one of these phones."""

    def hang_up(self) -> bool:
        """End everything."""


class GroupHooks(LegHooks, Protocol):
    """Who hears of the legs of groups, and of their ends."""

    def group_over(self, group_id: UUID) -> None:
        """Nobody rings there any more, and nobody talks."""


class Groups(Protocol):
    """Who rings destinations that several phones stand for (``groupcalls.rings.Rings``)."""

    def for_call(
        self, caller: Call, party: Party, hooks: GroupHooks, *, early_media: bool, anonymous: Anonymity
    ) -> Group:
        """A group whose legs end with ``caller``; nothing rings before ``begin``."""

    def take(self, group_id: UUID, hooks: GroupHooks) -> Group | None:
        """Go on with a group of a former controller; ``None`` where it is over."""


class Connections:
    """Every connection there is (``calls.switchboard.Connector``)."""

    def __init__(
        self,
        client: ari.Client,
        switchboard: Switchboard,
        journal: Journal,
        ordering: Ordering,
        bridges: Bridges,
    ) -> None:
        self._client = client
        self._switchboard = switchboard
        self._journal = journal
        self._ordering = ordering
        self._bridges = bridges
        self._of_caller: WeakValueDictionary[UUID, Connection] = WeakValueDictionary()
        self.groups: Groups

    def conversation(self, call: Call) -> Joint | None:
        """The conversation that a call is in: its own flow's, or that of whoever called it."""
        line = self._switchboard.line(call.id)
        if line is None:
            return None
        # a phone of a group: who hears of it in the end is the group's connection
        hooks = getattr(line.hooks, "outer", line.hooks)
        joint = hooks if isinstance(hooks, Connection | Conversation) else self._of_caller.get(call.id)
        return None if joint is None or joint.partner(call) is None else joint

    async def connect(self, leg: AriLeg, wanted: Wanted, notes: Notes | None = None) -> Connected:
        """Ring the destinations and wait until the conversation is over, or nobody is left who could answer.

        Where ``notes`` tell of a connection of another controller's, that one goes on.
        """
        connection = self.open(leg, early_media=wanted.early_media, notes=notes)
        if connection.under_way:
            return await connection.resume()
        if not self._client.connected:
            raise LegError("MEDIA_SERVER_AWAY", "the media server is not connected")
        if len(leg.call.chained_call_ids) + len(wanted.destinations) > MAX_CHAINED:
            raise LegError("TOO_MANY_CALLS", f"a call can have {MAX_CHAINED} legs at most")
        plans = self._ordering.plans_from(leg.call, wanted.source, wanted.destinations, wanted.anonymous)
        check_size(plans)
        return await connection.run(
            [
                self.place(leg.call, plan, connection)
                if isinstance(plan, Order)
                else self.place_group(leg.call, plan, connection, wanted.anonymous)
                for plan in plans
            ]
        )

    def open(
        self,
        leg: AriLeg,
        *,
        early_media: bool = False,
        comfort: Comfort | None = None,
        notes: Notes | None = None,
    ) -> Connection:
        """A connection to be run, or resumed where ``notes`` say that it is ``under_way``.

        ``comfort`` is heard in place of our ringback.
        """
        connection = Connection(
            self._client,
            self._switchboard,
            leg,
            self._bridges,
            early_media=early_media,
            comfort=comfort,
            notes=notes,
            groups=getattr(self, "groups", None),
        )
        self._of_caller[leg.call.id] = connection
        return connection

    def place(self, caller: Call, order: Order, connection: Connection) -> Callable[[], Call]:
        """What places one leg of a connection."""

        def place() -> Call:
            call = self._ordering.record(caller.customer_id, order, master=caller.id)
            caller.chained_call_ids.append(call.id)
            self._journal.touch(call)
            self._journal.touch(caller)
            start = Start.WITH_MEDIA if connection.early_media else Start.ON_ANSWER
            self._ordering.dial(call, order, hooks=connection, start=start)
            return call

        return place

    def place_group(
        self, caller: Call, party: Party, connection: Connection, anonymous: Anonymity
    ) -> Callable[[], Group]:
        """What makes one group of phones ring for a connection."""

        def place() -> Group:
            return self.groups.for_call(
                caller, party, connection, early_media=connection.early_media, anonymous=anonymous
            )

        return place


class Connection:
    """A caller, the legs that ring, and in the end two parties in a bridge (``calls.line.LegHooks``).

    What the switchboard tells of the legs is acted on at once, inside the event: an answer has its bridge before
    any task is woken. ``run`` only waits for what the events decide.
    """

    def __init__(
        self,
        client: ari.Client,
        switchboard: Switchboard,
        caller: AriLeg,
        bridges: Bridges,
        *,
        early_media: bool,
        comfort: Comfort | None = None,
        notes: Notes | None = None,
        groups: Groups | None = None,
    ) -> None:
        self._notes = notes
        self._former_groups = groups
        known = notes.get(NOTE) if notes is not None and notes.resumed else None
        self._known: dict[str, Any] | None = known
        self.bridge_id = bridge_name("connect") if known is None else str(known["bridge"])
        self.early_media = early_media
        self._client = client
        self._switchboard = switchboard
        self._caller = caller
        self._key = str(caller.call.id)
        self._bridges = bridges
        self._ringback: Comfort = comfort or Ringback(client, caller)
        self._relays_ringing = early_media and comfort is None and not caller.up
        """Whether a caller who was not answered yet is told of the far side's ringing when it rings, not before."""
        self._first: Call | None = None
        self._legs: dict[Call, None] = {}
        self._groups: dict[UUID, Group] = {}
        self._early: Call | None = None
        self._winner: Call | None = None
        self._was_answered = False
        self._refused: list[Any] | None = None
        self._bridge_made = False
        self._closed = False
        self._rung = False
        self._answered_at = 0.0
        self._borrower: Borrower | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def under_way(self) -> bool:
        """Whether another controller brought it about: it is to be resumed, not run."""
        return self._known is not None

    async def run(self, place: Sequence[Callable[[], Call | Group]]) -> Connected:
        """Place the legs and return when nothing is left to wait for. Raises ``LegGone`` and ``LegError``."""
        self._bridges.own(self.bridge_id, self.lost)
        try:
            if not self._relays_ringing:
                self._ringback.start()
            for one in place:
                made = one()
                if isinstance(made, Call):
                    self._first = self._first or made
                    self._legs[made] = None
                else:
                    self._groups[made.id] = made
                    made.begin()
            self._note()
            return await self._outcome()
        finally:
            self._close()

    async def resume(self) -> Connected:
        """Go on with the legs and the bridge of another controller. Raises as ``run``."""
        known = self._known or {}
        if "over" in known:
            answered, reason, cause = known["over"]
            return Connected(bool(answered), HangupReason(reason), int(cause))
        self._bridges.own(self.bridge_id, self.lost)
        try:
            self._take_over(known)
            return await self._outcome()
        finally:
            self._close()

    async def _outcome(self) -> Connected:
        try:
            await self._over
        except LegError:
            if not await self._somebody_left():
                raise
        if self._caller.gone:
            raise LegGone
        result = self._result()
        if self._notes is not None:
            over = [result.answered, result.reason.value, result.cause]
            self._notes.keep(**{NOTE: {"bridge": self.bridge_id, "over": over}})
        return result

    @property
    def winner(self) -> Call | None:
        """The leg that was answered."""
        return self._winner

    def lost(self) -> None:
        """The bridge is gone: end the conversation; the caller's flow goes on."""
        self._fail("BRIDGE_LOST", "the bridge between the parties was lost")

    # what the switchboard tells of the legs

    def call_ready(self, call: Call, leg: AriLeg) -> None:
        """A leg was answered."""
        if call is self._winner:
            return
        if self._closed or self._winner is not None or self._caller.gone or self._caller.call.ending:
            self._switchboard.answered_elsewhere(call)
            return
        self._winner = call
        self._note()
        self._answered_at = time.perf_counter()
        self._join(call)
        for other in list(self._legs):
            if other is not call:
                self._switchboard.answered_elsewhere(other)
        for group in list(self._groups.values()):
            group.withdraw(keep=call)

    def call_ringing(self, call: Call) -> None:
        """A leg rings: a caller that is to hear what the far side does hears it from now on (SIP 180)."""
        if not self._relays_ringing or self._rung or self._closed:
            return
        if self._winner is None and self._early is None and not self._caller.call.ending:
            self._rung = True
            self._ringback.start()

    def call_early(self, call: Call) -> None:
        """A leg is heard before its answer: the first such leg takes the place of our ringback."""
        if self._closed or self._winner is not None or self._early is not None or self._caller.call.ending:
            return
        self._early = call
        self._note()
        self._ringback.stop()
        self._ringback.open_early()
        self._add(call).add_done_callback(lambda done: self._early_failed(call, done))

    def call_ended(self, call: Call) -> None:
        """A leg has its final record."""
        self._legs.pop(call, None)
        if self._closed or self._borrower is not None:
            return
        self._first = self._first or call
        self._note()
        if call is self._winner or self._nobody_left:
            self._settle()
        elif call is self._early and self._winner is None:
            self._leave_early()

    # being lent to a transfer (``calls.conversation.Joint``)

    @property
    def key(self) -> str:
        return self._key

    @property
    def owner(self) -> Call:
        return self._caller.call

    def partner(self, call: Call) -> Call | None:
        """The other party of a conversation that is under way."""
        caller, winner = self._caller.call, self._winner
        if self._closed or self._borrower is not None or winner is None or winner.ending or caller.ending:
            return None
        if call is caller:
            return winner
        return caller if call is winner else None

    def lend(self, borrower: Borrower) -> None:
        """Leave bridge and winner to somebody, until ``adopt`` or ``finish``."""
        self._borrower = borrower
        self._bridges.parted(self.bridge_id)
        if self._winner is not None:
            self._legs.pop(self._winner, None)
        # all others were withdrawn: no group has anything more to do with it
        self._groups.clear()

    def adopt(self, call: Call, missing: Collection[Call]) -> None:
        """The caller talks with this leg from now on; ``missing`` are to be put into the bridge."""
        self._borrower = None
        self._bridges.own(self.bridge_id, self.lost)
        self._winner = call
        self._legs[call] = None
        self._note()
        if call.id not in self._caller.call.chained_call_ids:
            self._caller.call.chained_call_ids.append(call.id)
        line = self._switchboard.line(call.id)
        if line is None:
            self._settle()
            return
        line.hooks = self
        if not missing:
            self._bridges.joined(self.bridge_id)
            return
        self._answered_at = time.perf_counter()
        channels = ",".join(one.channel_id for one in missing)
        request = self._send("POST", f"bridges/{self.bridge_id}/addChannel", query={"channel": channels})
        request.add_done_callback(self._added)

    def finish(self) -> None:
        """Nobody is left whom the caller could talk with: its flow goes on."""
        self._borrower = None
        self._bridges.own(self.bridge_id, self.lost)
        self._settle()

    def group_over(self, group_id: UUID) -> None:
        """The phones of one destination have all ended."""
        known = self._groups.pop(group_id, None)
        if known is None or self._closed:
            return
        self._note()
        if self._nobody_left:
            self._settle()

    @property
    def _nobody_left(self) -> bool:
        return self._winner is None and not self._legs and not self._groups

    # another controller

    def _note(self) -> None:
        """Note what there is, for a controller after this one."""
        if self._notes is None:
            return
        first = self._first
        winner = [] if self._winner is None else [self._winner]
        self._notes.keep(
            **{
                NOTE: {
                    "bridge": self.bridge_id,
                    "made": self._bridge_made or self._early is not None or self._winner is not None,
                    "legs": [str(call.id) for call in dict.fromkeys([*self._legs, *winner])],
                    "groups": [str(group_id) for group_id in self._groups],
                    "first": None if first is None else str(first.id),
                    "refused": [first.hangup_reason.value, _told(first)] if first and first.ended else None,
                    "early": None if self._early is None else str(self._early.id),
                    "winner": None if self._winner is None else str(self._winner.id),
                }
            }
        )

    def _take_over(self, known: dict[str, Any]) -> None:
        """Claim the legs; act on what became of them while nobody listened."""
        self._bridge_made = bool(known["made"])
        self._refused = known["refused"]
        legs = {text: self._switchboard.claim(UUID(text), self) for text in known["legs"]}
        for text, line in legs.items():
            call = self._switchboard.past(UUID(text)) if line is None else line.call
            if line is not None:
                self._legs[line.call] = None
            if text == known["first"]:
                self._first = call
            if text == known["winner"]:
                self._winner = call
            elif text == known["early"] and line is not None:
                self._early = line.call
        self._take_groups(known)
        answered = next((line for line in legs.values() if line and line.call.tm_progressing), None)
        if known["winner"] is not None:
            self._was_answered = True
            if self._winner is None or self._winner.ended:
                self._settle()
            else:
                self._see_to_bridge(self._winner)
        elif answered is not None:
            self.call_ready(answered.call, answered.leg)
        elif self._winner is None and self._nobody_left:
            self._settle()
        elif self._winner is None and self._early is None:
            self._ringback.start()

    def _take_groups(self, known: dict[str, Any]) -> None:
        """Phones that ring for one destination are their group's to claim."""
        if self._winner is None and (text := known["winner"]) is not None:
            self._winner = self._switchboard.live(UUID(text)) or self._switchboard.past(UUID(text))
        if self._early is None and (text := known["early"]) is not None:
            self._early = self._switchboard.live(UUID(text))
        for text in known.get("groups", ()):
            group = None if self._former_groups is None else self._former_groups.take(UUID(text), self)
            if group is not None:
                self._groups[group.id] = group

    def _see_to_bridge(self, call: Call) -> None:
        """Both are in the bridge, unless the controller died before it had asked for that."""

        def seen(request: asyncio.Future[Any]) -> None:
            if request.cancelled() or self._closed:
                return
            error = request.exception()
            inside = set() if error is not None else set(request.result()["channels"])
            if {call.channel_id, self._caller.call.channel_id} <= inside:
                self._bridges.joined(self.bridge_id)
                return
            self._bridge_made = not isinstance(error, ari.NotFound)
            self._early = None
            self._join(call)

        self._client.send("GET", f"bridges/{self.bridge_id}", key=self._key).add_done_callback(seen)

    # steps

    def _join(self, call: Call) -> None:
        self._ringback.stop()
        if not self._caller.up:
            self._caller.answer_soon()
        if call is self._early:
            self._bridges.joined(self.bridge_id)
            return
        self._add(call).add_done_callback(self._added)

    def _add(self, call: Call) -> asyncio.Future[Any]:
        """Ask for caller and leg to be in the bridge, and for the bridge before that where there is none yet."""
        if not self._bridge_made:
            self._bridge_made = True
            self._send("POST", f"bridges/{self.bridge_id}", query={"type": "mixing", "name": "connect"})
        channels = f"{self._caller.call.channel_id},{call.channel_id}"
        return self._send("POST", f"bridges/{self.bridge_id}/addChannel", query={"channel": channels})

    def _added(self, request: asyncio.Future[Any]) -> None:
        if request.cancelled() or self._closed:
            return
        error = request.exception()
        if error is None:
            self._bridges.joined(self.bridge_id)
            metrics.connection_seconds.observe(time.perf_counter() - self._answered_at)
            return
        self._fail("BRIDGE_FAILED", f"the parties could not be brought together: {error}")

    def _early_failed(self, call: Call, request: asyncio.Future[Any]) -> None:
        """No early media then: ring as if there were none. An answer that came meanwhile is tried again."""
        if request.cancelled() or request.exception() is None or self._closed or self._early is not call:
            return
        log.info("early_media_failed", call_id=self._key, error=str(request.exception()))
        self._early = None
        self._bridges.parted(self.bridge_id)
        if self._winner is call:
            self._add(call).add_done_callback(self._added)
        elif self._winner is None:
            self._ringback.start()

    def _leave_early(self) -> None:
        """The leg that was heard early is gone and others still ring."""
        self._early = None
        self._tell("POST", f"bridges/{self.bridge_id}/removeChannel", channel=self._caller.call.channel_id)
        self._ringback.start()

    def _settle(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def _fail(self, reason: str, message: str) -> None:
        if not self._over.done():
            self._over.set_exception(LegError(reason, message))
            # where the flow was cancelled meanwhile, nobody asks
            self._over.exception()

    async def _somebody_left(self) -> bool:
        """Whether a bridge failed because one of the two hung up; the events that say so follow at once."""
        if not self._caller.leaving:
            await asyncio.sleep(SETTLE_SECONDS)
        if self._caller.leaving or self._caller.call.ending:
            raise LegGone
        return self._winner is not None and self._winner.ended

    def _result(self) -> Connected:
        if self._winner is not None:
            return Connected(True, self._winner.hangup_reason, self._winner.hangup_cause)
        if self._was_answered:
            return Connected(True, HangupReason.NORMAL, int(Cause.NORMAL_CLEARING))
        if self._first is None and self._refused is not None:
            return Connected(False, HangupReason(self._refused[0]), int(self._refused[1]))
        if self._first is None:
            return Connected(False, HangupReason.FAILED, int(Cause.UNKNOWN))
        return Connected(False, self._first.hangup_reason, _told(self._first))

    def _close(self) -> None:
        self._closed = True
        self._ringback.stop()
        for call in list(self._legs):
            # those that are being withdrawn keep the reason that they have
            if call.end_cause is None:
                self._switchboard.hang_up(call)
        if self._borrower is not None:
            self._borrower.home_closed()
            return
        for group in list(self._groups.values()):
            group.hang_up()
        if self._bridge_made:
            if not self._caller.gone:
                # what was pressed was meant for the other party, not for a menu that follows
                self._caller.digits.clear()
                channel = self._caller.call.channel_id
                self._tell("POST", f"bridges/{self.bridge_id}/removeChannel", channel=channel)
            self._tell("DELETE", f"bridges/{self.bridge_id}")
        self._bridges.forget(self.bridge_id)

    def _send(self, method: str, uri: str, *, query: dict[str, Any]) -> asyncio.Future[Any]:
        return self._client.send(method, uri, query=query, key=self._key)

    def _tell(self, method: str, uri: str, **query: str) -> None:
        self._client.tell(method, uri, query=query or None, key=self._key, ignore=_GONE)


def _told(refused: Call) -> int:
    """The cause that the caller is told where nobody answers."""
    return relayed(refused.hangup_cause, refused.hangup_sip_code)
