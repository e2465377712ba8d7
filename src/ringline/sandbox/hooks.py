"""Webhooks of the carrier to whoever uses it, signed as Standard Webhooks says (symmetric, ``v1``, HMAC-SHA256).

Written out from the public specification, not with the package that the receiver verifies them with. What was not
taken is sent again with growing pauses for a day, also after a restart of the carrier.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import Any, Final

import aiohttp
import structlog

from ringline.sandbox.journal import now
from ringline.sandbox.shelf import Shelf

log = structlog.get_logger(__name__)

TABLE: Final = "hooks"
PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds between tries; the last one again and again."""
GIVE_UP_SECONDS: Final = 86_400.0
TIMEOUT_SECONDS: Final = 10.0
AT_ONCE: Final = 8
MOST: Final = 10_000


def sign(secret: str, message_id: str, timestamp: int, body: str) -> str:
    """The header ``webhook-signature``. ``secret`` is base64 with or without ``whsec_`` before it."""
    text = secret.removeprefix("whsec_")
    key = base64.b64decode(text + "=" * (-len(text) % 4))
    digest = hmac.digest(key, f"{message_id}.{timestamp}.{body}".encode(), hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


class Hooks:
    """Sends what is put in, each until it was taken. ``url`` empty: nothing is sent."""

    def __init__(self, shelf: Shelf, url: str, secret: str) -> None:
        self.sent = 0
        self._shelf = shelf
        self._url = url
        self._secret = secret
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(AT_ONCE)

    @property
    def waiting(self) -> int:
        """How many were not taken yet."""
        return len(self._shelf.table(TABLE))

    async def start(self) -> None:
        """Go on with what a former process did not get rid of."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
        for key in list(self._shelf.table(TABLE)):
            self._begin(key)

    async def close(self) -> None:
        """Stop; what is left goes on after the next start."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=1.0)
        if self._session is not None:
            await self._session.close()

    def send(self, kind: str, data: dict[str, Any], *, times: int = 1) -> None:
        """Report an event; ``times`` above 1 repeats the same message, as networks do."""
        if not self._url or not self._secret:
            log.info("carrier_hook_not_sent", kind=kind, why="no RINGLINE_SANDBOX_HOOK_SECRET")
            return
        if self.waiting >= MOST:
            log.error("carrier_hook_dropped", kind=kind, waiting=self.waiting)
            return
        message_id = f"msg_{secrets.token_hex(12)}"
        body = json.dumps({"type": kind, "timestamp": now(), "data": data})
        for copy in range(times):
            key = f"{message_id}.{copy}"
            self._shelf.put(TABLE, key, {"id": message_id, "body": body, "since": time.time()})
            self._begin(key)

    def _begin(self, key: str) -> None:
        task = asyncio.create_task(self._until_taken(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_taken(self, key: str) -> None:
        row = self._shelf.table(TABLE)[key]
        tried = 0
        while time.time() - row["since"] < GIVE_UP_SECONDS:
            async with self._room:
                fault = await self._try(row["id"], row["body"])
            if not fault:
                self.sent += 1
                self._shelf.drop(TABLE, key)
                return
            pause = PAUSES[min(tried, len(PAUSES) - 1)]
            tried += 1
            log.info("carrier_hook_not_taken", id=row["id"], tried=tried, why=fault, again_in=pause)
            await asyncio.sleep(pause)
        log.error("carrier_hook_given_up", id=row["id"])
        self._shelf.drop(TABLE, key)

    async def _try(self, message_id: str, body: str) -> str:
        assert self._session is not None  # noqa: S101 - start() made it
        timestamp = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self._secret, message_id, timestamp, body),
        }
        try:
            async with self._session.post(
                self._url, data=body.encode(), headers=headers, allow_redirects=False
            ) as response:
                return "" if 200 <= response.status < 300 else f"answered {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return str(error) or type(error).__name__
