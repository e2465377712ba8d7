"""From a ``Route`` to an aiohttp handler: authenticate, validate, call, serialise."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final
from uuid import UUID

import structlog
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from ringline.errors import (
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    RinglineError,
    Unauthenticated,
    Unavailable,
)
from ringline.http import body as bodies
from ringline.http import problems
from ringline.http.auditing import Auditor
from ringline.http.carried import HEADERS, Carried, Carrier, Outcome, outcome_of
from ringline.http.client_address import Network, remote_of
from ringline.http.credentials import Authenticator, Credential, credential_of
from ringline.http.idempotency import HEADER, REPLAYED, Answered, IdempotencyStore, checked_key, request_hash
from ringline.http.problems import from_validation
from ringline.http.rates import Allowance, Doors, Rates
from ringline.http.route import (
    BytesReply,
    FileReply,
    Principal,
    Reply,
    Request,
    Route,
    SocketReply,
    StreamReply,
)
from ringline.http.streaming import Streamed
from ringline.storage import tenancy

log = structlog.get_logger(__name__)

JSON: Final = "application/json"
REQUEST_ID: Final = web.RequestKey("request_id", str)
ROUTE: Final = web.RequestKey("route", Route)
PRINCIPAL: Final = web.RequestKey("principal", Principal)
ALLOWANCE: Final[web.RequestKey[Allowance]] = web.RequestKey("allowance", object)  # type: ignore[arg-type]  # a protocol

LARGE_AT_ONCE: Final = 3
_CARRYING_SECONDS = 1.0
_FAILURES = 400
_UUID_LENGTHS = (32, 36)
_LONGEST_WORD = 255


@dataclass(frozen=True, slots=True)
class Guards:
    """Who limits requests, and which proxies are believed when they say where one comes from."""

    rates: Rates | None = None
    doors: Doors | None = None
    trusted_proxies: Sequence[Network] = ()


class Endpoint:
    """Serves one route. ``behind_tls``: people reach the API by https, whatever this socket speaks.

    ``carrier``: who has it carried out by another process where the route asks for that; ``None``: this one does all.
    """

    def __init__(
        self,
        route: Route,
        *,
        authenticator: Authenticator,
        idempotency: IdempotencyStore | None,
        max_body_bytes: int,
        behind_tls: bool = False,
        auditor: Auditor | None = None,
        carrier: Carrier | None = None,
        guards: Guards | None = None,
    ) -> None:
        if route.idempotent and (idempotency is None or route.auth == "none"):
            raise ValueError(f"{route.method} {route.path}: idempotent needs a store and a customer")
        self.route = route
        self._authenticator = authenticator
        self._idempotency = idempotency
        self._limit = route.max_body_bytes or max_body_bytes
        self._large = self._limit > max_body_bytes
        self._sending: Counter[UUID] = Counter()
        self._behind_tls = behind_tls
        self._guards = guards or Guards()
        self._knocks = route.auth == "none" and route.path.startswith("/auth/")
        self._auditor = auditor if route.is_audited else None
        self._carrier = None if route.runs == "anywhere" else carrier

    @cached_property
    def _serialise(self) -> Callable[[Any], bytes]:
        return TypeAdapter(self.route.response).dump_json

    def prepare(self) -> None:
        """Have pydantic make what the route's models need now, instead of with the first request."""
        _ = self._serialise
        for model in (self.route.body, self.route.query):
            if model is not None:
                model.model_rebuild()

    async def serve(self, raw: web.Request) -> web.StreamResponse:
        """The aiohttp handler."""
        route = raw[ROUTE] = self.route
        remote = remote_of(raw, self._guards.trusted_proxies)
        if self._knocks:
            await self._knock(remote)
        principal = self._principal(raw, remote)
        found = dict(raw.match_info)
        words = {name: found.pop(name)[:_LONGEST_WORD] for name in route.words}
        path = _path(found)
        try:
            query = None if route.query is None else route.query.model_validate(dict(raw.query))
        except ValidationError as failure:
            raise from_validation(failure, route.query, what="query") from None
        # A body is read even where none is expected, so that the connection can be used again.
        with self._place(principal):
            text = await bodies.read(raw, self._limit, route.body_seconds)
        if route.body_optional and not text.strip():
            text = b"{}"
        body = None if route.body is None else bodies.validate(text, route.body, route.context)
        request = Request(
            principal=principal,
            body=body,
            query=query,
            path=path,
            words=words,
            headers=raw.headers,
            request_id=raw[REQUEST_ID],
            remote=remote,
            secure=raw.secure or self._behind_tls,
            content=text if route.accepts else b"",
            target=raw.raw_path if raw.raw_path.startswith("/") else raw.path_qs,
            by_cookie=route.socket and credential_of(raw).by_cookie,
        )
        if route.socket:
            return await self._socket(raw, request)
        carried = None if self._carrier is None else _carried(raw, route, request, found, text)
        key = raw.headers.get(HEADER) if route.idempotent else None
        if key is None:
            return await self._done(request, carried)
        digest = request_hash(raw.method, route.path, text)
        return await self._once(checked_key(key), digest, request, carried)

    async def perform(self, carried: Carried) -> Outcome:
        """Carry out what another process has taken. Raises nothing but what ends this process."""
        route = self.route
        try:
            query = None if route.query is None else route.query.model_validate(dict(carried.query))
            body = None if route.body is None else bodies.validate(carried.body, route.body, route.context)
            request = Request(
                principal=carried.principal,
                body=body,
                query=query,
                path=_path(carried.path),
                words=carried.words,
                headers=carried.headers,
                request_id=carried.request_id,
                remote=carried.remote,
                secure=carried.secure,
                idempotency_seed=carried.seed,
                content=carried.body if route.accepts else b"",
                target=carried.target,
            )
            response = self._answer(await self._handle(request), request)
        except RinglineError as error:
            return outcome_of(error, problems.envelope(error, carried.request_id, route.domain))
        except ValidationError as failure:
            invalid = from_validation(failure, route.query, what="query")
            return outcome_of(invalid, problems.envelope(invalid, carried.request_id, route.domain))
        except Exception:
            log.exception("carried_request_failed", request_id=carried.request_id, route=route.path)
            fault = problems.unexpected(carried.request_id)
            return outcome_of(fault, problems.envelope(fault, carried.request_id, route.domain))
        headers = {f"{name}": value for name, value in response.headers.items()}
        return Outcome(response.status, headers, _bytes(response))

    async def _done(self, request: Request[Any, Any], carried: Carried | None) -> web.StreamResponse:
        if self._carrier is None or carried is None:
            return self._answer(await self._handle(request), request)
        try:
            async with asyncio.timeout(self.route.timeout + _CARRYING_SECONDS):
                outcome = await self._carrier(self.route, carried)
        except TimeoutError:
            raise _too_late(self.route.timeout) from None
        return web.Response(status=outcome.status, headers=outcome.headers, body=outcome.body)

    async def _socket(self, raw: web.Request, request: Request[Any, Any]) -> web.StreamResponse:
        reply = await self._handle(request)
        assert isinstance(reply, SocketReply)  # noqa: S101 - what the route says of itself
        credential = credential_of(raw)
        return await reply.serve(raw, request.principal, lambda: self._authenticator.authenticate(credential))

    @contextmanager
    def _place(self, principal: Principal | None) -> Iterator[None]:
        """Large bodies lie in memory while they come: a customer sends few of them at once."""
        if not self._large or principal is None:
            yield
            return
        customer_id = principal.customer_id
        if self._sending[customer_id] >= LARGE_AT_ONCE:
            raise ResourceExhausted(
                f"{LARGE_AT_ONCE} large requests of yours are being sent here already; one after the other, please.",
                details=[{"retry_after": 2}],
            )
        self._sending[customer_id] += 1
        try:
            yield
        finally:
            self._sending[customer_id] -= 1
            if not self._sending[customer_id]:
                del self._sending[customer_id]

    async def _knock(self, remote: str) -> None:
        """Everybody may ask to log in and the like, but not at any rate."""
        if self._guards.doors is not None and (wait := await self._guards.doors.knock(remote)):
            raise too_many("Too many requests from your address", wait)

    def _authenticated(self, credential: Credential, remote: str) -> Principal:
        doors = self._guards.doors
        if doors is not None and (wait := doors.distrusted(remote, credential.token)):
            raise too_many("Too many wrong credentials from your address: this one was not looked at", wait)
        try:
            principal = (
                self._authenticator.authenticate(credential, frozen=True)
                if self.route.while_frozen
                else self._authenticator.authenticate(credential)
            )
        except Unauthenticated:
            if doors is not None:
                doors.wrong(remote, credential.token)
            raise
        if doors is not None:
            doors.right(remote, credential.token)
        return principal

    def _principal(self, raw: web.Request, remote: str) -> Principal | None:
        if self.route.auth == "none":
            return None
        principal = self._authenticated(credential_of(raw), remote)
        raw[PRINCIPAL] = principal
        if self._guards.rates is not None:
            allowance, wait, whose = self._guards.rates.take(principal)
            if allowance is not None:
                raw[ALLOWANCE] = allowance
            if wait:
                raise too_many(f"Too many requests of {whose}", wait)
        if not principal.permission and not self.route.path.startswith("/auth/"):
            raise PermissionDenied(
                "This login may do nothing (its permission is 0); an admin of its customer gives it some with"
                " PUT /v1.0/agents/{id}/permission."
            )
        if self.route.auth == "admin" and not principal.is_admin:
            raise PermissionDenied("This operation needs the permission of a customer admin.")
        if self.route.auth == "project" and not principal.is_project_admin:
            raise PermissionDenied(
                "This operation is the installation's administrator's: it needs the token of a login with the"
                " permission of a project admin (1); access keys do not have it."
            )
        return principal

    async def _handle(self, request: Request[Any, Any]) -> Any:
        try:
            async with asyncio.timeout(self.route.timeout) as limit:
                with tenancy.bound(_tenant(request), request.request_id):
                    if self._auditor is None:
                        return await self.route.handler(request)
                    async with self._auditor.acting(self.route, request):
                        return await self.route.handler(request)
        except TimeoutError as late:
            if not limit.expired():
                raise
            raise _too_late(self.route.timeout) from late

    async def _once(
        self, key: str, digest: bytes, request: Request[Any, Any], carried: Carried | None
    ) -> web.StreamResponse:
        store, customer_id = self._idempotency, request.customer_id
        assert store is not None  # noqa: S101 - __init__ has checked it
        claim = await store.claim(customer_id, key, digest)
        if isinstance(claim, Answered):
            return web.Response(body=claim.response, content_type=JSON, headers={REPLAYED: "true"})
        request.idempotency_seed = claim.seed
        if carried is not None:
            carried = replace(carried, seed=claim.seed)
        try:
            response = await self._done(request, carried)
        except BaseException:
            await _settled(store.release(customer_id, key), "idempotency_release_failed", key)
            raise
        if response.status >= _FAILURES:
            await _settled(store.release(customer_id, key), "idempotency_release_failed", key)
            return response
        await _settled(store.finish(customer_id, key, _bytes(response)), "idempotency_finish_failed", key)
        return response

    def _answer(self, result: Any, request: Request[Any, Any]) -> web.StreamResponse:
        if isinstance(result, FileReply):
            return _file(result)
        if isinstance(result, BytesReply):
            return _content(result)
        if isinstance(result, StreamReply):
            headers = _headers(result.content_type, result.name)
            return Streamed(
                result.chunks, headers, lambda: tenancy.bound(_tenant(request), request.request_id)
            )
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


