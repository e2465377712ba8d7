"""What the carrier's process reads from the environment."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class CarrierSettings(BaseSettings):
    """Settings with the prefix ``RINGLINE_CARRIER_``, and those it shares with the other processes."""

    model_config = SettingsConfigDict(env_prefix="RINGLINE_CARRIER_", extra="ignore", populate_by_name=True)

    sip_host: IPv4Address = IPv4Address("127.0.0.1")
    sip_port: int = Field(default=5090, ge=1, le=65535)
    rtp_start: int = Field(default=11000, ge=1024, le=65535)
    rtp_end: int = Field(default=11999, ge=1024, le=65535)
    control_host: IPv4Address = IPv4Address("127.0.0.1")
    control_port: int = Field(default=8091, ge=1, le=65535)
    allowed_networks: Annotated[tuple[IPv4Network, ...], NoDecode] = (IPv4Network("127.0.0.0/8"),)

    dir: Path = Path("/var/lib/ringline/carrier")
    recording_prefix: str = "var/carrier/recordings"
    recording_days: float = Field(default=7.0, gt=0)
    recording_bytes: int = Field(default=2 * 1024**3, ge=1024**2)
    journal_bytes: int = Field(default=32 * 1024**2, ge=64 * 1024)

    silence: bool = True
    max_dials: int = Field(default=50, ge=1)

    # numbers ordered of it: seconds until they are confirmed, and until those are that take long
    order_seconds: float = Field(default=2.0, ge=0, le=86_400)
    order_slow_seconds: float = Field(default=60.0, ge=0, le=86_400)

    kamailio_host: IPv4Address = Field(
        default=IPv4Address("127.0.0.1"),
        validation_alias=AliasChoices("kamailio_host", "RINGLINE_KAMAILIO_HOST"),
    )
    kamailio_port: int = Field(
        default=5060, ge=1, le=65535, validation_alias=AliasChoices("kamailio_port", "RINGLINE_KAMAILIO_PORT")
    )
    # whose vendor it is: webhooks go to <api_url>/hooks/sandbox, and without a secret nowhere
    api_url: str = Field(
        default="http://127.0.0.1:8080", validation_alias=AliasChoices("api_url", "RINGLINE_API_URL")
    )
    sandbox_hook_secret: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("sandbox_hook_secret", "RINGLINE_SANDBOX_HOOK_SECRET"),
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", validation_alias=AliasChoices("log_level", "RINGLINE_LOG_LEVEL")
    )
    log_format: Literal["json", "console"] = Field(
        default="json", validation_alias=AliasChoices("log_format", "RINGLINE_LOG_FORMAT")
    )

    @field_validator("allowed_networks", mode="before")
    @classmethod
    def _comma_list(cls, value: object) -> object:
        """Written with commas in the environment: ``127.0.0.0/8,10.1.0.0/16``."""
        if isinstance(value, str):
            return tuple(item.strip() for item in value.split(",") if item.strip())
        return value

    @model_validator(mode="after")
    def _range(self) -> CarrierSettings:
        if self.rtp_end <= self.rtp_start:
            raise ValueError("RINGLINE_CARRIER_RTP_END must be greater than RINGLINE_CARRIER_RTP_START")
        return self

    @property
    def recordings(self) -> Path:
        """The folder of the WAV files."""
        return self.dir / "recordings"

    @property
    def journal(self) -> Path:
        """The file with a line for each call."""
        return self.dir / "calls.jsonl"

    @property
    def messages(self) -> Path:
        """The file with a line for each text."""
        return self.dir / "messages.jsonl"
