"""A leg that is a channel of Asterisk.

Requests of one call carry the call's id as their key, so that they travel on one WebSocket in the order in which
they were asked for; an answer need not be waited for before the prompt that follows it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from uuid import UUID, uuid4

import structlog

from ringline import ari
from ringline.calls.call import Call
from ringline.calls.leg import Connected, Left, LegError, LegGone, Notes, Playing, Wanted
from ringline.calls.recording import Detected, Recorded, RecordingWanted
from ringline.calls.states import SIP_CAUSE_OF_REASON, Direction, HangupReason, MuteDirection, Status
from ringline.clock import Clock
from ringline.errors import RinglineError
from ringline.media import Prompt
from ringline.sip.cause import Cause

log = structlog.get_logger(__name__)

PLAY_GRACE_SECONDS = 60.0
"""How much longer than its prompts a playback may take before it counts as lost."""
PORTION_MS = 1000
"""How long the keys of one request may take: a hang-up while a key is held is not noticed before they are through."""
QUIET_MS = 100
"""What Asterisk waits before the first key of a request, and between keys where it is told 0."""
MAX_DIGITS = 256
OVERLAP_MS = 500
"""How much of a prompt that was interrupted is heard twice rather than not at all."""
MAX_RESENDS = 3
RESYNC_SECONDS = 1.0


class Connects(Protocol):
    """Who connects a leg with others (``calls.connection``)."""

    async def connect(self, leg: AriLeg, wanted: Wanted, notes: Notes | None = None) -> Connected: ...


class Mutes(Protocol):
    """Who mutes calls (``calls.control``)."""

    async def mute(self, call: Call, direction: MuteDirection) -> None: ...


class Gathers(Protocol):
    """Who puts a leg into a bridge with others (``calls.membership``)."""

    async def join(self, leg: AriLeg, name: str, joined: Callable[[], None] | None = None) -> Left: ...


class EchoesBack(Protocol):
    """Who lets a party hear itself (``calls.echo``)."""

    async def echo(self, leg: AriLeg, seconds: float) -> None: ...


class Recorder(Protocol):
    """Who records legs (``recordings.service``)."""

    async def start_leg(self, leg: AriLeg, wanted: RecordingWanted) -> Recorded: ...

    async def stop_leg(self, leg: AriLeg) -> None: ...


class Detector(Protocol):
    """Who tells people from answering machines (``calls.amd``)."""

    async def detect(self, leg: AriLeg, detection_id: UUID, *, resumed: bool = False) -> Detected: ...

    def detect_behind(self, leg: AriLeg, detection_id: UUID, done: Callable[[Detected], None]) -> None: ...


class Owner(Protocol):
    """The one place that ends legs (``calls.switchboard``)."""

    @property
    def connector(self) -> Connects: ...

    @property
    def muting(self) -> Mutes: ...

    @property
    def gatherings(self) -> Gathers: ...

    @property
    def echoes(self) -> EchoesBack: ...

    @property
    def recorder(self) -> Recorder: ...

    @property
    def detector(self) -> Detector: ...

    def hang_up(self, call: Call, cause: int) -> bool: ...


class Playback:
    """One request to play; ``done`` is set to Asterisk's final state, or ``"lost"`` where nobody knows."""

    __slots__ = ("accepted", "done", "id", "stop_on_digit")

    def __init__(self, playback_id: str = "", *, stop_on_digit: bool = False) -> None:
        self.id = playback_id or str(uuid4())
        self.stop_on_digit = stop_on_digit
        self.accepted = False
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def settle(self, state: str) -> None:
        if not self.done.done():
            self.done.set_result(state)


