"""The ladder as it is printed."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from ringline.traces.dialogs import messages
from ringline.traces.ladder import ladder
from ringline.traces.models import Leg, view
from tests.unit.traces.wire import SOCKETS, outgoing

CALL = UUID("c29293f9-002b-44f8-81bd-32ad9cf6ace5")


def leg(**changes: object) -> Leg:
    made = Leg(
        call_id=CALL,
        sip_call_id="dialog-1",
        direction="outgoing",
        source="+15551234567",
        destination="+15559876543",
        party="carrier",
        messages=messages(outgoing(), SOCKETS)[:4],
        dropped=0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields by name


GOLDEN = """\
outgoing call c29293f9-002b-44f8-81bd-32ad9cf6ace5  +15551234567 -> +15559876543  Call-ID dialog-1
From 2023-11-14 22:13:20.000000Z; times in seconds.

                 Kamailio                  Asterisk                  carrier
                 127.0.0.1:5060            127.0.0.1:5080            203.0.113.7:5090
  1 +0.000000    |<----- INVITE (SDP) -----|                         |
  2 +0.001000    |------------------ INVITE (SDP) ------------------>|
  3 +0.002000    |<------------------ 180 Ringing -------------------|
  4 +0.003000    |----- 180 Ringing ------>|                         |
"""


def test_the_ladder_of_a_call() -> None:
    assert ladder([leg()]) == GOLDEN


def test_the_caller_of_an_incoming_call_stands_at_the_left() -> None:
    lines = ladder([leg(direction="incoming")]).splitlines()
    assert lines[3].split() == ["carrier", "Kamailio", "Asterisk"]


def test_several_legs_have_letters_and_a_leg_may_be_empty() -> None:
    text = ladder([leg(), leg(messages=[], dropped=3, party="phone")])
    assert text.startswith("A: outgoing") and "\nB: outgoing" in text and ", 3 more were not kept" in text
    assert text.splitlines()[6].endswith("| A")
    assert "No SIP messages were kept." in ladder([leg(messages=[])])


def test_with_the_messages_in_full() -> None:
    text = ladder([leg()], texts=True)
    assert "--- 2  2023-11-14 22:13:20.001000Z  127.0.0.1:5060 -> 203.0.113.7:5090 (udp)\nINVITE sip:" in text
    assert text.count("Call-ID: dialog-1") == 4


def test_nothing_reaches_the_terminal_that_it_would_obey() -> None:
    text = ladder([leg(source="\x1b[2J+1", sip_call_id="a\nb\x07")], texts=True)
    assert "\x1b" not in text and "\x07" not in text and "a?b?" in text


def test_as_json() -> None:
    trace = view(CALL, [leg()])
    assert trace.legs[0].messages == 4
    first = trace.messages[0]
    assert (first.method, first.status, first.direction, first.side) == ("INVITE", 0, "in", "caller")
    assert first.tm == "2023-11-14T22:13:20.000000Z"
    assert (first.source, first.destination) == ("127.0.0.1:5080", "127.0.0.1:5060")
    assert trace.messages[2].status == 180
