"""Finding the field that a validation error is about, as the sender of the request would name it."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Tag

_UNIONS = (Union, types.UnionType)


@dataclass(frozen=True, slots=True)
class Place:
    """``path`` such as ``actions[0].option.text``; ``siblings`` are the fields known beside it."""

    path: str
    siblings: tuple[str, ...]


def locate(annotation: Any, location: Iterable[str | int]) -> Place:
    """Follow pydantic's ``loc`` through the types of ``annotation``.

    Members of unions appear in ``loc`` as tags or type names, which mean nothing to the sender: they choose
    the type to go on with and are left out of the path.
    """
    path = ""
    siblings: tuple[str, ...] = ()
    candidates: list[Any] = [annotation]
    for part in location:
        members = [member for candidate in candidates for member in _members(candidate)]
        inner = [found for member, _ in members for found in _inside(member, part)]
        chosen = [member for member, tag in members if _is_named(member, tag, part)]
        if not inner and chosen:
            candidates = chosen
            continue
        siblings = tuple(name for member, _ in members for name in _fields(member))
        path = _append(path, part)
        candidates = inner
    return Place(path, siblings)


def _append(path: str, part: str | int) -> str:
    if isinstance(part, int):
        return f"{path}[{part}]"
    return f"{path}.{part}" if path else part


def _members(annotation: Any, tag: str = "") -> Iterator[tuple[Any, str]]:
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *extras = get_args(annotation)
        tags = [extra.tag for extra in extras if isinstance(extra, Tag)]
        yield from _members(base, tags[0] if tags else tag)
    elif origin in _UNIONS:
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation, tag


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _fields(kind: Any) -> list[str]:
    if not _is_model(kind):
        return []
    return [field.alias or name for name, field in kind.model_fields.items()]


def _inside(kind: Any, part: str | int) -> list[Any]:
    if _is_model(kind):
        return [field.annotation for name, field in kind.model_fields.items() if part in (name, field.alias)]
    origin, arguments = get_origin(kind), get_args(kind)
    if not isinstance(origin, type) or not arguments:
        return []
    if issubclass(origin, Mapping):
        return [arguments[1]]
    return [arguments[0]] if isinstance(part, int) else []


def _is_named(kind: Any, tag: str, part: str | int) -> bool:
    if tag == part or getattr(kind, "__name__", None) == part:
        return True
    return _is_model(kind) and any(
        get_origin(field.annotation) is Literal and part in get_args(field.annotation)
        for field in kind.model_fields.values()
    )
