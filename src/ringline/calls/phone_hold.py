"""A telephone puts the other party on hold with its own key (re-INVITE with ``a=sendonly``, RFC 3264).

The other party hears music until the conversation goes on, or is over. This is apart from ``POST
/v1.0/calls/{id}/hold``, whose state is on the call's record: each of the two ends without the other.
"""

from __future__ import annotations

from typing import Any, Protocol

from ringline import ari
from ringline.calls.background import Backgrounds
from ringline.calls.call import Call
from ringline.calls.conversation import Joint
from ringline.calls.line import Line

_LEAVING = (404, 409, 412)


class Lines(Protocol):
    """The part of the switchboard that is needed (``calls.switchboard``)."""

    def line_on(self, channel_id: str) -> Line | None: ...


class Conversations(Protocol):
    """Who talks with whom (``calls.connection.Connections``)."""

    def conversation(self, call: Call) -> Joint | None: ...


class PhoneHolds:
    """Which parties hear music because the other one has put them on hold."""

    def __init__(
        self, client: ari.Client, lines: Lines, conversations: Conversations, backgrounds: Backgrounds
    ) -> None:
        self._client = client
        self._lines = lines
        self._conversations = conversations
        self._backgrounds = backgrounds
        self._waiting: dict[Call, Call] = {}

    def start(self) -> None:
        """Listen to Asterisk's events."""
        self._client.on_event("ChannelHold", self._on_hold)
        self._client.on_event("ChannelUnhold", self._on_unhold)
        self._client.on_event("ChannelLeftBridge", self._on_left)

    def waits(self, call: Call) -> bool:
        """Whether the call hears music because its partner's telephone holds it."""
        return call in self._waiting.values()

    def release(self, call: Call) -> None:
        """The two do not talk any more, or are about to part: whoever of them waits hears no music from now on."""
        for holder, waiting in list(self._waiting.items()):
            if call is holder or call is waiting:
                del self._waiting[holder]
                self._backgrounds.drop_music(waiting, _name(holder))

    def call_ended(self, call: Call) -> None:
        """A call has its final record (``Switchboard.watchers``)."""
        if self._waiting:
            self.release(call)

    def _on_hold(self, event: dict[str, Any]) -> None:
        holder = self._call(event)
        home = None if holder is None else self._conversations.conversation(holder)
        partner = None if holder is None or home is None else home.partner(holder)
        if holder is None or partner is None:
            return
        self._waiting[holder] = partner
        self._backgrounds.keep_music(partner, _name(holder))

    def _on_unhold(self, event: dict[str, Any]) -> None:
        holder = self._call(event)
        if holder is None:
            return
        waiting = self._waiting.pop(holder, None)
        if waiting is not None:
            self._backgrounds.drop_music(waiting, _name(holder))
            return
        # held in another life of the controller: Asterisk plays the music still
        home = self._conversations.conversation(holder)
        partner = None if home is None else home.partner(holder)
        if partner is not None and not (partner.hold or partner.moh or partner.silence):
            uri = f"channels/{ari.quote(partner.channel_id)}/moh"
            self._client.tell("DELETE", uri, key=str(partner.id), ignore=_LEAVING)

    def _on_left(self, event: dict[str, Any]) -> None:
        if self._waiting and (call := self._call(event)) is not None:
            self.release(call)

    def _call(self, event: dict[str, Any]) -> Call | None:
        line = self._lines.line_on(event["channel"]["id"])
        return None if line is None else line.call


def _name(holder: Call) -> str:
    return f"held-by-{holder.id}"
