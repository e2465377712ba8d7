"""Flows that run without a call: on completion of another flow, or at the end of a recording.

What needs a call is skipped; the rest (requests, variables, decisions, calls to place) runs as everywhere.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, Protocol, cast
from uuid import UUID, uuid4

import structlog

from ringline.calls.absent import AbsentLeg
from ringline.calls.call import ZERO, Call
from ringline.calls.journal import Journal
from ringline.calls.leg import Leg
from ringline.clock import Clock
from ringline.errors import ResourceExhausted, RinglineError
from ringline.flows.actions import Media, Services
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.flows.definitions import FlowDefinitions
from ringline.flows.runner import Observer, Runner
from ringline.flows.snapshot import RawAction, Snapshot

log = structlog.get_logger(__name__)

MAX_COMPLETIONS: Final = 5
"""A flow that runs on completion may have one that runs on its own completion, and so on: so many in all."""
MAX_RUNNING: Final = 1000
MAX_RUNNING_PER_CUSTOMER: Final = 250
"""One customer's flows, however many and long, leave places to the others."""
MAX_SECONDS: Final = 3600.0
"""The longest that one may last, as a call."""
COMPLETE_COUNT: Final = "voipbin.activeflow.complete_count"
_CALL_FACTS: Final = (
    "voipbin.call.id",
    "voipbin.call.direction",
    "voipbin.call.master_call_id",
    *(
        f"voipbin.call.{side}.{what}"
        for side in ("source", "destination")
        for what in ("type", "target", "target_name", "name", "detail")
    ),
)


class Owner(Observer, Protocol):
    """Where running flows are kept (``flows.service.FlowService``)."""

    services: Services | None


