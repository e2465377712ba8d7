"""Messages and HEP packets as Kamailio makes them."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from ringline.traces.dialogs import Sockets
from ringline.traces.message import Message

KEY = "0123456789abcdef"
KAMAILIO = ("127.0.0.1", 5060)
ASTERISK = ("127.0.0.1", 5080)
CARRIER = ("203.0.113.7", 5090)
SOCKETS = Sockets({"127.0.0.1"}, {5060: "", 5061: "tls", 5066: "ws", 5067: "wss"})
CALLER, CALLEE = "caller-tag", "callee-tag"

Address = tuple[str, int]


def chunk(kind: int, value: bytes) -> bytes:
    return struct.pack("!HHH", 0, kind, 6 + len(value)) + value


def packet(
    source: Address,
    destination: Address,
    message: bytes,
    *,
    at: int = 0,
    key: str = KEY,
    protocol: int = 17,
) -> bytes:
    """A HEPv3 datagram; ``at``: microseconds after the second 1,700,000,000."""
    seconds, microseconds = divmod(at, 1_000_000)
    addresses = [ip_address(one[0]) for one in (source, destination)]
    kinds = (3, 4) if addresses[0].version == 4 else (5, 6)
    body = b"".join(
        [
            chunk(1, bytes([2 if addresses[0].version == 4 else 10])),
            chunk(2, bytes([protocol])),
            *(chunk(kind, one.packed) for kind, one in zip(kinds, addresses, strict=True)),
            chunk(7, struct.pack("!H", source[1])),
            chunk(8, struct.pack("!H", destination[1])),
            chunk(9, struct.pack("!I", 1_700_000_000 + seconds)),
            chunk(10, struct.pack("!I", microseconds)),
            chunk(11, b"\x01"),
            chunk(12, struct.pack("!I", 1)),
            chunk(14, key.encode()),
            chunk(15, message),
        ]
    )
    return b"HEP3" + struct.pack("!H", 6 + len(body)) + body


def sip(
    start: str,
    *headers: str,
    body: bytes = b"",
    call_id: str = "dialog-1",
    cseq: str = "1 INVITE",
    caller: str = "<sip:+15551234567@ringline.test>",
    to_tag: str = "",
) -> bytes:
    lines = [
        start,
        "Via: SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bK1",
        f"From: {caller};tag={CALLER}",
        "To: <sip:+15559876543@ringline.test>" + (f";tag={to_tag}" if to_tag else ""),
        f"Call-ID: {call_id}",
        f"CSeq: {cseq}",
        *headers,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


INVITE = sip("INVITE sip:+15559876543@ringline.test SIP/2.0", body=b"v=0\r\n")
RINGING = sip("SIP/2.0 180 Ringing", to_tag=CALLEE)
OK = sip("SIP/2.0 200 OK", to_tag=CALLEE, body=b"v=0\r\n")
ACK = sip("ACK sip:a@b SIP/2.0", cseq="1 ACK", to_tag=CALLEE)


def bye_of_callee() -> bytes:
    return (
        sip("BYE sip:a@b SIP/2.0", cseq="7 BYE")
        .replace(b"From: <sip:+15551234567@ringline.test>;tag=caller-tag", b"From: <sip:x@y>;tag=callee-tag")
        .replace(b"To: <sip:+15559876543@ringline.test>", b"To: <sip:z@y>;tag=caller-tag")
    )


def outgoing(call_id: str = "dialog-1", key: str = KEY) -> list[bytes]:
    """The datagrams of an answered call to a carrier."""
    steps = [
        (ASTERISK, KAMAILIO, INVITE),
        (KAMAILIO, CARRIER, INVITE),
        (CARRIER, KAMAILIO, RINGING),
        (KAMAILIO, ASTERISK, RINGING),
        (CARRIER, KAMAILIO, OK),
        (KAMAILIO, ASTERISK, OK),
        (ASTERISK, KAMAILIO, ACK),
        (KAMAILIO, CARRIER, ACK),
        (CARRIER, KAMAILIO, bye_of_callee()),
        (KAMAILIO, ASTERISK, bye_of_callee()),
    ]
    return [
        packet(source, to, raw.replace(b"dialog-1", call_id.encode()), at=1000 * number, key=key)
        for number, (source, to, raw) in enumerate(steps)
    ]


def message(
    raw: bytes, *, transport: str = "udp", source: str = "127.0.0.1", to: str = "127.0.0.1", length: int = 0
) -> Message:
    return Message(
        1_700_000_000_000_001, "in", "caller", transport, source, 5080, to, 5060, length or len(raw), raw
    )
