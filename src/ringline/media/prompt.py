"""What Asterisk plays."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prompt:
    """A sound on disk: ``path`` has no extension, ``<path>.ulaw`` (8 kHz) and ``<path>.sln16`` (16 kHz)
    exist.
    """

    path: str
    duration_ms: int

    @property
    def media(self) -> str:
        """The ``media`` of an ARI ``play``."""
        return f"sound:{self.path}"
