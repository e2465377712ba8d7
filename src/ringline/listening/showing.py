"""An event in one line for people: when, what, to which resource, and what matters of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

_LONGEST: Final = 120
_DIM, _RED, _GREEN, _YELLOW, _CYAN, _PLAIN = (
    "\x1b[2m",
    "\x1b[31m",
    "\x1b[32m",
    "\x1b[33m",
    "\x1b[36m",
    "\x1b[0m",
)
_BAD: Final = ("failed", "busy", "noanswer", "dialout", "timeout", "rejected", "abandoned", "disabled")
_ENDED: Final = ("_hangup", "_deleted", "_done", "_finished", "_ended")
_BEGUN: Final = ("_progressing", "_created", "_serviced", "_started", "_active")


def line(event: Mapping[str, Any], *, colours: bool = False) -> str:
    """Such as ``12:03:04.123  call_hangup  call 1a2b3c4d…  +15551234567 -> +15559876543  normal, by remote``."""
    kind = str(event["type"])
    told = facts(event)
    when, what, which = (
        str(event["timestamp"])[11:23],
        f"{kind:<24}",
        f"{event['resource']} {event['resource_id'][:8]}",
    )
    if colours:
        when, which = f"{_DIM}{when}{_PLAIN}", f"{_DIM}{which}{_PLAIN}"
        what = f"{_colour(kind, told)}{what}{_PLAIN}"
    return f"{when}  {what}  {which}  {told}".rstrip()


def facts(event: Mapping[str, Any]) -> str:
    """What matters of the resource, without what could do something to a terminal."""
    data = event["data"]
    if not isinstance(data, Mapping):
        return ""
    parts = [_parties(data), *(_text(data.get(name)) for name in ("number", "name", "filename"))]
    state = _text(data.get("hangup_reason")) or _text(data.get("end_reason")) or _text(data.get("status"))
    if state and (by := _text(data.get("hangup_by"))):
        state += f", by {by}"
    parts += [state, _text(data.get("text"))]
    for failure in data.get("failures") or ():
        if isinstance(failure, Mapping):
            parts.append(f"{_text(failure.get('reason'))}: {_text(failure.get('message'))}")
    shown = "  ".join(part for part in parts if part)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def may_colour(stream: Any = None) -> bool:
    """Whether lines go to a terminal whose owner has nothing against colours (no-color.org)."""
    import os  # noqa: PLC0415

    return (
        (stream or sys.stdout).isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def _colour(kind: str, told: str) -> str:
    if any(word in told or word in kind for word in _BAD):
        return _RED
    if kind.endswith(_ENDED):
        return _YELLOW
    return _GREEN if kind.endswith(_BEGUN) else _CYAN


def _parties(data: Mapping[str, Any]) -> str:
    source, destination = data.get("source"), data.get("destination")
    many = data.get("destinations") or [target.get("destination") for target in data.get("targets") or ()]
    if destination is None and many:
        destination = many[0]
    ends = [
        _text(one.get("target")) if isinstance(one, Mapping) else _text(one) for one in (source, destination)
    ]
    if not any(ends):
        return ""
    more = f" and {len(many) - 1} more" if len(many) > 1 else ""
    return f"{ends[0] or '-'} -> {ends[1] or '-'}{more}"


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    return "".join(one if one.isprintable() else "?" for one in value)
