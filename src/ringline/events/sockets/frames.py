"""What readers send, and what they are told besides events. Each frame is a JSON object with a ``type``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

import orjson

from ringline.errors import InvalidArgument, RinglineError
from ringline.events.sockets import topics
from ringline.events.sockets.topics import Topic

MAX_TOPICS: Final = 100
_LONGEST_REF = 64
_FIELDS: Final = {
    "subscribe": {"type", "topics", "after", "ref"},
    "unsubscribe": {"type", "topics", "ref"},
    "ping": {"type", "ref"},
}


@dataclass(frozen=True, slots=True)
class Command:
    """What a reader wants. ``after`` is the last event it knows (the zero UUID: none, so everything that is kept)."""

    type: Literal["subscribe", "unsubscribe", "ping"]
    topics: tuple[Topic, ...] = ()
    after: UUID | None = None
    ref: str = ""


def parse(text: str) -> Command:
    """The command. Raises ``InvalidArgument``."""
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidArgument("A frame is a JSON object.", reason="INVALID_JSON_BODY") from None
    if not isinstance(given, dict):
        raise InvalidArgument("A frame is a JSON object.", reason="INVALID_JSON_BODY")
    kind = given.get("type")
    if kind == "resume":
        kind = "subscribe"
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise InvalidArgument("`type` must be `subscribe`, `unsubscribe` or `ping`.")
    if unknown := sorted(given.keys() - _FIELDS[kind]):
        raise InvalidArgument(f"There is no field `{unknown[0][:40]}` in a frame of type `{kind}`.")
    ref = given.get("ref", "")
    if not isinstance(ref, str) or len(ref) > _LONGEST_REF:
        raise InvalidArgument(f"`ref` must be a text of at most {_LONGEST_REF} characters.")
    if kind == "ping":
        return Command("ping", ref=ref)
    return Command("subscribe" if kind == "subscribe" else "unsubscribe", _topics(given), _after(given), ref)


def ref_of(text: str) -> str:
    """The ``ref`` of a command that cannot be carried out, or "" where it has none that is good."""
    try:
        ref = orjson.loads(text)["ref"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return ""
    return ref if isinstance(ref, str) and len(ref) <= _LONGEST_REF else ""


def _topics(given: dict[str, Any]) -> tuple[Topic, ...]:
    named = given.get("topics")
    if not isinstance(named, list) or not 1 <= len(named) <= MAX_TOPICS:
        raise InvalidArgument(f"`topics` must be a list of 1 to {MAX_TOPICS} topics.")
    return tuple(dict.fromkeys(topics.parse(one) for one in named))


def _after(given: dict[str, Any]) -> UUID | None:
    text = given.get("after")
    if text is None:
        return None
    try:
        return UUID(text)
    except (ValueError, AttributeError, TypeError):
        raise InvalidArgument(
            "`after` must be the `id` of the last event you have, or the zero UUID for everything that is kept."
        ) from None


def told(kind: str, ref: str = "", **fields: Any) -> bytes:
    """A frame of ours."""
    return orjson.dumps({"type": kind, **fields, **({"ref": ref} if ref else {})})


def refused(error: RinglineError, ref: str = "") -> bytes:
    """The frame for a command that was not carried out; its words are those of an error by HTTP."""
    return told(
        "error", ref, error={"status": error.status, "reason": error.reason, "message": error.message}
    )
