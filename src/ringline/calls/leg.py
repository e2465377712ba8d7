"""What an action may ask of the telephone leg it runs on.

One implementation drives a channel of Asterisk (``calls.ari_leg``), another lives in memory
(``calls.simulated``), so that a flow runs in a unit test in microseconds and without a telephone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from ringline.calls.call import Call
from ringline.calls.caller import Anonymity
from ringline.calls.recording import Detected, Recorded, RecordingWanted
from ringline.calls.states import HangupReason, MuteDirection
from ringline.media import Prompt
from ringline.sip.address import Address


class LegGone(Exception):
    """The leg ended while it was asked for something. Not a fault: callers hang up during every step."""


class LegError(Exception):
    """The leg is there and refused. ``reason`` is a code for the record, ``message`` a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom a leg is to be connected with. All destinations ring at once.

    ``early_media``: what the other side sends before it answers (RFC 3960) is heard in place of our ringback.
    """

    source: Address
    destinations: Sequence[Address]
    anonymous: Anonymity = "auto"
    early_media: bool = False


@dataclass(frozen=True, slots=True)
class Connected:
    """How a connection ended. ``reason`` and ``cause`` (Q.850, 0 unknown) are those of the first destination."""

    answered: bool
    reason: HangupReason
    cause: int


class Left(StrEnum):
    """Why a leg is no longer in the bridge it joined, its call going on: taken out alone, with all others, or the
    bridge itself is gone."""

    KICKED = "kicked"
    DISSOLVED = "dissolved"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Playing:
    """A playback whose id was chosen, and stored, before it begins.

    ``since``: it was begun that many seconds ago, by a controller that died. What of it is over is not played again.
    """

    id: UUID
    since: float | None = None


class Notes(Protocol):
    """What an action has noted of its work so far, to go on after a restart (``flows.progress.Progress``)."""

    @property
    def resumed(self) -> bool:
        """Whether the action had begun in another controller."""

    def get(self, name: str, default: Any = None) -> Any: ...

    def keep(self, **notes: Any) -> None: ...


class Leg(Protocol):
    """A call's side of the conversation. Every coroutine raises ``LegGone`` once the leg has ended."""

    @property
    def call(self) -> Call:
        """The record of the call whose leg this is."""

    async def answer(self) -> None:
        """Answer an incoming call; harmless on one that is up. What is asked next queues behind it."""

    async def play(
        self, prompts: Sequence[Prompt], *, stop_on_digit: bool = False, playing: Playing | None = None
    ) -> bool:
        """Play prompts one after another and return when the last has ended.

        ``playing``: under this id, or what is left of what plays under it.
        ``True`` when they were heard to the end, ``False`` when a digit cut them short.
        Raises ``LegError`` where they cannot be played.
        """

    def play_behind(self, prompts: Sequence[Prompt]) -> None:
        """Start prompts and return at once; they end with the leg, or when other prompts are to be played."""

    async def send_digits(
        self, digits: str, *, duration_ms: int, interval_ms: int, sending: Callable[[int], None] | None = None
    ) -> None:
        """Press DTMF digits (``0-9A-D#*``) and return when the last was sent (RFC 4733).

        They go in portions; ``sending`` is told how many there will have been, before each is sent.
        """

    async def receive_digits(self, *, seconds: float, length: int, end_keys: str) -> str:
        """Keys pressed by the other side, those pressed since the last time included.

        Returns after ``length`` keys (0: no such end), with one of ``end_keys``, or after ``seconds``.
        """

    async def mute(self, direction: MuteDirection) -> None:
        """Mute the leg in exactly this direction. Raises ``LegError``."""

    async def echo(self, seconds: float) -> None:
        """Let the other side hear itself for so long. Raises ``LegError``."""

    async def wait(self, seconds: float) -> None:
        """Let time pass on the leg."""

    async def connect(self, wanted: Wanted, notes: Notes | None = None) -> Connected:
        """Ring others and talk with the first who answers; returns when that is over or nobody answered.

        With ``notes`` of another controller's, what it had brought about goes on.

        Raises ``LegError`` where the two cannot be brought together, ``RinglineError`` where nobody can be called.
        """

    def note(self, what: str, detail: str = "") -> None:
        """Put something on the trace of a leg that keeps one, where an action has no service to do it with."""

    async def join_bridge(self, name: str, *, joined: Callable[[], None] | None = None) -> Left:
        """Be in the bridge ``name`` with whoever else is, until taken out (``calls.membership``).

        A call that rings is answered first; ``joined`` is called once the leg is in. Raises ``LegError`` where it
        cannot be.
        """

    async def record(self, wanted: RecordingWanted) -> Recorded:
        """Record both directions from now on, whatever is done on the leg; returns once it records.

        Raises ``RinglineError``: one recording at a time (``RECORDING_ALREADY_ACTIVE``), and nothing that cannot be.
        """

    async def stop_recording(self) -> None:
        """End what is being recorded. Raises ``RinglineError`` (``RECORDING_NOT_ACTIVE``)."""

    async def detect_machine(self, detection_id: UUID, *, resumed: bool = False) -> Detected:
        """Listen for some seconds to who answered. Raises ``LegError`` where that cannot be told.

        ``resumed``: the detection of that id began in another life of the controller.
        """

    def detect_machine_behind(self, detection_id: UUID, done: Callable[[Detected], None]) -> None:
        """The same, while the leg is used; ``done`` is called unless the leg ends before."""

    def hang_up(self, reason: HangupReason = HangupReason.NORMAL, cause: int = 0) -> None:
        """Ask for the end of the call. Idempotent; the record is made when the channel is gone.

        ``cause`` (Q.850) is what the other side is told; 0: the one that goes with the reason.
        """