class DetachedFlows:
    """Starts them, knows those that run, and stops them. Held by the flow service."""

    def __init__(
        self, owner: Owner, definitions: FlowDefinitions, journal: Journal, media: Media, clock: Clock
    ) -> None:
        self._owner = owner
        self._definitions = definitions
        self._journal = journal
        self._media = media
        self._clock = clock
        self._running: dict[UUID, tuple[Activeflow, AbsentLeg, asyncio.Task[None]]] = {}
        self._places: Counter[UUID] = Counter()
        self._starting: set[asyncio.Task[None]] = set()
        self._recovering: list[Activeflow] = []
        self._closed = False

    async def start(
        self,
        customer_id: UUID,
        flow_id: UUID = ZERO,
        *,
        actions: list[RawAction] | None = None,
        reference_type: str,
        reference_id: UUID,
        variables: Mapping[str, str] | None = None,
        parent: Activeflow | None = None,
        activeflow_id: UUID | None = None,
    ) -> Activeflow:
        """Run a stored flow, or ``actions`` (checked ones), for something that is no call.

        ``variables`` may have names of the system's. ``activeflow_id`` is for whoever must find it again. Raises
        ``NotFound`` for an unknown or foreign flow, ``ResourceExhausted`` when too many run.
        """
        on_complete = ZERO
        if flow_id != ZERO:
            actions = await self._definitions.actions(customer_id, flow_id)
            on_complete = self._definitions.on_complete(customer_id, flow_id)
        if self._closed or len(self._running) >= MAX_RUNNING:
            raise ResourceExhausted("Too many flows without a call are running; try again shortly.")
        if self._places[customer_id] >= MAX_RUNNING_PER_CUSTOMER:
            raise ResourceExhausted(
                f"{MAX_RUNNING_PER_CUSTOMER} of your flows without a call are running, which is the limit; try again"
                " when some have ended."
            )
        activeflow = Activeflow(
            id=activeflow_id or uuid4(),
            customer_id=customer_id,
            flow_id=flow_id,
            actions=actions or [],
            snapshot=Snapshot(variables=dict(variables or {})),
            reference_type=reference_type,
            reference_id=reference_id,
            reference_activeflow_id=ZERO if parent is None else parent.id,
            on_complete_flow_id=on_complete,
            generation=0 if parent is None else parent.generation,
            tm_create=self._clock.now(),
        )
        self.run(activeflow)
        return activeflow

    def run(self, activeflow: Activeflow, *, resumed: bool = False) -> None:
        """Run it from where it stands."""
        self._journal.touch_flow(activeflow)
        leg = AbsentLeg(activeflow.customer_id, self._clock.now())
        task = asyncio.create_task(self._run(activeflow, leg, resumed=resumed), name=f"flow-{activeflow.id}")
        self._running[activeflow.id] = activeflow, leg, task
        self._places[activeflow.customer_id] += 1
        task.add_done_callback(lambda _: self._done(activeflow))

    def await_recovery(self, activeflow: Activeflow) -> None:
        """A flow of a former controller: it goes on with ``recover``."""
        self._recovering.append(activeflow)

    def recover(self) -> int:
        """Go on with what waits for it; how many there were."""
        waiting, self._recovering = self._recovering, []
        for activeflow in waiting:
            self.run(activeflow, resumed=activeflow.status is ActiveflowStatus.RUNNING)
        return len(waiting)

    def completed(self, activeflow: Activeflow, call: Call | None = None) -> None:
        """A flow has ended: start the one that runs on its completion, where there is one."""
        if activeflow.on_complete_flow_id == ZERO or self._closed:
            return
        task = asyncio.create_task(self._complete(activeflow, call), name=f"complete-{activeflow.id}")
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    def live(self) -> Iterator[Activeflow]:
        """Those that run."""
        running = (activeflow for activeflow, _, _ in self._running.values())
        return itertools.chain(running, self._recovering)

    def of_call(self, call_id: UUID) -> Activeflow | None:
        """The flow whose absent call has this id."""
        return next((flow for flow, leg, _ in self._running.values() if leg.call.id == call_id), None)

    async def stop(self, activeflow_id: UUID) -> None:
        """End one; the others know nothing of it."""
        found = self._running.get(activeflow_id)
        if found is not None:
            found[2].cancel()
            await asyncio.wait({found[2]}, timeout=2.0)

    async def close(self) -> None:
        """Stop what still runs."""
        self._closed = True
        tasks = [*self._starting, *(task for _, _, task in self._running.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, activeflow: Activeflow, leg: AbsentLeg, *, resumed: bool) -> None:
        runner = Runner(
            activeflow,
            cast("Leg", leg),  # what it has not is skipped, or fails with NO_CALL
            self._media,
            self._clock,
            self._owner,
            self._owner.services,
            resumed=resumed,
        )
        try:
            async with asyncio.timeout(MAX_SECONDS):
                await runner.run()
        except TimeoutError:
            activeflow.reason = "TIMEOUT"
            activeflow.message = f"it ran longer than {MAX_SECONDS:g} s"
            self._journal.touch_flow(activeflow)
        except Exception as error:
            log.exception("flow_crashed", activeflow_id=str(activeflow.id))
            activeflow.message = f"the flow was stopped by a fault in Ringline: {type(error).__name__}"
            self._journal.touch_flow(activeflow)

    def _done(self, activeflow: Activeflow) -> None:
        self._running.pop(activeflow.id, None)
        self._places[activeflow.customer_id] -= 1
        if not self._places[activeflow.customer_id]:
            del self._places[activeflow.customer_id]
        if activeflow.status is ActiveflowStatus.ENDED:
            self.completed(activeflow)

    async def _complete(self, activeflow: Activeflow, call: Call | None) -> None:
        count = _count(activeflow)
        lookup = activeflow.lookup(call)
        known = {name: lookup(name) for name in _CALL_FACTS} | dict(activeflow.snapshot.variables)
        try:
            if count >= MAX_COMPLETIONS:
                raise ResourceExhausted(f"chains of flows on completion end after {MAX_COMPLETIONS}")
            await self.start(
                activeflow.customer_id,
                activeflow.on_complete_flow_id,
                reference_type="activeflow",
                reference_id=activeflow.id,
                variables={**known, COMPLETE_COUNT: str(count + 1)},
                parent=activeflow,
            )
        except RinglineError as error:
            log.warning("on_complete_not_started", activeflow_id=str(activeflow.id), why=error.message)
            activeflow.message = (
                f"{activeflow.message} The flow on completion was not started: {error.message}".strip()
            )
            self._journal.touch_flow(activeflow)


def _count(activeflow: Activeflow) -> int:
    """How many flows on completion led to this one; whatever somebody wrote into the variable."""
    text = activeflow.snapshot.variables.get(COMPLETE_COUNT, "0")
    return int(text) if text.isdecimal() else MAX_COMPLETIONS
