"""RTP packets (RFC 3550) and telephone events in them (RFC 4733)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

DIGITS = "0123456789*#ABCD"
_HEADER = struct.Struct("!BBHII")
_EVENT = struct.Struct("!BBH")


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet's header fields and payload."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """A telephone event: ``code`` 0 to 15 are keys, ``duration`` is in timestamp units."""

    code: int
    end: bool
    duration: int


def pack(
    payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, *, marker: bool = False
) -> bytes:
    """A packet's bytes; counters wrap as they do on the wire."""
    head = _HEADER.pack(
        0x80,
        payload_type | (0x80 if marker else 0),
        sequence & 0xFFFF,
        timestamp & 0xFFFFFFFF,
        ssrc & 0xFFFFFFFF,
    )
    return head + payload


def parse(data: bytes) -> Packet | None:
    """Read a packet; ``None`` for anything that is not RTP version 2 (RTCP, STUN, noise)."""
    if len(data) < _HEADER.size or data[0] >> 6 != 2:
        return None
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if 72 <= second & 0x7F <= 76:  # RTCP on the same port (RFC 5761 section 4)
        return None
    start = _HEADER.size + 4 * (first & 0x0F)
    end = len(data)
    if first & 0x10:  # extension
        if end < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if first & 0x20:  # padding: its length is the last octet
        end -= data[-1]
    if end < start:
        return None
    return Packet(second & 0x7F, bool(second & 0x80), sequence, timestamp, ssrc, data[start:end])


def event_payload(code: int, duration: int, *, end: bool) -> bytes:
    """The payload of a telephone event at -10 dBm0."""
    return _EVENT.pack(code, (0x80 if end else 0) | 10, min(duration, 0xFFFF))


def parse_event(payload: bytes) -> Event | None:
    """Read a telephone event's payload."""
    if len(payload) < _EVENT.size:
        return None
    code, flags, duration = _EVENT.unpack_from(payload)
    return Event(code, bool(flags & 0x80), duration)


class KeyPresses:
    """Recognises each key press once, in order, however often its packets are repeated or lost.

    A press is known by its timestamp. A press longer than 8 s changes its timestamp on the way without a marker
    (RFC 4733 section 2.5.1.3) and is still one.
    """

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None
        self._duration = 0
        self._ended = True

    def feed(self, packet: Packet) -> str:
        """The digit that begins with this packet, ``""`` where none does."""
        event = parse_event(packet.payload)
        if event is None or event.code >= len(DIGITS):
            return ""
        current = (packet.ssrc, packet.timestamp)
        known = self._last is not None and self._last[0] == packet.ssrc
        if known and self._last is not None:
            ahead = (packet.timestamp - self._last[1]) & 0xFFFFFFFF
            if ahead == 0 or ahead >= 1 << 31:  # a repetition, or late
                self._ended = self._ended or (ahead == 0 and event.end)
                self._duration = max(self._duration, event.duration) if ahead == 0 else self._duration
                return ""
            continues = not packet.marker and not self._ended and self._duration > 0xF000
            if continues and ahead <= 0xFFFF:
                self._last, self._duration, self._ended = current, event.duration, event.end
                return ""
        self._last, self._duration, self._ended = current, event.duration, event.end
        return DIGITS[event.code]
