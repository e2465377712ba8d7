"""Offers and answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringline.sandbox.ua.sdp import NotAcceptable, answer, offer, parse

OFFER = b"""v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=video 4002 RTP/AVP 96
a=rtpmap:96 VP8/90000
m=audio 4000 RTP/AVP 9 8 0 97
a=rtpmap:8 PCMA/8000
a=rtpmap:97 telephone-event/8000
a=sendonly
"""


def test_takes_the_first_law_and_the_events_of_the_offer() -> None:
    audio = parse(OFFER)
    assert (str(audio.address), audio.port, audio.law, audio.payload) == ("127.0.0.1", 4000, "PCMA", 8)
    assert (audio.event_payload, audio.direction, audio.index) == (97, "sendonly", 1)


def test_answers_every_stream_and_refuses_the_others() -> None:
    text = answer(parse(OFFER), "127.0.0.1", 11000, 5).decode()
    assert "m=video 0 RTP/AVP 96\r\n" in text
    assert "m=audio 11000 RTP/AVP 8 97\r\n" in text
    assert "a=recvonly" in text
    assert text.index("m=video") < text.index("m=audio")


def test_our_offer_can_be_answered_by_ourselves() -> None:
    audio = parse(offer("127.0.0.1", 11002, 7))
    assert (audio.port, audio.law, audio.event_payload, audio.direction) == (11002, "PCMU", 101, "sendrecv")


def test_hold_in_the_old_manner() -> None:
    assert parse(OFFER.replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 0.0.0.0")).direction == "inactive"


def test_static_payloads_need_no_map() -> None:
    assert parse(b"c=IN IP4 127.0.0.1\nm=audio 4000 RTP/AVP 0").law == "PCMU"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"m=audio 4000 RTP/AVP 0",
        b"c=IN IP6 ::1\nm=audio 4000 RTP/AVP 0",
        b"c=IN IP4 host.invalid\nm=audio 4000 RTP/AVP 0",
        b"c=IN IP4 127.0.0.1\nm=audio 0 RTP/AVP 0",
        b"c=IN IP4 127.0.0.1\nm=audio 99999 RTP/AVP 0",
        b"c=IN IP4 127.0.0.1\nm=audio 4000 RTP/SAVP 0",
        b"c=IN IP4 127.0.0.1\nm=audio 4000 RTP/AVP 18",
        b"c=IN IP4 127.0.0.1\nm=audio 4000 RTP/AVP 0\na=rtpmap:0 G729/8000",
        b"c=IN IP4 127.0.0.1\nm=audio",
    ],
)
def test_not_acceptable(body: bytes) -> None:
    with pytest.raises(NotAcceptable):
        parse(body)


@given(st.binary(max_size=300))
def test_no_body_raises_anything_but_not_acceptable(body: bytes) -> None:
    for text in (body, OFFER + body, OFFER[:50] + body):
        try:
            parse(text)
        except NotAcceptable:
            continue
