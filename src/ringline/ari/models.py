"""What all objects and resources of ARI have in common, on the side of the client.

An object (a channel, a bridge...) is a handle: an id, the JSON of the moment it was made from, and operations. It can
be made before Asterisk knows the id, so that handlers are registered before the request that makes the object.

Operations send at once and return a future, so calls in a row leave in their order without waiting; await the
future for the answer. Names and parameters are spelled as ARI spells them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from .codec import Query, quote
from .description import KEY, Operation
from .errors import Gone
from .events import Event, Handler, Subscription, adapted
from .objects import GONE, identity

if TYPE_CHECKING:
    from .client import Client

Json = dict[str, Any]


class Model:
    """A handle on one object. Two handles with one id are the same object to Asterisk.

    ``json`` is what Asterisk last said when this handle was made; it does not follow events. ``key`` decides which
    requests keep their order (see ``Client.send``): give all objects of one call the same.
    """

    kind: ClassVar[str]
    resource: ClassVar[str]
    id_parameter: ClassVar[str]

    def __init__(self, client: Client, json: Mapping[str, Any], key: str = "") -> None:
        self.client = client
        self.json: Json = dict(json)
        self.id = identity(self.kind, self.json)
        self.key = key or self.id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Model) and other.id == self.id

    def __hash__(self) -> int:
        return hash((type(self), self.id))

    def __getattr__(self, name: str) -> Callable[..., asyncio.Future[Any]]:
        """Any further operation on the object that Asterisk describes."""
        if name.startswith("_"):
            raise AttributeError(name)
        operation = self.client.description.operation(self.resource, name)
        if not set(self._identity()) <= set(operation.in_path):
            raise AttributeError(f"{self.resource}.{name}() is no operation on one {self.kind}")

        def call(**parameters: Any) -> asyncio.Future[Any]:
            parameters.setdefault(KEY, self.key)
            return invoke(self.client, operation, {**parameters, **self._identity()})

        call.__name__ = name
        call.__doc__ = operation.summary
        return call

    def _identity(self) -> dict[str, str]:
        """The parameters that name this object in a path."""
        return {self.id_parameter: self.id}

    def _send(
        self,
        method: str,
        suffix: str = "",
        *,
        query: Query | None = None,
        body: Any = None,
        convert: Callable[[Any], Any] | None = None,
    ) -> asyncio.Future[Any]:
        uri = self._path() + suffix
        return self.client.send(method, uri, query=query, body=body, key=self.key, convert=convert)

    def _path(self) -> str:
        return f"{self.resource}/{quote(self.id)}"

    def refresh(self) -> asyncio.Future[Self]:
        """The object as it is now, as a new handle. ``NotFound`` when it is gone."""
        return self._send("GET", convert=lambda json: type(self)(self.client, json, self.key))

    # -- events ---------------------------------------------------------------------------------------------------

    def on_event(self, event_type: str, handler: Handler) -> Subscription:
        """``handler(object, event)`` for events of this type about this object, ``"*"`` for all.

        Ends with the object: after ``ChannelDestroyed``, ``BridgeDestroyed``, ``PlaybackFinished`` or
        ``RecordingFinished`` it is forgotten. If the object never comes to be, ``close()`` the subscription.
        """
        listener = adapted(handler, self._fresh)
        return self.client.dispatcher.on_object(self.kind, self.id, event_type, listener)

    def next_event(self, *event_types: str) -> asyncio.Future[Event]:
        """The next event of one of the types. Ask for it first, then send what causes it.

        Works inside coroutine handlers too, whose own channel's queue stands still while they wait. Fails with
        ``Gone`` when the object ends otherwise; put a time limit around waiting for it.
        """
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        wanted = frozenset(event_types)

        def watch(event: Event) -> None:
            kind = event.get("type")
            if future.done():
                return
            if kind in wanted:
                future.set_result(event)
            elif kind == GONE:
                future.set_exception(Gone(f"{self!r} ended before {' or '.join(event_types)}"))
                future.exception()

        subscription = self.client.dispatcher.on_object(self.kind, self.id, "*", watch)
        future.add_done_callback(lambda _: subscription.close())
        return future

    def _fresh(self, event: Event) -> Model:
        """This object as ``event`` shows it."""
        for value in event.values():
            if isinstance(value, dict) and identity(self.kind, value) == self.id:
                return type(self)(self.client, value, self.key)
        return self


class Resource:
    """All objects of a kind: ``client.channels``, ``client.bridges``..."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name

    def __repr__(self) -> str:
        return f"Resource({self._name!r})"

    def __getattr__(self, name: str) -> Callable[..., asyncio.Future[Any]]:
        """Any operation of the resource that Asterisk describes."""
        if name.startswith("_"):
            raise AttributeError(name)
        operation = self._client.description.operation(self._name, name)

        def call(**parameters: Any) -> asyncio.Future[Any]:
            return invoke(self._client, operation, parameters)

        call.__name__ = name
        call.__doc__ = operation.summary
        return call

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._client.description.operations(self._name)})


def invoke(client: Client, operation: Operation, parameters: Mapping[str, Any]) -> asyncio.Future[Any]:
    """Send a described operation. Parameters that do not fit raise ``TypeError`` before anything is sent."""
    given = dict(parameters)
    key = given.pop(KEY, "")
    prepared = operation.prepare(given)
    if operation.response == "binary":
        return asyncio.ensure_future(client.download(prepared.uri))
    return client.send(
        prepared.method,
        prepared.uri,
        query=prepared.query,
        body=prepared.body,
        key=key,
        convert=client.promotion(operation.response, key),
    )
