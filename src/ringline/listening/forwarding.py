"""Events as webhooks to a server of one's own: the same body, headers and signature (Standard Webhooks)."""

from __future__ import annotations

import secrets
import time
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from typing import Final

import aiohttp

from ringline.media.outbound import sentence
from ringline.webhooks.signing import PREFIX, sign

SECONDS: Final = 5.0
"""That a server has to answer, as for webhooks."""
_SHORTEST, _LONGEST = 24, 64


def new_secret() -> str:
    """A secret to sign with."""
    return PREFIX + b64encode(secrets.token_bytes(32)).decode()


def key(secret: str) -> bytes:
    """What signs. Raises ``ValueError`` where it is no secret of Standard Webhooks."""
    try:
        raw = b64decode(secret.removeprefix(PREFIX), validate=True)
    except NotBase64:
        raw = b""
    if not secret.startswith(PREFIX) or not _SHORTEST <= len(raw) <= _LONGEST:
        raise ValueError(f"a secret is `{PREFIX}` and {_SHORTEST} to {_LONGEST} bytes in Base64")
    return raw


class Forwarder:
    """Posts events to one address, one after the other, each once. ``failures`` counts those without a 2xx."""

    def __init__(self, session: aiohttp.ClientSession, url: str, secret: str) -> None:
        self._session = session
        self._url = url
        self._key = key(secret)
        self.failures = 0

    async def post(self, event_id: str, body: bytes) -> str:
        """What became of it, in words."""
        now = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Ringline-Listen/1",
            "webhook-id": event_id,
            "webhook-timestamp": str(now),
            "webhook-signature": sign([self._key], event_id, now, body),
        }
        began = time.monotonic()
        try:
            async with self._session.post(
                self._url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=SECONDS),
            ) as response:
                if not 200 <= response.status < 300:
                    self.failures += 1
                return f"{response.status} in {(time.monotonic() - began) * 1000:.0f} ms"
        except TimeoutError:
            self.failures += 1
            return f"no answer within {SECONDS:g} s"
        except (aiohttp.ClientError, OSError) as error:
            self.failures += 1
            return sentence(error) if isinstance(error, aiohttp.ClientError) else type(error).__name__
