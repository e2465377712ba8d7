"""Requests that wait for their answer on one socket: matching, deadlines, and the end of all of them at once.

Frames as in Asterisk's "ARI REST over WebSocket": a ``RESTRequest`` carries a ``request_id`` that its
``RESTResponse`` repeats; bodies travel as strings inside the JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from .codec import dumps, loads
from .errors import AriError, ConnectionLost, Overloaded, RequestTimeout, error_for
from .stats import NoObserver, Observer, Stats

MAX_PENDING = 5000
"""Unanswered requests on one socket. At 2 ms an answer this is ten seconds of Asterisk's work."""

Convert = Callable[[Any], Any]


class Request:
    """One request under way. ``deadline`` and ``started`` are times of the event loop's clock."""

    __slots__ = ("convert", "deadline", "future", "method", "started", "uri")

    def __init__(
        self,
        method: str,
        uri: str,
        future: asyncio.Future[Any],
        *,
        started: float,
        timeout: float,
        convert: Convert | None = None,
    ) -> None:
        self.method = method
        self.uri = uri
        self.future = future
        self.started = started
        self.deadline = started + timeout
        self.convert = convert


def fail(future: asyncio.Future[Any], error: AriError) -> None:
    """End ``future`` with ``error``; whoever awaits it gets the error, and nobody has to.

    asyncio complains about errors that were never retrieved. Here a caller may well send without waiting,
    so the error counts as retrieved from the start; the counters and the log of the client keep it.
    """
    if not future.done():
        future.set_exception(error)
        future.exception()


class Settlement:
    """Turns answers into results or errors and counts both, whichever way they travelled."""

    def __init__(self, stats: Stats, observer: Observer | None) -> None:
        self.stats = stats
        self.observer: Observer = observer or NoObserver()

    def answered(self, request: Request, status: int, body: Any, now: float) -> None:
        """Asterisk answered; ``body`` is decoded JSON, text, or None."""
        self._observe(request, status, now)
        future = request.future
        if status >= 400:
            self.stats.requests_failed += 1
            fail(future, error_for(status, _message(body), method=request.method, uri=request.uri))
            return
        if future.done():
            return
        if request.convert is None:
            future.set_result(body)
            return
        try:
            future.set_result(request.convert(body))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            fail(
                future,
                AriError(
                    f"unexpected answer: {error!r}", status=status, method=request.method, uri=request.uri
                ),
            )

    def failed(self, request: Request, error: AriError, now: float) -> None:
        """No answer came."""
        self._observe(request, 0, now)
        self.stats.requests_failed += 1
        fail(request.future, error)

    def _observe(self, request: Request, status: int, now: float) -> None:
        self.observer.request_done(
            request.method, request.uri.partition("/")[0].partition("?")[0], status, now - request.started
        )


class PendingRequests:
    """The unanswered requests of one socket, in the order in which they were sent."""

    def __init__(self, settlement: Settlement) -> None:
        self._loop = asyncio.get_running_loop()
        self._settlement = settlement
        self._requests: dict[str, Request] = {}
        self._counter = 0

    def __len__(self) -> int:
        return len(self._requests)

    def frame(self, request: Request, body: Any) -> bytes:
        """Register ``request`` and return the frame that carries it."""
        if len(self._requests) >= MAX_PENDING:
            raise Overloaded(
                f"{MAX_PENDING} requests are waiting for an answer", method=request.method, uri=request.uri
            )
        self._counter += 1
        request_id = str(self._counter)
        frame: dict[str, Any] = {
            "type": "RESTRequest",
            "request_id": request_id,
            "method": request.method,
            "uri": request.uri,
        }
        if body is not None:
            frame["content_type"] = "application/json"
            frame["message_body"] = dumps(body).decode()
        encoded = dumps(frame)
        self._requests[request_id] = request
        return encoded

    def answer(self, response: dict[str, Any]) -> bool:
        """Settle the request that ``response`` belongs to; False when nobody waits for it (any more)."""
        request = self._requests.pop(response.get("request_id", ""), None)
        if request is None:
            return False
        body = response.get("message_body")
        if body:
            with contextlib.suppress(ValueError):  # a text answer is handed on as it is
                body = loads(body)
        else:
            body = None
        self._settlement.answered(request, response["status_code"], body, self._loop.time())
        return True

    def expire(self, now: float) -> None:
        """Fail every request past its deadline. Called now and then: cheaper than a timer for each."""
        if not self._requests:
            return
        late = [key for key, request in self._requests.items() if request.deadline <= now]
        for key in late:
            request = self._requests.pop(key)
            self._settlement.stats.requests_timed_out += 1
            error = RequestTimeout(
                f"no answer in {now - request.started:.1f} s", method=request.method, uri=request.uri
            )
            self._settlement.failed(request, error, now)

    def fail_all(self, reason: str) -> None:
        """The socket is gone, and with it every answer."""
        requests, self._requests = self._requests, {}
        now = self._loop.time()
        for request in requests.values():
            self._settlement.stats.requests_lost += 1
            error = ConnectionLost(reason, method=request.method, uri=request.uri)
            self._settlement.failed(request, error, now)


def _message(body: Any) -> str:
    if isinstance(body, dict):
        return str(body.get("message") or body.get("error") or body)
    return str(body) if body else "no reason given"
