"""The address of a party as the API shows it: five strings, always all of them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

AddressType = Literal[
    "agent", "ai", "ai_team", "conference", "email", "endpoint", "extension", "line", "sip", "tel", ""
]


class Address(BaseModel):
    """Who calls or is called (VoIPBIN "address").

    ``type`` says how to read ``target``: ``tel`` is an E.164 number, ``sip`` is ``user@host`` or a SIP URI,
    ``extension`` (old name ``endpoint``) is a registered phone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    type: AddressType = Field(description="How `target` is read: `tel` (E.164), `sip`, `extension`, ...")
    target: str = Field(default="", max_length=255, description="E.164 number, SIP address or id.")
    target_name: str = Field(default="", max_length=255, description="Display name of the target.")
    name: str = Field(default="", max_length=255, description="A label of your own.")
    detail: str = Field(default="", max_length=1024, description="A note of your own.")

    def as_json(self) -> dict[str, str]:
        """The address as a plain object, cheaper than ``model_dump`` on the path of every call."""
        return {
            "type": self.type,
            "target": self.target,
            "target_name": self.target_name,
            "name": self.name,
            "detail": self.detail,
        }
