"""Who is calling, from headers that may be anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringline.sip.identity import CallerIdentity, caller, parse_party, wants_privacy


@pytest.mark.parametrize(
    ("header", "display", "user", "host"),
    [
        (
            '"Joe \\"J\\" Doe" <sip:+15551234567@host.test;user=phone>;tag=x',
            'Joe "J" Doe',
            "+15551234567",
            "host.test",
        ),
        ("<sip:1001@alpha.test:5070>;tag=1", "", "1001", "alpha.test:5070"),
        ("Alice <sips:alice@a.test>", "Alice", "alice", "a.test"),
        ("sip:bob@b.test", "", "bob", "b.test"),
        ("<tel:+15551234567;phone-context=x>", "", "+15551234567", ""),
        ("<sip:%2B1555@h.test>", "", "+1555", "h.test"),
    ],
)
def test_addresses(header: str, display: str, user: str, host: str) -> None:
    party = parse_party(header)
    assert party is not None
    assert (party.display, party.user, party.host) == (display, user, host)


@given(st.text(max_size=300))
def test_never_raises(header: str) -> None:
    parse_party(header)
    caller(header, header, header)


@pytest.mark.parametrize("value", ["id", "user;id", "header", "critical", " ID "])
def test_privacy_values_that_hide(value: str) -> None:
    assert wants_privacy(value)


@pytest.mark.parametrize("value", ["", "none", "session"])
def test_privacy_values_that_do_not(value: str) -> None:
    assert not wants_privacy(value)


def test_the_asserted_identity_goes_before_from() -> None:
    assert caller(
        '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1', '"Joe" <sip:+15551230000@carrier.test>', "id"
    ) == CallerIdentity(number="+15551230000", display="Joe", anonymous=True)


def test_nobody_known() -> None:
    assert caller('"Anonymous" <sip:anonymous@anonymous.invalid>', "", "") == CallerIdentity("", "", True)
