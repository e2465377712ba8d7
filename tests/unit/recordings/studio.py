"""An Asterisk that records: it answers requests as the real one does, and says what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from ringline import ari
from ringline.clock import SystemClock
from ringline.recordings.models import Reason, Recording, Status
from ringline.recordings.tape import Tape
from tests.unit.calls.fakes import FakeClient, not_found


class Studio(FakeClient):
    """Snoop channels and live recordings. ``broken`` maps a part of an URI to the error that it is answered with."""

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary: dict[str, Callable[[dict[str, Any]], None]] = {}
        self.channels: set[str] = set()
        self.live: dict[str, str] = {}
        self.broken: dict[str, Exception] = {}
        self.silent: set[str] = set()
        """Parts of URIs that are carried out and whose events are lost."""
        self.finished: Callable[[str], None] = lambda name: None

    def send(self, method: str, uri: str, **rest: Any) -> asyncio.Future[Any]:
        future = super().send(method, uri, **rest)
        for part, error in self.broken.items():
            if part in f"{method} {uri}":
                future = asyncio.get_running_loop().create_future()
                future.set_exception(error)
                future.exception()
                return future
        fault = self._act(method, uri, rest.get("query") or {})
        if fault is not None:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(fault)
            future.exception()
        elif method == "GET" and uri.startswith("recordings/live/"):
            future = asyncio.get_running_loop().create_future()
            name = uri.rsplit("/", 1)[1]
            future.set_result({"name": name, "target_uri": f"channel:{self.live[name]}"})
        return future

    def tell(self, method: str, uri: str, **rest: Any) -> None:
        super().tell(method, uri, **rest)
        self._act(method, uri, rest.get("query") or {})

    def _act(self, method: str, uri: str, query: dict[str, Any]) -> Exception | None:
        parts = uri.split("/")
        if method == "POST" and "snoop" in parts:
            self.channels.add(parts[3])
            self._later("snoop", parts[3], "StasisStart")
        elif method == "POST" and parts[-1] == "record":
            if parts[0] == "channels" and parts[1] not in self.channels:
                return not_found()
            self.live[str(query["name"])] = parts[1]
        elif method == "POST" and parts[-1] == "stop":
            if self.live.pop(parts[2], None) is not None and "stop" not in self.silent:
                asyncio.get_running_loop().call_soon(self.finished, parts[2])
        elif method == "GET" and parts[:2] == ["recordings", "live"]:
            return None if parts[2] in self.live else not_found()
        elif method == "DELETE" and parts[0] == "channels":
            self.channels.discard(parts[1])
            self._later("destroy", parts[1], "ChannelDestroyed")
        return None

    def _later(self, what: str, channel: str, kind: str) -> None:
        def tell() -> None:
            hear = self.auxiliary.get(channel)
            if hear is not None and what not in self.silent:
                hear({"type": kind, "channel": {"id": channel}})

        asyncio.get_running_loop().call_soon(tell)

    def hang_up(self, name: str) -> None:
        """What was recorded is gone: Asterisk ends the recording by itself."""
        self.channels.discard(self.live.pop(name, ""))
        self.finished(name)


class Desk:
    """The owner of one tape."""

    def __init__(self, **fields: Any) -> None:
        self.studio = Studio()
        self.over: list[tuple[Reason, str]] = []
        self.running = 0
        self.recording = Recording(
            id=uuid4(),
            customer_id=uuid4(),
            reference_type="call",
            reference_id=uuid4(),
            tm_create=SystemClock().now(),
            **{"target": "channel:call-1", "max_seconds": 60, **fields},
        )
        self.tape = Tape(
            self.studio,  # type: ignore[arg-type]
            self.recording,
            self,
            SystemClock(),
            application="ringline",
            auxiliary=self.studio.auxiliary,
        )
        self.studio.finished = lambda name: self.tape.finished()

    def tape_running(self, tape: Tape) -> None:
        self.running += 1
        assert tape.recording.status is Status.RECORDING

    def tape_over(self, tape: Tape, reason: Reason, detail: str = "") -> None:
        self.over.append((reason, detail))

    @property
    def clean(self) -> bool:
        """Nothing is left in Asterisk, and nobody listens for it."""
        return not self.studio.channels and not self.studio.live and not self.studio.auxiliary


async def settle() -> None:
    """Let everything happen that is about to."""
    for _ in range(20):
        await asyncio.sleep(0)


__all__ = ["Desk", "Studio", "ari", "settle"]
