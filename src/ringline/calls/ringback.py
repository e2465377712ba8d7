"""What a party hears while somebody else's telephone rings on its behalf."""

from __future__ import annotations

import structlog

from ringline import ari
from ringline.calls.ari_leg import AriLeg

log = structlog.get_logger(__name__)

_LEAVING = (404, 409, 412)
"""What Asterisk answers when the channel is on its way out, or not ours to command any more."""


class Ringback:
    """A tone for a party that is answered, SIP 180 or 183 for one that is not yet. Requests only, no waiting."""

    def __init__(self, client: ari.Client, leg: AriLeg, *, key: str = "") -> None:
        """``key``: of the requests that these are to keep in order with; those of the leg without it."""
        self._client = client
        self._leg = leg
        self._key = key or str(leg.call.id)
        self._channel = f"channels/{ari.quote(leg.call.channel_id)}"
        self._ringing = False

    def start(self) -> None:
        """Ring; a tone lasts until ``stop``."""
        self.stop()
        # on an answered channel Asterisk makes the tone itself (``indications.conf``); unlike a playback it keeps
        # nothing waiting that is asked of the channel meanwhile
        self._ringing = True
        self._tell("POST", "ring")

    def stop(self) -> None:
        """Silence."""
        if self._ringing and not self._leg.gone:
            self._tell("DELETE", "ring")
        self._ringing = False

    def open_early(self) -> None:
        """Make a way for sound to a party that was not answered: SIP 183 (RFC 3960)."""
        if not self._leg.up:
            self._tell("POST", "progress")

    def _tell(self, method: str, what: str) -> None:
        self._client.tell(method, f"{self._channel}/{what}", key=self._key, ignore=_LEAVING)
