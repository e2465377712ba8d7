"""A capture file (libpcap, microseconds, LINKTYPE_RAW) out of messages: each a datagram, or a segment of TCP.

Addresses, ports and times are the real ones. What came by TLS or WebSocket is a segment of plain text: what its
records and frames were is not known, and would hide the message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, ip_address

from ringline.traces.message import Message

_LINKTYPE_RAW = 101
_SNAPLEN = 262_144
_MAX_PAYLOAD = 65_000
_FILE = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_UDP = struct.Struct("!HHHH")
_TCP = struct.Struct("!HHIIBBHHH")
_PUSH_ACK = 0x18

_Place = tuple[str, int]
_Streams = dict[tuple[_Place, _Place], int]
"""From where to where, and the number of the next byte."""


def pcap(messages: Iterable[Message]) -> bytes:
    """The file. A message of which only the beginning was kept is a packet that was cut off when it was captured."""
    parts = [_FILE.pack(0xA1B2C3D4, 2, 4, 0, 0, _SNAPLEN, _LINKTYPE_RAW)]
    streams: _Streams = {}
    for message in messages:
        packet, length = _packet(message, streams)
        seconds, microseconds = divmod(message.time_us, 1_000_000)
        parts.append(_RECORD.pack(seconds & 0xFFFFFFFF, microseconds, len(packet), length))
        parts.append(packet)
    return b"".join(parts)


def _packet(message: Message, streams: _Streams) -> tuple[bytes, int]:
    payload = message.raw[:_MAX_PAYLOAD]
    cut = (
        min(max(message.length - len(message.raw), 0), _MAX_PAYLOAD - len(payload)) if _is_cut(message) else 0
    )
    source, destination = ip_address(message.source), ip_address(message.destination)
    size = len(payload) + cut
    if message.transport == "udp":
        protocol, offset = 17, 6
        size += _UDP.size
        head = _UDP.pack(message.source_port, message.destination_port, size, 0)
    else:
        protocol, offset = 6, 16
        head = _segment(message, size, streams)
        size += len(head)
    addresses = source.packed + destination.packed
    if not cut:
        pseudo = addresses + struct.pack("!IxxxB", size, protocol)
        # of UDP 0 would say that there is none (RFC 768)
        checksum = struct.pack("!H", _checksum(pseudo + head + payload) or 0xFFFF)
        head = head[:offset] + checksum + head[offset + 2 :]
    if isinstance(source, IPv4Address):
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 0, 0x4000, 64, protocol, 0) + addresses
        header = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
    else:
        header = struct.pack("!IHBB", 0x60000000, size, protocol, 64) + addresses
    packet = header + head + payload
    return packet, len(packet) + cut


def _segment(message: Message, size: int, streams: _Streams) -> bytes:
    """The next one of its connection, as far as that is known."""
    near, far = (message.source, message.source_port), (message.destination, message.destination_port)
    number, other = streams.get((near, far), 1), streams.get((far, near), 1)
    streams[near, far] = (number + size) & 0xFFFFFFFF
    return _TCP.pack(near[1], far[1], number, other, 0x50, _PUSH_ACK, 0xFFFF, 0, 0)


def _is_cut(message: Message) -> bool:
    """Whether the end is missing: what was removed from a header makes a message shorter as well."""
    head, blank, body = message.raw.partition(b"\r\n\r\n")
    declared = _declared(head)
    return not blank or (declared is not None and len(body) < declared)


def _declared(head: bytes) -> int | None:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() in (b"content-length", b"l") and value.strip().isdigit():
            return int(value.strip()[:9])
    return None


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\x00"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
