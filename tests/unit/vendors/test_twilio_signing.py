"""Twilio's signature: our verifier against the SDK's signer, the strict server's signer against the SDK's."""

from __future__ import annotations

import hashlib
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from multidict import MultiDict
from twilio.request_validator import RequestValidator

from ringline.vendors.errors import HookRefused
from ringline.vendors.events import Hook
from ringline.vendors.twilio.signing import signature, verify
from tests.vendors.twilio_server import TwilioServer

TOKEN = "12345"
unhurried = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
FORM = "application/x-www-form-urlencoded"
URLS = st.builds(
    "{}://{}{}/hooks/twilio{}".format,
    st.sampled_from(["https", "http"]),
    st.sampled_from(["api.example.com", "127.0.0.1", "xn--bcher-kva.example"]),
    st.sampled_from(["", ":443", ":80", ":8443"]),
    st.sampled_from(["", "?", "?text_id=3f2a", "?a=%2B1&b=x%20y", "?a=b+c&a=d", "?%7Eq=%C3%BC"]),
)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FIELDS = st.lists(
    st.tuples(st.one_of(st.sampled_from(["Body", "From", "MessageSid", "A", "a"]), WORDS), WORDS)
)


def hook(url: str, pairs: list[tuple[str, str]], signed: str, **headers: str) -> Hook:
    given_headers = {"content-type": FORM, "x-twilio-signature": signed, **headers}
    return Hook("twilio", "POST", url, given_headers, urlencode(pairs).encode())


@unhurried
@given(url=URLS, pairs=FIELDS)
def test_what_the_sdk_signs_is_believed(url: str, pairs: list[tuple[str, str]]) -> None:
    signed = RequestValidator(TOKEN).compute_signature(url, MultiDict(pairs))
    verify(TOKEN, hook(url, pairs, signed))


@unhurried
@given(
    url=URLS.filter(lambda url: not url.endswith("?")),
    pairs=FIELDS,
    other=st.one_of(FIELDS, st.just([("A", "")])),
)
def test_what_the_sdk_does_not_believe_neither_do_we(
    url: str, pairs: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    """A signature of other fields. (An empty query is the one thing that the SDK forgets and we do not.)"""
    signed = RequestValidator(TOKEN).compute_signature(url, MultiDict(other))
    wanted = RequestValidator(TOKEN).validate(url, MultiDict(pairs), signed)
    try:
        verify(TOKEN, hook(url, pairs, signed))
        assert wanted
    except HookRefused:
        assert not wanted


@pytest.mark.parametrize(
    ("signed_for", "came_to"),
    [
        ("https://api.example.com/hooks/twilio?x=1", "https://api.example.com:443/hooks/twilio?x=1"),
        ("https://api.example.com:443/hooks/twilio", "https://api.example.com/hooks/twilio"),
        ("http://api.example.com:80/hooks/twilio", "http://api.example.com/hooks/twilio"),
        ("https://api.example.com/hooks/twilio", "https://api.example.com:8443/hooks/twilio"),
        ("https://api.example.com:8443/hooks/twilio", "https://api.example.com:8443/hooks/twilio"),
    ],
)
def test_ports_may_be_named_or_not(signed_for: str, came_to: str) -> None:
    """As the SDK has it: Twilio signs with or without a port."""
    pairs = [("MessageSid", "SM1")]
    signed = RequestValidator(TOKEN).compute_signature(signed_for, dict(pairs))
    assert RequestValidator(TOKEN).validate(came_to, dict(pairs), signed)
    verify(TOKEN, hook(came_to, pairs, signed))


def test_the_example_of_the_documentation() -> None:
    """https://www.twilio.com/docs/usage/webhooks/webhooks-security, as the SDK's own tests have it."""
    pairs = [
        ("CallSid", "CA1234567890ABCDE"),
        ("Caller", "+14158675309"),
        ("Digits", "1234"),
        ("From", "+14158675309"),
        ("To", "+18005551212"),
    ]
    verify(TOKEN, hook("https://mycompany.com/myapp.php?foo=1&bar=2", pairs, "RSOYDt4T1cUTdK1PDd93/VVr8B8="))


@unhurried
@given(body=st.binary(min_size=1, max_size=200))
def test_json_counts_by_its_hash(body: bytes) -> None:
    bare = "https://api.example.com/hooks/twilio"
    url = f"{bare}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    signed = RequestValidator(TOKEN).compute_signature(url, {})
    headers = {"content-type": "application/json", "x-twilio-signature": signed}
    verify(TOKEN, Hook("twilio", "POST", url, headers, body))
    with pytest.raises(HookRefused, match="bodySHA256"):
        verify(TOKEN, Hook("twilio", "POST", url, headers, body + b" "))
    with pytest.raises(HookRefused, match="bodySHA256"):
        verify(TOKEN, Hook("twilio", "POST", bare, headers, body))


@pytest.mark.parametrize("port", ["", ":8443"])
@unhurried
@given(pairs=FIELDS)
def test_the_strict_server_signs_as_twilio_does(port: str, pairs: list[tuple[str, str]]) -> None:
    server = TwilioServer()
    url = f"https://api.example.com{port}/hooks/twilio?text_id=1"
    signed = server.signature(url, pairs)
    assert signed == RequestValidator(server.auth_token).compute_signature(url, MultiDict(pairs))


def test_every_byte_counts() -> None:
    url, pairs = (
        "https://api.example.com/hooks/twilio?text_id=1",
        [("Body", "hello"), ("From", "+15551234567")],
    )
    signed = signature(TOKEN, url, {name: [value] for name, value in pairs})
    verify(TOKEN, hook(url, pairs, signed))
    for changed in (
        hook(url, [("Body", "hello!"), pairs[1]], signed),
        hook(url, [*pairs, ("NumMedia", "1")], signed),
        hook(url, [("Body", " hello"), pairs[1]], signed),
        hook(url.replace("text_id=1", "text_id=2"), pairs, signed),
        hook(url.replace("https", "http"), pairs, signed),
        hook(url, pairs, signed.swapcase()),
        hook(url, pairs, signed + "\n"),
        hook(url, pairs, "ü"),
        hook(url, pairs, ""),
    ):
        with pytest.raises(HookRefused):
            verify(TOKEN, changed)
    with pytest.raises(HookRefused):
        verify("another token", hook(url, pairs, signed))


@pytest.mark.parametrize(
    "body",
    [b"Body=%ff%fe", b"\xff\xfe=1", b"&".join(b"a%d=1" % index for index in range(600))],
    ids=["latin", "bytes", "too many"],
)
def test_forms_that_are_none(body: bytes) -> None:
    headers = {"content-type": FORM, "x-twilio-signature": "x"}
    with pytest.raises(HookRefused):
        verify(TOKEN, Hook("twilio", "POST", "https://api.example.com/hooks/twilio", headers, body))


def test_shared_keys_of_twilio_are_not_ours() -> None:
    url = "https://api.example.com/hooks/twilio"
    signed = RequestValidator(TOKEN).compute_signature(url, {"A": "b"}, "HMAC_SHA256")
    settings = "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"
    with pytest.raises(HookRefused, match="shared key"):
        verify(TOKEN, hook(url, [("A", "b")], signed, **{"x-twilio-webhooks-signature-settings": settings}))


def test_a_url_with_an_impossible_port() -> None:
    with pytest.raises(HookRefused, match="port"):
        verify(TOKEN, hook("https://api.example.com:99999/hooks/twilio", [], "x"))
