"""Running a flow on a leg: the effects at the engine's edge."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Protocol
from uuid import UUID

import structlog

from ringline.calls.absent import AbsentLeg
from ringline.calls.call import ActionFailure
from ringline.calls.leg import Leg, LegError, LegGone
from ringline.clock import Clock
from ringline.errors import RinglineError
from ringline.flows import engine, preparation
from ringline.flows.actions import Action, ActionFailed, Context, Media, Services, kinds
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.flows.calling import NotedCalls
from ringline.flows.progress import Progress
from ringline.flows.snapshot import RawAction

log = structlog.get_logger(__name__)

MIN_WAIT_SECONDS = 0.095
"""What an action must let pass to count as waiting (0.1 s by a timer that is a little early). A loop of shorter
ones ends at ``engine.MAX_STREAK``."""


class Observer(Protocol):
    """Who is told how a flow goes on. Called synchronously."""

    def flow_changed(self, activeflow: Activeflow) -> None:
        """Before each action begins, and at the end: the snapshot is to be stored."""

    def action_done(self, kind: str, result: str, seconds: float) -> None:
        """An action ended; ``result`` is ``ok``, ``failed``, ``gone`` (the call ended) or ``skipped`` (no call)."""


class Runner:
    """Takes an activeflow from where it stands to its end."""

    def __init__(
        self,
        activeflow: Activeflow,
        leg: Leg,
        media: Media,
        clock: Clock,
        observer: Observer,
        services: Services | None = None,
        *,
        resumed: bool = False,
    ) -> None:
        """``services`` are those that actions reach; without them what a flow wants done is only noted.

        ``resumed``: the flow's current action had begun in another life of the controller; it is run again, and
        told so.
        """
        self._activeflow = activeflow
        self._leg = leg
        self._media = media
        self._clock = clock
        self._observer = observer
        self._services = services or Services(calls=NotedCalls())
        self._resumed = resumed
        self._seed = activeflow.id
        self._preparing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Run to the end, then hang up. Returns early when the leg is gone; cancelling it stops the flow."""
        flow = self._activeflow
        flow.status = ActiveflowStatus.RUNNING
        reason = "INTERNAL"
        try:
            result: engine.Result | None = None
            while True:
                raw = self._resume() or engine.step(flow.actions, flow.snapshot, result)
                flow.tm_update = self._clock.now()
                if raw is None:
                    break
                if not self._resumed:
                    flow.snapshot.began = flow.tm_update.timestamp()
                self._observer.flow_changed(flow)
                self._prepare_next()
                result = await self._timed(raw)
                self._resumed = False
            self._leg.hang_up()
            reason = "complete"
        except LegGone:
            reason = "hangup"
        except engine.FlowError as error:
            reason, flow.message = error.reason, flow.message or error.message[:500]
            log.warning(
                "flow_stopped", call_id=str(self._leg.call.id), reason=error.reason, why=error.message
            )
            self._note(flow.snapshot.current, error.reason, error.message)
            self._leg.hang_up()
        except asyncio.CancelledError:
            reason = "hangup"
            raise
        finally:
            self._stop_preparing()
            flow.status = ActiveflowStatus.ENDED
            flow.reason = flow.reason or reason
            flow.tm_update = self._clock.now()
            self._observer.flow_changed(flow)

    def _resume(self) -> RawAction | None:
        """The action that was under way in another life, to be run again; otherwise the engine says what is next."""
        return self._activeflow.snapshot.current if self._resumed else None

    async def _timed(self, raw: RawAction) -> engine.Result:
        """Execute an action; what it says about waiting holds only as far as the clock agrees."""
        began = self._clock.monotonic()
        result = await self._execute(raw)
        if isinstance(result, engine.Finish):
            return result
        waited = self._clock.monotonic() - began >= MIN_WAIT_SECONDS
        if waited and isinstance(result, engine.Next) and result.waited:
            return result
        # it need not have given way to anybody: a loop of such actions must not stop all other calls
        await asyncio.sleep(0)
        return engine.Next() if isinstance(result, engine.Next) else result

    async def _execute(self, raw: RawAction) -> engine.Result:
        began = self._clock.monotonic()
        outcome, reason, message = "failed", "", ""
        try:
            if isinstance(self._leg, AbsentLeg) and kinds()[raw["type"]].needs_call:
                outcome = "skipped"
                return engine.Next()
            result = await self._ready(raw).run(self._context(raw))
            outcome = "ok"
        except LegGone:
            outcome = "gone"
            raise
        except asyncio.CancelledError:
            outcome = "gone"
            raise
        except engine.FlowError as error:
            reason, message = error.reason, error.message
            raise
        except (ActionFailed, LegError, RinglineError) as error:
            reason, message = error.reason, error.message
            self._failed(raw, error.reason, error.message)
        except Exception as error:
            log.exception("action_crashed", call_id=str(self._leg.call.id), action=raw["type"])
            reason, message = "INTERNAL", f"the action failed: {type(error).__name__}"
            self._failed(raw, reason, message)
        else:
            return result
        finally:
            seconds = self._clock.monotonic() - began
            if self._resumed:
                seconds = max(seconds, self._clock.now().timestamp() - self._activeflow.snapshot.began)
            self._activeflow.snapshot.done(raw, seconds, outcome, reason, message)
            self._observer.action_done(raw["type"], outcome, seconds)
        return engine.Next()

    def _failed(self, raw: RawAction, reason: str, message: str) -> None:
        """Note a failure; where the flow depends on the action, it ends here."""
        kind = kinds().get(raw["type"])
        if kind is not None and kind.fatal:
            raise engine.FlowError(reason, message)
        self._note(raw, reason, message)

    def _context(self, raw: RawAction) -> Context:
        flow = self._activeflow
        progress = Progress(
            flow.snapshot,
            self._clock,
            lambda: self._observer.flow_changed(flow),
            resumed=self._resumed,
            seed=self._seed,
        )
        return Context(
            leg=self._leg,
            media=self._media,
            clock=self._clock,
            state=flow.snapshot,
            lookup=flow.lookup(self._leg.call),
            written=raw,
            services=self._services,
            progress=progress,
            activeflow_id=flow.id,
            flow=flow.actions,
            meanwhile=partial(self._meanwhile, progress),
        )

    async def _meanwhile(self, progress: Progress, actions: list[RawAction]) -> engine.Result | None:
        """Run actions over and over beside the current one, until cancelled."""
        from ringline.flows.meanwhile import Meanwhile  # noqa: PLC0415 - a runner itself

        inner = Meanwhile(
            self._activeflow,
            actions,
            self._leg,
            self._media,
            self._clock,
            self._observer,
            self._services,
            progress,
        )
        return await inner.rounds()

    def _ready(self, raw: RawAction) -> Action:
        return preparation.with_variables(raw, self._activeflow, self._leg.call)

    def _prepare_next(self) -> None:
        """Render or fetch what comes next while the present action runs; a failure shows when it is its turn.

        What was prepared before is asked for by the present action itself, or by nobody any more.
        """
        self._stop_preparing()
        snapshot = self._activeflow.snapshot
        if isinstance(self._leg, AbsentLeg):
            return
        if snapshot.current is not None and snapshot.current["type"] in preparation.INSTANT:
            return
        upcoming = engine.upcoming(self._activeflow.actions, snapshot)
        self._preparing = preparation.begin(upcoming, self._ready, self._media)

    def _stop_preparing(self) -> None:
        if self._preparing is not None:
            self._preparing.cancel()
            self._preparing = None

    def _note(self, raw: RawAction | None, reason: str, message: str) -> None:
        call = self._leg.call
        log.info(
            "action_failed", call_id=str(call.id), action=raw and raw["type"], reason=reason, why=message
        )
        if raw is None:
            return
        call.note_failure(_failure(raw, reason, message, self._clock))


def _failure(raw: RawAction, reason: str, message: str, clock: Clock) -> ActionFailure:
    return ActionFailure(UUID(raw["id"]), raw["type"], reason, message[:500], clock.now())
