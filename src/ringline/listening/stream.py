"""Events from the WebSocket of the API, over breaks of the connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import orjson

ZERO: Final = "00000000-0000-0000-0000-000000000000"
_OPEN_SECONDS: Final = 10.0
_HEARTBEAT: Final = 25.0
_WAITS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
_LARGEST: Final = 8 * 1024**2
_FINAL: Final = frozenset({4001, 4003})
"""Close codes after which the same credential is refused again."""


class Refused(Exception):
    """The API does not let this credential listen; the text says why."""


@dataclass
class Stream:
    """The events of the customer whose ``credential`` this is.

    ``after`` is the last event that was had: it is gone on from there, with ``ZERO`` from the beginning of what is
    kept and with "" from now on. ``said`` is told of breaks and gaps, in sentences.
    """

    url: str
    credential: str
    said: Callable[[str], None]
    after: str = ""
    connected: bool = field(default=False, init=False)

    async def events(self, session: aiohttp.ClientSession) -> AsyncGenerator[tuple[dict[str, Any], bytes]]:
        """Each event, and as it was sent. Raises ``Refused``, or, if it fails the first time, aiohttp's errors."""
        failures = 0
        while True:
            try:
                async for event in self._one(session):
                    failures = 0
                    yield event
                why = "the connection was closed"
            except aiohttp.WSServerHandshakeError as error:
                if error.status in (400, 401, 403, 404):
                    raise Refused(await self._reason(session, error.status)) from None
                if not self.connected:
                    raise
                why = f"refused with {error.status}"
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                if not self.connected:
                    raise
                why = str(error) or "no answer in time"
            wait = _WAITS[min(failures, len(_WAITS) - 1)] * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            failures += 1
            self.said(f"The connection broke ({why}); trying again in {wait:.1f} s.")
            await asyncio.sleep(wait)

    async def _one(self, session: aiohttp.ClientSession) -> AsyncGenerator[tuple[dict[str, Any], bytes]]:
        """What comes over one connection."""
        async with asyncio.timeout(_OPEN_SECONDS):
            socket = await session.ws_connect(
                f"{self.url}/v1.0/ws",
                headers={"Authorization": f"Bearer {self.credential}"},
                heartbeat=_HEARTBEAT,
                max_msg_size=_LARGEST,
            )
        async with socket:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                frame = orjson.loads(message.data)
                if "sequence" in frame:
                    self.after = frame["id"]
                    yield frame, message.data.encode()
                else:
                    await self._deal(frame, socket)
            if socket.close_code in _FINAL:
                raise Refused("The credential is not good for listening any more.")

    async def _deal(self, frame: dict[str, Any], socket: aiohttp.ClientWebSocketResponse) -> None:
        kind = frame["type"]
        if kind == "connected":
            again = {"after": self.after} if self.after else {}
            topics = [f"customer_id:{frame['customer_id']}"]
            await socket.send_json({"type": "subscribe", "topics": topics, **again})
        elif kind == "subscribed":
            # what to go on from, should it break before the first event
            self.after = self.after or frame["last"]
            if self.connected:
                self.said("Connected again.")
            self.connected = True
        elif kind == "resumed" and frame["events"]:
            self.said(f"{frame['events']} events came meanwhile; they stand above.")
        elif kind == "resume_gap":
            self.said("Some events that came meanwhile are not kept any more; what is kept follows.")
        elif kind == "error":
            raise Refused(frame["error"]["message"])

    async def _reason(self, session: aiohttp.ClientSession, status: int) -> str:
        """The API's sentence: a client of WebSockets does not show the body of a refusal."""
        headers = {"Authorization": f"Bearer {self.credential}"}
        try:
            async with session.get(f"{self.url}/v1.0/ws", headers=headers) as response:
                return str((await response.json(content_type=None))["error"]["message"])
        except (aiohttp.ClientError, ValueError, LookupError, TypeError, TimeoutError):
            return f"The API answered {status}."
