"""Answering machine detection: Asterisk's ``AMD()`` listens to what comes from the other side of a call.

``AMD()`` is an application of the dialplan, and the call's channel stays with us: a snoop channel that hears only
what comes in is sent into the context ``amd`` (``asterisk-config/extensions.conf``), which listens and hands it back
with the result as arguments. Prompts may be played meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import structlog

from ringline import ari
from ringline.calls.ari_leg import AriLeg
from ringline.calls.call import Call
from ringline.calls.leg import LegError, LegGone
from ringline.calls.recording import Answerer, Detected
from ringline.calls.switchboard import Switchboard

log = structlog.get_logger(__name__)

CONTEXT, EXTENSION = "amd", "start"
START_SECONDS = 5.0
LISTEN_SECONDS = 15.0
"""Longer than ``AMD()`` listens (``total_analysis_time`` in ``amd.conf``, 5 s), however it counts missing packets."""
_GONE = (404, 409, 412)

_ANSWERERS: Final[dict[str, Answerer]] = {"HUMAN": "HUMAN", "MACHINE": "MACHINE", "NOTSURE": "NOTSURE"}

Done = Callable[[Detected], None]


class MachineDetector:
    """Every detection under way (``calls.switchboard.Detector``)."""

    def __init__(self, client: ari.Client, switchboard: Switchboard, *, application: str) -> None:
        self._client = client
        self._switchboard = switchboard
        self._application = application
        self._listening: dict[UUID, set[_Detection]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        switchboard.watchers.append(self._call_ended)

    async def detect(self, leg: AriLeg, detection_id: UUID, *, resumed: bool = False) -> Detected:
        """Who answered. ``detection_id`` is chosen by the caller; with ``resumed`` it began in another life.

        Raises ``LegGone`` when the call ends and ``LegError`` where nobody can tell.
        """
        detection = _Detection(self._client, leg.call, f"amd-{detection_id}", self._application)
        running = self._listening.setdefault(leg.call.id, set())
        running.add(detection)
        self._switchboard.auxiliary[detection.channel] = detection.heard
        try:
            return await (detection.resume() if resumed else detection.run())
        except (ari.NotFound, ari.Gone, ari.Conflict) as gone:
            if leg.gone or leg.leaving or leg.call.ending:
                raise LegGone from gone
            raise LegError("AMD_FAILED", f"Asterisk did not listen: {gone.message}") from gone
        except ari.AriError as error:
            raise LegError("AMD_FAILED", f"Asterisk did not listen: {error.message}") from error
        except TimeoutError:
            raise LegError("AMD_TIMEOUT", "Asterisk did not say in time who answered") from None
        finally:
            self._switchboard.auxiliary.pop(detection.channel, None)
            self._client.tell("DELETE", f"channels/{detection.channel}", key=str(leg.call.id), ignore=_GONE)
            running.discard(detection)
            if not running:
                self._listening.pop(leg.call.id, None)

    def detect_behind(self, leg: AriLeg, detection_id: UUID, done: Done) -> None:
        """The same while the flow goes on; ``done`` is called unless the call ends before."""

        async def listen() -> None:
            try:
                done(await self.detect(leg, detection_id))
            except LegGone:
                pass
            except LegError as error:
                log.warning("detection_failed", call_id=str(leg.call.id), why=error.message)
                done(Detected("NOTSURE", error.reason))

        task = asyncio.create_task(listen(), name=f"amd-{leg.call.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _call_ended(self, call: Call) -> None:
        for detection in self._listening.get(call.id, ()):
            detection.call_ended()


class _Detection:
    """One snoop channel on its way through the dialplan."""

    def __init__(self, client: ari.Client, call: Call, channel: str, application: str) -> None:
        self.channel = channel
        self._client = client
        self._call = call
        self._application = application
        loop = asyncio.get_running_loop()
        self._arrived: asyncio.Future[None] = loop.create_future()
        self._over: asyncio.Future[Detected] = loop.create_future()

    async def run(self) -> Detected:
        async with asyncio.timeout(START_SECONDS):
            await self._request(
                f"channels/{ari.quote(self._call.channel_id)}/snoop/{self.channel}",
                {"app": self._application, "spy": "in", "appArgs": "listen"},
            )
            await self._arrived
            await self._request(
                f"channels/{self.channel}/continue",
                {"context": CONTEXT, "extension": EXTENSION, "priority": 1},
            )
        return await self._result()

    async def resume(self) -> Detected:
        """It listens still, or its result came while nobody was there to hear it: then nobody knows."""
        try:
            await self._client.request("GET", f"channels/{self.channel}", key=str(self._call.id))
        except ari.NotFound:
            return Detected("NOTSURE", "RESTARTED")
        return await self._result()

    async def _result(self) -> Detected:
        async with asyncio.timeout(LISTEN_SECONDS):
            return await self._over

    def heard(self, event: dict[str, Any]) -> None:
        """An event of the snoop channel: it arrives twice, the second time with what was found."""
        if event["type"] != "StasisStart":
            return
        args = event.get("args") or []
        if args[:1] == ["amd"]:
            if not self._over.done():
                self._over.set_result(_found(args[1:]))
        elif not self._arrived.done():
            self._arrived.set_result(None)

    def call_ended(self) -> None:
        for future in (self._arrived, self._over):
            if not future.done():
                future.set_exception(LegGone())
                future.exception()

    async def _request(self, uri: str, query: dict[str, Any]) -> None:
        await self._client.request("POST", uri, query=query, key=str(self._call.id))


def _found(values: list[str]) -> Detected:
    """``AMDSTATUS`` and ``AMDCAUSE``; a status that we do not know, or none, tells nothing."""
    status, cause = (*values, "", "")[:2]
    return Detected(_ANSWERERS.get(status, "NOTSURE"), cause)
