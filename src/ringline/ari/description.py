"""Asterisk's own description of its REST Interface, read from the running Asterisk: every operation it has.

The format is Swagger 1.1 (``/ari/api-docs/resources.json`` and the files it lists).
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .codec import Query, quote, text
from .errors import AriError, error_for
from .rest import Rest

FETCH_SECONDS = 10.0
KEY = "key"
"""Keyword of every operation: which requests keep order with each other (see ``Client.send``)."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready to be sent."""

    method: str
    uri: str
    query: Query
    body: Any


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: ``nickname`` is its name in Python, ``response`` Asterisk's name for what it returns."""

    nickname: str
    method: str
    path: str
    response: str
    summary: str
    in_path: tuple[str, ...]
    in_query: frozenset[str]
    in_body: frozenset[str]
    required: frozenset[str]

    def prepare(self, parameters: Mapping[str, Any]) -> Prepared:
        """The request with these parameters. Raises ``TypeError`` for one that is unknown or missing."""
        given = {name: value for name, value in parameters.items() if value is not None}
        known = {*self.in_path, *self.in_query, *self.in_body}
        for name in given:
            if name not in known:
                raise TypeError(
                    f"{self.nickname}() has no parameter {name!r}; it takes {', '.join(sorted(known)) or 'none'}"
                )
        for name in (*self.in_path, *sorted(self.required)):
            if name not in given:
                raise TypeError(f"{self.nickname}() needs the parameter {name!r}")
        uri = self.path
        for name in self.in_path:
            uri = uri.replace(f"{{{name}}}", quote(text(given[name])))
        query: dict[str, Any] = {}
        body: Any = None
        for name, value in given.items():
            if name in self.in_body:
                body = _body(body, name, value)
            elif name in self.in_query:
                if isinstance(value, list | tuple) and self.method == "POST":
                    # A comma inside an item would split it in a query; in a body a list is a list.
                    body = {**(body or {}), name: list(value)}
                else:
                    query[name] = value
        return Prepared(self.method, uri, query, body)


class Description:
    """All operations by resource (``channels``, ``bridges``...) and nickname."""

    def __init__(self) -> None:
        self._resources: dict[str, dict[str, Operation]] = {}

    @property
    def is_loaded(self) -> bool:
        return bool(self._resources)

    @property
    def resources(self) -> list[str]:
        return sorted(self._resources)

    def operations(self, resource: str) -> list[str]:
        """Names of the operations of a resource."""
        return sorted(self._resources.get(resource, ()))

    async def load(self, rest: Rest) -> None:
        """Read the description. Raises ``AriError``; what was known before stays."""
        listing = await _fetch(rest, "resources.json")
        names = [_resource_name(entry["path"]) for entry in listing["apis"]]
        declarations = await asyncio.gather(*(_fetch(rest, f"{quote(name)}.json") for name in names))
        self._resources = {
            name: {operation.nickname: operation for operation in parse(declaration)}
            for name, declaration in zip(names, declarations, strict=True)
        }

    def operation(self, resource: str, nickname: str) -> Operation:
        """The operation. Raises ``AttributeError`` that says what there is instead."""
        operations = self._resources.get(resource)
        if operations is not None and nickname in operations:
            return operations[nickname]
        if not self._resources:
            raise AttributeError(
                f"{resource}.{nickname}: Asterisk's API description was not read, only typed operations can be called"
            )
        if operations is None:
            raise AttributeError(f"Asterisk has no resource {resource!r}; it has {', '.join(self.resources)}")
        close = difflib.get_close_matches(nickname, operations, n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise AttributeError(f"Asterisk's resource {resource!r} has no operation {nickname!r}{hint}")


def parse(declaration: Mapping[str, Any]) -> Iterable[Operation]:
    """The operations in one file of the description."""
    for api in declaration.get("apis", ()):
        path = api["path"].lstrip("/")
        for operation in api.get("operations", ()):
            if "upgrade" in operation:
                continue  # the WebSocket itself
            parameters = operation.get("parameters", ())
            by_place: dict[str, list[str]] = {"path": [], "query": [], "body": []}
            for parameter in parameters:
                by_place.setdefault(parameter["paramType"], []).append(parameter["name"])
            yield Operation(
                nickname=operation["nickname"],
                method=operation["httpMethod"],
                path=path,
                response=operation.get("responseClass", "void"),
                summary=operation.get("summary", ""),
                in_path=tuple(by_place["path"]),
                in_query=frozenset(by_place["query"]),
                in_body=frozenset(by_place["body"]),
                required=frozenset(
                    entry["name"]
                    for entry in parameters
                    if entry.get("required") and entry["paramType"] != "path"
                ),
            )


def _body(body: Any, name: str, value: Any) -> Any:
    """A body parameter is a member of the body under its own name; one that holds it already is the body."""
    if isinstance(value, Mapping) and (name in value or name in {"filter", "fields"}):
        return {**(body or {}), **value}
    return {**(body or {}), name: value}


def _resource_name(path: str) -> str:
    return str(path).rsplit("/", 1)[-1].partition(".")[0]


async def _fetch(rest: Rest, name: str) -> Any:
    uri = f"api-docs/{name}"
    status, answer = await rest.call("GET", uri, None, FETCH_SECONDS)
    if status >= 400:
        raise error_for(status, "no such part of the API description", method="GET", uri=uri)
    if not isinstance(answer, dict) or "apis" not in answer:
        raise AriError("not an API description", method="GET", uri=uri)
    return answer
