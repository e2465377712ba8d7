"""HEPv3, in which Kamailio sends copies of SIP messages: chunks of vendor, type, length and value."""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

MAGIC = b"HEP3"
MAX_HEAD = 256
"""Everything before the message takes about 150 bytes: 12 small chunks and the key."""

_PROTOCOLS = {17: "udp", 6: "tcp", 22: "tls"}
_CHUNK = struct.Struct("!HHH")
_CALL_ID = re.compile(rb"\r?\n(?:call-id|i)[ \t]*:[ \t]*([^\s]{1,255})", re.IGNORECASE)
_USUAL = b"\nCall-ID: "


# What Kamailio begins each IPv4 packet with: the chunks 1 to 4 and 7 to 10 in this order. A tenth of what it costs to
# look at one chunk after the other.
_USUAL_HEAD = struct.Struct("!4s2x 6sB 6sB 6s4s 6s4s 6sH 6sH 6sI 6sI")
_USUAL_CHUNKS = tuple(
    _CHUNK.pack(0, kind, _CHUNK.size + size)
    for kind, size in ((1, 1), (2, 1), (3, 4), (4, 4), (7, 2), (8, 2), (9, 4), (10, 4))
)


class Packet(NamedTuple):
    """One copy. ``time_us``: microseconds since 1970, when Kamailio had the message. ``length``: of the message on
    the wire, of which ``payload`` may be the beginning only.
    """

    time_us: int
    transport: str
    source: str
    source_port: int
    destination: str
    destination_port: int
    length: int
    payload: bytes


def key_chunk(key: str) -> bytes:
    """What a packet of ours has in its head: chunk 14, the authentication key."""
    text = key.encode()
    return _CHUNK.pack(0, 14, _CHUNK.size + len(text)) + text


def call_id(data: bytes) -> bytes | None:
    """The Call-ID of a message somewhere in ``data``: found by looking at bytes, because this is done for each."""
    start = data.find(_USUAL)
    if start > 0:
        start += len(_USUAL)
        end = data.find(b"\r", start, start + MAX_HEAD)
        found = data[start:end].strip() if end > 0 else b""
        if found:
            return found
    match = _CALL_ID.search(data)
    return None if match is None else match[1]


def parse(data: bytes) -> Packet | None:
    """The packet in a datagram, which may have been cut off; ``None`` for what is none. Never raises."""
    if len(data) < _CHUNK.size or not data.startswith(MAGIC):
        return None
    return _usual(data) or _unusual(data)


def _usual(data: bytes) -> Packet | None:
    if len(data) < _USUAL_HEAD.size:
        return None
    _, *values = _USUAL_HEAD.unpack_from(data)
    if tuple(values[::2]) != _USUAL_CHUNKS:
        return None
    protocol, source, destination, source_port, destination_port, seconds, microseconds = values[3::2]
    offset = _USUAL_HEAD.size
    while offset + _CHUNK.size <= len(data):
        vendor, kind, size = _CHUNK.unpack_from(data, offset)
        if kind == 15 and vendor == 0 and size >= _CHUNK.size:
            if offset + size < len(data):
                return None
            start = offset + _CHUNK.size
            return Packet(
                seconds * 1_000_000 + microseconds,
                _PROTOCOLS.get(protocol, "udp"),
                _ipv4(source),
                source_port,
                _ipv4(destination),
                destination_port,
                size - _CHUNK.size,
                data[start : offset + size],
            )
        if size < _CHUNK.size or (vendor == 0 and kind < 11):
            return None
        offset += size
    return None


@lru_cache(maxsize=1024)
def _ipv4(value: bytes) -> str:
    return inet_ntop(AF_INET, value)


def _unusual(data: bytes) -> Packet | None:
    values: dict[int, bytes] = {}
    length, offset = 0, len(MAGIC) + 2
    while offset + _CHUNK.size <= len(data):
        vendor, kind, size = _CHUNK.unpack_from(data, offset)
        if size < _CHUNK.size:
            return None
        if vendor == 0:
            values[kind] = data[offset + _CHUNK.size : offset + size]
            if kind == 15:
                length = size - _CHUNK.size
        offset += size
    try:
        source, destination = (_address(values, kind) for kind in (3, 4))
        return Packet(
            time_us=_number(values[9]) * 1_000_000 + _number(values[10]),
            transport=_PROTOCOLS.get(values[2][0], "udp"),
            source=source,
            source_port=_number(values[7]),
            destination=destination,
            destination_port=_number(values[8]),
            length=length,
            payload=values[15],
        )
    except (KeyError, IndexError, ValueError):
        return None


def _address(values: dict[int, bytes], kind: int) -> str:
    if kind in values:
        return inet_ntop(AF_INET, values[kind])
    return inet_ntop(AF_INET6, values[kind + 2])


def _number(value: bytes) -> int:
    if len(value) not in (2, 4):
        raise ValueError("neither 16 nor 32 bits")
    return int.from_bytes(value, "big")
