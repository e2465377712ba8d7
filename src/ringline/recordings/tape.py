"""One recording as Asterisk makes it, from the first request to the end of its file.

A call is recorded through a snoop channel that hears both directions: that works in and out of bridges and while the
call moves between them, and what is played to the caller is in it. A bridge is recorded as a whole by itself.

Asterisk would also end a recording at a key or after silence, but a snoop channel gets no keys, and what
``maxSilenceSeconds`` cuts off at the end is as long as all pauses of the recording together: it loses speech. The
keys are those of the call's own channel; silence is what ``TALK_DETECT`` says on the snoop channel.

While a snoop channel stays, what is played to a call that has left a bridge is not heard any more, not even by
another snoop channel (measured on Asterisk 22.10). So the recording goes on in the same file through a new one each
time, made when the old one is gone: some 50 ms are missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from ringline import ari
from ringline.clock import Clock
from ringline.errors import FailedPrecondition, RinglineError, Unavailable
from ringline.recordings.models import Reason, Recording, Status

log = structlog.get_logger(__name__)

START_SECONDS = 5.0
CHECK_SECONDS = 2.0
"""How long the end of a recording may take to be reported once it is due."""
DROP_SECONDS = 1.0
OTHERS_SECONDS = 0.15
NET_SECONDS = 2
"""What Asterisk adds to a time limit of ours: it counts whole seconds, and ends what nobody is there to end."""
_GONE = (404, 409, 412)


class RecordingFailed(Unavailable):
    """503: Asterisk did not record."""

    default_reason = "RECORDING_FAILED"


class Owner(Protocol):
    """Who has the recordings (``recordings.service``). Called synchronously."""

    def tape_running(self, tape: Tape) -> None:
        """Sound is being recorded."""

    def tape_over(self, tape: Tape, reason: Reason, detail: str = "") -> None:
        """The recording has ended: once."""


class Tape:
    """A recording under way. The service hands in the events that concern it."""

    def __init__(
        self,
        client: ari.Client,
        recording: Recording,
        owner: Owner,
        clock: Clock,
        *,
        application: str,
        auxiliary: dict[str, Callable[[dict[str, Any]], None]],
    ) -> None:
        self.recording = recording
        self.over = False
        self.restored = False
        """Found again after a restart, and not yet known to go on."""
        self.unheard = False
        """It ended and nobody said so: when, its file knows."""
        self.ended = asyncio.Event()
        self._client = client
        self._owner = owner
        self._clock = clock
        self._application = application
        self._auxiliary = auxiliary
        kind, _, self.subject = recording.target.partition(":")
        self.snoop = f"snoop-{recording.id}" if kind == "channel" else ""
        self._key = str(recording.reference_id)
        self._arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._between: asyncio.Future[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._turn = 0
        self._asked = Reason.NONE
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._checking: asyncio.Task[None] | None = None
        if self.snoop:
            auxiliary[self.snoop] = self._heard

    @property
    def live(self) -> str:
        """Its place in ARI."""
        return f"recordings/live/{self.recording.name}"

    async def start(self) -> None:
        """Begin, and return when Asterisk records. Raises ``RinglineError``; it is over then."""
        try:
            async with asyncio.timeout(START_SECONDS):
                if self.snoop:
                    await self._open_snoop(self.snoop)
                else:
                    await self._client.request(
                        "POST",
                        f"applications/{self._application}/subscription",
                        query={"eventSource": f"bridge:{self.subject}"},
                        key=self._key,
                    )
                await self._record()
        except TimeoutError as late:
            error: RinglineError = RecordingFailed("Asterisk did not begin to record in time.")
            self._tell_stop()
            self._end(Reason.FAILED, error.message)
            raise error from late
        except (ari.NotFound, ari.Gone, ari.Conflict) as gone:
            if self.over:
                return  # it was ended meanwhile, and said so
            error = FailedPrecondition("It ended before it could be recorded.", reason="CALL_ALREADY_HANGUP")
            self._end(Reason.FAILED, error.message)
            raise error from gone
        except ari.AriError as refused:
            error = RecordingFailed(f"Asterisk does not record: {refused.message}")
            self._end(Reason.FAILED, error.message)
            raise error from refused
        except BaseException:
            self._tell_stop()
            self._end(Reason.HANGUP if self._asked is Reason.NONE else self._asked)
            raise

    def adopt(self) -> None:
        """It was begun in another life of the controller and goes on."""
        self.restored = False
        self._running()

    def stop(self, reason: Reason) -> None:
        """Ask for its end; asking twice is no fault."""
        if self.over or self._asked is not Reason.NONE:
            return
        self._asked = reason
        if self.recording.status is Status.RECORDING:
            self._tell_stop()
            self._check_later()

    # events

    def finished(self) -> None:
        """Asterisk has closed the file."""
        if self._between is not None:
            if not self._between.done():
                self._between.set_result(None)
            return
        self._end(self._asked if self._asked is not Reason.NONE else self._why())

    def failed(self, cause: str) -> None:
        self._end(Reason.FAILED, f"Asterisk could not record: {cause or 'no reason given'}")

    def key_pressed(self, key: str) -> None:
        wanted = self.recording.end_of_key
        if wanted in ("any", key):
            self.stop(Reason.KEY)

    def talking(self, *, begun: bool) -> None:
        """Somebody began to talk, or was silent for as long as ends the recording."""
        if begun:
            self._cancel("silence")
        else:
            self.stop(Reason.SILENCE)

    def left_bridge(self) -> None:
        """What is recorded has left a bridge."""
        if not self.snoop or self.over or self.recording.status is not Status.RECORDING:
            return
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew(), name=f"recording-renew {self.recording.name}")

    def subject_gone(self) -> None:
        """What is recorded has ended, and the recording ends with it."""
        if self._asked is Reason.NONE:
            self._asked = Reason.HANGUP
        self._lose_snoop()
        self._check_later()

    async def check(self) -> None:
        """Ask Asterisk whether it still records; what is not known there any more has ended."""
        if self.over or self.recording.status is Status.INITIATING:
            return
        if self._between is not None:
            self._check_later()
            return
        try:
            live = await self._client.request("GET", self.live, key=self._key)
        except ari.NotFound:
            if not self.ended.is_set():
                self.unheard = True
                self.finished()
            return
        except ari.AriError as error:
            log.warning("recording_unknown", recording_id=self.recording.name, error=str(error))
            return
        if self.ended.is_set():
            return
        if self.restored:
            self._take(str(live["target_uri"]).removeprefix("channel:"))
            self.adopt()
        if self._asked is not Reason.NONE:
            self._tell_stop()
            self._check_later()

    def close(self) -> None:
        """The controller stops; Asterisk goes on recording."""
        for name in list(self._timers):
            self._cancel(name)
        for task in (self._checking, self._renewing):
            if task is not None:
                task.cancel()

    # steps

    async def _renew(self) -> None:
        """Go on through a new snoop channel."""
        loop = asyncio.get_running_loop()
        old = self.snoop
        self._turn += 1
        self.snoop = f"snoop-{self.recording.id}-{self._turn}"
        self._arrived, self._between = loop.create_future(), loop.create_future()
        self._auxiliary[self.snoop] = self._heard
        going_on = False
        try:
            async with asyncio.timeout(START_SECONDS):
                self._tell_stop()
                await self._between
                await self._drop(old)
                await self._open_snoop(self.snoop)
                await self._request_record(f"channels/{self.snoop}", existing="append")
                going_on = True
        except (ari.AriError, TimeoutError) as error:
            log.info("recording_not_renewed", recording_id=self.recording.name, error=repr(error))
        finally:
            self._auxiliary.pop(old, None)
            self._between = None
        if self.over:
            self._client.tell("DELETE", f"channels/{self.snoop}", key=self._key, ignore=_GONE)
        elif not going_on:
            self.finished()
        elif self._asked is not Reason.NONE:
            self._tell_stop()
            self._check_later()

    async def _drop(self, snoop: str) -> None:
        """End a snoop channel and wait until it listens no more: that takes a frame of the call's sound."""
        gone = asyncio.get_running_loop().create_future()

        def heard(event: dict[str, Any]) -> None:
            if event["type"] == "ChannelDestroyed" and not gone.done():
                gone.set_result(None)

        self._auxiliary[snoop] = heard
        await self._client.request(
            "POST",
            f"applications/{self._application}/subscription",
            query={"eventSource": f"channel:{snoop}"},
            key=self._key,
        )
        self._client.tell("DELETE", f"channels/{snoop}", key=self._key, ignore=_GONE)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DROP_SECONDS):
                await gone
        if any(not name.startswith(f"snoop-{self.recording.id}") for name in self._auxiliary):
            # other snoop channels of this call, which go now as well (streams): all of them must be gone
            await asyncio.sleep(OTHERS_SECONDS)

    def _take(self, snoop: str) -> None:
        """The snoop channel that another life of the controller went on with."""
        if self.snoop and snoop.startswith(f"snoop-{self.recording.id}"):
            self._auxiliary.pop(self.snoop, None)
            self.snoop = snoop
            self._auxiliary[snoop] = self._heard
            self._turn = int(time.time())

    async def _open_snoop(self, snoop: str) -> None:
        await self._client.request(
            "POST",
            f"channels/{ari.quote(self.subject)}/snoop/{snoop}",
            query={"app": self._application, "spy": "both", "appArgs": "recording"},
            key=self._key,
        )
        await self._arrived
        if self.recording.end_of_silence:
            await self._client.request(
                "POST",
                f"channels/{snoop}/variable",
                query={
                    "variable": "TALK_DETECT(set)",
                    "value": str(self.recording.end_of_silence * 1000),
                },
                key=self._key,
            )

    async def _record(self) -> None:
        place = f"channels/{self.snoop}" if self.snoop else f"bridges/{ari.quote(self.subject)}"
        await self._request_record(place, existing="fail")
        if self.over:
            self._tell_stop()
            return
        self.recording.status = Status.RECORDING
        self.recording.tm_start = self._clock.now()
        self._running()
        if self._asked is not Reason.NONE:
            self._tell_stop()
            self._check_later()

    async def _request_record(self, place: str, *, existing: str) -> None:
        await self._client.request(
            "POST",
            f"{place}/record",
            query={
                "name": self.recording.name,
                "format": "wav",
                "ifExists": existing,
                "maxDurationSeconds": int(self._left()) + NET_SECONDS,
            },
            key=self._key,
        )

    def _left(self) -> float:
        """Seconds until the recording has its longest duration."""
        began = self.recording.tm_start
        elapsed = 0.0 if began is None else (self._clock.now() - began).total_seconds()
        return max(self.recording.max_seconds - elapsed, 0.0)

    def _running(self) -> None:
        recording = self.recording
        self._arm("duration", self._left(), lambda: self.stop(Reason.DURATION))
        if recording.end_of_silence and self.snoop:
            self._arm("silence", recording.end_of_silence, lambda: self.stop(Reason.SILENCE))
        self._owner.tape_running(self)

    def _heard(self, event: dict[str, Any]) -> None:
        if event["type"] == "StasisStart":
            if not self._arrived.done():
                self._arrived.set_result(None)
        elif self.recording.status is Status.INITIATING:
            self._lose_snoop()
        else:
            self._check_later()

    def _lose_snoop(self) -> None:
        if not self._arrived.done():
            self._arrived.set_exception(ari.NotFound("what was to be recorded is gone", status=404))
            self._arrived.exception()

    def _why(self) -> Reason:
        """Asterisk ended it unasked: at its own limit, or because what it recorded is gone."""
        return Reason.HANGUP if self._left() else Reason.DURATION

    def _check_later(self) -> None:
        self._arm("check", CHECK_SECONDS, self._begin_check)

    def _begin_check(self) -> None:
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self.check(), name=f"recording-check {self.recording.name}")

    def _tell_stop(self) -> None:
        self._client.tell("POST", f"{self.live}/stop", key=self._key, ignore=_GONE)

    def _end(self, reason: Reason, detail: str = "") -> None:
        if self.over:
            return
        self.over = True
        self.ended.set()
        for name in list(self._timers):
            self._cancel(name)
        if self._renewing is not None and self._renewing is not asyncio.current_task():
            self._renewing.cancel()
        if self.snoop:
            self._auxiliary.pop(self.snoop, None)
            self._client.tell("DELETE", f"channels/{self.snoop}", key=self._key, ignore=_GONE)
        self._owner.tape_over(self, reason, detail)

    def _arm(self, name: str, seconds: float, do: Callable[[], None]) -> None:
        self._cancel(name)
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, do)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
