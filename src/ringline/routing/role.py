"""The password of the database role that Kamailio logs in with."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

_ITERATIONS = 4096


def login_statement(password: str) -> str:
    """SQL that lets the role ``kamailio`` log in with this password.

    The statement holds the SCRAM-SHA-256 verifier (RFC 5802, RFC 7677) and not the password, which therefore
    reaches no log of the server even when the statement fails.
    """
    return f"ALTER ROLE kamailio LOGIN PASSWORD '{verifier(password)}'"


def verifier(password: str, salt: bytes | None = None) -> str:
    """The verifier of an ASCII password in PostgreSQL's spelling (``SCRAM-SHA-256$4096:salt$stored:server``)."""
    if not password.isascii() or not password.isprintable():
        raise ValueError("the database password of Kamailio may hold printable ASCII only")
    salt = os.urandom(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    stored = hashlib.sha256(client).digest()
    return f"SCRAM-SHA-256${_ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
