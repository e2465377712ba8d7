"""Where a phone is, read from what Kamailio keeps of it."""

from __future__ import annotations

import pytest

from ringline.extensions.contacts import seen


@pytest.mark.parametrize(
    ("contact", "received", "socket", "wanted"),
    [
        ("sip:anna@198.51.100.9", "", "udp:127.0.0.1:5060", ("udp", "198.51.100.9:5060")),
        ("sip:anna@198.51.100.9:5070", "", "udp:127.0.0.1:5060", ("udp", "198.51.100.9:5070")),
        (
            "sip:anna@10.0.0.5:5070",
            "sip:198.51.100.9:40112",
            "udp:127.0.0.1:5060",
            ("udp", "198.51.100.9:40112"),
        ),
        (
            "sip:anna@10.0.0.5:5070;alias=198.51.100.9~40112~3",
            "",
            "",
            ("tls", "198.51.100.9:40112"),
        ),
        (
            "sip:anna@10.0.0.5;transport=tcp",
            "sip:198.51.100.9:40112;transport=TCP",
            "tcp:127.0.0.1:5060",
            ("tcp", "198.51.100.9:40112"),
        ),
        (
            "sip:x@abc.invalid;transport=ws",
            "sip:198.51.100.9:50000;transport=ws",
            "tcp:127.0.0.1:5066",
            ("ws", "198.51.100.9:50000"),
        ),
        (
            "sip:x@abc.invalid;transport=ws",
            "sip:198.51.100.9:50000;transport=ws",
            "tls:127.0.0.1:5067",
            ("wss", "198.51.100.9:50000"),
        ),
        ("sip:anna@[2001:db8::7]:5070", "", "udp:[::1]:5060", ("udp", "[2001:db8::7]:5070")),
        ("sips:198.51.100.9", "", "tls:127.0.0.1:5061", ("tls", "198.51.100.9:5060")),
        ("nonsense", "", "", ("udp", "")),
    ],
)
def test_transport_and_source(contact: str, received: str, socket: str, wanted: tuple[str, str]) -> None:
    assert seen(contact, received, socket) == wanted
