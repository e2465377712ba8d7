"""The one failure that media shows to calls."""

from __future__ import annotations

from typing import Literal

from ringline.errors import RinglineError

Reason = Literal[
    "SPEECH_FAILED",
    "FETCH_FORBIDDEN",
    "FETCH_TOO_LARGE",
    "FETCH_TIMEOUT",
    "FETCH_FAILED",
    "MEDIA_UNSUPPORTED",
    "MEDIA_STORAGE_FULL",
]


class MediaFailed(RinglineError):
    """A prompt could not be made. ``reason`` is one of `Reason`; the message is a sentence for the call's
    record.
    """

    http_status = 503
    status = "UNAVAILABLE"
    default_reason = "SPEECH_FAILED"

    def __init__(self, message: str, *, reason: Reason) -> None:
        super().__init__(message, reason=reason)