def _tenant(request: Request[Any, Any]) -> UUID | None:
    """Whose rows the request may touch; the administrator of the installation sees everybody's."""
    principal = request.optional_principal
    return None if principal is None or principal.is_project_admin else principal.customer_id


def _carried(
    raw: web.Request, route: Route, request: Request[Any, Any], path: Mapping[str, str], text: bytes
) -> Carried:
    return Carried(
        method=route.method,
        route=route.path,
        principal=request.optional_principal,
        path=path,
        words=request.words,
        query=dict(raw.query),
        headers={name: raw.headers[name] for name in HEADERS if name in raw.headers},
        request_id=request.request_id,
        remote=request.remote,
        secure=request.secure,
        target=request.target,
        body=text,
    )


def _too_late(seconds: float) -> Unavailable:
    return Unavailable(f"The request was not done within {seconds:g} s.", reason="REQUEST_TIMEOUT")


def too_many(what: str, wait: float) -> ResourceExhausted:
    """429, with the seconds to wait in ``Retry-After``."""
    seconds = max(1, math.ceil(wait))
    return ResourceExhausted(f"{what}; try again in {seconds} s.", details=[{"retry_after": seconds}])


def _file(reply: FileReply) -> web.StreamResponse:
    headers = {
        "Content-Type": reply.content_type,
        "Content-Disposition": f'inline; filename="{reply.name}"',
        # nobody else's to keep; whoever has it may ask whether it is still the same
        "Cache-Control": "private, no-cache",
    }
    return web.FileResponse(reply.path, headers=headers)


def _content(reply: BytesReply) -> web.StreamResponse:
    return web.Response(body=reply.content, headers=_headers(reply.content_type, reply.name))


def _headers(content_type: str, name: str) -> dict[str, str]:
    headers = {"Content-Type": content_type, "Cache-Control": "private, no-cache"}
    if name:
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return headers


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
