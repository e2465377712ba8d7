"""The tried call's leg, its prompts, and the servers that it seems to talk with."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

import orjson

from ringline.calls.absent import AbsentLeg
from ringline.calls.call import Call
from ringline.calls.leg import Connected, LegGone, Notes, Wanted
from ringline.calls.simulated import Heard, Script, SimulatedLeg
from ringline.clock import VirtualClock
from ringline.flows.actions import NewCalls
from ringline.flows.simulation.scenario import MAX_SECONDS, Scenario, WebAnswer
from ringline.media import Prompt
from ringline.media.ssml import parse
from ringline.sip.cause import Cause
from ringline.webhooks.exchange import Answer, ExchangeFailed, Request

SECONDS_PER_CHARACTER: Final = 0.07
"""How fast people (and engines) speak, about."""
KEY_SECONDS: Final = 0.5
FILE_SECONDS: Final = 3.0
BEEP_MS: Final = 400

Ask = Callable[[float, int, str], Awaitable[str | None]]
"""Asks somebody for keys: seconds to wait, how many, ending keys. ``None``: they hang up."""


class TriedLeg(SimulatedLeg):
    """A simulated leg whose other side follows a scenario; each note on its trace is told at once."""

    def __init__(
        self,
        call: Call,
        clock: VirtualClock,
        scenario: Scenario,
        tell: Callable[[Heard], None],
        ask: Ask | None = None,
    ) -> None:
        self._tried = Script(
            digits=scenario.timed_keys(),
            hangs_up_at=scenario.hangup_at,
            answerer=scenario.answerer,
            stays_for=scenario.stays_for,
        )
        super().__init__(call, clock, self._tried)
        self._keys = deque(scenario.asked_keys())
        self._parties = deque(scenario.parties)
        self._tell = tell
        self._ask = ask

    async def receive_digits(self, *, seconds: float, length: int, end_keys: str) -> str:
        self._check()
        self._note("waits", _waits(seconds, length, end_keys))
        now = self._elapsed()
        if not any(at <= now + seconds for at, _ in self._tried.digits):
            keys = await self._next_keys(seconds, length, end_keys)
            if keys is None:
                self._tried.hangs_up_at = now
            else:
                self._tried.digits[:0] = _pressed(keys, now, seconds, length, end_keys)
        return await super().receive_digits(seconds=seconds, length=length, end_keys=end_keys)

    async def connect(self, wanted: Wanted, notes: Notes | None = None) -> Connected:
        if self._parties:
            party = self._parties[0] if len(self._parties) == 1 else self._parties.popleft()
            self._tried.answers_after, self._tried.talks_for = party.answers_after, party.talks_for
        return await super().connect(wanted, notes)

    async def wait(self, seconds: float) -> None:
        ends = self._tried.hangs_up_at
        if self._elapsed() + seconds >= MAX_SECONDS and (ends is None or ends > MAX_SECONDS):
            self._check()
            await self._clock.sleep(max(MAX_SECONDS - self._elapsed(), 0.0))
            self._note("hangup", "timeout")
            self.call.end(Cause.CALL_DURATION_TIMEOUT, self._clock.now())
            raise LegGone
        await super().wait(seconds)

    async def _next_keys(self, seconds: float, length: int, end_keys: str) -> str | None:
        if self._ask is not None and not self._keys:
            return await self._ask(seconds, length, end_keys)
        return self._keys.popleft() if self._keys else ""

    def _note(self, what: str, detail: str = "") -> None:
        super()._note(what, detail)
        self._tell(self.trace[-1])


def _waits(seconds: float, length: int, end_keys: str) -> str:
    many = "any number of keys" if not length else "1 key" if length == 1 else f"{length} keys"
    return f"for {many}{f' or one of {end_keys}' if end_keys else ''}, at most {seconds:g} s"


def _pressed(keys: str, now: float, seconds: float, length: int, end_keys: str) -> list[tuple[float, str]]:
    """The keys that are taken this time, with their moments; the rest of them is not pressed."""
    taken = []
    for index, key in enumerate(keys[: length or None]):
        taken.append((now + min(KEY_SECONDS * (index + 1), seconds), key))
        if key in end_keys:
            break
    return taken


class TriedAbsence(AbsentLeg):
    """No call at all: the flow runs for a text. What it wants done is told."""

    def __init__(self, customer_id: UUID, clock: VirtualClock, tell: Callable[[Heard], None]) -> None:
        super().__init__(customer_id, clock.now())
        self._clock = clock
        self._tell = tell

    def note(self, what: str, detail: str = "") -> None:
        self._tell(Heard(round(self._clock.monotonic(), 3), what, detail))


class TriedMedia:
    """Prompts that nobody renders: their length is guessed from their text."""

    def __init__(self, scenario: Scenario) -> None:
        self._files = scenario.files

    async def speech(self, text: str, language: str = "en-US", voice_id: str = "") -> Prompt:
        script = parse(text)
        milliseconds = script.pause_ms + round(1000 * SECONDS_PER_CHARACTER * script.characters)
        return Prompt(f"speech:{text}", max(milliseconds, 300))

    async def file(self, url: str) -> Prompt:
        return Prompt(f"file:{url}", round(1000 * self._files.get(url, FILE_SECONDS)))

    async def beep(self) -> Prompt:
        return Prompt("beep", BEEP_MS)


class TriedServers:
    """Answers of the scenario in place of servers (``webhooks.exchange.Exchanges``). Nothing is ever sent."""

    def __init__(self, answers: Sequence[WebAnswer], note: Callable[[str, str], None]) -> None:
        self._answers = answers
        self._note = note

    async def run(
        self, request: Request, *, max_bytes: int, cut: bool = False, seconds: float = 10.0
    ) -> Answer:
        found = next((answer for answer in self._answers if _fits(answer, request)), None)
        if found is None:
            self._note("request", f"{request.method} {request.url}: the scenario has no answer")
            return Answer(200 if cut else 204)
        if found.fails:
            self._note("request", f"{request.method} {request.url}: fails ({found.fails})")
            raise ExchangeFailed(found.fails, f"{request.url}: the scenario says so")
        body = found.body.encode() if isinstance(found.body, str) else orjson.dumps(found.body)
        body = b"" if found.body is None else body
        if len(body) > max_bytes and not cut:
            raise ExchangeFailed("TOO_LARGE", f"{request.url}: more than {max_bytes} bytes")
        self._note("request", f"{request.method} {request.url}: {found.status}")
        return Answer(found.status, body[:max_bytes], whole=len(body) <= max_bytes)

    def noted(self, request: Request) -> None:
        """A request that nobody waits for."""
        self._note("request", f"{request.method} {request.url}: in the background")


def _fits(answer: WebAnswer, request: Request) -> bool:
    if answer.method and answer.method != request.method:
        return False
    if answer.url.endswith("*"):
        return request.url.startswith(answer.url[:-1])
    return request.url == answer.url


class TriedCalls:
    """Calls that are noted and not placed (``flows.actions.services.Calls``)."""

    def __init__(self, note: Callable[[str, str], None]) -> None:
        self._note = note

    async def place(self, parent: Call, wanted: NewCalls) -> None:
        self._note("call", ", ".join(address.target for address in wanted.destinations))
