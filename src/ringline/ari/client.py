"""The client: what a program sees of an Asterisk."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import structlog

from .applications import Application, Applications
from .audit import Audit
from .bridges import Bridge, Bridges
from .channels import Channel, Channels
from .codec import Query
from .description import Description
from .errors import AriError
from .events import Event, Events, Handler, Subscription, adapted
from .models import Model, Resource
from .objects import objects
from .others import DeviceState, Endpoint, Mailbox, Sound
from .pending import Convert, Settlement
from .playbacks import Playback, Playbacks
from .recordings import LiveRecording, Recordings, StoredRecording
from .rest import Rest
from .sockets import Address, Sockets
from .state import ALWAYS, RINGLINE_EVENTS, State
from .stats import Observer, Stats
from .transport import Transport

log = structlog.get_logger(__name__)

CLOSE_SECONDS = 2.0
DOWNLOAD_BYTES = 100 * 1024 * 1024

PROMOTED: Mapping[str, type[Model]] = {
    "Application": Application,
    "Bridge": Bridge,
    "Channel": Channel,
    "DeviceState": DeviceState,
    "Endpoint": Endpoint,
    "LiveRecording": LiveRecording,
    "Mailbox": Mailbox,
    "Playback": Playback,
    "Sound": Sound,
    "StoredRecording": StoredRecording,
}
"""Asterisk's names of what operations return, and what becomes of it. Everything else stays JSON."""


