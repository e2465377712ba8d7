"""Configuration, typed once: everything a process reads from the environment (prefix ``RINGLINE_``).

``make up`` writes these names into ``.env``; compose hands them to the containers. Addresses default to
loopback: nothing listens on a public address until the operator says so.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _country(text: str) -> str:
    from phonenumbers import SUPPORTED_REGIONS  # noqa: PLC0415 - large, and seldom needed here

    if text.upper() not in SUPPORTED_REGIONS:
        raise ValueError("must be the two letters of a country (ISO 3166 alpha-2) such as us or de")
    return text.lower()


class Asterisk(BaseModel):
    """One of several Asterisks; what is not said of it is as for the one of a small installation."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=r"^[0-9a-z_-]{1,32}$")]
    ari_url: str
    ami_host: str = "127.0.0.1"
    ami_port: int
    hep_port: int = Field(default=9060, ge=1024, le=65_535)


class Settings(BaseSettings):
    """All settings of the controller. Secrets are ``SecretStr``: none reaches a log by accident."""

    model_config = SettingsConfigDict(env_prefix="RINGLINE_", extra="ignore")

    # what this process does of it all (`ringline serve --role`), and how others know it (empty: its host and number)
    role: Literal["all", "api", "controller", "worker"] = "all"
    process_name: Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]{0,64}$")] = ""

    # HTTP API
    api_host: str = "127.0.0.1"
    api_port: int = 8080
    api_url: str = "http://127.0.0.1:8080"
    max_body_bytes: int = 1_048_576
    # proxies that are believed when they say for whom they ask (X-Forwarded-For)
    trusted_proxies: Annotated[list[IPv4Network | IPv6Network], NoDecode] = []
    # connections of one address at once (0: any number), those of trusted proxies apart
    max_connections_per_address: int = Field(default=512, ge=0)
    # requests: of one customer, and of each of its credentials, on average and at once (0 a second: no limit)
    max_requests_per_second: int = Field(default=2000, ge=0, le=1_000_000)
    max_requests_burst: int = Field(default=4000, ge=0, le=10_000_000)
    max_requests_per_second_per_credential: int = Field(default=2000, ge=0, le=1_000_000)
    max_requests_burst_per_credential: int = Field(default=4000, ge=0, le=10_000_000)

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
    # the Asterisks of this installation, where there are several (JSON); the controllers share them among themselves
    asterisks: list[Asterisk] = []
    asterisk_name: str = "asterisk"

    # Kamailio
    sip_domain: str = "ringline.test"
    # where customers are at home of whom neither their own word nor a number tells it (ISO 3166 alpha-2)
    default_country: Annotated[str, AfterValidator(_country)] = "us"
    # the interface it listens on, and the address that others see where that is another one (NAT)
    kamailio_address: str = "127.0.0.1"
    advertised_address: str = ""
    kamailio_host: str = "127.0.0.1"
    kamailio_port: int = 5060
    kamailio_tls_port: int = 5061
    kamailio_ws_port: int = 5066
    kamailio_wss_port: int = 5067
    kamailio_rpc_url: str = "http://127.0.0.1:5060/rpc"
    kamailio_secret: SecretStr = SecretStr("")
    kamailio_db_password: SecretStr = SecretStr("")

    # the page /phone: where its library lies, and its WebSocket where a proxy stands before Kamailio's own
    # (wss://phone.example/sip)
    phone_library_dir: Path = Path("/opt/ringline/phone")
    websocket_url: Annotated[str, Field(pattern=r"^(wss?://[0-9A-Za-z.:\[\]/_-]+)?$")] = ""

    # SIP messages of calls: where Kamailio sends copies (loopback, UDP), and how long and how much of them is kept.
    # 0 days: none.
    hep_port: int = Field(default=9060, ge=1024, le=65_535)
    sip_trace_days: float = Field(default=7, ge=0)
    sip_trace_bytes: int = Field(default=1024**3, ge=1024**2)

    # what payment providers sign their webhooks with (Standard Webhooks, base64; several with a space between them);
    # empty: none are taken
    payment_hook_secret: SecretStr = SecretStr("")

    # first customer and login
    admin_username: str = "admin"
    admin_password: SecretStr = SecretStr("")
    accesskey: SecretStr = SecretStr("")
    extension_password: SecretStr = SecretStr("")
    jwt_secret: SecretStr = SecretStr("")
    # how long one key signs logins before the next one does (0: only ``ringline keys rotate`` makes one)
    jwt_rotation_days: float = Field(default=30, ge=0, le=3650)

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

    # events. Kept for so many days, and longer where a webhook has still to be delivered.
    event_keep_days: float = Field(default=7.0, ge=0.1, le=3650)

    # calls. Addresses that are not public and may all the same be called (`sip` destinations).
    sip_allowed_networks: Annotated[list[IPv4Network | IPv6Network], NoDecode] = []
    dial_timeout_seconds: float = 60.0
    max_call_seconds: float = 3600.0
    shutdown_grace_seconds: float = 20.0
    # For customers, extensions and trunks of which nobody says more; 0 is no limit.
    max_calls_per_customer: int = Field(default=2000, ge=0)
    max_calls_per_second_per_customer: int = Field(default=500, ge=0)
    # calls that may wait until those limits let them be placed
    max_waiting_calls_per_customer: int = Field(default=10_000, ge=0, le=1_000_000)
    max_calls_per_account: int = Field(default=0, ge=0)

    # sandbox carrier
    carrier_sip_host: str = "127.0.0.1"
    carrier_sip_port: int = 5090
    carrier_control_url: str = "http://127.0.0.1:8091"

    # vendors of numbers and texts: whom to ask, in this order; empty: those with credentials, and the sandbox.
    # Their webhooks come to public_url (empty: api_url). A base URL replaces the vendor's own address.
    number_vendors: Annotated[list[Literal["telnyx", "twilio", "sandbox"]], NoDecode] = []
    public_url: str = ""
    telnyx_base_url: str = ""
    telnyx_api_key: SecretStr = SecretStr("")
    telnyx_public_key: str = ""
    telnyx_connection_id: str = ""
    telnyx_messaging_profile_id: str = ""
    twilio_base_url: str = ""
    twilio_account_sid: str = ""
    twilio_auth_token: SecretStr = SecretStr("")
    twilio_trunk_sid: str = ""
    # what the sandbox carrier signs its webhooks with (Standard Webhooks)
    sandbox_hook_secret: SecretStr = SecretStr("")

    # webhooks: the key that all their secrets are computed with (empty: jwt_secret; another one changes all secrets),
    # after how many days of nothing but failure an endpoint is disabled (0: never), how long deliveries are kept
    webhook_secret: SecretStr = SecretStr("")
    webhook_failing_days: float = Field(default=3, ge=0)
    webhook_keep_days: float = Field(default=7, gt=0)

    # texts: who sees to STOP, HELP and START (keep: we; off: the carriers do), what is answered to HELP (empty: a
    # sentence of ours), and how many a second leave from one number (0: no limit)
    message_opt_out: Literal["keep", "off"] = "keep"
    message_help_text: str = Field(default="", max_length=1600)
    message_rate: float = Field(default=1.0, ge=0, le=1000)

    # accounts of people: whether strangers may sign up, and the server that takes our mail, such as
    # smtp://user:password@mail.example:587 (empty: mail is printed in the log)
    signup_enabled: bool = False
    # whether telephone numbers and calls to the telephone network take a customer that the administrator has verified
    identity_verification_required: bool = False
    smtp_url: SecretStr = SecretStr("")
    mail_from: str = "Ringline <ringline@localhost.localdomain>"

    # how long the trail of administrative changes is kept; what is written stays as long as was said then
    audit_keep_days: float = Field(default=400, ge=1, le=36_500)
    # WebSockets for events (/v1.0/ws) that one customer may have open, in all processes together
    event_sockets_per_customer: int = Field(default=500, ge=1, le=10_000)

    # a statement of a customer's request that does not say whose rows it is about (storage.tenancy)
    unbound_statements: Literal["refuse", "report"] = "refuse"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    def of_asterisk(self, name: str) -> Settings:
        """As they are for whoever drives this one. Raises ``KeyError``."""
        if not self.asterisks:
            return self.model_copy(update={"asterisk_name": name})
        chosen = {one.name: one for one in self.asterisks}[name]
        given = chosen.model_dump(exclude={"name"})
        return self.model_copy(update={"asterisk_name": name, **given})

    @property
    def asterisk_names(self) -> list[str]:
        """All of them."""
        return [one.name for one in self.asterisks] or [self.asterisk_name]

    @field_validator("smtp_url")
    @classmethod
    def _mail_server(cls, value: SecretStr) -> SecretStr:
        """Judged at the start, not when the first mail is to leave."""
        if value.get_secret_value():
            from ringline.mail.server import MailServer  # noqa: PLC0415 - most processes send no mail

            MailServer.of(value.get_secret_value())
        return value

    @field_validator("mail_from")
    @classmethod
    def _mail_sender(cls, value: str) -> str:
        from email.utils import parseaddr  # noqa: PLC0415 - as above

        from ringline.mail.letter import check_address  # noqa: PLC0415

        check_address(parseaddr(value)[1])
        return value

    @field_validator(
        "speech_engines",
        "fetch_allowed_networks",
        "sip_allowed_networks",
        "number_vendors",
        "trusted_proxies",
        mode="before",
    )
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
