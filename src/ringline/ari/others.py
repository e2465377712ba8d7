"""Objects whose operations all come from Asterisk's description."""

from __future__ import annotations

from .models import Model


class Endpoint(Model):
    """A peer that channels can be made to: ``PJSIP/name``."""

    kind = "endpoint"
    resource = "endpoints"
    id_parameter = "resource"

    def _identity(self) -> dict[str, str]:
        return {"tech": self.json["technology"], "resource": self.json["resource"]}

    def _path(self) -> str:
        return f"endpoints/{self.id}"


class DeviceState(Model):
    """State of a device (``Stasis:name`` is one that ARI may set)."""

    kind = "device_state"
    resource = "deviceStates"
    id_parameter = "deviceName"


class Sound(Model):
    """A sound file that Asterisk knows by name."""

    kind = "sound"
    resource = "sounds"
    id_parameter = "soundId"


class Mailbox(Model):
    """A mailbox with its counts of old and new messages."""

    kind = "mailbox"
    resource = "mailboxes"
    id_parameter = "mailboxName"
