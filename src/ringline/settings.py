"""Configuration, typed once: everything a process reads from the environment (prefix ``RINGLINE_``).

``make up`` writes these names into ``.env``; compose hands them to the containers. Addresses default to
loopback: nothing listens on a public address until the operator says so.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """All settings of the controller. Secrets are ``SecretStr``: none reaches a log by accident."""

    model_config = SettingsConfigDict(env_prefix="RINGLINE_", extra="ignore")

    # HTTP API
    api_host: str = "127.0.0.1"
    api_port: int = 8080
    api_url: str = "http://127.0.0.1:8080"
    max_body_bytes: int = 1_048_576

    # storage
    database_url: SecretStr = SecretStr("postgresql+asyncpg://ringline:ringline@127.0.0.1:15432/ringline")
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:16379/0")

    # Asterisk
    ari_url: str = "http://127.0.0.1:8088"
    ari_username: str = "ringline"
    ari_password: SecretStr = SecretStr("ringline")
    ari_application: str = "ringline"
    ari_request_sockets: int = Field(default=4, ge=0, le=16)
    ami_host: str = "127.0.0.1"
    ami_port: int = 5038
    ami_username: str = "ringline"
    ami_password: SecretStr = SecretStr("ringline")

    # Kamailio
    sip_domain: str = "ringline.test"
    kamailio_host: str = "127.0.0.1"
    kamailio_port: int = 5060
    kamailio_rpc_url: str = "http://127.0.0.1:5060/rpc"
    kamailio_secret: SecretStr = SecretStr("")
    kamailio_db_password: SecretStr = SecretStr("")

    # first customer and login
    admin_username: str = "admin"
    admin_password: SecretStr = SecretStr("")
    accesskey: SecretStr = SecretStr("")
    extension_password: SecretStr = SecretStr("")
    jwt_secret: SecretStr = SecretStr("")

    # media. ``media_dir`` is seen by Asterisk under the same path.
    media_dir: Path = Path("/var/lib/ringline/media")
    speech_engines: Annotated[list[Literal["piper", "espeak", "openai"]], NoDecode] = ["piper", "espeak"]
    speech_openai_url: str = ""
    speech_openai_key: SecretStr = SecretStr("")
    speech_openai_model: str = "tts-1"
    speech_openai_voice: str = "alloy"
    speech_timeout_seconds: float = 20.0
    # What is being played may take a quarter more; one sound takes a quarter at most (an hour has 144 MB).
    media_cache_bytes: int = Field(default=2 * 1024**3, ge=64 * 1024**2)
    fetch_max_bytes: int = 20 * 1024**2
    fetch_timeout_seconds: float = 15.0
    fetch_allowed_networks: Annotated[list[IPv4Network | IPv6Network], NoDecode] = []

    # recordings. Asterisk writes into the same folder. 0 keeps them until somebody deletes them.
    recordings_dir: Path = Path("/var/lib/ringline/recordings")
    recording_max_seconds: int = Field(default=3600, ge=1, le=86_400)
    recording_keep_days: float = Field(default=0, ge=0)
    recording_keep_bytes: int = Field(default=0, ge=0)
    # With less than this on the disk nothing new is recorded.
    recording_free_bytes: int = Field(default=512 * 1024**2, ge=0)

    # calls. Addresses that are not public and may all the same be called (`sip` destinations).
    sip_allowed_networks: Annotated[list[IPv4Network | IPv6Network], NoDecode] = []
    dial_timeout_seconds: float = 60.0
    max_call_seconds: float = 3600.0
    shutdown_grace_seconds: float = 20.0

    # sandbox carrier
    carrier_sip_host: str = "127.0.0.1"
    carrier_sip_port: int = 5090
    carrier_control_url: str = "http://127.0.0.1:8091"

    # number providers (empty: the vendor's own address); for their clients, which are not written yet
    telnyx_base_url: str = ""
    twilio_base_url: str = ""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    @field_validator("speech_engines", "fetch_allowed_networks", "sip_allowed_networks", mode="before")
    @classmethod
    def _comma_list(cls, value: object) -> object:
        """Lists are written with commas in the environment: ``piper,espeak``."""
        if isinstance(value, str):
            return [item.strip() for item in value.split(",") if item.strip()]
        return value


@lru_cache(maxsize=1)
def load() -> Settings:
    """The settings of this process, read from the environment once."""
    return Settings()
