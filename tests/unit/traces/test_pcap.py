"""Capture files: read back by hand here, by tshark in the stack tier."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from ringline.traces.message import Message
from ringline.traces.pcap import pcap
from tests.unit.traces.wire import INVITE, OK, message


def records(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Seconds, microseconds, length on the wire, packet."""
    magic, major, minor, _, _, _, link = struct.unpack_from("<IHHiIII", data)
    assert (magic, major, minor, link) == (0xA1B2C3D4, 2, 4, 101)
    found, offset = [], 24
    while offset < len(data):
        seconds, microseconds, kept, length = struct.unpack_from("<IIII", data, offset)
        found.append((seconds, microseconds, length, data[offset + 16 : offset + 16 + kept]))
        offset += 16 + kept
    assert offset == len(data)
    return found


def ones(data: bytes) -> int:
    """RFC 1071: with its checksum in it, 0xFFFF."""
    total = sum(
        struct.unpack(f"!{len(data) // 2}H", data + b"\x00" * (len(data) % 2))
        if not len(data) % 2
        else struct.unpack(f"!{len(data) // 2 + 1}H", data + b"\x00")
    )
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_a_message_is_a_datagram_between_its_addresses() -> None:
    seconds, microseconds, length, packet = records(pcap([message(INVITE, to="203.0.113.7")]))[0]
    assert (seconds, microseconds, length) == (1_700_000_000, 1, len(packet))
    assert ones(packet[:20]) == 0xFFFF
    assert packet[12:20] == bytes([127, 0, 0, 1, 203, 0, 113, 7])
    source, destination, size, _ = struct.unpack_from("!HHHH", packet, 20)
    assert (source, destination, size) == (5080, 5060, 8 + len(INVITE))
    assert ones(packet[12:20] + struct.pack("!BBH", 0, 17, size) + packet[20:]) == 0xFFFF
    assert packet[28:] == INVITE


def test_ipv6() -> None:
    packet = records(pcap([message(INVITE + b"odd", source="2001:db8::1", to="2001:db8::2")]))[0][3]
    assert packet[0] >> 4 == 6
    size = struct.unpack_from("!H", packet, 4)[0]
    assert ones(packet[8:40] + struct.pack("!IHBB", size, 0, 0, 17) + packet[40:]) == 0xFFFF


def test_a_message_that_was_cut_off_is_a_packet_that_was_cut_off() -> None:
    whole = records(pcap([message(OK)]))[0]
    cut = records(pcap([message(OK[:-3], length=len(OK))]))[0]
    assert cut[2] == whole[2] == len(cut[3]) + 3
    # a header less is no cut
    less = records(pcap([message(INVITE, length=len(INVITE) + 40)]))[0]
    assert less[2] == len(less[3])


@pytest.mark.parametrize("transport", ["tcp", "tls", "ws", "wss"])
def test_what_came_over_a_connection_is_a_segment_of_it(transport: str) -> None:
    def at(place: int) -> Message:
        way = {"source": "203.0.113.7", "to": "127.0.0.1"} if place == 1 else {"to": "203.0.113.7"}
        raw = OK if place == 1 else INVITE
        return replace(message(raw, **way), transport=transport, source_port=5, destination_port=5)

    found = [record[3] for record in records(pcap([at(0), at(1), at(2)]))]
    heads = [struct.unpack_from("!HHIIBBHHH", packet, 20) for packet in found]
    assert [(head[2], head[3]) for head in heads] == [
        (1, 1),
        (1, 1 + len(INVITE)),
        (1 + len(INVITE), 1 + len(OK)),
    ]
    for packet in found:
        assert packet[9] == 6
        assert ones(packet[12:20] + struct.pack("!BBH", 0, 6, len(packet) - 20) + packet[20:]) == 0xFFFF
    assert [packet[40:] for packet in found] == [INVITE, OK, INVITE]
