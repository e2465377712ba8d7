"""What a provider and a route may be."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from ringline.errors import InvalidArgument
from ringline.routing.models import ProviderFields, RouteFields, Source


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7/32", "203.0.113.7"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("203.0.113.7:5060", "203.0.113.7:5060"),
        ("203.0.113.0/24:5060", "203.0.113.0/24:5060"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:5061", "[2001:db8::7]:5061"),
        ("[2001:db8::]/32", None),
        ("2001:db8::/32", "2001:db8::/32"),
        ("203.0.113.7/24", None),
        ("0.0.0.0/0", None),
        ("::/0", None),
        ("224.0.0.1", None),
        ("sip.example.org", None),
        ("203.0.113.7:99999", None),
        ("203.0.113.7:-1", None),
        ("203.0.113.7:sip", None),
        ("", None),
    ],
)
def test_a_source_is_an_address_or_a_network_with_or_without_a_port(text: str, shown: str | None) -> None:
    if shown is None:
        with pytest.raises(InvalidArgument, match=r"203\.0\.113\.7"):
            Source.parse(text)
    else:
        assert str(Source.parse(text)) == shown
        assert Source.parse(shown) == Source.parse(text)


@pytest.mark.parametrize(
    "host", ["sip.example.org", "localhost", "203.0.113.7", "2001:db8::7", "a" * 63 + ".example"]
)
def test_a_provider_is_at_a_name_or_an_address(host: str) -> None:
    assert ProviderFields(name="x", hostname=host).hostname == host


@pytest.mark.parametrize(
    "wrong",
    [
        {"hostname": ""},
        {"hostname": "300.1.2.3"},
        {"hostname": "sip.example.org:5060"},
        {"hostname": "sip.example.org;transport=tls"},
        {"hostname": "a..b"},
        {"hostname": "-a.example"},
        {"hostname": "a" * 64 + ".example"},
        {"hostname": "sip:example.org"},
        {"hostname": "user@example.org"},
        {"name": ""},
        {"name": "x" * 256},
        {"name": "line\nbreak"},
        {"port": 65536},
        {"port": -1},
        {"transport": "sctp"},
        {"tech_prefix": "9;x=y"},
        {"tech_prefix": "1" * 33},
        {"tech_postfix": "@elsewhere"},
        {"tech_postfix": "%40"},
        {"tech_headers": {"X-A": "line\r\nVia: forged"}},
        {"tech_headers": {"X A": "1"}},
        {"tech_headers": {"From": "<sip:me>"}},
        {"tech_headers": {"x-ringline-source": "provider"}},
        {"tech_headers": {"X-A": "a,b"}},
        {"tech_headers": {"X-A": ""}},
        {"tech_headers": {f"X-{n}": "1" for n in range(33)}},
        {"sources": tuple(Source.parse(f"203.0.{n // 250}.{n % 250}") for n in range(257))},
    ],
)
def test_what_kamailio_could_not_use_is_refused_with_the_field(wrong: dict[str, Any]) -> None:
    field = "addresses" if "sources" in wrong else next(iter(wrong))
    with pytest.raises(InvalidArgument, match=f"^{field}: "):
        ProviderFields(**{"name": "x", "hostname": "sip.example.org", **wrong})


@pytest.mark.parametrize("target", ["all", "+1", "+82", "+4930", "+155512345678901"])
def test_a_route_leads_to_a_prefix_or_to_all(target: str) -> None:
    assert RouteFields(provider_id=uuid4(), target=target).target == target


@pytest.mark.parametrize(
    "target", ["", "82", "+", "+0", "ALL", "*", "+82 ", "+899", "+8991", "+1555123456789012"]
)
def test_a_target_that_no_number_could_match_is_refused(target: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^target: "):
        RouteFields(provider_id=uuid4(), target=target)


@pytest.mark.parametrize("priority", [-1, 1_000_001])
def test_a_priority_out_of_range_is_refused(priority: int) -> None:
    with pytest.raises(InvalidArgument, match=r"^priority: "):
        RouteFields(provider_id=uuid4(), priority=priority)
