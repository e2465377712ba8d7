"""What a channel hears while nothing is played to it: nothing, music, or silence that is really sent.

Asterisk has one generator for a channel. Whatever is played takes it away, and so a generator has to be asked for
again afterwards; in a bridge it takes the place of the other party. One place keeps book, for all who want one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from ringline import ari
from ringline.calls.call import Call

_LEAVING = (404, 409, 412)
"""What Asterisk answers when the channel is on its way out, or not ours to command any more."""


class Sound(StrEnum):
    """A generator of Asterisk's, by the name that ARI has for it; empty: none."""

    NONE = ""
    MUSIC = "moh"
    SILENCE = "silence"


class _Behind:
    """One channel's generator: what it is, and who needs frames to be sent even if there is nothing to hear."""

    __slots__ = ("call", "floors", "music", "sounds")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.floors: set[str] = set()
        self.music: set[str] = set()
        self.sounds = Sound.NONE


class Backgrounds:
    """Keeps each channel's generator as its call's record and the floors want it.

    A *floor* is silence that is sent because somebody whispers: Asterisk mixes a whisper into frames that are
    written, and to a channel that hears nothing none are. In a bridge there are the other party's.
    """

    def __init__(self, client: ari.Client) -> None:
        self._client = client
        self._behind: dict[str, _Behind] = {}
        self._bridged: set[str] = set()
        self._watched: set[str] = set()

    def start(self) -> None:
        """Listen to Asterisk's events."""
        self._client.on_event("PlaybackFinished", self._on_playback_finished)
        self._client.on_event("ChannelLeftBridge", self._on_left)

    def restore(self, calls: Iterable[Call], bridged: Iterable[str]) -> None:
        """Go on with calls of another life of the controller; ``bridged``: the channels that are in bridges."""
        self._bridged = set(bridged)
        for call in calls:
            self.update(call)

    def in_bridge(self, channel_id: str) -> bool:
        return channel_id in self._bridged

    # what is wanted

    def update(self, call: Call) -> asyncio.Future[Any] | None:
        """Make the channel's generator what it should be; the future of the last request, where there is one."""
        behind = self._behind.get(call.channel_id)
        if behind is None:
            behind = _Behind(call)
        wanted = self._wanted(behind)
        request = self._change(behind, wanted)
        if wanted is Sound.NONE and not behind.floors and not behind.music:
            self._behind.pop(call.channel_id, None)
        else:
            self._behind[call.channel_id] = behind
        return request

    def keep_floor(self, call: Call, name: str) -> None:
        """Have frames sent to the channel until ``drop_floor`` with the same name. Idempotent."""
        if call.ended:
            return
        self._behind.setdefault(call.channel_id, _Behind(call)).floors.add(name)
        self.update(call)

    def drop_floor(self, call: Call, name: str) -> None:
        """Nobody whispers under this name any more. Idempotent."""
        behind = self._behind.get(call.channel_id)
        if behind is not None:
            behind.floors.discard(name)
            self.update(call)

    def keep_music(self, call: Call, name: str) -> None:
        """Let the party hear music, also in a bridge, until ``drop_music`` with the same name. Idempotent."""
        if call.ended:
            return
        self._behind.setdefault(call.channel_id, _Behind(call)).music.add(name)
        self.update(call)

    def drop_music(self, call: Call, name: str) -> None:
        """Nobody wants the party to hear music under this name any more. Idempotent."""
        behind = self._behind.get(call.channel_id)
        if behind is not None and not call.ended:
            behind.music.discard(name)
            self.update(call)

    # what happens

    def entered_bridge(self, channel_id: str) -> None:
        """The channel hears others now."""
        self._bridged.add(channel_id)
        behind = self._behind.get(channel_id)
        if behind is not None:
            self.update(behind.call)

    def call_ended(self, call: Call) -> None:
        self._behind.pop(call.channel_id, None)
        self._bridged.discard(call.channel_id)
        self._watched.discard(call.channel_id)

    def _on_left(self, event: dict[str, Any]) -> None:
        channel_id = event["channel"]["id"]
        self._bridged.discard(channel_id)
        if channel_id in self._watched:
            # a hook that outlives the bridge would spoil the channels that snoop on this one from then on
            self._watched.discard(channel_id)
            uri = f"channels/{ari.quote(channel_id)}/variable"
            query = {"variable": "TALK_DETECT(remove)", "value": ""}
            self._client.tell("POST", uri, query=query, ignore=_LEAVING)
        self._again(channel_id)

    def _on_playback_finished(self, event: dict[str, Any]) -> None:
        if self._behind:
            self._again(event["playback"].get("target_uri", "").removeprefix("channel:"))

    def _again(self, channel_id: str) -> None:
        """The generator is gone with what was played over it."""
        behind = self._behind.get(channel_id)
        if behind is not None and not behind.call.ending:
            behind.sounds = Sound.NONE
            self.update(behind.call)

    # requests

    def _wanted(self, behind: _Behind) -> Sound:
        call = behind.call
        if call.silence:
            return Sound.SILENCE
        if call.hold or call.moh or behind.music:
            return Sound.MUSIC
        if behind.floors and call.channel_id not in self._bridged:
            return Sound.SILENCE
        return Sound.NONE

    def _change(self, behind: _Behind, wanted: Sound) -> asyncio.Future[Any] | None:
        present = behind.sounds
        if present is wanted:
            return None
        behind.sounds = wanted
        request = None
        if present is not Sound.NONE:
            request = self._send("DELETE", behind.call, present.value)
        if wanted is not Sound.NONE:
            self._leave_native_bridge(behind.call)
            request = self._send("POST", behind.call, wanted.value)
        return request

    def _leave_native_bridge(self, call: Call) -> None:
        """Have Asterisk carry the channel's frames itself, once and for good.

        In a native bridge it hands RTP packets straight from party to party, and goes on doing so beside a
        generator: the party hears both by turns. A hook on the channel's audio ends that.
        """
        if call.channel_id in self._bridged and call.channel_id not in self._watched:
            self._watched.add(call.channel_id)
            self._send("POST", call, "variable", variable="TALK_DETECT(set)", value="")

    def _send(self, method: str, call: Call, what: str, **query: str) -> asyncio.Future[Any]:
        uri = f"channels/{ari.quote(call.channel_id)}/{what}"
        return self._client.send(method, uri, query=query or None, key=str(call.id))
