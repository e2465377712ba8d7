"""Joining queues: every caller who is in one, and what the action ``queue_join`` asks for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol
from uuid import UUID

import structlog
from pydantic import TypeAdapter

from ringline.calls.ari_leg import AriLeg
from ringline.calls.call import Call
from ringline.calls.connection import Comfort, Connections
from ringline.calls.leg import LegGone
from ringline.calls.ordering import Ordering
from ringline.calls.states import Direction
from ringline.calls.switchboard import Switchboard
from ringline.clock import Clock
from ringline.customers import AgentDirectory, Engagement, Presence
from ringline.errors import NotFound, ResourceExhausted, RinglineError
from ringline.flows.actions import Context
from ringline.flows.engine import Result
from ringline.flows.snapshot import RawAction
from ringline.queues import models, store
from ringline.queues.attendance import Attendance, Floor
from ringline.queues.directory import Queue, QueueDirectory
from ringline.queues.dispatcher import Dispatcher
from ringline.queues.queuecall import ZERO, Queuecall
from ringline.queues.states import IN_LINE, EndReason, Status
from ringline.storage import Database, WriteBehind

log = structlog.get_logger(__name__)

MAX_LINE: Final = 10_000
"""Callers in one queue."""
RECOVERY_SECONDS: Final = 90.0
"""How long a start may take until flows of the life before go on."""
CLAIM_SECONDS: Final = 5.0
"""How long after that their callers may come back to their place."""
KICK_SECONDS: Final = 2.0
_RECORD: Final = TypeAdapter(Queuecall)
_NOTE: Final = "queuecall"


class Flows(Protocol):
    """Stored flows (``flows.definitions.FlowDefinitions``)."""

    async def actions(self, customer_id: UUID, flow_id: UUID) -> list[RawAction]: ...


class QueueJoining:
    """Callers in queues (``flows.actions.services.Queues``)."""

    def __init__(
        self,
        database: Database,
        queues: QueueDirectory,
        agents: AgentDirectory,
        presence: Presence,
        flows: Flows,
        connections: Connections,
        ordering: Ordering,
        switchboard: Switchboard,
        clock: Clock,
        ringback: Callable[[AriLeg], Comfort],
        *,
        recovered: asyncio.Event | None = None,
    ) -> None:
        """``recovered`` is set once the flows of the life before go on (``calls.recovery``); ``None``: at once."""
        self._database = database
        self._queues = queues
        self._presence = presence
        self._flows = flows
        self._switchboard = switchboard
        self._clock = clock
        self.dispatcher = Dispatcher(queues, agents, presence)
        self._behind: WriteBehind[Queuecall] = WriteBehind(
            database, store.UPSERT, Queuecall.row, name="queuecalls", telling=models.telling()
        )
        self._live: dict[UUID, Attendance] = {}
        self._unclaimed: dict[UUID, Queuecall] = {}
        self._claiming: asyncio.Task[None] | None = None
        self._recovered = recovered
        self._floor = Floor(
            connections=connections,
            ordering=ordering,
            switchboard=switchboard,
            presence=presence,
            clock=clock,
            ringback=ringback,
            agent=agents.by_id,
            changed=self._changed,
            enter=self._enter,
            leave=self._leave,
            wake=self.dispatcher.wake,
        )
        for watchers in (queues.watchers, agents.watchers, presence.watchers):
            watchers.append(self.dispatcher.wake)

    async def start(self) -> None:
        """Read who was in a queue when another life of the controller ended: their agents are not rung for others."""
        async with self._database.connect() as connection:
            rows = await store.unfinished(connection)
        for record in map(Queuecall.from_row, rows):
            self._unclaimed[record.id] = record
            if record.service_agent_id != ZERO:
                busy = record.status is Status.SERVICE
                self._presence.engage(
                    record.service_agent_id, record.id, Engagement.BUSY if busy else Engagement.RINGING
                )
        await self._behind.start()
        if self._unclaimed:
            self._claiming = asyncio.create_task(self._end_unclaimed(), name="queue-claims")

    async def close(self) -> None:
        if self._claiming is not None:
            self._claiming.cancel()
            await asyncio.gather(self._claiming, return_exceptions=True)
        self.dispatcher.close()
        await self._behind.close()

    async def written(self) -> None:
        """Return when the table is as the memory is, or after a second."""
        await self._behind.written()

    async def join(self, context: Context, queue_id: UUID) -> Result | None:
        """Stay in the queue. Raises ``NotFound`` (``QUEUE_NOT_FOUND``), ``ResourceExhausted``, ``LegGone``."""
        call = context.leg.call
        leg = self._switchboard.leg_of(call.id)
        if leg is None:
            raise LegGone
        record = self._resumed(context)
        queue = self._queues.by_id(queue_id)
        if record is not None and record.ended:
            return None
        if record is None:
            if queue is None or queue.customer_id != call.customer_id:
                raise NotFound(f"there is no queue {queue_id}", reason="QUEUE_NOT_FOUND")
            if len(self.dispatcher.callers(queue_id)) >= MAX_LINE:
                raise ResourceExhausted(f"{MAX_LINE} callers are in this queue", reason="QUEUE_FULL")
            record = self._record(context, call, queue)
        actions = [] if queue is None else await self._wait_actions(queue)
        variables = context.state.variables
        if queue is not None:
            variables |= {
                "voipbin.queue.id": str(queue.id),
                "voipbin.queue.name": queue.name,
                "voipbin.queue.detail": queue.detail,
            }
        if record.status is Status.INITIATING:
            await context.leg.answer()
        attendance = Attendance(record, leg, self._floor, _Notes(context))
        assert context.meanwhile is not None  # noqa: S101 - the action has looked
        left = await attendance.run(partial(context.meanwhile, actions))
        result: Result | None = left.result
        return result

    # looking and ending

    def attending(self, customer_id: UUID, queuecall_id: UUID) -> Attendance | None:
        """A customer's caller who is in a queue."""
        found = self._live.get(queuecall_id)
        return found if found is not None and found.record.customer_id == customer_id else None

    def attending_call(self, customer_id: UUID, call_id: UUID) -> Attendance | None:
        """The same by the caller's call."""
        return next(
            (
                one
                for one in self._live.values()
                if one.record.reference_id == call_id and one.record.customer_id == customer_id
            ),
            None,
        )

    def owns(self, resource_id: UUID) -> bool:
        """Whether this is a caller in a queue here, or a queue with one."""
        return resource_id in self._live or bool(self.dispatcher.callers(resource_id))

    async def kick(self, attendance: Attendance) -> None:
        """Take a caller out of the queue; the caller's flow goes on. Returns when the record is final."""
        attendance.finish(EndReason.KICKED)
        try:
            async with asyncio.timeout(KICK_SECONDS):
                await attendance.left.wait()
        except TimeoutError:
            log.warning("kick_slow", queuecall_id=str(attendance.record.id))

    # steps

    def _record(self, context: Context, call: Call, queue: Queue) -> Queuecall:
        incoming = call.direction is Direction.INCOMING
        return Queuecall(
            id=context.progress.id(_NOTE + "_id"),
            customer_id=call.customer_id,
            queue_id=queue.id,
            reference_id=call.id,
            reference_activeflow_id=context.activeflow_id,
            source=call.source if incoming else call.destination,
            routing_method=queue.routing_method,
            tag_ids=queue.tag_ids,
            timeout_wait=queue.wait_timeout,
            timeout_service=queue.service_timeout,
            tm_create=self._clock.now(),
        )

    def _resumed(self, context: Context) -> Queuecall | None:
        """The caller's place from before a restart, which keeps its time of arrival."""
        noted = context.progress.get(_NOTE)
        if noted is None:
            return None
        record = _RECORD.validate_python(noted)
        self._unclaimed.pop(record.id, None)
        return record

    async def _wait_actions(self, queue: Queue) -> list[RawAction]:
        if queue.wait_flow_id == ZERO:
            return queue.wait_actions
        try:
            return await self._flows.actions(queue.customer_id, queue.wait_flow_id)
        except RinglineError as error:
            # it was deleted since, or the database is away: the caller hears ringing, and waits all the same
            log.warning(
                "wait_flow_missing",
                queue_id=str(queue.id),
                flow_id=str(queue.wait_flow_id),
                why=error.message,
            )
            return []

    def _changed(self, record: Queuecall) -> None:
        self._behind.touch(record)
        self._count(record.queue_id)

    def _enter(self, attendance: Attendance) -> None:
        self._live[attendance.record.id] = attendance
        self.dispatcher.enter(attendance)
        self._count(attendance.record.queue_id)

    def _leave(self, attendance: Attendance) -> None:
        self._live.pop(attendance.record.id, None)
        self.dispatcher.leave(attendance)
        self._count(attendance.record.queue_id)

    def _count(self, queue_id: UUID) -> None:
        """Somebody joined, is served or left: tell everybody which place is theirs now."""
        place = 0
        for caller in self.dispatcher.callers(queue_id):
            waits = caller.record.status in IN_LINE
            place += waits
            self._live[caller.record.id].notes.placed(place if waits else 0)

    async def _end_unclaimed(self) -> None:
        """Callers who did not come back after a restart have hung up meanwhile."""
        if self._recovered is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RECOVERY_SECONDS):
                    await self._recovered.wait()
        await asyncio.sleep(CLAIM_SECONDS)
        unclaimed, self._unclaimed = self._unclaimed, {}
        for record in unclaimed.values():
            agent_id = record.service_agent_id
            record.end(EndReason.CALLER_HANGUP, self._clock.now())
            self._behind.touch(record)
            self._presence.release(agent_id, record.id)
        log.info("queuecalls_ended_in_the_gap", queuecalls=len(unclaimed))


class _Notes:
    """What the flow may say of its place in the queue, and what a restart needs (``queues.attendance.Notes``)."""

    def __init__(self, context: Context) -> None:
        self._variables = context.state.variables
        self.progress = context.progress

    def placed(self, place: int) -> None:
        self._variables["voipbin.queuecall.position"] = str(place)

    def changed(self, record: Queuecall) -> None:
        self._variables.update(
            {
                "voipbin.queuecall.id": str(record.id),
                "voipbin.queuecall.status": record.status.value,
                "voipbin.queuecall.end_reason": record.end_reason.value,
                "voipbin.queuecall.timeout_wait": str(record.timeout_wait),
                "voipbin.queuecall.timeout_service": str(record.timeout_service),
                "voipbin.queuecall.duration_waiting": str(record.duration_waiting),
                "voipbin.queuecall.duration_service": str(record.duration_service),
                "voipbin.queuecall.service_agent_id": str(record.service_agent_id),
            }
        )
        self.progress.keep(**{_NOTE: _RECORD.dump_python(record, mode="json")})
