"""Takes in copies of SIP messages and keeps them by Call-ID, for as long as somebody may ask for them.

A few microseconds for each: the Call-ID is found by looking at bytes, everything else is read when a call has ended
or somebody asks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from ringline.traces import hep, metrics

MAX_MESSAGE = 16 * 1024
MAX_MESSAGES = 200
MAX_DIALOG_BYTES = 256 * 1024
MAX_DIALOGS = 20_000
MAX_BYTES = 64 * 1024 * 1024
IDLE_SECONDS = 30.0
"""After so long a dialog that belongs to no live call is forgotten."""


class Dialog:
    """Datagrams of one Call-ID as they came."""

    __slots__ = ("dropped", "last", "packets", "size")

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.size = 0
        self.dropped = 0
        self.last = 0.0


class Capture:
    """Dialogs by Call-ID, bounded in number and bytes. ``key``: what Kamailio proves itself with."""

    def __init__(self, key: str, *, max_bytes: int = MAX_BYTES, max_dialogs: int = MAX_DIALOGS) -> None:
        self._key = hep.key_chunk(key)
        self._max_bytes = max_bytes
        self._max_dialogs = max_dialogs
        self._dialogs: dict[bytes, Dialog] = {}
        self.bytes = 0
        self._taken = 0

    def __len__(self) -> int:
        return len(self._dialogs)

    def take(self, data: bytes) -> None:
        """One datagram. Never raises."""
        if self._key not in data[: hep.MAX_HEAD]:
            metrics.dropped.labels("key").inc()
            return
        call_id = hep.call_id(data)
        if call_id is None:
            metrics.dropped.labels("malformed").inc()
            return
        dialog = self._dialogs.get(call_id)
        if dialog is None:
            if self.bytes > self._max_bytes or len(self._dialogs) >= self._max_dialogs:
                metrics.dropped.labels("room").inc()
                return
            dialog = self._dialogs[call_id] = Dialog()
        dialog.last = time.monotonic()
        if len(data) > MAX_MESSAGE:
            data = data[:MAX_MESSAGE]
        size = len(data)
        if (
            len(dialog.packets) >= MAX_MESSAGES
            or dialog.size + size > MAX_DIALOG_BYTES
            or self.bytes + size > self._max_bytes
        ):
            dialog.dropped += 1
            metrics.dropped.labels("dialog").inc()
            return
        dialog.packets.append(data)
        dialog.size += size
        self.bytes += size
        self._taken += 1

    def dialog(self, call_id: str) -> Dialog | None:
        """What was taken in of a dialog so far."""
        return self._dialogs.get(call_id.encode())

    def forget(self, call_id: str) -> None:
        self._drop(call_id.encode())

    def sweep(self, live: Iterable[str], idle: float = IDLE_SECONDS) -> None:
        """Forget dialogs of nobody: ``live`` are the Call-IDs that calls have or had just now."""
        kept = {call_id.encode() for call_id in live}
        # whoever floods us with Call-IDs must not take the room of calls that come next
        if self.bytes > self._max_bytes / 2 or len(self._dialogs) > self._max_dialogs / 2:
            idle = min(idle, 5.0)
        before = time.monotonic() - idle
        gone = [name for name, one in self._dialogs.items() if one.last < before and name not in kept]
        for name in gone:
            self._drop(name)
        metrics.held.set(self.bytes)
        metrics.messages.inc(self._taken)
        self._taken = 0

    def _drop(self, name: bytes) -> None:
        dialog = self._dialogs.pop(name, None)
        if dialog is not None:
            self.bytes -= dialog.size
