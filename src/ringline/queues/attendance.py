"""One caller in a queue, from joining to leaving.

While the caller waits two things go on beside each other: the wait flow on the caller's leg, and the ringing of one
agent after another. Each agent is a connection of its own (``calls.connection``) whose comfort is the wait flow.
Whatever ends the attendance (an agent or the caller hangs up, a timeout, a kick, the wait flow that jumps out of the
queue, a flow that is stopped), ``_leave`` runs: the one place that makes the final record and ends what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import structlog

from ringline.calls.ari_leg import AriLeg
from ringline.calls.connection import MAX_CHAINED, NOTE, Comfort, Connection, Connections
from ringline.calls.leg import LegError, LegGone
from ringline.calls.leg import Notes as KeptNotes
from ringline.calls.ordering import Order, Ordering
from ringline.calls.states import Direction
from ringline.calls.switchboard import Switchboard
from ringline.clock import Clock
from ringline.customers import Agent, Engagement, Presence
from ringline.errors import RinglineError
from ringline.queues.queuecall import ZERO, Queuecall
from ringline.queues.states import EndReason, Status
from ringline.sip.address import Address

log = structlog.get_logger(__name__)

RING_SECONDS = 20.0
"""How long an agent (with ``linear``: each of its addresses) is rung."""
REST_SECONDS = 15.0
"""How long an agent who did not answer is left alone."""
WRAP_UP_SECONDS = 1.0
"""How long an agent is left alone after a conversation: its telephone is to be back on the hook."""
_TURN = "turn"


@dataclass(frozen=True, slots=True)
class Left:
    """How an attendance ended; ``result`` is what the wait flow wants done instead of waiting on."""

    reason: EndReason
    result: Any = None


@dataclass(frozen=True, slots=True)
class Floor:
    """What attendances work with. ``changed`` hears of every change of a record."""

    connections: Connections
    ordering: Ordering
    switchboard: Switchboard
    presence: Presence
    clock: Clock
    ringback: Callable[[AriLeg], Comfort]
    agent: Callable[[UUID], Agent | None]
    changed: Callable[[Queuecall], None]
    enter: Callable[[Attendance], None]
    leave: Callable[[Attendance], None]
    wake: Callable[[], None]


class Notes(Protocol):
    """Who is told of an attendance on behalf of its flow. ``progress`` keeps what a restart needs."""

    @property
    def progress(self) -> KeptNotes: ...

    def placed(self, place: int) -> None:
        """The caller's place in the line, from 1; 0 for one who does not wait."""

    def changed(self, record: Queuecall) -> None: ...


