"""HEPv3 from a friend and from an enemy."""

from __future__ import annotations

import random

import pytest

from ringline.traces import hep
from tests.unit.traces.wire import ASTERISK, CARRIER, INVITE, KAMAILIO, KEY, packet


def test_a_packet_says_who_sent_what_to_whom_and_when() -> None:
    found = hep.parse(packet(CARRIER, KAMAILIO, INVITE, at=123_456))
    assert found is not None
    assert found.time_us == 1_700_000_000_123_456
    assert (found.source, found.source_port) == CARRIER
    assert (found.destination, found.destination_port) == KAMAILIO
    assert (found.transport, found.length, found.payload) == ("udp", len(INVITE), INVITE)


def test_ipv6_and_other_transports() -> None:
    found = hep.parse(packet(("2001:db8::1", 7), ("2001:db8::2", 8), INVITE, protocol=6))
    assert found is not None
    assert (found.source, found.destination, found.transport) == ("2001:db8::1", "2001:db8::2", "tcp")


def test_a_message_that_was_cut_off_keeps_its_length() -> None:
    whole = packet(ASTERISK, KAMAILIO, INVITE)
    found = hep.parse(whole[:-10])
    assert found is not None
    assert found.length == len(INVITE)
    assert found.payload == INVITE[:-10]


@pytest.mark.parametrize("data", [b"", b"HEP3", b"HEP3\x00", b"HEP2" + bytes(40), bytes(2000)])
def test_what_is_no_packet(data: bytes) -> None:
    assert hep.parse(data) is None


def test_damaged_packets_raise_nothing() -> None:
    whole = packet(ASTERISK, KAMAILIO, INVITE)
    chance = random.Random(4)
    for size in range(len(whole)):
        hep.parse(whole[:size])
    parsed = 0
    for _ in range(3000):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 8)):
            damaged[chance.randrange(4, 120)] = chance.randrange(256)
        found = hep.parse(bytes(damaged))
        if found is not None:
            parsed += 1
            assert 0 <= found.source_port < 2**32
            assert len(found.payload) <= len(whole)
    assert 0 < parsed < 3000


def test_a_chunk_that_says_it_has_no_length_ends_the_packet() -> None:
    whole = packet(ASTERISK, KAMAILIO, INVITE)
    assert hep.parse(whole[:6] + b"\x00\x00\x00\x01\x00\x00" + whole[6:]) is None
    assert hep.parse(whole[:6] + b"\x00\x00\x00\x01\xff\xff" + whole[6:]) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"Call-ID: abc@host", b"abc@host"),
        (b"call-id:abc", b"abc"),
        (b"i: short", b"short"),
        (b"I\t:  tab", b"tab"),
        (b"Call-ID:", None),
        (b"X-Call-ID: other", None),
    ],
)
def test_the_call_id_of_a_message(line: bytes, expected: bytes | None) -> None:
    raw = b"INVITE sip:a SIP/2.0\r\nVia: x\r\n" + line + b"\r\nCSeq: 1 INVITE\r\n\r\n"
    assert hep.call_id(packet(ASTERISK, KAMAILIO, raw)) == expected


def test_the_key_is_in_the_head() -> None:
    assert hep.key_chunk(KEY) in packet(ASTERISK, KAMAILIO, INVITE)[: hep.MAX_HEAD]
    assert hep.key_chunk("another-key-of-16") not in packet(ASTERISK, KAMAILIO, INVITE)


def test_the_usual_order_of_chunks_is_no_condition() -> None:
    """What is read in one go, and what is read chunk by chunk, is the same packet."""
    usual = packet(CARRIER, KAMAILIO, INVITE, at=5)
    head, chunks = usual[:6], []
    rest = usual[6:]
    while rest:
        size = int.from_bytes(rest[4:6], "big")
        chunks.append(rest[:size])
        rest = rest[size:]
    found = hep.parse(usual)
    assert found is not None
    chance = random.Random(7)
    for _ in range(20):
        chance.shuffle(chunks)
        assert hep.parse(head + b"".join(chunks)) == found
    assert hep.parse(usual + chunks[0]) == found
