"""What is to be spoken, after parsing and before any engine: pieces of text and pauses in order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Style:
    """How a piece is spoken. ``rate`` and ``pitch`` are factors of the voice's own, ``volume`` is in dB."""

    rate: float = 1.0
    pitch: float = 1.0
    volume: float = 0.0
    say_as: str = ""
    say_format: str = ""


PLAIN = Style()


@dataclass(frozen=True, slots=True)
class Speak:
    text: str
    style: Style = PLAIN


@dataclass(frozen=True, slots=True)
class Pause:
    milliseconds: int


Piece = Speak | Pause


@dataclass(frozen=True, slots=True)
class Script:
    """An ordered utterance. Two texts that mean the same script share one rendering."""

    pieces: tuple[Piece, ...]

    @property
    def characters(self) -> int:
        """How much there is to speak: engines' work grows with it."""
        return sum(len(piece.text) for piece in self.pieces if isinstance(piece, Speak))

    @property
    def pause_ms(self) -> int:
        return sum(piece.milliseconds for piece in self.pieces if isinstance(piece, Pause))
