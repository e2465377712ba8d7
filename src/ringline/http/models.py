"""The bases of what the API reads and writes.

Pydantic makes what validates a model when it is first needed (``defer_build``): all of them together take a start
a fifth of a second. ``Endpoint.prepare`` does it before anybody asks.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

ZERO_UUID = UUID(int=0)
_ZERO_TEXT = str(ZERO_UUID)


class RequestModel(BaseModel):
    """A body, or a part of one: exact types, no unknown fields.

    It is always validated from JSON text, where ``strict`` still takes UUIDs and times from strings.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


class ResponseModel(BaseModel):
    """An answer; every field is always there."""

    model_config = ConfigDict(frozen=True, from_attributes=True, serialize_by_alias=True, defer_build=True)


class QueryModel(BaseModel):
    """A query string: text becomes numbers and booleans, unknown parameters are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


def _none_if_zero(value: object) -> object:
    return None if value in ("", _ZERO_TEXT, ZERO_UUID) else value


UuidOrZero = Annotated[
    UUID | None,
    BeforeValidator(_none_if_zero),
    PlainSerializer(
        lambda value: _ZERO_TEXT if value is None else str(value), return_type=str, when_used="json"
    ),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "uuid"},
                {"type": "string", "const": ""},
                {"type": "null"},
            ],
            "description": "The zero UUID (or nothing) means none.",
            "examples": [_ZERO_TEXT],
        },
        mode="validation",
    ),
    WithJsonSchema(
        {
            "type": "string",
            "format": "uuid",
            "description": "The zero UUID means none.",
            "examples": [_ZERO_TEXT],
        },
        mode="serialization",
    ),
]

T = TypeVar("T")


class Page(ResponseModel, Generic[T]):
    """One page of a list, newest first."""

    result: list[T]
    next_page_token: str
    """Give it as ``page_token`` to get the next page; ``""`` on the last one."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """``CallPage`` in the API's documentation."""
        return f"{getattr(params[0], '__name__', 'Any')}Page"
