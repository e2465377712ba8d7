"""A leg without a telephone: it keeps a trace of what it was asked for, in virtual time.

For unit tests, and for users who try a flow in a terminal. The other side's keys and its hang-up are scripted by
the moment at which they come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from ringline.calls.call import Call
from ringline.calls.leg import Connected, Left, LegGone, Notes, Playing, Wanted
from ringline.calls.recording import Answerer, Detected, Recorded, RecordingWanted
from ringline.calls.simulated_line import SimulatedRecorder
from ringline.calls.states import (
    SIP_CAUSE_OF_REASON,
    Direction,
    HangupReason,
    MuteDirection,
    Status,
    local_ending,
)
from ringline.clock import Clock
from ringline.media import Prompt
from ringline.sip.address import Address
from ringline.sip.cause import Cause

DIAL_SECONDS = 60.0
"""How long telephones ring that nobody answers."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One thing that happened on the leg: when (seconds from its start), what, and with what."""

    at: float
    what: str
    detail: str = ""


@dataclass(slots=True)
class Script:
    """What the other side does, by seconds from the start: keys in order, and a hang-up.

    ``answers_after`` and ``talks_for``: how long whoever the leg is connected with rings and stays; ``None``: nobody
    answers. ``stays_for``: when it is taken out of a bridge that it joined. ``answerer``: who an answering machine
    detection finds, ``detected_after`` so many seconds.
    """

    digits: list[tuple[float, str]] = field(default_factory=list)
    hangs_up_at: float | None = None
    answers_after: float | None = 1.0
    talks_for: float = 10.0
    stays_for: float = 10.0
    answerer: Answerer = "HUMAN"
    detected_after: float = 2.0


def simulated_call(
    clock: Clock, *, direction: Direction = Direction.OUTGOING, customer_id: UUID | None = None
) -> Call:
    """A call record for a simulated leg: an outgoing one is answered, an incoming one rings."""
    now = clock.now()
    outgoing = direction is Direction.OUTGOING
    return Call(
        id=uuid4(),
        customer_id=customer_id or uuid4(),
        direction=direction,
        source=Address(type="tel", target="+15551234567"),
        destination=Address(type="tel", target="+15559876543"),
        channel_id="simulated",
        status=Status.PROGRESSING if outgoing else Status.RINGING,
        tm_create=now,
        tm_ringing=now,
        tm_progressing=now if outgoing else None,
    )


