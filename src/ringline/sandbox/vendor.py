"""The carrier as a vendor of numbers and texts: its HTTP API on the control port.

``/v1/available``, ``/v1/orders``, ``/v1/numbers``, ``/v1/ports`` and ``/v1/texts`` are what a vendor's customer has;
``/handset/texts`` is the other side, the handsets. Errors are ``{"error": {"code", "message"}}``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Any, Final, Literal, TypeVar

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ringline.sandbox import numbers, orders, ports, texts
from ringline.sandbox.config import CarrierSettings
from ringline.sandbox.hooks import Hooks
from ringline.sandbox.orders import Orders, Refused
from ringline.sandbox.ports import Ports
from ringline.sandbox.shelf import Shelf
from ringline.sandbox.texts import Texts

log = structlog.get_logger(__name__)

LATE_ANSWER_SECONDS: Final = 30.0
HOOK_FIRST_SECONDS: Final = 2.0
"""An answer that comes after its webhook comes so much later."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
B = TypeVar("B", bound=BaseModel)

E164 = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$")]
Reference = Annotated[str, Field(min_length=1, max_length=100)]
Urls = Annotated[list[Annotated[str, Field(max_length=2000, pattern=r"^https?://")]], Field(max_length=10)]
Words = Annotated[str, Field(max_length=1600)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class SearchQuery(_Model):
    """``GET /v1/available``."""

    country: str = Field(pattern=r"^[A-Z]{2}$")
    kind: Literal["", "local", "toll_free", "mobile", "national"] = ""
    region: str = Field("", max_length=100)
    contains: str = Field("", pattern=r"^[0-9*]{0,15}$")
    features: str = Field("", max_length=100, description="With commas between them.")
    limit: int = Field(20, ge=1, le=1000)


class OrderRequest(_Model):
    """``POST /v1/orders``."""

    client_reference: Reference
    number: E164


class NumberChange(_Model):
    """``PATCH /v1/numbers/{id}``."""

    voice: bool | None = None
    messaging: bool | None = None
    t38: bool | None = None
    emergency: dict[str, str] | None = None


class TextRequest(_Model):
    """``POST /v1/texts``."""

    client_reference: Reference
    from_number: E164 = Field(alias="from")
    to_number: E164 = Field(alias="to")
    text: Words = ""
    media: Urls = []


class Paper(_Model):
    """A file of a port: what it is, and not what is in it, which the sandbox has no use for."""

    name: str = Field(max_length=255)
    content_type: Literal["application/pdf", "image/png", "image/jpeg"]
    size: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class PortRequest(_Model):
    """``POST /v1/ports``."""

    client_reference: Reference
    numbers: list[E164] = Field(min_length=1, max_length=100)
    carrier: str = Field(min_length=1, max_length=100)
    account: str = Field(min_length=1, max_length=60)
    pin: str = Field("", max_length=30)
    owner: dict[str, str]
    authorised_person: str = Field(min_length=1, max_length=100)
    wanted: date | None = None
    letter: Paper


class HandsetText(_Model):
    """``POST /handset/texts``: somebody with a handset texts a number."""

    from_number: E164 = Field(alias="from")
    to_number: E164 = Field(alias="to")
    text: Words = ""
    media: Urls = []


class VendorApi:
    """Its state is in ``dir/state.jsonl``. Start it before it is asked for anything."""

    def __init__(self, settings: CarrierSettings) -> None:
        self._shelf = Shelf(settings.dir / "state.jsonl")
        url = f"{settings.api_url.rstrip('/')}/hooks/sandbox" if settings.api_url else ""
        self.hooks = Hooks(self._shelf, url, settings.sandbox_hook_secret.get_secret_value())
        self.orders = Orders(
            self._shelf, self.hooks, seconds=settings.order_seconds, slow_seconds=settings.order_slow_seconds
        )
        self.ports = Ports(self._shelf, self.hooks, self.orders, seconds=settings.order_seconds)
        self.texts = Texts(self._shelf, self.hooks, self.orders, settings.messages, settings.journal_bytes)

    async def start(self) -> None:
        """Read what a former process left and go on with it. Raises ``OSError``."""
        self._shelf.open()
        await self.hooks.start()
        self.orders.start()
        self.ports.start()
        self.texts.start()

    async def close(self) -> None:
        """Stop; everything is on the disk already."""
        self.texts.close()
        self.ports.close()
        self.orders.close()
        await self.hooks.close()
        self._shelf.close()

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [
            web.get("/v1/account", _guarded(self._account)),
            web.get("/v1/available", _guarded(self._search)),
            web.get("/v1/available/{number}", _guarded(self._find)),
            web.post("/v1/orders", _guarded(self._order)),
            web.get("/v1/orders", _guarded(self._orders_by_reference)),
            web.get("/v1/orders/{id}", _guarded(self._order_by_id)),
            web.get("/v1/numbers", _guarded(self._numbers)),
            web.patch("/v1/numbers/{id}", _guarded(self._configure)),
            web.delete("/v1/numbers/{id}", _guarded(self._release)),
            web.post("/v1/ports", _guarded(self._port)),
            web.get("/v1/ports", _guarded(self._ports_by_reference)),
            web.get("/v1/ports/{id}", _guarded(self._port_by_id)),
            web.post("/v1/ports/{id}/cancel", _guarded(self._cancel_port)),
            web.post("/v1/texts", _guarded(self._send)),
            web.get("/v1/texts", _guarded(self._texts_by_reference)),
            web.get("/v1/texts/{id}", _guarded(self._text_by_id)),
            web.post("/handset/texts", _guarded(self._receive)),
            web.get("/handset/texts", _guarded(self._handset_texts)),
        ]

    async def _account(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(
            {
                **self.orders.counts(),
                "hooks_sent": self.hooks.sent,
                "hooks_waiting": self.hooks.waiting,
                "lines_failed": self._shelf.failures + self.texts.failures,
            }
        )

    async def _search(self, request: web.Request) -> web.StreamResponse:
        query = _checked(SearchQuery, dict(request.query))
        found = numbers.search(
            country=query.country,
            kind=query.kind,
            region=query.region,
            contains=query.contains,
            features=tuple(one for one in query.features.split(",") if one),
            limit=query.limit,
            taken=self.orders.taken,
        )
        return web.json_response({"numbers": [one.shown() for one in found]})

    async def _find(self, request: web.Request) -> web.StreamResponse:
        return _one(self.orders.offer(request.match_info["number"]))

    async def _order(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request, OrderRequest)
        row, new = self.orders.order(body.client_reference, body.number)
        case = orders.magic(body.number)
        return await _answer(request, orders.shown(row), new=new, how=case.answer, pause=case.hook_first)

    async def _orders_by_reference(self, request: web.Request) -> web.StreamResponse:
        row = self.orders.by_reference(request.query.get("client_reference", ""))
        return web.json_response({"orders": [] if row is None else [orders.shown(row)]})

    async def _order_by_id(self, request: web.Request) -> web.StreamResponse:
        row = self.orders.by_id(request.match_info["id"])
        return _one(None if row is None else orders.shown(row))

    async def _numbers(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"numbers": self.orders.held_numbers(request.query.get("number", ""))})

    async def _configure(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request, NumberChange)
        changes = body.model_dump(exclude_unset=True)
        return web.json_response(self.orders.configure(request.match_info["id"], changes))

    async def _release(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.orders.release(request.match_info["id"]))

    async def _port(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request, PortRequest)
        wanted = body.model_dump(mode="json", exclude={"pin", "owner", "letter"})
        row, new = self.ports.port(wanted)
        if new and ports.magic(body.account).error:
            return _error(500, "internal", "Something went wrong.")
        return web.json_response(ports.shown(row), status=201 if new else 200)

    async def _ports_by_reference(self, request: web.Request) -> web.StreamResponse:
        row = self.ports.by_reference(request.query.get("client_reference", ""))
        return web.json_response({"ports": [] if row is None else [ports.shown(row)]})

    async def _port_by_id(self, request: web.Request) -> web.StreamResponse:
        row = self.ports.by_id(request.match_info["id"])
        return _one(None if row is None else ports.shown(row))

    async def _cancel_port(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(ports.shown(self.ports.cancel(request.match_info["id"])))

    async def _send(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request, TextRequest)
        _not_empty(body.text, body.media)
        row, new = self.texts.send(
            body.client_reference, body.from_number, body.to_number, body.text, body.media
        )
        does = texts.handset(body.to_number)
        return await _answer(request, row, new=new, how=does.answer, pause=does.hook_first)

    async def _texts_by_reference(self, request: web.Request) -> web.StreamResponse:
        row = self.texts.by_reference(request.query.get("client_reference", ""))
        return web.json_response({"texts": [] if row is None else [row]})

    async def _text_by_id(self, request: web.Request) -> web.StreamResponse:
        return _one(self.texts.by_id(request.match_info["id"]))

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request, HandsetText)
        _not_empty(body.text, body.media)
        row = self.texts.receive(body.from_number, body.to_number, body.text, body.media)
        return web.json_response(row, status=201)

    async def _handset_texts(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"texts": self.texts.of(request.query.get("of", ""))})


