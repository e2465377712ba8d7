"""What a flow knows of the text that it runs for. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from uuid import UUID

from ringline.messages import keywords


def variables(
    message_id: UUID,
    *,
    kind: str,
    direction: str,
    text: str,
    media: Sequence[str],
    source: Mapping[str, str],
    destination: Mapping[str, str],
) -> dict[str, str]:
    """``voipbin.message.*``; ``source`` and ``destination`` are addresses as the API shows them, ``media`` URLs."""
    known = {
        "id": str(message_id),
        "type": kind,
        "direction": direction,
        "text": text,
        "keyword": keywords.keyword(text),
        "media": json.dumps(list(media)) if media else "",
        "media_count": str(len(media)),
    }
    # VoIPBIN names the second one by the target that it is of
    for side, address in (
        ("source", source),
        ("destination", destination),
        ("target.destination", destination),
    ):
        known |= {f"{side}.{what}": value for what, value in address.items()}
    return {f"voipbin.message.{name}": value for name, value in known.items()}
