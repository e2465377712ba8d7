"""Where media reports what it did and how long it took; the metrics room implements it."""

from __future__ import annotations

from typing import Literal, Protocol

Kind = Literal["speech", "file"]


class MediaObserver(Protocol):
    """One call per attempt: few labels, all from fixed sets."""

    def media_done(self, kind: Kind, source: str, result: str, seconds: float) -> None:
        """``source`` is an engine's name, ``cache`` or ``http``; ``result`` is ``ok`` or a lower-case
        reason.
        """


class Unobserved:
    """The observer of those who do not look."""

    def media_done(self, kind: Kind, source: str, result: str, seconds: float) -> None:
        """Nothing is kept."""
