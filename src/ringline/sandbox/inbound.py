"""A call to the carrier: runs the behaviour of the dialled number and writes the call down."""

from __future__ import annotations

import asyncio
import re
import secrets
import time

import structlog

from ringline.sandbox import behaviours
from ringline.sandbox.audio import tones
from ringline.sandbox.audio.ports import Exhausted
from ringline.sandbox.audio.recording import Recording
from ringline.sandbox.config import CarrierSettings
from ringline.sandbox.journal import Record, now
from ringline.sandbox.ua import sdp
from ringline.sandbox.ua.leg import Ending, IncomingLeg

log = structlog.get_logger(__name__)

RING_AGAIN = 60.0  # seconds; a proxy gives up on an INVITE it hears nothing of (RFC 3261 section 13.3.1.1)


class InboundCall:
    """One call from its INVITE to its line in the journal."""

    def __init__(self, leg: IncomingLeg, record: Record, settings: CarrierSettings) -> None:
        self.leg = leg
        self.record = record
        self._settings = settings
        self._deadline = float("inf")

    async def run(self) -> None:
        """Go through the script; the record is finished afterwards however the call ends."""
        try:
            await self._play(behaviours.script(self.record.number))
        except (Exhausted, OSError) as error:
            log.warning("carrier_no_rtp_port", sip_call_id=self.record.sip_call_id, error=str(error))
            self.leg.refuse(503)
        except sdp.NotAcceptable as error:
            log.info("carrier_offer_not_acceptable", sip_call_id=self.record.sip_call_id, error=str(error))
            self.leg.refuse(488)
        finally:
            self.leg.hang_up()
            ending = self.leg.ended.result()
            self.record.tm_end = now()
            self.record.dtmf = "".join(self.leg.session.digits)
            self.leg.session.close()
            self._log(ending)

    async def _play(self, script: behaviours.Script) -> None:
        for step in script:
            await self._do(step)
            if self.leg.ended.done():
                return
            if asyncio.get_running_loop().time() >= self._deadline:
                break
        self.leg.hang_up()

    async def _do(self, step: behaviours.Step) -> None:
        leg = self.leg
        match step:
            case behaviours.Refuse(status, reason):
                leg.refuse(status, reason)
            case behaviours.Ring(seconds):
                await self._ring(seconds)
            case behaviours.EarlyMedia(seconds):
                await leg.session.open()
                leg.progress()
                await leg.session.play(tones.ringback(int(seconds * 1000)))
            case behaviours.Answer():
                await leg.session.open()
                self._answer()
            case behaviours.Wait(seconds):
                await self._wait(seconds)
            case behaviours.Echo():
                leg.session.echo()
            case behaviours.Greet():
                await leg.session.play(tones.greeting())
                await leg.session.play(tones.beep())
            case behaviours.Press(digits):
                await leg.session.press(digits)
            case behaviours.Listen():
                await self._wait(behaviours.MAX_ANSWERED_SECONDS)
            case behaviours.HangUp():
                leg.hang_up()

    async def _ring(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not self.leg.ended.done() and (left := end - loop.time()) > 0:
            self.leg.ring()
            await self._wait(min(left, RING_AGAIN))

    async def _wait(self, seconds: float) -> None:
        """Until the call ends, the time is over or the longest duration of a call is reached."""
        left = self._deadline - asyncio.get_running_loop().time()
        await asyncio.wait([self.leg.ended], timeout=max(0.0, min(seconds, left)))

    def _answer(self) -> None:
        self.leg.answer()
        if not self.leg.answered:
            return
        self._deadline = asyncio.get_running_loop().time() + behaviours.MAX_ANSWERED_SECONDS
        self.record.tm_answer = now()
        recording = create_recording(self._settings, self.record.number, behaviours.MAX_ANSWERED_SECONDS)
        self.leg.session.start(recording)
        if recording is not None:
            self.record.recording = shown(self._settings, recording)

    def _log(self, ending: Ending) -> None:
        log.info(
            "carrier_call_ended",
            sip_call_id=self.record.sip_call_id,
            number=self.record.number,
            answered=self.leg.answered,
            by=ending.by,
            status=ending.status,
            reason=ending.reason,
            packets_received=self.leg.session.packets_received,
            packets_sent=self.leg.session.packets_sent,
        )


def create_recording(settings: CarrierSettings, number: str, seconds: float) -> Recording | None:
    """A new file in the recordings folder; ``None``, and a line in the log, where the disk says no.

    It holds what is heard in so many seconds and a few more.
    """
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    digits = re.sub(r"[^0-9A-Za-z]", "", number)[:20] or "unknown"
    path = settings.recordings / f"{stamp}-{digits}-{secrets.token_hex(4)}.wav"
    try:
        return Recording(path, limit=int(seconds) + 10)
    except OSError as error:
        log.error("carrier_recording_failed", path=str(path), error=str(error))
        return None


def shown(settings: CarrierSettings, recording: Recording) -> str:
    """The recording's path as a reader in the checkout finds it."""
    return f"{settings.recording_prefix.rstrip('/')}/{recording.path.name}"