class Attendance:
    """A caller who waits, and then talks with an agent (``queues.dispatcher.Caller``)."""

    def __init__(self, record: Queuecall, leg: AriLeg, floor: Floor, notes: Notes) -> None:
        self.record = record
        self.leg = leg
        self.notes = notes
        self.left = asyncio.Event()
        self._resumed = False
        self._agent_id = record.service_agent_id
        self._floor = floor
        self._ringback = floor.ringback(leg)
        self._over: asyncio.Future[Left] = asyncio.get_running_loop().create_future()
        self._waiting: asyncio.Task[None] | None = None
        self._offer: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, listen: Callable[[], Awaitable[Any]]) -> Left:
        """Wait, talk, and return how it ended. ``listen`` runs the wait flow until it is cancelled.

        Where ``listen`` returns a result, the caller leaves the queue and it is handed back; where it returns
        ``None``, there is nothing (more) to hear but ringing. Raises ``LegGone``.
        """
        try:
            self._advance(Status.WAITING)
            if self.record.status is Status.SERVICE:
                self._arm(self.record.timeout_service, EndReason.SERVICE_TIMEOUT)
            else:
                self._arm(self.record.timeout_wait, EndReason.WAIT_TIMEOUT)
                self._waiting = asyncio.create_task(self._listen(listen), name=f"queue-wait-{self.record.id}")
            self._floor.enter(self)
            if self.record.status is not Status.WAITING:
                self._go_on()
            return await self._over
        finally:
            await self._leave()

    def finish(self, reason: EndReason, result: Any = None) -> None:
        """End the attendance; the caller's flow goes on. Idempotent."""
        if not self._over.done():
            self._over.set_result(Left(reason, result))

    # what the dispatcher asks

    def ring(self, agent: Agent) -> None:
        if self._over.done() or not self._advance(Status.CONNECTING, agent_id=agent.id):
            self._floor.presence.release(agent.id, self.record.id)
            return
        self._agent_id = agent.id
        self._offer = asyncio.create_task(self._ring(agent), name=f"queue-ring-{self.record.id}")

    def queue_gone(self) -> None:
        self.finish(EndReason.QUEUE_DELETED)

    # steps

    def _go_on(self) -> None:
        """Another life of the controller left an agent who rings or talks: the caller keeps that one."""
        self._resumed = True
        agent_id = self._agent_id
        busy = self.record.status is Status.SERVICE
        self._floor.presence.engage(agent_id, self.record.id, Engagement.BUSY if busy else Engagement.RINGING)
        # one who was deleted since is not rung anywhere else
        agent = self._floor.agent(agent_id) or Agent(agent_id, self.record.customer_id, "", 0)
        self._offer = asyncio.create_task(self._ring(agent), name=f"queue-ring-{self.record.id}")

    async def _listen(self, listen: Callable[[], Awaitable[Any]]) -> None:
        try:
            result = await listen()
            if result is not None:
                self.finish(EndReason.LEFT, result)
            elif self.record.tm_service is None:
                self._ringback.start()
        except LegGone as gone:
            if not self._over.done():
                self._over.set_exception(gone)
                self._over.exception()
        except Exception:
            # whoever waits in silence still waits
            log.exception("wait_flow_crashed", queuecall_id=str(self.record.id))

    async def _ring(self, agent: Agent) -> None:
        """Ring one agent and, where it answers, stay until the conversation is over."""
        answered, rest = False, 0.0
        try:
            answered = await self._take_turns(agent)
            rest = WRAP_UP_SECONDS if answered else REST_SECONDS
        except asyncio.CancelledError:
            rest = WRAP_UP_SECONDS if self.record.tm_service else 0.0
            raise
        except LegGone:
            # the caller's flow is told by others
            return
        except (LegError, RinglineError) as error:
            log.warning(
                "agent_not_connected",
                queuecall_id=str(self.record.id),
                agent_id=str(agent.id),
                reason=error.reason,
                why=error.message,
            )
            answered, rest = self._broken(), REST_SECONDS
        except Exception:
            log.exception("agent_ring_crashed", queuecall_id=str(self.record.id), agent_id=str(agent.id))
            answered, rest = self._broken(), REST_SECONDS
        finally:
            if rest:
                self._floor.presence.rest(agent.id, rest)
            self._floor.presence.release(agent.id, self.record.id)
        if answered:
            self.finish(EndReason.AGENT_HANGUP)
            return
        log.info("agent_did_not_answer", queuecall_id=str(self.record.id), agent_id=str(agent.id))
        self._advance(Status.WAITING)
        self._floor.wake()

    def _broken(self) -> bool:
        """Whether a fault ended a conversation: the caller's flow goes on then."""
        served = self.record.status is Status.SERVICE
        if served:
            self.finish(EndReason.FAILED)
        return served

    async def _take_turns(self, agent: Agent) -> bool:
        """Ring what is to ring at once, one after another, until somebody answers."""
        turns = _turns(agent)
        first, resumed = 0, self._resumed
        self._resumed = False
        if resumed:
            first = int(self.notes.progress.get(_TURN, 0))
            if await self._try(agent, (), resumed=True):
                return True
            first += 1
        for turn in range(first, len(turns)):
            self.notes.progress.keep(**{_TURN: turn, NOTE: None})
            if await self._try(agent, turns[turn]):
                return True
        return False

    async def _try(self, agent: Agent, addresses: Iterable[Address], *, resumed: bool = False) -> bool:
        """Ring addresses at once. Whether one was answered, once the conversation is over.

        ``resumed``: go on with what another life of the controller rang.
        """
        if len(self.leg.call.chained_call_ids) >= MAX_CHAINED:
            raise LegError("TOO_MANY_CALLS", f"a call can have {MAX_CHAINED} legs at most")
        comfort = _WaitFlow(lambda: self._answered(agent, connection))
        connection = self._floor.connections.open(self.leg, comfort=comfort, notes=self.notes.progress)
        comfort.connection = connection
        loop = asyncio.get_running_loop()
        if resumed and not connection.under_way:
            return False
        steps = [
            self._floor.connections.place(self.leg.call, order, connection)
            for order in self._orders(addresses)
        ]
        if not steps and not resumed:
            return False
        timer = loop.call_later(RING_SECONDS, self._give_up, connection)
        try:
            ended = await (connection.resume() if resumed else connection.run(steps))
            return ended.answered
        finally:
            timer.cancel()

    def _orders(self, addresses: Iterable[Address]) -> list[Order]:
        """Legs to the agent: the telephone network sees a number of ours, other telephones see who calls."""
        call = self.leg.call
        incoming = call.direction is Direction.INCOMING
        own, caller = (call.destination, call.source) if incoming else (call.source, call.destination)
        orders: list[Order] = []
        faults: list[RinglineError] = []
        for address in addresses:
            shown = own if address.type == "tel" else caller
            try:
                orders += self._floor.ordering.orders_from(call, shown, [address], "auto")
            except RinglineError as error:
                faults.append(error)
        if not orders and faults:
            raise faults[0]
        return orders

    def _give_up(self, connection: Connection) -> None:
        """Nobody answered in time: end the legs, and with them the try."""
        if connection.winner is not None or self.record.status is Status.SERVICE:
            return
        for text in (self.notes.progress.get(NOTE) or {}).get("legs", ()):
            call = self._floor.switchboard.live(UUID(text))
            if call is not None:
                self._floor.switchboard.hang_up(call)

    def _answered(self, agent: Agent, connection: Connection) -> None:
        """An agent is there, the bridge follows: the wait flow ends in this very moment."""
        winner = connection.winner
        if winner is None or self._over.done():
            return
        if not self._advance(Status.SERVICE, agent_id=agent.id, call_id=winner.id):
            return
        self._floor.presence.engage(agent.id, self.record.id, Engagement.BUSY)
        self._silence()
        self._arm(self.record.timeout_service, EndReason.SERVICE_TIMEOUT)

    def _silence(self) -> None:
        """End the wait flow and what it plays. What is asked of the channel next is not kept waiting."""
        self._ringback.stop()
        # a task that is cancelled forgets what it played
        self.leg.hush()
        if self._waiting is not None:
            self._waiting.cancel()

    def _arm(self, milliseconds: int, reason: EndReason) -> None:
        """End the attendance after a time that counts from the present state's beginning; 0: never."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if milliseconds == 0:
            return
        began = self.record.tm_service or self.record.tm_create
        passed = (self._floor.clock.now() - began).total_seconds()
        left = max(0.0, milliseconds / 1000 - passed)
        self._timer = asyncio.get_running_loop().call_later(left, self.finish, reason)

    def _advance(self, status: Status, *, agent_id: UUID | None = None, call_id: UUID | None = None) -> bool:
        if not self.record.advance(status, self._floor.clock.now()):
            return False
        self.record.service_agent_id = agent_id or ZERO
        self.record.service_call_id = call_id or ZERO
        self._tell()
        return True

    def _tell(self) -> None:
        self._floor.changed(self.record)
        self.notes.changed(self.record)

    async def _leave(self) -> None:
        ended = self._over.done() and not self._over.cancelled() and self._over.exception() is None
        hung_up = self.leg.gone or self.leg.call.ending
        reason = EndReason.CALLER_HANGUP if hung_up else EndReason.LEFT
        if ended:
            reason = self._over.result().reason
        if not self._over.done():
            self._over.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._floor.leave(self)
        self.record.end(reason, self._floor.clock.now())
        self._tell()
        if self.record.tm_service is None:
            self._silence()
        tasks = [task for task in (self._waiting, self._offer) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # a task that was cancelled before its first step has released nobody
        self._floor.presence.release(self._agent_id, self.record.id)
        self.left.set()
        log.info(
            "queue_left",
            queuecall_id=str(self.record.id),
            call_id=str(self.record.reference_id),
            status=self.record.status.value,
            reason=reason.value,
        )


class _WaitFlow:
    """What the caller hears while agents ring: the wait flow, which goes on until one answers (``Comfort``)."""

    def __init__(self, answered: Callable[[], None]) -> None:
        self.connection: Connection | None = None
        self._answered = answered

    def start(self) -> None:
        """It plays already."""

    def stop(self) -> None:
        if self.connection is not None and self.connection.winner is not None:
            answered, self._answered = self._answered, lambda: None
            answered()

    def open_early(self) -> None:
        """Nobody is heard before the answer."""


def _turns(agent: Agent) -> list[tuple[Address, ...]]:
    """What rings at once, one after another."""
    if agent.ring_method == "linear":
        return [(address,) for address in agent.addresses]
    return [agent.addresses]