class AriLeg:
    """Drives one channel. Events of the channel are handed in by the switchboard."""

    __slots__ = (
        "_answering",
        "_behind",
        "_client",
        "_clock",
        "_held",
        "_key",
        "_owner",
        "_playbacks",
        "_resyncing",
        "_waiting",
        "call",
        "digits",
        "gone",
        "leaving",
        "taken",
    )

    def __init__(self, call: Call, client: ari.Client, owner: Owner, clock: Clock) -> None:
        self.call = call
        self.gone = False
        self.leaving = False
        self.taken = False
        """Whether keys were taken out since the leg was last kept."""
        self.digits: deque[str] = deque(maxlen=MAX_DIGITS)
        self._client = client
        self._owner = owner
        self._clock = clock
        self._key = str(call.id)
        self._playbacks: dict[str, Playback] = {}
        self._behind: Playback | None = None
        self._resyncing: asyncio.Task[None] | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._answering = False
        self._held: asyncio.Future[None] | None = None

    async def answer(self) -> None:
        self._check()
        self.answer_soon()

    def answer_soon(self) -> None:
        """Ask for the answer; nobody waits for it, what is asked next queues behind it."""
        if self.call.direction is Direction.OUTGOING and self.call.status is not Status.PROGRESSING:
            # a flow that runs while its own call still rings: only the other side can answer that
            return
        self._answering = True
        self._send("POST", "answer").add_done_callback(self._log_failure)

    async def play(
        self, prompts: Sequence[Prompt], *, stop_on_digit: bool = False, playing: Playing | None = None
    ) -> bool:
        self._stop_behind()
        await self._not_held()
        if playing is not None and playing.since is not None:
            return await self._play_on(prompts, playing, playing.since, stop_on_digit=stop_on_digit)
        playback_id = "" if playing is None else str(playing.id)
        return await self._play(prompts, playback_id, stop_on_digit=stop_on_digit)

    async def _play(
        self, prompts: Sequence[Prompt], playback_id: str = "", *, stop_on_digit: bool, offset_ms: int = 0
    ) -> bool:
        resends = 0
        while resends < MAX_RESENDS:
            await self._not_held()
            playback = self._start(prompts, playback_id, stop_on_digit=stop_on_digit, offset_ms=offset_ms)
            state = await self._end_of(playback, prompts)
            playback_id = ""
            if state == "held":
                continue
            if state != "lost":
                return state != "stopped"
            resends += 1
        raise LegError("PLAYBACK_LOST", "the prompt could not be handed to Asterisk")

    async def _play_on(
        self, prompts: Sequence[Prompt], playing: Playing, since: float, *, stop_on_digit: bool
    ) -> bool:
        """Another controller began to play these: wait for the end where they still play, else play what is left.

        Asterisk went on playing meanwhile. Where it plays no more and not all of the time has passed, the prompt was
        cut short by a key, or never began.
        """
        self._check()
        playback = Playback(str(playing.id), stop_on_digit=stop_on_digit)
        playback.accepted = True
        self._playbacks[playback.id] = playback
        try:
            await self._client.request("GET", f"playbacks/{playback.id}", key=self._key)
        except ari.NotFound:
            self._playbacks.pop(playback.id, None)
        except ari.AriError as error:
            # whoever reconciles asks again
            log.warning("playback_unknown", call_id=self._key, playback_id=playback.id, error=str(error))
        self._check()
        if playback.done.done() or playback.id in self._playbacks:
            state = await self._end_of(playback, prompts)
            if state == "held":
                return await self._play(prompts, stop_on_digit=stop_on_digit)
            return state != "stopped"
        if stop_on_digit and self.digits:
            return False
        over_ms = since * 1000 + OVERLAP_MS
        for index, prompt in enumerate(prompts):
            if over_ms < prompt.duration_ms:
                begin = max(0, int(over_ms) - 2 * OVERLAP_MS)
                return await self._play(prompts[index:], stop_on_digit=stop_on_digit, offset_ms=begin)
            over_ms -= prompt.duration_ms
        return True

    async def _end_of(self, playback: Playback, prompts: Sequence[Prompt]) -> str:
        """``done``, ``stopped`` by a key, ``held``, or ``lost`` where Asterisk never heard of it."""
        seconds = sum(prompt.duration_ms for prompt in prompts) / 1000 + PLAY_GRACE_SECONDS
        try:
            async with asyncio.timeout(seconds):
                state = await playback.done
        except TimeoutError:
            self._stop(playback)
            raise LegError("PLAYBACK_TIMEOUT", "Asterisk did not report the end of the prompt") from None
        finally:
            self._playbacks.pop(playback.id, None)
        if state == "failed":
            await self._explain_failure()
        return state

    def play_behind(self, prompts: Sequence[Prompt]) -> None:
        self._stop_behind()
        playback = self._behind = self._start(prompts, stop_on_digit=False)
        playback.done.add_done_callback(lambda _: self._playbacks.pop(playback.id, None))

    async def send_digits(
        self, digits: str, *, duration_ms: int, interval_ms: int, sending: Callable[[int], None] | None = None
    ) -> None:
        self._check()
        pause_ms = interval_ms or QUIET_MS
        portion = max(1, PORTION_MS // (duration_ms + pause_ms))
        for start in range(0, len(digits), portion):
            keys = digits[start : start + portion]
            if sending is not None:
                sending(start + len(keys))
            # before the first key of each request Asterisk is quiet of its own accord
            between_ms = pause_ms if portion > 1 else max(1, pause_ms - QUIET_MS)
            await self._press(keys, duration_ms=duration_ms, between_ms=between_ms)
            await self.wait((QUIET_MS + len(keys) * (duration_ms + between_ms)) / 1000)

    async def receive_digits(self, *, seconds: float, length: int, end_keys: str) -> str:
        self._check()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while (enough := self._enough(length, end_keys)) is None:
                    await self._next_digit()
                return self._take(enough)
        self._check()
        return self._take(len(self.digits))

    def _enough(self, length: int, end_keys: str) -> int | None:
        """How many of the keys pressed are the input, ``None`` where it has not ended yet.

        They stay with the leg until then, so that they are not lost with the controller.
        """
        for count, key in enumerate(self.digits, start=1):
            if count == length or key in end_keys:
                return count
        return None

    def _take(self, count: int) -> str:
        self.taken = self.taken or count > 0
        return "".join(self.digits.popleft() for _ in range(count))

    async def wait(self, seconds: float) -> None:
        self._check()
        await self._clock.sleep(seconds)
        self._check()

    async def mute(self, direction: MuteDirection) -> None:
        self._check()
        try:
            await self._owner.muting.mute(self.call, direction)
        except RinglineError as error:
            self._check()
            raise LegError("MUTE_FAILED", error.message) from error

    async def echo(self, seconds: float) -> None:
        self._check()
        await self._owner.echoes.echo(self, seconds)
        self._check()

    async def connect(self, wanted: Wanted, notes: Notes | None = None) -> Connected:
        self._check()
        return await self._owner.connector.connect(self, wanted, notes)

    def note(self, what: str, detail: str = "") -> None:
        pass

    def hush(self) -> None:
        """End at once whatever plays: the request is on its way when this returns."""
        for playback in list(self._playbacks.values()):
            if not playback.done.done():
                self._stop(playback)

    async def join_bridge(self, name: str, *, joined: Callable[[], None] | None = None) -> Left:
        self._check()
        # a prompt that still plays would keep the channel, and everything asked of it, waiting
        self.hush()
        return await self._owner.gatherings.join(self, name, joined)

    async def record(self, wanted: RecordingWanted) -> Recorded:
        self._check()
        return await self._owner.recorder.start_leg(self, wanted)

    async def stop_recording(self) -> None:
        self._check()
        await self._owner.recorder.stop_leg(self)

    async def detect_machine(self, detection_id: UUID, *, resumed: bool = False) -> Detected:
        self._check()
        return await self._owner.detector.detect(self, detection_id, resumed=resumed)

    def detect_machine_behind(self, detection_id: UUID, done: Callable[[Detected], None]) -> None:
        self._check()
        self._owner.detector.detect_behind(self, detection_id, done)

    def hang_up(self, reason: HangupReason = HangupReason.NORMAL, cause: int = 0) -> None:
        if reason is HangupReason.AMD and not self.call.ending:
            self.call.end_cause = int(Cause.CALL_AMD)
        self._owner.hang_up(self.call, cause or SIP_CAUSE_OF_REASON[reason])

    # being connected (``calls.connection``)

    @property
    def up(self) -> bool:
        """Whether the call is answered, or about to be because we asked for it."""
        return self._answering or self.call.status is Status.PROGRESSING

    async def _press(self, keys: str, *, duration_ms: int, between_ms: int) -> None:
        try:
            await self._send(
                "POST", "dtmf", query={"dtmf": keys, "duration": duration_ms, "between": between_ms}
            )
        except ari.NotFound as error:
            raise LegGone from error
        except ari.AriError as error:
            raise LegError("DIGITS_FAILED", f"Asterisk did not take the digits: {error}") from error

    # a controller after this one

    def kept(self) -> dict[str, Any]:
        """What it needs to go on with the leg, as JSON."""
        self.taken = False
        behind = self._behind
        return {
            "digits": "".join(self.digits),
            "answering": self._answering,
            "behind": None if behind is None or behind.done.done() else behind.id,
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Be the leg that was kept."""
        self.digits.extend(kept.get("digits", ""))
        self._answering = bool(kept.get("answering"))
        if kept.get("behind"):
            playback = self._behind = Playback(str(kept["behind"]))
            playback.accepted = True
            self._playbacks[playback.id] = playback
            playback.done.add_done_callback(lambda _: self._playbacks.pop(playback.id, None))

    # what the switchboard tells

    def digit_received(self, digit: str) -> None:
        """A key was pressed: keep it for whoever asks, and end prompts that a key may end."""
        self.digits.append(digit)
        self._wake()
        for playback in self._playbacks.values():
            if playback.stop_on_digit and not playback.done.done():
                self._stop(playback)

    def playback_finished(self, playback_id: str, state: str) -> None:
        playback = self._playbacks.get(playback_id)
        if playback is not None:
            playback.settle(state)

    def hold_prompts(self, held: bool) -> None:
        """While the party is on hold prompts wait, and one that is cut off begins anew (``calls.control``)."""
        if held and self._held is None:
            self._held = asyncio.get_running_loop().create_future()
            for playback in self._playbacks.values():
                if not playback.done.done():
                    # Asterisk puts what is asked of a channel behind what it plays
                    self._stop(playback, "held")
        elif not held and self._held is not None:
            self._held.set_result(None)
            self._held = None

    def ended(self) -> None:
        """The channel is gone: whoever waits on the leg is told so."""
        self.gone = True
        self.hold_prompts(False)
        self._wake()
        for playback in list(self._playbacks.values()):
            if not playback.done.done():
                playback.done.set_exception(LegGone())
                playback.done.exception()
        self._playbacks.clear()
        if self._resyncing is not None:
            self._resyncing.cancel()

    async def resync(self) -> None:
        """Events may have been missed: ask Asterisk which of our prompts still play."""
        for playback in list(self._playbacks.values()):
            try:
                await self._client.request("GET", f"playbacks/{playback.id}", key=self._key)
            except ari.NotFound:
                playback.settle("done" if playback.accepted else "lost")
            except ari.AriError as error:
                log.warning("playback_unknown", call_id=self._key, playback_id=playback.id, error=str(error))

    def _begin_resync(self) -> None:
        if self._playbacks and (self._resyncing is None or self._resyncing.done()):
            self._resyncing = asyncio.create_task(self.resync(), name="resync")

    def _stop(self, playback: Playback, state: str = "stopped") -> None:
        self._client.tell("DELETE", f"playbacks/{playback.id}", key=self._key)
        playback.settle(state)

    def _stop_behind(self) -> None:
        """End what plays behind: Asterisk would put the next prompt after it, not in its place."""
        behind, self._behind = self._behind, None
        if behind is not None and not behind.done.done():
            self._stop(behind)

    async def _not_held(self) -> None:
        """Return when prompts may be played; raises ``LegGone`` when the leg ends instead."""
        while self._held is not None:
            await asyncio.shield(self._held)
            self._check()

    async def _next_digit(self) -> None:
        """Return at the next key; raises ``LegGone`` when the leg ends instead."""
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None
        self._check()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # requests

    def _check(self) -> None:
        if self.gone:
            raise LegGone

    def _send(
        self, method: str, what: str, *, query: dict[str, Any] | None = None, body: Any = None
    ) -> asyncio.Future[Any]:
        uri = f"channels/{ari.quote(self.call.channel_id)}/{what}"
        return self._client.send(method, uri, query=query, body=body, key=self._key)

    def _start(
        self, prompts: Sequence[Prompt], playback_id: str = "", *, stop_on_digit: bool, offset_ms: int = 0
    ) -> Playback:
        self._check()
        playback = Playback(playback_id, stop_on_digit=stop_on_digit)
        self._playbacks[playback.id] = playback
        body: dict[str, Any] = {"media": [prompt.media for prompt in prompts]}
        if offset_ms:
            body["offsetms"] = offset_ms
        request = self._send("POST", f"play/{playback.id}", body=body)
        request.add_done_callback(lambda done: self._play_answered(playback, done))
        return playback

    def _play_answered(self, playback: Playback, request: asyncio.Future[Any]) -> None:
        if request.cancelled():
            playback.settle("lost")
            return
        error = request.exception()
        if error is None:
            playback.accepted = True
        elif isinstance(error, ari.Unanswered):
            # Asterisk may or may not have heard it; where the whole connection is lost, reconciling asks as well
            log.warning("play_unanswered", call_id=self._key, error=str(error))
            asyncio.get_running_loop().call_later(RESYNC_SECONDS, self._begin_resync)
        else:
            self.leaving = self.leaving or isinstance(error, ari.NotFound)
            playback.settle("failed")

    async def _explain_failure(self) -> None:
        """A playback also fails because the caller hung up; the channel's own event then follows at once."""
        if not self.leaving:
            await asyncio.sleep(0.2)
        if self.gone or self.leaving or self.call.ending:
            raise LegGone
        raise LegError("PLAYBACK_FAILED", "Asterisk could not play the prompt")

    def _log_failure(self, request: asyncio.Future[Any]) -> None:
        if not request.cancelled() and (error := request.exception()) is not None and not self.gone:
            log.warning("leg_request_failed", call_id=self._key, error=str(error))