def _guarded(handler: Handler) -> Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        # A web page can post text to loopback without asking; it cannot post this type.
        if request.method in {"POST", "PATCH"} and request.content_type != "application/json":
            return _error(415, "unsupported_type", "send the body as application/json")
        try:
            return await handler(request)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
            return _error(400, "invalid", "; ".join(faults)[:1000])
        except Refused as refused:
            headers = {"Retry-After": "1"} if refused.status == 429 else None
            return _error(refused.status, refused.code, refused.message, headers)

    return guarded


async def _body(request: web.Request, model: type[B]) -> B:
    return model.model_validate_json(await request.read())


def _checked(model: type[B], values: dict[str, str]) -> B:
    return model.model_validate(values)


def _not_empty(text: str, media: list[str]) -> None:
    if not text and not media:
        raise Refused(400, "invalid", "text: must not be empty without media")


def _one(row: dict[str, Any] | None) -> web.Response:
    return _error(404, "not_found", "There is no such thing.") if row is None else web.json_response(row)


async def _answer(
    request: web.Request, row: dict[str, Any], *, new: bool, how: str, pause: bool
) -> web.StreamResponse:
    """The answer to a request that has made ``row``: as it should be, or as it is when things go wrong."""
    if not new or how == "created":
        if new and pause:
            await asyncio.sleep(HOOK_FIRST_SECONDS)
        return web.json_response(row, status=201 if new else 200)
    if how == "error":
        return _error(500, "internal", "Something went wrong.")
    if how == "late":
        await asyncio.sleep(LATE_ANSWER_SECONDS)
        return web.json_response(row, status=201)
    response = web.StreamResponse(status=201, headers={"Content-Type": "application/json"})
    response.content_length = 1000
    await response.prepare(request)
    await response.write(b'{"id": "')
    if request.transport is not None:
        request.transport.close()
    return response


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status, headers=headers)
