"""A UDP socket that is read in bursts: to wake up for each message of a call costs more than to read it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

PAUSE_SECONDS = 0.05
"""After something came, until the socket is looked at again; what comes meanwhile waits in the kernel, which has room
for some 180 messages: more than Kamailio handles in this time on the machines that we know."""
BUSY = 16
"""With so many in one pause there will be more: nobody needs to wake us up."""
AT_ONCE = 256
"""Datagrams that are read before others on the event loop have their turn."""
_KERNEL_BYTES = 4 * 1024 * 1024
_LARGEST = 65_536


class Receiver:
    """Gives each datagram that comes to ``port`` of the loopback to ``take``, which must not raise."""

    def __init__(self, port: int, take: Callable[[bytes], None]) -> None:
        self.wanted = port
        self._take = take
        self._socket: socket.socket | None = None
        self._later: asyncio.TimerHandle | asyncio.Handle | None = None
        self._buffer = bytearray(_LARGEST)
        self._view = memoryview(self._buffer)

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    @property
    def port(self) -> int:
        """The port that is listened on: the chosen one when 0 was asked for. 0 before ``open``."""
        return 0 if self._socket is None else int(self._socket.getsockname()[1])

    def open(self) -> None:
        """Listen. Raises ``OSError`` when the port cannot be had."""
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            # as much as the system allows, which is told nobody
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
            made.bind(("127.0.0.1", self.wanted))
        except OSError:
            made.close()
            raise
        self._socket = made
        self._await()

    def close(self) -> None:
        """Take in what has come, and stop. Idempotent."""
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket)
        if self._later is not None:
            self._later.cancel()
        self._read(self._socket)
        self._socket.close()
        self._socket = None

    def look(self) -> None:
        """Take in what has come until now."""
        if self._socket is not None:
            self._read(self._socket)

    def _await(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._wake)

    def _wake(self) -> None:
        if self._socket is not None:
            # each time the loop wakes up costs a tenth of a millisecond, and messages come in clusters
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            self._later = loop.call_later(PAUSE_SECONDS, self._drain)

    def _drain(self) -> None:
        if self._socket is None:
            return
        count = self._read(self._socket)
        loop = asyncio.get_running_loop()
        if count == AT_ONCE:
            self._later = loop.call_soon(self._drain)
        elif count >= BUSY:
            self._later = loop.call_later(PAUSE_SECONDS, self._drain)
        else:
            self._await()

    def _read(self, made: socket.socket) -> int:
        for count in range(AT_ONCE):
            try:
                size = made.recv_into(self._buffer)
            except OSError:  # nothing more for now
                return count
            self._take(bytes(self._view[:size]))
        return AT_ONCE
