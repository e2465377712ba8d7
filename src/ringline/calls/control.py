"""Control of a live call from outside: hold, music, silence, mute.

The state is in Asterisk and in the call's record, so that it is there after a restart. What is heard instead of the
conversation (hold, music, silence) ends when the call is put into a bridge: whoever brings two parties together wants
them to hear each other. A mute is the microphone's and stays.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal, Protocol
from uuid import UUID

import structlog

from ringline import ari
from ringline.calls.background import Backgrounds
from ringline.calls.call import Call
from ringline.calls.journal import Journal
from ringline.calls.line import Line
from ringline.calls.states import MuteDirection, Status
from ringline.clock import Clock
from ringline.errors import FailedPrecondition, Unavailable

log = structlog.get_logger(__name__)

Sounding = Literal["moh", "silence"]
"""Flags of the record that say what a party hears in place of the conversation."""
_PARTS: Final[dict[MuteDirection, frozenset[str]]] = {
    "": frozenset(),
    "in": frozenset({"in"}),
    "out": frozenset({"out"}),
    "both": frozenset({"in", "out"}),
}
_LEAVING = (404, 409, 412)


class Lines(Protocol):
    """The part of the switchboard that is needed (``calls.switchboard``)."""

    def lines(self) -> list[Line]: ...

    def line(self, call_id: UUID) -> Line | None: ...

    def line_on(self, channel_id: str) -> Line | None: ...


class Controls:
    """What ``POST`` and ``DELETE /v1.0/calls/{id}/hold|moh|mute|silence`` and the action ``mute`` do."""

    def __init__(
        self, client: ari.Client, lines: Lines, journal: Journal, backgrounds: Backgrounds, clock: Clock
    ) -> None:
        self._client = client
        self._lines = lines
        self._journal = journal
        self._backgrounds = backgrounds
        self._clock = clock

    def start(self) -> None:
        """Listen to Asterisk's events."""
        self._client.on_event("ChannelEnteredBridge", self._on_entered)

    def restore(self) -> None:
        """Calls of another life of the controller that are held: their flows' prompts go on waiting."""
        for line in self._lines.lines():
            self._let_prompts_wait(line.call)

    # what may be asked. Each is idempotent and raises FailedPrecondition (CALL_STATE_INVALID) or Unavailable.

    async def hold(self, call: Call, on: bool) -> None:
        """Tell the other side that it is on hold (re-INVITE with ``a=sendonly``, RFC 3264) and play music to it."""
        _check(call)
        if call.hold is on:
            return
        call.hold = on
        self._let_prompts_wait(call)
        request = self._send("POST" if on else "DELETE", call, "hold")
        sounding = self._backgrounds.update(call)
        try:
            await _answered(request)
            if sounding is not None:
                await _answered(sounding)
        except (FailedPrecondition, Unavailable):
            call.hold = not on
            self._backgrounds.update(call)
            raise
        finally:
            self._changed(call)

    async def sound(self, call: Call, flag: Sounding, on: bool) -> None:
        """Let the party hear music on hold, or silence, in place of everything else. Silence wins over music."""
        _check(call)
        if getattr(call, flag) is on:
            return
        request = self.sound_soon(call, flag, on)
        try:
            if request is not None:
                await _answered(request)
        except (FailedPrecondition, Unavailable):
            self.sound_soon(call, flag, not on)
            raise

    def sound_soon(self, call: Call, flag: Sounding, on: bool) -> asyncio.Future[Any] | None:
        """The same without waiting for Asterisk."""
        setattr(call, flag, on)
        self._let_prompts_wait(call)
        request = self._backgrounds.update(call)
        self._changed(call)
        return request

    async def mute(self, call: Call, direction: MuteDirection, *, answered: bool = False) -> None:
        """Mute the call in exactly this direction: ``in`` is what the other side says, ``out`` what it hears.

        ``answered``: only a call that is.
        """
        if answered:
            _check(call)
        elif call.ending:
            raise _wrong_state(call)
        before, wanted = _PARTS[call.mute_direction], _PARTS[direction]
        requests = [
            self._send(method, call, "mute", direction=_named(parts))
            for method, parts in (("DELETE", before - wanted), ("POST", wanted - before))
            if parts
        ]
        if not requests:
            return
        earlier, call.mute_direction = call.mute_direction, direction
        try:
            for request in requests:
                await _answered(request)
        except (FailedPrecondition, Unavailable):
            call.mute_direction = earlier
            raise
        finally:
            self._changed(call)

    # what happens

    def _on_entered(self, event: dict[str, Any]) -> None:
        channel_id = event["channel"]["id"]
        line = self._lines.line_on(channel_id)
        if line is not None and ((call := line.call).hold or call.moh or call.silence):
            if call.hold:
                uri = f"channels/{ari.quote(channel_id)}/hold"
                self._client.tell("DELETE", uri, key=str(call.id), ignore=_LEAVING)
            call.hold = call.moh = call.silence = False
            self._let_prompts_wait(call)
            self._changed(call)
        self._backgrounds.entered_bridge(channel_id)

    def _let_prompts_wait(self, call: Call) -> None:
        """What a flow says to a party that is on hold is said afterwards: it would end the music."""
        line = self._lines.line(call.id)
        if line is not None:
            line.leg.hold_prompts(call.hold or call.moh or call.silence)

    def _changed(self, call: Call) -> None:
        call.tm_update = self._clock.now()
        self._journal.touch(call)

    def _send(self, method: str, call: Call, what: str, **query: str) -> asyncio.Future[Any]:
        uri = f"channels/{ari.quote(call.channel_id)}/{what}"
        return self._client.send(method, uri, query=query or None, key=str(call.id))


def added(present: MuteDirection, direction: MuteDirection) -> MuteDirection:
    """The direction that is muted when ``direction`` is muted as well."""
    return _named(_PARTS[present] | _PARTS[direction])


def removed(present: MuteDirection, direction: MuteDirection) -> MuteDirection:
    """The direction that is left when ``direction`` is muted no more."""
    return _named(_PARTS[present] - _PARTS[direction])


def _named(parts: frozenset[str]) -> MuteDirection:
    return next(name for name, known in _PARTS.items() if known == parts)


def _check(call: Call) -> None:
    if call.status is not Status.PROGRESSING:
        raise _wrong_state(call)


def _wrong_state(call: Call) -> FailedPrecondition:
    return FailedPrecondition(
        f"The call is in state `{call.status}`; this can be done while it is `progressing`.",
        reason="CALL_STATE_INVALID",
    )


async def _answered(request: asyncio.Future[Any]) -> None:
    try:
        await request
    except ari.AriError as error:
        if error.status in _LEAVING:
            raise FailedPrecondition("The call is just ending.", reason="CALL_STATE_INVALID") from error
        log.warning("control_failed", error=str(error))
        raise Unavailable("The media server did not do it; try again shortly.") from error
