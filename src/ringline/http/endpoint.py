"""From a ``Route`` to an aiohttp handler: authenticate, validate, call, serialise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import UUID

import structlog
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from ringline.errors import InvalidArgument, PermissionDenied, Unavailable
from ringline.http import body as bodies
from ringline.http.credentials import Authenticator, credential_of
from ringline.http.idempotency import HEADER, REPLAYED, Answered, IdempotencyStore, checked_key, request_hash
from ringline.http.problems import from_validation
from ringline.http.route import FileReply, Principal, Reply, Request, Route

log = structlog.get_logger(__name__)

JSON: Final = "application/json"
REQUEST_ID: Final = web.RequestKey("request_id", str)
ROUTE: Final = web.RequestKey("route", Route)
PRINCIPAL: Final = web.RequestKey("principal", Principal)

_UUID_LENGTHS = (32, 36)


class Endpoint:
    """Serves one route. ``behind_tls``: people reach the API by https, whatever this socket speaks."""

    def __init__(
        self,
        route: Route,
        *,
        authenticator: Authenticator,
        idempotency: IdempotencyStore | None,
        max_body_bytes: int,
        behind_tls: bool = False,
    ) -> None:
        if route.idempotent and (idempotency is None or route.auth == "none"):
            raise ValueError(f"{route.method} {route.path}: idempotent needs a store and a customer")
        self.route = route
        self._authenticator = authenticator
        self._idempotency = idempotency
        self._limit = max_body_bytes
        self._behind_tls = behind_tls
        self._serialise: Callable[[Any], bytes] = TypeAdapter(route.response).dump_json

    async def serve(self, raw: web.Request) -> web.StreamResponse:
        """The aiohttp handler."""
        route = raw[ROUTE] = self.route
        principal = self._principal(raw)
        path = _path(raw.match_info)
        try:
            query = None if route.query is None else route.query.model_validate(dict(raw.query))
        except ValidationError as failure:
            raise from_validation(failure, route.query, what="query") from None
        # A body is read even where none is expected, so that the connection can be used again.
        text = await bodies.read(raw, self._limit)
        if route.body_optional and not text.strip():
            text = b"{}"
        body = None if route.body is None else bodies.validate(text, route.body, route.context)
        request = Request(
            principal=principal,
            body=body,
            query=query,
            path=path,
            headers=raw.headers,
            request_id=raw[REQUEST_ID],
            remote=raw.remote or "",
            secure=raw.secure or self._behind_tls,
        )
        key = raw.headers.get(HEADER) if route.idempotent else None
        if key is None:
            return self._answer(await self._handle(request), request)
        return await self._once(checked_key(key), request_hash(raw.method, route.path, text), request)

    def _principal(self, raw: web.Request) -> Principal | None:
        if self.route.auth == "none":
            return None
        principal = self._authenticator.authenticate(credential_of(raw))
        raw[PRINCIPAL] = principal
        if self.route.auth == "admin" and not principal.is_admin:
            raise PermissionDenied("This operation needs the permission of a customer admin.")
        return principal

    async def _handle(self, request: Request[Any, Any]) -> Any:
        try:
            async with asyncio.timeout(self.route.timeout) as limit:
                return await self.route.handler(request)
        except TimeoutError as late:
            if not limit.expired():
                raise
            raise Unavailable(
                f"The request was not done within {self.route.timeout:g} s.", reason="REQUEST_TIMEOUT"
            ) from late

    async def _once(self, key: str, digest: bytes, request: Request[Any, Any]) -> web.StreamResponse:
        store, customer_id = self._idempotency, request.customer_id
        assert store is not None  # noqa: S101 - __init__ has checked it
        claim = await store.claim(customer_id, key, digest)
        if isinstance(claim, Answered):
            return web.Response(body=claim.response, content_type=JSON, headers={REPLAYED: "true"})
        request.idempotency_seed = claim.seed
        try:
            response = self._answer(await self._handle(request), request)
        except BaseException:
            await _settled(store.release(customer_id, key), "idempotency_release_failed", key)
            raise
        await _settled(store.finish(customer_id, key, _bytes(response)), "idempotency_finish_failed", key)
        return response

    def _answer(self, result: Any, request: Request[Any, Any]) -> web.StreamResponse:
        if isinstance(result, FileReply):
            return _file(result)
        if not isinstance(result, Reply):
            return web.Response(body=self._serialise(result), content_type=JSON)
        response = web.Response(
            body=self._serialise(result.value), content_type=JSON, headers=result.headers or None
        )
        for cookie in result.cookies:
            response.set_cookie(
                cookie.name,
                cookie.value,
                max_age=cookie.max_age,
                httponly=True,
                samesite="Strict",
                secure=request.secure,
                path="/",
            )
        return response


def _file(reply: FileReply) -> web.StreamResponse:
    headers = {
        "Content-Type": reply.content_type,
        "Content-Disposition": f'inline; filename="{reply.name}"',
        # nobody else's to keep; whoever has it may ask whether it is still the same
        "Cache-Control": "private, no-cache",
    }
    return web.FileResponse(reply.path, headers=headers)


def _bytes(response: web.StreamResponse) -> bytes:
    body = response.body if isinstance(response, web.Response) else None
    return body if isinstance(body, bytes) else b""


async def _settled(work: Awaitable[None], event: str, key: str) -> None:
    """Finish bookkeeping even when the request is being cancelled; its failure is not the request's."""
    try:
        await asyncio.shield(asyncio.ensure_future(work))
    except Exception:
        log.exception(event, key=key)


def _path(found: Mapping[str, str]) -> Mapping[str, UUID]:
    if not found:
        return {}
    return {name: _uuid(name, text) for name, text in found.items()}


def _uuid(name: str, text: str) -> UUID:
    try:
        if len(text) in _UUID_LENGTHS:
            return UUID(text)
    except ValueError:
        pass
    message = "must be a UUID such as f457951b-9918-44af-a834-2216b1cc31bc"
    raise InvalidArgument(
        f"`{name}` in the path {message}.",
        reason="INVALID_ID",
        details=[{"field": name, "message": message}],
    )
