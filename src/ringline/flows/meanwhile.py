"""Actions that run on a call over and over while its flow stands at one action: what a caller in a queue hears.

They are a flow of their own with the variables of the one that waits, and are kept in the progress of its action, so
that they go on after a restart where they were. Whoever runs them cancels them when the waiting is over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import structlog

from ringline.calls.leg import Leg
from ringline.clock import Clock
from ringline.flows import engine
from ringline.flows.actions import Context, Media, Services
from ringline.flows.activeflow import Activeflow
from ringline.flows.progress import Progress
from ringline.flows.runner import Observer, Runner
from ringline.flows.snapshot import Frame, RawAction, Snapshot

log = structlog.get_logger(__name__)

MIN_ROUND_SECONDS = 1.0
"""How long one round takes at least: a list of actions that wait for nothing must not spin."""
_NOTE = "meanwhile"


class Meanwhile(Runner):
    """Rounds of a list of actions beside an activeflow (``flows.actions.base.Context.meanwhile``)."""

    def __init__(
        self,
        outer: Activeflow,
        actions: list[RawAction],
        leg: Leg,
        media: Media,
        clock: Clock,
        observer: Observer,
        services: Services,
        progress: Progress,
    ) -> None:
        known: dict[str, Any] | None = progress.get(_NOTE) if progress.resumed else None
        # the actions are a copy, as a flow's are: what was begun goes on although it was changed since
        actions = known["actions"] if known else actions
        snapshot = Snapshot.from_json(known["snapshot"]) if known else Snapshot()
        snapshot.variables, snapshot.history = outer.snapshot.variables, outer.snapshot.history
        inner = replace(outer, actions=actions, snapshot=snapshot)
        super().__init__(
            inner,
            leg,
            media,
            clock,
            _Noting(observer, progress),
            services,
            resumed=known is not None and snapshot.current is not None,
        )
        self._outer = outer
        self._seed = progress.id(_NOTE)

    async def rounds(self) -> engine.Result | None:
        """Run until cancelled, or until the actions want something else than waiting: to go on after it (a jump to
        their end), an end of the flow, or a jump into the flow around. ``None`` when they cannot go on. Raises
        ``LegGone``.
        """
        flow = self._activeflow
        result: engine.Result | None = None
        began = self._clock.monotonic()
        try:
            while True:
                raw = self._resume() or engine.step(flow.actions, flow.snapshot, result)
                if raw is None:
                    if isinstance(result, engine.Finish) or not flow.actions:
                        return result
                    if isinstance(result, engine.Jump):
                        # it aimed at the end
                        return engine.Next(waited=True)
                    await self._leg.wait(max(0.0, began + MIN_ROUND_SECONDS - self._clock.monotonic()))
                    began, result = self._clock.monotonic(), None
                    flow.snapshot.frames, flow.snapshot.streak = [Frame()], 0
                    continue
                if not self._resumed:
                    flow.snapshot.began = self._clock.now().timestamp()
                self._observer.flow_changed(flow)
                self._prepare_next()
                result = await self._timed(raw)
                self._resumed = False
                if isinstance(result, engine.Jump) and self._leads_out(result.target_id):
                    return result
        except engine.FlowError as error:
            log.warning(
                "meanwhile_stopped", call_id=str(self._leg.call.id), reason=error.reason, why=error.message
            )
            self._note(flow.snapshot.current, error.reason, error.message)
            return None
        finally:
            self._stop_preparing()

    def _context(self, raw: RawAction) -> Context:
        return replace(super()._context(raw), meanwhile=None)

    def _leads_out(self, target_id: str) -> bool:
        own = self._activeflow
        return not engine.known(own.actions, own.snapshot, target_id) and engine.known(
            self._outer.actions, self._outer.snapshot, target_id
        )


class _Noting:
    """Keeps the inner snapshot in the progress of the action that waits (``flows.runner.Observer``)."""

    def __init__(self, observer: Observer, progress: Progress) -> None:
        self._observer = observer
        self._progress = progress

    def flow_changed(self, activeflow: Activeflow) -> None:
        # variables and history are those of the flow around, which keeps them
        snapshot = {**activeflow.snapshot.as_json(), "variables": {}, "history": []}
        self._progress.keep(**{_NOTE: {"actions": activeflow.actions, "snapshot": snapshot}})

    def action_done(self, kind: str, result: str, seconds: float) -> None:
        self._observer.action_done(kind, result, seconds)
