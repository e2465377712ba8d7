"""Nothing secret stays, and nothing else is lost."""

from __future__ import annotations

import pytest

from ringline.traces.redaction import hide_identity, identity_marks, redact
from tests.unit.traces.wire import sip

DIGEST = (
    'Authorization: Digest username="test11", realm="test.ringline.test", nonce="N0NCE", uri="sip:x",'
    ' response="5f2b61d70b9a7c6e", cnonce="CN0NCE", nc=00000001, qop=auth, algorithm=MD5, opaque="0PAQUE"'
)


def test_digest_credentials_go_and_the_name_stays() -> None:
    for name in ("Authorization", "Proxy-Authorization", "PROXY-AUTHORIZATION"):
        raw = redact(sip("INVITE sip:a SIP/2.0", DIGEST.replace("Authorization", name)))
        assert b'username="test11"' in raw and b'realm="test.ringline.test"' in raw and b"qop=auth" in raw
        for secret in (b"N0NCE", b"5f2b61d7", b"CN0NCE", b"0PAQUE"):
            assert secret not in raw, (name, secret)
        assert b"\r\nContent-Length: 0\r\n\r\n" in raw


def test_credentials_without_quotes_folded_and_of_other_kinds() -> None:
    folded = 'Proxy-Authorization: Digest username="a",\r\n response=abcdef0123,\r\n\tnonce="NN"'
    raw = redact(sip("INVITE sip:a SIP/2.0", folded, "Authorization: Basic dXNlcjpwYXNz"))
    assert b"abcdef0123" not in raw and b'"NN"' not in raw and b"dXNlcjpwYXNz" not in raw
    assert b"Authorization: Basic redacted" in raw
    raw = redact(
        sip("INVITE sip:a SIP/2.0", "authorization: Bearer ey.J.x", "X-Api-Key: kkk", "X-Auth-Token: ttt")
    )
    assert b"ey.J.x" not in raw and b"kkk" not in raw and b"ttt" not in raw


def test_challenges_keep_their_realm() -> None:
    raw = redact(sip("SIP/2.0 407 No", 'Proxy-Authenticate: Digest realm="r", nonce="N0NCE", qop="auth"'))
    assert b'realm="r"' in raw and b"N0NCE" not in raw and b'qop="auth"' in raw


def test_our_own_headers_go() -> None:
    raw = redact(
        sip(
            "INVITE sip:a SIP/2.0",
            "X-Ringline-Arrival: provider,1,%3Csip:secret%3E,,",
            "x-ringline-customer: 5e4a,\r\n more",
            "X-Other: stays",
        )
    )
    assert b"ingline-" not in raw and b"secret" not in raw and b"more" not in raw
    assert b"\r\nX-Other: stays\r\n" in raw
    raw = redact(sip("INVITE sip:a SIP/2.0").replace(b"\r\n\r\n", b"\r\nX-Ringline-Call: last\r\n\r\n"))
    assert b"last" not in raw and raw.endswith(b"Content-Length: 0\r\n\r\n")


def test_the_signature_of_a_dialog_goes() -> None:
    raw = redact(sip("BYE sip:a SIP/2.0", "Route: <sip:127.0.0.1;lr=on;sig=0123456789abcdef>"))
    assert b";lr=on;sig=xxxxxxxxxxxxxxxx>" in raw


def test_keys_of_the_media_go_and_lengths_stay() -> None:
    body = (
        b"v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0c2VjcmV0|2^31|1:1\r\n"
        b"a=ice-pwd:pwdpwdpwd\r\nk=clear:geheim\r\na=fingerprint:sha-256 AA:BB\r\n"
    )
    before = sip("INVITE sip:a SIP/2.0", "Content-Type: application/sdp", body=body)
    raw = redact(before)
    assert len(raw) == len(before)
    for secret in (b"c2Vj", b"pwdpwd", b"geheim"):
        assert secret not in raw
    assert b"|2^31|1:1\r\n" in raw and b"a=fingerprint:sha-256 AA:BB" in raw


@pytest.mark.parametrize(
    ("kind", "body"),
    [("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n"), ("application/dtmf", b"5")],
)
def test_digits_by_info_go(kind: str, body: bytes) -> None:
    raw = redact(sip("INFO sip:a SIP/2.0", f"Content-Type: {kind}", body=body, cseq="3 INFO"))
    shown = raw.partition(b"\r\n\r\n")[2]
    assert b"5" not in shown.replace(b"Duration=160", b"")
    assert len(shown) == len(body)


def test_an_anonymous_caller_is_nobody() -> None:
    invite = sip(
        "INVITE sip:+15559876543@x SIP/2.0",
        'P-Asserted-Identity: "Jane Roe" <sip:+491701234567@carrier.test>',
        "P-Preferred-Identity: <tel:+491701234567>",
        "Contact: <sip:491701234567@203.0.113.7:5090;x=%2B491701234567>",
        "Privacy: id",
        caller='"Anonymous" <sip:anonymous@anonymous.invalid>',
        body=b"v=0\r\no=491701234567 1 1 IN IP4 203.0.113.7\r\n",
    )
    marks = identity_marks([invite])
    raw = hide_identity(redact(invite), marks)
    assert b"491701234567" not in raw and b"Jane" not in raw
    assert b"P-Asserted-Identity: <sip:anonymous@anonymous.invalid>\r\n" in raw
    assert b'From: "Anonymous" <sip:anonymous@anonymous.invalid>' in raw
    assert b"sip:+15559876543@x" in raw and b"203.0.113.7" in raw
    assert len(raw.partition(b"\r\n\r\n")[2]) == len(invite.partition(b"\r\n\r\n")[2])


def test_what_is_no_message_is_left_alone() -> None:
    for raw in (b"", b"\r\n\r\n", b"x", bytes(range(256)), b"\xff" * 1000):
        assert redact(raw) == raw
