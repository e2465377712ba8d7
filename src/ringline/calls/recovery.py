"""Taking over from a controller that died: its calls, lines and flows are put together again and go on.

Three steps. What it kept is read and stands in the switchboard, so that the API shows and ends it; nothing runs yet.
Once Asterisk is connected its channels are held against that: what ended in the gap gets its final record, what was
answered is up. Then the flows go on. Only after that is anything removed that nobody has (``calls.reconcile``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import structlog
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline import ari
from ringline.calls import metrics, store, waiting
from ringline.calls.call import ZERO, Call
from ringline.calls.journal import Journal
from ringline.calls.line import Line, Start
from ringline.calls.live_state import Kept
from ringline.calls.states import Direction, Status
from ringline.calls.switchboard import Switchboard
from ringline.events.outbox import emit_rows
from ringline.http import utc_now
from ringline.sip.cause import Cause
from ringline.storage import Database

log = structlog.get_logger(__name__)

UNSEEN = "it ended while the controller was away: when and how was not seen"
MEDIA_LOST = "the media server was restarted while the controller was away"
UNREADABLE = "the controller was restarted and could not read what it had kept of the call"
UNCLAIMED = "the controller was restarted, and what the call was part of did not go on"
CLAIM_SECONDS = 5.0
"""How long a line may wait for its owner once the flows go on."""
RETRY_SECONDS = 0.5
GIVE_UP_SECONDS = 60.0
"""How long calls are kept when Asterisk cannot be reached at the start."""


@dataclass(slots=True)
class Found:
    """What there is before flows go on. ``channels``, ``bridges``: as Asterisk has them, ARI's JSON by id."""

    channels: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    bridges: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    parts: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    def kept(self, part: str) -> dict[str, Any]:
        """What the service kept with ``LiveState.keep``, by key."""
        return dict(self.parts.get(part, {}))


class Part(Protocol):
    """A service with state that belongs to no flow."""

    async def restore(self, found: Found) -> None:
        """Put it together again. Called once, when all calls are there and before any flow goes on."""


@dataclass(frozen=True, slots=True)
class Restores:
    """A part that needs no waiting."""

    name: str
    do: Callable[[Found], None]

    async def restore(self, found: Found) -> None:
        self.do(found)


class Flows(Protocol):
    """The flows that ran on the calls (``flows.service.FlowService``)."""

    def revive(self, kept: Mapping[UUID, dict[str, Any]], rows: Mapping[UUID, Any]) -> list[UUID]: ...

    def go_on(self, live: Callable[[UUID], Call | None]) -> int: ...


class WaitingCalls(Protocol):
    """Who has calls that wait to be placed (``calls.pacing.Pacing``)."""

    async def load(self, connection: AsyncConnection, kept: Mapping[UUID, Any]) -> dict[UUID, Call]: ...

    def settle(self, channels: Container[str], *, sure: bool) -> list[Call]: ...


class FlowRows(Protocol):
    """The queries of ``flows.store`` that recovering needs."""

    async def unfinished(self, connection: AsyncConnection) -> list[Any]: ...

    async def finish_activeflows(
        self, connection: AsyncConnection, now: datetime, reason: str, ids: list[UUID]
    ) -> list[Any]: ...


