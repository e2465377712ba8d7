"""SIP messages: what is read and what is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringline.sandbox.ua.address import Malformed
from ringline.sandbox.ua.message import Request, Response, parse

INVITE = (
    b"INVITE sip:+1555@127.0.0.1 SIP/2.0\r\n"
    b"v: SIP/2.0/UDP a;branch=z9hG4bK1, SIP/2.0/UDP b;branch=z9hG4bK2\r\n"
    b"Via: SIP/2.0/UDP c;branch=z9hG4bK3\r\n"
    b'f: "x" <sip:a@b>;tag=1\r\n'
    b"t: <sip:+1555@127.0.0.1>\r\n"
    b"i: call\r\n"
    b"CSeq: 7 INVITE\r\n"
    b"Subject: one\r\n"
    b"\t two\r\n"
    b"Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\n"
    b"l: 3\r\n"
    b"\r\n"
    b"abcdef"
)


def test_reads_compact_names_folded_lines_lists_and_length() -> None:
    request = parse(INVITE)
    assert isinstance(request, Request)
    assert (request.method, request.uri) == ("INVITE", "sip:+1555@127.0.0.1")
    assert request.get("call-id") == "call"
    assert request.get("subject") == "one two"
    assert [via.rpartition("=")[2] for via in request.all("via")] == ["z9hG4bK1", "z9hG4bK2", "z9hG4bK3"]
    assert request.all("record-route") == ["<sip:p1;lr>", "<sip:p2;lr>"]
    assert request.cseq == (7, "INVITE")
    assert request.body == b"abc"


def test_response_copies_what_it_must() -> None:
    request = parse(INVITE)
    assert isinstance(request, Request)
    ringing = parse(request.response(180, tag="mine").to_bytes())
    assert isinstance(ringing, Response)
    assert (ringing.status, ringing.reason) == (180, "Ringing")
    assert ringing.all("via") == request.all("via")
    assert ringing.all("record-route") == request.all("record-route")
    assert ringing.get("to") == "<sip:+1555@127.0.0.1>;tag=mine"
    assert not request.response(486, tag="mine").all("record-route")
    assert ";tag" not in request.response(100, tag="mine").get("to")


def test_a_value_cannot_begin_a_header_of_its_own() -> None:
    reply = Response(status=200, reason="OK")
    reply.add("contact", "<sip:a>\r\nX-Evil: 1")
    parsed = parse(reply.to_bytes())
    assert parsed is not None
    assert parsed.get("x-evil") == ""
    assert parsed.get("contact") == "<sip:a> X-Evil: 1"


@pytest.mark.parametrize(
    "data",
    [
        b"INVITE sip:a SIP/3.0\r\n\r\n",
        b"INVITE  SIP/2.0\r\n\r\n",
        b"INV ITE sip:a b SIP/2.0\r\n\r\n",
        b"SIP/2.0 20 OK\r\n\r\n",
        b"SIP/2.0 999 OK\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nno colon\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 5\r\n\r\nabc",
        b"OPTIONS sip:a SIP/2.0\r\nContent-Length: -1\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\n" + b"A: b\r\n" * 300 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
)
def test_what_is_not_sip(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse(data)


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\0\0\0\0"])
def test_keep_alive(data: bytes) -> None:
    assert parse(data) is None


@pytest.mark.parametrize("value", ["x INVITE", "-1 INVITE", "99999999999 INVITE", "1", "²2 INVITE"])
def test_bad_cseq(value: str) -> None:
    request = Request(method="INVITE", uri="sip:a")
    request.add("cseq", value)
    with pytest.raises(Malformed):
        _ = request.cseq


@given(st.binary(max_size=400))
def test_no_datagram_raises_anything_but_malformed(data: bytes) -> None:
    for datagram in (data, INVITE[: len(data)] + data, INVITE + data):
        try:
            message = parse(datagram)
        except Malformed:
            continue
        if message is not None:
            assert parse(message.to_bytes()) is not None
