"""What a call hears: rendered speech, fetched sound files, a beep, all as files that Asterisk plays
untranscoded.

Attributes load on first use, so that ``ringline.media.address_guard`` and ``ringline.media.outbound`` can
be used alone (webhooks) and worker processes start without the controller's imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import MediaFailed
    from .library import MediaLibrary
    from .observer import MediaObserver
    from .prompt import Prompt
    from .ssml import check_text

__all__ = ["MediaFailed", "MediaLibrary", "MediaObserver", "Prompt", "check_text"]

_HOMES = {
    "MediaFailed": "errors",
    "MediaLibrary": "library",
    "MediaObserver": "observer",
    "Prompt": "prompt",
    "check_text": "ssml",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