class Recovery:
    """One life of it: ``load`` at the start, ``run`` as soon as the connection to Asterisk was asked for."""

    def __init__(
        self,
        client: ari.Client,
        database: Database,
        journal: Journal,
        switchboard: Switchboard,
        flows: Flows,
        flow_rows: FlowRows,
        *,
        application: str,
    ) -> None:
        self.parts: list[Part] = []
        self.done = asyncio.Event()
        """Everything goes on, and whoever removes what nobody has may begin."""
        self.phases: dict[str, float] = {}
        self._client = client
        self._database = database
        self._journal = journal
        self._switchboard = switchboard
        self._flows = flows
        self._flow_rows = flow_rows
        self._application = application
        self.waiting: WaitingCalls | None = None
        """Calls that waited for their turn: they are no line's."""
        self._began = _process_began()
        self._kept = Kept()
        self._server = ""
        self._lines: list[Line] = []
        self._connected = asyncio.Event()
        self._subscription: ari.Subscription | None = None
        self._task: asyncio.Task[None] | None = None

    async def status(self) -> str | None:
        """For the readiness report: raises while calls are being taken over."""
        if not self.done.is_set():
            raise RuntimeError(f"recovering: {len(self._lines)} calls of the controller before wait to go on")
        return None

    # before anything is served

    async def load(self) -> None:
        """Read what was kept and put the calls on their lines. Raises ``DatabaseUnavailable``."""
        self._switchboard.hold()
        try:
            self._kept = await self._journal.live.load()
        except (RedisError, OSError) as error:
            log.warning("live_state_not_read", error=str(error) or type(error).__name__)
        self._journal.live.resume_parts(self._kept)
        self._server = str(self._kept.parts.get("recovery", {}).get("server", {}).get("started", ""))
        async with self._database.connect() as connection:
            rows = {row.id: row for row in await store.unfinished(connection)}
            queued: dict[UUID, Call] = {}
            if self.waiting is not None:
                queued = await self.waiting.load(connection, self._kept.calls)
            rows = {call_id: row for call_id, row in rows.items() if UUID(str(call_id)) not in queued}
            final = await store.final_among(connection, list(self._kept.calls))
            flows = {row.id: row for row in await self._flow_rows.unfinished(connection)}
            unreadable = self._flows.revive(self._kept.flows, flows)
        if unreadable:
            await self._end_flows(unreadable)
        for call_id, record in self._kept.calls.items():
            # a final row is newer than what Redis held while it could not be written
            if call_id not in final and not self._restored(call_id, record):
                # what PostgreSQL knows of it is older, but better than nothing
                continue
            rows.pop(call_id, None)
        lost = [call_id for call_id, row in rows.items() if not self._restored(call_id, row)]
        if lost:
            self._journal.disown(lost)
        await self._journal.recall([*(line.call for line in self._lines), *queued.values()])
        self._journal.live.start()
        if self._lines or lost or self._kept.unreadable:
            log.info("recovery_began", calls=len(self._lines), unreadable=self._kept.unreadable + len(lost))
        self._phase("loaded")

    async def _end_flows(self, ids: list[UUID]) -> None:
        async with self._database.begin() as connection:
            ended = await self._flow_rows.finish_activeflows(
                connection, utc_now(), "controller_restarted", ids
            )
            events = [event for row in ended for event in self._journal.ended_flow_events(row)]
            await emit_rows(connection, events)

    def _restored(self, call_id: UUID, kept: Any) -> bool:
        """Whether the record (or row) could be read; a call that had ended only needs to be written."""
        try:
            record: dict[str, Any] = kept if isinstance(kept, dict) else _from_row(kept)
            if "leg" not in record or record["call"]["status"] == Status.HANGUP.value:
                self._journal.touch(Call.from_row(record["call"]))
                return True
            self._lines.append(self._switchboard.restore(record))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the others go on
            log.error("call_not_recovered", call_id=str(call_id), error=repr(error))
            return False
        return True

    # with Asterisk

    def start(self) -> None:
        self._subscription = self._client.on_state(self._on_state)
        self._task = asyncio.create_task(self._run(), name="recovery")

    async def finished(self, seconds: float) -> None:
        """Return when everything goes on, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.done.wait()

    async def close(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _on_state(self, state: ari.State, detail: str) -> None:
        if state is ari.State.CONNECTED:
            self._connected.set()

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                await self._matched()
        except TimeoutError:
            for line in self._lines:
                self._switchboard.lost(line, "the media server could not be reached")
        except Exception:
            # the calls go on as far as the switchboard's own looking after them carries
            log.exception("recovery_crashed")
        self._go_on()
        await asyncio.sleep(CLAIM_SECONDS)
        for line in self._switchboard.unclaimed():
            log.warning("call_unclaimed", call_id=str(line.call.id))
            line.call.hangup_detail = line.call.hangup_detail or UNCLAIMED
            self._switchboard.hang_up(line.call)
        self._switchboard.forget_past()

    async def _matched(self) -> None:
        while True:
            if not self._client.connected:
                self._connected.clear()
                await self._connected.wait()
            try:
                return await self._match()
            except ari.AriError as error:
                log.warning("recovery_failed", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _match(self) -> None:
        self._phase("connected")
        channels, bridges, info = await asyncio.gather(
            self._client.request("GET", "channels"),
            self._client.request("GET", "bridges"),
            self._client.request("GET", "asterisk/info", query={"only": "status"}),
        )
        found = Found(
            channels={channel["id"]: channel for channel in channels},
            bridges={bridge["id"]: bridge for bridge in bridges},
            parts=self._kept.parts,
        )
        server = str(info.get("status", {}).get("startup_time", ""))
        restarted = bool(self._server) and self._server != server
        self._journal.live.keep("recovery", "server", {"started": server})
        for line in self._lines:
            if not line.call.ended:
                self._compare(line, found.channels.get(line.call.channel_id), restarted=restarted)
        if self.waiting is not None:
            sure = bool(self._server) and not restarted
            for call in self.waiting.settle(found.channels, sure=sure):
                line = self._switchboard.restore(_bare(call.kept()))
                self._lines.append(line)
                self._journal.touch(line.call)
                self._compare(line, found.channels[call.channel_id], restarted=restarted)
        await self._take_arrivals(found)
        self._phase("matched")
        for part in self.parts:
            try:
                async with asyncio.timeout(10.0):
                    await part.restore(found)
            except Exception:
                log.exception("part_not_restored", part=getattr(part, "name", type(part).__name__))

    def _compare(self, line: Line, channel: dict[str, Any] | None, *, restarted: bool) -> None:
        """Bring a call to where its channel is, or to its end where there is none any more."""
        call = line.call
        if channel is None:
            self._ended_unseen(line, restarted=restarted)
            return
        metrics.recovered.labels("went_on").inc()
        line.placed = True
        state = channel["state"]
        if line.overdue:
            self._switchboard.drop_again(line)
        elif state == "Up":
            if call.direction is Direction.OUTGOING or call.status is Status.RINGING:
                self._switchboard.found_up(line)
        elif call.direction is Direction.OUTGOING:
            if state == "Ringing":
                self._switchboard.found_ringing(line)
            else:
                self._switchboard.found_created(line)

    def _ended_unseen(self, line: Line, *, restarted: bool) -> None:
        """The cause is the one that the call's last state makes likely; the reason follows from the tables."""
        metrics.recovered.labels("had_ended").inc()
        call = line.call
        if restarted and not line.overdue:
            self._switchboard.lost(line, MEDIA_LOST)
        elif line.overdue:
            self._switchboard.gone(line, int(Cause.NORMAL_CLEARING), "")
        elif call.direction is Direction.OUTGOING and not line.placed:
            self._switchboard.lost(line, waiting.UNSEEN)
        elif call.direction is Direction.OUTGOING and call.tm_progressing is None:
            self._switchboard.gone(line, int(Cause.NO_ANSWER), UNSEEN)
        else:
            self._switchboard.gone(line, int(Cause.NORMAL_CLEARING), UNSEEN)

    async def _take_arrivals(self, found: Found) -> None:
        """Callers who came into Stasis when nobody heard of it any more: their arguments stand with the channel."""
        application = await self._client.request("GET", f"applications/{self._application}")
        for channel_id in application["channel_ids"]:
            channel = found.channels.get(channel_id)
            args = None if channel is None else arguments(channel, self._application)
            if channel is not None and args is not None:
                log.info("arrival_recovered", channel_id=channel_id)
                self._switchboard.arrived(channel, args)

    def _go_on(self) -> None:
        began = self._switchboard.release()
        detached = self._flows.go_on(self._switchboard.live)
        self._phase("resumed")
        metrics.recovery_seconds.set(self.phases["resumed"])
        self.done.set()
        if self._lines or detached:
            left = sum(not line.call.ended for line in self._lines)
            log.info(
                "recovery_done",
                calls=left,
                ended=len(self._lines) - left,
                flows=began + detached,
                seconds=self.phases,
                # far less than the seconds: others had the machine
                cpu_seconds=round(time.process_time(), 3),
            )

    def _phase(self, name: str) -> None:
        self.phases.setdefault(name, round(time.monotonic() - self._began, 3))


