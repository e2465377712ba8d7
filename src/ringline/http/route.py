"""What a room says about one operation of the API: enough to serve it and to document it."""

from __future__ import annotations

import enum
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel
from typing_extensions import TypeVar

from ringline.errors import RinglineError, Unauthenticated
from ringline.http.models import QueryModel


class Permission(enum.IntFlag):
    """Bits of an agent's ``permission``, as VoIPBIN numbers them."""

    NONE = 0
    PROJECT_SUPER_ADMIN = 1
    PROJECT_ALL = 15
    CUSTOMER_AGENT = 16
    CUSTOMER_ADMIN = 32
    CUSTOMER_MANAGER = 64
    CUSTOMER_ALL = 240


ADMIN = Permission.PROJECT_SUPER_ADMIN | Permission.CUSTOMER_ADMIN


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request comes from: an agent who logged in, or an access key.

    ``token_id`` (``jti``) and ``token_expires`` (seconds since 1970) are those of the login's token.
    """

    customer_id: UUID
    agent_id: UUID | None
    accesskey_id: UUID | None
    permission: int
    username: str = ""
    token_id: UUID | None = None
    token_expires: float = 0.0

    @property
    def is_admin(self) -> bool:
        return bool(self.permission & ADMIN)

    @property
    def is_project_admin(self) -> bool:
        """Whether this is an administrator of the whole installation; no access key is one."""
        return bool(self.permission & Permission.PROJECT_SUPER_ADMIN)


BodyT = TypeVar("BodyT", default=None)
QueryT = TypeVar("QueryT", default=None)


class Request(Generic[BodyT, QueryT]):
    """A request that has been authenticated and validated.

    ``idempotency_seed`` is there when an ``Idempotency-Key`` came along: that of an earlier, equal request whose
    outcome nobody knows, else a new one. A handler that makes resources derives their ids from it (``uuid5(seed,
    name)``) and takes a resource that has such an id already as its own earlier work.

    ``by_cookie``: its credential came as a cookie, which browsers send whoever makes them ask.
    ``content`` is the body as it came, on a route that ``accepts`` any; ``target`` is path and query as they were
    sent.
    """

    __slots__ = (
        "_principal",
        "body",
        "by_cookie",
        "content",
        "headers",
        "idempotency_seed",
        "path",
        "query",
        "remote",
        "request_id",
        "secure",
        "target",
        "words",
    )

    def __init__(
        self,
        *,
        principal: Principal | None,
        body: BodyT,
        query: QueryT,
        path: Mapping[str, UUID],
        headers: Mapping[str, str],
        request_id: str,
        remote: str,
        secure: bool,
        words: Mapping[str, str] | None = None,
        idempotency_seed: UUID | None = None,
        content: bytes = b"",
        target: str = "",
        by_cookie: bool = False,
    ) -> None:
        self._principal = principal
        self.idempotency_seed = idempotency_seed
        self.body = body
        self.content = content
        self.target = target
        self.by_cookie = by_cookie
        self.query = query
        self.path = path
        self.words = words or {}
        self.headers = headers
        self.request_id = request_id
        self.remote = remote
        self.secure = secure

    @property
    def principal(self) -> Principal:
        """Who asks. Raises ``Unauthenticated`` on a route that asks for no credential."""
        if self._principal is None:
            raise Unauthenticated("This operation needs a credential.")
        return self._principal

    @property
    def optional_principal(self) -> Principal | None:
        """Who asks, where anybody may."""
        return self._principal

    @property
    def customer_id(self) -> UUID:
        return self.principal.customer_id


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie to set: HttpOnly, SameSite=Strict, Secure when the request came over TLS."""

    name: str
    value: str
    max_age: int


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with more than a body."""

    value: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[Cookie, ...] = ()


@dataclass(frozen=True, slots=True)
class FileReply:
    """An answer that is a file, in parts too (RFC 9110, Range, ETag). ``name`` is what it is saved as."""

    path: Path
    content_type: str
    name: str


@dataclass(frozen=True, slots=True)
class BytesReply:
    """An answer that is made of bytes. With a ``name`` it is to be saved under it."""

    content: bytes
    content_type: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class SocketReply:
    """An answer that is a WebSocket.

    ``serve`` takes the handshake and stays until the end of the connection. It gets aiohttp's request, who asks, and
    a way to ask anew who that credential belongs to, which raises what a request would be answered.
    """

    serve: Callable[[web.BaseRequest, Principal, Callable[[], Principal]], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class StreamReply:
    """An answer of any length, made while it is sent: the next chunk is asked for when the last one has left.

    With a ``name`` it is to be saved under it. What fails after the first chunk cuts the connection, so that nobody
    takes a part for the whole.
    """

    chunks: AsyncIterator[bytes]
    content_type: str
    name: str = ""


Handler = Callable[[Request[Any, Any]], Awaitable[Any]]
Auth = Literal["customer", "admin", "project", "none"]
Runs = Literal["anywhere", "owner", "controller"]
"""Where a handler runs: in any process, in the controller that has the resource, or in any controller."""

OPERATIONAL = frozenset(
    {
        "activeflows",
        "calls",
        "conferences",
        "groupcalls",
        "messages",
        "queuecalls",
        "recordings",
        "transfers",
    }
)
"""Tags of what runs, as opposed to how it is set up: its changes are no administrative ones."""

_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, kw_only=True)
class Route:
    """One operation.

    ``path`` is a template such as ``/v1.0/calls/{call_id}`` whose parameters are UUIDs,
    apart from ``words``, which are text (``Request.words``). ``response`` is the
    pydantic type of the answer (``Call``, ``list[Call]``, ``Page[Call]``). ``errors`` are those beyond 400,
    401, 403, 500 and 503. Without a body a ``body_optional`` one is ``{}``. ``context`` is given to the body's
    validation. ``aliases`` are other paths of the same operation. ``timeout`` is in seconds.
    ``produces`` are the content types of a route that answers with files (``FileReply``, ``BytesReply``,
    ``StreamReply``): instead of JSON where ``response`` is ``bytes``, else besides. ``accepts`` are the content types
    of a body that is handed over as it came (``Request.content``); whether it is of such a type is the handler's to
    see.
    ``socket``: it answers with a WebSocket (``SocketReply``).
    ``max_body_bytes`` and ``body_seconds`` bound the body (0: as everywhere).
    ``audited``: what it changes goes into the trail of administrative changes; without a word, wherever somebody who
    has proven who he is writes something that is not ``OPERATIONAL``. ``while_frozen``: also for a frozen customer.
    ``runs`` says in which process of several; ``owned`` is the field of the body that names the resource whose
    owner it is (empty: the path's first parameter).
    """

    method: str
    path: str
    handler: Handler
    summary: str
    response: Any
    description: str = ""
    tags: tuple[str, ...] = ()
    body: type[BaseModel] | None = None
    body_optional: bool = False
    query: type[QueryModel] | None = None
    context: Any = None
    errors: tuple[type[RinglineError], ...] = ()
    auth: Auth = "customer"
    aliases: tuple[str, ...] = ()
    idempotent: bool = False
    body_examples: Mapping[str, Any] = field(default_factory=dict)
    response_example: Any = None
    timeout: float = 30.0
    produces: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    accepts: tuple[str, ...] = ()
    max_body_bytes: int = 0
    body_seconds: float = 0.0
    socket: bool = False
    audited: bool | None = None
    while_frozen: bool = False
    runs: Runs = "anywhere"
    owned: str = ""

    @property
    def is_audited(self) -> bool:
        """Whether its changes are administrative."""
        if self.audited is not None:
            return self.audited
        return self.method != "GET" and self.auth != "none" and self.domain not in OPERATIONAL

    @property
    def parameters(self) -> list[str]:
        """Names of the path's parameters, in order."""
        return _PARAMETER.findall(self.path)

    @property
    def domain(self) -> str:
        """The ``domain`` of this route's errors: its first tag."""
        return self.tags[0] if self.tags else "api"
