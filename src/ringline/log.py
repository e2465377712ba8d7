"""Logs: one structured line for each event, on standard error, without secrets.

The standard library's loggers (aiohttp, SQLAlchemy, alembic) go through the same processors.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any, BinaryIO, Literal

import orjson
import structlog
from structlog.typing import Processor

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["json", "console"]

_HIDDEN = "***"
_SECRET_WORDS = ("password", "secret", "token", "accesskey", "authorization", "cookie", "api_key")
_IN_TEXT = re.compile(
    r"(?i)\b(token|accesskey|password|api_key|signature|sig)=[^&\s\"']+|(bearer|basic)\s+[\w.~+/=-]{8,}"
)
_IN_URL = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+@")
_DEEPEST = 4
# Loggers that say at level info what structured events already say, or more than anybody reads.
_QUIET = ("aiohttp.access", "alembic", "asyncio", "sqlalchemy", "websockets", "panoramisk")


def configure(level: Level = "info", style: Format = "json") -> None:
    """Set up logging for this process. ``json`` is for machines, ``console`` for people."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
    ]
    render: Processor = (
        structlog.processors.JSONRenderer(serializer=_dump)
        if style == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, render, _encode],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_Factory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _decoded(render)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


class Verbatim(str):
    """Text whose secrets are to be seen: a mail that is printed because there is no server to send it."""

    __slots__ = ()


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace secrets: by the name of their field, and where a text carries them as a URL does."""
    for name, value in event.items():
        event[name] = _cleaned(name, value, 0)
    return event


def _cleaned(name: str, value: Any, depth: int) -> Any:
    if isinstance(value, str):
        if type(value) is Verbatim:
            return str(value)
        if value and _is_secret(name):
            return _HIDDEN
        return _clean_text(value) if "=" in value or "://" in value or "earer" in value else value
    if value is None or isinstance(value, int | float):
        return value
    if _is_secret(name):
        return _HIDDEN
    if isinstance(value, dict) and depth < _DEEPEST:
        return {key: _cleaned(str(key), item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and depth < _DEEPEST:
        return [_cleaned("", item, depth + 1) for item in value]
    return value


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    lower = name.lower()
    return any(word in lower for word in _SECRET_WORDS)


def _clean_text(text: str) -> str:
    text = _IN_TEXT.sub(lambda found: f"{found[1] or found[2]}{'=' if found[1] else ' '}{_HIDDEN}", text)
    return _IN_URL.sub(rf"\1:{_HIDDEN}@", text)


def _dump(value: Any, **_: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _encode(_logger: Any, _method: str, line: Any) -> bytes:
    return str(line).encode("utf-8", "backslashreplace")


def _decoded(render: Processor) -> Processor:
    def processor(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        return str(render(logger, method, event))

    return processor


class _Logger(structlog.BytesLogger):
    """Writes lines and knows its name."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        super().__init__(file)
        self.name = name


class _Factory:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __call__(self, *names: Any) -> _Logger:
        return _Logger(self._file, str(names[0]) if names else "ringline")
