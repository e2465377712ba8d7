"""What the operations of one resource have in common, said once: each method here makes one ``Route``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ringline.errors import RinglineError
from ringline.http.models import Page, QueryModel
from ringline.http.paging import PageQuery
from ringline.http.route import Auth, Handler, Route


@dataclass(frozen=True)
class Resource:
    """A resource below ``path``, one of which is ``path/{parameter}`` and answered as ``answer``.

    ``missing`` is the error for one that is not there. ``reading`` and ``writing`` are who may do it. What an
    operation says of its own (``errors``, ``description``, ``aliases`` ...) are fields of ``Route``; its ``errors``
    are those besides ``missing``.
    """

    path: str
    parameter: str
    answer: type[BaseModel]
    missing: type[RinglineError]
    tag: str
    reading: Auth = "customer"
    writing: Auth = "customer"

    @property
    def one(self) -> str:
        """The path of one of them."""
        return f"{self.path}/{{{self.parameter}}}"

    def list(self, handler: Handler, summary: str, query: type[QueryModel] = PageQuery, **more: Any) -> Route:
        """``GET`` on the collection, a page at a time."""
        page = Page[self.answer]  # type: ignore[name-defined]  # a type that is known only here
        said = {
            "description": "Newest first.",
            "query": query,
            "response": page,
            "auth": self.reading,
            **more,
        }
        return self._route("GET", self.path, handler, summary, said)

    def create(self, handler: Handler, summary: str, body: type[BaseModel], **more: Any) -> Route:
        """``POST`` on the collection; repeating it with an ``Idempotency-Key`` is safe unless told otherwise."""
        return self._route("POST", self.path, handler, summary, {"body": body, "idempotent": True, **more})

    def get(self, handler: Handler, summary: str, **more: Any) -> Route:
        """``GET`` on one."""
        return self.act("GET", "", handler, summary, **{"auth": self.reading, **more})

    def update(self, handler: Handler, summary: str, body: type[BaseModel], **more: Any) -> Route:
        """``PUT`` on one."""
        return self.act("PUT", "", handler, summary, body=body, **more)

    def delete(self, handler: Handler, summary: str, **more: Any) -> Route:
        """``DELETE`` on one."""
        return self.act("DELETE", "", handler, summary, **more)

    def act(
        self,
        method: str,
        part: str,
        handler: Handler,
        summary: str,
        *,
        errors: tuple[type[RinglineError], ...] = (),
        **more: Any,
    ) -> Route:
        """Whatever else is done with one, at ``part`` below it."""
        path = f"{self.one}/{part}" if part else self.one
        return self._route(method, path, handler, summary, {"errors": (self.missing, *errors), **more})

    def _route(
        self, method: str, path: str, handler: Handler, summary: str, said: Mapping[str, Any]
    ) -> Route:
        usual = {"tags": (self.tag,), "response": self.answer, "auth": self.writing}
        return Route(method=method, path=path, handler=handler, summary=summary, **{**usual, **said})
