"""What a program is told about its connection to Asterisk."""

from __future__ import annotations

import enum


class State(enum.StrEnum):
    """Notifications of ``Client.on_state``."""

    CONNECTED = "connected"
    """Events flow and requests are served."""
    LOST = "lost"
    """The socket for events is gone: closed, reset, or silent. Events from now on are lost, not kept."""
    GAP = "gap"
    """Connected again: what happened in between was not told. Compare your own books with Asterisk's lists.
    """
    REPLACED = "replaced"
    """Another program connected under our application name and gets our events."""


RINGLINE_EVENTS: tuple[str, ...] = (
    "StasisStart",
    "StasisEnd",
    "ChannelDestroyed",
    "ChannelHangupRequest",
    "ChannelStateChange",
    "ChannelDtmfReceived",
    "ChannelTalkingStarted",
    "ChannelTransfer",
    "ChannelTalkingFinished",
    "Dial",
    "ChannelEnteredBridge",
    "ChannelLeftBridge",
    "BridgeDestroyed",
    "PlaybackFinished",
    "RecordingFinished",
    "RecordingFailed",
    "ChannelHold",
    "ChannelUnhold",
)
"""What a controller of calls needs. ``ChannelVarset`` alone would be more than half of all bytes."""

ALWAYS: tuple[str, ...] = ("RESTResponse", "ApplicationReplaced")
"""Never filtered: without ``RESTResponse`` in an allow-list every answer over the WebSocket disappears."""
