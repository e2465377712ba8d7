"""The even ports of the RTP range, handed out in turn so that a port rests before it is used again."""

from __future__ import annotations

from collections import deque


class Exhausted(RuntimeError):
    """Every port is in use: as many calls as the range allows."""


class Ports:
    """A pool of port numbers."""

    def __init__(self, first: int, last: int) -> None:
        """``last`` is included. An odd port above each even one is left for RTCP (RFC 3550 section 11)."""
        self._free = deque(range(first + first % 2, last + 1, 2))
        self.total = len(self._free)

    @property
    def used(self) -> int:
        """How many are handed out."""
        return self.total - len(self._free)

    def take(self) -> int:
        """The port that rested longest; ``Exhausted`` where there is none."""
        if not self._free:
            raise Exhausted("no RTP port is free")
        return self._free.popleft()

    def give_back(self, port: int) -> None:
        """Return a port."""
        self._free.append(port)
