"""SIP addresses that customers want called: what is read, and everything that is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringline.sip import target
from ringline.sip.target import SipTarget


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("alice@example.com", SipTarget("alice", "example.com")),
        ("sip:alice@EXAMPLE.com", SipTarget("alice", "example.com")),
        ("SIP:alice@sip.example.com:5070", SipTarget("alice", "sip.example.com", 5070)),
        ("sip:alice@example.com;transport=tcp", SipTarget("alice", "example.com", 0, "tcp")),
        ("sip:alice@example.com;transport=UDP;user=phone", SipTarget("alice", "example.com")),
        ("+15551234567@203.0.113.7", SipTarget("+15551234567", "203.0.113.7")),
        ("a%20b@example.com", SipTarget("a%20b", "example.com")),
        ("a.b-c_d!~*'()&=+$@example.com", SipTarget("a.b-c_d!~*'()&=+$", "example.com")),
    ],
)
def test_what_is_read(text: str, wanted: SipTarget) -> None:
    assert target.parse(text) == wanted


def test_the_address_is_written_without_parameters() -> None:
    assert target.parse("sip:alice@example.com:5070;transport=tcp").address == "alice@example.com:5070"
    assert target.parse("alice@example.com").address == "alice@example.com"
    assert str(target.parse("a@192.0.2.1").literal) == "192.0.2.1"
    assert target.parse("a@example.com").literal is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must be"),
        ("alice", "must be"),
        ("@example.com", "before `@`"),
        ("sips:alice@example.com", "TLS"),
        ("tel:+15551234567", "`tel`"),
        ("alice:secret@example.com", "password"),
        ("alice@example.com?Subject=x", "headers"),
        ("alice@example.com;transport=tls", "transport"),
        ("alice@example.com;transport=tcp;transport=udp", "twice"),
        ("alice@example.com;maddr=10.0.0.1", "'maddr'"),
        ("alice@example.com;lr", "'lr'"),
        ("alice@example.com;x", "'x'"),
        ("alice@localhost", "full name"),
        ("alice@redis", "full name"),
        ("alice@127.1", "four numbers"),
        ("alice@0x7f.0.0.1", "four numbers"),
        ("alice@127.0.0.1.", "full name"),
        ("alice@010.0.0.1", "four numbers"),
        ("alice@2130706433", "full name"),
        ("alice@[::1]", "IPv6"),
        ("alice@example.com:0", "port"),
        ("alice@example.com:25", "port"),
        ("alice@example.com:99999", "port"),
        ("alice@example.com:5060x", "port"),
        ("alice@example.com:", "port"),
        ("alice@exam_ple.com", "full name"),
        ("alice@-x.com", "full name"),
        ("alice@a..com", "full name"),
        ("alice@bob@example.com", "full name"),
        ("al ice@example.com", "before `@`"),
        ("al\r\nice@example.com", "before `@`"),
        ("alice@example.com\r\nX: y", "port"),
        ("alice%0d%0aX@example.com", "before `@`"),
        ("alice%zz@example.com", "before `@`"),
        ('"x"<alice@example.com', "before `@`"),
        ("a" * 129 + "@example.com", "before `@`"),
        ("alice@" + "a" * 64 + ".com", "full name"),
        ("аlice@example.com", "before `@`"),
        ("alice@exämple.com", "full name"),
    ],
)
def test_what_is_refused_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        target.parse(text)
    assert says in str(raised.value)


@given(st.text(max_size=80).map(lambda text: text.replace("\x00", "@")))
def test_nothing_that_is_read_could_break_a_request_line(text: str) -> None:
    try:
        address = target.parse(text).address
    except ValueError:
        return
    assert address.isascii()
    assert not set(address) & set(' \t\r\n<>"[];?,/\\')
    assert address.count("@") == 1
