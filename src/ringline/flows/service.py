"""Flows and their executions: what is running, on which call, and when it starts and stops."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Protocol
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Row

from ringline.calls import metrics as call_metrics
from ringline.calls.ari_leg import AriLeg
from ringline.calls.call import ZERO, Call
from ringline.calls.journal import Journal
from ringline.calls.leg import Leg
from ringline.calls.states import Direction, HangupReason
from ringline.clock import Clock
from ringline.errors import NotFound, RinglineError
from ringline.flows import metrics, preparation
from ringline.flows.actions import Media, Services
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.flows.definitions import FlowDefinitions
from ringline.flows.detached import DetachedFlows
from ringline.flows.runner import Runner
from ringline.flows.snapshot import RawAction, Snapshot
from ringline.sip.cause import Cause

log = structlog.get_logger(__name__)

NOT_STORED: Final = "the controller was restarted before the call's flow was stored"
STOP_SECONDS: Final = 2.0
"""How long a request to stop a flow waits until it has ended."""


class Generated(Protocol):
    """Who makes the flows of calls that no number has one for (``phones.flows``)."""

    async def actions(self, call: Call) -> list[RawAction] | None:
        """The same whenever it is asked; ``None`` for a call that has none."""


class FlowService:
    """Starts a flow when its call is ready and stops it when the call ends (``calls.line.CallHooks``)."""

    def __init__(self, definitions: FlowDefinitions, journal: Journal, media: Media, clock: Clock) -> None:
        self._definitions = definitions
        self._journal = journal
        self._media = media
        self._clock = clock
        self._waiting: dict[UUID, Activeflow] = {}
        self._running: dict[UUID, asyncio.Task[None]] = {}
        self._active: dict[UUID, Activeflow] = {}
        self._preparing: set[asyncio.Task[None]] = set()
        self._detached = DetachedFlows(self, definitions, journal, media, clock)
        self.start_detached = self._detached.start
        self.services: Services | None = None
        self.generated: Generated | None = None

    # executions

    def prepare(
        self,
        customer_id: UUID,
        flow_id: UUID,
        actions: list[RawAction],
        variables: dict[str, str],
        webhook: tuple[str, str] = ("", ""),
    ) -> Activeflow:
        """A copy of a flow, ready to run, with a webhook (address and method) of its own. It is not stored yet."""
        return Activeflow(
            id=uuid4(),
            customer_id=customer_id,
            flow_id=flow_id,
            actions=actions,
            snapshot=Snapshot(variables=dict(variables)),
            on_complete_flow_id=self._definitions.on_complete(customer_id, flow_id),
            webhook_uri=webhook[0],
            webhook_method=webhook[1],
            tm_create=self._clock.now(),
        )

    def attach(self, activeflow: Activeflow, call: Call) -> None:
        """The activeflow runs on this call as soon as the call is ready; its first words are made meanwhile."""
        activeflow.reference_id = call.id
        call.activeflow_id = activeflow.id
        call.flow_id = activeflow.flow_id
        self._waiting[call.id] = activeflow
        self._prepare(activeflow, call)

    def detach(self, call: Call) -> None:
        """The call did not come about."""
        self._waiting.pop(call.id, None)

    def current(self, call_id: UUID) -> RawAction | None:
        """The action that a live call is at."""
        activeflow = self._active.get(call_id)
        return None if activeflow is None else activeflow.snapshot.current

    def active(self, call_id: UUID) -> Activeflow | None:
        """What runs on a live call, or where there would be one."""
        return self._active.get(call_id) or self._detached.of_call(call_id)

    def live(self) -> Iterator[Activeflow]:
        """Every flow that has not ended, begun or not."""
        return itertools.chain(self._waiting.values(), self._active.values(), self._detached.live())

    def knows(self, activeflow_id: UUID) -> bool:
        """Whether a flow runs, waits to run, or waits to be written."""
        if self._journal.pending_flow(activeflow_id) is not None:
            return True
        return any(activeflow.id == activeflow_id for activeflow in self.live())

    async def stopped(self, activeflow: Activeflow) -> None:
        """End a flow that has no call, or wait (shortly) until the one whose call was hung up has ended."""
        await self._detached.stop(activeflow.id)
        task = self._running.get(activeflow.reference_id)
        if task is not None and self._active.get(activeflow.reference_id) is activeflow:
            await asyncio.wait({task}, timeout=STOP_SECONDS)

    def call_ready(self, call: Call, leg: AriLeg) -> None:
        self.start(call, leg)

    def start(self, call: Call, leg: Leg) -> None:
        """Run the call's flow; an incoming call's is looked up first."""
        task = asyncio.create_task(self._run(call, leg), name=f"flow-{call.id}")
        self._running[call.id] = task
        task.add_done_callback(lambda done: self._done(call, done))

    def call_ended(self, call: Call) -> None:
        waiting = self._waiting.pop(call.id, None)
        if waiting is not None:
            # one that had begun in another controller has run, and is over now
            began = waiting.status is ActiveflowStatus.RUNNING
            waiting.status = ActiveflowStatus.ENDED
            waiting.reason = waiting.reason or "hangup"
            waiting.tm_update = self._clock.now()
            self._journal.touch_flow(waiting)
            if began:
                self._detached.completed(waiting, call)
        task = self._running.get(call.id)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Stop what still runs. Where stores and media server are closed before, a successor finds it as it stood."""
        await self._detached.close()
        tasks = [*self._running.values(), *self._preparing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # taking over from a former controller (``calls.recovery``)

    def revive(self, kept: Mapping[UUID, dict[str, Any]], rows: Mapping[UUID, Row[Any]]) -> list[UUID]:
        """Put together the activeflows that were under way: ``kept`` as it stood last, ``rows`` for what it lacks.

        The ids of those that nobody can read.
        """
        made = {flow_id: _revived(flow_id, partial(_of_kept, row)) for flow_id, row in kept.items()}
        for flow_id, row in rows.items():
            if made.get(flow_id) is None:
                made[flow_id] = _revived(flow_id, partial(Activeflow.from_row, row._asdict()))
        for activeflow in made.values():
            if activeflow is None:
                continue
            if activeflow.ended:
                self._journal.touch_flow(activeflow)
            elif activeflow.reference_type == "call":
                self._waiting[activeflow.reference_id] = activeflow
            else:
                self._detached.await_recovery(activeflow)
        return [flow_id for flow_id, activeflow in made.items() if activeflow is None]

    def go_on(self, live: Callable[[UUID], Call | None]) -> int:
        """Go on with flows that have no call, and end those whose call is gone; how many go on."""
        for call_id, activeflow in list(self._waiting.items()):
            if live(call_id) is None:
                del self._waiting[call_id]
                began = activeflow.status is ActiveflowStatus.RUNNING
                activeflow.status, activeflow.tm_update = ActiveflowStatus.ENDED, self._clock.now()
                activeflow.reason = activeflow.reason or "controller_restarted"
                self._journal.touch_flow(activeflow)
                if began:
                    self._detached.completed(activeflow)
        return self._detached.recover()

    def flow_changed(self, activeflow: Activeflow) -> None:
        self._journal.touch_flow(activeflow)

    def action_done(self, kind: str, result: str, seconds: float) -> None:
        metrics.seconds_of(kind, result).observe(seconds)

    def _prepare(self, activeflow: Activeflow, call: Call) -> None:
        task = preparation.begin(
            preparation.first_words(activeflow),
            lambda raw: preparation.with_variables(raw, activeflow, call),
            self._media,
        )
        if task is not None:
            self._preparing.add(task)
            task.add_done_callback(self._preparing.discard)

    async def _run(self, call: Call, leg: Leg) -> None:
        try:
            activeflow = self._waiting.pop(call.id, None) or await self._of_number(call, leg)
            if activeflow is None:
                return
            self._active[call.id] = activeflow
            resumed = activeflow.status is ActiveflowStatus.RUNNING
            await Runner(
                activeflow, leg, self._media, self._clock, self, self.services, resumed=resumed
            ).run()
        except Exception as error:
            # a call without a flow would stay up in silence
            log.exception("flow_crashed", call_id=str(call.id))
            self._give_up(call, leg, f"the flow was stopped by a fault in Ringline: {type(error).__name__}")

    async def _of_number(self, call: Call, leg: Leg) -> Activeflow | None:
        """The flow that an incoming call's number names, or that is made for it; without one the call is refused."""
        actions: list[RawAction] | None = None
        try:
            if call.flow_id == ZERO:
                actions = None if self.generated is None else await self.generated.actions(call)
            elif call.direction is Direction.INCOMING:
                actions = await self._definitions.actions(call.customer_id, call.flow_id)
        except NotFound as error:
            # deleted a moment ago: as if the number had none
            log.info("flow_missing", call_id=str(call.id), flow_id=str(call.flow_id), why=error.message)
            call_metrics.calls_refused.labels("no_flow").inc()
            self._give_up(call, leg, error.message, Cause.NO_ANSWER)
            return None
        except RinglineError as error:
            log.warning("flow_not_read", call_id=str(call.id), flow_id=str(call.flow_id), why=error.message)
            self._give_up(call, leg, error.message)
            return None
        if actions is None:
            outgoing = call.direction is Direction.OUTGOING
            self._give_up(call, leg, NOT_STORED if outgoing else "the number has no flow")
            return None
        activeflow = self.prepare(call.customer_id, call.flow_id, actions, {})
        activeflow.reference_id = call.id
        call.activeflow_id = activeflow.id
        self._journal.touch(call)
        return activeflow

    def _give_up(self, call: Call, leg: Leg, detail: str, cause: int = 0) -> None:
        call.hangup_detail = call.hangup_detail or detail
        self._journal.touch(call)
        leg.hang_up(HangupReason.FAILED, cause)

    def _done(self, call: Call, task: asyncio.Task[None]) -> None:
        self._running.pop(call.id, None)
        activeflow = self._active.pop(call.id, None)
        if activeflow is not None and activeflow.status is ActiveflowStatus.ENDED:
            self._detached.completed(activeflow, call)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("flow_not_ended", call_id=str(call.id), exc_info=error)


def _of_kept(row: dict[str, Any]) -> Activeflow:
    return Activeflow.from_kept(row, row["lists"])


def _revived(flow_id: UUID, make: Callable[[], Activeflow]) -> Activeflow | None:
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the others go on
        log.error("activeflow_not_recovered", activeflow_id=str(flow_id), error=repr(error))
        return None
