"""From one stream of events to the handlers that want them, through pyee.

A plain function is called at once, in the order in which Asterisk sent the events, by the code that reads the
socket: it must not block. A coroutine function is queued per channel: in order within a channel, independent
between channels, and however slow it is, reading goes on.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from pyee.base import EventEmitter

from .lanes import Lanes
from .objects import ANY, ObjectHandlers
from .stats import NoObserver, Observer, Stats

log = structlog.get_logger(__name__)

Event = dict[str, Any]
Handler = Callable[..., Any]


def lane_of(event: Event) -> str:
    """The queue that keeps ``event`` in order: its channel, else its bridge, else one for all others."""
    channel = event.get("channel") or event.get("peer")
    if channel:
        return str(channel.get("id", ""))
    target: str = (event.get("playback") or event.get("recording") or {}).get("target_uri", "")
    if target:
        kind, _, name = target.partition(":")
        return name if kind == "channel" else target
    bridge = event.get("bridge")
    return f"bridge:{bridge.get('id', '')}" if bridge else ""


class Subscription:
    """A registered handler. ``close()`` ends it; closing twice does no harm. Usable as a context manager."""

    __slots__ = ("_close",)

    def __init__(self, close: Callable[[], None]) -> None:
        self._close: Callable[[], None] | None = close

    def close(self) -> None:
        """Call the handler no more. What is queued for it already still reaches it."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Events:
    """Handlers and the way of an event to them."""

    def __init__(self, stats: Stats, observer: Observer | None, queue_size: int) -> None:
        self._stats = stats
        self._observer: Observer = observer or NoObserver()
        self._emitter = EventEmitter()
        self._types: set[str] = set()
        self._overflowing: set[str] = set()
        self.lanes = Lanes(queue_size, self._handler_failed)
        self.objects = ObjectHandlers(lambda: asyncio.get_running_loop().time())

    # -- registering ----------------------------------------------------------------------------------------

    def on(self, event_type: str, handler: Handler) -> Subscription:
        """``handler(event)`` for each event of the type, or of every type with ``"*"``."""
        listener = self._listener(handler)
        self._emitter.add_listener(event_type, listener)
        self._types.add(event_type)

        def close() -> None:
            self._emitter.remove_listener(event_type, listener)
            if not self._emitter.listeners(event_type):
                self._types.discard(event_type)

        return Subscription(close)

    def on_object(self, kind: str, name: str, event_type: str, handler: Handler) -> Subscription:
        """``handler(event)`` for events about one object, until the object is gone."""
        return Subscription(self.objects.on(kind, name, event_type, self._listener(handler)))

    def _listener(self, handler: Handler) -> Callable[[Event], None]:
        """A function of its own for each registration: one handler may be registered many times."""
        if is_async(handler):

            def queued(event: Event) -> None:
                self._queue(event, handler)

            return queued

        def inline(event: Event) -> None:
            try:
                result = handler(event)
            except Exception:
                self._handler_failed()
                log.exception("ari_handler_failed", handler=name_of(handler), event_type=event.get("type"))
                return
            if result is not None and inspect.iscoroutine(result):
                self._queue(event, _await, result)

        return inline

    # -- dispatching ----------------------------------------------------------------------------------------

    def dispatch(self, event: Event) -> None:
        """Hand ``event`` to whoever wants it. Never raises for a handler's sake, never waits."""
        kind = event.get("type", "")
        self._stats.events += 1
        types = self._types
        if kind in types:
            self._emitter.emit(kind, event)
        if ANY in types:
            self._emitter.emit(ANY, event)
        if self.objects:
            self.objects.emit(kind, event)

    def _queue(self, event: Event, job: Callable[..., Awaitable[Any]], *args: Any) -> None:
        lane = lane_of(event)
        if self.lanes.put(lane, job, *(args or (event,))):
            self._overflowing.discard(lane)
            return
        for result in args:
            if inspect.iscoroutine(result):
                result.close()
        self._stats.events_dropped += 1
        self._observer.event_dropped(event.get("type", ""), lane)
        if lane not in self._overflowing:
            # Once per overflow: a thousand lines a second would make the trouble worse. The counter has all.
            self._overflowing.add(lane)
            log.error("ari_queue_full", lane=lane, event_type=event.get("type"), hint="a handler is too slow")

    def _handler_failed(self) -> None:
        self._stats.handlers_failed += 1

    def tick(self, now: float) -> None:
        """Called now and then to keep house."""
        self.objects.tick(now)
        if self._overflowing and not len(self.lanes):
            self._overflowing.clear()


def is_async(handler: Handler) -> bool:
    """Whether calling ``handler`` makes a coroutine: functions, methods, partials, objects with ``__call__``."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - looks at how it is called, not whether
    )


def name_of(handler: Callable[..., Any]) -> str:
    """A handler's name for the log."""
    return getattr(handler, "__qualname__", None) or repr(handler)


def adapted(handler: Handler, extract: Callable[[Event], Any]) -> Handler:
    """``handler(extract(event), event)`` as a function of the event alone, of the same sort as ``handler``."""
    if is_async(handler):

        async def waits(event: Event) -> None:
            await handler(extract(event), event)

        waits.__qualname__ = name_of(handler)
        return waits

    def runs(event: Event) -> Any:
        return handler(extract(event), event)

    runs.__qualname__ = name_of(handler)
    return runs


async def _await(coroutine: Awaitable[Any]) -> None:
    await coroutine