class SimulatedLeg:
    """A leg in memory (``calls.leg.Leg``)."""

    def __init__(self, call: Call, clock: Clock, script: Script | None = None) -> None:
        self.call = call
        self.trace: list[Heard] = []
        self._clock = clock
        self._began = clock.monotonic()
        self._script = script or Script()
        self._recorder = SimulatedRecorder(call, self._note)
        self._due: list[tuple[float, Callable[[], None]]] = []

    async def answer(self) -> None:
        self._check()
        if self.call.advance(Status.PROGRESSING, self._clock.now()):
            self._note("answer")

    async def play(
        self, prompts: Sequence[Prompt], *, stop_on_digit: bool = False, playing: Playing | None = None
    ) -> bool:
        self._check()
        for prompt in prompts:
            self._note("play", prompt.path)
            ends = self._elapsed() + prompt.duration_ms / 1000
            key = self._next_digit(before=ends) if stop_on_digit else None
            await self.wait((key if key is not None else ends) - self._elapsed())
            if key is not None:
                self._note("stopped")
                return False
        return True

    def play_behind(self, prompts: Sequence[Prompt]) -> None:
        self._check()
        for prompt in prompts:
            self._note("play_behind", prompt.path)

    async def send_digits(
        self, digits: str, *, duration_ms: int, interval_ms: int, sending: Callable[[int], None] | None = None
    ) -> None:
        self._check()
        if sending is not None:
            sending(len(digits))
        self._note("digits", digits)
        await self.wait((len(digits) * duration_ms + (len(digits) - 1) * interval_ms) / 1000)

    async def receive_digits(self, *, seconds: float, length: int, end_keys: str) -> str:
        self._check()
        received, ends = "", self._elapsed() + seconds
        while self._script.digits and self._script.digits[0][0] <= ends:
            at, key = self._script.digits.pop(0)
            await self.wait(max(at - self._elapsed(), 0.0))
            received += key
            if len(received) == length or key in end_keys:
                break
        else:
            await self.wait(max(ends - self._elapsed(), 0.0))
        self._note("received", received)
        return received

    async def mute(self, direction: MuteDirection) -> None:
        self._check()
        self.call.mute_direction = direction
        self._note("mute", direction or "none")

    async def echo(self, seconds: float) -> None:
        self._check()
        self._note("echo")
        await self.wait(seconds)

    async def wait(self, seconds: float) -> None:
        self._check()
        until = self._elapsed() + seconds
        while due := [entry for entry in self._due if entry[0] <= until]:
            first = min(due, key=lambda entry: entry[0])
            self._due.remove(first)
            await self._pass(max(first[0] - self._elapsed(), 0.0))
            first[1]()
            self._check()
        await self._pass(max(until - self._elapsed(), 0.0))

    async def _pass(self, seconds: float) -> None:
        """Let time pass in which nothing is due."""
        ends = self._script.hangs_up_at
        if ends is not None and self._elapsed() + seconds >= ends:
            await self._clock.sleep(max(ends - self._elapsed(), 0.0))
            self._note("hangup", "remote")
            self.call.end(Cause.NORMAL_CLEARING, self._clock.now())
            raise LegGone
        await self._clock.sleep(seconds)

    async def connect(self, wanted: Wanted, notes: Notes | None = None) -> Connected:
        self._check()
        self._note("connect", ",".join(address.target for address in wanted.destinations))
        if self._script.answers_after is None:
            await self.wait(DIAL_SECONDS)
            return Connected(False, HangupReason.DIALOUT, int(Cause.UNKNOWN))
        await self.wait(self._script.answers_after)
        await self.answer()
        self._note("connected")
        await self.wait(self._script.talks_for)
        self._note("disconnected")
        return Connected(True, HangupReason.NORMAL, int(Cause.NORMAL_CLEARING))

    def note(self, what: str, detail: str = "") -> None:
        self._note(what, detail)

    async def join_bridge(self, name: str, *, joined: Callable[[], None] | None = None) -> Left:
        await self.answer()
        self._note("join", name)
        if joined is not None:
            joined()
        await self.wait(self._script.stays_for)
        self._note("leave", name)
        return Left.KICKED

    async def record(self, wanted: RecordingWanted) -> Recorded:
        self._check()
        made = self._recorder.start(wanted)
        if wanted.duration:
            self._later(wanted.duration, lambda: self._recorder.expire(wanted))
        return made

    async def stop_recording(self) -> None:
        self._check()
        self._recorder.stop()

    async def detect_machine(self, detection_id: UUID, *, resumed: bool = False) -> Detected:
        await self.wait(self._script.detected_after)
        self._note("amd", self._script.answerer)
        return Detected(self._script.answerer, "SIMULATED")

    def detect_machine_behind(self, detection_id: UUID, done: Callable[[Detected], None]) -> None:
        self._check()

        def detected() -> None:
            self._note("amd", self._script.answerer)
            done(Detected(self._script.answerer, "SIMULATED"))

        self._later(self._script.detected_after, detected)

    def hang_up(self, reason: HangupReason = HangupReason.NORMAL, cause: int = 0) -> None:
        if self.call.ending:
            return
        if reason is HangupReason.AMD:
            self.call.end_cause = int(Cause.CALL_AMD)
        self._note("hangup", reason.value)
        self.call.advance(local_ending(self.call.direction, self.call.status), self._clock.now())
        self.call.end(cause or SIP_CAUSE_OF_REASON[reason], self._clock.now())

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something once so much time has passed on the leg, whatever is done on it meanwhile."""
        self._due.append((self._elapsed() + seconds, do))

    def _elapsed(self) -> float:
        return self._clock.monotonic() - self._began

    def _next_digit(self, *, before: float) -> float | None:
        """When the next key is pressed, if that is before a moment."""
        now = self._elapsed()
        return next((at for at, _ in self._script.digits if now <= at < before), None)

    def _note(self, what: str, detail: str = "") -> None:
        self.trace.append(Heard(round(self._elapsed(), 3), what, detail))

    def _check(self) -> None:
        if self.call.ending:
            raise LegGone
