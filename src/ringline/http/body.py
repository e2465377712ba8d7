"""Reading a body that may be too large, too slow, or not what it says."""

from __future__ import annotations

import asyncio
import json
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from ringline.errors import InvalidArgument, PayloadTooLarge
from ringline.http.problems import from_validation

READ_TIMEOUT = 15.0
_NUL = b"\\u0000"

M = TypeVar("M", bound=BaseModel)


async def read(request: web.Request, limit: int) -> bytes:
    """The body, at most ``limit`` bytes of it and at most ``READ_TIMEOUT`` seconds long.

    A body that announces more is refused before any of it is read.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    if not request.can_read_body:
        return b""
    try:
        async with asyncio.timeout(READ_TIMEOUT):
            return await request.read()
    except TimeoutError:
        raise InvalidArgument(
            f"The body did not arrive within {READ_TIMEOUT:g} s.", reason="REQUEST_TIMEOUT"
        ) from None
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(limit) from None
    except (web.RequestPayloadError, ValueError) as broken:
        raise InvalidArgument(
            "The body cannot be read: its transfer or content encoding is broken.", reason="INVALID_JSON_BODY"
        ) from broken


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than {limit} bytes, the most that is accepted.")


def validate(raw: bytes, model: type[M], context: Any = None) -> M:
    """The body as ``model``. Raises ``InvalidArgument``: ``INVALID_JSON_BODY`` when it is no JSON at all.

    ``context`` is for the model's validators.
    """
    if not raw.strip():
        raise InvalidArgument("This operation needs a body: a JSON object.", reason="INVALID_JSON_BODY")
    if _NUL in raw:
        _refuse_nul(raw)
    try:
        return model.model_validate_json(raw, context=context)
    except ValidationError as failure:
        raise from_validation(failure, model) from None


def _refuse_nul(raw: bytes) -> None:
    """PostgreSQL's text cannot hold U+0000, so no field may."""
    try:
        found = _find_nul(json.loads(raw))
    except (ValueError, RecursionError):
        return  # the model's own parser says what is wrong
    if found:
        raise InvalidArgument("The body contains the character U+0000, which no field may hold.")


def _find_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or _find_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_find_nul, value))
