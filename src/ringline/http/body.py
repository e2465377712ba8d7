"""Reading a body that may be too large, too slow, or not what it says."""

from __future__ import annotations

import asyncio
import json
import math
import re
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from ringline.errors import InvalidArgument, PayloadTooLarge
from ringline.http.problems import from_validation

READ_TIMEOUT = 15.0
_SUSPECT = re.compile(rb"\\u0000|[0-9]{19}|[0-9.][eE]\+?[0-9]{3}|NaN|Infinity")
"""What a body has that may hold what cannot be kept; all others need no second look."""
_LEAST, _GREATEST = -(2**63), 2**64 - 1
_LONGEST_INTEGER = 20
_LONGEST_VALUE = 40
_LONGEST_FIELD = 200

M = TypeVar("M", bound=BaseModel)


async def read(request: web.Request, limit: int, seconds: float = 0.0) -> bytes:
    """The body, at most ``limit`` bytes of it and at most ``seconds`` long (0: ``READ_TIMEOUT``).

    A body that announces more is refused before any of it is read.
    """
    seconds = seconds or READ_TIMEOUT
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    if not request.can_read_body:
        return b""
    try:
        body = bytearray()
        async with asyncio.timeout(seconds):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
        return bytes(body)
    except TimeoutError:
        raise InvalidArgument(
            f"The body did not arrive within {seconds:g} s.", reason="REQUEST_TIMEOUT"
        ) from None
    except ConnectionError:
        raise InvalidArgument("The body broke off.", reason="REQUEST_CANCELED") from None
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
    if _SUSPECT.search(raw):
        _refuse_unstorable(raw)
    try:
        return model.model_validate_json(raw, context=context)
    except ValidationError as failure:
        raise from_validation(failure, model) from None


def _refuse_unstorable(raw: bytes) -> None:
    """PostgreSQL's text cannot hold U+0000, and JSON as most programs read it no number beyond 64 bits: what nobody
    could be shown again as it was given is not taken, in whatever field it is."""
    try:
        body = json.loads(raw, parse_int=_integer, parse_float=_finite, parse_constant=_Unstorable)
    except (ValueError, RecursionError):
        return  # the model's own parser says what is wrong
    found = _find(body, "")
    if found is None:
        return
    field, fault = found[0][:_LONGEST_FIELD], found[1]
    if isinstance(fault, _Unstorable):
        message = f"must be a number of 64 bits, not {fault.text[:_LONGEST_VALUE]}"
        details = [{"field": field or "body", "message": message}]
        raise InvalidArgument(f"{f'`{field}`' if field else 'The body'} {message}.", details=details)
    raise InvalidArgument("The body contains the character U+0000, which no field may hold.")


@dataclass(frozen=True, slots=True)
class _Unstorable:
    """A number as it stands in a body."""

    text: str


def _integer(text: str) -> int | _Unstorable:
    # no number of 64 bits is longer, and Python takes its time for very long ones
    if len(text) > _LONGEST_INTEGER:
        return _Unstorable(text)
    number = int(text)
    return number if _LEAST <= number <= _GREATEST else _Unstorable(text)


def _finite(text: str) -> float | _Unstorable:
    number = float(text)
    return number if math.isfinite(number) else _Unstorable(text)


def _find(value: Any, field: str) -> tuple[str, _Unstorable | str] | None:
    """The first number or string in a body that cannot be kept, and its field."""
    if isinstance(value, dict):
        inside = (
            (key, "") if "\0" in key else _find(item, f"{field}.{key}" if field else key)
            for key, item in value.items()
        )
        return next((found for found in inside if found), None)
    if isinstance(value, list):
        inside = (_find(item, f"{field}[{index}]") for index, item in enumerate(value))
        return next((found for found in inside if found), None)
    if isinstance(value, _Unstorable) or (isinstance(value, str) and "\0" in value):
        return field, value
    return None
