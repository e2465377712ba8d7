"""Speaking to one party of a call, whatever else goes on there: a prompt, a conversation, music on hold.

A channel that snoops on the call's whispers into what the call hears. Nobody else hears it, and nothing has to wait:
what is played to the channel itself would be put behind the prompt that runs, or take the party out of its bridge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import structlog

from ringline import ari
from ringline.calls.background import Backgrounds
from ringline.calls.call import Call
from ringline.calls.states import Status
from ringline.calls.switchboard import Switchboard
from ringline.errors import FailedPrecondition, ResourceExhausted, Unavailable
from ringline.media import Prompt

log = structlog.get_logger(__name__)

MAX_TEXTS = 10
"""Texts that one call may have before it, the one that is being spoken included."""
OPEN_SECONDS = 10.0
"""How long Asterisk may take to make the channel that whispers."""
AGAIN_SECONDS = 0.3
"""How long the hooks of a channel that whispered may take to go."""
GRACE_SECONDS = 30.0
"""How much longer than its texts a whisper may last before it counts as lost."""
_GONE = (404, 409, 412)


class Text:
    """One prompt to be spoken."""

    __slots__ = ("id", "prompt", "stop_on_digit")

    def __init__(self, prompt: Prompt, *, stop_on_digit: bool) -> None:
        self.id = str(uuid4())
        self.prompt = prompt
        self.stop_on_digit = stop_on_digit


class Whisper:
    """One channel that whispers, and what it still has to say."""

    __slots__ = ("both", "call", "id", "open", "texts", "timer")

    def __init__(self, call: Call, *, both: bool = False) -> None:
        self.id = f"talk-{uuid4()}"
        self.call = call
        self.both = both
        self.open = False
        self.texts: dict[str, Text] = {}
        self.timer: asyncio.TimerHandle | None = None


class Whispers:
    """Every whisper there is, at most one for a call; it ends when all was said, or with the call."""

    def __init__(
        self, client: ari.Client, switchboard: Switchboard, backgrounds: Backgrounds, *, application: str
    ) -> None:
        self._client = client
        self._switchboard = switchboard
        self._backgrounds = backgrounds
        self._application = application
        self._by_call: dict[UUID, Whisper] = {}
        self._by_channel: dict[str, Whisper] = {}

    def start(self) -> None:
        """Listen to Asterisk's events."""
        self._client.on_event("PlaybackFinished", self._on_playback_finished)
        self._client.on_event("ChannelDtmfReceived", self._on_digit)
        self._client.on_event("ChannelLeftBridge", self._on_left_bridge)
        self._switchboard.watchers.append(self._call_ended)

    async def say(
        self, call: Call, prompt: Prompt, *, stop_on_digit: bool = False, both: bool = False
    ) -> None:
        """Speak to the party, after what is being spoken already; returns when Asterisk has taken it.

        ``stop_on_digit``: any key that the party presses ends it. ``both``: whoever talks with the party hears it,
        too, unless something is being spoken to the party alone. Raises ``FailedPrecondition``
        (``CALL_STATE_INVALID``), ``ResourceExhausted`` and ``Unavailable``.
        """
        if call.status is not Status.PROGRESSING:
            raise FailedPrecondition(
                f"The call is in state `{call.status}`; it can be spoken to while it is `progressing`.",
                reason="CALL_STATE_INVALID",
            )
        text = Text(prompt, stop_on_digit=stop_on_digit)
        whisper = self._by_call.get(call.id)
        if whisper is None:
            await self._begin(call, text, both=both)
            return
        if len(whisper.texts) >= MAX_TEXTS:
            raise ResourceExhausted(
                f"{MAX_TEXTS} texts wait to be spoken to this call; try again when one has been.",
                reason="TALK_QUEUE_FULL",
            )
        whisper.texts[text.id] = text
        if whisper.open:
            self._play(whisper, text)
            self._watch(whisper)

    async def _begin(self, call: Call, text: Text, *, both: bool) -> None:
        whisper = Whisper(call, both=both)
        whisper.texts[text.id] = text
        self._by_call[call.id] = self._by_channel[whisper.id] = whisper
        self._switchboard.auxiliary[whisper.id] = lambda event: self._heard(whisper, event)
        self._backgrounds.keep_floor(call, whisper.id)
        self._arm(whisper, OPEN_SECONDS)
        try:
            await self._open(whisper)
        except ari.AriError as error:
            self._end(whisper)
            if error.status in _GONE:
                raise FailedPrecondition("The call is just ending.", reason="CALL_STATE_INVALID") from error
            raise Unavailable("The media server did not take the text; try again shortly.") from error

    def _open(self, whisper: Whisper) -> asyncio.Future[Any]:
        return self._client.send(
            "POST",
            f"channels/{ari.quote(whisper.call.channel_id)}/snoop/{whisper.id}",
            query={
                "spy": "none",
                "whisper": "both" if whisper.both else "out",
                "app": self._application,
                "appArgs": "talk",
            },
            key=whisper.id,
        )

    # what happens

    def _heard(self, whisper: Whisper, event: dict[str, Any]) -> None:
        """An event of the channel that whispers."""
        if event["type"] != "StasisStart":
            self._end(whisper, drop=False)
            return
        whisper.open = True
        for text in whisper.texts.values():
            self._play(whisper, text)
        self._watch(whisper)

    def _on_playback_finished(self, event: dict[str, Any]) -> None:
        playback = event["playback"]
        whisper = self._by_channel.get(playback.get("target_uri", "").removeprefix("channel:"))
        if whisper is None:
            return
        if playback.get("state") == "failed":
            log.warning("talk_failed", call_id=str(whisper.call.id), channel_id=whisper.id)
        self._said(whisper, playback["id"])

    def _on_digit(self, event: dict[str, Any]) -> None:
        line = self._switchboard.line_on(event["channel"]["id"]) if self._by_call else None
        whisper = None if line is None else self._by_call.get(line.call.id)
        if whisper is None:
            return
        for text in [text for text in whisper.texts.values() if text.stop_on_digit]:
            self._client.tell("DELETE", f"playbacks/{text.id}", key=whisper.id)
            self._said(whisper, text.id)

    def _on_left_bridge(self, event: dict[str, Any]) -> None:
        """Whatever snooped on a channel in a bridge is heard no more when it has left: begin anew with a new one."""
        line = self._switchboard.line_on(event["channel"]["id"]) if self._by_call else None
        whisper = None if line is None else self._by_call.get(line.call.id)
        if whisper is None or whisper.call.ending:
            return
        texts = list(whisper.texts.values())
        self._end(whisper)
        again = Whisper(whisper.call, both=whisper.both)
        again.texts = {text.id: text for text in texts}
        self._by_call[again.call.id] = self._by_channel[again.id] = again
        self._switchboard.auxiliary[again.id] = lambda event: self._heard(again, event)
        self._backgrounds.keep_floor(again.call, again.id)
        # the hooks of the old one are gone a moment after it
        self._arm(again, AGAIN_SECONDS, self._reopen)

    def _reopen(self, whisper: Whisper) -> None:
        self._arm(whisper, OPEN_SECONDS)
        request = self._open(whisper)
        request.add_done_callback(lambda done: self._reopened(whisper, done))

    def _reopened(self, whisper: Whisper, request: asyncio.Future[Any]) -> None:
        if not request.cancelled() and request.exception() is not None:
            log.warning("talk_lost", call_id=str(whisper.call.id), error=str(request.exception()))
            self._end(whisper)

    def _call_ended(self, call: Call) -> None:
        whisper = self._by_call.get(call.id)
        if whisper is not None:
            self._end(whisper)

    # steps

    def _play(self, whisper: Whisper, text: Text) -> None:
        request = self._client.send(
            "POST",
            f"channels/{whisper.id}/play/{text.id}",
            body={"media": [text.prompt.media]},
            key=whisper.id,
        )
        request.add_done_callback(lambda done: self._played(whisper, text, done))

    def _played(self, whisper: Whisper, text: Text, request: asyncio.Future[Any]) -> None:
        if not request.cancelled() and request.exception() is not None:
            log.warning("talk_failed", call_id=str(whisper.call.id), error=str(request.exception()))
            self._said(whisper, text.id)

    def _said(self, whisper: Whisper, text_id: str) -> None:
        whisper.texts.pop(text_id, None)
        if not whisper.texts:
            self._end(whisper)

    def _watch(self, whisper: Whisper) -> None:
        self._arm(
            whisper, sum(text.prompt.duration_ms for text in whisper.texts.values()) / 1000 + GRACE_SECONDS
        )

    def _arm(self, whisper: Whisper, seconds: float, then: Callable[[Whisper], None] | None = None) -> None:
        if whisper.timer is not None:
            whisper.timer.cancel()
        whisper.timer = asyncio.get_running_loop().call_later(seconds, then or self._expired, whisper)

    def _expired(self, whisper: Whisper) -> None:
        log.warning("talk_lost", call_id=str(whisper.call.id), channel_id=whisper.id)
        self._end(whisper)

    def _end(self, whisper: Whisper, *, drop: bool = True) -> None:
        """The one exit. ``drop``: the channel may still be there."""
        if self._by_channel.pop(whisper.id, None) is None:
            return
        if self._by_call.get(whisper.call.id) is whisper:
            del self._by_call[whisper.call.id]
        self._switchboard.auxiliary.pop(whisper.id, None)
        whisper.texts.clear()
        if whisper.timer is not None:
            whisper.timer.cancel()
        self._backgrounds.drop_floor(whisper.call, whisper.id)
        if drop:
            self._client.tell("DELETE", f"channels/{whisper.id}", key=whisper.id)
