"""SIP addresses as they come from the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringline.sandbox.ua.address import Malformed, NameAddr, Uri, Via, split_outside


@pytest.mark.parametrize(
    ("text", "display", "uri", "tag"),
    [
        ("<sip:a@b>;tag=1", "", "sip:a@b", "1"),
        ("sip:a@b;tag=1", "", "sip:a@b", "1"),
        ('"Joe, <x>" <sip:a@b;transport=udp>;tag=1;x', "Joe, <x>", "sip:a@b;transport=udp", "1"),
        ('"a \\"quoted\\" \\\\ one" <sip:a@b>', 'a "quoted" \\ one', "sip:a@b", ""),
        ("Joe Doe<sip:a@b>", "Joe Doe", "sip:a@b", ""),
        ('"" <sip:a@b> ; tag = x', "", "sip:a@b", "x"),
        ("*", "", "*", ""),
    ],
)
def test_name_addr(text: str, display: str, uri: str, tag: str) -> None:
    parsed = NameAddr.parse(text)
    assert (parsed.display, parsed.uri, parsed.tag) == (display, uri, tag)


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("sip:+15551234567@127.0.0.1:5090;user=phone", "+15551234567", "127.0.0.1", 5090),
        ("sip:%2B1555@h", "+1555", "h", None),
        ("SIP:alice;phone-context=x@[::1]:5060", "alice", "[::1]", 5060),
        ("sip:u:secret@h?Subject=x", "u", "h", None),
        ("sip:h", "", "h", None),
        ("tel:+1-555;x=y", "+1-555", "", None),
    ],
)
def test_uri(text: str, user: str, host: str, port: int | None) -> None:
    parsed = Uri.parse(text)
    assert (parsed.user, parsed.host, parsed.port) == (user, host, port)


@pytest.mark.parametrize(
    "text", ["", "sip", "http://x", "sip:@h", "sip:a@h:0", "sip:a@h:99999", "sip:a@h:1:2", "sip:a@"]
)
def test_not_a_uri(text: str) -> None:
    with pytest.raises(Malformed):
        Uri.parse(text)


def test_via() -> None:
    via = Via.parse("SIP/2.0/UDP  10.0.0.1 ;branch=z9hG4bKx;rport")
    assert (via.host, via.port, via.branch, via.rport) == ("10.0.0.1", 5060, "z9hG4bKx", True)
    with pytest.raises(Malformed):
        Via.parse("SIP/2.0/TCP h;branch=z9hG4bKx")


def test_commas_inside_quotes_and_brackets_do_not_separate() -> None:
    assert split_outside('"a,b" <sip:x,y@z>, c', ",") == ['"a,b" <sip:x,y@z>', "c"]


@given(st.text(max_size=200))
def test_no_text_raises_anything_but_malformed(text: str) -> None:
    for parse in (NameAddr.parse, Uri.parse, Via.parse):
        try:
            parse(text)
        except Malformed:
            continue