class Client:
    """Asterisk's REST Interface for asyncio.

    ``url`` is Asterisk's HTTP address (``http://127.0.0.1:8088``), ``application`` the name by which the
    dialplan's ``Stasis()`` finds this program. ``request_sockets`` further WebSockets (applications
    ``<application>-req-1..``) carry the requests, because Asterisk serves those of one socket one after another;
    0 uses the events' own. ``allowed_events`` are the types of event that Asterisk shall send, None for all.
    ``request_timeout`` is in seconds. ``queue_size`` bounds the events that wait for coroutine handlers of one
    channel. ``describe`` reads Asterisk's description of its API at the first connect, for the operations that
    have no typed method. ``observer`` gets what metrics want.
    """

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        application: str,
        *,
        request_sockets: int = 4,
        allowed_events: Iterable[str] | None = RINGLINE_EVENTS,
        request_timeout: float = 10.0,
        queue_size: int = 1000,
        describe: bool = True,
        observer: Observer | None = None,
    ) -> None:
        self.application = application
        self._address = Address(
            base=_base(url),
            authorization="Basic " + base64.b64encode(f"{username}:{password}".encode()).decode(),
            application=application,
            request_sockets=request_sockets,
            allowed=None if allowed_events is None else sorted({*allowed_events, *ALWAYS}),
        )
        self._request_timeout = request_timeout
        self._describe = describe
        self.stats = Stats()
        self.dispatcher = Events(self.stats, observer, queue_size)
        self.description = Description()
        self._settlement = Settlement(self.stats, observer)
        self._rest = Rest(self._address.base, self._address.authorization)
        self._audit = Audit(self, self.dispatcher.objects)
        self._state_handlers: list[tuple[Callable[[State, str], Any], Subscription]] = []
        self._transport: Transport | None = None
        self._sockets: Sockets | None = None
        self.channels = Channels(self)
        self.bridges = Bridges(self)
        self.playbacks = Playbacks(self)
        self.recordings = Recordings(self)
        self.applications = Applications(self)

    def __getattr__(self, name: str) -> Resource:
        """Any further resource that Asterisk describes: ``client.endpoints``, ``client.asterisk``..."""
        if name.startswith("_") or not self.description.is_loaded or name not in self.description.resources:
            known = ", ".join(self.description.resources)
            raise AttributeError(
                f"no attribute and no ARI resource {name!r}" + (f" ({known})" if known else "")
            )
        resource = Resource(self, name)
        self.__dict__[name] = resource
        return resource

    # -- life -------------------------------------------------------------------------------------------------

    async def start(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - 0 means: do not wait
        """Connect, and keep connected until ``close()``.

        Returns when events flow: after at most ``timeout`` seconds (None: however long it takes; 0: at once,
        without waiting). Raises ``RequestTimeout`` when Asterisk was not reached in time (the client goes on
        trying) and ``Unauthorized`` when it refuses the password.
        """
        if self._sockets is not None:
            raise RuntimeError("the client was started already")
        self._transport = Transport(self._settlement, self._rest, self._request_timeout)
        self._sockets = Sockets(
            self._address,
            self._transport,
            self._rest,
            self._settlement,
            on_event=self.dispatcher.dispatch,
            on_ready=self._ready,
            on_tick=self._tick,
        )
        for number, (handler, _) in enumerate(self._state_handlers):
            self._state_handlers[number] = (handler, self._sockets.on_state(handler))
        self._sockets.start()
        if timeout != 0:
            await self._sockets.wait(timeout)

    async def close(self) -> None:
        """Close all sockets and end all tasks. Requests in flight fail; handlers that run get 2 s to end."""
        self._audit.close()
        if self._sockets is not None:
            await self._sockets.close(CLOSE_SECONDS)
        if self._transport is not None:
            await self._transport.close()
        await self.dispatcher.lanes.close(CLOSE_SECONDS)
        await self._rest.close()

    async def __aenter__(self) -> Client:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _ready(self) -> None:
        self._audit.connected()
        if not self._describe or self.description.is_loaded:
            return
        try:
            await self.description.load(self._rest)
        except (AriError, AttributeError, KeyError, TypeError, ValueError) as error:
            log.warning(
                "ari_description_missing", error=str(error), hint="only typed operations can be called"
            )

    def _tick(self, now: float) -> None:
        self.dispatcher.tick(now)
        self._audit.tick(now)

    @property
    def connected(self) -> bool:
        """Whether events flow now."""
        return self._sockets is not None and self._sockets.connected.is_set()

    @property
    def in_flight(self) -> int:
        """Requests that wait for their answer."""
        return self._transport.in_flight if self._transport else 0

    @property
    def queued(self) -> int:
        """Events that wait for coroutine handlers."""
        return self.dispatcher.lanes.waiting

    # -- requests ---------------------------------------------------------------------------------------------

    def send(
        self,
        method: str,
        uri: str,
        *,
        query: Query | None = None,
        body: Any = None,
        key: str = "",
        timeout: float | None = None,
        convert: Convert | None = None,
    ) -> asyncio.Future[Any]:
        """Send a request now and return the future of its answer: decoded JSON, or None for 204.

        ``uri`` has no leading slash and its parts are quoted (``channels/1.2/play``). Requests with one ``key``
        are served in the order of these calls, without waiting for each other's answers; without a key the
        object in the URI is the key. ``timeout`` is in seconds and kept to within half a second. ``convert``
        turns the decoded answer into the result. The future fails with an ``AriError``; nobody is obliged to
        look at it.
        """
        if self._transport is None:
            raise RuntimeError("start() the client first")
        return self._transport.send(
            method, uri, query=query, body=body, key=key, timeout=timeout, convert=convert
        )

    async def request(
        self,
        method: str,
        uri: str,
        *,
        query: Query | None = None,
        body: Any = None,
        key: str = "",
        timeout: float | None = None,  # noqa: ASYNC109 - travels with the request
    ) -> Any:
        """``send()``, awaited. Cancelling it does not take the request back."""
        return await self.send(method, uri, query=query, body=body, key=key, timeout=timeout)

    def tell(
        self,
        method: str,
        uri: str,
        *,
        query: Query | None = None,
        body: Any = None,
        key: str = "",
        ignore: Iterable[int] = (404,),
    ) -> None:
        """Send and forget. A failure is logged as a warning, unless its status is in ``ignore``."""
        expected = frozenset(ignore)

        def report(future: asyncio.Future[Any]) -> None:
            error = None if future.cancelled() else future.exception()
            if isinstance(error, AriError) and error.status not in expected:
                log.warning(
                    "ari_request_failed", method=method, uri=uri, status=error.status, error=error.message
                )

        self.send(method, uri, query=query, body=body, key=key).add_done_callback(report)

    async def download(
        self,
        uri: str,
        *,
        max_bytes: int = DOWNLOAD_BYTES,
        timeout: float = 60.0,  # noqa: ASYNC109 - travels with the request
    ) -> bytes:
        """A binary answer (``recordings/stored/NAME/file``), which Asterisk gives by HTTP only."""
        return await self._rest.download(uri, max_bytes, timeout)

    # -- handles ------------------------------------------------------------------------------------------------

    def channel(self, channel_id: str, key: str = "") -> Channel:
        """A handle on a channel, whether it exists yet or not. Nothing is sent."""
        return Channel(self, {"id": channel_id}, key)

    def bridge(self, bridge_id: str, key: str = "") -> Bridge:
        """A handle on a bridge."""
        return Bridge(self, {"id": bridge_id}, key)

    def playback(self, playback_id: str, key: str = "") -> Playback:
        """A handle on a playback."""
        return Playback(self, {"id": playback_id}, key)

    def live_recording(self, name: str, key: str = "") -> LiveRecording:
        """A handle on a running recording."""
        return LiveRecording(self, {"name": name}, key)

    def stored_recording(self, name: str, key: str = "") -> StoredRecording:
        """A handle on a finished recording."""
        return StoredRecording(self, {"name": name}, key)

    def promotion(self, response: str, key: str = "") -> Convert | None:
        """What turns an answer of Asterisk's type ``response`` (``Channel``, ``List[Bridge]``) into objects."""
        is_list = response.startswith("List[")
        factory = PROMOTED.get(response[5:-1] if is_list else response)
        if factory is None:
            return None
        make = factory
        if is_list:
            return lambda answer: [make(self, entry, key) for entry in answer]
        return lambda answer: make(self, answer, key)

    # -- events ---------------------------------------------------------------------------------------------------

    def on_event(self, event_type: str, handler: Handler) -> Subscription:
        """``handler(event)`` for events of this type, ``"*"`` for all.

        A plain function is called inline, in the order of the socket, and must not block; a coroutine function
        is queued per channel. Inside one, do not wait for a further event of the same channel by another
        coroutine handler, whose turn comes only afterwards: use ``next_event`` of the object.
        """
        return self.dispatcher.on(event_type, handler)

    def on_channel_event(self, event_type: str, handler: Handler) -> Subscription:
        """``handler(channel, event)``. For events without a field ``channel`` (``Dial``, attended transfers)
        the first argument is a dict of channels by the name of their field."""
        return self._on_objects(Channel, event_type, handler)

    def on_bridge_event(self, event_type: str, handler: Handler) -> Subscription:
        """``handler(bridge, event)``."""
        return self._on_objects(Bridge, event_type, handler)

    def on_playback_event(self, event_type: str, handler: Handler) -> Subscription:
        """``handler(playback, event)``."""
        return self._on_objects(Playback, event_type, handler)

    def on_recording_event(self, event_type: str, handler: Handler) -> Subscription:
        """``handler(live_recording, event)``."""
        return self._on_objects(LiveRecording, event_type, handler)

    def on_endpoint_event(self, event_type: str, handler: Handler) -> Subscription:
        """``handler(endpoint, event)``."""
        return self._on_objects(Endpoint, event_type, handler)

    def on_device_state_event(self, event_type: str, handler: Handler) -> Subscription:
        """``handler(device_state, event)``."""
        return self._on_objects(DeviceState, event_type, handler)

    def _on_objects(self, model: type[Model], event_type: str, handler: Handler) -> Subscription:
        kind = model.kind

        def extract(event: Event) -> Model | dict[str, Model]:
            own = event.get(kind)
            if isinstance(own, dict):
                return model(self, own)
            return {field: model(self, value) for field, value in objects(event, kind).items()}

        return self.dispatcher.on(event_type, adapted(handler, extract))

    def on_state(self, handler: Callable[[State, str], Any]) -> Subscription:
        """``handler(state, detail)`` for each change of the connection, see ``State``.

        Coroutine functions run one after another, plain functions inline.
        """
        entry = (handler, Subscription(lambda: None))
        if self._sockets is not None:
            entry = (handler, self._sockets.on_state(handler))
        self._state_handlers.append(entry)

        def close() -> None:
            for number, (known, subscription) in enumerate(self._state_handlers):
                if known is handler:
                    subscription.close()
                    del self._state_handlers[number]
                    return

        return Subscription(close)


def _base(url: str) -> str:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is no address of Asterisk's HTTP server: http://host:port is expected")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/ari')}/ari"
