"""Which message went where, and whose it is."""

from __future__ import annotations

from typing import Any

from ringline.calls.states import Direction
from ringline.traces.dialogs import in_order_of_cause, is_internal, messages, own_part, shown
from ringline.traces.message import Message, pack, unpack
from tests.unit.traces.wire import (
    ACK,
    ASTERISK,
    CALLEE,
    CARRIER,
    INVITE,
    KAMAILIO,
    OK,
    SOCKETS,
    outgoing,
    packet,
    sip,
)

INCOMING: dict[str, Any] = {"direction": "incoming", "anonymous": True}


def test_directions_sides_and_times() -> None:
    found = messages(reversed(outgoing()), SOCKETS)
    assert [one.summary for one in found[:7]] == [
        "INVITE (SDP)",
        "INVITE (SDP)",
        "180 Ringing",
        "180 Ringing",
        "200 OK (SDP)",
        "200 OK (SDP)",
        "ACK",
    ]
    assert [one.direction for one in found] == ["in", "out"] * 5
    assert [one.side for one in found] == [
        "caller", "callee", "callee", "caller", "callee", "caller", "caller", "callee", "callee", "caller",
    ]  # fmt: skip
    assert [one.method for one in found[-3:]] == ["ACK", "BYE", "BYE"]
    assert not is_internal(found)


def test_an_answer_never_stands_before_what_it_answers() -> None:
    late = outgoing()
    # the copies of the INVITE and of the 200 that were sent come after the 180 and the ACK
    late[1] = packet(KAMAILIO, CARRIER, INVITE, at=2500)
    late[5] = packet(KAMAILIO, ASTERISK, OK, at=6500)
    found = in_order_of_cause(messages(late, SOCKETS))
    assert [one.summary for one in found] == [one.summary for one in messages(outgoing(), SOCKETS)]
    assert [one.direction for one in found] == ["in", "out"] * 5


def test_a_challenge_stands_before_the_credentials() -> None:
    phone = ("127.0.0.4", 5060)
    steps = [
        (phone, KAMAILIO, INVITE, 0),
        (phone, KAMAILIO, sip("INVITE sip:a SIP/2.0", "Proxy-Authorization: Digest x", cseq="2 INVITE"), 5),
        (KAMAILIO, phone, sip("SIP/2.0 407 Proxy Authentication Required"), 9),
        (KAMAILIO, phone, sip("SIP/2.0 100 Trying", cseq="2 INVITE"), 10),
    ]
    found = in_order_of_cause(
        messages([packet(source, to, raw, at=at) for source, to, raw, at in steps], SOCKETS)
    )
    assert [one.status or one.cseq for one in found] == [1, 407, 2, 100]


def test_transports_follow_from_kamailios_port() -> None:
    tls, ws = ("127.0.0.1", 5061), ("127.0.0.1", 5066)
    found = messages(
        [packet(CARRIER, tls, INVITE, protocol=22), packet(ws, CARRIER, INVITE, protocol=22)], SOCKETS
    )
    assert [one.transport for one in found] == ["tls", "ws"]


def test_what_is_no_sip_is_left_out() -> None:
    assert (
        messages([b"HEP3", packet(CARRIER, KAMAILIO, b"\x00\xff"), packet(CARRIER, KAMAILIO, b"")], SOCKETS)
        == []
    )


def inside() -> list[Message]:
    """A call to a number of ours: Asterisk on both sides."""
    steps = [
        (ASTERISK, KAMAILIO, INVITE),
        (KAMAILIO, ASTERISK, INVITE.replace(b"\r\nCSeq", b"\r\nX-Ringline-Arrival: internal,,x\r\nCSeq")),
        (ASTERISK, KAMAILIO, OK),
        (KAMAILIO, ASTERISK, OK),
        (ASTERISK, KAMAILIO, ACK),
        (KAMAILIO, ASTERISK, ACK),
    ]
    return messages([packet(a, b, raw, at=number) for number, (a, b, raw) in enumerate(steps)], SOCKETS)


def test_two_calls_that_share_a_dialog_see_their_own_part() -> None:
    found = inside()
    assert is_internal(found)
    ours, theirs = own_part(found, Direction.OUTGOING), own_part(found, Direction.INCOMING)
    assert [(one.direction, one.summary) for one in ours] == [
        ("in", "INVITE (SDP)"),
        ("out", "200 OK (SDP)"),
        ("in", "ACK"),
    ]
    assert [(one.direction, one.summary) for one in theirs] == [
        ("out", "INVITE (SDP)"),
        ("in", "200 OK (SDP)"),
        ("out", "ACK"),
    ]


def arrival(source: str) -> list[Message]:
    asserted = "P-Asserted-Identity: <sip:+491701234567@carrier.test>"
    came = sip("INVITE sip:+15559876543@x SIP/2.0", asserted, "Privacy: id")
    went = sip("INVITE sip:+15559876543@x SIP/2.0", asserted, f"X-Ringline-Arrival: {source},id,a,b,id")
    return messages([packet(CARRIER, KAMAILIO, came), packet(KAMAILIO, ASTERISK, went, at=1)], SOCKETS)


def test_an_anonymous_caller_from_outside_is_hidden_a_phone_of_ones_own_is_not() -> None:
    hidden = shown(arrival("provider"), INCOMING)
    assert not any(b"491701234567" in one.raw for one in hidden)
    known = shown(arrival("extension"), INCOMING)
    assert all(b"491701234567" in one.raw for one in known)
    assert not any(b"X-Ringline" in one.raw for one in hidden + known)
    named = shown(arrival("provider"), {"direction": "incoming", "anonymous": False})
    assert all(b"491701234567" in one.raw for one in named)


def test_stored_messages_come_back_as_they_were() -> None:
    found = messages(
        [*outgoing(), packet(CARRIER, KAMAILIO, sip("INFO sip:a SIP/2.0", body=bytes(range(256))))], SOCKETS
    )
    data = pack(found)
    assert unpack(data) == found
    assert len(data) < sum(len(one.raw) for one in found) / 3
    for damaged in (b"", data[:20], b"x" + data):
        try:
            unpack(damaged)
        except ValueError:
            continue
        raise AssertionError(damaged)


def test_a_hostile_message_is_shown_without_harm() -> None:
    raw = sip(
        "SIP/2.0 200 \x1b[2J\x07OK\x00",
        "Subject: \x1b]0;owned\x07",
        to_tag=CALLEE,
        cseq="99999999999999 INVITE",
    )
    (found,) = messages([packet(CARRIER, KAMAILIO, raw)], SOCKETS)
    assert "\x1b" not in found.reason and "\x00" not in found.text
    assert found.cseq == 0
