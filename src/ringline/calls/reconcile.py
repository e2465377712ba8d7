"""Making the switchboard agree with Asterisk, after a connection was lost and every few seconds besides.

Asterisk keeps channels in Stasis while nobody listens, but it does not keep the events. Its list of channels is held
against ours: what is gone gets its final record, what was answered meanwhile goes on, what nobody owns is hung up.
Bridges likewise.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from ringline import ari
from ringline.calls import metrics
from ringline.calls.bridges import PREFIXES, Bridges
from ringline.calls.line import Line
from ringline.calls.recovery import arguments
from ringline.calls.states import Direction
from ringline.calls.switchboard import CHANNEL_PREFIX, Switchboard
from ringline.clock import Clock
from ringline.sip.cause import Cause

log = structlog.get_logger(__name__)

SETTLE_SECONDS = 2.0
"""A channel younger than this may be missing from a list that was asked for a moment ago."""
GIVE_UP_SECONDS = 60.0
"""How long calls are kept while Asterisk cannot be reached."""
UNPLACED_SECONDS = 12.0
"""A call whose request to dial has no answer yet may still be placed: longer than any request takes."""
SWEEP_SECONDS = 10.0
OVERDUE_SECONDS = 10.0


class Reconciler:
    """Follows the connection's state, and looks every ``SWEEP_SECONDS`` even when nothing happened."""

    def __init__(
        self,
        client: ari.Client,
        switchboard: Switchboard,
        bridges: Bridges,
        clock: Clock,
        *,
        application: str,
    ) -> None:
        self._client = client
        self._application = application
        self._switchboard = switchboard
        self._bridges = bridges
        self._clock = clock
        self.ready: Callable[[], bool] = lambda: True
        """Whether all that is ours is known: nothing is removed while calls are being taken over."""
        self._lost_at: float | None = None
        self._wake = asyncio.Event()
        self._strangers: set[str] = set()
        self._overdue: dict[Line, float] = {}
        self._stray_bridges: set[str] = set()
        self._missing_bridges: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._subscription: ari.Subscription | None = None

    async def start(self) -> None:
        self._subscription = self._client.on_state(self._on_state)
        self._task = asyncio.create_task(self._run(), name="reconciler")

    async def close(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """Look now: something happened to Asterisk."""
        self._wake.set()

    def _on_state(self, state: ari.State, detail: str) -> None:
        if state is ari.State.LOST:
            log.warning("asterisk_lost", detail=detail, calls=len(self._switchboard))
            self._lost_at = self._clock.monotonic()
        elif state is ari.State.CONNECTED:
            self._lost_at = None
            self._wake.set()

    async def _run(self) -> None:
        repeat = True
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_SECONDS if repeat else SWEEP_SECONDS):
                    await self._wake.wait()
            woken = self._wake.is_set()
            self._wake.clear()
            self._count_overdue()
            if not self.ready():
                repeat = True
                continue
            try:
                if self._client.connected:
                    await self.reconcile()
                    # a channel that was too young in the first pass is judged in a second one
                    repeat = woken or bool(self._strangers or self._stray_bridges or self._missing_bridges)
                else:
                    self._give_up_if_too_long()
            except ari.AriError as error:
                log.warning("reconcile_failed", error=str(error))
                repeat = True
            except Exception:
                log.exception("reconcile_crashed")

    async def reconcile(self) -> None:
        """One pass. Raises ``AriError`` where Asterisk does not answer."""
        now = self._clock.monotonic()
        lines = self._switchboard.lines()
        channels = {channel["id"]: channel for channel in await self._client.request("GET", "channels")}
        for line in lines:
            if line.call.ended:
                continue
            channel = channels.get(line.call.channel_id)
            if channel is None:
                if now - line.began <= (SETTLE_SECONDS if line.placed else UNPLACED_SECONDS):
                    continue
                log.warning("channel_vanished", call_id=str(line.call.id), channel_id=line.call.channel_id)
                self._switchboard.lost(line, "the media server lost the call")
            else:
                await self._catch_up(line, channel["state"])
        await self._drop_strangers(channels)
        await self._compare_bridges()

    async def _drop_strangers(self, channels: Mapping[str, dict[str, Any]]) -> None:
        """Hang up channels in our care that no call has: a controller died with them, or an event was lost.

        One that is seen for the first time may just have arrived, its event still on the way: it is judged in
        the next pass. A caller whose arrival was never heard of is let in then.
        """
        application = await self._client.request("GET", f"applications/{self._application}")
        ours = {*application["channel_ids"], *(name for name in channels if name.startswith(CHANNEL_PREFIX))}
        strangers = {name for name in ours if not self._switchboard.known_channel(name)}
        for channel_id in strangers & self._strangers:
            channel = channels.get(channel_id)
            args = None if channel is None else arguments(channel, self._application)
            if channel is not None and args is not None:
                log.info("arrival_recovered", channel_id=channel_id)
                self._switchboard.arrived(channel, args)
                continue
            log.warning("orphan_channel", channel_id=channel_id)
            self._client.tell(
                "DELETE",
                f"channels/{ari.quote(channel_id)}",
                query={"reason_code": int(Cause.NORMAL_CIRCUIT_CONGESTION)},
            )
        self._strangers = strangers

    async def _compare_bridges(self) -> None:
        """Destroy bridges that nobody has, tell the owners of those that are gone; both in the second pass."""
        listed = {bridge["id"] for bridge in await self._client.request("GET", "bridges")}
        ours = {bridge_id for bridge_id in listed if bridge_id.startswith(PREFIXES)}
        stray = {bridge_id for bridge_id in ours if not self._bridges.known_bridge(bridge_id)}
        for bridge_id in stray & self._stray_bridges:
            log.warning("orphan_bridge", bridge_id=bridge_id)
            self._client.tell("DELETE", f"bridges/{ari.quote(bridge_id)}")
        missing = self._bridges.joined_bridges() - listed
        for bridge_id in missing & self._missing_bridges:
            log.warning("bridge_vanished", bridge_id=bridge_id)
            self._bridges.bridge_lost(bridge_id)
        self._stray_bridges, self._missing_bridges = stray, missing

    async def _catch_up(self, line: Line, state: str) -> None:
        if line.overdue:
            self._switchboard.drop_again(line)
            return
        if state == "Up" and (line.call.direction is Direction.INCOMING or not line.started):
            self._switchboard.found_up(line)
        await line.leg.resync()

    def _count_overdue(self) -> None:
        """Calls that should have ended and have not: what the metric of that name shows."""
        now = self._clock.monotonic()
        self._overdue = {
            line: self._overdue.get(line, now) for line in self._switchboard.lines() if line.overdue
        }
        metrics.calls_overdue.set(sum(now - since > OVERDUE_SECONDS for since in self._overdue.values()))

    def _give_up_if_too_long(self) -> None:
        if self._lost_at is None or self._clock.monotonic() - self._lost_at < GIVE_UP_SECONDS:
            return
        for line in self._switchboard.lines():
            self._switchboard.lost(line, "the media server could not be reached")
