"""Names of codecs, as lists of them are written: with commas between them."""

from __future__ import annotations

#: What our media server offers, by the names of RTP (RFC 3551, RFC 7587).
CODECS = ("PCMU", "PCMA", "G722", "opus")


def codecs_of(text: str) -> str:
    """Names of codecs as they are stored, whatever their case and spaces; each once."""
    known = {name.lower(): name for name in CODECS}
    names = [name.strip() for name in text.split(",") if name.strip()]
    return ",".join(dict.fromkeys(known.get(name.lower(), name) for name in names))


def problem(text: str) -> str:
    """What is wrong with a list that ``codecs_of`` returned; ``""`` where nothing is."""
    unknown = [name for name in text.split(",") if name not in CODECS]
    if not text or not unknown:
        return ""
    return f"{unknown[0][:40]!r} is not offered; names with commas between them, of {', '.join(CODECS)}"
