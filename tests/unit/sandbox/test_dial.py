"""What a dialled call says about its caller, and what a person reads about it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ringline.sandbox.cli import describe
from ringline.sandbox.config import CarrierSettings
from ringline.sandbox.dial import DialRequest, identity


def test_a_caller_shows_the_number() -> None:
    request = DialRequest.model_validate({"from": "+15557654321", "to": "+15551234567"})
    sender, headers = identity(request, "127.0.0.1")
    assert sender == '"+15557654321" <sip:+15557654321@127.0.0.1>'
    assert headers == [("p-asserted-identity", "<sip:+15557654321@127.0.0.1>")]


def test_an_anonymous_caller_shows_it_to_the_network_only() -> None:
    request = DialRequest.model_validate({"from": "+15557654321", "to": "+15551234567", "anonymous": True})
    sender, headers = identity(request, "127.0.0.1")
    assert sender == '"Anonymous" <sip:anonymous@anonymous.invalid>'
    assert headers == [("privacy", "id"), ("p-asserted-identity", "<sip:+15557654321@127.0.0.1>")]


@pytest.mark.parametrize("number", ["", "1", "+1 555", "+1555\n", "alice", "+" + "1" * 21, "+1555;x"])
def test_numbers_are_digits(number: str) -> None:
    with pytest.raises(ValidationError):
        DialRequest.model_validate({"from": "+15557654321", "to": number})


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"event": "ringing", "status": 180, "reason": "Ringing"}, "ringing (180 Ringing)"),
        (
            {"event": "ended", "answered": False, "status": 404, "reason": "Not Found"},
            "not answered: 404 Not Found: the number is not known",
        ),
        ({"event": "ended", "answered": False, "status": 499, "reason": "Odd"}, "not answered: 499 Odd"),
        (
            {
                "event": "ended",
                "answered": True,
                "by": "remote",
                "reason": "OK",
                "seconds": 2.04,
                "dtmf": "12",
                "recording": "a.wav",
            },
            "ended by the other side after 2.0 s\nkeys heard: 12\nrecording: a.wav",
        ),
    ],
)
def test_progress_for_a_person(event: dict[str, object], text: str) -> None:
    assert describe(event) == text


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGLINE_CARRIER_SIP_PORT", "15090")
    monkeypatch.setenv("RINGLINE_CARRIER_ALLOWED_NETWORKS", "127.0.0.1/32,10.0.0.0/8")
    monkeypatch.setenv("RINGLINE_KAMAILIO_PORT", "15060")
    settings = CarrierSettings()
    assert (settings.sip_port, settings.kamailio_port) == (15090, 15060)
    assert [str(network) for network in settings.allowed_networks] == ["127.0.0.1/32", "10.0.0.0/8"]
    with pytest.raises(ValidationError):
        CarrierSettings(rtp_start=12000, rtp_end=11000)
