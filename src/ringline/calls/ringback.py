"""What a party hears while somebody else's telephone rings on its behalf."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import structlog

from ringline import ari
from ringline.calls.ari_leg import AriLeg

log = structlog.get_logger(__name__)

TONE = "tone:ring"
"""The ring-back tone of Asterisk's own tone zone (``indications.conf``)."""
_LEAVING = (404, 409, 412)
"""What Asterisk answers when the channel is on its way out, or not ours to command any more."""


class Ringback:
    """A tone for a party that is answered, SIP 180 or 183 for one that is not yet. Requests only, no waiting."""

    def __init__(self, client: ari.Client, leg: AriLeg) -> None:
        self._client = client
        self._leg = leg
        self._key = str(leg.call.id)
        self._channel = f"channels/{ari.quote(leg.call.channel_id)}"
        self._stop: str | None = None

    def start(self) -> None:
        """Ring; a tone lasts until ``stop``."""
        self.stop()
        if self._leg.up:
            playback_id = uuid4()
            self._tell("POST", f"{self._channel}/play/{playback_id}", body={"media": [TONE]})
            self._stop = f"playbacks/{playback_id}"
        else:
            self._tell("POST", f"{self._channel}/ring")
            self._stop = f"{self._channel}/ring"

    def stop(self) -> None:
        """Silence. What is asked of the channel next waits until the tone has ended."""
        stop, self._stop = self._stop, None
        if stop is not None and not self._leg.gone:
            self._tell("DELETE", stop)

    def open_early(self) -> None:
        """Make a way for sound to a party that was not answered: SIP 183 (RFC 3960)."""
        if not self._leg.up:
            self._tell("POST", f"{self._channel}/progress")

    def _tell(self, method: str, uri: str, *, body: Any = None) -> None:
        self._client.tell(method, uri, body=body, key=self._key, ignore=_LEAVING)
