"""Which addresses and URLs are refused."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from ringline.errors import InvalidArgument
from ringline.media.address_guard import AddressForbidden, AddressGuard, check_url, loggable

FORBIDDEN = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "3fff::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "localhost",
    "",
    "1.2.3",
]
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "2606:4700::1111",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    with pytest.raises(AddressForbidden):
        AddressGuard().check(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address: str) -> None:
    AddressGuard().check(address)


def test_the_operators_exceptions_come_first_and_reach_no_further() -> None:
    guard = AddressGuard([ip_network("10.1.0.0/16"), ip_network("fd00::/8")])
    guard.check("10.1.2.3")
    guard.check("fd00::7")
    for address in ("10.2.0.1", "127.0.0.1", "fe80::1", "::ffff:10.1.2.3"):
        with pytest.raises(AddressForbidden):
            guard.check(address)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/a.wav",
        "file:///etc/passwd",
        "gopher://example.com/",
        "//example.com/a.wav",
        "example.com/a.wav",
        "http://",
        "http:///a.wav",
        "http://user@example.com/a.wav",
        "http://user:secret@example.com/a.wav",
        "http://:secret@example.com/",
        "http://127.0.0.1/a.wav",
        "http://127.0.0.1:8088/ari/channels",
        "http://[::1]/a.wav",
        "http://[::ffff:127.0.0.1]/",
        "http://[fe80::1%25eth0]/",
        "https://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://example.com/a b.wav",
        "http://example.com/\r\nHost: x",
        "http://example.com:99999/",
        "http://example.com:0/",
        "http://[::1",
        "http://example.com/" + "a" * 3000,
        "",
    ],
)
def test_urls_that_are_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_url(url)
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a.wav",
        "https://example.com:8443/a.wav?x=1#y",
        "HTTP://EXAMPLE.COM/A.WAV",
        "http://[2606:4700::1111]/",
        "http://8.8.8.8/",
        "http://bücher.example/ü.mp3",
    ],
)
def test_urls_that_pass(url: str) -> None:
    check_url(url)


def test_a_url_inside_an_allowed_network_passes() -> None:
    check_url("http://127.0.0.1:9000/x.wav", [ip_network("127.0.0.0/8")])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h.example/a.wav?X-Amz-Signature=0a1b", "https://h.example/a.wav"),
        ("https://h.example/a.wav#sig=0a1b", "https://h.example/a.wav"),
        ("https://u:secret@h.example/a.wav?sig=x", "https://h.example/a.wav"),
        ("//u:secret@h.example/a@b.wav", "//h.example/a@b.wav"),
        ("https://h.example/" + "a" * 300, "https://h.example/" + "a" * 182),
        ("nonsense?sig=x", "nonsense"),
    ],
)
def test_what_is_shown_of_a_url_opens_nothing(url: str, shown: str) -> None:
    assert loggable(url) == shown


@pytest.mark.parametrize("address", ["http://u:secret@example.com/", "ftp://example.com/?sig=secret"])
def test_a_refusal_does_not_repeat_what_is_secret(address: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_url(address)
    assert "secret" not in caught.value.message
