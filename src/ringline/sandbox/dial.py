"""A call from the carrier: what ``ringline sandbox dial`` asks for, and the progress it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import structlog
from pydantic import BaseModel, ConfigDict, Field

from ringline.sandbox.audio.ports import Exhausted
from ringline.sandbox.audio.session import Session
from ringline.sandbox.config import CarrierSettings
from ringline.sandbox.inbound import create_recording, shown
from ringline.sandbox.ua.agent import Agent
from ringline.sandbox.ua.outgoing import OutgoingLeg

log = structlog.get_logger(__name__)

RING_SECONDS = 60.0
PRESS_AFTER = 1.0

Number = Annotated[str, Field(pattern=r"^\+?[0-9]{2,20}$")]


class DialRequest(BaseModel):
    """The body of ``POST /dial``."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    from_number: Number = Field(alias="from", description="The caller's number, as the network asserts it.")
    to_number: Number = Field(alias="to", description="The number to call, as dialled.")
    anonymous: bool = Field(default=False, description="Withhold the number: RFC 3323 From and Privacy: id.")
    press: str = Field(
        default="", pattern=r"^[0-9*#A-D,]*$", max_length=64, description="Keys; a comma is 1 s."
    )
    seconds: float = Field(default=30.0, gt=0, le=3600, description="How long to stay after the answer.")


def identity(request: DialRequest, host: str) -> tuple[str, list[tuple[str, str]]]:
    """From (without tag) and the identity headers, as a telephone network would send them (RFC 3323, RFC 3325)."""
    uri = f"sip:{request.from_number}@{host}"
    if not request.anonymous:
        return f'"{request.from_number}" <{uri}>', [("p-asserted-identity", f"<{uri}>")]
    return (
        '"Anonymous" <sip:anonymous@anonymous.invalid>',
        [("privacy", "id"), ("p-asserted-identity", f"<{uri}>")],
    )


class Dial:
    """One outgoing call. ``events`` yields progress objects until ``ended``; closing it hangs up."""

    def __init__(
        self, request: DialRequest, agent: Agent, session: Session, settings: CarrierSettings
    ) -> None:
        self._request = request
        self._agent = agent
        self._session = session
        self._settings = settings
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answered_at = 0.0
        self._recording: str | None = None

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Make the call. Every object has ``event``; the last one, ``ended``, says how it went."""
        try:
            await self._session.open()
        except (Exhausted, OSError) as error:
            yield {"event": "ended", "answered": False, "by": "failure", "status": 503, "reason": str(error)}
            return
        leg = self._leg()
        task = asyncio.create_task(self._run(leg))
        try:
            while True:
                event = await self._queue.get()
                yield event
                if event["event"] == "ended":
                    return
        finally:
            leg.hang_up()
            await asyncio.wait([task], timeout=5)

    def _leg(self) -> OutgoingLeg:
        settings = self._settings
        host, port = str(settings.kamailio_host), settings.kamailio_port
        from_value, headers = identity(self._request, str(settings.sip_host))
        return OutgoingLeg(
            self._agent,
            self._session,
            uri=f"sip:{self._request.to_number}@{host}:{port}",
            from_value=from_value,
            headers=headers,
            peer=(host, port),
            on_progress=self._progress,
        )

    def _progress(self, status: int, reason: str) -> None:
        if status == 200:
            self._start()
        name = "answered" if status == 200 else "ringing" if status == 180 else "progress"
        self._queue.put_nowait({"event": name, "status": status, "reason": reason})

    def _start(self) -> None:
        """Record from the very answer: audio may be waiting right behind it."""
        self._answered_at = asyncio.get_running_loop().time()
        recording = create_recording(self._settings, f"dial{self._request.to_number}", self._request.seconds)
        self._recording = shown(self._settings, recording) if recording is not None else None
        self._session.on_digit = lambda digit: self._queue.put_nowait({"event": "digit", "digit": digit})
        self._session.start(recording)

    async def _run(self, leg: OutgoingLeg) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._queue.put_nowait({"event": "calling", "sip_call_id": leg.call_id})
            leg.start()
            if await self._answered(leg):
                await self._talk(leg, self._answered_at + self._request.seconds)
        except Exception:
            log.exception("carrier_dial_failed", sip_call_id=leg.call_id)
        finally:
            leg.hang_up()
            self._session.close()
            ending = leg.ended.result()
            self._queue.put_nowait(
                {
                    "event": "ended",
                    "answered": leg.answered,
                    "by": ending.by,
                    "status": ending.status,
                    "reason": ending.reason,
                    "seconds": round(loop.time() - self._answered_at, 3) if leg.answered else 0.0,
                    "dtmf": "".join(self._session.digits),
                    "recording": self._recording,
                }
            )

    async def _answered(self, leg: OutgoingLeg) -> bool:
        """Wait for the answer or the end, a minute at most."""
        waiter = asyncio.create_task(leg.up.wait())
        try:
            waits: list[asyncio.Future[Any]] = [waiter, leg.ended]
            await asyncio.wait(waits, timeout=RING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
        if not leg.answered:
            leg.cancel("Nobody answered within a minute")
        return leg.answered and not leg.ended.done()

    async def _talk(self, leg: OutgoingLeg, until: float) -> None:
        loop = asyncio.get_running_loop()

        async def stay(seconds: float) -> None:
            await asyncio.wait([leg.ended], timeout=max(0.0, min(seconds, until - loop.time())))

        for index, keys in enumerate(self._request.press):
            if index == 0:
                await stay(PRESS_AFTER)
            if leg.ended.done() or loop.time() >= until:
                return
            if keys == ",":
                await stay(1.0)
            else:
                await self._session.press(keys)
        await stay(float("inf"))
