"""An Asterisk that does what the test says: requests are kept, events are handed in."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from ringline import ari
from ringline.calls.call import Call


class Subscription:
    def close(self) -> None:
        pass


class FakeClient:
    """The part of ``ringline.ari.Client`` that calls use. ``answers`` maps "METHOD uri" to a result or an error."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, Any] | None, Any]] = []
        self.answers: dict[str, Any] = {}
        self.connected = True
        self._handlers: dict[str, list[Callable[[dict[str, Any]], None]]] = defaultdict(list)

    def send(
        self,
        method: str,
        uri: str,
        *,
        query: Any = None,
        body: Any = None,
        key: str = "",
        timeout: Any = None,
    ) -> asyncio.Future[Any]:
        self.sent.append((method, uri, query, body))
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer = self.answers.get(f"{method} {uri}", self.answers.get(method))
        if isinstance(answer, Exception):
            future.set_exception(answer)
            future.exception()
        elif answer != "pending":
            future.set_result(answer)
        return future

    async def request(self, method: str, uri: str, **rest: Any) -> Any:
        return await self.send(method, uri, **rest)

    def tell(
        self,
        method: str,
        uri: str,
        *,
        query: Any = None,
        body: Any = None,
        key: str = "",
        ignore: Iterable[int] = (),
    ) -> None:
        self.sent.append((method, uri, query, body))

    def on_event(self, kind: str, handler: Callable[[dict[str, Any]], None]) -> Subscription:
        self._handlers[kind].append(handler)
        return Subscription()

    def emit(self, kind: str, **event: Any) -> None:
        for handler in self._handlers[kind]:
            handler({"type": kind, **event})

    def requests(self, method: str) -> list[str]:
        return [uri for sent, uri, _, _ in self.sent if sent == method]


class FakeLive:
    """What would be kept for another controller."""

    def __init__(self) -> None:
        self.parts: dict[tuple[str, str], dict[str, Any]] = {}

    def keep(self, part: str, key: str, value: dict[str, Any]) -> None:
        self.parts[part, key] = value

    def drop(self, part: str, key: str) -> None:
        self.parts.pop((part, key), None)


class FakeJournal:
    def __init__(self) -> None:
        self.live = FakeLive()
        self.touched: list[tuple[str, str]] = []

    def touch(self, call: Call) -> None:
        self.touched.append((call.status.value, call.hangup_reason.value))

    def touch_live(self, call: Call) -> None:
        pass

    def touch_flow(self, flow: Any) -> None:
        pass

    def pending(self, call_id: Any) -> None:
        return None

    def announce(self, calls: Any) -> None:
        pass

    async def recall(self, calls: Any) -> None:
        pass


class Hooks:
    def __init__(self) -> None:
        self.ready: list[Call] = []
        self.ended: list[Call] = []

    def call_ready(self, call: Call, leg: Any) -> None:
        self.ready.append(call)

    def call_ended(self, call: Call) -> None:
        self.ended.append(call)


def not_found() -> ari.NotFound:
    return ari.NotFound("Channel not found", status=404, method="GET", uri="channels/x")
