"""``external_media_start``: the call's audio to and from a server."""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ringline.errors import InvalidArgument
from ringline.flows.actions.base import Action, ActionFailed, Context, Options, final
from ringline.flows.actions.web import ANYWHERE
from ringline.flows.engine import Next, Result
from ringline.flows.variables import Lookup, fill_url, has_reference
from ringline.media.address_guard import check_url, loggable
from ringline.streams.models import Direction, Format, StreamWanted

_HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9.-]{1,253}):(\d{1,5})")
_SCHEMES = {"ws://": "http://", "wss://": "https://"}
MIN_PORT = 1024
MAX_DATA = 1024


def web_form(url: str) -> str:
    """The URL of a WebSocket with the scheme that guards know: http or https. Others are left as they are."""
    for scheme, plain in _SCHEMES.items():
        if url.lower().startswith(scheme):
            return plain + url[len(scheme) :]
    return url


def _check_websocket(url: str) -> None:
    if web_form(url) == url:
        raise ValueError("external_host: a WebSocket needs a URL that begins with `wss://` or `ws://`")
    try:
        check_url(web_form(url), ANYWHERE)
    except InvalidArgument as error:
        raise ValueError(f"external_host: {error.message}") from error


def _check_rtp(host: str) -> None:
    match = _HOST.fullmatch(host)
    if match is None:
        raise ValueError("external_host: must be `host:port`, for example `media.example.com:40000`")
    if not MIN_PORT <= int(match[2]) <= 65535:
        raise ValueError(f"external_host: the port must be {MIN_PORT} to 65535, not {match[2]}")


def _as_default(value: Any, info: ValidationInfo) -> Any:
    return value or ExternalMediaStartOptions.model_fields[info.field_name or ""].default


_EXPECTED = {
    "normal": {"encapsulation": "rtp", "transport": "udp"},
    "websocket": {"encapsulation": "none", "transport": "websocket"},
}


class ExternalMediaStartOptions(Options):
    """``external_host`` is ``host:port`` for RTP (``type`` ``normal``), a ``wss://`` URL for a ``websocket``."""

    external_host: str = Field(
        min_length=1,
        max_length=2048,
        description="Where to: `host:port` for `normal`, a `wss://` or `ws://` URL for `websocket`.",
    )
    type: Literal["", "normal", "websocket"] = Field(
        default="normal", description="`normal` is RTP over UDP, `websocket` is Asterisk's WebSocket channel."
    )
    encapsulation: Literal["", "rtp", "none"] = Field(
        default="", description="`rtp` for `normal`, `none` for `websocket`; may be left out."
    )
    transport: Literal["", "udp", "websocket"] = Field(
        default="", description="`udp` for `normal`, `websocket` for `websocket`; may be left out."
    )
    transport_data: Literal[""] = Field(default="", description="Accepted for compatibility; only empty.")
    connection_type: Literal["", "client"] = Field(
        default="client", description="`client`: we connect to your server."
    )
    format: Literal["", "ulaw", "alaw", "slin", "slin16", "g722"] = Field(
        default="ulaw", description="Of the audio, in both directions."
    )
    direction_listen: Literal["", "none", "in", "out", "both"] = Field(
        default="both",
        description="What the server hears: `in` what the other side of the call says, `out` what it hears, `both`.",
    )
    direction_speak: Literal["", "none", "in", "out", "both"] = Field(
        default="out",
        description="Who hears the server: `out` the other side of the call, `in` whoever it talks with, `both`.",
    )
    data: str = Field(
        default="",
        max_length=MAX_DATA,
        description="Text for the server of a WebSocket: in `X-Ringline-Data`.",
    )

    _defaults = field_validator("type", "format", "direction_listen", "direction_speak", mode="before")(
        _as_default
    )

    @model_validator(mode="after")
    def _fits(self, info: ValidationInfo) -> ExternalMediaStartOptions:
        kind = self.type or "normal"
        for name, expected in _EXPECTED[kind].items():
            if getattr(self, name) not in ("", expected):
                raise ValueError(f"{name}: must be `{expected}` for the type `{kind}`, or be left out")
        if self.direction_listen == "none" and self.direction_speak == "none":
            raise ValueError("direction_listen: with `none` in both directions there is nothing to carry")
        if not final(info) and not has_reference(self.external_host):
            (_check_websocket if kind == "websocket" else _check_rtp)(self.external_host)
        return self


class ExternalMediaStart(Action):
    """Carry the call's audio to a server and its audio to the call, while the flow goes on."""

    type: Literal["external_media_start"]
    option: ExternalMediaStartOptions

    async def run(self, context: Context) -> Result:
        option = self.option
        streams = context.services.streams
        if streams is None:
            context.leg.note("external_media_start", f"{option.type} {loggable(option.external_host)}")
            return Next()
        call = context.leg.call
        await streams.start(
            call,
            StreamWanted(
                id=context.progress.id("stream"),
                action_id=self.id,
                kind="websocket" if option.type == "websocket" else "rtp",
                host=self._host(context.written["option"]["external_host"], context.lookup),
                format=_format(option.format),
                listen=_direction(option.direction_listen),
                speak=_direction(option.direction_speak),
                headers={
                    "X-Ringline-Customer-Id": str(call.customer_id),
                    "X-Ringline-Call-Id": str(call.id),
                    "X-Ringline-Activeflow-Id": str(context.activeflow_id),
                    "X-Ringline-Stream-Id": str(context.progress.id("stream")),
                    **({"X-Ringline-Data": quote(option.data)} if option.data else {}),
                },
            ),
        )
        return Next()

    def urls(self) -> dict[str, str]:
        if self.option.type != "websocket":
            return {}
        return {"option.external_host": web_form(self.option.external_host)}

    def _host(self, written: str, lookup: Lookup) -> str:
        try:
            if self.option.type == "websocket":
                host = fill_url(written, lookup)
                _check_websocket(host)
            else:
                host = self.option.external_host
                _check_rtp(host)
        except ValueError as error:
            raise ActionFailed("INVALID_OPTION", str(error)) from None
        return host


def _format(value: str) -> Format:
    return value or "ulaw"  # type: ignore[return-value]  # the option's own literals


def _direction(value: str) -> Direction:
    return value  # type: ignore[return-value]  # empty ones have become their default
