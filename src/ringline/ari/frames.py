"""Cuts what a server sends into WebSocket frames (RFC 6455 section 5.2).

The ``websockets`` package's parser is a chain of generators, a third of the CPU that a call costs this client. Nearly
all frames are whole, unmasked text; those are taken here, and every other frame goes to the package as it is.
"""

from __future__ import annotations

from collections.abc import Iterator

TEXT = 0x81
"""First byte of a text frame that is a message of its own: FIN set, no extension bits, opcode 1."""


class FrameCutter:
    """Feed it bytes as they come. ``limit`` is the longest frame, in bytes, that is collected here."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        self._held = 0
        self._needed = 0
        self._given_up = False

    def feed(self, data: bytes) -> Iterator[tuple[bool, bytes]]:  # noqa: PLR0912 - calls would cost what this saves
        """Pairs: True and the payload of a text message, or False and the bytes of another frame, header included.

        After a frame that is too long, all that follows is handed on unread, for the package to refuse it.
        """
        if self._given_up:
            yield False, data
            return
        if self._chunks:
            self._chunks.append(data)
            self._held += len(data)
            if self._held < self._needed:
                return
            data = b"".join(self._chunks)
            self._chunks.clear()
        position, size = 0, len(data)
        while True:
            header = position + 2
            self._needed = header
            if size < header:
                break
            first, second = data[position], data[position + 1]
            length = second & 0x7F
            if length >= 126:
                header += 2 if length == 126 else 8
                self._needed = header
                if size < header:
                    break
                length = int.from_bytes(data[position + 2 : header], "big")
            if length > self._limit:
                self._given_up = True
                yield False, data[position:]
                return
            if second & 0x80:  # a server must not mask; the package will say so
                header += 4
            end = header + length
            self._needed = end
            if size < end:
                break
            if first == TEXT and second < 0x80:
                yield True, data[header:end]
            else:
                yield False, data[position:end]
            position = end
        if position < size:
            self._chunks.append(data[position:])
            self._held = size - position
            self._needed -= position
