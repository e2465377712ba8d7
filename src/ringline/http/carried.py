"""A request that one process has taken, authenticated and validated, and another one carries out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID

import orjson

from ringline.errors import RinglineError
from ringline.http.route import Principal, Route

HEADERS = ("Accept", "Content-Type", "User-Agent")
"""What goes along of a request's headers; no credentials do."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What the handler of a route needs of a request. ``path`` has the parameters' text, ``query`` as it was sent."""

    method: str
    route: str
    principal: Principal | None
    path: Mapping[str, str]
    words: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    request_id: str
    remote: str
    secure: bool
    target: str
    seed: UUID | None = None
    body: bytes = field(default=b"", repr=False)

    def dump(self) -> tuple[bytes, bytes]:
        """As JSON without the body, and the body."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "body"}
        return orjson.dumps(fields, default=str), self.body

    @classmethod
    def load(cls, head: bytes, body: bytes) -> Carried:
        """What ``dump`` gave. Raises ``ValueError``."""
        fields = orjson.loads(head)
        if fields["principal"] is not None:
            fields["principal"] = _principal()(fields["principal"])
        if fields["seed"] is not None:
            fields["seed"] = UUID(fields["seed"])
        return cls(**fields, body=body)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a carried request: what of it is not the same for all."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


Carrier = Callable[[Route, Carried], Awaitable[Outcome]]
"""Has a request carried out where its route says. Raises ``Unavailable``."""


def outcome_of(error: RinglineError, envelope: bytes) -> Outcome:
    """A failure as the sender of a request reads it."""
    headers = {"Content-Type": "application/json"}
    if (seconds := retry_after(error)) is not None:
        headers["Retry-After"] = seconds
    return Outcome(error.http_status, headers, envelope)


def retry_after(error: RinglineError) -> str | None:
    """The header ``Retry-After`` of a failure."""
    if error.details and (seconds := error.details[0].get("retry_after")) is not None:
        return str(seconds)
    return "1" if error.retryable else None


@cache
def _principal() -> Callable[[Any], Principal]:
    from pydantic import TypeAdapter  # noqa: PLC0415 - schemas take a while to make, and not at the start

    return TypeAdapter(Principal).validate_python
