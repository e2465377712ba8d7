"""The verifier of a password, against the exchange printed in RFC 7677 section 3."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from ringline.routing.role import login_statement, verifier

_NONCE = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
_EXCHANGE = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={_NONCE}"


def test_the_verifier_proves_the_exchange_of_the_rfc() -> None:
    text = verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    kind, salt, keys = text.split("$")
    stored, server = (base64.b64decode(key) for key in keys.split(":"))
    assert (kind, salt) == ("SCRAM-SHA-256", "4096:W22ZaJ0SNY7soEsUEjb6gQ==")
    signature = hmac.digest(server, _EXCHANGE.encode(), "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client = bytes(
        a ^ b for a, b in zip(proof, hmac.digest(stored, _EXCHANGE.encode(), "sha256"), strict=True)
    )
    assert hashlib.sha256(client).digest() == stored


def test_the_password_is_in_no_statement_and_the_salt_is_new_each_time() -> None:
    assert "pencil" not in login_statement("pencil")
    assert login_statement("pencil") != login_statement("pencil")


@pytest.mark.parametrize("password", ["pässword", "line\nbreak"])
def test_a_password_that_needs_preparation_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        verifier(password)
