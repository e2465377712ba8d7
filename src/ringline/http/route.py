"""What a room says about one operation of the API: enough to serve it and to document it."""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal
from uuid import UUID

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
    """Who a request comes from: an agent who logged in, or an access key."""

    customer_id: UUID
    agent_id: UUID | None
    accesskey_id: UUID | None
    permission: int
    username: str = ""

    @property
    def is_admin(self) -> bool:
        return bool(self.permission & ADMIN)


BodyT = TypeVar("BodyT", default=None)
QueryT = TypeVar("QueryT", default=None)


class Request(Generic[BodyT, QueryT]):
    """A request that has been authenticated and validated.

    ``idempotency_seed`` is there when an ``Idempotency-Key`` came along: that of an earlier, equal request whose
    outcome nobody knows, else a new one. A handler that makes resources derives their ids from it (``uuid5(seed,
    name)``) and takes a resource that has such an id already as its own earlier work.
    """

    __slots__ = (
        "_principal",
        "body",
        "headers",
        "idempotency_seed",
        "path",
        "query",
        "remote",
        "request_id",
        "secure",
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
        idempotency_seed: UUID | None = None,
    ) -> None:
        self._principal = principal
        self.idempotency_seed = idempotency_seed
        self.body = body
        self.query = query
        self.path = path
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


Handler = Callable[[Request[Any, Any]], Awaitable[Any]]
Auth = Literal["customer", "admin", "none"]

_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, kw_only=True)
class Route:
    """One operation.

    ``path`` is a template such as ``/v1.0/calls/{call_id}`` whose parameters are UUIDs. ``response`` is the
    pydantic type of the answer (``Call``, ``list[Call]``, ``Page[Call]``). ``errors`` are those beyond 400,
    401, 403, 500 and 503. Without a body a ``body_optional`` one is ``{}``. ``context`` is given to the body's
    validation. ``aliases`` are other paths of the same operation. ``timeout`` is in seconds.
    ``produces`` are the content types of a route that answers with files (``FileReply``) instead of JSON.
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

    @property
    def parameters(self) -> list[str]:
        """Names of the path's parameters, in order."""
        return _PARAMETER.findall(self.path)

    @property
    def domain(self) -> str:
        """The ``domain`` of this route's errors: its first tag."""
        return self.tags[0] if self.tags else "api"