def _process_began() -> float:
    """When this process was started, by ``time.monotonic``; the present where the system does not tell."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return time.monotonic()
    return time.monotonic() - max(0.0, age)


def arguments(channel: dict[str, Any], application: str) -> list[str] | None:
    """What the dialplan told of a caller who waits in our application; ``None`` for any other channel."""
    dialplan = channel.get("dialplan", {})
    if dialplan.get("app_name") != "Stasis":
        return None
    name, kind, *args = [*str(dialplan.get("app_data", "")).split(","), "", ""]
    return args[:-2] if (name, kind) == (application, "inbound") else None


def _from_row(row: Any) -> dict[str, Any]:
    return _bare(dict(row._mapping))


def _bare(call: dict[str, Any]) -> dict[str, Any]:
    """What ``Line.kept`` would have been, as far as the call's row tells: the line's own state was in Redis only."""
    outgoing = call["direction"] == Direction.OUTGOING.value
    answered = call["tm_progressing"] is not None
    has_flow = call["activeflow_id"] != ZERO or call["flow_id"] != ZERO
    return {
        "call": call,
        "leg": {},
        "start": Start.ON_ANSWER.value,
        "own": not has_flow,
        "started": not outgoing or answered,
        "placed": True,
        "dialled": True,
        "until": None,
        "dial_until": None,
    }
